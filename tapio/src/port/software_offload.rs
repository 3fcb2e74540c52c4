//! Frames for a port that doesn't take their offload: what a network card would do, done here.

use packet::offload::{Segments, complete_checksum};
use packet::{DropReason, FrameMeta, Gso, MAX_FRAME, Offload, OffloadSet, VNET_HDR_LEN};

/// Where segments are made: room for a `virtio_net_hdr`, then the frame.
///
/// A copy, because the same frame may go to other ports that take it as it is.
#[derive(Debug)]
pub(crate) struct Scratch(Box<[u8]>);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(vec![0; VNET_HDR_LEN + MAX_FRAME + TAG].into())
    }

    /// Hands `send` the frame as it is if the port takes its offload, else the ordinary frames that it stands for: what
    /// is left to the port to do, and the bytes behind [`VNET_HDR_LEN`] free ones, as `bytes` are.
    ///
    /// # Errors
    /// `TxUnsegmentable`, or what `send` says; the frames after it are not sent.
    #[inline]
    pub(crate) fn send(
        &mut self,
        meta: &FrameMeta,
        bytes: &mut [u8],
        takes: OffloadSet,
        mut send: impl FnMut(Offload, &mut [u8]) -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        match meta.offload.fits(takes) {
            true => send(meta.offload, bytes),
            false => self.send_ordinary(meta, &bytes[VNET_HDR_LEN..], send),
        }
    }

    #[cold]
    fn send_ordinary(
        &mut self,
        meta: &FrameMeta,
        frame: &[u8],
        mut send: impl FnMut(Offload, &mut [u8]) -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        if meta.offload.gso == Gso::None {
            let copy = &mut self.0[VNET_HDR_LEN..VNET_HDR_LEN + frame.len()];
            copy.copy_from_slice(frame);
            complete_checksum(copy, &mut meta.offload.clone());
            return send(Offload::NONE, &mut self.0[..VNET_HDR_LEN + frame.len()]);
        }
        let mut segments = Segments::new(frame, meta)?;
        while let Some(len) = segments.next_into(&mut self.0[VNET_HDR_LEN..]) {
            send(Offload::NONE, &mut self.0[..VNET_HDR_LEN + len])?;
        }
        Ok(())
    }
}

/// What a frame may be longer when it leaves than when it came.
const TAG: usize = 4;

//! Frames for a port that doesn't take their offload: what a network card would do, done here.

use packet::offload::{Segments, complete_checksum};
use packet::{DropReason, FrameMeta, Gso, MAX_FRAME, VNET_HDR_LEN};

/// Where segments are made: an all-zero `virtio_net_hdr` (nothing left to do), then the frame.
///
/// A copy, because the same frame may go to other ports that take it as it is.
#[derive(Debug)]
pub(crate) struct Scratch(Box<[u8]>);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(vec![0; VNET_HDR_LEN + MAX_FRAME].into())
    }

    /// Hands `send` the ordinary frames that `frame` stands for, each behind [`VNET_HDR_LEN`] zero bytes.
    ///
    /// # Errors
    /// `TxUnsegmentable`, or what `send` says; the frames after it are not sent.
    #[cold]
    pub(crate) fn send(
        &mut self,
        frame: &[u8],
        meta: &FrameMeta,
        mut send: impl FnMut(&[u8]) -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        if meta.offload.gso == Gso::None {
            let copy = &mut self.0[VNET_HDR_LEN..VNET_HDR_LEN + frame.len()];
            copy.copy_from_slice(frame);
            complete_checksum(copy, &mut meta.offload.clone());
            return send(&self.0[..VNET_HDR_LEN + frame.len()]);
        }
        let mut segments = Segments::new(frame, meta)?;
        while let Some(len) = segments.next_into(&mut self.0[VNET_HDR_LEN..]) {
            send(&self.0[..VNET_HDR_LEN + len])?;
        }
        Ok(())
    }
}

//! What a network card would do, done here: super-frames and checksums for a port that doesn't take them are cut and
//! completed, and for one that does, segments are joined.

use packet::offload::{Known, Segments, complete_checksum, join, joinable};
use packet::{
    Burst, DropReason, FrameMeta, Gso, MAX_FRAME, Offload, OffloadSet, PortCounters, TxEntry, VNET_HDR_LEN,
};

use crate::port::outcome::send_each;

/// Where segments and super-frames are made: room for a `virtio_net_hdr`, then the frame.
///
/// A copy, because the same frame may go to other ports that take it as it is.
#[derive(Debug)]
pub(crate) struct Scratch(Box<[u8]>);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(vec![0; VNET_HDR_LEN + MAX_FRAME + TAG].into())
    }

    /// Sends the frames on a port's list, in order, and counts each as sent or as dropped. Segments of a flow that follow one
    /// another leave as a super-frame, if the port takes those. `send` gets what is left to the port to do, and the bytes
    /// behind [`VNET_HDR_LEN`] free ones.
    #[inline]
    pub(crate) fn send_each(
        &mut self,
        burst: &mut Burst,
        list: &[TxEntry],
        takes: OffloadSet,
        counters: &mut PortCounters,
        mut send: impl FnMut(Offload, &mut [u8]) -> Result<(), DropReason>,
    ) {
        let mut rest = list;
        while !rest.is_empty() {
            let (alone, joined) = first_run(burst, rest, takes);
            send_each(burst, &rest[..alone], counters, |meta, bytes| {
                self.send(meta, bytes, takes, &mut send)
            });
            let (run, others) = rest[alone..].split_at(joined);
            self.send_joined(burst, run, counters, &mut send);
            rest = others;
        }
    }

    fn send_joined(
        &mut self,
        burst: &Burst,
        run: &[TxEntry],
        counters: &mut PortCounters,
        mut send: impl FnMut(Offload, &mut [u8]) -> Result<(), DropReason>,
    ) {
        let Some((len, offload)) = join(known(burst, run), &mut self.0[VNET_HDR_LEN..]) else { return };
        match send(offload, &mut self.0[..VNET_HDR_LEN + len]) {
            // They count as what they were.
            Ok(()) => {
                counters.tx_frames += run.len() as u64;
                counters.tx_bytes += known(burst, run).map(|(bytes, _)| bytes.len() as u64).sum::<u64>();
            }
            Err(reason) => counters.drops.count_many(reason, run.len() as u64),
        }
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

/// How many of the first entries leave alone, and how many behind them as one frame.
#[inline]
fn first_run(burst: &Burst, list: &[TxEntry], takes: OffloadSet) -> (usize, usize) {
    if takes.tso {
        for alone in 0..list.len() - 1 {
            let joined = joinable(known(burst, &list[alone..]));
            if joined > 1 {
                return (alone, joined);
            }
        }
    }
    (list.len(), 0)
}

fn known<'a>(burst: &'a Burst, list: &[TxEntry]) -> impl Iterator<Item = Known<'a>> {
    let joinable = list.iter().take_while(|entry| entry.may_be_joined());
    joinable.map(|entry| (burst.bytes(entry.frame()), &burst.metas()[entry.frame()]))
}

/// What a frame may be longer when it leaves than when it came.
const TAG: usize = 4;

//! A burst: up to 64 frames received on one port, each in a buffer of its own.
//!
//! ```text
//! buffer: [ headroom 64 ][ frame, up to MAX_FRAME ]      one buffer = 1035 cache lines, an odd number,
//!            └ virtio_net_hdr sits right before the frame    so that equal offsets fall into different cache sets
//! ```
//!
//! Buffers are reused from the first one on, so that a short burst stays in the cache.

use crate::meta::FrameMeta;
use crate::{NetworkId, Offload, PortId, TxEntry};

/// Frames in a burst at most.
pub const BURST_FRAMES: usize = 64;

/// A burst is full when it holds this many bytes, even if it has room for more frames: super-frames of 64 KiB are
/// written while they are still in the cache.
pub const BURST_BYTES: usize = 256 * 1024;

/// Free bytes before each frame: room for a `virtio_net_hdr`, so that header and frame are one system call's buffer.
pub const HEADROOM: usize = 64;

/// The longest frame: an IP packet of 65 535 bytes behind an Ethernet header with two VLAN tags, rounded up.
pub const MAX_FRAME: usize = 65_568;

/// Length of destination and source address, and of a tag.
const ADDRESSES: usize = 12;
const TAG: usize = 4;

const STRIDE: usize = 1035 * 64;
const _: () = assert!(HEADROOM + MAX_FRAME <= STRIDE && (STRIDE / 64) % 2 == 1);
/// That many a `TxEntry` tells apart.
const _: () = assert!(BURST_FRAMES <= 64);

/// Up to [`BURST_FRAMES`] frames of one origin.
#[derive(Debug)]
pub struct Burst {
    metas: Vec<FrameMeta>,
    lens: [u32; BURST_FRAMES],
    buffers: Vec<u8>,
    bytes: usize,
    /// Frames that it takes at most.
    limit: usize,
    /// The port that received the frames; `None`: the switch itself made them.
    origin: Option<PortId>,
    network: NetworkId,
    retagged: Retagged,
}

/// A frame of a burst.
#[derive(Debug)]
pub struct Frame<'a> {
    /// What is known of it.
    pub meta: &'a mut FrameMeta,
    /// From the destination address to the last byte of payload.
    pub bytes: &'a mut [u8],
}

/// How a frame was that has other tags for as long as one port sends it.
#[derive(Debug)]
struct Retagged {
    meta: FrameMeta,
    /// What stood where the frame begins.
    front: [u8; FRONT],
}

/// Addresses and a tag: what of a frame changes with its tag.
const FRONT: usize = 16;

/// A free buffer of a burst, to receive a frame into.
#[derive(Debug)]
pub struct Slot<'a> {
    burst: &'a mut Burst,
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}

impl Burst {
    /// An empty burst. Its 4 MiB of buffers become resident when first used.
    pub fn new() -> Self {
        Self {
            metas: Vec::with_capacity(BURST_FRAMES),
            lens: [0; BURST_FRAMES],
            buffers: vec![0; BURST_FRAMES * STRIDE],
            bytes: 0,
            limit: BURST_FRAMES,
            origin: None,
            network: NetworkId::new(0),
            retagged: Retagged { meta: FrameMeta::new(NetworkId::new(0), Offload::NONE), front: [0; FRONT] },
        }
    }

    /// Empties the burst; frames that follow come from `origin` (`None`: the switch itself), in `network`.
    pub fn restart(&mut self, origin: Option<PortId>, network: NetworkId) {
        self.metas.clear();
        self.bytes = 0;
        self.limit = BURST_FRAMES;
        self.origin = origin;
        self.network = network;
    }

    /// Until the next restart, the burst is full with `frames` frames, or [`BURST_FRAMES`] if that is less.
    pub fn limit_to(&mut self, frames: usize) {
        self.limit = frames.min(BURST_FRAMES);
    }

    /// The port that received the frames; `None`: the switch itself made them.
    pub fn origin(&self) -> Option<PortId> {
        self.origin
    }

    /// The network of the origin.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// The sum of the frames' lengths when they were received.
    pub fn total_bytes(&self) -> usize {
        self.bytes
    }

    /// A buffer for one more frame, unless the burst is full.
    pub fn slot(&mut self) -> Option<Slot<'_>> {
        let full = self.metas.len() >= self.limit || self.bytes >= BURST_BYTES;
        if full { None } else { Some(Slot { burst: self }) }
    }

    /// Adds a copy of `bytes`; `false` if the burst is full or the frame too long.
    pub fn push(&mut self, bytes: &[u8], offload: Offload) -> bool {
        let Some(mut slot) = self.slot() else { return false };
        let Some(buffer) = slot.buffer().get_mut(HEADROOM..HEADROOM + bytes.len()) else { return false };
        buffer.copy_from_slice(bytes);
        slot.commit(bytes.len(), offload);
        true
    }

    /// The metas of all frames.
    pub fn metas(&self) -> &[FrameMeta] {
        &self.metas
    }

    /// The metas of all frames, to be changed.
    pub fn metas_mut(&mut self) -> &mut [FrameMeta] {
        &mut self.metas
    }

    /// Frame `index`, which must be below [`len`](Self::len).
    pub fn frame_mut(&mut self, index: usize) -> Frame<'_> {
        let (start, len) = (index * STRIDE + HEADROOM, self.lens[index] as usize);
        Frame { meta: &mut self.metas[index], bytes: &mut self.buffers[start..start + len] }
    }

    /// The bytes of frame `index`, which must be below [`len`](Self::len).
    pub fn bytes(&self, index: usize) -> &[u8] {
        let (start, len) = (index * STRIDE + HEADROOM, self.lens[index] as usize);
        &self.buffers[start..start + len]
    }

    /// A frame as it goes to a port: what is known of it, and its bytes behind `headroom` free ones (at most [`HEADROOM`]), in
    /// one slice: the way to put a `virtio_net_hdr` in front without moving it.
    #[inline]
    pub fn outgoing(&mut self, entry: TxEntry, headroom: usize) -> (&FrameMeta, &mut [u8]) {
        let (index, headroom) = (entry.frame(), headroom.min(HEADROOM));
        let (start, len) = (index * STRIDE + HEADROOM - headroom, headroom + self.lens[index] as usize);
        (&self.metas[index], &mut self.buffers[start..][..len])
    }

    /// Gives the frame the tags that the entry asks for, until [`restore`](Self::restore): only the addresses move, into the
    /// headroom or over the tag that goes. Returns what [`outgoing`](Self::outgoing) is to be told instead of `headroom`.
    pub fn retag(&mut self, entry: TxEntry, headroom: usize) -> usize {
        let (whole, meta) = (entry.frame() * STRIDE + HEADROOM, &mut self.metas[entry.frame()]);
        self.retagged.meta = *meta;
        self.retagged.front.copy_from_slice(&self.buffers[whole..whole + FRONT]);
        let (stripped, pushed) = (if entry.strips() { TAG } else { 0 }, entry.pushes());
        let start = whole + stripped - pushed.map_or(0, |tag| tag.len());
        self.buffers[start..start + ADDRESSES].copy_from_slice(&self.retagged.front[..ADDRESSES]);
        if let Some(tag) = pushed {
            self.buffers[start + ADDRESSES..start + ADDRESSES + TAG].copy_from_slice(&tag);
        }
        let moved = |at: u16| (usize::from(at) + whole - start).min(u16::MAX.into()) as u16;
        meta.l3 = moved(meta.l3);
        if meta.offload.needs_checksum {
            meta.offload.csum_start = moved(meta.offload.csum_start);
        }
        headroom + whole - start
    }

    /// Takes the last [`retag`](Self::retag) back, which was of this entry.
    pub fn restore(&mut self, entry: TxEntry) {
        let whole = entry.frame() * STRIDE + HEADROOM;
        self.metas[entry.frame()] = self.retagged.meta;
        self.buffers[whole..whole + FRONT].copy_from_slice(&self.retagged.front);
    }

    /// Calls `stage` on each frame, in order.
    #[inline]
    pub fn for_each(&mut self, mut stage: impl FnMut(usize, Frame<'_>)) {
        let buffers = self.buffers.chunks_exact_mut(STRIDE);
        for (index, ((meta, buffer), &len)) in self.metas.iter_mut().zip(buffers).zip(&self.lens).enumerate()
        {
            stage(index, Frame { meta, bytes: &mut buffer[HEADROOM..HEADROOM + len as usize] });
        }
    }
}

impl Slot<'_> {
    /// The whole buffer: [`HEADROOM`] bytes, then room for [`MAX_FRAME`] bytes of frame.
    pub fn buffer(&mut self) -> &mut [u8] {
        let start = self.burst.metas.len() * STRIDE;
        &mut self.burst.buffers[start..start + HEADROOM + MAX_FRAME]
    }

    /// The frame of `len` bytes behind the headroom joins the burst. A longer one than [`MAX_FRAME`] is cut: a
    /// receiver can't have put more into the buffer.
    pub fn commit(self, len: usize, offload: Offload) {
        let len = len.min(MAX_FRAME);
        self.burst.lens[self.burst.metas.len()] = len as u32;
        self.burst.bytes += len;
        self.burst.metas.push(FrameMeta::new(self.burst.network, offload));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::eth;

    #[test]
    fn a_burst_takes_sixty_four_frames_and_no_more() {
        let mut burst = Burst::new();
        burst.restart(None, NetworkId::new(3));
        for n in 0..BURST_FRAMES {
            assert!(burst.push(&[n as u8; 60], Offload::NONE));
        }
        assert!(!burst.push(&[0; 60], Offload::NONE));
        assert_eq!(burst.len(), 64);
        assert_eq!(burst.bytes(63), &[63; 60]);
        assert_eq!(burst.metas()[63].network, NetworkId::new(3));
    }

    #[test]
    fn super_frames_fill_a_burst_by_their_bytes() {
        let mut burst = Burst::new();
        while burst.push(&vec![0; MAX_FRAME], Offload::NONE) {}
        assert_eq!(burst.len(), BURST_BYTES.div_ceil(MAX_FRAME));
        assert!(!burst.push(&vec![0; MAX_FRAME + 1], Offload::NONE));
    }

    #[test]
    fn the_headroom_lies_right_before_the_frame() {
        let mut burst = Burst::new();
        burst.push(b"frame", Offload::NONE);
        let entry = TxEntry::as_is(0);
        burst.outgoing(entry, 2).1[..2].copy_from_slice(b"ab");
        assert_eq!(burst.outgoing(entry, 2).1, b"abframe");
        assert_eq!(burst.bytes(0), b"frame");
    }

    /// The frame with its meta as the port of `entry` gets it. The port writes into the headroom.
    fn sent(burst: &mut Burst, entry: TxEntry) -> (FrameMeta, Vec<u8>) {
        let headroom = burst.retag(entry, 12);
        let (meta, bytes) = burst.outgoing(entry, headroom);
        bytes[..12].fill(0xff);
        let sent = (*meta, bytes[12..].to_vec());
        burst.restore(entry);
        sent
    }

    #[test]
    fn each_port_gets_its_own_tags_and_the_frame_stays_as_it_is() {
        let (untagged, tagged) = (eth().payload(b"content"), eth().vlan(0x6007).payload(b"content"));
        let double = eth().service_vlan(0xf064).vlan(0x6007).payload(b"content");
        let mut burst = Burst::new();
        for frame in [&untagged, &tagged, &double] {
            let offload = Offload { csum_start: 40, needs_checksum: true, ..Offload::NONE };
            assert!(burst.push(frame, offload));
        }
        crate::parse(&mut burst);
        let entry = TxEntry::as_is;
        for (entry, expected, moved) in [
            (entry(0), untagged.clone(), 0),
            (entry(0).push(false, 0x6007), tagged.clone(), 4),
            (entry(1), tagged.clone(), 0),
            (entry(1).strip(), untagged.clone(), -4),
            (entry(1).push(true, 0xf064), double.clone(), 4),
            (entry(1).strip().push(false, 0x2009), eth().vlan(0x2009).payload(b"content"), 0),
            (entry(2).strip(), tagged.clone(), -4),
        ] {
            let before = burst.metas()[entry.frame()];
            let (meta, bytes) = sent(&mut burst, entry);
            assert_eq!(bytes, expected, "{entry:?}");
            assert_eq!(meta.l3, before.l3.wrapping_add_signed(moved));
            assert_eq!(meta.offload.csum_start, before.offload.csum_start.wrapping_add_signed(moved));
            let whole = [burst.bytes(0), burst.bytes(1), burst.bytes(2)];
            assert_eq!(whole, [&untagged[..], &tagged, &double]);
        }
    }

    #[test]
    fn the_shortest_and_the_longest_frame_get_a_tag() {
        let (shortest, longest) = (eth().payload(b""), eth().payload(&vec![7; MAX_FRAME - 14]));
        for frame in [shortest, longest] {
            let mut burst = Burst::new();
            assert!(burst.push(&frame, Offload::NONE));
            let (_, bytes) = sent(&mut burst, TxEntry::as_is(0).push(false, 7));
            assert_eq!(bytes.len(), frame.len() + 4);
            assert_eq!(burst.bytes(0), frame);
        }
    }
}

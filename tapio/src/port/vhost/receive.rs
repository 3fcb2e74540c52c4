//! From the guest's transmit ring into a burst.

use packet::BURST_FRAMES;
use packet::{Burst, DropReason, HEADROOM, MAX_FRAME, Offload, VNET_HDR_LEN};

use crate::port::vhost::guest_memory::GuestSlice;
use crate::port::vhost::memory_table::{Finder, MemoryTable};
use crate::port::vhost::ring::{Descriptor, Direction, Pieces, Ring};
use crate::port::vhost::violation::Violation;

/// Appends the frames that the guest has sent to `burst`, 64 at most, and gives their buffers back. Returns whether
/// the guest wants to be told.
///
/// In stages, so that the processor waits for many cache lines at once: heads, descriptors, then frames.
pub(super) fn receive(
    ring: &mut Ring,
    memory: &MemoryTable,
    header_len: usize,
    pieces: &mut Pieces,
    burst: &mut Burst,
) -> Result<bool, Violation> {
    let count = ring.fetch()?.min(BURST_FRAMES as u16);
    if count == 0 {
        return Ok(false);
    }
    let mut finder = memory.finder();
    let mut sources = [Source::NONE; BURST_FRAMES];
    let sources = &mut sources[..usize::from(count)];
    for (index, source) in (0..count).zip(sources.iter_mut()) {
        let head = ring.head(index);
        let first = ring.first_descriptor(head)?;
        *source = Source { head, whole: first.whole(Direction::FromGuest, &mut finder)?, first };
    }
    let mut taken = 0;
    for (index, source) in sources.iter().enumerate() {
        if let Some(Source { whole: Some(slice), .. }) = sources.get(index + PREFETCH) {
            slice.prefetch();
        }
        let Some(mut slot) = burst.slot() else { break };
        let buffer = &mut slot.buffer()[HEADROOM - header_len..];
        let len = match source.whole {
            Some(slice) if slice.len() <= header_len + MAX_FRAME => slice.read(buffer),
            _ => source.read_pieces(ring, &mut finder, pieces, buffer)?,
        };
        let offload = decode(buffer, header_len, len);
        slot.commit(len.saturating_sub(header_len), offload.unwrap_or(Offload::NONE));
        if let (Err(reason), Some(meta)) = (offload, burst.metas_mut().last_mut()) {
            meta.drop(reason);
        }
        ring.complete(source.head, 0);
        taken += 1;
    }
    ring.advance(taken);
    Ok(ring.publish())
}

/// Gives back up to 64 buffers unread, as a ring that is not enabled demands. Returns whether the guest wants to be
/// told.
pub(super) fn discard(ring: &mut Ring) -> Result<bool, Violation> {
    let count = ring.fetch()?.min(BURST_FRAMES as u16);
    for index in 0..count {
        ring.complete(ring.head(index), 0);
    }
    ring.advance(count);
    Ok(ring.publish())
}

/// A frame that is still in the guest's memory.
#[derive(Clone, Copy)]
struct Source<'m> {
    head: u16,
    /// Header and frame, if they are in one piece.
    whole: Option<GuestSlice<'m>>,
    first: Descriptor,
}

impl<'m> Source<'m> {
    const NONE: Self = Self { head: 0, whole: None, first: Descriptor::NONE };

    /// Copies header and frame from wherever their pieces are to `buffer`. Returns their length, or more than
    /// `buffer` has if they are too long for it.
    #[cold]
    fn read_pieces(
        &self,
        ring: &Ring,
        finder: &mut Finder<'m>,
        pieces: &mut Pieces,
        buffer: &mut [u8],
    ) -> Result<usize, Violation> {
        pieces.clear();
        let total = ring.collect(self.first, Direction::FromGuest, finder, pieces)? as usize;
        let mut rest = buffer;
        for &(address, len) in pieces.iter() {
            let (mut address, mut len) = (address, len.min(rest.len() as u32));
            while len > 0 {
                let outside = Violation::BufferOutsideMemory { address, len };
                let slice = finder.find_some(address, len).ok_or(outside)?;
                let read = slice.read(rest);
                rest = &mut rest[read..];
                address = address.wrapping_add(read as u64);
                len -= read as u32;
            }
        }
        Ok(total)
    }
}

/// The offload of the frame behind the header, both together of `len` bytes.
#[inline]
fn decode(buffer: &[u8], header_len: usize, len: usize) -> Result<Offload, DropReason> {
    if len > header_len + MAX_FRAME {
        return Err(DropReason::FrameTooLong);
    }
    if len < header_len {
        return Err(DropReason::FrameTooShort);
    }
    let mut header = [0; VNET_HDR_LEN];
    header[..LEGACY].copy_from_slice(&buffer[..LEGACY]);
    Offload::decode(&header, len - header_len)
}

/// How many frames ahead the processor is asked for.
const PREFETCH: usize = 8;

/// The part of the header that all headers have, and all that matters here.
const LEGACY: usize = 10;

//! From a burst to the guest's receive ring.

use packet::BURST_FRAMES;
use packet::{Burst, DropReason, OffloadSet, PortCounters, TxEntry, VNET_HDR_LEN};

use crate::port::software_offload::Scratch;
use crate::port::vhost::features::Features;
use crate::port::vhost::guest_memory::GuestSlice;
use crate::port::vhost::memory_table::{Finder, MemoryTable};
use crate::port::vhost::ring::{Direction, MAX_PIECES, Pieces, Ring};
use crate::port::vhost::violation::Violation;

/// What sending needs beside the ring.
#[derive(Debug)]
pub(super) struct Transmitter {
    features: Features,
    offloads: OffloadSet,
    scratch: Scratch,
    pieces: Pieces,
    heads: Vec<(u16, u32)>,
}

impl Transmitter {
    pub fn new() -> Self {
        Self {
            features: Features::NONE,
            offloads: OffloadSet::NONE,
            scratch: Scratch::new(),
            pieces: Vec::new(),
            heads: Vec::new(),
        }
    }

    /// What the guest takes follows from the features agreed on.
    pub fn agree(&mut self, features: Features) {
        self.features = features;
        self.offloads = features.guest_offloads();
    }

    /// The kinds of offloaded frame that the guest takes.
    pub fn offloads(&self) -> OffloadSet {
        self.offloads
    }

    /// Sends the frames of `burst` on the list, counts each, and returns whether the guest wants to
    /// be told.
    pub fn transmit(
        &mut self,
        ring: &mut Ring,
        memory: &MemoryTable,
        burst: &mut Burst,
        list: &[TxEntry],
        counters: &mut PortCounters,
    ) -> Result<bool, Violation> {
        let Self { features, offloads, scratch, pieces, heads } = self;
        let target = Target::new(ring, memory.finder(), *features, pieces, heads, list.len());
        let mut target = target.inspect_err(|_| drop_all(list, counters))?;
        scratch.send_each(burst, list, *offloads, counters, |offload, bytes| {
            target.put(offload.encode(), &bytes[VNET_HDR_LEN..])
        });
        target.finish()
    }
}

/// The guest's receive buffers.
struct Target<'m, 't> {
    ring: &'t mut Ring,
    finder: Finder<'m>,
    header_len: usize,
    mergeable: bool,
    /// How many buffers are available.
    ready: u16,
    /// How many of them are filled.
    filled: u16,
    /// Of the first buffers, those that are in one piece.
    ahead: [(u16, Option<GuestSlice<'m>>); BURST_FRAMES],
    pieces: &'t mut Pieces,
    heads: &'t mut Vec<(u16, u32)>,
    violation: Option<Violation>,
}

impl<'m, 't> Target<'m, 't> {
    /// Looks at the first `count` buffers.
    fn new(
        ring: &'t mut Ring,
        mut finder: Finder<'m>,
        features: Features,
        pieces: &'t mut Pieces,
        heads: &'t mut Vec<(u16, u32)>,
        count: usize,
    ) -> Result<Self, Violation> {
        let ready = ring.fetch()?;
        let mut ahead = [(0, None); _];
        for (index, ahead) in (0..ready).zip(ahead.iter_mut().take(count)) {
            let head = ring.head(index);
            *ahead = (head, ring.first_descriptor(head)?.whole(Direction::ToGuest, &mut finder)?);
        }
        Ok(Self {
            ring,
            finder,
            header_len: features.header_len(),
            mergeable: features.mergeable(),
            ready,
            filled: 0,
            ahead,
            pieces,
            heads,
            violation: None,
        })
    }

    /// Puts one frame, behind its header, into the next buffers.
    #[inline]
    fn put(&mut self, mut header: [u8; VNET_HDR_LEN], frame: &[u8]) -> Result<(), DropReason> {
        let next = usize::from(self.filled);
        if let Some((_, Some(slice))) = self.ahead.get(next + PREFETCH) {
            slice.prefetch_to_write();
        }
        let needed = self.header_len + frame.len();
        if let Some(&(head, Some(slice))) = self.ahead.get(next)
            && slice.len() >= needed
            && let Some(behind_header) = slice.part(self.header_len as u64, frame.len())
        {
            header[NUM_BUFFERS] = 1;
            slice.write(&header[..self.header_len]);
            behind_header.write(frame);
            self.ring.complete(head, needed as u32);
            self.filled += 1;
            return Ok(());
        }
        match self.violation {
            Some(_) => Err(DropReason::TxLinkDown),
            None => self.put_pieces(header, frame).unwrap_or_else(|violation| {
                self.violation = Some(violation);
                Err(DropReason::TxLinkDown)
            }),
        }
    }

    /// The same for buffers of several pieces, or too short for the whole frame.
    #[cold]
    fn put_pieces(
        &mut self,
        mut header: [u8; VNET_HDR_LEN],
        frame: &[u8],
    ) -> Result<Result<(), DropReason>, Violation> {
        let needed = self.header_len + frame.len();
        if let Err(reason) = self.find_room(needed)? {
            return Ok(Err(reason));
        }
        let [low, high] = (self.heads.len() as u16).to_le_bytes();
        [header[NUM_BUFFERS], header[NUM_BUFFERS + 1]] = [low, high];
        self.write_pieces(&header[..self.header_len], frame)?;
        let mut left = needed as u32;
        for &(head, len) in self.heads.iter() {
            self.ring.complete(head, len.min(left));
            left -= len.min(left);
        }
        self.filled += self.heads.len() as u16;
        Ok(Ok(()))
    }

    /// Collects buffers for `needed` bytes.
    fn find_room(&mut self, needed: usize) -> Result<Result<(), DropReason>, Violation> {
        self.pieces.clear();
        self.heads.clear();
        let mut room = 0_usize;
        while room < needed {
            let index = self.filled + self.heads.len() as u16;
            if index == self.ready {
                return Ok(Err(DropReason::TxQueueFull));
            }
            if self.pieces.len() >= MAX_PIECES || (!self.mergeable && !self.heads.is_empty()) {
                return Ok(Err(DropReason::TxBufferTooSmall));
            }
            let head = self.ring.head(index);
            let first = self.ring.first_descriptor(head)?;
            let len = self.ring.collect(first, Direction::ToGuest, &mut self.finder, self.pieces)?;
            self.heads.push((head, len));
            room += len as usize;
        }
        Ok(Ok(()))
    }

    /// Copies header and frame to the collected pieces, which have room for both.
    fn write_pieces(&mut self, header: &[u8], frame: &[u8]) -> Result<(), Violation> {
        let mut rest = [header, frame];
        for &(mut address, mut len) in self.pieces.iter() {
            while len > 0 {
                let Some(part) = rest.iter_mut().find(|part| !part.is_empty()) else { return Ok(()) };
                let outside = Violation::BufferOutsideMemory { address, len };
                let written = self.finder.find_some(address, len).ok_or(outside)?.write(part);
                *part = &part[written..];
                address = address.wrapping_add(written as u64);
                len -= written as u32;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<bool, Violation> {
        if let Some(violation) = self.violation {
            return Err(violation);
        }
        self.ring.advance(self.filled);
        Ok(self.ring.publish())
    }
}

/// Counts all on the list as dropped, because nobody is there to take them.
pub(super) fn drop_all(list: &[TxEntry], counters: &mut PortCounters) {
    counters.drops.count_many(DropReason::TxLinkDown, list.len() as u64);
}

/// Where the header says how many buffers the frame is in. The legacy header without it is two bytes shorter.
const NUM_BUFFERS: usize = 10;

/// How many buffers ahead the processor is asked for.
const PREFETCH: usize = 8;

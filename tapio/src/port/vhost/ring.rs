//! A split ring. Virtio 1.2, 2.7.
//!
//! ```text
//! guest writes:  descriptors  [address:64 len:32 flags:16 next:16] × n
//!                available    flags:16 index:16 [head:16] × n  used_event:16
//! we write:      used         flags:16 index:16 [head:32 len:32] × n  available_event:16
//! ```
//!
//! Buffers are taken and given back in order, in batches: [`fetch`](Ring::fetch) looks at what is available,
//! [`complete`](Ring::complete) gives back, [`publish`](Ring::publish) shows it to the guest and says whether the guest
//! wants to be told. Whatever the guest wrote is read once, and checked before it is used.

use std::sync::atomic::{Ordering, fence};

use packet::BURST_FRAMES;
use zerocopy::IntoBytes;

use crate::port::vhost::guest_memory::{GuestSlice, SharedArea};
use crate::port::vhost::memory_table::{Finder, MemoryTable};
use crate::port::vhost::message::RingAddress;
use crate::port::vhost::violation::Violation;

/// A ring that runs.
#[derive(Debug)]
pub(super) struct Ring {
    descriptors: SharedArea,
    available: SharedArea,
    used: SharedArea,
    /// Number of entries, a power of two, less one.
    mask: u16,
    event_index: bool,
    /// The guest is asked to tell when it makes buffers available.
    armed: bool,
    /// Where the next available buffer is. Buffers are given back in order and at once, so that it is also where the
    /// next used one goes.
    next: u16,
    /// How many buffers are available from `next` on, as far as known.
    ready: u16,
    /// The heads of the first of them.
    heads: [u16; BURST_FRAMES],
    fetched: u16,
    /// Used buffers that the ring doesn't show yet, the first of them at `published`.
    done: [[u32; 2]; BURST_FRAMES],
    pending: u16,
    published: u16,
    /// The used index when the guest was last told.
    told: u16,
}

/// Who may write to a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    /// The guest has written it for us to read.
    FromGuest,
    /// We write it.
    ToGuest,
}

/// A descriptor, as it was when it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor {
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
}

/// The pieces of a buffer, in order.
pub(super) type Pieces = Vec<(u64, u32)>;

impl Ring {
    /// A ring of `size` entries, a power of two, that goes on where it stopped. It is not [armed](Self::arm).
    /// `None` if it is not inside `memory`.
    pub fn new(memory: &MemoryTable, address: &RingAddress, size: u16, event_index: bool) -> Option<Self> {
        let [descriptors, available, used] = areas(memory, address, size, event_index)?;
        // Everything before it was given back, whoever served the ring then.
        let next = used.load(INDEX);
        if !event_index {
            used.store(FLAGS, NO_NOTIFY);
        }
        Some(Self {
            descriptors,
            available,
            used,
            mask: size - 1,
            event_index,
            armed: false,
            next,
            ready: 0,
            heads: [0; _],
            fetched: 0,
            done: [[0; 2]; BURST_FRAMES],
            pending: 0,
            published: next,
            told: next,
        })
    }

    /// The ring is at other addresses now, or in another mapping. `None` if it is not inside `memory`.
    pub fn relocate(&mut self, memory: &MemoryTable, address: &RingAddress) -> Option<()> {
        [self.descriptors, self.available, self.used] =
            areas(memory, address, self.mask + 1, self.event_index)?;
        Some(())
    }

    /// Where the next available buffer is.
    pub fn base(&self) -> u16 {
        self.next
    }

    /// Looks at what is available, and returns how many buffers can be had by [`head`](Self::head).
    pub fn fetch(&mut self) -> Result<u16, Violation> {
        let ready = self.available.load(INDEX).wrapping_sub(self.next);
        if ready > self.mask.saturating_add(1) {
            return Err(Violation::AvailableIndexJumped);
        }
        self.ready = ready;
        self.fetched = ready.min(BURST_FRAMES as u16);
        let first = usize::from(self.next & self.mask);
        let until_end = usize::from(self.fetched).min(usize::from(self.mask) + 1 - first);
        let (heads, wrapped) = self.heads[..usize::from(self.fetched)].split_at_mut(until_end);
        read_words(&self.available, HEAD + first * WORD, heads);
        read_words(&self.available, HEAD, wrapped);
        Ok(ready)
    }

    /// Whether buffers were left when it was last looked.
    pub fn has_ready(&self) -> bool {
        self.ready > 0
    }

    /// The first descriptor of the `index`th of the available buffers, which must be below what
    /// [`fetch`](Self::fetch) returned.
    #[inline]
    pub fn head(&self, index: u16) -> u16 {
        match self.heads[..usize::from(self.fetched)].get(usize::from(index)) {
            Some(&head) => head,
            None => {
                let slot = usize::from(self.next.wrapping_add(index) & self.mask);
                self.available.load(HEAD + slot * WORD)
            }
        }
    }

    /// The descriptor with which a buffer starts.
    #[inline]
    pub fn first_descriptor(&self, head: u16) -> Result<Descriptor, Violation> {
        if head > self.mask {
            return Err(Violation::HeadOutsideTable(head));
        }
        Ok(Descriptor::decode(self.descriptors.read_16(usize::from(head) * DESCRIPTOR_LEN)))
    }

    /// Appends the pieces of the buffer that starts with `first` to `pieces`, and returns their length.
    #[cold]
    pub fn collect(
        &self,
        first: Descriptor,
        direction: Direction,
        memory: &mut Finder<'_>,
        pieces: &mut Pieces,
    ) -> Result<u32, Violation> {
        let mut table = Table::Ring(self);
        let mut descriptor = first;
        let mut total = 0_u32;
        let mut left = table.len().min(MAX_PIECES);
        loop {
            if descriptor.flags & INDIRECT != 0 {
                table = table.enter(&descriptor, memory)?;
                left = table.len().min(MAX_PIECES);
                descriptor = table.descriptor(0)?;
                continue;
            }
            descriptor.check_direction(direction)?;
            total = total.checked_add(descriptor.len).ok_or(Violation::BufferTooLong)?;
            pieces.push((descriptor.address, descriptor.len));
            if descriptor.flags & NEXT == 0 {
                return Ok(total);
            }
            left -= 1;
            if left == 0 {
                return Err(Violation::DescriptorLoop);
            }
            descriptor = table.descriptor(descriptor.next)?;
        }
    }

    /// The next buffer, which started at `head`, is used: `written` bytes of it are for the guest to read.
    #[inline]
    pub fn complete(&mut self, head: u16, written: u32) {
        if usize::from(self.pending) == BURST_FRAMES {
            self.flush();
        }
        self.done[usize::from(self.pending)] = [u32::from(head).to_le(), written.to_le()];
        self.pending += 1;
    }

    /// Forgets the first `count` buffers of those fetched, which were completed.
    #[inline]
    pub fn advance(&mut self, count: u16) {
        self.next = self.next.wrapping_add(count);
        self.ready -= count;
        self.fetched = 0;
    }

    /// Shows the guest what was completed, and returns whether it wants to be told.
    pub fn publish(&mut self) -> bool {
        if self.pending > 0 {
            self.flush();
        }
        if self.published == self.told {
            return false;
        }
        self.used.store(INDEX, self.published);
        // The guest sets its wish and then looks at the index; we set the index and then look at its wish.
        fence(Ordering::SeqCst);
        let told = std::mem::replace(&mut self.told, self.published);
        if self.event_index {
            let event = self.available.load(self.used_event());
            // The guest wants to be told when the index passes `event`.
            self.published.wrapping_sub(event).wrapping_sub(1) < self.published.wrapping_sub(told)
        } else {
            self.available.load(FLAGS) & NO_INTERRUPT == 0
        }
    }

    /// Writes the completed buffers into the ring; the index stays.
    fn flush(&mut self) {
        let first = usize::from(self.published & self.mask);
        let done = &self.done[..usize::from(self.pending)];
        let until_end = done.len().min(usize::from(self.mask) + 1 - first);
        let (until_end, wrapped) = done.split_at(until_end);
        write_used(&self.used, HEAD + first * USED_LEN, until_end);
        write_used(&self.used, HEAD, wrapped);
        self.published = self.published.wrapping_add(self.pending);
        self.pending = 0;
    }

    /// Asks the guest to tell when it makes buffers available; `true` if there are some already.
    pub fn arm(&mut self) -> bool {
        if !self.armed {
            self.armed = true;
            if !self.event_index {
                self.used.store(FLAGS, 0);
            }
        }
        if self.event_index {
            self.used.store(self.available_event(), self.next);
        }
        // As in `publish`, the other way round.
        fence(Ordering::SeqCst);
        self.is_waiting()
    }

    /// Whether buffers are available now.
    pub fn is_waiting(&self) -> bool {
        self.available.load(INDEX) != self.next
    }

    /// Asks the guest not to tell. With event indices, it tells once per round of the index anyway.
    pub fn disarm(&mut self) {
        if self.armed {
            self.armed = false;
            if !self.event_index {
                self.used.store(FLAGS, NO_NOTIFY);
            }
        }
    }

    fn used_event(&self) -> usize {
        HEAD + (usize::from(self.mask) + 1) * WORD
    }

    fn available_event(&self) -> usize {
        HEAD + (usize::from(self.mask) + 1) * USED_LEN
    }
}

impl Descriptor {
    /// A descriptor of nothing.
    pub const NONE: Self = Self { address: 0, len: 0, flags: 0, next: 0 };

    fn decode(bytes: [u8; DESCRIPTOR_LEN]) -> Self {
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
        Self {
            address: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        }
    }

    /// The buffer, if this descriptor has all of it and one region has that; otherwise it is to be
    /// [collected](Ring::collect).
    #[inline]
    pub fn whole<'m>(
        &self,
        direction: Direction,
        memory: &mut Finder<'m>,
    ) -> Result<Option<GuestSlice<'m>>, Violation> {
        if self.flags & (NEXT | INDIRECT) != 0 {
            return Ok(None);
        }
        self.check_direction(direction)?;
        Ok(memory.find(self.address, self.len))
    }

    fn check_direction(&self, direction: Direction) -> Result<(), Violation> {
        let writable = self.flags & WRITE != 0;
        if writable == (direction == Direction::ToGuest) { Ok(()) } else { Err(Violation::WrongDirection) }
    }
}

/// Where a chain's descriptors are.
enum Table<'r, 'm> {
    Ring(&'r Ring),
    Indirect(GuestSlice<'m>),
}

impl<'m> Table<'_, 'm> {
    /// Goes to the table that `descriptor` points to.
    fn enter(self, descriptor: &Descriptor, memory: &mut Finder<'m>) -> Result<Self, Violation> {
        if matches!(self, Self::Indirect(_)) {
            return Err(Violation::IndirectInIndirect);
        }
        let len = descriptor.len as usize;
        if descriptor.flags & NEXT != 0 || len == 0 || !len.is_multiple_of(DESCRIPTOR_LEN) {
            return Err(Violation::BadIndirectTable);
        }
        memory.find(descriptor.address, descriptor.len).map(Self::Indirect).ok_or(Violation::BadIndirectTable)
    }

    fn len(&self) -> usize {
        match self {
            Self::Ring(ring) => usize::from(ring.mask) + 1,
            Self::Indirect(table) => table.len() / DESCRIPTOR_LEN,
        }
    }

    fn descriptor(&self, index: u16) -> Result<Descriptor, Violation> {
        if usize::from(index) >= self.len() {
            return Err(Violation::DescriptorOutsideTable(index));
        }
        let bytes = match self {
            Self::Ring(ring) => Some(ring.descriptors.read_16(usize::from(index) * DESCRIPTOR_LEN)),
            Self::Indirect(table) => table
                .part(u64::from(index) * DESCRIPTOR_LEN as u64, DESCRIPTOR_LEN)
                .and_then(GuestSlice::read_16),
        };
        bytes.map(Descriptor::decode).ok_or(Violation::DescriptorOutsideTable(index))
    }
}

/// Descriptors, available and used ring.
fn areas(
    memory: &MemoryTable,
    address: &RingAddress,
    size: u16,
    event_index: bool,
) -> Option<[SharedArea; 3]> {
    let entries = usize::from(size);
    let event = if event_index { WORD } else { 0 };
    Some([
        memory.area(address.descriptors, entries * DESCRIPTOR_LEN, 16)?,
        memory.area(address.available, HEAD + entries * WORD + event, WORD)?,
        memory.area(address.used, HEAD + entries * USED_LEN + event, 4)?,
    ])
}

fn read_words(area: &SharedArea, offset: usize, words: &mut [u16]) {
    area.read(offset, words.as_mut_bytes());
    words.iter_mut().for_each(|word| *word = u16::from_le(*word));
}

fn write_used(area: &SharedArea, offset: usize, used: &[[u32; 2]]) {
    area.write(offset, used.as_bytes());
}

/// Both rings start with two words, flags and index.
const FLAGS: usize = 0;
const INDEX: usize = 2;
const HEAD: usize = 4;
const WORD: usize = 2;
const DESCRIPTOR_LEN: usize = 16;
const USED_LEN: usize = 8;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const NO_NOTIFY: u16 = 1;
const NO_INTERRUPT: u16 = 1;

/// Pieces of a buffer at most, whatever the ring's size; Linux uses 19, QEMU takes 1024.
pub(super) const MAX_PIECES: usize = 1024;

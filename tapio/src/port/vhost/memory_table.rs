//! Which parts of the guest's memory are shared with us, and where.
//!
//! ```text
//! region:  guest address (in descriptors) ─┐
//!          user address  (of the rings)   ─┴─▶ offset in a mapping
//! ```
//!
//! The front-end sends all regions at once, or adds and removes them one by one as memory is plugged.

use std::os::fd::AsFd;
use std::sync::Arc;

use crate::port::vhost::guest_memory::{GuestSlice, Mapping, SharedArea};
use crate::port::vhost::keeper::{GuestFd, Keeper};
use crate::port::vhost::violation::Violation;

/// Where a region lies, as a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RegionAddress {
    /// The address by which descriptors name it.
    pub guest: u64,
    /// Length in bytes.
    pub len: u64,
    /// The address by which the front-end names it, for the rings.
    pub user: u64,
    /// Where it starts in the file.
    pub file_offset: u64,
}

#[derive(Debug)]
struct Region {
    address: RegionAddress,
    mapping: Arc<Mapping>,
    /// How often it was added: QEMU does so once per queue pair, and removes it as often.
    added: u32,
}

/// The regions. They don't overlap in the guest's addresses, and none wraps around.
#[derive(Debug, Default)]
pub(super) struct MemoryTable {
    regions: Vec<Region>,
    bytes: u64,
}

impl MemoryTable {
    /// Adds a region in `file`, unless it is there already.
    pub fn add(&mut self, address: RegionAddress, file: &GuestFd, keeper: &Keeper) -> Result<(), Violation> {
        if let Some(region) = self.regions.iter_mut().find(|region| region.address == address) {
            region.added = region.added.saturating_add(1);
            return Ok(());
        }
        let ends = [address.guest.checked_add(address.len), address.user.checked_add(address.len)];
        let bytes = self.bytes.checked_add(address.len).filter(|&bytes| bytes <= MAX_BYTES);
        let (Some(bytes), [Some(_), Some(_)]) = (bytes, ends) else {
            return Err(Violation::RegionTooLarge(address.len));
        };
        if self.regions.len() == MAX_REGIONS {
            return Err(Violation::TooManyRegions);
        }
        if self.regions.iter().any(|region| overlap(&region.address, &address)) {
            return Err(Violation::RegionsOverlap);
        }
        let mapping = Mapping::new(file.as_fd(), address.file_offset, address.len, keeper)?;
        self.regions.push(Region { address, mapping: Arc::new(mapping), added: 1 });
        self.bytes = bytes;
        Ok(())
    }

    /// Removes the region at these addresses, if it was removed as often as it was added.
    pub fn remove(&mut self, address: RegionAddress) -> Result<(), Violation> {
        let same = |region: &Region| {
            let other = &region.address;
            (other.guest, other.user, other.len) == (address.guest, address.user, address.len)
        };
        let index = self.regions.iter().position(same).ok_or(Violation::NoSuchRegion)?;
        self.regions[index].added -= 1;
        if self.regions[index].added == 0 {
            self.regions.remove(index);
            self.bytes -= address.len;
        }
        Ok(())
    }

    /// Whether all files were still as long as they have to be whenever they were accessed.
    pub fn is_whole(&self) -> bool {
        self.regions.iter().all(|region| region.mapping.is_whole())
    }

    /// The part of a ring at the front-end's address `user`.
    pub fn area(&self, user: u64, len: usize, align: usize) -> Option<SharedArea> {
        let region =
            self.regions.iter().find(|region| holds(region.address.user, region.address.len, user))?;
        region.mapping.area(user - region.address.user, len, align)
    }

    /// Finds buffers by the guest's addresses.
    pub fn finder(&self) -> Finder<'_> {
        Finder { table: self, start: 0, last: None }
    }
}

/// Finds buffers by the guest's addresses. Most are where the one before was.
#[derive(Debug)]
pub(super) struct Finder<'m> {
    table: &'m MemoryTable,
    start: u64,
    last: Option<GuestSlice<'m>>,
}

impl<'m> Finder<'m> {
    /// The `len` bytes at `guest`, if one region has them all.
    #[inline]
    pub fn find(&mut self, guest: u64, len: u32) -> Option<GuestSlice<'m>> {
        if let Some(slice) = self.last
            && let Some(part) = slice.part(guest.wrapping_sub(self.start), len as usize)
        {
            return Some(part);
        }
        self.find_region(guest)?.part(guest - self.start, len as usize)
    }

    /// As many of the `len` bytes at `guest` as one region has; `None` if that is none.
    pub fn find_some(&mut self, guest: u64, len: u32) -> Option<GuestSlice<'m>> {
        let region = self.find_region(guest)?;
        let offset = guest - self.start;
        region.part(offset, (region.len() as u64 - offset) as usize).map(|rest| rest.first(len as usize))
    }

    #[cold]
    fn find_region(&mut self, guest: u64) -> Option<GuestSlice<'m>> {
        let regions = &self.table.regions;
        let region = regions.iter().find(|region| holds(region.address.guest, region.address.len, guest))?;
        self.start = region.address.guest;
        self.last = Some(region.mapping.bytes());
        self.last
    }
}

fn holds(start: u64, len: u64, address: u64) -> bool {
    address.checked_sub(start).is_some_and(|offset| offset < len)
}

/// Whether a guest's address would be in both. Neither wraps around.
fn overlap(a: &RegionAddress, b: &RegionAddress) -> bool {
    a.guest < b.guest + b.len && b.guest < a.guest + a.len
}

/// Regions of a guest at most: with more, the front-end has to merge them. QEMU needs three or four, and one per
/// module of plugged memory.
pub(super) const MAX_REGIONS: usize = 64;

/// Memory of a guest at most, so that a sparse file can't take all of our address space (2^47): 4 TiB.
const MAX_BYTES: u64 = 4 << 40;

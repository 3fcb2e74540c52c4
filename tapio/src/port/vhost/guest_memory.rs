//! The guest's memory as this process sees it: the only code that touches it, and the only `unsafe` of the vhost ports
//! besides [`fault`](super::fault).
//!
//! ```text
//! file descriptor from the front-end ──mmap──▶ Mapping ─┬─▶ SharedArea   a part of a ring: keeps the mapping alive
//!                                                       └─▶ GuestSlice   a buffer: borrowed for one burst
//! ```
//!
//! The guest may write at any moment, so there are no Rust references into its memory: bytes are copied out or in, and
//! what decides something (indices, descriptors) is read once, by a volatile or atomic access. Every access is checked
//! against the mapping, and the mapping against the file's size. What happens when the file shrinks later is in
//! [`fault`](super::fault).

use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::fs::{FileType, fcntl_get_seals, fstat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::port::vhost::budget::Taken;
use crate::port::vhost::fault::Guard;
use crate::port::vhost::keeper::Keeper;
use crate::port::vhost::violation::Violation;

/// A part of a file, mapped and shared with whoever else has it mapped.
#[derive(Debug)]
pub(super) struct Mapping {
    /// All that was mapped: `start` is inside. It is unmapped by the closer.
    whole: Option<Mapped>,
    keeper: Keeper,
    start: NonNull<u8>,
    len: usize,
    guard: Guard,
}

// SAFETY: the mapping belongs to nobody in this process but this value, and all access is by copies and atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above; other processes write to the memory anyway.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the bytes of `file` from `offset` to `offset + len`.
    ///
    /// Nothing here waits for whoever holds the file: its seals are asked for first, which only the kernel's own memory file
    /// systems know, and of those it is known that they answer at once. A file of FUSE would keep us in fstat(2) already.
    ///
    /// # Errors
    /// It is not memory of tmpfs or hugetlbfs (a memfd is), the file ends before the range does, the guest has its share
    /// already, or what mmap(2) says.
    pub fn new(file: BorrowedFd<'_>, offset: u64, len: u64, keeper: &Keeper) -> Result<Self, Violation> {
        fcntl_get_seals(file).map_err(|_| Violation::NotMemory)?;
        let stat = fstat(file).map_err(Violation::CannotMap)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || len == 0 {
            return Err(Violation::CannotMap(Errno::INVAL));
        }
        const TOO_LONG: Violation = Violation::CannotMap(Errno::OVERFLOW);
        let end = offset.checked_add(len).ok_or(TOO_LONG)?;
        if u64::try_from(stat.st_size).map_or(true, |size| end > size) {
            return Err(TOO_LONG);
        }
        // Huge pages are mapped whole; on other file systems the rounding does no harm.
        let page = u64::try_from(stat.st_blksize).unwrap_or(0).clamp(SMALL_PAGE, HUGE_PAGE);
        if !page.is_power_of_two() {
            return Err(Violation::CannotMap(Errno::INVAL));
        }
        let first = offset & !(page - 1);
        let bytes = (end - first).checked_next_multiple_of(page).ok_or(TOO_LONG)?;
        let whole = Mapped::new(file, first, bytes, page, keeper.room_for(bytes)?)?;
        let guard = Guard::new(whole.base.as_ptr() as usize, whole.len);
        let guard = guard.ok_or(Violation::CannotMap(Errno::NOMEM))?;
        // SAFETY: `offset - first` is below `bytes`, the length of the range that starts at `base`.
        let start = unsafe { whole.base.add((offset - first) as usize) };
        Ok(Self { whole: Some(whole), keeper: keeper.clone(), start, len: len as usize, guard })
    }

    /// Whether all of the file was still there whenever it was accessed.
    pub fn is_whole(&self) -> bool {
        self.guard.is_whole()
    }

    /// All of it.
    pub fn bytes(&self) -> GuestSlice<'_> {
        GuestSlice { start: self.start, len: self.len, mapping: PhantomData }
    }

    /// `len` bytes from `offset` on, aligned to `align`, for as long as the area lives; `None` if they are not all
    /// inside, or not aligned.
    pub fn area(self: &Arc<Self>, offset: u64, len: usize, align: usize) -> Option<SharedArea> {
        let start = self.bytes().part(offset, len)?.start;
        let aligned = (start.as_ptr() as usize).is_multiple_of(align.max(align_of::<u16>()));
        aligned.then(|| SharedArea { start, len, _mapping: self.clone() })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.guard.forget();
        if let Some(whole) = self.whole.take() {
            self.keeper.closer.later(whole);
        }
    }
}

/// What mmap returned, and the room that it takes.
#[derive(Debug)]
struct Mapped {
    base: NonNull<u8>,
    len: usize,
    /// How much of it is unmapped at once.
    step: usize,
    _room: [Taken; 2],
}

// SAFETY: as with the mapping, of which it is all.
unsafe impl Send for Mapped {}

impl Mapped {
    fn new(
        file: BorrowedFd<'_>,
        first: u64,
        bytes: u64,
        page: u64,
        room: [Taken; 2],
    ) -> Result<Self, Violation> {
        let len = usize::try_from(bytes).map_err(|_| Violation::CannotMap(Errno::OVERFLOW))?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: the kernel chooses a free range of addresses, so nothing that exists is replaced.
        let base = unsafe { mmap(ptr::null_mut(), len, protection, flags, file, first) };
        let base = NonNull::new(base.map_err(Violation::CannotMap)?.cast::<u8>());
        let base = base.ok_or(Violation::CannotMap(Errno::NOMEM))?;
        Ok(Self { base, len, step: UNMAPPED_AT_ONCE.max(page as usize), _room: room })
    }
}

impl Drop for Mapped {
    /// In steps: while a part is unmapped, no other thread of the process can map anything.
    fn drop(&mut self) {
        for start in (0..self.len).step_by(self.step) {
            let len = self.step.min(self.len - start);
            // SAFETY: a part of the range that mmap returned. Areas keep their mapping, and slices borrow it, so nothing
            // points into it any more.
            let part = unsafe { self.base.add(start) };
            // SAFETY: as above. An error is not possible with a range that is mapped.
            let _ = unsafe { munmap(part.as_ptr().cast(), len) };
        }
    }
}

/// Some bytes of the guest's memory. `start` to `start + len` is inside a mapping that lives as long as `'m`.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuestSlice<'m> {
    start: NonNull<u8>,
    len: usize,
    mapping: PhantomData<&'m Mapping>,
}

impl GuestSlice<'_> {
    /// How many bytes it is.
    pub fn len(self) -> usize {
        self.len
    }

    /// `len` bytes from `offset` on; `None` if they are not all inside.
    #[inline]
    pub fn part(self, offset: u64, len: usize) -> Option<Self> {
        let rest = (self.len as u64).checked_sub(offset)?;
        if len as u64 > rest {
            return None;
        }
        // SAFETY: `offset` is at most `self.len`, so this is inside the mapping or right behind its end.
        let start = unsafe { self.start.add(offset as usize) };
        Some(Self { start, len, mapping: PhantomData })
    }

    /// The first `len` bytes, or all if there are fewer.
    pub fn first(self, len: usize) -> Self {
        Self { len: self.len.min(len), ..self }
    }

    /// Copies its first bytes to `out`, at most as many as `out` has, and returns how many.
    #[inline]
    pub fn read(self, out: &mut [u8]) -> usize {
        let len = self.len.min(out.len());
        // SAFETY: both are valid for `len` bytes; `out` is this process's own memory, so they don't overlap.
        unsafe { ptr::copy_nonoverlapping(self.start.as_ptr(), out.as_mut_ptr(), len) };
        len
    }

    /// Copies the first bytes of `bytes` to it, at most as many as it has, and returns how many.
    #[inline]
    pub fn write(self, bytes: &[u8]) -> usize {
        let len = self.len.min(bytes.len());
        // SAFETY: both are valid for `len` bytes; `bytes` is this process's own memory, so they don't overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr(), len) };
        len
    }

    /// The first 16 bytes, read once; `None` if there are fewer.
    pub fn read_16(self) -> Option<[u8; 16]> {
        if self.len < 16 {
            return None;
        }
        if (self.start.as_ptr() as usize).is_multiple_of(align_of::<u64>()) {
            return Some(read_words(self.start));
        }
        // SAFETY: 16 bytes are inside the mapping, and bytes need no alignment.
        Some(unsafe { self.start.cast::<[u8; 16]>().read_volatile() })
    }

    /// Asks the processor to fetch the first two cache lines.
    #[inline]
    pub fn prefetch(self) {
        prefetch(self.start);
        prefetch(self.start.map_addr(|address| address.saturating_add(CACHE_LINE)));
    }

    /// The same to be written: the guest's processor gives the lines up at once, and writing doesn't wait for that again.
    /// Measured with 64-byte frames between two processors (`cargo xtask bench vhost --only generated`): 17 M frames/s
    /// without, 21 M with.
    #[inline]
    pub fn prefetch_to_write(self) {
        prefetch_to_write(self.start);
        prefetch_to_write(self.start.map_addr(|address| address.saturating_add(CACHE_LINE)));
    }
}

/// A part of a ring: a range of fixed size that keeps its mapping alive.
#[derive(Debug)]
pub(super) struct SharedArea {
    start: NonNull<u8>,
    len: usize,
    _mapping: Arc<Mapping>,
}

// SAFETY: as with the mapping, all access is by copies and atomics.
unsafe impl Send for SharedArea {}

impl SharedArea {
    fn at(&self, offset: usize, len: usize) -> NonNull<u8> {
        let inside = offset <= self.len && len <= self.len - offset;
        assert!(inside, "rings compute offsets from the size that the area was made for");
        // SAFETY: just checked, and `start..start + len` is inside the mapping, which lives.
        unsafe { self.start.add(offset) }
    }

    /// The word at `offset`, which must be even. What the guest wrote before it wrote the word is seen.
    #[inline]
    pub fn load(&self, offset: usize) -> u16 {
        u16::from_le(self.word(offset).load(Ordering::Acquire))
    }

    /// Sets the word at `offset`, which must be even. A guest that sees it sees what was written before it.
    #[inline]
    pub fn store(&self, offset: usize, value: u16) {
        self.word(offset).store(value.to_le(), Ordering::Release);
    }

    fn word(&self, offset: usize) -> &AtomicU16 {
        debug_assert!(offset.is_multiple_of(2), "the layout of a ring has words at even offsets");
        let word = self.at(offset & !1, 2).cast::<u16>();
        // SAFETY: inside the mapping, aligned because the area is, and only ever accessed atomically here. An atomic
        // is the one kind of place that others may write while a reference to it exists.
        unsafe { AtomicU16::from_ptr(word.as_ptr()) }
    }

    /// 16 bytes at `offset`, a multiple of 16, read once.
    #[inline]
    pub fn read_16(&self, offset: usize) -> [u8; 16] {
        read_words(self.at(offset & !15, 16))
    }

    /// Copies bytes from `offset` on to `out`.
    #[inline]
    pub fn read(&self, offset: usize, out: &mut [u8]) {
        let from = self.at(offset, out.len());
        // SAFETY: both are valid for the length of `out`, which is this process's own memory.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), out.as_mut_ptr(), out.len()) };
    }

    /// Copies `bytes` to `offset`.
    #[inline]
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let to = self.at(offset, bytes.len());
        // SAFETY: both are valid for the length of `bytes`, which are this process's own memory.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
    }
}

/// 16 bytes, which must be inside a mapping and aligned to 8, each word read once.
#[inline]
fn read_words(at: NonNull<u8>) -> [u8; 16] {
    // SAFETY: the callers have checked both.
    let words: [u64; 2] = unsafe { at.cast::<[u64; 2]>().read_volatile() };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&words[0].to_ne_bytes());
    bytes[8..].copy_from_slice(&words[1].to_ne_bytes());
    bytes
}

#[inline]
fn prefetch(at: NonNull<u8>) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint: it reads nothing and can't fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[inline]
fn prefetch_to_write(at: NonNull<u8>) {
    #[cfg(target_arch = "x86_64")]
    // Not the intrinsic: unless the compiler may assume this instruction, that is a prefetch to be read. Processors that
    // don't have it do nothing.
    // SAFETY: a prefetch is a hint: it reads nothing and can't fault, whatever the address.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at.as_ptr(), options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

const SMALL_PAGE: u64 = 4096;
const HUGE_PAGE: u64 = 1 << 30;
const CACHE_LINE: usize = 64;
/// 8192 small pages: less than a millisecond.
const UNMAPPED_AT_ONCE: usize = 32 << 20;

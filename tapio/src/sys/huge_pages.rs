//! Memory for tables of millions of flows.

use std::alloc::{GlobalAlloc, Layout, System};

use rustix::mm::{Advice, madvise};

/// The system's allocator, which asks the kernel for huge pages where an allocation is large: what is looked up at random
/// places of a large table then misses the processor's cache once, not also for the address.
///
/// Measured (`cargo bench -p bench --bench nat`): a new flow among 1 M takes 230 ns instead of 285. The kernel has to
/// allow it, `madvise` or `always` in /sys/kernel/mm/transparent_hugepage/enabled; else nothing changes.
#[derive(Clone, Copy, Debug)]
pub struct HugePages;

/// Bytes from which on an allocation is large. The tables of 65 536 flows, the default, are smaller: a switch that needs
/// little memory doesn't take 2 MiB for its first flow.
const LARGE: usize = 8 << 20;

/// Of all processors that Linux calls so, the smallest one: 2 MiB.
const HUGE_PAGE: usize = 2 << 20;

// SAFETY: all calls go on to `System` as they came, and what it returns is returned.
unsafe impl GlobalAlloc for HugePages {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the same conditions.
        let start = unsafe { System.alloc(layout) };
        advise(start, layout.size());
        start
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the same conditions.
        let start = unsafe { System.alloc_zeroed(layout) };
        advise(start, layout.size());
        start
    }

    #[inline]
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps to the same conditions, and all blocks are those of `System`.
        let start = unsafe { System.realloc(start, layout, size) };
        advise(start, size);
        start
    }

    #[inline]
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the same conditions, and all blocks are those of `System`.
        unsafe { System.dealloc(start, layout) }
    }
}

/// Asks for huge pages for a block that was just allocated, if it is large.
#[inline]
fn advise(start: *mut u8, size: usize) {
    if size >= LARGE && !start.is_null() {
        advise_large(start, size);
    }
}

#[cold]
fn advise_large(start: *mut u8, size: usize) {
    let before = start.align_offset(HUGE_PAGE);
    let inside = size.saturating_sub(before) / HUGE_PAGE * HUGE_PAGE;
    // SAFETY: these pages are inside the block, and the advice changes nothing of what is in them. If the kernel refuses,
    // pages stay small.
    let _ = unsafe { madvise(start.wrapping_add(before).cast(), inside, Advice::LinuxHugepage) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Lines of this process's memory map that have the flag for advised huge pages.
    fn advised() -> usize {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        maps.lines().filter(|line| line.starts_with("VmFlags:") && line.contains(" hg")).count()
    }

    #[test]
    fn a_large_block_is_advised_and_blocks_hold_what_is_written() {
        for (size, grown) in [(100, 200), (LARGE, 2 * LARGE)] {
            let layout = Layout::from_size_align(size, 64).unwrap();
            // SAFETY: the size isn't zero.
            let start = unsafe { HugePages.alloc_zeroed(layout) };
            assert!(!start.is_null());
            assert_eq!(advised() > 0, size >= LARGE && kernel_has_them());
            let last = start.wrapping_add(size - 1);
            // SAFETY: `last` is the last one of the block's `size` bytes.
            unsafe { last.write(7) };
            // SAFETY: the block is of this allocator and layout.
            let start = unsafe { HugePages.realloc(start, layout, grown) };
            assert!(!start.is_null());
            let same = start.wrapping_add(size - 1);
            // SAFETY: `same` is one of the block's `grown` bytes.
            assert_eq!(unsafe { same.read() }, 7);
            // SAFETY: the block is of this allocator, and has this layout since it was grown.
            unsafe { HugePages.dealloc(start, Layout::from_size_align(grown, 64).unwrap()) };
        }
    }

    /// The flag is kept whatever the setting, where huge pages are built in.
    fn kernel_has_them() -> bool {
        fs::exists("/sys/kernel/mm/transparent_hugepage").unwrap()
    }
}

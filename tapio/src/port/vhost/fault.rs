//! A guest whose front-end cuts the memory file short must not end the switch.
//!
//! The file's size is checked when it is mapped, but whoever holds the file may shrink it later (a memfd sealed with
//! `F_SEAL_SHRINK`, as QEMU makes them, excludes that), or huge pages run out. The next access to a page that is no
//! longer there raises SIGBUS in the thread that made it. The handler puts zero pages in the place of that mapping and
//! notes it; the access then goes on, and the port finds the note after its burst and gives the guest up. A SIGBUS of
//! any other origin ends the process, as without the handler.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::{mem, ptr};

/// A range of addresses for which a fault is survived.
#[derive(Debug)]
pub(super) struct Guard(&'static Range);

/// Free when `start` is 0. `len` is 0 while an owner fills it in, or after the range was replaced by zero pages.
#[derive(Debug)]
struct Range {
    start: AtomicUsize,
    len: AtomicUsize,
}

impl Guard {
    /// Watches the mapping of `len` bytes at `start`; `None` if too many are watched already.
    pub fn new(start: usize, len: usize) -> Option<Self> {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(install);
        let free = |range: &&Range| {
            range.start.compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let range = RANGES.iter().find(free)?;
        range.len.store(len, Ordering::Release);
        Some(Self(range))
    }

    /// Whether there was no fault so far.
    pub fn is_whole(&self) -> bool {
        self.0.len.load(Ordering::Acquire) != 0
    }

    /// Ends the watch; to be called before the range is unmapped.
    pub fn forget(&self) {
        self.0.len.store(0, Ordering::Release);
        self.0.start.store(0, Ordering::Release);
    }
}

/// How many faults there were in all watched ranges.
pub(super) fn count() -> u32 {
    FAULTS.load(Ordering::Acquire)
}

fn install() {
    // SAFETY: all zero is a valid sigaction: default action, no flags, empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_fault as extern "C" fn(_, _, _) as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler calls nothing but mmap and sigaction, which are safe in a handler.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) };
}

extern "C" fn on_fault(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler installed with SA_SIGINFO.
    let info = unsafe { &*info };
    // SAFETY: SIGBUS has an address.
    let address = unsafe { info.si_addr() } as usize;
    if !RANGES.iter().any(|range| replace(range, address)) {
        // SAFETY: restores the default action; the access is made again and ends the process.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    }
}

/// Puts zero pages in the place of `range` if `address` is in it.
fn replace(range: &Range, address: usize) -> bool {
    let (start, len) = (range.start.load(Ordering::Acquire), range.len.load(Ordering::Acquire));
    if start == 0 || address.wrapping_sub(start) >= len {
        return false;
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: exactly the range of a live `Mapping`, which nothing else in the process uses. Nobody keeps Rust
    // references into it, so that its content changes at once is what guest memory does anyway.
    let replaced = unsafe { libc::mmap(start as *mut libc::c_void, len, protection, flags, -1, 0) };
    if replaced == libc::MAP_FAILED {
        return false;
    }
    range.len.store(0, Ordering::Release);
    FAULTS.fetch_add(1, Ordering::AcqRel);
    true
}

static RANGES: [Range; WATCHED_RANGES] =
    [const { Range { start: AtomicUsize::new(0), len: AtomicUsize::new(0) } }; WATCHED_RANGES];
static FAULTS: AtomicU32 = AtomicU32::new(0);

/// Regions of all guests together: thousands of guests with a few each.
pub(super) const WATCHED_RANGES: usize = 16_384;

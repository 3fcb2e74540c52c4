//! What guests may take of this process: address space, mappings, descriptors.
//!
//! ```text
//! all there is ─┬─ half: whoever comes first
//!               └─ half: in equal parts, one for each port, which nobody else can take
//! ```
//!
//! So a guest with much memory gets it where there is room, and one that takes all it can leaves the others theirs.

use std::fs;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::process::{Resource, getrlimit};

use crate::port::vhost::fault::WATCHED_RANGES;

/// What one port's guest has taken. It counts as a port as long as it lives.
#[derive(Debug)]
pub(super) struct Account {
    taken: [AtomicU64; Kind::COUNT],
}

/// What is shared out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes of address space.
    Memory,
    /// Mappings, of which the kernel allows a process `vm.max_map_count`.
    Regions,
    /// File descriptors.
    Descriptors,
}

impl Kind {
    const COUNT: usize = 3;

    /// How much of it all guests together may have.
    fn limit(self) -> u64 {
        static LIMITS: OnceLock<[u64; Kind::COUNT]> = OnceLock::new();
        LIMITS.get_or_init(|| [address_space() / 2, regions(), descriptors()])[self as usize]
    }
}

impl Account {
    pub fn open() -> Arc<Self> {
        PORTS.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { taken: Default::default() })
    }

    /// Takes `amount`; `None` if there is no room.
    pub fn take(self: &Arc<Self>, kind: Kind, amount: u64) -> Option<Taken> {
        let taken = self.take_anyway(kind, amount);
        self.is_within(kind).then_some(taken)
    }

    /// Takes `amount` that is there already, room or not.
    pub fn take_anyway(self: &Arc<Self>, kind: Kind, amount: u64) -> Taken {
        TAKEN[kind as usize].fetch_add(amount, Ordering::Relaxed);
        self.taken[kind as usize].fetch_add(amount, Ordering::Relaxed);
        Taken { account: self.clone(), kind, amount }
    }

    /// Whether there is room for what was taken.
    pub fn is_within(&self, kind: Kind) -> bool {
        let own = self.taken[kind as usize].load(Ordering::Relaxed);
        let all = TAKEN[kind as usize].load(Ordering::Relaxed);
        fits(kind.limit(), PORTS.load(Ordering::Relaxed) as u64, all, own)
    }

    /// How much the guest has of it, what still waits to be given back included.
    pub fn taken(&self, kind: Kind) -> u64 {
        self.taken[kind as usize].load(Ordering::Relaxed)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        PORTS.fetch_sub(1, Ordering::Relaxed);
    }
}

fn fits(limit: u64, ports: u64, all: u64, own: u64) -> bool {
    all <= limit / 2 || own <= limit / 2 / ports.max(1)
}

/// What was taken, given back when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    account: Arc<Account>,
    kind: Kind,
    amount: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        TAKEN[self.kind as usize].fetch_sub(self.amount, Ordering::Relaxed);
        self.account.taken[self.kind as usize].fetch_sub(self.amount, Ordering::Relaxed);
    }
}

/// How many bytes addresses of this process can be apart. Stacks are at the upper end.
fn address_space() -> u64 {
    let on_stack = 0_u8;
    (&raw const on_stack as u64).checked_next_power_of_two().unwrap_or(1 << 47)
}

/// Half of what the kernel allows: threads and large allocations need some, too.
fn regions() -> u64 {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    let allowed = text.trim().parse::<u64>().unwrap_or(LEAST_MAP_COUNT);
    (allowed / 2).min(WATCHED_RANGES as u64)
}

/// Three quarters of what the process may have: a message may bring 253 before they are counted.
fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.map_or(u64::MAX / 2, |limit| limit / 4 * 3)
}

static PORTS: AtomicUsize = AtomicUsize::new(0);
static TAKEN: [AtomicU64; Kind::COUNT] = [const { AtomicU64::new(0) }; Kind::COUNT];

/// The kernel's default.
const LEAST_MAP_COUNT: u64 = 65_530;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_for_whoever_comes_first_and_nobody_goes_without_a_part_of_the_other() {
        assert!(fits(100, 5, 50, 50));
        assert!(!fits(100, 5, 51, 50));
        assert!(fits(100, 5, 60, 10));
        assert!(!fits(100, 5, 61, 11));
    }

    #[test]
    fn what_was_taken_comes_back() {
        let account = Account::open();
        let limit = Kind::Memory.limit();
        assert!(limit > 1 << 35);
        let all = account.take(Kind::Memory, limit / 4).unwrap();
        assert!(account.take(Kind::Memory, limit).is_none());
        assert_eq!(account.taken(Kind::Memory), limit / 4);
        drop(all);
        assert_eq!(account.taken(Kind::Memory), 0);
    }
}

//! What threads share is made of. `tests/shared_fdb.rs` has the same names of a model checker.

pub(crate) use std::sync::atomic::{AtomicU16, AtomicU64, Ordering, fence};
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Ports there may be.
pub(crate) const PORTS: usize = packet::PortId::LIMIT;
/// Attempts to read again while entries are being written.
pub(crate) const READS: usize = 8;

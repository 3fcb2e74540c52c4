//! What the benchmarks measure in memory.
//!
//! ```text
//! dataplane.rs  ports in memory ─▶ a worker with all its stages ─▶ ports in memory
//! nat.rs        packets ─▶ a connection table alone
//! ```
//!
//! `cargo bench -p bench` takes the time of these cases; `src/bin/instructions.rs` has their instructions counted.
#![forbid(unsafe_code)]

pub mod dataplane;
pub mod nat;

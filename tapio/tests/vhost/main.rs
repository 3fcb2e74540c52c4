//! vhost-user ports, tested with a guest that does what it is told, right or wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod fuzz_corpus;
mod guest;
mod hostile;
mod lab;
mod lies;
mod messages;
mod notify;
mod offload;
mod rings;
mod session;
#[path = "../../../fuzz/src/vhost_port.rs"]
mod vhost_port;
#[path = "../waiting/mod.rs"]
mod waiting;

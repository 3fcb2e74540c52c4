//! Ports on unix sockets, the tests being the other side.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod dgram;
mod hostile;
mod lab;
mod stream;
#[path = "../waiting/mod.rs"]
mod waiting;

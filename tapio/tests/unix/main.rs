//! Ports on unix sockets, the tests being the other side.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod dgram;
mod lab;
mod stream;

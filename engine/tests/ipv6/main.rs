//! IPv6 through the worker.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

#[path = "../common/mod.rs"]
mod common;
mod forwarding;
mod lab;
mod own;

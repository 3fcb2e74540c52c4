//! Real taps, each in a network namespace of its test's own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod device;
mod lab;
mod traffic;

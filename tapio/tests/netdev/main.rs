//! Real network devices, each in a network namespace of its test's own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod lab;
mod packet_port;
mod shared_address;
mod tap;
mod tap_traffic;

//! Whole-system tests: the real process, real taps, real network namespaces, real clients.
//!
//! Each test makes the hosts it needs (`host.rs`), runs the switch between them (`switch.rs`) and sends traffic from
//! one to the other (`traffic.rs`, or ping and friends). Nothing outside of those namespaces is touched, so tests run
//! side by side. They need root, or a user namespace: `cargo xtask test` sees to it.
#![allow(clippy::panic, reason = "that is how a test fails")]

mod balance;
mod bridge;
mod client;
mod demo;
mod dhcp;
mod dns;
mod document;
mod embedding;
mod fairness;
#[path = "../../tapio/tests/vhost/guest.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "written for the tests of its own crate")]
mod fake_guest;
mod first_network;
mod fragments;
mod full_tables;
mod guard;
mod guest;
mod guest_life;
mod guests;
mod host;
mod host_device;
mod hostile_sockets;
mod import;
mod ipv6;
mod junk;
mod leases;
mod limits;
mod log;
mod loops;
mod mtu_offload;
mod namespaces;
mod nat;
mod nat_rules;
mod natdiscovery;
mod neighbours;
mod ovs;
mod pauses;
mod port_mapping;
mod ports;
mod process;
mod reload;
mod resets;
mod route;
mod service;
mod shared_address;
mod signals;
mod state;
mod stp;
mod switch;
mod traffic;
mod vhost;
mod vlans;

//! Connection tracking and network address translation, without I/O, threads or a clock.
//!
//! ```text
//!                    ┌─ flow known ──▶ rewritten in place                      translate_known   (hit path)
//! packet, parsed ────┤
//!                    └─ Miss ─▶ destination() ─▶ caller routes ─▶ admit_new()                    (first packet)
//!                               PREROUTING,                       POSTROUTING, mapping, port, flow
//!                               or a mapping that lets it in
//! ```
//!
//! Who has many packets at once fetches what they need from memory together: [`Nat::look_ahead`] for known flows, and for
//! first packets [`Nat::prepare`] and [`Nat::look_ahead_new`], before [`Nat::admit`] instead of `admit_new`.
//!
//! A flow is two tuples, one per direction as its packets arrive here; the reply tuple *is* the translation:
//!
//! ```text
//! original  tcp 192.168.122.10:40000 > 1.1.1.1:443      as the inside host sends
//! reply     tcp 1.1.1.1:443 > 10.180.13.232:40000       as the answer arrives: the outside address and port
//! ```
//!
//! A packet in one direction is rewritten to the reverse of the other direction's tuple. Source and destination may
//! both be translated; with neither, the flow is only tracked.
//!
//! What the NAT knows has owners, each in a folder with fields that nothing else sees; [`Nat`] is the index of calls:
//!
//! ```text
//! flows      the table of flows: tuples, states, timeouts       translate     the hit path: flows and fragments
//! outside    mappings, ports, requests, hosts' limits           first_packet  rules, then a flow: all owners
//! chains     rules, how often each decided, servers             lifecycle     a flow's beginning and end: all but fragments
//! fragments  where later ones go, and which wait                saved         flows as bytes
//! ```
//!
//! Time, keys and configuration are arguments: see [`Nat`]. Where the RFCs leave a choice, [`NatSettings`] has it. Flows
//! outlive their process by [`Nat::export`] and [`Nat::import`].
#![forbid(unsafe_code)]

mod chains;
mod config;
mod first_packet;
mod flows;
mod fragments;
mod lifecycle;
mod memory;
mod nat;
mod outside;
mod saved;
#[cfg(test)]
mod testing;
mod translate;

pub use chains::counters::{RuleCounter, RuleCounters};
pub use chains::rule::{
    AddressRange, Balance, Candidate, Condition, Match, NatRule, PortList, PortRange, RuleSet, Target,
};
pub use chains::servers::ServerUse;
pub use config::{Behaviour, Exhausted, NatConfig, NatSettings};
pub use first_packet::lookahead::{Admission, Destination};
pub use flows::packet::{Known, NatPacket};
pub use flows::table::FlowKey;
pub use flows::timeouts::Timeouts;
pub use flows::tuple::Tuple;
pub use flows::view::FlowView;
pub use fragments::WaitingFragment;
pub use nat::Nat;
pub use outside::explicit::{ExplicitMapping, MappingRefused, MappingRequest};
pub use outside::port_pool::{PortChange, PortLease};
pub use saved::record::{STATE_START, StateError};
pub use saved::state::{Imported, Snapshot};

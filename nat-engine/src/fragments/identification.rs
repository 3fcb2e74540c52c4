//! Identifications for packets that may come in fragments, when several hosts send from one address. RFC 7857, 10, and
//! RFC 6864, 5.3.1: they must not repeat as long as their receiver may put fragments together.
//!
//! ```text
//! (source, destination, protocol) as the packet leaves ──keyed hash──▶ one of 1024 counters, and where it starts
//! ```
//!
//! Every 65 536th packet to one destination has the same one again, from whatever host. Packets that can't be fragmented any
//! more, nearly all, keep what they have: nobody looks at it.

use std::net::SocketAddrV4;

use crate::flows::packet::NatPacket;
use crate::flows::tuple::Tuple;
use packet::keyed::KeyedHash;

#[derive(Debug)]
pub(super) struct Identifications {
    counters: Box<[u16]>,
    hash: KeyedHash,
}

/// 2 KiB. Destinations that share a counter use it up faster, but don't collide.
const COUNTERS: usize = 1024;

impl Identifications {
    pub(super) fn new(seed: [u64; 2]) -> Self {
        Self { counters: vec![0; COUNTERS].into_boxed_slice(), hash: KeyedHash::new(seed, "identifications") }
    }

    /// The next one for a packet that departs with this tuple.
    pub(super) fn next(&mut self, packet: &NatPacket<'_>, departing: Tuple) -> u16 {
        let ends = (
            SocketAddrV4::new(departing.source_address(), 0),
            SocketAddrV4::new(departing.destination_address(), 0),
        );
        let hash = self.hash.of(Tuple::new(departing.protocol(), ends.0, ends.1).words());
        let counter = &mut self.counters[hash as usize % COUNTERS];
        let id = counter.wrapping_add((hash >> 48) as u16);
        *counter = counter.wrapping_add(segments(packet));
        id
    }
}

/// How many packets this one is, or more: the segments of a super-frame count up from its identification.
fn segments(packet: &NatPacket<'_>) -> u16 {
    if packet.partial_checksum { 1 + packet.ip.total_len / SMALLEST_SEGMENT } else { 1 }
}

/// In use are 536 and more: RFC 9293, 3.7.1.
const SMALLEST_SEGMENT: u16 = 512;

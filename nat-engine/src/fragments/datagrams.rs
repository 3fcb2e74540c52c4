//! Where later fragments go: only the first one has ports.
//!
//! ```text
//! first fragment  ─▶ translated by its flow; (src, dst, protocol, id) ─▶ new addresses and id, for 30 s
//! later fragment  ─▶ found: gets these; not found: waits until its first has come
//! ```
//!
//! The table has a fixed size; in a set of four, a new datagram takes the place of the oldest. So a flood of first
//! fragments costs only datagrams whose fragments are far apart (RFC 4787 REQ-14a), and mostly those of its own port of the
//! switch: who has two places of a full set takes the older of them.

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::wire::{FromBytes, Ipv4Header};
use packet::{Ipv4Packet, Millis, PortId, Protocol};

use crate::flows::packet::NatPacket;
use crate::flows::tuple::Tuple;
use packet::keyed::KeyedHash;

/// How long a datagram's fragments are expected: as long as Linux waits for reassembly. RFC 791 suggests 15 s.
const LIFETIME: Millis = Millis::from_secs(30);

/// Datagrams of which fragments are outstanding: 256 sets of four, 64 KiB.
const SETS: usize = 256;
const WAYS: usize = 4;

#[derive(Debug)]
pub(super) struct Datagrams {
    sets: Box<[[Option<Datagram>; WAYS]]>,
    hash: KeyedHash,
    /// First fragments ever recorded.
    recorded: u64,
}

#[derive(Clone, Copy, Debug)]
struct Datagram {
    key: Tuple,
    route: Route,
    owner: Option<PortId>,
    expires: Millis,
}

/// Where a datagram's fragments go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Route {
    /// On as they are: NAT has no part in it.
    Untranslated,
    /// That of a flow, whose tuple the first fragment had when it arrived.
    Translated { flow: Tuple, src: Ipv4Addr, dst: Ipv4Addr, id: u16 },
}

const _: () = assert!(size_of::<Option<Datagram>>() <= 64);

impl Datagrams {
    pub(super) fn new(seed: [u64; 2]) -> Self {
        Self {
            sets: vec![[None; WAYS]; SETS].into_boxed_slice(),
            hash: KeyedHash::new(seed, "fragments"),
            recorded: 0,
        }
    }

    /// First fragments that have come so far.
    pub(super) const fn recorded(&self) -> u64 {
        self.recorded
    }

    pub(super) fn record(&mut self, key: Tuple, route: Route, owner: Option<PortId>, now: Millis) {
        let set = &mut self.sets[set_of(&self.hash, key)];
        let is = |place: usize, what: &dyn Fn(Datagram) -> bool| set[place].is_some_and(what);
        let same = (0..WAYS).find(|&place| is(place, &|datagram| datagram.key == key));
        let free = || (0..WAYS).find(|&place| !is(place, &|datagram| now < datagram.expires));
        let age = |&place: &usize| set[place].map_or(Millis::ZERO, |datagram| datagram.expires);
        let own = || (0..WAYS).filter(|&place| is(place, &|datagram| datagram.owner == owner));
        let oldest = || match own().count() {
            0 | 1 => (0..WAYS).min_by_key(age),
            _ => own().min_by_key(age),
        };
        let place = same.or_else(free).or_else(oldest).unwrap_or_default();
        set[place] = Some(Datagram { key, route, owner, expires: now + LIFETIME });
        self.recorded += 1;
    }

    /// Where the fragments of a datagram go, if its first one has come.
    pub(super) fn find(&self, key: Tuple, now: Millis) -> Option<Route> {
        let mut datagrams = self.sets[set_of(&self.hash, key)].iter().flatten();
        let found = datagrams.find(|datagram| datagram.key == key && now < datagram.expires);
        found.map(|datagram| datagram.route)
    }
}

/// A fragment that would overwrite the flags of a TCP header that has passed already (RFC 1858, 4), or what a DCCP packet is,
/// or make the datagram longer than a packet can be.
pub(super) fn is_unsafe(packet: &NatPacket<'_>) -> bool {
    let Ok((header, _)) = Ipv4Header::ref_from_prefix(packet.bytes) else { return true };
    let offset = u32::from(header.flags_fragment.get() & Ipv4Header::OFFSET_MASK) * 8;
    let end = offset + u32::from(packet.ip.total_len);
    (matches!(packet.ip.protocol, Protocol::TCP | Protocol::DCCP) && offset < 16) || end > u32::from(u16::MAX)
}

/// RFC 791: fragments of a datagram share source, destination, protocol and identification.
pub(super) fn key_of(ip: &Ipv4Packet) -> Tuple {
    Tuple::new(ip.protocol, SocketAddrV4::new(ip.src, ip.id), SocketAddrV4::new(ip.dst, 0))
}

fn set_of(hash: &KeyedHash, key: Tuple) -> usize {
    hash.of(key.words()) as usize % SETS
}

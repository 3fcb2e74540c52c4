//! Where later fragments go: only the first one has ports.
//!
//! ```text
//! first fragment  ─▶ translated by its flow; (src, dst, protocol, id) ─▶ new addresses, for 30 s
//! later fragment  ─▶ found: gets these addresses; not found: a miss, and it can't start a flow
//! ```
//!
//! The table has a fixed size; in a set of four, a new datagram takes the place of the oldest. So a flood of first
//! fragments costs only datagrams whose fragments are far apart (RFC 4787 REQ-14a).

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::wire::{FromBytes, Ipv4Header};
use packet::{DropReason, Ipv4Packet, Millis, Protocol};

use crate::keyed::{KeyedHash, Purpose};
use crate::{Known, NatPacket, Tuple};

/// How long a datagram's fragments are expected: as long as Linux waits for reassembly. RFC 791 suggests 15 s.
const LIFETIME: Millis = Millis::from_secs(30);

/// Datagrams of which fragments are outstanding: 256 sets of four, 40 KiB.
const SETS: usize = 256;
const WAYS: usize = 4;

#[derive(Debug)]
pub(crate) struct Fragments {
    sets: Box<[[Option<Datagram>; WAYS]]>,
    hash: KeyedHash,
}

#[derive(Clone, Copy, Debug)]
struct Datagram {
    key: Tuple,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    expires: Millis,
}

impl Fragments {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            sets: vec![[None; WAYS]; SETS].into_boxed_slice(),
            hash: KeyedHash::new(seed, Purpose::Fragments),
        }
    }

    /// A first fragment came as `arrived` and leaves as `left`: where later ones will go.
    #[cold]
    pub(crate) fn record(&mut self, arrived: &Ipv4Packet, left: Tuple, now: Millis) {
        let key = key_of(arrived);
        let set = &mut self.sets[set_of(&self.hash, key)];
        let same = set.iter().position(|way| way.is_some_and(|datagram| datagram.key == key));
        let age = |&way: &usize| set[way].map_or(Millis::ZERO, |datagram| datagram.expires);
        let way = same.or_else(|| (0..WAYS).min_by_key(age)).unwrap_or_default();
        let (src, dst) = (left.source_address(), left.destination_address());
        set[way] = Some(Datagram { key, src, dst, expires: now + LIFETIME });
    }

    /// Gives a later fragment the addresses that its first one got.
    #[cold]
    pub(crate) fn translate_later(&self, packet: &mut NatPacket<'_>, now: Millis) -> Known {
        let key = key_of(packet.ip);
        let set = &self.sets[set_of(&self.hash, key)];
        let is_it = |datagram: &&Datagram| datagram.key == key && now < datagram.expires;
        match set.iter().flatten().find(is_it) {
            Some(_) if is_unsafe(packet) => Known::Drop(DropReason::BadFragment),
            Some(datagram) => {
                packet.rewrite_addresses(datagram.src, datagram.dst);
                Known::Translated
            }
            None => Known::Miss,
        }
    }
}

/// A fragment that would overwrite the flags of a TCP header that has passed already (RFC 1858, 4), or make the datagram
/// longer than a packet can be.
fn is_unsafe(packet: &NatPacket<'_>) -> bool {
    let Ok((header, _)) = Ipv4Header::ref_from_prefix(packet.bytes) else { return true };
    let offset = u32::from(header.flags_fragment.get() & Ipv4Header::OFFSET_MASK) * 8;
    let end = offset + u32::from(packet.ip.total_len);
    (packet.ip.protocol == Protocol::TCP && offset < 16) || end > u32::from(u16::MAX)
}

/// RFC 791: fragments of a datagram share source, destination, protocol and identification.
fn key_of(ip: &Ipv4Packet) -> Tuple {
    Tuple::new(ip.protocol, SocketAddrV4::new(ip.src, ip.id), SocketAddrV4::new(ip.dst, 0))
}

fn set_of(hash: &KeyedHash, key: Tuple) -> usize {
    hash.of(key.words()) as usize % SETS
}

//! A sequence of packets, and time, through the NAT of one network.
//!
//! Input: steps of `flags:8 wait:8 len:8` and `len` bytes, an IPv4 packet whose length and header checksum are put right.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use nat_engine::{Condition, Known, Match, Nat, NatConfig, NatPacket, NatRule, PortList, RuleSet, Target};
use packet::{Ipv4Packet, Millis, NetworkId, Protocol, checksum};

const LAN: NetworkId = NetworkId::new(0);
const WAN: NetworkId = NetworkId::new(1);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const LIMIT: u32 = 16;

/// Panics if something is wrong.
pub fn run(data: &[u8]) {
    let mut nat = Nat::new(config(), [1, 2]);
    let (mut rest, mut now) = (data, Millis::ZERO);
    while let Some((&[flags, wait, len], behind)) = rest.split_first_chunk() {
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(len)));
        rest = behind;
        now = now + Millis::new(u64::from(wait) * 1000);
        nat.on_timeout(now);
        assert!(nat.next_timeout().is_none_or(|at| at > now));
        pass(&mut nat, bytes.to_vec(), flags, now);
        while let Some(fragment) = nat.next_fragment(now) {
            pass(&mut nat, fragment.bytes, u8::from(fragment.from == WAN), now);
        }
        check(&nat, now);
    }
    nat.on_timeout(now + Millis::from_secs(100_000));
    assert_eq!((nat.flow_count(), nat.admitted()), (0, nat.expired()));
}

/// A guest's network behind an uplink, with a published port.
pub(crate) fn config() -> NatConfig {
    let host = |address| packet::Ipv4Cidr::new(address, 32).map(Condition::is);
    let publish = Match {
        destination: host(PUBLIC),
        protocol: Some(Condition::is(Protocol::TCP)),
        destination_ports: Some(Condition::is(PortList::port(80))),
        ..Match::default()
    };
    let outwards = Match { output: Some(Condition::is(WAN)), ..Match::default() };
    NatConfig {
        rules: RuleSet {
            prerouting: vec![NatRule {
                matches: publish,
                target: Target::Dnat { addresses: GUEST.into(), ports: Some((8080, 8080)), base: None },
            }],
            postrouting: vec![NatRule { matches: outwards, target: Target::Masquerade { ports: None } }],
        },
        flow_limit: LIMIT,
        addresses: vec![Some(Ipv4Addr::new(10, 0, 0, 1)), Some(PUBLIC)],
        ..NatConfig::default()
    }
}

fn pass(nat: &mut Nat, mut bytes: Vec<u8>, flags: u8, now: Millis) {
    put_header_right(&mut bytes);
    let Ok(mut ip) = Ipv4Packet::parse(&bytes) else { return };
    let before = bytes.clone();
    let flows = nat.flow_count();
    let mut packet = NatPacket { bytes: &mut bytes, ip: &mut ip, partial_checksum: flags & 2 != 0 };
    let input = if flags & 1 == 0 { LAN } else { WAN };
    let refused = match nat.translate_known(&mut packet, now) {
        Known::Translated => false,
        Known::Drop(_) => true,
        Known::Later => {
            let _ = nat.keep_fragment(packet.ip, input, packet.bytes, now);
            true
        }
        Known::Miss => {
            let admitted = nat.destination(packet.ip, input).and_then(|destination| {
                let output = if destination.address.octets()[0] == 10 { LAN } else { WAN };
                nat.admit_new(&mut packet, destination, input, output, now)
            });
            admitted.is_err()
        }
    };
    if refused {
        assert_eq!((bytes, nat.flow_count()), (before, flows));
    } else {
        assert_eq!(Ipv4Packet::parse(&bytes), Ok(ip));
    }
}

/// Few flows have the sense of a real packet by chance, so the boring fields are filled in.
fn put_header_right(bytes: &mut [u8]) {
    let len = bytes.len() as u16;
    if bytes.len() < 20 {
        return;
    }
    bytes[0] = 0x45 + bytes[0] % 2;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    bytes[10..12].fill(0);
    let header = usize::from(bytes[0] & 0xf) * 4;
    let sum = bytes.get(..header).map_or(0, checksum::of);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    if bytes[9] == 1 && bytes.len() >= header + 4 {
        bytes[header + 2..header + 4].fill(0);
        let sum = checksum::of(&bytes[header..]);
        bytes[header + 2..header + 4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The cap holds, and no outside port belongs to two inside sockets.
fn check(nat: &Nat, now: Millis) {
    assert!(nat.flow_count() <= LIMIT as usize);
    let mut owners = HashMap::new();
    for flow in nat.flows(now).filter(|flow| *flow.reply.destination().ip() == PUBLIC) {
        let outside = (flow.reply.protocol(), flow.reply.destination());
        let owner = owners.entry(outside).or_insert(flow.original.source());
        assert_eq!(*owner, flow.original.source(), "{outside:?}");
    }
}

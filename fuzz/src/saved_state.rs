//! State that a NAT is to take over: whatever it is, it is refused, or the NAT is as sound as any.
//!
//! Input: taken as it is; and then `mappings:8 age:8`, mappings and flows, as the body of a state in
//! each format whose header and checksum are put right.

use std::net::Ipv4Addr;

use nat_engine::{FlowView, Known, Nat, NatConfig, NatPacket, STATE_START, Tuple};
use packet::builder::eth;
use packet::checksum::{self, Sum};
use packet::{Ipv4Packet, Millis, NetworkId, Protocol};
use siphasher::sip::SipHasher13;

const LAN: NetworkId = NetworkId::new(0);
const WAN: NetworkId = NetworkId::new(1);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const LIMIT: u32 = 4;
/// Later than the longest timeout.
const NOW: Millis = Millis::from_secs(100_000);
const MAPPING: usize = 19;
/// Of a flow, in each format.
const FLOWS: [(u8, usize); 3] = [(1, 70), (2, 86), (3, 86)];

/// Panics if something is wrong.
pub fn run(data: &[u8]) {
    take_over(data, Millis::ZERO);
    if let Some((&[mappings, age], records)) = data.split_first_chunk() {
        for (format, flow) in FLOWS {
            let ports = if format == 3 { age % 4 } else { 0 };
            let state = state(format, flow, mappings, records, ports);
            take_over(&state, Millis::from_secs(u64::from(age) * 60));
        }
    }
}

/// Of the mappings, the first `ports` are asked for, and so many ports rest.
fn state(format: u8, flow: usize, mappings: u8, records: &[u8], ports: u8) -> Vec<u8> {
    let mappings = usize::from(mappings).min(records.len() / MAPPING);
    let flows = (records.len() - mappings * MAPPING) / flow;
    let mut state = [&b"tapswNAT\0"[..], &[format, 0, 1]].concat();
    state.extend((mappings as u32).to_be_bytes());
    state.extend((flows as u32).to_be_bytes());
    if format == 3 {
        [ports, ports].iter().for_each(|&count| state.extend(u32::from(count).to_be_bytes()));
    }
    state.extend(PUBLIC.octets());
    state.extend(&records[..mappings * MAPPING + flows * flow]);
    let left = 20_000_000_u64.to_be_bytes();
    (0..u32::from(ports))
        .for_each(|place| state.extend([&place.to_be_bytes()[..], &[7; 12], &left].concat()));
    (0..ports).for_each(|port| state.extend([&[17][..], &PUBLIC.octets(), &[9, port], &left].concat()));
    let sum = SipHasher13::new().hash(&state);
    state.extend(sum.to_be_bytes());
    assert_eq!(Nat::state_len(&state[..STATE_START]), Ok(state.len() as u64));
    state
}

fn take_over(state: &[u8], age: Millis) {
    let mut nat = Nat::new(config(LIMIT), [1, 2]);
    let Ok(imported) = nat.import(state, age, NOW) else {
        assert_eq!((nat.flow_count(), nat.admitted()), (0, 0));
        return;
    };
    assert_eq!((nat.flow_count(), imported.flows), (imported.flows, nat.flow_count()));
    assert!(nat.flow_count() <= LIMIT as usize && nat.next_timeout().is_none_or(|at| at > NOW));
    let again = nat.export(NOW);
    let is_empty = again.len() == Nat::new(config(LIMIT), [3, 4]).export(NOW).len();
    assert_eq!(nat.import(&again, age, NOW).is_err(), !is_empty);
    assert_eq!(views(&successor(&again)), views(&nat));

    views(&nat).iter().for_each(|view| packets_pass(&mut nat, view));
    others_pass(&mut nat);
    views(&successor(&nat.export(NOW)));

    let end = NOW + Millis::from_secs(100_000);
    nat.on_timeout(end);
    assert_eq!((nat.flow_count(), nat.next_timeout(), nat.admitted()), (0, None, nat.expired()));
    let rested = end + nat.settings().quarantine;
    let empty = Nat::new(config(LIMIT), [3, 4]).export(rested);
    assert_eq!(nat.export(rested).len(), empty.len(), "no mapping stays");
}

/// The NAT of the next process.
fn successor(state: &[u8]) -> Nat {
    let mut nat = Nat::new(config(LIMIT), [5, 6]);
    let imported = nat.import(state, Millis::ZERO, NOW);
    assert_eq!(imported.map(|imported| imported.left_out), Ok(0));
    nat
}

fn views(nat: &Nat) -> Vec<FlowView> {
    let mut views: Vec<FlowView> = nat.flows(NOW).collect();
    views.sort_by_key(|view| view.original.to_string());
    views
}

/// Packets of either direction are translated, and their checksums stay right.
fn packets_pass(nat: &mut Nat, view: &FlowView) {
    for (arrives, other, asks) in [(view.original, view.reply, true), (view.reply, view.original, false)] {
        let Some(frame) = frame_of(arrives, asks) else { continue };
        let mut bytes = frame[14..].to_vec();
        let Ok(mut ip) = Ipv4Packet::parse(&bytes) else { continue };
        let mut packet = NatPacket { bytes: &mut bytes, ip: &mut ip, partial_checksum: false };
        assert_eq!(nat.translate_known(&mut packet, NOW), Known::Translated, "{arrives}");
        assert_eq!(Ipv4Packet::parse(&bytes), Ok(ip));
        assert_eq!((ip.src, ip.dst), (other.destination_address(), other.source_address()));
        if arrives.protocol() != Protocol::ICMP {
            assert_eq!(Tuple::of(&ip), Some(other.reversed()));
        }
        assert!(checksum_right(&bytes, &ip), "{arrives}");
    }
}

/// A packet with this tuple, of the side that asks or of the other; `None` for other protocols than these.
fn frame_of(tuple: Tuple, asks: bool) -> Option<Vec<u8>> {
    let frame = eth().ipv4(tuple.source_address(), tuple.destination_address());
    let (source, destination) = (tuple.source_port(), tuple.destination_port());
    Some(match tuple.protocol() {
        Protocol::TCP => frame.tcp(source, destination, 0x10).payload(b"data"),
        Protocol::UDP => frame.udp(source, destination).payload(b"data"),
        Protocol::ICMP if asks => frame.icmp_echo(source, 1).payload(b"data"),
        Protocol::ICMP => frame.icmp_echo_reply(destination, 1).payload(b"data"),
        _ => return None,
    })
}

fn checksum_right(bytes: &[u8], ip: &Ipv4Packet) -> bool {
    let l4 = &bytes[usize::from(ip.header_len)..];
    let sum = match ip.protocol {
        Protocol::ICMP => Sum::of(l4),
        _ => Sum::pseudo_header_v4(ip.src, ip.dst, ip.protocol.0, l4.len() as u16).add(Sum::of(l4)),
    };
    let header = checksum::of(&bytes[..usize::from(ip.header_len)]);
    header == 0 && sum.fold() == 0xffff
}

/// What is new is admitted, if there is room, to a place of its own.
fn others_pass(nat: &mut Nat) {
    for (port, to) in [(5000, REMOTE), (5001, REMOTE), (5000, PUBLIC)] {
        let frame = eth().ipv4(GUEST, to).udp(port, 53).payload(b"");
        let mut bytes = frame[14..].to_vec();
        let Ok(mut ip) = Ipv4Packet::parse(&bytes) else { continue };
        let mut packet = NatPacket { bytes: &mut bytes, ip: &mut ip, partial_checksum: false };
        let before = nat.flow_count();
        if nat.translate_known(&mut packet, NOW) == Known::Miss
            && let Ok(destination) = nat.destination(packet.ip, LAN)
            && nat.admit_new(&mut packet, destination, LAN, WAN, NOW).is_ok()
        {
            // A new one, perhaps in the place of one that nobody has answered.
            assert_eq!(nat.flow_count(), (before + 1).min(LIMIT as usize));
            assert!(checksum_right(&bytes, &ip));
        }
    }
    assert!(nat.flow_count() <= LIMIT as usize);
    let mut arriving: Vec<String> =
        nat.flows(NOW).flat_map(|view| [view.original, view.reply]).map(|tuple| tuple.to_string()).collect();
    arriving.sort();
    arriving.dedup();
    assert_eq!(arriving.len(), 2 * nat.flow_count(), "a packet belongs to one flow");
}

fn config(flow_limit: u32) -> NatConfig {
    NatConfig { flow_limit, uplinks: vec![Some(WAN), None], ..super::nat_sequence::config() }
}

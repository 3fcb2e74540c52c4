//! An uplink whose address is a host's, too: the switch has its ports, and is silent about all else.

mod common;

use common::*;
use packet::builder::eth;
use packet::wire::TcpHeader;
use packet::{Ipv4Packet, Millis, Protocol};

const RANGE: std::ops::RangeInclusive<u16> = 40_000..=40_999;

fn shared() -> Bench {
    let mut config = nat_config();
    if let Some(interface) = &mut config.networks[WAN.index()].interface {
        interface.settings.shared = Some((*RANGE.start(), *RANGE.end()));
    }
    let mut bench = Bench::new(config);
    for n in 0..4 {
        bench.send(n, &[arp_request(guest_mac(n), guest_ip(n), LAN_IP)]);
    }
    bench
}

fn ip_of(frame: &[u8]) -> Ipv4Packet {
    Ipv4Packet::parse(&frame[14..]).expect("what the switch sends can be read")
}

/// A guest's frame to the world, as it leaves; the router is asked for on the way.
fn out(bench: &mut Bench, frame: Vec<u8>) -> Ipv4Packet {
    let mut sent = bench.send(0, &[frame]);
    if !sent.contains_key(&UPLINK) {
        bench.wait(Millis::new(1));
        sent = bench.send(UPLINK, &[arp_reply(OUTSIDE_MAC, OUTSIDE, (WAN_MAC, WAN_IP))]);
    }
    ip_of(&sent[&UPLINK][0])
}

#[test]
fn guests_leave_by_the_hosts_address_and_ports_of_the_range_each_told_before_it_is_used() {
    let mut bench = shared();
    let udp = eth().src(guest_mac(0)).dst(LAN_MAC).ipv4(guest_ip(0), FAR).udp(53_000, 53).payload(b"?");
    let left = out(&mut bench, udp);
    assert_eq!(left.src, WAN_IP);
    assert!(RANGE.contains(&left.src_port), "{}", left.src_port);
    let told = bench.worker.take_port_changes();
    assert!(
        told.iter().any(
            |t| (t.address, t.protocol, t.port, t.leased) == (WAN_IP, Protocol::UDP, left.src_port, true)
        )
    );
    assert!(bench.worker.take_port_changes().is_empty());
    let answer = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv4(FAR, WAN_IP).udp(53, left.src_port).payload(b"!");
    let sent = bench.send(UPLINK, &[answer]);
    assert_eq!((ip_of(&sent[&0][0]).dst, ip_of(&sent[&0][0]).dst_port), (guest_ip(0), 53_000));
    let ping = eth().src(guest_mac(0)).dst(LAN_MAC).ipv4(guest_ip(0), FAR).icmp_echo(7, 1).payload(b"");
    assert!(RANGE.contains(&out(&mut bench, ping).src_port));
}

#[test]
fn what_is_the_hosts_is_neither_answered_nor_counted_as_lost() {
    let mut bench = shared();
    let to_host = || eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv4(FAR, WAN_IP);
    let fragment = |offset: u16| {
        to_host()
            .ip(move |ip| (ip.flags_fragment, ip.id) = (offset.into(), 7.into()))
            .udp(9, 999)
            .payload(&[0; 24])
    };
    for frame in [
        to_host().icmp_echo(7, 1).payload(b"ping"),
        to_host().icmp_echo_reply(7, 1).payload(b"pong"),
        to_host().tcp(80, 22, TcpHeader::SYN).payload(b""),
        to_host().tcp(80, 40_001, TcpHeader::ACK).payload(b""),
        to_host().udp(53, 40_002).payload(b"x"),
        to_host().icmp(3, 1, 0).payload(&to_host().udp(1, 2).payload(b"")[14..]),
        fragment(0x2000),
        fragment(4),
        arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP),
    ] {
        assert_eq!(bench.send(UPLINK, std::slice::from_ref(&frame)), Sent::new(), "{frame:02x?}");
    }
    assert_eq!(bench.wait(Millis::from_secs(60)), Sent::new());
    assert_eq!(bench.drops(UPLINK), []);
    assert_eq!(bench.worker.stats().own_drops.nonzero().count(), 0);
}

#[test]
fn the_router_is_asked_for_as_the_host_would_and_published_ports_lead_to_guests() {
    let mut bench = shared();
    let frame = eth().src(guest_mac(0)).dst(LAN_MAC).ipv4(guest_ip(0), FAR).udp(9, 53).payload(b"?");
    bench.send(0, &[frame]);
    let asked = bench.wait(Millis::new(1));
    assert_eq!(asked[&UPLINK], [arp_request(WAN_MAC, WAN_IP, OUTSIDE)]);
    let syn = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv4(FAR, WAN_IP).tcp(1000, 8888, TcpHeader::SYN);
    let sent = bench.send(UPLINK, &[syn.payload(b"")]);
    assert_eq!((ip_of(&sent[&1][0]).dst, ip_of(&sent[&1][0]).dst_port), (guest_ip(1), 8080));
}

#[test]
fn a_guest_that_wants_the_host_itself_is_told_that_it_cant_have_it() {
    let mut bench = shared();
    let to_host = || eth().src(guest_mac(0)).dst(LAN_MAC).ipv4(guest_ip(0), WAN_IP);
    for frame in [to_host().icmp_echo(7, 1).payload(b""), to_host().tcp(9, 22, TcpHeader::SYN).payload(b"")] {
        let sent = bench.send(0, &[frame]);
        // Destination unreachable, communication administratively prohibited.
        assert_eq!(sent[&0][0][34..36], [3, 13]);
    }
    assert_eq!(bench.drops(0), [("host_not_reached", 2)]);
}

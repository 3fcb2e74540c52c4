//! The worker as a gateway: routing and NAT, seen from the ports.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use std::net::Ipv4Addr;

use common::*;
use engine::{NetworkConfig, PortConfig, Reach};
use packet::builder::eth;
use packet::checksum::Sum;
use packet::wire::TcpHeader;
use packet::{Gso, Ipv4Packet, L4, MacAddr, Millis, NetworkId, Offload};

#[test]
fn masquerade_out_and_back() {
    let mut bench = Bench::nat();
    let (port, out) =
        only(bench.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).udp(5000, 53).payload(b"q")]));
    let ip = ip_of(&out);
    assert_eq!((port, ip.src, ip.dst, ip.ttl), (UPLINK, WAN_IP, FAR, 63));
    assert_eq!((ip.l4, ip.src_port, ip.dst_port), (L4::Udp, 5000, 53));
    assert_eq!((&out[..6], &out[6..12]), (&OUTSIDE_MAC.octets()[..], &WAN_MAC.octets()[..]));
    let (port, back) =
        only(bench.send(UPLINK, &[from_outside().ipv4(FAR, WAN_IP).udp(53, 5000).payload(b"a")]));
    let ip = ip_of(&back);
    assert_eq!((port, ip.src, ip.dst), (0, FAR, guest_ip(0)));
    assert_eq!((ip.l4, ip.src_port, ip.dst_port), (L4::Udp, 53, 5000));
    assert_eq!(bench.worker.stats().flows, 1);
    assert!(bench.drops(0).is_empty() && bench.drops(UPLINK).is_empty());
}

#[test]
fn ping_through_masquerade_keeps_its_id() {
    let mut bench = Bench::nat();
    let (_, out) =
        only(bench.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).icmp_echo(77, 1).payload(b"x")]));
    assert_eq!((ip_of(&out).l4, ip_of(&out).src_port), (L4::EchoRequest, 77));
    let (port, back) =
        only(bench.send(UPLINK, &[from_outside().ipv4(FAR, WAN_IP).icmp_echo_reply(77, 1).payload(b"x")]));
    assert_eq!((port, ip_of(&back).dst), (0, guest_ip(0)));
}

#[test]
fn a_published_port_reaches_the_guest_with_the_clients_address() {
    let mut bench = Bench::nat();
    let syn = from_outside().ipv4(FAR, WAN_IP).tcp(40000, 8888, TcpHeader::SYN).payload(b"");
    let (port, inside) = only(bench.send(UPLINK, &[syn]));
    let ip = ip_of(&inside);
    assert_eq!((port, ip.src, ip.dst), (1, FAR, guest_ip(1)));
    let answer =
        from_guest(1).ipv4(guest_ip(1), FAR).tcp(8080, 40000, TcpHeader::SYN | TcpHeader::ACK).payload(b"");
    let (port, outside) = only(bench.send(1, &[answer]));
    assert_eq!((port, ip_of(&outside).src), (UPLINK, WAN_IP));
    assert_eq!((ip_of(&outside).src_port, ip_of(&outside).dst_port), (8888, 40000));
}

#[test]
fn a_guest_reaches_a_published_port_of_its_neighbour_and_the_reply_comes_back() {
    let mut bench = Bench::nat();
    let syn = from_guest(0).ipv4(guest_ip(0), WAN_IP).tcp(40000, 8888, TcpHeader::SYN).payload(b"");
    let (port, seen) = only(bench.send(0, &[syn]));
    let ip = ip_of(&seen);
    assert_eq!((port, ip.src, ip.dst), (1, WAN_IP, guest_ip(1)));
    let answer = from_guest(1)
        .ipv4(guest_ip(1), WAN_IP)
        .tcp(8080, ip.src_port, TcpHeader::SYN | TcpHeader::ACK)
        .payload(b"");
    let (port, back) = only(bench.send(1, &[answer]));
    assert_eq!((port, ip_of(&back).src, ip_of(&back).dst), (0, WAN_IP, guest_ip(0)));
    assert_eq!((ip_of(&back).src_port, ip_of(&back).dst_port), (8888, 40000));
}

#[test]
fn who_was_sent_to_comes_in_by_the_mapping_from_any_port() {
    let mut bench = Bench::nat();
    bench.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).udp(5000, 7).payload(b"")]);
    let (port, inward) =
        only(bench.send(UPLINK, &[from_outside().ipv4(FAR, WAN_IP).udp(99, 5000).payload(b"")]));
    assert_eq!((port, ip_of(&inward).dst), (0, guest_ip(0)));
    let stranger = from_outside().ipv4(OUTSIDE, WAN_IP).udp(99, 5000).payload(b"");
    assert!(bench.send(UPLINK, &[stranger]).is_empty());
    assert_eq!(bench.drops(UPLINK), [("nat_unsolicited", 1)]);
}

#[test]
fn a_connection_goes_on_in_the_worker_of_the_next_process() {
    let mut before = Bench::nat();
    let (_, syn) =
        only(before.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).tcp(5000, 80, 2).payload(b"")]));
    assert_eq!(ip_of(&syn).src, WAN_IP);
    let state = before.worker.export_flows(before.now);
    let mut after = Bench::nat();
    let expected = nat_engine::Imported { flows: 1, left_out: 0 };
    assert_eq!(after.worker.import_flows(&state, Millis::ZERO, after.now), Ok(expected));
    let answer = from_outside().ipv4(FAR, WAN_IP).tcp(80, 5000, 0x12).payload(b"");
    let (port, inward) = only(after.send(UPLINK, &[answer]));
    assert_eq!((port, ip_of(&inward).dst), (0, guest_ip(0)));
    assert!(after.worker.import_flows(&state[1..], Millis::ZERO, after.now).is_err());
}

#[test]
fn a_redirected_connection_ends_at_the_switch() {
    let mut config = nat_config();
    config.rules.prerouting[0].target = nat_engine::Target::Redirect { ports: None };
    config.rules.prerouting[0].matches.destination = None;
    config.rules.prerouting[0].matches.input = Some(nat_engine::Condition::is(LAN));
    let mut bench = Bench::nat();
    bench.worker.install(config);
    bench.send(0, &[arp_request(guest_mac(0), guest_ip(0), LAN_IP)]);
    let (port, told) =
        only(bench.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).tcp(5000, 8888, 2).payload(b"")]));
    assert_eq!((port, icmp_of(&told)), (0, (3, 3)));
}

#[test]
fn what_nobody_asked_for_does_not_come_in() {
    let mut bench = Bench::nat();
    let udp = |dst| from_outside().ipv4(FAR, dst).udp(53, 5000).payload(b"x");
    assert!(bench.send(UPLINK, &[udp(WAN_IP), udp(guest_ip(0))]).is_empty());
    assert_eq!(bench.drops(UPLINK), [("nat_unsolicited", 2)]);
}

#[test]
fn rfc1812_s5_3_7_a_subnets_first_and_last_address_are_no_sources() {
    let mut bench = Bench::nat();
    for edge in [Ipv4Addr::new(192, 168, 122, 255), Ipv4Addr::new(192, 168, 122, 0)] {
        let frame = |to| from_guest(0).ipv4(edge, to).udp(5000, 53).payload(b"");
        assert!(
            bench
                .send(0, &[frame(FAR), frame(LAN_IP), arp_request(guest_mac(0), edge, LAN_IP)])
                .values()
                .flatten()
                .all(|frame| frame[..6] == [0xff; 6])
        );
    }
    assert_eq!(bench.drops(0), [("bad_ip_source", 4), ("bad_arp", 2)]);
    let edge = Ipv4Addr::new(203, 0, 113, 255);
    assert!(bench.send(UPLINK, &[from_outside().ipv4(edge, WAN_IP).tcp(9, 8888, 2).payload(b"")]).is_empty());
    assert_eq!(bench.drops(UPLINK), [("bad_ip_source", 1)]);
    // On a /31, both addresses are hosts': RFC 3021.
    let mut config = nat_config();
    config.networks[1].interface.as_mut().unwrap().address = "203.0.113.0/31".parse().unwrap();
    let mut bench = Bench::new(config);
    let router = Ipv4Addr::new(203, 0, 113, 1);
    let echo = from_outside().ipv4(router, Ipv4Addr::new(203, 0, 113, 0)).icmp_echo(1, 1).payload(b"x");
    assert_eq!(icmp_of(&only(bench.send(UPLINK, &[echo])).1), (0, 0));
}

#[test]
fn sources_that_cannot_be_are_dropped_by_name() {
    let mut bench = Bench::nat();
    let with = |src| from_guest(0).ipv4(src, FAR).udp(1, 2).payload(b"");
    let frames = [
        with(Ipv4Addr::new(10, 9, 9, 9)),
        with(Ipv4Addr::BROADCAST),
        with(LAN_IP),
        with(Ipv4Addr::LOCALHOST),
    ];
    assert!(bench.send(0, &frames).is_empty());
    assert_eq!(bench.drops(0), [("bad_ip_source", 3), ("source_not_on_link", 1)]);
    let spoof = from_outside().ipv4(guest_ip(0), guest_ip(1)).udp(1, 2).payload(b"");
    assert!(bench.send(UPLINK, &[spoof]).is_empty());
    assert_eq!(bench.drops(UPLINK), [("source_not_on_link", 1)]);
}

#[test]
fn destinations_that_are_never_forwarded_are_dropped_by_name() {
    let mut bench = Bench::nat();
    let to = |dst| from_guest(0).ipv4(guest_ip(0), dst).udp(1, 2).payload(b"");
    let frames = [
        to(Ipv4Addr::new(224, 0, 0, 251)),
        to(Ipv4Addr::new(169, 254, 1, 1)),
        to(Ipv4Addr::new(240, 0, 0, 1)),
        to(Ipv4Addr::new(203, 0, 113, 255)),
    ];
    assert!(bench.send(0, &frames).is_empty());
    assert_eq!(bench.drops(0), [("not_routable", 3), ("multicast_not_routed", 1)]);
}

#[test]
fn an_icmp_error_about_a_flow_comes_back_to_the_guest() {
    let mut bench = Bench::nat();
    let (_, out) =
        only(bench.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).udp(5000, 7).payload(b"hello")]));
    let error = from_outside().ipv4(OUTSIDE, WAN_IP).icmp(3, 3, 0).payload(&out[14..]);
    let (port, back) = only(bench.send(UPLINK, &[error]));
    assert_eq!((port, icmp_of(&back), ip_of(&back).dst), (0, (3, 3), guest_ip(0)));
    let quoted = Ipv4Packet::parse(&back[42..]).unwrap();
    assert_eq!((quoted.src, quoted.src_port, quoted.dst_port), (guest_ip(0), 5000, 7));
    let stranger = eth().ipv4(WAN_IP, FAR).udp(9, 9).payload(b"");
    let error = from_outside().ipv4(OUTSIDE, WAN_IP).icmp(3, 3, 0).payload(&stranger[14..]);
    assert!(bench.send(UPLINK, &[error]).is_empty());
    assert_eq!(bench.drops(UPLINK), [("icmp_error_unmatched", 1)]);
}

#[test]
fn two_routed_networks_reach_each_other_without_flows() {
    let mut config = nat_config();
    config.networks[0].reach = Reach::Routed(None);
    let second = NetworkId::new(2);
    let mut interface = config.networks[0].interface.clone().unwrap();
    (interface.mac, interface.address, interface.settings.dhcp) =
        (MacAddr::local(99), "10.10.20.1/24".parse().unwrap(), None);
    config.networks.push(NetworkConfig {
        id: second,
        name: "second".into(),
        interface: Some(interface),
        ..config.networks[0].clone()
    });
    config.ports.push(PortConfig { ..port_config(5, second) });
    let mut bench = Bench::new(config);
    let peer = Ipv4Addr::new(10, 10, 20, 9);
    bench.send(0, &[arp_request(guest_mac(0), guest_ip(0), LAN_IP)]);
    bench.send(5, &[arp_request(guest_mac(5), peer, Ipv4Addr::new(10, 10, 20, 1))]);
    let (port, frame) =
        only(bench.send(0, &[from_guest(0).ipv4(guest_ip(0), peer).icmp_echo(1, 1).payload(b"")]));
    assert_eq!((port, ip_of(&frame).ttl, ip_of(&frame).src), (5, 63, guest_ip(0)));
    assert_eq!(bench.worker.stats().flows, 0);
    // A connection from before the switch was there goes on.
    let data = from_guest(0).ipv4(guest_ip(0), peer).tcp(1, 2, TcpHeader::ACK).payload(b"data");
    assert_eq!(only(bench.send(0, &[data])).0, 5);
}

#[test]
fn host_only_guests_reach_the_switch_and_nothing_else() {
    let mut config = nat_config();
    config.networks[0].reach = Reach::Closed;
    let mut bench = Bench::new(config);
    bench.send(0, &[arp_request(guest_mac(0), guest_ip(0), LAN_IP)]);
    let (_, told) = only(bench.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).udp(1, 2).payload(b"")]));
    assert_eq!(icmp_of(&told), (3, 13));
    assert_eq!(bench.drops(0), [("route_prohibited", 1)]);
    assert_eq!(
        bench.send(0, &[from_guest(0).ipv4(guest_ip(0), LAN_IP).icmp_echo(1, 1).payload(b"")]).len(),
        1
    );
}

#[test]
fn an_offloaded_frame_stays_offloaded_through_nat() {
    let mut bench = Bench::nat();
    bench.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).tcp(4000, 80, TcpHeader::SYN).payload(b"")]);
    let mut frame = from_guest(0).ipv4(guest_ip(0), FAR).tcp(4000, 80, TcpHeader::ACK).payload(&[5; 8000]);
    let pseudo = Sum::pseudo_header_v4(guest_ip(0), FAR, 6, (frame.len() - 34) as u16).fold();
    frame[50..52].copy_from_slice(&pseudo.to_be_bytes());
    let offload = Offload {
        needs_checksum: true,
        csum_start: 34,
        csum_offset: 16,
        gso: Gso::Tcp4,
        gso_size: 1448,
        ..Offload::NONE
    };
    let (port, out) = only(bench.send_offloaded(0, &[(frame.clone(), offload)]));
    assert_eq!((port, out.len()), (UPLINK, frame.len()));
    let expected = Sum::pseudo_header_v4(WAN_IP, FAR, 6, (frame.len() - 34) as u16).fold();
    assert_eq!(u16::from_be_bytes([out[50], out[51]]), expected);
}

#[test]
fn malformed_packets_are_dropped_by_name_and_the_next_one_passes() {
    let mut bench = Bench::nat();
    let good = from_guest(0).ipv4(guest_ip(0), FAR).udp(5000, 53).payload(b"q");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.clone();
        change(&mut frame);
        frame
    };
    let frames = [
        with(&|f| f.truncate(20)),
        with(&|f| f[14] = 0x65),
        with(&|f| f[14] = 0x44),
        with(&|f| f[16] = 0xff),
        with(&|f| f[24] ^= 1),
        with(&|f| f[38..40].copy_from_slice(&[0xff, 0xff])),
        eth().src(guest_mac(0)).dst(LAN_MAC).payload(b"what"),
        eth().src(guest_mac(0)).dst(LAN_MAC).vlan(7).ipv4(guest_ip(0), FAR).udp(1, 2).payload(b""),
        good.clone(),
    ];
    assert_eq!(bench.send(0, &frames)[&UPLINK].len(), 1);
    let mut expected = [
        ("bad_ip_header", 4),
        ("bad_ip_checksum", 1),
        ("bad_l4_header", 1),
        ("not_for_gateway", 1),
        ("tagged_for_gateway", 1),
    ];
    let mut drops = bench.drops(0);
    drops.sort_unstable();
    expected.sort_unstable();
    assert_eq!(drops, expected);
}

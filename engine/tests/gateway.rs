//! The worker as a gateway: ARP, ICMP, routing, NAT and DHCP, seen from the ports.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use std::net::Ipv4Addr;

use common::*;
use engine::{NetworkConfig, PortConfig, Reach};
use packet::builder::eth;
use packet::checksum::Sum;
use packet::wire::{ArpPacket, FromBytes, IcmpHeader, Ipv4Header, TcpHeader};
use packet::{Gso, Ipv4Packet, L4, MacAddr, Millis, NetworkId, Offload, Protocol};

const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

/// From guest `n` to its gateway's MAC.
fn from_guest(n: u16) -> packet::builder::FrameBuilder {
    eth().src(guest_mac(n)).dst(LAN_MAC)
}

/// From the world to the uplink's MAC.
fn from_outside() -> packet::builder::FrameBuilder {
    eth().src(OUTSIDE_MAC).dst(WAN_MAC)
}

/// The only frame, sent by the only port that sent any.
fn only(sent: Sent) -> (u16, Vec<u8>) {
    let mut all: Vec<_> =
        sent.into_iter().flat_map(|(port, frames)| frames.into_iter().map(move |f| (port, f))).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// The IPv4 packet in a frame; its layer-4 checksum must be right.
fn ip_of(frame: &[u8]) -> Ipv4Packet {
    let ip = Ipv4Packet::parse(&frame[14..]).unwrap();
    let l4 = &frame[14 + usize::from(ip.header_len)..14 + usize::from(ip.total_len)];
    let pseudo = match ip.protocol {
        Protocol::ICMP => Sum::ZERO,
        protocol => Sum::pseudo_header_v4(ip.src, ip.dst, protocol.0, l4.len() as u16),
    };
    assert_eq!(pseudo.add(Sum::of(l4)).checksum(), 0, "layer-4 checksum of {ip:?}");
    ip
}

fn icmp_of(frame: &[u8]) -> (u8, u8) {
    assert_eq!(ip_of(frame).protocol, Protocol::ICMP);
    let (icmp, _) = IcmpHeader::ref_from_prefix(&frame[34..]).unwrap();
    (icmp.kind, icmp.code)
}

#[test]
fn the_switch_answers_arp_for_its_own_address_and_floods_the_question() {
    let mut bench = Bench::new(nat_config());
    let question = arp_request(guest_mac(0), guest_ip(0), LAN_IP);
    let sent = bench.send(0, std::slice::from_ref(&question));
    assert_eq!(sent[&0], [arp_reply(LAN_MAC, LAN_IP, (guest_mac(0), guest_ip(0)))]);
    assert_eq!(sent[&1], [question]);
}

#[test]
fn arp_nonsense_is_counted_and_answered_to_nobody() {
    let mut bench = Bench::nat();
    let good = arp_request(guest_mac(0), guest_ip(0), LAN_IP);
    let spoilt = |at: usize| {
        let mut frame = good.clone();
        frame[at] ^= 0x40;
        frame
    };
    // Hardware type, protocol type, both lengths, operation, sender's MAC.
    for at in [14, 16, 18, 19, 20, 27] {
        assert!(!bench.send(0, &[spoilt(at)]).contains_key(&0), "{at}");
    }
    bench.send(0, &[good[..30].to_vec()]);
    bench.send(0, &[arp_request(guest_mac(0), LAN_IP, LAN_IP)]);
    assert_eq!(bench.drops(0), [("bad_arp", 8)]);
}

#[test]
fn the_switch_answers_ping() {
    let mut bench = Bench::nat();
    let (port, reply) =
        only(bench.send(0, &[from_guest(0).ipv4(guest_ip(0), LAN_IP).icmp_echo(7, 1).payload(b"hi")]));
    assert_eq!(
        (port, reply),
        (
            0,
            eth()
                .src(LAN_MAC)
                .dst(guest_mac(0))
                .ipv4(LAN_IP, guest_ip(0))
                .icmp_echo_reply(7, 1)
                .payload(b"hi")
        )
    );
}

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
fn the_switch_answers_arp_for_the_addresses_of_a_pool_on_the_uplink_only() {
    let first = Ipv4Addr::new(203, 0, 113, 16);
    let mut config = nat_config();
    config.rules.postrouting[0].target = nat_engine::Target::Snat {
        addresses: nat_engine::AddressRange { first, last: Ipv4Addr::new(203, 0, 113, 19) },
        ports: None,
    };
    let mut bench = Bench::new(config);
    let ask = |address| arp_request(OUTSIDE_MAC, OUTSIDE, address);
    let (port, reply) = only(bench.send(UPLINK, &[ask(Ipv4Addr::new(203, 0, 113, 17))]));
    assert_eq!(
        (port, &reply[..6], &reply[28..32]),
        (UPLINK, &OUTSIDE_MAC.octets()[..], &[203, 0, 113, 17][..])
    );
    assert!(bench.send(UPLINK, &[ask(Ipv4Addr::new(203, 0, 113, 20))]).is_empty());
    let from_inside = arp_request(guest_mac(0), guest_ip(0), first);
    assert!(bench.send(0, &[from_inside]).values().flatten().all(|frame| frame[..6] == [0xff; 6]));
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
fn rfc5382_req4_an_unsolicited_syn_is_answered_after_six_seconds_unless_a_connection_came_about() {
    for connects in [false, true] {
        let mut bench = Bench::nat();
        bench.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).udp(1, 7).payload(b"")]);
        let ecn = 0xc0;
        let syn = from_outside().ipv4(FAR, WAN_IP).tcp(80, 5000, 2 | ecn).payload(b"");
        assert!(bench.send(UPLINK, &[syn]).is_empty());
        assert!(bench.wait(Millis::new(5_999)).is_empty());
        if connects {
            bench.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).tcp(5000, 80, 2).payload(b"")]);
        }
        let sent = bench.wait(Millis::new(1));
        if connects {
            assert!(sent.is_empty());
        } else {
            let (port, told) = only(sent);
            assert_eq!((port, icmp_of(&told), ip_of(&told).dst), (UPLINK, (3, 3), FAR));
        }
    }
}

#[test]
fn rfc5382_req4_a_syn_to_an_address_of_a_pool_is_answered_after_six_seconds_too() {
    for (first, last) in [([203, 0, 113, 16], [203, 0, 113, 19]), ([198, 18, 5, 0], [198, 18, 5, 3])] {
        let addresses = nat_engine::AddressRange { first: first.into(), last: last.into() };
        let mut config = nat_config();
        config.rules.postrouting[0].target = nat_engine::Target::Snat { addresses, ports: None };
        let mut bench = Bench::new(config);
        bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)]);
        let to_pool = || from_outside().ipv4(FAR, addresses.last);
        assert!(bench.send(UPLINK, &[to_pool().tcp(80, 5000, 2).payload(b"")]).is_empty());
        assert!(bench.send(UPLINK, &[to_pool().udp(80, 5000).payload(b"")]).is_empty());
        assert_eq!(bench.drops(UPLINK), [("nat_unsolicited", 2)]);
        assert!(bench.wait(Millis::new(5_999)).is_empty());
        let (port, told) = only(bench.wait(Millis::new(1)));
        assert_eq!((port, icmp_of(&told), ip_of(&told).dst), (UPLINK, (3, 3), FAR));
    }
}

#[test]
fn rfc5508_req8_a_guest_is_told_that_there_is_no_room_and_a_stranger_is_not() {
    use nat_engine::Exhausted;
    for (exhausted, code) in [(Exhausted::Prohibited, 13), (Exhausted::HostUnreachable, 1)] {
        let mut config = nat_config();
        config.flow_limit = 1;
        config.nat.exhausted = exhausted;
        let mut bench = Bench::nat();
        bench.worker.install(config);
        bench.send(0, &[arp_request(guest_mac(0), guest_ip(0), LAN_IP)]);
        bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)]);
        let out = |port| from_guest(0).ipv4(guest_ip(0), FAR).udp(port, 7).payload(b"");
        bench.send(0, &[out(5000)]);
        let (port, told) = only(bench.send(0, &[out(5001)]));
        assert_eq!((port, icmp_of(&told), ip_of(&told).dst), (0, (3, code), guest_ip(0)));
        assert_eq!(bench.drops(0), [("flow_table_full", 1)]);
        assert_eq!(only(bench.send(0, &[out(5000)])).0, UPLINK);
        let published = from_outside().ipv4(FAR, WAN_IP).tcp(9, 8888, 2).payload(b"");
        assert!(bench.send(UPLINK, &[published]).is_empty());
        assert_eq!(bench.drops(UPLINK), [("flow_table_full", 1)]);
    }
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
fn a_ttl_that_runs_out_is_told_with_the_original_packet() {
    let mut bench = Bench::nat();
    let probe = from_guest(0).ipv4(guest_ip(0), FAR).ttl(1).udp(33434, 33434).payload(b"probe");
    let (port, told) = only(bench.send(0, std::slice::from_ref(&probe)));
    assert_eq!((port, icmp_of(&told), ip_of(&told).src), (0, (11, 0), LAN_IP));
    assert_eq!(told[42..], probe[14..]);
    assert_eq!(bench.drops(0), [("ttl_exceeded", 1)]);
    assert_eq!(bench.worker.stats().flows, 0);
}

#[test]
fn a_ttl_that_runs_out_at_a_published_port_is_told_and_starts_no_flow() {
    let mut bench = Bench::nat();
    let syn = |ttl| from_outside().ipv4(FAR, WAN_IP).ttl(ttl).tcp(1000, 8888, TcpHeader::SYN).payload(b"");
    let (port, told) = only(bench.send(UPLINK, &[syn(1)]));
    assert_eq!((port, icmp_of(&told), bench.worker.stats().flows), (UPLINK, (11, 0), 0));
    let (port, passed) = only(bench.send(UPLINK, &[syn(2)]));
    assert_eq!((port, ip_of(&passed).ttl), (1, 1));
}

#[test]
fn a_closed_port_of_the_switch_is_told() {
    let mut bench = Bench::nat();
    let (_, told) = only(bench.send(0, &[from_guest(0).ipv4(guest_ip(0), LAN_IP).udp(1, 2).payload(b"")]));
    assert_eq!(icmp_of(&told), (3, 3));
    assert_eq!(bench.drops(0), [("no_service", 1)]);
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
fn too_big_with_dont_fragment_is_told_in_the_senders_own_terms() {
    let mut config = nat_config();
    config.networks[1].interface.as_mut().unwrap().settings.mtu = 1000;
    let mut bench = Bench::new(config);
    for (from, frame) in [
        (0, arp_request(guest_mac(0), guest_ip(0), LAN_IP)),
        (UPLINK, arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)),
    ] {
        bench.send(from, &[frame]);
    }
    let big = from_guest(0).ipv4(guest_ip(0), FAR).udp(5000, 7).payload(&[1; 1200]);
    let (port, told) = only(bench.send(0, &[big]));
    assert_eq!((port, icmp_of(&told)), (0, (3, 4)));
    assert_eq!((ip_of(&told).src, ip_of(&told).dst), (LAN_IP, guest_ip(0)));
    assert_eq!(u16::from_be_bytes([told[40], told[41]]), 1000);
    assert_eq!(Ipv4Packet::parse_header(&told[42..]).map(|ip| ip.src), Err(packet::DropReason::BadIpHeader));
    let quoted = Ipv4Header::ref_from_prefix(&told[42..]).unwrap().0;
    assert_eq!((quoted.source(), quoted.destination()), (guest_ip(0), FAR));
    assert_eq!(bench.drops(0), [("fragmentation_needed", 1)]);

    let may = |ip: &mut Ipv4Header| ip.flags_fragment = 0.into();
    let big = from_guest(0).ipv4(guest_ip(0), FAR).ip(may).udp(5000, 7).payload(&[1; 1200]);
    let sent = bench.send(0, &[big]);
    assert_eq!(sent[&UPLINK].iter().map(Vec::len).collect::<Vec<_>>(), [14 + 996, 14 + 20 + 1208 - 976]);
}

#[test]
fn an_unknown_next_hop_is_asked_for_and_the_frame_follows() {
    let mut bench = Bench::new(nat_config());
    bench.send(0, &[arp_request(guest_mac(0), guest_ip(0), LAN_IP)]);
    assert!(bench.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).udp(1, 2).payload(b"x")]).is_empty());
    let (port, question) = only(bench.wait(Millis::ZERO));
    let (arp, _) = ArpPacket::ref_from_prefix(&question[14..]).unwrap();
    assert_eq!((port, Ipv4Addr::from(arp.target_ip), arp.operation.get()), (UPLINK, OUTSIDE, 1));
    let (port, frame) = only(bench.send(UPLINK, &[arp_reply(OUTSIDE_MAC, OUTSIDE, (WAN_MAC, WAN_IP))]));
    assert_eq!((port, ip_of(&frame).src), (UPLINK, WAN_IP));
}

#[test]
fn a_next_hop_that_never_answers_is_told_to_the_guest() {
    let mut bench = Bench::new(nat_config());
    bench.send(0, &[arp_request(guest_mac(0), guest_ip(0), LAN_IP)]);
    bench.send(0, &[from_guest(0).ipv4(guest_ip(0), FAR).udp(1, 2).payload(b"x")]);
    let sent = bench.wait(Millis::from_secs(4));
    assert_eq!(sent[&UPLINK].len(), 3);
    assert_eq!(icmp_of(&sent[&0][0]), (3, 1));
    assert!(bench.worker.next_timeout().is_none_or(|at| at >= bench.now));
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
fn dhcp_with_a_wrong_checksum_is_not_answered() {
    let mut bench = Bench::nat();
    // DISCOVER from guest 3, the fixed fields and the message type.
    let mut message = vec![0; 240];
    (message[0], message[1], message[2]) = (1, 1, 6);
    message[28..34].copy_from_slice(&guest_mac(3).octets());
    message[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    message.extend_from_slice(&[53, 1, 1, 255]);
    let frame = eth().src(guest_mac(3)).dst(MacAddr::BROADCAST);
    let frame = frame.ipv4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST).udp(68, 67).payload(&message);
    assert_eq!(bench.send(3, std::slice::from_ref(&frame))[&3].len(), 1);
    let mut broken = frame;
    broken[100] ^= 1;
    assert!(!bench.send(3, &[broken]).contains_key(&3));
    assert_eq!(bench.drops(3), [("bad_udp", 1)]);
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

#[test]
fn rfc6887_s8_5_clients_of_port_mapping_notice_when_mappings_are_lost() {
    let mut bench = Bench::nat();
    let epoch = |bench: &mut Bench| {
        bench.now = bench.now + Millis::from_secs(100);
        let client = guest_ip(0).to_ipv6_mapped().octets();
        let any = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets();
        let map = [&[2, 1, 0, 0, 0, 0, 2, 88][..], &client, &[7; 12], &[17, 0, 0, 0, 19, 136, 0, 0], &any];
        let request = from_guest(0).ipv4(guest_ip(0), LAN_IP).udp(6000, 5351).payload(&map.concat());
        let (_, answer) = only(bench.send(0, &[request]));
        assert_eq!((answer[42], answer[43], answer[45]), (2, 0x81, 0));
        u32::from_be_bytes([answer[50], answer[51], answer[52], answer[53]])
    };
    assert_eq!([epoch(&mut bench), epoch(&mut bench)], [0, 100]);
    bench.worker.install(nat_config());
    assert_eq!(epoch(&mut bench), 200, "nothing was lost");
    let mut closed = nat_config();
    closed.networks[0].interface.as_mut().unwrap().settings.pcp = false;
    bench.worker.install(closed);
    bench.worker.install(nat_config());
    assert_eq!(epoch(&mut bench), 0);
}

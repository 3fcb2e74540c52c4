//! Forwarding, errors, echoes, and finding next hops.

use std::net::Ipv6Addr;

use packet::builder::eth;
use packet::wire::TcpHeader;
use packet::{ALL_NODES, Gso, Ipv6Packet, L4, MacAddr, Millis, Offload, Protocol, icmp6, solicited_node};

use crate::lab::*;

#[test]
fn a_packet_is_forwarded_with_one_hop_less_and_nothing_else_changed() {
    let mut bench = known();
    let packet = guest(0, v6(FAR_6)).hop_limit(9).udp(1000, 53).payload(b"q");
    let (port, frame) = only(bench.send(0, std::slice::from_ref(&packet)));
    let mut expected = packet.clone();
    expected[..6].copy_from_slice(&OUTSIDE_MAC.octets());
    expected[6..12].copy_from_slice(&WAN_MAC.octets());
    expected[21] = 8;
    assert_eq!((port, frame), (UPLINK, expected));
    let back = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv6(v6(FAR_6), guest_6(0)).udp(53, 1000).payload(b"a");
    let (port, frame) = only(bench.send(UPLINK, &[back]));
    assert_eq!((port, read(&frame).dst, read(&frame).hop_limit), (0, guest_6(0), 63));
    assert_eq!(bench.drops(0), []);
}

#[test]
fn a_super_frame_crosses_whole_and_its_segments_must_fit() {
    let mut bench = known();
    let frame = guest(0, v6(FAR_6)).tcp(1000, 80, TcpHeader::ACK).payload(&[7; 20_000]);
    let offload = |gso_size| Offload {
        csum_start: 54,
        csum_offset: 16,
        gso_size,
        gso: Gso::Tcp6,
        needs_checksum: true,
        ..Offload::NONE
    };
    let sent = bench.send_offloaded(0, &[(frame.clone(), offload(1440))]);
    assert_eq!(only(sent).1.len(), frame.len());
    let (port, told) = only(bench.send_offloaded(0, &[(frame.clone(), offload(1441))]));
    assert_eq!((port, icmp(&told)), (0, (icmp6::TOO_BIG, 0, 1500)));
    let wrong = Offload { csum_start: 34, ..offload(1440) };
    bench.send_offloaded(0, &[(frame, wrong)]);
    assert_eq!(bench.drops(0), [("bad_offload", 1), ("fragmentation_needed", 1)]);
}

#[test]
fn a_packet_that_is_too_big_is_told_of_and_not_cut() {
    let mut bench = known();
    let mut smaller = config();
    smaller.networks[1].interface.as_mut().unwrap().settings.mtu = 1400;
    bench.worker.install(smaller);
    let (port, told) = only(bench.send(0, &[guest(0, v6(FAR_6)).udp(1, 2).payload(&[0; 1400])]));
    assert_eq!((port, icmp(&told), read(&told).src), (0, (icmp6::TOO_BIG, 0, 1400), v6(LAN_6)));
    assert_eq!(read(&told).total_len, 1280);
}

#[test]
fn each_error_is_told_with_its_type_and_code() {
    let mut bench = known();
    let udp = |to: &str, hops| guest(0, v6(to)).hop_limit(hops).udp(1, 2).payload(b"");
    let link_local = eth().src(guest_mac(0)).dst(LAN_MAC).ipv6(guest_mac(0).link_local6(), v6(FAR_6));
    let other = guest(0, v6(LAN_6)).extension(Protocol(200), &[0; 8]).payload(b"");
    let routed = guest(0, v6(LAN_6)).extension(Protocol::ROUTING, &[0, 0, 0, 1, 0, 0, 0, 0]).udp(1, 2);
    for (frame, expected) in [
        (udp(FAR_6, 1), (3, 0, 0)),
        (udp("fd00:1::99", 64), (1, 1, 0)),
        (link_local.udp(1, 2).payload(b""), (1, 2, 0)),
        (udp(LAN_6, 64), (1, 4, 0)),
        (udp(LAN_6, 1), (1, 4, 0)),
        (guest(0, v6(LAN_6)).tcp(1, 2, TcpHeader::SYN).payload(b""), (1, 4, 0)),
        (other, (4, 1, 6)),
        (routed.payload(b""), (4, 0, 42)),
    ] {
        let (port, told) = only(bench.send(0, &[frame]));
        assert_eq!((port, icmp(&told)), (0, expected));
    }
    let mut without_way_out = config();
    without_way_out.networks[1].interface.as_mut().unwrap().settings.ipv6.as_mut().unwrap().gateway = None;
    bench.worker.install(without_way_out);
    assert_eq!(icmp(&only(bench.send(0, &[udp(FAR_6, 64)])).1), (1, 0, 0));
}

#[test]
fn nobody_is_told_about_errors_groups_and_what_came_from_nobody() {
    let mut bench = known();
    let group = eth().src(guest_mac(0)).dst(MacAddr::of_group6(ALL_NODES)).ipv6(guest_6(0), ALL_NODES);
    let frames = [
        guest(0, v6(FAR_6)).hop_limit(1).icmp6(1, 0, 0).payload(&[0; 48]),
        group.udp(1, 2).payload(b""),
        eth().src(guest_mac(0)).dst(LAN_MAC).ipv6(Ipv6Addr::UNSPECIFIED, v6(FAR_6)).udp(1, 2).payload(b""),
    ];
    for frame in frames {
        let sent = bench.send(0, &[frame]);
        assert_eq!(sent.get(&0), None, "{sent:?}");
    }
}

#[test]
fn errors_are_limited_in_rate_and_others_get_theirs() {
    let mut bench = known();
    let frames: Vec<_> = (0..50).map(|n| guest(0, v6(FAR_6)).hop_limit(1).udp(n, 2).payload(b"")).collect();
    let told: usize = (0..10).filter_map(|_| bench.send(0, &frames).remove(&0)).map(|sent| sent.len()).sum();
    assert_eq!(told, 100);
    let (port, _) = only(bench.send(1, &[guest(1, v6(FAR_6)).hop_limit(1).udp(1, 2).payload(b"")]));
    assert_eq!(port, 1);
}

#[test]
fn a_guest_speaks_with_its_own_addresses_only_and_an_uplink_not_with_theirs() {
    let mut bench = known();
    let from =
        |src: &str| eth().src(guest_mac(0)).dst(LAN_MAC).ipv6(v6(src), v6(FAR_6)).udp(1, 2).payload(b"");
    for src in ["fd00:2::1", "2001:db8::9", "::1", "::ffff:10.0.0.1", "::10.0.0.1", "ff02::1", LAN_6] {
        assert!(bench.send(0, &[from(src)]).is_empty(), "{src}");
    }
    assert_eq!(bench.drops(0), [("bad_ip_source", 5), ("source_not_on_link", 2)]);
    for dst in ["fe80::9", "::1", "::ffff:10.0.0.1"] {
        assert!(bench.send(0, &[guest(0, v6(dst)).udp(1, 2).payload(b"")]).is_empty(), "{dst}");
    }
    assert!(bench.drops(0).contains(&("not_routable", 3)));
    let spoofed = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv6(guest_6(1), guest_6(0)).udp(1, 2).payload(b"");
    assert!(bench.send(UPLINK, &[spoofed]).is_empty());
    assert_eq!(bench.drops(UPLINK), [("source_not_on_link", 1)]);
}

#[test]
fn an_echo_request_is_answered_whole_in_fragments_and_to_a_group() {
    let mut bench = known();
    let request = guest(0, v6(LAN_6)).icmp6(128, 0, 7 << 16 | 1).payload(&[5; 100]);
    let (_, reply) = only(bench.send(0, &[request]));
    assert_eq!((icmp(&reply), read(&reply).src, reply.len()), ((129, 0, 7 << 16 | 1), v6(LAN_6), 162));
    let first = guest(0, v6(LAN_6)).extension(Protocol::FRAGMENT, &[0, 0, 0, 1, 0, 0, 0, 9]);
    let (_, reply) = only(bench.send(0, &[first.icmp6(128, 0, 7).payload(&[5; 8])]));
    assert_eq!((reply[62], &reply[54..62]), (129, &[58, 0, 0, 1, 0, 0, 0, 9][..]));
    let later =
        guest(0, v6(LAN_6)).extension(Protocol::FRAGMENT, &[58, 0, 0, 16, 0, 0, 0, 9]).payload(&[5; 8]);
    let (_, reply) = only(bench.send(0, std::slice::from_ref(&later)));
    assert_eq!((&reply[54..], Ipv6Packet::parse(&reply[14..]).unwrap().src), (&later[54..], v6(LAN_6)));
    let group = eth().src(guest_mac(0)).dst(MacAddr::of_group6(ALL_NODES)).ipv6(guest_6(0), ALL_NODES);
    let reply = bench.send(0, &[group.icmp6(128, 0, 7).payload(b"")]).remove(&0).unwrap().remove(0);
    assert_eq!((icmp(&reply), read(&reply).src), ((129, 0, 7), v6(LAN_6)));
    let options = guest(0, v6(LAN_6)).extension(Protocol::DESTINATION_OPTIONS, &[0, 0, 1, 4, 0, 0, 0, 0]);
    let (_, reply) = only(bench.send(0, &[options.icmp6(128, 0, 7).payload(b"")]));
    assert_eq!((icmp(&reply), read(&reply).header_len), ((129, 0, 7), 40));
    let mut broken = guest(0, v6(LAN_6)).icmp6(128, 0, 7).payload(b"");
    broken[56] ^= 1;
    assert!(bench.send(0, &[broken]).is_empty());
    assert_eq!(bench.drops(0), [("bad_icmp_checksum", 1)]);
}

#[test]
fn a_solicitation_is_answered_with_the_router_flag() {
    let mut bench = bench();
    let own = [v6(LAN_6), LAN_MAC.link_local6()];
    for target in own {
        let sent = bench.send(0, &[solicitation(guest_mac(0), guest_6(0), target)]).remove(&0).unwrap();
        let answer = advertisement(LAN_MAC, target, (guest_mac(0), guest_6(0)), 0xe000_0000);
        assert_eq!(sent, [answer]);
    }
    let anycast = v6("fd00:1::");
    let sent = bench.send(0, &[solicitation(guest_mac(0), guest_6(0), anycast)]).remove(&0).unwrap();
    assert_eq!(icmp(&sent[0]).2, 0xc000_0000, "of an address that all routers have nothing is replaced");
    let others = bench.send(0, &[solicitation(guest_mac(0), guest_6(0), guest_6(1))]);
    assert_eq!(others.get(&0), None, "the question is flooded, not answered");
    assert_eq!(others[&1].len(), 1);
    let far = solicitation(guest_mac(0), guest_6(0), v6(LAN_6));
    let far = [&far[..21], &[254][..], &far[22..]].concat();
    assert_eq!(bench.send(0, &[far]).get(&0), None);
    assert_eq!(bench.drops(0), [("bad_ndp", 1)]);
}

#[test]
fn a_packet_waits_until_its_next_hop_answers_even_without_saying_its_mac() {
    let mut bench = bench();
    let packet = guest(0, v6(FAR_6)).udp(1, 2).payload(b"w");
    assert!(bench.send(0, &[packet]).is_empty());
    let asked = bench.wait(Millis::ZERO).remove(&UPLINK).unwrap();
    let question = read(&asked[0]);
    let group = solicited_node(v6(ROUTER_6));
    assert_eq!((question.dst, question.src, question.hop_limit), (group, v6(WAN_6), 255));
    assert_eq!((icmp(&asked[0]).0, &asked[0][..6]), (135, &MacAddr::of_group6(group).octets()[..]));
    let frame = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv6(v6(ROUTER_6), v6(WAN_6)).hop_limit(255);
    let answer = frame.icmp6(136, 0, 0x4000_0000).payload(&v6(ROUTER_6).octets());
    let (port, sent) = only(bench.send(UPLINK, &[answer]));
    assert_eq!((port, read(&sent).dst, read(&sent).hop_limit), (UPLINK, v6(FAR_6), 63));
}

#[test]
fn a_next_hop_that_does_not_answer_is_told_of_as_unreachable() {
    let mut bench = known();
    assert!(bench.send(0, &[guest(0, v6("2001:db8::77")).udp(1, 2).payload(b"w")]).is_empty());
    let sent = bench.wait(Millis::from_secs(5));
    assert_eq!(sent[&UPLINK].iter().filter(|frame| icmp(frame).0 == 135).count(), 3);
    let told: Vec<_> = sent[&0].iter().filter(|frame| icmp(frame).0 == 1).collect();
    assert_eq!((told.len(), icmp(told[0]), read(told[0]).src), (1, (1, 3, 0), v6(LAN_6)));
}

#[test]
fn a_guest_cannot_take_an_own_address_nor_another_guests() {
    let mut bench = known();
    // It looks whether somebody has the address before it takes it: somebody has.
    let group = solicited_node(v6(LAN_6));
    let probe = eth().src(guest_mac(3)).dst(MacAddr::of_group6(group)).ipv6(Ipv6Addr::UNSPECIFIED, group);
    let probe = probe.hop_limit(255).icmp6(135, 0, 0).payload(&v6(LAN_6).octets());
    let sent = bench.send(3, &[probe]);
    let answer = sent[&3].iter().find(|frame| icmp(frame).0 == 136).unwrap();
    assert_eq!((icmp(answer).2, read(answer).dst), (0xa000_0000, ALL_NODES));
    // It says that it has the address: all are told that it hasn't.
    let all = (MacAddr::of_group6(ALL_NODES), ALL_NODES);
    let sent = bench.send(3, &[advertisement(guest_mac(3), v6(LAN_6), all, 0x2000_0000)]);
    let last = sent[&0].last().unwrap();
    assert_eq!((icmp(last).2, &last[6..12]), (0xa000_0000, &LAN_MAC.octets()[..]));
    assert_eq!(bench.drops(3), [("ndp_conflict", 2)]);
    // That it has another guest's is not believed before that one is silent.
    bench.send(3, &[advertisement(guest_mac(3), guest_6(0), all, 0x2000_0000)]);
    let packet = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv6(v6(FAR_6), guest_6(0)).udp(1, 2).payload(b"");
    assert_eq!(only(bench.send(UPLINK, &[packet])).0, 0);
}

#[test]
fn advertisements_of_guests_are_not_believed() {
    let mut bench = known();
    let before: Vec<_> = bench.worker.neighbours().collect();
    let ra = eth().src(guest_mac(0)).dst(MacAddr::of_group6(ALL_NODES));
    let ra = ra.ipv6(guest_mac(0).link_local6(), ALL_NODES).hop_limit(255).icmp6(134, 0, 0x4000_0708);
    bench.send(0, &[ra.payload(&[0; 8])]);
    let redirect =
        eth().src(guest_mac(0)).dst(LAN_MAC).ipv6(guest_mac(0).link_local6(), LAN_MAC.link_local6());
    bench.send(0, &[redirect.hop_limit(255).icmp6(137, 0, 0).payload(&[0; 32])]);
    assert_eq!(bench.drops(0), [("ndp_not_believed", 2)]);
    assert_eq!(bench.worker.neighbours().collect::<Vec<_>>(), before);
}

#[test]
fn a_flood_of_a_whole_prefix_is_bounded_and_others_are_resolved_all_the_same() {
    let mut bench = known();
    for part in 0..40 {
        let frames: Vec<_> = (0..50_u16)
            .map(|n| {
                let to = Ipv6Addr::new(0xfd00, 1, 0, 0, 1, part, n, 7);
                eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv6(v6(FAR_6), to).udp(1, 2).payload(b"scan")
            })
            .collect();
        bench.send(UPLINK, &frames);
    }
    let asked = bench.worker.neighbours().filter(|known| known.mac.is_none()).count();
    assert!(asked <= 256, "{asked}");
    // Somebody else's next hop is still asked for, and found.
    bench.send(0, &[guest(0, v6("2001:db8::77")).udp(1, 2).payload(b"w")]);
    let answer = advertisement(OUTSIDE_MAC, v6("2001:db8::77"), (WAN_MAC, v6(WAN_6)), 0x6000_0000);
    assert_eq!(only(bench.send(UPLINK, &[answer])).0, UPLINK);
    // So do those who make themselves known as many.
    for n in 0..20_000_u32 {
        let who = Ipv6Addr::from_bits(v6("fd00:1:0:0:2::").to_bits() | u128::from(n));
        bench.send(1, &[solicitation(guest_mac(1), who, v6(LAN_6))]);
    }
    assert!(bench.worker.neighbours().count() <= 4096 + 256);
    bench.send(2, &[solicitation(guest_mac(2), v6("fd00:1::abcd"), v6(LAN_6))]);
    assert!(bench.worker.neighbours().any(|known| known.address == v6("fd00:1::abcd")));
}

#[test]
fn networks_without_addresses_of_ipv6_pass_it_and_take_none() {
    let mut bench = Bench::nat();
    assert!(bench.send(0, &[guest(0, v6(FAR_6)).udp(1, 2).payload(b"")]).is_empty());
    assert_eq!(bench.drops(0), [("not_for_gateway", 1)]);
    let question = solicitation(guest_mac(0), guest_6(0), guest_6(1));
    assert_eq!(bench.send(0, &[question]).keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(L4::Udp, read(&guest(0, v6(FAR_6)).udp(1, 2).payload(b"")).l4);
}

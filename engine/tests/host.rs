//! The switch as a host: ARP, ICMP, DHCP and port mapping, seen from the ports.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use std::net::Ipv4Addr;

use common::*;
use packet::builder::eth;
use packet::wire::{ArpPacket, FromBytes, Ipv4Header, TcpHeader};
use packet::{Ipv4Packet, MacAddr, Millis};

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
fn a_ttl_that_runs_out_is_told_with_the_original_packet() {
    let mut bench = Bench::nat();
    let probe = from_guest(0).ipv4(guest_ip(0), FAR).ttl(1).udp(33434, 33434).payload(b"probe");
    let (port, told) = only(bench.send(0, std::slice::from_ref(&probe)));
    assert_eq!((port, icmp_of(&told), ip_of(&told).src), (0, (11, 0), LAN_IP));
    assert_eq!(told[42..], probe[14..]);
    assert_eq!(bench.drops(0), [("ttl_exceeded", 1)]);
    assert_eq!(bench.worker.stats().flows, 0);
}

/// RFC 1812, 4.3.2.8, and RFC 5508, REQ-10.
#[test]
fn errors_are_limited_in_rate_by_port() {
    let mut bench = Bench::nat();
    let probe = |guest| from_guest(guest).ipv4(guest_ip(guest), FAR).ttl(1).udp(1, 2).payload(b"");
    let told: usize =
        (0..20).filter_map(|_| bench.send(0, &vec![probe(0); 50]).remove(&0)).map(|told| told.len()).sum();
    assert_eq!(told, 100);
    assert_eq!(only(bench.send(1, &[probe(1)])).0, 1, "others have their own");
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
    assert_eq!(bench.send(3, std::slice::from_ref(&frame))[&3].len(), 2, "an address is asked for");
    let mut broken = frame;
    broken[100] ^= 1;
    assert!(!bench.send(3, &[broken]).contains_key(&3));
    assert_eq!(bench.drops(3), [("bad_udp", 1)]);
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

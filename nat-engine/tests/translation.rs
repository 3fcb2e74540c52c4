//! What is translated to what: masquerade, SNAT, DNAT, both, neither; and what is refused.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use nat_engine::{Condition, Match, NatConfig, NatRule, RuleCounter, RuleSet, Target, Timeouts};
use packet::builder::eth;
use packet::{DropReason, Ipv4Packet, Millis, Protocol};
use world::*;

#[test]
fn a_masqueraded_flow_and_its_reply() {
    let mut world = World::new();
    let out = world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"question")).unwrap();
    assert_eq!(out, eth().ipv4(PUBLIC, REMOTE).udp(5000, 53).payload(b"question"));
    let back = world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).udp(53, 5000).payload(b"answer")).unwrap();
    assert_eq!(back, eth().ipv4(REMOTE, GUEST).udp(53, 5000).payload(b"answer"));

    let flow = world.flow();
    assert_eq!(flow.original.to_string(), "udp 192.168.122.10:5000 > 198.51.100.1:53");
    assert_eq!(flow.reply.to_string(), "udp 198.51.100.1:53 > 203.0.113.7:5000");
    assert_eq!((flow.state, flow.packets, flow.bytes), ("replied", [1, 1], [36, 34]));
    assert_eq!(flow.expires_in, Millis::from_secs(301));
    assert_eq!(world.counts(), (1, 1, 0));
    let counters = world.nat.rule_counters();
    assert_eq!(counters.prerouting, [RuleCounter::default()]);
    assert_eq!(counters.postrouting, [RuleCounter { packets: 1, bytes: 36 }]);
}

#[test]
fn two_guests_with_the_same_port_are_told_apart() {
    let mut world = World::new();
    let [first, second] = [GUEST, GUEST2].map(|guest| {
        let out = world.guest_sends(&eth().ipv4(guest, REMOTE).tcp(5000, 80, SYN).payload(b"")).unwrap();
        ends(&out)
    });
    assert_eq!(first, (PUBLIC, 5000, REMOTE, 80));
    assert_eq!((second.0, second.2, second.3), (PUBLIC, REMOTE, 80));
    assert!(second.1 >= 1024 && second.1 != 5000);
    for (guest, port) in [(GUEST, 5000), (GUEST2, second.1)] {
        let back =
            world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(80, port, SYN | ACK).payload(b"")).unwrap();
        assert_eq!(ends(&back), (REMOTE, 80, guest, 5000));
    }
}

#[test]
fn a_published_port_is_served_by_the_guest() {
    let mut world = World::new();
    let to_guest = world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(7000, 8080, SYN).payload(b"")).unwrap();
    assert_eq!(to_guest, eth().ipv4(REMOTE, GUEST).tcp(7000, 80, SYN).payload(b""));
    let back = world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(80, 7000, SYN | ACK).payload(b"")).unwrap();
    assert_eq!(back, eth().ipv4(PUBLIC, REMOTE).tcp(8080, 7000, SYN | ACK).payload(b""));
    let counters = world.nat.rule_counters();
    assert_eq!(counters.prerouting, [RuleCounter { packets: 1, bytes: 40 }]);
    assert_eq!(counters.postrouting, [RuleCounter::default()]);
}

#[test]
fn dnat_without_a_port_keeps_it() {
    let mut config = config();
    config.rules.prerouting = vec![dnat(PUBLIC, Protocol::UDP, 53, GUEST, None)];
    let mut world = World::with(config);
    let out = world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).udp(7000, 53).payload(b"")).unwrap();
    assert_eq!(ends(&out), (REMOTE, 7000, GUEST, 53));
}

#[test]
fn snat_takes_the_address_that_the_rule_names() {
    let mut config = config();
    let other: std::net::Ipv4Addr = "203.0.113.99".parse().unwrap();
    config.rules.postrouting[0].target = Target::Snat { addresses: other.into(), ports: None };
    let mut world = World::with(config);
    let out = world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"")).unwrap();
    assert_eq!(ends(&out), (other, 5000, REMOTE, 53));
}

#[test]
fn source_and_destination_are_translated_at_once() {
    let mut config = config();
    config.rules.prerouting = vec![dnat(REMOTE, Protocol::UDP, 53, REMOTE2, Some(5353))];
    let mut world = World::with(config);
    let out = world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"q")).unwrap();
    assert_eq!(ends(&out), (PUBLIC, 5000, REMOTE2, 5353));
    let back = world.remote_sends(&eth().ipv4(REMOTE2, PUBLIC).udp(5353, 5000).payload(b"a")).unwrap();
    assert_eq!(ends(&back), (REMOTE, 53, GUEST, 5000));
}

#[test]
fn one_inside_socket_towards_one_server_by_two_addresses_gets_two_ports() {
    let mut config = config();
    config.rules.prerouting = vec![dnat(REMOTE, Protocol::UDP, 53, REMOTE2, None)];
    let mut world = World::with(config);
    let mut send = |to| ends(&world.guest_sends(&eth().ipv4(GUEST, to).udp(5000, 53).payload(b"q")).unwrap());
    let (direct, by_rule) = (send(REMOTE2), send(REMOTE));
    assert_eq!((direct.2, by_rule.2), (REMOTE2, REMOTE2));
    assert_ne!(direct.1, by_rule.1);
    for (port, from) in [(direct.1, REMOTE2), (by_rule.1, REMOTE)] {
        let back = world.remote_sends(&eth().ipv4(REMOTE2, PUBLIC).udp(53, port).payload(b"a")).unwrap();
        assert_eq!(ends(&back), (from, 53, GUEST, 5000));
    }
}

#[test]
fn one_client_port_to_two_published_ports_of_one_server() {
    let mut config = config();
    config.rules.prerouting.push(dnat(PUBLIC, Protocol::TCP, 8081, GUEST, Some(80)));
    let mut world = World::with(config);
    let mut connect = |port| {
        ends(&world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(7000, port, SYN).payload(b"")).unwrap())
    };
    let [first, second] = [connect(8080), connect(8081)];
    assert_eq!(first, (REMOTE, 7000, GUEST, 80));
    assert_ne!(first, second);
    let back =
        world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(80, second.1, SYN | ACK).payload(b"")).unwrap();
    assert_eq!(ends(&back), (PUBLIC, 8081, REMOTE, 7000));
}

#[test]
fn an_accept_rule_exempts_and_the_flow_is_tracked() {
    let mut config = config();
    let exempt = Match { destination: net("198.51.100.2/32"), ..Match::default() };
    config.rules.postrouting.insert(0, NatRule { matches: exempt, target: Target::Accept });
    let mut world = World::with(config);
    let frame = eth().ipv4(GUEST, REMOTE2).udp(5000, 53).payload(b"");
    assert_eq!(world.guest_sends(&frame).unwrap(), frame);
    assert_eq!(world.flow().reply, world.flow().original.reversed());
}

#[test]
fn a_protocol_without_ports_passes_untranslated_only() {
    let mut config = config();
    let exempt = Match { destination: net("198.51.100.2/32"), ..Match::default() };
    config.rules.postrouting.insert(0, NatRule { matches: exempt, target: Target::Accept });
    let mut world = World::with(config);
    let to = |remote| eth().ipv4(GUEST, remote).payload(b"protocol 253");
    assert_eq!(world.guest_sends(&to(REMOTE2)).unwrap(), to(REMOTE2));
    assert_eq!(world.guest_sends(&to(REMOTE)), Err(DropReason::NatProtocolUnsupported));
    let information = eth().ipv4(GUEST, REMOTE).icmp(15, 0, 0).payload(&[0; 12]);
    assert_eq!(world.guest_sends(&information), Err(DropReason::NatProtocolUnsupported));
    assert_eq!(world.counts(), (1, 1, 0));
}

#[test]
fn rfc5508_req1_an_echo_keeps_its_identifier_and_the_reply_comes_back() {
    let mut world = World::new();
    let out = world.guest_sends(&eth().ipv4(GUEST, REMOTE).icmp_echo(77, 1).payload(b"ping")).unwrap();
    assert_eq!(out, eth().ipv4(PUBLIC, REMOTE).icmp_echo(77, 1).payload(b"ping"));
    let other = world.guest_sends(&eth().ipv4(GUEST2, REMOTE).icmp_echo(77, 1).payload(b"ping")).unwrap();
    let id = ends(&other).1;
    assert_ne!(id, 77);
    for (guest, id) in [(GUEST, 77), (GUEST2, id)] {
        let reply = eth().ipv4(REMOTE, PUBLIC).icmp_echo_reply(id, 1).payload(b"ping");
        let expected = eth().ipv4(REMOTE, guest).icmp_echo_reply(77, 1).payload(b"ping");
        assert_eq!(world.remote_sends(&reply), Ok(expected));
    }
}

#[test]
fn a_packet_with_offload_keeps_its_half_done_checksum_half_done() {
    let mut world = World::new();
    let mut frame = eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"");
    let half_done = |src, dst| packet::checksum::Sum::pseudo_header_v4(src, dst, 6, 20).fold().to_be_bytes();
    frame[50..52].copy_from_slice(&half_done(GUEST, REMOTE));
    world.partial_checksum = true;
    let out = world.guest_sends(&frame).unwrap();
    assert_eq!(out[50..52], half_done(PUBLIC, REMOTE));
}

#[test]
fn looking_ahead_tells_who_has_no_flow_and_changes_nothing() {
    let mut world = World::new();
    let known = eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"");
    world.guest_sends(&known).unwrap();
    let unknown = eth().ipv4(GUEST, REMOTE).udp(5001, 53).payload(b"");
    let ips = [known, unknown].map(|frame| Ipv4Packet::parse(&frame[14..]).unwrap()).repeat(100);
    let mut keys: Vec<_> = ips.iter().map(|ip| world.nat.key(ip)).collect();
    let before = world.flow();
    // In another second the flow would move.
    for now in [world.now, world.now + Millis::from_secs(1)] {
        assert_eq!(world.nat.look_ahead(&mut keys, now), 0xaaaa_aaaa_aaaa_aaaa);
        assert_eq!(world.nat.look_ahead(&mut keys[..2], now), 2);
        assert_eq!(world.nat.look_ahead(&mut [], now), 0);
    }
    let destination = world.nat.destination(&ips[1], LAN).unwrap();
    let admission = world.nat.prepare(&ips[1], keys[1], destination, LAN, WAN).unwrap();
    world.nat.look_ahead_new([admission; 3].iter());
    assert_eq!((world.flow(), world.counts()), (before, (1, 1, 0)));
}

#[test]
fn what_nobody_asked_for_is_refused() {
    let mut world = World::new();
    let refused = [
        (eth().ipv4(REMOTE, PUBLIC).udp(53, 5000).payload(b""), WAN, DropReason::NatUnsolicited),
        (eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, SYN).payload(b""), WAN, DropReason::NatUnsolicited),
        (eth().ipv4(REMOTE, PUBLIC).tcp(7000, 8080, ACK).payload(b""), WAN, DropReason::TcpNoSyn),
        (eth().ipv4(REMOTE, PUBLIC).tcp(7000, 8080, SYN | ACK).payload(b""), WAN, DropReason::TcpNoSyn),
        (eth().ipv4(GUEST, REMOTE).tcp(5000, 80, ACK).payload(b""), LAN, DropReason::TcpNoSyn),
        (eth().ipv4(GUEST, REMOTE).tcp(5000, 80, RST).payload(b""), LAN, DropReason::TcpNoSyn),
        (eth().ipv4(GUEST, REMOTE).icmp_echo_reply(1, 1).payload(b""), LAN, DropReason::NatUnsolicited),
    ];
    for (frame, input, reason) in refused {
        assert_eq!(world.pass(&frame, input), Err(reason));
    }
    assert_eq!(world.counts(), (0, 0, 0));
}

#[test]
fn masquerade_needs_an_address() {
    let mut world = World::with(NatConfig { addresses: vec![Some(GATEWAY), None], ..config() });
    let frame = eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"");
    assert_eq!(world.guest_sends(&frame), Err(DropReason::NatNoAddress));
}

#[test]
fn rfc6888_req11_at_the_cap_new_flows_are_refused_and_old_ones_live() {
    let mut world = World::with(NatConfig { flow_limit: 2, ..config() });
    let frame = |port| eth().ipv4(GUEST, REMOTE).udp(port, 53).payload(b"");
    assert!(world.guest_sends(&frame(1)).is_ok() && world.guest_sends(&frame(2)).is_ok());
    assert_eq!(world.guest_sends(&frame(3)), Err(DropReason::FlowTableFull));
    assert!(world.guest_sends(&frame(1)).is_ok() && world.guest_sends(&frame(2)).is_ok());
    assert_eq!(world.counts(), (2, 2, 0));
}

#[test]
fn when_ports_run_out_new_flows_are_refused_and_nothing_leaks() {
    let mut world = World::with(NatConfig { flow_limit: 10_000, ..config() });
    let frame =
        |guest: u8, port| eth().ipv4([192, 168, 122, guest].into(), REMOTE).udp(port, 53).payload(b"");
    for port in 1..=1023 {
        world.guest_sends(&frame(10, port)).unwrap();
    }
    assert_eq!(world.guest_sends(&frame(11, 500)), Err(DropReason::NatNoPorts));
    assert!(world.guest_sends(&frame(11, 5000)).is_ok());
    world.wait(301_000);
    world.wait(0);
    assert_eq!(world.counts(), (0, 1024, 1024));
    // RFC 6888 REQ-8: they rest for two minutes.
    assert_eq!(world.guest_sends(&frame(11, 500)), Err(DropReason::NatNoPorts));
    world.wait(120_000);
    assert!(world.guest_sends(&frame(11, 500)).is_ok());
}

#[test]
fn a_flow_outlives_the_rules_that_made_it_and_counters_stay_with_their_rule() {
    let mut world = World::new();
    let syn = eth().ipv4(REMOTE, PUBLIC).tcp(7000, 8080, SYN).payload(b"");
    world.remote_sends(&syn).unwrap();
    let mut changed = config();
    changed.rules.prerouting.insert(0, dnat(PUBLIC, Protocol::TCP, 9000, GUEST2, None));
    world.nat.reconfigure(changed.clone());
    let counters = world.nat.rule_counters().prerouting;
    assert_eq!(counters, [RuleCounter::default(), RuleCounter { packets: 1, bytes: 40 }]);
    changed.rules = RuleSet::default();
    changed.timeouts = Timeouts { tcp_opening: Millis::from_secs(500), ..Timeouts::default() };
    world.nat.reconfigure(changed);
    assert_eq!(ends(&world.remote_sends(&syn).unwrap()), (REMOTE, 7000, GUEST, 80));
    assert_eq!(world.flow().expires_in, Millis::from_secs(501));
    assert!(world.nat.rule_counters().prerouting.is_empty());
}

#[test]
fn a_rule_for_one_uplink_does_not_apply_to_another() {
    let mut config = config();
    config.rules.postrouting[0].matches.output = Some(Condition::is(packet::NetworkId::new(5)));
    let mut world = World::with(config);
    let frame = eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"");
    assert_eq!(world.guest_sends(&frame).unwrap(), frame);
}

//! The kinds of rules: what each target makes of a flow's first packet and of the answer.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use nat_engine::{AddressRange, Match, NatConfig, NatRule, PortList, Target};
use packet::DropReason;
use packet::builder::eth;
use world::*;

const POOL: AddressRange =
    AddressRange { first: Ipv4Addr::new(203, 0, 113, 16), last: Ipv4Addr::new(203, 0, 113, 19) };

/// A world with this rule alone in POSTROUTING.
fn source_rule(target: Target) -> World {
    let mut config = config();
    config.rules.postrouting[0].target = target;
    World::with(config)
}

/// A world with this rule, for what comes to the public address, before the others in PREROUTING.
fn destination_rule(target: Target) -> World {
    let mut config = config();
    let rule = NatRule { matches: Match { destination: net("203.0.113.7/32"), ..Match::default() }, target };
    config.rules.prerouting.insert(0, rule);
    World::with(config)
}

fn guest(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 122, last)
}

fn udp_from(world: &mut World, guest: Ipv4Addr, port: u16, remote: Ipv4Addr) -> (Ipv4Addr, u16) {
    let out = world.guest_sends(&eth().ipv4(guest, remote).udp(port, 53).payload(b"")).unwrap();
    (ends(&out).0, ends(&out).1)
}

#[test]
fn rfc4787_req2_a_pool_is_paired_each_host_keeps_its_outside_address() {
    let mut world = source_rule(Target::Snat { addresses: POOL, ports: None });
    let mut used = BTreeSet::new();
    for host in 10..30 {
        let (outside, _) = udp_from(&mut world, guest(host), 5000, REMOTE);
        assert!(POOL.contains(outside));
        for port in 5001..5010 {
            assert_eq!(udp_from(&mut world, guest(host), port, REMOTE2).0, outside);
        }
        used.insert(outside);
    }
    assert_eq!(used.len(), 4, "neighbours spread evenly over the pool");
}

#[test]
fn rfc6888_req3_several_rules_make_a_pool_that_is_not_in_one_piece() {
    let mut config = config();
    let pool = |source: &str, last| NatRule {
        matches: Match { source: net(source), ..Match::default() },
        target: Target::Snat { addresses: Ipv4Addr::new(203, 0, 113, last).into(), ports: None },
    };
    config.rules.postrouting =
        vec![pool("192.168.122.10/32", 99), pool("192.168.122.0/25", 16), pool("192.168.122.128/25", 200)];
    let mut world = World::with(config);
    let outside = [10, 11, 129].map(|last| udp_from(&mut world, guest(last), 5000, REMOTE).0.octets()[3]);
    assert_eq!(outside, [99, 16, 200]);
}

#[test]
fn masquerade_takes_ports_of_its_range_and_keeps_those_that_are_in_it() {
    let mut world = source_rule(Target::Masquerade { ports: Some((20_000, 20_003)) });
    assert_eq!(udp_from(&mut world, GUEST, 20_002, REMOTE), (PUBLIC, 20_002));
    let others: BTreeSet<_> = (0..3).map(|n| udp_from(&mut world, GUEST, 100 + n, REMOTE).1).collect();
    assert_eq!(others, [20_000, 20_001, 20_003].into());
    let fifth = eth().ipv4(GUEST, REMOTE).udp(7, 53).payload(b"");
    assert_eq!(world.guest_sends(&fifth), Err(DropReason::NatNoPorts));
    // An identifier is no port.
    let ping = world.guest_sends(&eth().ipv4(GUEST, REMOTE).icmp_echo(9, 1).payload(b"")).unwrap();
    assert_eq!(ends(&ping).1, 9);
}

#[test]
fn masquerade_follows_the_uplinks_address_and_flows_of_the_old_one_are_gone() {
    let moved = Ipv4Addr::new(203, 0, 113, 8);
    let mut world = World::new();
    udp_from(&mut world, GUEST, 5000, REMOTE);
    let mut config = config();
    config.addresses[WAN.index()] = Some(moved);
    world.nat.reconfigure(config);
    assert_eq!(world.counts().0, 0);
    assert_eq!(udp_from(&mut world, GUEST, 5000, REMOTE), (moved, 5000));
}

/// The inside network is one to one `198.18.5.0/24` outside.
fn netmap_config() -> NatConfig {
    let mut config = config();
    let inside = "192.168.122.0/24".parse().unwrap();
    config.rules.postrouting[0].target = Target::Netmap("198.18.5.0/24".parse().unwrap());
    config.rules.prerouting = vec![NatRule {
        matches: Match { destination: net("198.18.5.0/24"), ..Match::default() },
        target: Target::Netmap(inside),
    }];
    config
}

#[test]
fn rfc5508_req7_a_guest_pings_another_by_its_one_to_one_address() {
    let mut world = World::with(netmap_config());
    let (ours, theirs) = (Ipv4Addr::new(198, 18, 5, 10), Ipv4Addr::new(198, 18, 5, 11));
    let asked = world.guest_sends(&eth().ipv4(GUEST, theirs).icmp_echo(7, 1).payload(b"hi")).unwrap();
    assert_eq!(asked, eth().ipv4(ours, GUEST2).icmp_echo(7, 1).payload(b"hi"));
    let told = world.guest_sends(&eth().ipv4(GUEST2, ours).icmp_echo_reply(7, 1).payload(b"hi")).unwrap();
    assert_eq!(told, eth().ipv4(theirs, GUEST).icmp_echo_reply(7, 1).payload(b"hi"));
}

#[test]
fn netmap_maps_addresses_one_to_one_in_both_directions() {
    let mut world = World::with(netmap_config());
    let out = world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"")).unwrap();
    assert_eq!(ends(&out), (Ipv4Addr::new(198, 18, 5, 10), 5000, REMOTE, 53));
    let back = eth().ipv4(REMOTE, Ipv4Addr::new(198, 18, 5, 10)).udp(53, 5000).payload(b"");
    assert_eq!(ends(&world.remote_sends(&back).unwrap()), (REMOTE, 53, GUEST, 5000));
    // Anyone outside reaches any host inside by its address outside.
    let new = eth().ipv4(REMOTE2, Ipv4Addr::new(198, 18, 5, 11)).tcp(7, 80, SYN).payload(b"");
    assert_eq!(ends(&world.remote_sends(&new).unwrap()), (REMOTE2, 7, GUEST2, 80));
    // Protocols without ports too.
    let other = world.guest_sends(&eth().ipv4(GUEST, REMOTE).payload(b"protocol 253")).unwrap();
    assert_eq!(ends(&other).0, Ipv4Addr::new(198, 18, 5, 10));
}

#[test]
fn dnat_to_a_range_spreads_clients_and_each_client_keeps_its_server() {
    let servers = AddressRange { first: guest(10), last: guest(12) };
    let mut world = destination_rule(Target::Dnat { addresses: servers, ports: None, base: None });
    let mut used = BTreeSet::new();
    for client in 1..30 {
        let mut connect = |port| {
            let syn = eth().ipv4([198, 51, 100, client].into(), PUBLIC).tcp(port, 80, SYN).payload(b"");
            let arrived = ends(&world.remote_sends(&syn).unwrap());
            assert_eq!(arrived.3, 80);
            arrived.2
        };
        let server = connect(1000);
        assert!(servers.contains(server));
        assert_eq!(connect(1001), server);
        used.insert(server);
    }
    assert_eq!(used.len(), 3);
}

#[test]
fn dnat_to_a_port_range_keeps_ports_that_are_in_it() {
    let to = Target::Dnat { addresses: GUEST.into(), ports: Some((8000, 8003)), base: None };
    let mut world = destination_rule(to);
    let mut arrives_at = |from, to| {
        ends(&world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(from, to, SYN).payload(b"")).unwrap()).3
    };
    assert_eq!(arrives_at(1, 8002), 8002);
    assert!((8000..=8003).contains(&arrives_at(2, 80)));
}

#[test]
fn dnat_with_a_base_port_shifts_each_port_of_a_range() {
    let to = Target::Dnat { addresses: GUEST.into(), ports: Some((9000, 9010)), base: Some(8000) };
    let mut world = destination_rule(to);
    let mut arrives_at = |from, to| {
        ends(&world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(from, to, SYN).payload(b"")).unwrap()).3
    };
    for n in 0..=10 {
        assert_eq!(arrives_at(n + 1, 8000 + n), 9000 + n);
    }
    // Ports that the rule's condition lets in beside them are as far from the base, round and round.
    assert_eq!(
        [8011, 8025, 7999].map(|port| arrives_at(50 + port, port)),
        [9000, 9003, 9000 + (65_535 % 11)]
    );
    let to = Target::Dnat { addresses: GUEST.into(), ports: Some((0, 65_535)), base: Some(65_535) };
    let mut world = destination_rule(to);
    let packet = eth().ipv4(REMOTE, PUBLIC).tcp(1, 80, SYN).payload(b"");
    assert_eq!(ends(&world.remote_sends(&packet).unwrap()).3, 81);
}

#[test]
fn dnat_of_everything_reaches_a_server_with_protocols_without_ports_too() {
    let mut world = destination_rule(Target::Dnat { addresses: GUEST.into(), ports: None, base: None });
    let packet = eth().ipv4(REMOTE, PUBLIC).payload(b"protocol 253");
    assert_eq!(ends(&world.remote_sends(&packet).unwrap()).2, GUEST);
}

#[test]
fn redirect_goes_to_the_networks_own_address() {
    let mut config = config();
    let matches = Match { protocol: None, destination: net("198.51.100.1/32"), ..Match::default() };
    config.rules.prerouting =
        vec![NatRule { matches, target: Target::Redirect { ports: Some((3128, 3128)) } }];
    let world = World::with(config);
    let bytes = eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"")[14..].to_vec();
    let ip = packet::Ipv4Packet::parse(&bytes).unwrap();
    let destination = world.nat.destination(&ip, LAN).unwrap();
    assert_eq!((destination.address, destination.translated), (GATEWAY, true));
}

#[test]
fn rfc6888_req6_return_turns_translation_off_for_a_destination() {
    let mut config = config();
    let exempt = Match { destination: net("198.51.100.2/32"), ..Match::default() };
    config.rules.postrouting.insert(0, NatRule { matches: exempt, target: Target::Return });
    let mut world = World::with(config);
    assert_eq!(udp_from(&mut world, GUEST, 5000, REMOTE2), (GUEST, 5000));
    assert_eq!(udp_from(&mut world, GUEST, 5000, REMOTE), (PUBLIC, 5000));
}

#[test]
fn a_rule_may_name_several_ports() {
    let mut config = config();
    config.rules.postrouting[0].matches.destination_ports =
        Some(nat_engine::Condition::is(PortList(vec![(53, 53), (8000, 8010)])));
    config.rules.postrouting[0].matches.comment = Some("for people".to_owned());
    let mut world = World::with(config);
    let mut source_to =
        |port| ends(&world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, port).payload(b"")).unwrap()).0;
    assert_eq!([53, 54, 8000, 8010, 8011].map(&mut source_to), [PUBLIC, GUEST, PUBLIC, PUBLIC, GUEST]);
}

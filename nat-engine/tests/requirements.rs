//! Requirements of RFC 4787, 5382, 5508 and 7857, by their numbers. What ports are chosen is tested beside the port pool,
//! TCP's states beside the state machine, ICMP errors in `icmp_errors.rs`, fragments in `fragments.rs`.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use nat_engine::Behaviour;
use packet::builder::eth;
use packet::{DropReason, Protocol};
use world::*;

fn udp_out(world: &mut World, remote: std::net::Ipv4Addr, port: u16) -> (std::net::Ipv4Addr, u16) {
    let out = world.guest_sends(&eth().ipv4(GUEST, remote).udp(5000, port).payload(b"")).unwrap();
    (ends(&out).0, ends(&out).1)
}

#[test]
fn rfc4787_req1_mapping_is_endpoint_independent() {
    let mut world = World::new();
    // The port is not simply kept: another guest has it.
    world.guest_sends(&eth().ipv4(GUEST2, REMOTE).udp(5000, 1).payload(b"")).unwrap();
    let first = udp_out(&mut world, REMOTE, 53);
    assert_ne!(first, (PUBLIC, 5000));
    assert_eq!(udp_out(&mut world, REMOTE, 54), first);
    assert_eq!(udp_out(&mut world, REMOTE2, 53), first);
    assert_eq!(world.counts(), (4, 4, 0));
}

#[test]
fn rfc5382_req1_mapping_is_endpoint_independent() {
    let mut world = World::new();
    let mut connect = |guest, remote| {
        ends(&world.guest_sends(&eth().ipv4(guest, remote).tcp(5000, 80, SYN).payload(b"")).unwrap()).1
    };
    connect(GUEST2, REMOTE);
    assert_eq!(connect(GUEST, REMOTE), connect(GUEST, REMOTE2));
}

#[test]
fn rfc5508_req1a_query_mapping_is_independent_of_the_remote() {
    let mut world = World::new();
    let mut ping = |guest, remote| {
        ends(&world.guest_sends(&eth().ipv4(guest, remote).icmp_echo(9, 1).payload(b"")).unwrap()).1
    };
    ping(GUEST2, REMOTE);
    assert_eq!(ping(GUEST, REMOTE), ping(GUEST, REMOTE2));
}

#[test]
fn rfc7857_s5_mappings_are_per_protocol() {
    let mut world = World::new();
    world.guest_sends(&eth().ipv4(GUEST2, REMOTE).udp(5000, 1).payload(b"")).unwrap();
    let tcp = world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"")).unwrap();
    assert_eq!(ends(&tcp).1, 5000);
    assert_ne!(udp_out(&mut world, REMOTE, 53).1, 5000);
}

#[test]
fn a_mapping_lives_as_long_as_any_of_its_flows() {
    let mut world = World::new();
    world.guest_sends(&eth().ipv4(GUEST2, REMOTE).udp(5000, 1).payload(b"")).unwrap();
    let first = udp_out(&mut world, REMOTE, 53);
    world.wait(200_000);
    assert_eq!(udp_out(&mut world, REMOTE2, 53), first);
    world.wait(200_000);
    assert_eq!(world.counts(), (1, 3, 2));
    // The guest's own port is free now, but the mapping is in use.
    assert_eq!(udp_out(&mut world, REMOTE, 53), first);
    world.wait(301_000);
    assert_eq!(udp_out(&mut world, REMOTE, 53), (PUBLIC, 5000));
}

#[test]
fn rfc4787_req5_udp_mapping_lives_two_minutes() {
    let mut world = World::new();
    udp_out(&mut world, REMOTE, 53);
    world.wait(120_000);
    assert_eq!(world.counts(), (1, 1, 0));
}

#[test]
fn rfc4787_req5c_udp_mapping_lives_five_minutes_by_default_and_not_much_longer() {
    let mut world = World::new();
    udp_out(&mut world, REMOTE, 53);
    world.wait(300_999);
    assert_eq!(world.counts(), (1, 1, 0));
    assert_eq!(world.nat.next_timeout(), Some(world.now + packet::Millis::new(1)));
    world.wait(1);
    assert_eq!((world.counts(), world.nat.next_timeout()), ((0, 1, 1), None));
}

#[test]
fn rfc4787_req6_outbound_and_inbound_packets_refresh() {
    let mut world = World::new();
    let reply = eth().ipv4(REMOTE, PUBLIC).udp(53, 5000).payload(b"");
    for _ in 0..3 {
        udp_out(&mut world, REMOTE, 53);
        world.wait(299_000);
        world.remote_sends(&reply).unwrap();
        world.wait(299_000);
    }
    assert_eq!(world.counts(), (1, 1, 0));
    world.wait(2_000);
    assert_eq!(world.remote_sends(&reply), Err(DropReason::NatUnsolicited));
}

#[test]
fn frequent_use_keeps_a_flow_for_its_whole_idle_time() {
    let mut world = World::new();
    for _ in 0..10 {
        udp_out(&mut world, REMOTE, 53);
        world.wait(300);
    }
    world.wait(299_700);
    assert_eq!(world.counts(), (1, 1, 0));
    world.wait(1_300);
    assert_eq!(world.counts(), (0, 1, 1));
}

/// Opens a TCP connection from inside.
fn established() -> World {
    let mut world = World::new();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"")).unwrap();
    world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, SYN | ACK).payload(b"")).unwrap();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, ACK).payload(b"")).unwrap();
    assert_eq!(world.flow().state, "established");
    world
}

#[test]
fn rfc5382_req5_an_established_connection_lives_two_hours_and_four_minutes() {
    let mut world = established();
    world.wait(7_440_000);
    assert_eq!(world.counts(), (1, 1, 0));
    world.wait(1_000);
    assert_eq!(world.counts(), (0, 1, 1));
}

#[test]
fn rfc5382_req5_a_half_open_connection_lives_four_minutes() {
    let mut world = World::new();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"")).unwrap();
    world.wait(240_000);
    assert_eq!(world.flow().state, "syn-sent");
    world.wait(1_000);
    assert_eq!(world.counts(), (0, 1, 1));
}

#[test]
fn rfc5382_req5_a_closed_connection_lives_four_minutes() {
    let mut world = established();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, FIN | ACK).payload(b"")).unwrap();
    assert_eq!(world.flow().state, "half-closed");
    world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, FIN | ACK).payload(b"")).unwrap();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, ACK).payload(b"")).unwrap();
    assert_eq!(world.flow().state, "closing");
    world.wait(240_000);
    assert_eq!(world.counts(), (1, 1, 0));
    world.wait(1_000);
    assert_eq!(world.counts(), (0, 1, 1));
}

#[test]
fn rfc7857_s2_2_a_reset_passes_and_its_state_stays_four_minutes() {
    let mut world = established();
    let rst = world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, RST).payload(b"")).unwrap();
    assert_eq!((ends(&rst), world.flow().state), ((REMOTE, 80, GUEST, 5000), "reset"));
    world.wait(240_000);
    assert_eq!(world.counts(), (1, 1, 0));
    world.wait(1_000);
    assert_eq!(world.counts(), (0, 1, 1));
}

#[test]
fn rfc7857_s2_2_a_reset_or_fin_from_elsewhere_passes_and_ends_nothing() {
    for sequence in [1001, 1000 + (1 << 20), 1 << 31, 999] {
        for flags in [RST, FIN | ACK] {
            let mut world = established();
            let end = eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, flags).numbers(sequence, 1001).payload(b"");
            assert_eq!(ends(&world.remote_sends(&end).unwrap()), (REMOTE, 80, GUEST, 5000));
            assert_eq!(world.flow().state, "established");
        }
    }
}

#[test]
fn a_new_syn_on_a_closed_connection_opens_it_again() {
    let mut world = established();
    world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, RST).payload(b"")).unwrap();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"")).unwrap();
    assert_eq!((world.flow().state, world.counts()), ("syn-sent", (1, 1, 0)));
}

#[test]
fn rfc5508_req2_a_query_lives_sixty_seconds() {
    let mut world = World::new();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).icmp_echo(9, 1).payload(b"")).unwrap();
    world.wait(60_000);
    assert_eq!(world.counts(), (1, 1, 0));
    world.wait(1_000);
    assert_eq!(world.counts(), (0, 1, 1));
}

#[test]
fn rfc4787_req9_a_guest_reaches_another_by_its_published_port() {
    let mut world = World::new();
    let out = world.guest_sends(&eth().ipv4(GUEST2, PUBLIC).tcp(5000, 8080, SYN).payload(b"")).unwrap();
    assert_eq!(ends(&out), (PUBLIC, 5000, GUEST, 80));
    let back = world.guest_sends(&eth().ipv4(GUEST, PUBLIC).tcp(80, 5000, SYN | ACK).payload(b"")).unwrap();
    assert_eq!(ends(&back), (PUBLIC, 8080, GUEST2, 5000));
}

#[test]
fn rfc4787_req9a_hairpinning_shows_the_same_external_source_as_outside() {
    let mut world = World::new();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"")).unwrap();
    let outside = world.guest_sends(&eth().ipv4(GUEST2, REMOTE).tcp(5000, 80, SYN).payload(b"")).unwrap();
    let hairpin = world.guest_sends(&eth().ipv4(GUEST2, PUBLIC).tcp(5000, 8080, SYN).payload(b"")).unwrap();
    assert_eq!((ends(&outside).0, ends(&outside).1), (ends(&hairpin).0, ends(&hairpin).1));
}

#[test]
fn a_guest_reaches_its_own_published_port() {
    let mut world = World::new();
    let out = world.guest_sends(&eth().ipv4(GUEST, PUBLIC).tcp(5000, 8080, SYN).payload(b"")).unwrap();
    assert_eq!(ends(&out), (PUBLIC, 5000, GUEST, 80));
    let back = world.guest_sends(&eth().ipv4(GUEST, PUBLIC).tcp(80, 5000, SYN | ACK).payload(b"")).unwrap();
    assert_eq!(ends(&back), (PUBLIC, 8080, GUEST, 5000));
}

#[test]
fn rfc5382_req2a_simultaneous_open_passes_both_syns() {
    let mut world = World::new();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"")).unwrap();
    let syn = world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, SYN).payload(b"")).unwrap();
    assert_eq!(ends(&syn), (REMOTE, 80, GUEST, 5000));
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN | ACK).payload(b"")).unwrap();
    world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, ACK).payload(b"")).unwrap();
    assert_eq!(world.flow().state, "established");
}

#[test]
fn rfc4787_req3_a_flow_never_takes_a_published_port() {
    let mut config = config();
    config.rules.prerouting.push(dnat(PUBLIC, Protocol::UDP, 5000, GUEST2, None));
    let mut world = World::with(config);
    assert_ne!(udp_out(&mut world, REMOTE, 53).1, 5000);
    let inbound = world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).udp(53, 5000).payload(b"")).unwrap();
    assert_eq!(ends(&inbound).2, GUEST2);
}

#[test]
fn expired_flows_go_some_hundred_at_a_time() {
    let mut world = World::with(nat_engine::NatConfig { flow_limit: 5000, ..config() });
    for port in 1024..2524 {
        world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(port, 53).payload(b"")).unwrap();
    }
    world.wait(301_000);
    assert_eq!(world.counts(), (1500 - 512, 1500, 512));
    assert!(world.nat.next_timeout().unwrap() <= world.now);
    world.wait(0);
    world.wait(0);
    assert_eq!(world.counts(), (0, 1500, 1500));
}

#[test]
fn rfc7857_s7_1_a_reset_of_a_half_open_connection_prolongs_nothing() {
    let mut config = config();
    config.settings.filtering = Behaviour::EndpointIndependent;
    let mut world = World::with(config);
    let out = eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"");
    world.guest_sends(&out).unwrap();
    let inward = eth().ipv4(REMOTE2, PUBLIC).tcp(7, 5000, SYN).payload(b"");
    world.remote_sends(&inward).unwrap();
    world.wait(200_000);
    let reset = eth().ipv4(GUEST, REMOTE2).tcp(5000, 7, RST | ACK).payload(b"");
    world.guest_sends(&reset).unwrap();
    world.wait(41_000);
    assert_eq!(world.counts().0, 0);
}

#[test]
fn rfc5508_req10b_a_timestamp_is_translated_like_an_echo() {
    let mut world = World::new();
    let query = |src, kind, id: u32, dst| eth().ipv4(src, dst).icmp(kind, 0, id << 16 | 1).payload(&[9; 12]);
    world.guest_sends(&eth().ipv4(GUEST2, REMOTE).icmp_echo(7, 1).payload(b"")).unwrap();
    let out = world.guest_sends(&query(GUEST, 13, 7, REMOTE)).unwrap();
    let id = ends(&out).1;
    assert_ne!(id, 7, "another host has it");
    assert_eq!(out, query(PUBLIC, 13, id.into(), REMOTE));
    let back = world.remote_sends(&query(REMOTE, 14, id.into(), PUBLIC)).unwrap();
    assert_eq!(back, query(REMOTE, 14, 7, GUEST));
    let unasked = query(REMOTE, 14, 9, PUBLIC);
    assert_eq!(world.remote_sends(&unasked), Err(DropReason::NatUnsolicited));
}

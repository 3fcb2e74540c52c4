//! What one inside host may have, and how ports are given out again. RFC 6888; RFC 4787, 4.2; RFC 7857, 8 and 9.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use nat_engine::{Behaviour, NatConfig, NatSettings};
use packet::builder::eth;
use packet::{DropReason, Millis};
use world::*;

fn world(settings: NatSettings) -> World {
    World::with(NatConfig { settings, ..config() })
}

/// The outside port of a UDP packet.
fn udp(world: &mut World, guest: Ipv4Addr, from: u16, to: u16) -> Result<u16, DropReason> {
    world.guest_sends(&eth().ipv4(guest, REMOTE).udp(from, to).payload(b"")).map(|frame| ends(&frame).1)
}

#[test]
fn rfc6888_req4_a_host_has_so_many_flows_at_most_and_others_are_not_hurt() {
    let mut world = world(NatSettings { host_flow_limit: Some(2), ..NatSettings::default() });
    for to in [1, 2] {
        udp(&mut world, GUEST, 5000, to).unwrap();
    }
    assert_eq!(udp(&mut world, GUEST, 5000, 3), Err(DropReason::NatHostLimit));
    assert_eq!(udp(&mut world, GUEST, 6000, 3), Err(DropReason::NatHostLimit));
    // What it has goes on.
    assert!(udp(&mut world, GUEST, 5000, 1).is_ok());
    assert!(udp(&mut world, GUEST2, 5000, 1).is_ok());
    world.wait(301_000);
    assert!(udp(&mut world, GUEST, 6000, 3).is_ok());
}

#[test]
fn rfc6888_req4_flows_from_outside_count_for_the_host_too() {
    let mut world = world(NatSettings {
        filtering: Behaviour::EndpointIndependent,
        host_flow_limit: Some(3),
        ..NatSettings::default()
    });
    udp(&mut world, GUEST, 5000, 1).unwrap();
    let mut stranger =
        |port| world.remote_sends(&eth().ipv4(REMOTE2, PUBLIC).udp(port, 5000).payload(b"")).map(|_| ());
    assert_eq!([7, 8, 9].map(&mut stranger), [Ok(()), Ok(()), Err(DropReason::NatHostLimit)]);
}

#[test]
fn rfc6888_req4_a_flow_between_two_hosts_counts_for_both() {
    let mut world = world(NatSettings { host_flow_limit: Some(2), ..NatSettings::default() });
    udp(&mut world, GUEST, 5000, 1).unwrap();
    let mut hairpin =
        |to| world.guest_sends(&eth().ipv4(GUEST2, PUBLIC).udp(6000, to).payload(b"")).map(|_| ());
    assert_eq!(hairpin(5000), Ok(()));
    udp(&mut world, GUEST2, 6000, 1).unwrap();
    for guest in [GUEST, GUEST2] {
        assert_eq!(udp(&mut world, guest, 7000, 1), Err(DropReason::NatHostLimit));
    }
}

#[test]
fn rfc6888_req4_a_host_has_so_many_ports_at_most_whatever_it_sends_from_them() {
    let mut world = world(NatSettings { host_port_limit: Some(2), ..NatSettings::default() });
    for from in [5000, 5001] {
        for to in [1, 2, 3] {
            udp(&mut world, GUEST, from, to).unwrap();
        }
    }
    assert_eq!(udp(&mut world, GUEST, 5002, 1), Err(DropReason::NatHostLimit));
    let ping = eth().ipv4(GUEST, REMOTE).icmp_echo(9, 1).payload(b"");
    assert_eq!(world.guest_sends(&ping), Err(DropReason::NatHostLimit));
    assert!(udp(&mut world, GUEST2, 5002, 1).is_ok());
}

#[test]
fn rfc6888_req4c_a_host_gets_so_many_new_mappings_a_second() {
    let mut world = world(NatSettings { host_mapping_rate: Some(10), ..NatSettings::default() });
    let burst = |world: &mut World, first: u16| {
        (first..first + 50).filter(|&from| udp(world, GUEST, from, 1).is_ok()).count()
    };
    assert_eq!(burst(&mut world, 5000), 10);
    world.now = world.now + Millis::new(500);
    assert_eq!(burst(&mut world, 6000), 5);
    world.now = world.now + Millis::from_secs(60);
    assert_eq!(burst(&mut world, 7000), 10);
}

#[test]
fn a_limit_that_comes_later_counts_what_is_there() {
    let mut world = World::new();
    for from in 5000..5010 {
        udp(&mut world, GUEST, from, 1).unwrap();
        udp(&mut world, GUEST, from, 2).unwrap();
    }
    let limit = |host_flow_limit, host_port_limit| NatConfig {
        settings: NatSettings { host_flow_limit, host_port_limit, ..NatSettings::default() },
        ..config()
    };
    world.nat.reconfigure(limit(Some(21), Some(10)));
    assert_eq!(udp(&mut world, GUEST, 6000, 1), Err(DropReason::NatHostLimit));
    assert!(udp(&mut world, GUEST, 5000, 3).is_ok());
    assert_eq!(udp(&mut world, GUEST, 5000, 4), Err(DropReason::NatHostLimit));
    world.nat.reconfigure(limit(None, None));
    assert!(udp(&mut world, GUEST, 6000, 1).is_ok());
}

#[test]
fn rfc6888_req8_a_port_rests_for_the_time_that_the_setting_says() {
    for (quarantine, rests) in [(120, true), (10, false)] {
        let quarantine = Millis::from_secs(quarantine);
        let mut world = world(NatSettings { quarantine, ..NatSettings::default() });
        udp(&mut world, GUEST, 5000, 1).unwrap();
        world.wait(301_000);
        world.wait(60_000);
        assert_eq!(udp(&mut world, GUEST2, 5000, 1).unwrap() != 5000, rests);
        world.wait(60_000);
    }
}

#[test]
fn rfc6888_req8_no_more_ports_rest_than_the_setting_says() {
    let mut world = world(NatSettings { quarantine_limit: 2, ..NatSettings::default() });
    for from in 5000..5004 {
        udp(&mut world, GUEST, from, 1).unwrap();
    }
    world.wait(301_000);
    let kept: Vec<_> = (5000..5004).map(|from| udp(&mut world, GUEST2, from, 1).unwrap() == from).collect();
    assert_eq!(kept, [true, true, false, false]);
}

#[test]
fn rfc6888_req8a_a_tcp_port_is_watched_to_its_end_and_needs_no_rest() {
    let mut world = World::new();
    let syn = |guest| eth().ipv4(guest, REMOTE).tcp(5000, 80, SYN).payload(b"");
    world.guest_sends(&syn(GUEST)).unwrap();
    world.wait(241_000);
    assert_eq!(ends(&world.guest_sends(&syn(GUEST2)).unwrap()).1, 5000);
}

#[test]
fn rfc7857_s9_without_preservation_ports_are_unguessable() {
    let ports = |seed| {
        let settings = NatSettings { port_preservation: false, ..NatSettings::default() };
        let mut world = world(settings);
        world.nat = nat_engine::Nat::new(NatConfig { settings, ..config() }, [seed, 1]);
        (5000..5020).map(|from| udp(&mut world, GUEST, from, 1).unwrap()).collect::<Vec<_>>()
    };
    let first = ports(1);
    assert!(first.iter().zip(5000..).all(|(port, from)| *port != from));
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 20);
    assert!(first.windows(2).any(|pair| pair[1] != pair[0] + 1));
    assert_ne!(first, ports(2));
}

#[test]
fn rfc7857_s8_parity_is_kept_if_that_is_asked_for() {
    let mut world = world(NatSettings { port_parity: true, ..NatSettings::default() });
    for from in 5000..5040 {
        udp(&mut world, GUEST, from, 1).unwrap();
        assert_eq!(udp(&mut world, GUEST2, from, 1).unwrap() % 2, from % 2);
    }
}

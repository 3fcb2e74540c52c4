//! Mapping, filtering and hairpinning, in each setting. RFC 4787, 4 to 6; RFC 5382, 4.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use std::net::Ipv4Addr;

use nat_engine::{AddressRange, Behaviour, NatConfig, NatSettings, Target};
use packet::DropReason;
use packet::builder::eth;
use world::*;

use Behaviour::{AddressAndPortDependent, AddressDependent, EndpointIndependent};

fn world(mapping: Behaviour, filtering: Behaviour) -> World {
    World::with(NatConfig {
        settings: NatSettings { mapping, filtering, ..NatSettings::default() },
        ..config()
    })
}

fn udp_out(world: &mut World, guest: Ipv4Addr, remote: Ipv4Addr, port: u16) -> u16 {
    ends(&world.guest_sends(&eth().ipv4(guest, remote).udp(5000, port).payload(b"")).unwrap()).1
}

/// Whether the mapping of port 5000 lets in a new packet from there.
fn lets_in(world: &mut World, remote: Ipv4Addr, port: u16) -> bool {
    match world.remote_sends(&eth().ipv4(remote, PUBLIC).udp(port, 5000).payload(b"")) {
        Ok(frame) => {
            assert_eq!(ends(&frame), (remote, port, GUEST, 5000));
            true
        }
        Err(reason) => {
            assert_eq!(reason, DropReason::NatUnsolicited);
            false
        }
    }
}

#[test]
fn rfc4787_s4_1_mapping_depends_on_what_the_setting_says() {
    let ports = |mapping| {
        let mut world = world(mapping, AddressDependent);
        [(REMOTE, 53), (REMOTE, 54), (REMOTE2, 53), (REMOTE2, 54)]
            .map(|(remote, port)| udp_out(&mut world, GUEST, remote, port))
    };
    let [a, b, c, d] = ports(EndpointIndependent);
    assert!(a == b && b == c && c == d);
    let [a, b, c, d] = ports(AddressDependent);
    assert!(a == b && b != c && c == d);
    let mut all = ports(AddressAndPortDependent).to_vec();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4);
}

#[test]
fn rfc4787_req8_filtering_lets_in_whom_the_setting_says() {
    let let_in = |filtering| {
        let mut world = world(EndpointIndependent, filtering);
        udp_out(&mut world, GUEST, REMOTE, 53);
        [(REMOTE, 53), (REMOTE, 54), (REMOTE2, 53)].map(|(remote, port)| lets_in(&mut world, remote, port))
    };
    assert_eq!(let_in(EndpointIndependent), [true, true, true]);
    assert_eq!(let_in(AddressDependent), [true, true, false]);
    assert_eq!(let_in(AddressAndPortDependent), [true, false, false]);
    assert_eq!(NatSettings::default().filtering, AddressDependent);
}

#[test]
fn rfc5382_req3_filtering_of_tcp_lets_in_whom_the_setting_says() {
    let let_in = |filtering| {
        let mut world = world(EndpointIndependent, filtering);
        world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"")).unwrap();
        [(REMOTE, 81), (REMOTE2, 80)].map(|(remote, port)| {
            world.remote_sends(&eth().ipv4(remote, PUBLIC).tcp(port, 5000, SYN).payload(b"")).is_ok()
        })
    };
    assert_eq!(let_in(EndpointIndependent), [true, true]);
    assert_eq!(let_in(AddressDependent), [true, false]);
    assert_eq!(let_in(AddressAndPortDependent), [false, false]);
}

#[test]
fn rfc5382_req2_a_connection_from_outside_is_established_through_a_mapping() {
    let mut world = world(EndpointIndependent, EndpointIndependent);
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"")).unwrap();
    let syn = eth().ipv4(REMOTE2, PUBLIC).tcp(7, 5000, SYN).payload(b"");
    assert_eq!(ends(&world.remote_sends(&syn).unwrap()), (REMOTE2, 7, GUEST, 5000));
    let answer = eth().ipv4(GUEST, REMOTE2).tcp(5000, 7, SYN | ACK).payload(b"");
    assert_eq!(ends(&world.guest_sends(&answer).unwrap()), (PUBLIC, 5000, REMOTE2, 7));
    world.remote_sends(&eth().ipv4(REMOTE2, PUBLIC).tcp(7, 5000, ACK).payload(b"")).unwrap();
    assert!(world.nat.flows(world.now).any(|flow| flow.state == "established"));
}

#[test]
fn rfc7857_s6_filtering_is_per_protocol() {
    let mut world = world(EndpointIndependent, EndpointIndependent);
    udp_out(&mut world, GUEST, REMOTE, 53);
    let syn = eth().ipv4(REMOTE, PUBLIC).tcp(53, 5000, SYN).payload(b"");
    assert_eq!(world.remote_sends(&syn), Err(DropReason::NatUnsolicited));
}

#[test]
fn rfc7857_s7_refused_packets_do_not_refresh_the_mapping() {
    let mut world = world(EndpointIndependent, AddressDependent);
    udp_out(&mut world, GUEST, REMOTE, 53);
    for _ in 0..10 {
        world.wait(30_000);
        assert!(!lets_in(&mut world, REMOTE2, 53));
    }
    assert_eq!(world.counts(), (1, 1, 0));
    world.wait(1_000);
    assert_eq!(world.counts(), (0, 1, 1));
}

#[test]
fn a_contact_is_forgotten_with_its_last_flow_and_follows_the_setting() {
    let mut world = world(EndpointIndependent, EndpointIndependent);
    udp_out(&mut world, GUEST, REMOTE, 53);
    world.wait(200_000);
    udp_out(&mut world, GUEST, REMOTE2, 53);
    let settings = NatSettings { filtering: AddressDependent, ..NatSettings::default() };
    world.nat.reconfigure(NatConfig { settings, ..config() });
    assert!(lets_in(&mut world, REMOTE, 99));
    world.wait(101_000);
    // The flow to it is gone; what came in since doesn't count.
    assert!(!lets_in(&mut world, REMOTE, 98));
    assert!(lets_in(&mut world, REMOTE2, 98));
}

#[test]
fn a_flow_from_outside_keeps_its_mapping() {
    let mut world = world(EndpointIndependent, EndpointIndependent);
    udp_out(&mut world, GUEST, REMOTE, 53);
    world.wait(200_000);
    assert!(lets_in(&mut world, REMOTE2, 9));
    world.wait(200_000);
    assert_eq!(world.counts(), (1, 2, 1));
    // Another guest can't have the port yet.
    assert_ne!(udp_out(&mut world, GUEST2, REMOTE, 53), 5000);
    assert_eq!(udp_out(&mut world, GUEST, REMOTE, 53), 5000);
}

#[test]
fn rfc4787_req9_hosts_behind_the_nat_reach_each_other_by_their_mappings() {
    for filtering in [EndpointIndependent, AddressDependent, AddressAndPortDependent] {
        let mut world = world(EndpointIndependent, filtering);
        udp_out(&mut world, GUEST, REMOTE, 53);
        let from = udp_out(&mut world, GUEST2, REMOTE, 53);
        let out = world.guest_sends(&eth().ipv4(GUEST2, PUBLIC).udp(5000, 5000).payload(b"")).unwrap();
        // RFC 4787 REQ-9a: the source that REMOTE sees.
        assert_eq!(ends(&out), (PUBLIC, from, GUEST, 5000));
        let back = world.guest_sends(&eth().ipv4(GUEST, PUBLIC).udp(5000, from).payload(b"")).unwrap();
        assert_eq!(ends(&back), (PUBLIC, 5000, GUEST2, 5000));
    }
}

#[test]
fn rfc5382_req8_tcp_is_hairpinned_by_mappings_with_the_external_source() {
    let mut world = World::new();
    let syn = |guest, to, port| eth().ipv4(guest, to).tcp(5000, port, SYN).payload(b"");
    world.guest_sends(&syn(GUEST, REMOTE, 80)).unwrap();
    let from = ends(&world.guest_sends(&syn(GUEST2, REMOTE, 80)).unwrap()).1;
    assert_eq!(ends(&world.guest_sends(&syn(GUEST2, PUBLIC, 5000)).unwrap()), (PUBLIC, from, GUEST, 5000));
}

#[test]
fn rfc4787_req9a_hairpinning_with_a_pool_shows_the_senders_own_outside_address() {
    let mut config = config();
    let first = Ipv4Addr::new(203, 0, 113, 16);
    let addresses = AddressRange { first, last: Ipv4Addr::new(203, 0, 113, 19) };
    config.rules.postrouting[0].target = Target::Snat { addresses, ports: None };
    let mut world = World::with(config);
    let outside = |world: &mut World, guest| {
        ends(&world.guest_sends(&eth().ipv4(guest, REMOTE).udp(5000, 53).payload(b"")).unwrap()).0
    };
    let (first, second) = (outside(&mut world, GUEST), outside(&mut world, GUEST2));
    assert_ne!(first, second);
    let out = world.guest_sends(&eth().ipv4(GUEST2, first).udp(5000, 5000).payload(b"")).unwrap();
    assert_eq!(ends(&out), (second, 5000, GUEST, 5000));
}

#[test]
fn a_host_reaches_itself_by_its_mapping() {
    let mut world = World::new();
    udp_out(&mut world, GUEST, REMOTE, 53);
    let out = world.guest_sends(&eth().ipv4(GUEST, PUBLIC).udp(6000, 5000).payload(b"")).unwrap();
    assert_eq!(ends(&out), (PUBLIC, 6000, GUEST, 5000));
    // Even from the same socket, then by another port.
    let out = world.guest_sends(&eth().ipv4(GUEST, PUBLIC).udp(5000, 5000).payload(b"")).unwrap();
    assert_eq!((ends(&out).2, ends(&out).3), (GUEST, 5000));
    assert_ne!(ends(&out).1, 5000);
}

#[test]
fn rfc4787_req11_behaviour_does_not_change_when_ports_are_contested() {
    let mut world = world(EndpointIndependent, AddressDependent);
    for guest in [GUEST, GUEST2] {
        let ports = [(REMOTE, 53), (REMOTE2, 53), (REMOTE2, 99)]
            .map(|(remote, port)| udp_out(&mut world, guest, remote, port));
        assert!(ports.iter().all(|&port| port == ports[0]));
        let mut arrives = |remote, port| {
            world.remote_sends(&eth().ipv4(remote, PUBLIC).udp(port, ports[0]).payload(b"")).is_ok()
        };
        assert!(arrives(REMOTE, 7) && !arrives(Ipv4Addr::new(198, 51, 100, 3), 53));
    }
}

//! Flows that an operator has forgotten: they leave nothing behind, and nothing else goes with them.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use nat_engine::{Behaviour, NatConfig, NatSettings};
use packet::builder::eth;
use world::*;

fn world(settings: NatSettings) -> World {
    World::with(NatConfig { settings, ..config() })
}

fn flush(world: &mut World, which: impl Fn(&nat_engine::FlowView) -> bool) -> usize {
    let places = world.nat.flow_places();
    let first = world.nat.flush(0..places / 2, &which, world.now);
    first + world.nat.flush(places / 2..places, &which, world.now)
}

#[test]
fn chosen_flows_go_with_their_ports_and_others_stay() {
    let mut world = world(NatSettings { host_port_limit: Some(2), ..NatSettings::default() });
    let udp = |guest, port| eth().ipv4(guest, REMOTE).udp(port, 53).payload(b"");
    let kept = world.guest_sends(&udp(GUEST2, 7000)).unwrap();
    for port in [5000, 5001] {
        world.guest_sends(&udp(GUEST, port)).unwrap();
    }
    assert!(world.guest_sends(&udp(GUEST, 5002)).is_err(), "two ports a host");
    assert_eq!(flush(&mut world, |flow| *flow.original.source().ip() == GUEST), 2);
    assert_eq!(world.counts(), (1, 3, 2));
    let (address, port, ..) = ends(&kept);
    let answer = eth().ipv4(REMOTE, address).udp(53, port).payload(b"");
    assert!(world.remote_sends(&answer).is_ok(), "the other guest's flow is untouched");
    for port in [5003, 5004] {
        assert!(world.guest_sends(&udp(GUEST, port)).is_ok(), "the host has its ports back");
    }
    assert!(world.guest_sends(&udp(GUEST, 5005)).is_err());
}

#[test]
fn a_mapping_stays_as_long_as_one_of_its_flows() {
    let mut world = world(NatSettings { filtering: Behaviour::AddressDependent, ..NatSettings::default() });
    let to = |remote| eth().ipv4(GUEST, remote).udp(5000, 53).payload(b"");
    let first = world.guest_sends(&to(REMOTE)).unwrap();
    assert_eq!(ends(&world.guest_sends(&to(REMOTE2)).unwrap()).1, ends(&first).1);
    assert_eq!(flush(&mut world, |flow| *flow.original.destination().ip() == REMOTE), 1);
    let (address, port, ..) = ends(&first);
    let from = |remote| eth().ipv4(remote, address).udp(53, port).payload(b"");
    assert!(world.remote_sends(&from(REMOTE)).is_err(), "whom the flow let in is a stranger again");
    assert!(world.remote_sends(&from(REMOTE2)).is_ok());
    assert_eq!(flush(&mut world, |_| true), 1);
    assert!(world.remote_sends(&from(REMOTE2)).is_err());
    assert_eq!((world.counts().0, flush(&mut world, |_| true)), (0, 0));
}

//! DCCP (RFC 5597) and UDP-Lite: the other protocols with ports.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use nat_engine::{PortList, Target};
use packet::builder::{FrameBuilder, eth};
use packet::{DropReason, Millis, Protocol};
use world::*;

/// Packet types of DCCP. RFC 4340, 5.1; RFC 5596.
const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const DATA: u8 = 2;
const ACKNOWLEDGEMENT: u8 = 3;
const RESET: u8 = 7;
const LISTEN: u8 = 10;

fn from_guest() -> FrameBuilder {
    eth().ipv4(GUEST, REMOTE)
}

fn from_remote() -> FrameBuilder {
    eth().ipv4(REMOTE, PUBLIC)
}

/// A DCCP connection from the guest's port 5000 to the remote's port 80.
fn connect(world: &mut World) {
    world.guest_sends(&from_guest().dccp(5000, 80, REQUEST, 0).payload(b"")).unwrap();
    world.remote_sends(&from_remote().dccp(80, 5000, RESPONSE, 0).payload(b"")).unwrap();
    world.guest_sends(&from_guest().dccp(5000, 80, ACKNOWLEDGEMENT, 0).payload(b"")).unwrap();
}

#[test]
fn rfc5597_req1_ports_of_dccp_are_mapped_whatever_its_checksum_covers() {
    let mut world = World::new();
    let other = eth().ipv4(GUEST2, REMOTE).dccp(5000, 80, REQUEST, 0).payload(b"has the port");
    world.guest_sends(&other).unwrap();
    let sent = world.guest_sends(&from_guest().dccp(5000, 80, REQUEST, 0).payload(b"")).unwrap();
    let port = ends(&sent).1;
    assert_ne!(port, 5000);
    for coverage in [0, 1, 2, 5] {
        let sent = world.guest_sends(&from_guest().dccp(5000, 80, DATA, coverage).payload(&[7; 30])).unwrap();
        assert_eq!(sent, eth().ipv4(PUBLIC, REMOTE).dccp(port, 80, DATA, coverage).payload(&[7; 30]));
        let back =
            world.remote_sends(&from_remote().dccp(80, port, DATA, coverage).payload(&[7; 30])).unwrap();
        assert_eq!(back, eth().ipv4(REMOTE, GUEST).dccp(80, 5000, DATA, coverage).payload(&[7; 30]));
    }
    // RFC 5597 REQ-1: the same port towards everywhere.
    let elsewhere = eth().ipv4(GUEST, REMOTE2).dccp(5000, 81, REQUEST, 0).payload(b"");
    assert_eq!(ends(&world.guest_sends(&elsewhere).unwrap()).1, port);
}

#[test]
fn rfc5597_req2_a_server_behind_the_nat_opens_it_by_listening() {
    let mut world = World::new();
    world.guest_sends(&from_guest().dccp(5000, 80, LISTEN, 0).payload(b"")).unwrap();
    let request = world.remote_sends(&from_remote().dccp(80, 5000, REQUEST, 0).payload(b"")).unwrap();
    assert_eq!(ends(&request), (REMOTE, 80, GUEST, 5000));
    world.guest_sends(&from_guest().dccp(5000, 80, RESPONSE, 0).payload(b"")).unwrap();
    world.remote_sends(&from_remote().dccp(80, 5000, ACKNOWLEDGEMENT, 0).payload(b"")).unwrap();
    assert_eq!(world.flow().state, "established");
}

#[test]
fn rfc5597_req4_only_a_request_starts_a_connection_and_none_from_outside() {
    let mut world = World::new();
    for kind in [RESPONSE, DATA, ACKNOWLEDGEMENT, RESET, 9, 15] {
        let stray = from_guest().dccp(5000, 80, kind, 0).payload(b"");
        assert_eq!(world.guest_sends(&stray), Err(DropReason::TcpNoSyn), "{kind}");
    }
    let request = from_remote().dccp(80, 5000, REQUEST, 0).payload(b"");
    assert_eq!(world.remote_sends(&request), Err(DropReason::NatUnsolicited));
}

#[test]
fn rfc5597_req5_an_established_connection_lives_two_hours_and_four_minutes_another_four_minutes() {
    let mut world = World::new();
    connect(&mut world);
    assert_eq!((world.flow().state, world.flow().expires_in), ("established", Millis::from_secs(7441)));
    world.wait(7_440_000);
    assert_eq!(world.counts().0, 1);
    world.remote_sends(&from_remote().dccp(80, 5000, RESET, 0).payload(b"")).unwrap();
    assert_eq!((world.flow().state, world.flow().expires_in), ("reset", Millis::from_secs(241)));
    world.guest_sends(&from_guest().dccp(5000, 80, DATA, 0).payload(b"it was forged")).unwrap();
    assert_eq!(world.flow().state, "established");
    let mut world = World::new();
    world.guest_sends(&from_guest().dccp(5000, 80, REQUEST, 0).payload(b"")).unwrap();
    assert_eq!((world.flow().state, world.flow().expires_in), ("syn-sent", Millis::from_secs(241)));
}

#[test]
fn rfc5597_req9_an_error_about_dccp_or_udp_lite_comes_back_with_the_packet_that_was_sent() {
    let kinds = [from_guest().dccp(5000, 80, REQUEST, 0), from_guest().udp_lite(5000, 80, 8)];
    for (nth, flow) in kinds.into_iter().enumerate() {
        let mut world = World::new();
        let has_port = eth().ipv4(GUEST2, REMOTE);
        let has_port =
            if nth == 0 { has_port.dccp(5000, 80, REQUEST, 0) } else { has_port.udp_lite(5000, 80, 8) };
        world.guest_sends(&has_port.payload(b"")).unwrap();
        let sent = flow.payload(b"something");
        let left = world.guest_sends(&sent).unwrap();
        let error = |dst, about: &[u8]| eth().ipv4(REMOTE2, dst).icmp(3, 3, 0).payload(&about[14..]);
        assert_eq!(world.remote_sends(&error(PUBLIC, &left)).unwrap(), error(GUEST, &sent));
    }
}

#[test]
fn ports_of_udp_lite_are_mapped_whatever_its_checksum_covers() {
    let mut world = World::new();
    world.guest_sends(&eth().ipv4(GUEST2, REMOTE).udp_lite(5000, 53, 0).payload(b"")).unwrap();
    for coverage in [0, 8, 12, 38] {
        let sent = world.guest_sends(&from_guest().udp_lite(5000, 53, coverage).payload(&[7; 30])).unwrap();
        let port = ends(&sent).1;
        assert_ne!(port, 5000);
        assert_eq!(sent, eth().ipv4(PUBLIC, REMOTE).udp_lite(port, 53, coverage).payload(&[7; 30]));
        let back = world.remote_sends(&from_remote().udp_lite(53, port, coverage).payload(&[7; 30])).unwrap();
        assert_eq!(back, eth().ipv4(REMOTE, GUEST).udp_lite(53, 5000, coverage).payload(&[7; 30]));
    }
    for coverage in [1, 7, 39] {
        let bad = from_guest().udp_lite(5000, 53, coverage).payload(&[7; 30]);
        assert_eq!(world.guest_sends(&bad), Err(DropReason::BadL4Header));
    }
}

#[test]
fn a_port_of_dccp_or_udp_lite_is_published() {
    for protocol in [Protocol::DCCP, Protocol::UDP_LITE] {
        let mut config = config();
        let rule = &mut config.rules.prerouting[0];
        rule.matches.protocol = Some(nat_engine::Condition::is(protocol));
        rule.matches.destination_ports = Some(nat_engine::Condition::is(PortList::port(80)));
        rule.target = Target::Dnat { addresses: GUEST.into(), ports: Some((8080, 8080)), base: None };
        let mut world = World::with(config);
        let request = match protocol {
            Protocol::DCCP => from_remote().dccp(7, 80, REQUEST, 0),
            _ => from_remote().udp_lite(7, 80, 0),
        };
        assert_eq!(ends(&world.remote_sends(&request.payload(b"")).unwrap()), (REMOTE, 7, GUEST, 8080));
    }
}

//! Ports that inside hosts ask for. RFC 6887; RFC 6888 REQ-9.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use std::net::{Ipv4Addr, SocketAddrV4};

use nat_engine::{
    Behaviour, ExplicitMapping, MappingRefused, MappingRequest, NatConfig, NatSettings, Target,
};
use packet::builder::eth;
use packet::{DropReason, Millis, PortId, Protocol};
use world::*;

const ME: [u8; 12] = [7; 12];
const ANY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

fn request(guest: Ipv4Addr, port: u16) -> MappingRequest {
    MappingRequest {
        protocol: Protocol::UDP,
        inside: SocketAddrV4::new(guest, port),
        wanted: ANY,
        exactly: false,
        owner: ME,
        lifetime: Millis::from_secs(600),
    }
}

fn map(world: &mut World, request: MappingRequest) -> Result<ExplicitMapping, MappingRefused> {
    world.nat.map(&request, LAN, WAN, world.now)
}

/// What a stranger's packet to that outside port comes to.
fn stranger(world: &mut World, port: u16) -> Result<(Ipv4Addr, u16), DropReason> {
    let frame = world.remote_sends(&eth().ipv4(REMOTE2, PUBLIC).udp(9, port).payload(b""))?;
    let (_, _, guest, port) = ends(&frame);
    Ok((guest, port))
}

#[test]
fn rfc6888_req9_a_host_opens_a_port_to_everybody_for_a_time() {
    let mut world = World::new();
    assert_eq!(stranger(&mut world, 5000), Err(DropReason::NatUnsolicited));
    let mapping = map(&mut world, request(GUEST, 5000)).unwrap();
    assert_eq!(mapping.outside, SocketAddrV4::new(PUBLIC, 5000));
    assert_eq!(world.nat.explicit_mappings().collect::<Vec<_>>(), [mapping]);
    assert_eq!(stranger(&mut world, 5000), Ok((GUEST, 5000)));
    // It needs no traffic, and ends when its time is up; the flow that came in goes on.
    world.wait(599_000);
    assert_eq!(stranger(&mut world, 5000), Ok((GUEST, 5000)));
    world.wait(2_000);
    assert_eq!(world.nat.explicit_mappings().count(), 0);
    let other = world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).udp(9, 5000).payload(b""));
    assert_eq!(other.map(|_| ()), Err(DropReason::NatUnsolicited));
    assert_eq!(stranger(&mut world, 5000), Ok((GUEST, 5000)));
}

#[test]
fn rfc6888_req9_flows_of_the_host_and_its_request_share_the_mapping() {
    let mut world = World::new();
    let wanted = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 6000);
    let mapping = map(&mut world, MappingRequest { wanted, ..request(GUEST, 5000) }).unwrap();
    assert_eq!(mapping.outside.port(), 6000);
    let out = world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"")).unwrap();
    assert_eq!(ends(&out), (PUBLIC, 6000, REMOTE, 53));
    // And the other way round: a flow was first.
    let out = world.guest_sends(&eth().ipv4(GUEST2, REMOTE).udp(6000, 53).payload(b"")).unwrap();
    let port = ends(&out).1;
    assert_eq!(map(&mut world, request(GUEST2, 6000)).unwrap().outside.port(), port);
    // What two use goes with the last of them.
    world.nat.unmap(Protocol::UDP, SocketAddrV4::new(GUEST2, 6000), ME, world.now).unwrap();
    assert_eq!(stranger(&mut world, port), Err(DropReason::NatUnsolicited));
    let back = world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).udp(53, port).payload(b"")).unwrap();
    assert_eq!(ends(&back), (REMOTE, 53, GUEST2, 6000));
}

#[test]
fn rfc6887_s11_only_its_owner_changes_a_mapping() {
    let mut world = World::new();
    map(&mut world, request(GUEST, 5000)).unwrap();
    world.wait(100_000);
    let left = MappingRefused::NotOwner(Millis::from_secs(500));
    let other = MappingRequest { owner: [8; 12], ..request(GUEST, 5000) };
    assert_eq!(map(&mut world, other), Err(left));
    let inside = SocketAddrV4::new(GUEST, 5000);
    assert_eq!(world.nat.unmap(Protocol::UDP, inside, [8; 12], world.now), Err(left));
    assert_eq!(map(&mut world, request(GUEST, 5000)).unwrap().until, world.now + Millis::from_secs(600));
    // Port 0 is all of them, of this protocol and host.
    map(&mut world, request(GUEST, 5001)).unwrap();
    map(&mut world, request(GUEST2, 5002)).unwrap();
    world.nat.unmap(Protocol::UDP, SocketAddrV4::new(GUEST, 0), ME, world.now).unwrap();
    let left: Vec<_> = world.nat.explicit_mappings().map(|mapping| mapping.inside).collect();
    assert_eq!(left, [SocketAddrV4::new(GUEST2, 5002)]);
    // There is nothing to end, which is what was wanted.
    assert_eq!(world.nat.unmap(Protocol::UDP, inside, [8; 12], world.now), Ok(()));
}

#[test]
fn rfc6887_s13_2_who_wants_it_exactly_gets_that_or_nothing() {
    let mut world = World::new();
    map(&mut world, request(GUEST, 5000)).unwrap();
    let wanted = |address, port| MappingRequest {
        wanted: SocketAddrV4::new(address, port),
        exactly: true,
        ..request(GUEST2, 5000)
    };
    for taken in [wanted(Ipv4Addr::UNSPECIFIED, 5000), wanted(REMOTE, 5001)] {
        assert_eq!(map(&mut world, taken), Err(MappingRefused::Taken));
    }
    // A failed request holds no port.
    assert_eq!(map(&mut world, wanted(PUBLIC, 5001)).unwrap().outside.port(), 5001);
    assert_eq!(map(&mut world, wanted(PUBLIC, 5002)).unwrap().outside.port(), 5001);
    assert_ne!(map(&mut world, request(GUEST2, 8080)).unwrap().outside.port(), 0);
}

#[test]
fn published_ports_are_not_to_be_had() {
    let mut world = World::new();
    let request = MappingRequest { protocol: Protocol::TCP, ..request(GUEST2, 8080) };
    assert_ne!(map(&mut world, request).unwrap().outside.port(), 8080);
    let echo = MappingRequest { protocol: Protocol::ICMP, ..request };
    assert_eq!(map(&mut world, echo), Err(MappingRefused::Protocol));
}

#[test]
fn rfc6888_req4_requests_count_for_their_host() {
    let settings = NatSettings { host_port_limit: Some(2), ..NatSettings::default() };
    let mut world = World::with(NatConfig { settings, ..config() });
    map(&mut world, request(GUEST, 5000)).unwrap();
    map(&mut world, request(GUEST, 5001)).unwrap();
    assert_eq!(map(&mut world, request(GUEST, 5002)), Err(MappingRefused::HostLimit));
    assert!(map(&mut world, request(GUEST2, 5002)).is_ok());
    world.nat.unmap(Protocol::UDP, SocketAddrV4::new(GUEST, 5000), ME, world.now).unwrap();
    assert!(map(&mut world, request(GUEST, 5002)).is_ok());
    // Without any setting there is an end to it, too.
    let mut world = World::new();
    let mapped = (1..1000).filter(|&port| map(&mut world, request(GUEST, port)).is_ok()).count();
    assert_eq!(mapped, 128);
}

#[test]
fn limits_that_come_later_know_of_requests_and_gone_addresses_end_them() {
    let mut world = World::new();
    map(&mut world, request(GUEST, 5000)).unwrap();
    let settings = NatSettings { host_port_limit: Some(1), ..NatSettings::default() };
    world.nat.reconfigure(NatConfig { settings, ..config() });
    assert_eq!(map(&mut world, request(GUEST, 5001)), Err(MappingRefused::HostLimit));
    world.nat.reconfigure(NatConfig { addresses: vec![Some(GATEWAY), Some(REMOTE)], ..config() });
    assert_eq!(world.nat.explicit_mappings().count(), 0);
}

#[test]
fn a_mapping_that_depends_on_the_remote_leaves_requests_as_they_are() {
    let settings = NatSettings { mapping: Behaviour::AddressAndPortDependent, ..NatSettings::default() };
    let mut world = World::with(NatConfig { settings, ..config() });
    let mapping = map(&mut world, request(GUEST, 5000)).unwrap();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"")).unwrap();
    assert_eq!(stranger(&mut world, mapping.outside.port()), Ok((GUEST, 5000)));
}

#[test]
fn saved_state_leaves_requests_out_and_is_good_without_them() {
    let mut world = World::new();
    map(&mut world, request(GUEST, 5000)).unwrap();
    map(&mut world, request(GUEST, 5001)).unwrap();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5001, 53).payload(b"")).unwrap();
    let saved = world.nat.export(world.now);
    let mut next = World::new();
    let imported = next.nat.import(&saved, Millis::ZERO, next.now);
    assert_eq!(imported.map(|imported| imported.flows), Ok(1));
    // Hosts ask again, and get what they had.
    assert_eq!(map(&mut next, request(GUEST, 5000)).unwrap().outside.port(), 5000);
    assert_eq!(map(&mut next, request(GUEST, 5001)).unwrap().outside.port(), 5001);
}

/// A NAT whose outside address has a thousand ports for flows.
fn thousand() -> World {
    let mut config = config();
    config.rules.postrouting[0].target = Target::Masquerade { ports: Some((20_000, 20_999)) };
    World::with(NatConfig { flow_limit: 10_000, ..config })
}

#[test]
fn whatever_addresses_a_port_of_the_switch_claims_it_maps_no_more_than_its_share() {
    let mut world = thousand();
    world.nat.set_owner(PortId::new(1));
    let claim = |n: u16| {
        let guest = Ipv4Addr::from_bits(u32::from(GUEST) + u32::from(n / 100));
        request(guest, 1024 + n % 100)
    };
    let got = (0..2000).take_while(|&n| map(&mut world, claim(n)).is_ok()).count();
    assert!((790..=810).contains(&got), "{got} of 1000");
    assert_eq!(map(&mut world, claim(2000)), Err(MappingRefused::ShareUsed));
    // Requests count as flows do.
    let flow = eth().ipv4(GUEST2, REMOTE).udp(9, 53).payload(b"");
    assert_eq!(world.guest_sends(&flow).map(drop), Err(DropReason::NatShareUsed));
    world.nat.set_owner(PortId::new(2));
    for port in 1..100 {
        map(&mut world, request(GUEST2, 50_000 + port)).unwrap();
    }
    // What has ended is given back, after the time for which its ports rest.
    world.wait(601_000);
    world.wait(240_000);
    world.nat.set_owner(PortId::new(1));
    assert!((0..500).all(|n| map(&mut world, claim(n)).is_ok()));
}

#[test]
fn who_claims_a_hosts_address_at_another_port_of_the_switch_uses_up_nothing_of_what_that_host_may_ask_for() {
    let mut world = World::new();
    world.nat.set_owner(PortId::new(1));
    let claimed = (1..1000).filter(|&port| map(&mut world, request(GUEST, port)).is_ok()).count();
    world.nat.set_owner(PortId::new(2));
    let own = (1..1000).filter(|&port| map(&mut world, request(GUEST, 5000 + port)).is_ok()).count();
    assert_eq!((claimed, own), (128, 128));
}

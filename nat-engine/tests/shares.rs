//! The table of flows and the outside ports are shared by port of the switch, and unanswered flows make room for new ones.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use std::net::Ipv4Addr;

use nat_engine::{NatConfig, Target};
use packet::builder::eth;
use packet::wire::Ipv4Header;
use packet::{DropReason, Ipv4Packet, PortId, Protocol};
use world::*;

fn world(flow_limit: u32) -> World {
    World::with(NatConfig { flow_limit, ..config() })
}

/// From now on frames come in by this port of the switch.
fn by(world: &mut World, port: u16) {
    world.nat.set_owner(PortId::new(port));
}

/// The `n`-th of an endless number of hosts outside.
fn stranger(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(11, 0, 0, 0)) + n)
}

fn asks(world: &mut World, guest: Ipv4Addr, from: u16, to: Ipv4Addr) -> Result<(), DropReason> {
    world.guest_sends(&eth().ipv4(guest, to).udp(from, 53).payload(b"")).map(drop)
}

/// A UDP flow that was answered.
fn talks(world: &mut World, guest: Ipv4Addr, from: u16, to: Ipv4Addr) -> Result<(), DropReason> {
    let (_, port, ..) = ends(&world.guest_sends(&eth().ipv4(guest, to).udp(from, 53).payload(b""))?);
    world.remote_sends(&eth().ipv4(to, PUBLIC).udp(53, port).payload(b"")).map(drop)
}

/// A TCP handshake with the published port.
fn connects(world: &mut World, remote: Ipv4Addr, from: u16) -> Result<(), DropReason> {
    world.remote_sends(&eth().ipv4(remote, PUBLIC).tcp(from, 8080, SYN).payload(b""))?;
    world.guest_sends(&eth().ipv4(GUEST, remote).tcp(80, from, SYN | ACK).payload(b""))?;
    world.remote_sends(&eth().ipv4(remote, PUBLIC).tcp(from, 8080, ACK).payload(b"")).map(drop)
}

#[test]
fn a_flood_of_syns_to_a_published_port_displaces_itself_and_nobody_who_was_answered() {
    let mut world = world(1000);
    by(&mut world, 1);
    for n in 0..100 {
        talks(&mut world, GUEST2, 5000 + n, REMOTE).unwrap();
    }
    by(&mut world, 0);
    connects(&mut world, REMOTE2, 1).unwrap();
    for n in 0..10_000 {
        let syn = eth().ipv4(stranger(n), PUBLIC).tcp(9, 8080, SYN).payload(b"");
        world.remote_sends(&syn).unwrap();
        if n % 100 == 0 {
            connects(&mut world, REMOTE2, 1000 + n as u16).unwrap();
        }
    }
    assert!(world.nat.displaced() > 9000, "{}", world.nat.displaced());
    // Everybody who was answered goes on, and who comes later finds room.
    let flows = world.nat.flows(world.now);
    let states: Vec<_> = flows.map(|flow| flow.state).collect();
    assert_eq!(states.iter().filter(|&&state| state == "replied").count(), 100);
    assert_eq!(states.iter().filter(|&&state| state == "established").count(), 101);
    assert!(states.len() < 1000, "a port takes its share only: {}", states.len());
    by(&mut world, 2);
    asks(&mut world, GUEST2, 9, REMOTE2).unwrap();
}

#[test]
fn a_port_gets_four_times_what_is_free_and_no_more() {
    let mut world = world(1000);
    by(&mut world, 1);
    let got = (0..2000).take_while(|&n| talks(&mut world, GUEST, 5000, stranger(n)).is_ok()).count();
    assert_eq!(got, 800);
    assert_eq!(talks(&mut world, GUEST, 5000, stranger(5000)), Err(DropReason::NatShareUsed));
    by(&mut world, 2);
    let got = (0..2000).take_while(|&n| talks(&mut world, GUEST2, 5000, stranger(n)).is_ok()).count();
    assert_eq!(got, 160);
    by(&mut world, 3);
    talks(&mut world, GUEST2, 6000, REMOTE).unwrap();
}

#[test]
fn what_a_port_held_is_given_back_when_its_flows_end() {
    let mut world = world(1000);
    by(&mut world, 1);
    for round in 0..3 {
        let first = round * 1000;
        let got = (first..first + 2000).take_while(|&n| talks(&mut world, GUEST, 5000, stranger(n)).is_ok());
        assert_eq!(got.count(), 800, "round {round}");
        world.wait(302_000);
        while world.nat.flow_count() > 0 {
            world.wait(1);
        }
    }
}

#[test]
fn who_comes_to_a_port_of_the_switch_after_another_begins_with_nothing() {
    let mut world = world(1000);
    by(&mut world, 1);
    let got = (0..2000).take_while(|&n| talks(&mut world, GUEST, 5000, stranger(n)).is_ok()).count();
    assert_eq!(got, 800);
    world.nat.forget_owners(&[PortId::new(1).unwrap()].into());
    let got = (0..2000).take_while(|&n| talks(&mut world, GUEST2, 5000, stranger(n)).is_ok()).count();
    assert_eq!(got, 160);
    // The flows of the one before end without a trace.
    world.wait(302_000);
    while world.nat.flow_count() > 0 {
        world.wait(1);
    }
    let got = (0..2000).take_while(|&n| talks(&mut world, GUEST2, 5000, stranger(n)).is_ok()).count();
    assert_eq!(got, 800);
}

#[test]
fn one_port_cannot_take_all_outside_ports_whatever_addresses_it_claims() {
    let masquerade = Target::Masquerade { ports: Some((20_000, 20_999)) };
    let mut config = config();
    config.rules.postrouting[0].target = masquerade;
    let mut world = World::with(NatConfig { flow_limit: 10_000, ..config });
    by(&mut world, 1);
    let guest = |n: u32| Ipv4Addr::from_bits(u32::from(GUEST) + n % 200);
    let ask = |world: &mut World, n: u32| asks(world, guest(n), 1024 + (n / 200) as u16, REMOTE);
    let got = (0..2000).take_while(|&n| ask(&mut world, n).is_ok()).count();
    assert!((790..=810).contains(&got), "{got} of 1000");
    assert_eq!(ask(&mut world, 2000), Err(DropReason::NatShareUsed));
    by(&mut world, 2);
    for from in 1..100 {
        asks(&mut world, GUEST2, 60_000 + from, REMOTE2).unwrap();
    }
}

#[test]
fn a_flood_of_first_fragments_leaves_other_ports_their_datagrams() {
    let mut world = world(1000);
    let fragment = |guest, id, flags, chunk: &[u8]| raw(guest, REMOTE, Protocol::UDP, id, flags, chunk);
    let first = eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(&[0; 16]);
    let first = |guest, id| fragment(guest, id, Ipv4Header::MF, &first[34..]);
    by(&mut world, 1);
    for id in 0..20 {
        world.guest_sends(&first(GUEST, id)).unwrap();
    }
    by(&mut world, 2);
    for id in 0..20_000 {
        world.guest_sends(&first(GUEST2, id)).unwrap();
    }
    by(&mut world, 1);
    let passes = |id: &u16| world.guest_sends(&fragment(GUEST, *id, 3, &[0; 8])).is_ok();
    assert_eq!((0..20).filter(passes).count(), 20);
}

#[test]
fn waiting_fragments_of_one_port_leave_room_for_those_of_another() {
    let mut world = World::new();
    let keep = |world: &mut World, n: u32, port| {
        by(world, port);
        let frame = raw(stranger(n), REMOTE, Protocol::UDP, 1, 3, &[0; 8]);
        let ip = Ipv4Packet::parse_header(&frame[14..]).unwrap();
        world.nat.keep_fragment(&ip, LAN, &frame, world.now)
    };
    let kept = (0..5000).filter(|&n| keep(&mut world, n, 1).is_ok()).count();
    assert!((800..840).contains(&kept), "{kept} of 1024");
    assert_eq!(keep(&mut world, 6000, 1), Err(DropReason::FragmentQueueFull));
    assert_eq!(keep(&mut world, 6000, 2), Ok(()));
    assert_eq!(world.nat.take_lost_fragments(), 0, "nobody had to give up");
}

#[test]
fn without_owners_the_table_is_the_only_limit() {
    let mut world = world(100);
    for n in 0..100 {
        talks(&mut world, GUEST, 5000, stranger(n)).unwrap();
    }
    assert_eq!(talks(&mut world, GUEST, 5000, stranger(100)), Err(DropReason::FlowTableFull));
}

#[test]
fn a_scan_from_one_socket_displaces_itself() {
    let mut world = world(100);
    for n in 0..150 {
        asks(&mut world, GUEST, 5000, stranger(n)).unwrap();
    }
    assert_eq!((world.nat.flow_count(), world.nat.displaced()), (100, 50));
}

#[test]
fn rfc6888_req11c_a_flow_whose_mapping_would_end_makes_no_room() {
    let mut world = world(100);
    for n in 0..100 {
        asks(&mut world, GUEST, 5000 + n, REMOTE).unwrap();
    }
    assert_eq!(asks(&mut world, GUEST, 6000, REMOTE), Err(DropReason::FlowTableFull));
    assert_eq!(world.nat.displaced(), 0);
}

//! Fragments: the first one has the ports, the later ones follow it.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use nat_engine::{Known, NatPacket};
use packet::builder::{self, eth};
use packet::wire::Ipv4Header;
use packet::{DropReason, Ipv4Packet, Millis, Protocol};
use world::*;

use std::net::Ipv4Addr;

/// The fragments of a UDP datagram, 40 bytes of layer 4 each, as they'd be on the wire.
fn fragments(src: Ipv4Addr, dst: Ipv4Addr, ports: (u16, u16), id: u16) -> Vec<Vec<u8>> {
    builder::fragments(&eth().ipv4(src, dst).udp(ports.0, ports.1).payload(&[7; 100]), id, 40)
}

#[test]
fn rfc4787_req14_fragments_pass_in_both_directions() {
    let mut world = World::new();
    let sent = fragments(GUEST, REMOTE, (5000, 53), 9);
    let left: Vec<_> = sent.iter().map(|sent| world.guest_sends(sent).unwrap()).collect();
    assert_eq!(left, fragments(PUBLIC, REMOTE, (5000, 53), id(&left[0])));
    let answer = fragments(REMOTE, PUBLIC, (53, 5000), 10);
    let delivered = fragments(REMOTE, GUEST, (53, 5000), 10);
    for (answer, delivered) in answer.iter().zip(&delivered) {
        assert_eq!(&world.remote_sends(answer).unwrap(), delivered);
    }
    assert_eq!(world.counts(), (1, 1, 0));
}

#[test]
fn later_fragments_may_come_in_any_order_after_the_first() {
    let mut world = World::new();
    let sent = fragments(GUEST, REMOTE, (5000, 53), 9);
    let first = world.guest_sends(&sent[0]).unwrap();
    let left = fragments(PUBLIC, REMOTE, (5000, 53), id(&first));
    assert_eq!(first, left[0]);
    for index in [2, 1, 1, 0] {
        assert_eq!(world.guest_sends(&sent[index]).as_ref(), Ok(&left[index]));
    }
}

#[test]
fn a_later_fragment_without_its_first_is_dropped() {
    let mut world = World::new();
    let [first, later, _] = &fragments(GUEST, REMOTE, (5000, 53), 9)[..] else { panic!() };
    assert_eq!(world.guest_sends(later), Err(DropReason::FragmentWithoutFirst));
    let inbound = &fragments(REMOTE, PUBLIC, (53, 5000), 9)[1];
    assert_eq!(world.remote_sends(inbound), Err(DropReason::FragmentWithoutFirst));
    world.guest_sends(first).unwrap();
    assert!(world.guest_sends(later).is_ok());
    let other = &fragments(GUEST, REMOTE, (5000, 53), 10)[1];
    assert_eq!(world.guest_sends(other), Err(DropReason::FragmentWithoutFirst));
}

#[test]
fn fragments_are_waited_for_half_a_minute() {
    let mut world = World::new();
    let sent = fragments(GUEST, REMOTE, (5000, 53), 9);
    world.guest_sends(&sent[0]).unwrap();
    world.wait(29_999);
    assert!(world.guest_sends(&sent[1]).is_ok());
    world.wait(1);
    assert_eq!(world.guest_sends(&sent[2]), Err(DropReason::FragmentWithoutFirst));
}

#[test]
fn rfc4787_req14a_a_flood_of_first_fragments_does_not_hurt_datagrams_in_order() {
    let mut world = World::new();
    for id in 0..20_000 {
        world.guest_sends(&fragments(GUEST2, REMOTE, (6000, 53), id)[0]).unwrap();
        if id % 100 == 0 {
            for fragment in fragments(GUEST, REMOTE, (5000, 53), id) {
                world.guest_sends(&fragment).unwrap();
            }
        }
    }
}

#[test]
fn a_fragment_that_makes_the_datagram_too_long_is_dropped() {
    let mut world = World::new();
    let sent = fragments(GUEST, REMOTE, (5000, 53), 9);
    world.guest_sends(&sent[0]).unwrap();
    let ping_of_death = raw(GUEST, REMOTE, Protocol::UDP, 9, 0x1fff, &[0; 100]);
    assert_eq!(world.guest_sends(&ping_of_death), Err(DropReason::BadFragment));
}

#[test]
fn a_fragment_that_overwrites_tcp_flags_is_dropped() {
    let mut world = World::new();
    let syn = eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(&[0; 4]);
    let part = |flags, chunk: &[u8]| raw(GUEST, REMOTE, Protocol::TCP, 9, flags, chunk);
    world.guest_sends(&part(Ipv4Header::MF, &syn[34..])).unwrap();
    assert_eq!(world.guest_sends(&part(1, &[0; 40])), Err(DropReason::BadFragment));
    assert!(world.guest_sends(&part(3, &[0; 40])).is_ok());
}

#[test]
fn later_fragments_count_for_their_flow() {
    let mut world = World::new();
    let sent = fragments(GUEST, REMOTE, (5000, 53), 9);
    for fragment in &sent {
        world.guest_sends(fragment).unwrap();
    }
    let bytes: usize = sent.iter().map(|fragment| fragment.len() - 14).sum();
    assert_eq!((world.flow().packets, world.flow().bytes), ([3, 0], [bytes as u64, 0]));
    for fragment in fragments(REMOTE, PUBLIC, (53, 5000), 9) {
        world.remote_sends(&fragment).unwrap();
    }
    assert_eq!((world.flow().packets, world.flow().bytes), ([3, 3], [bytes as u64; 2]));
}

#[test]
fn later_fragments_of_a_datagram_that_is_not_translated_are_misses() {
    let mut world = World::new();
    let [first, mut later, _] = fragments(GUEST, GATEWAY, (5000, 53), 9).try_into().unwrap();
    world.nat.pass_untranslated(&Ipv4Packet::parse(&first[14..]).unwrap(), world.now);
    let mut ip = Ipv4Packet::parse(&later[14..]).unwrap();
    let mut packet = NatPacket { bytes: &mut later[14..], ip: &mut ip, partial_checksum: false };
    assert_eq!(world.nat.translate_known(&mut packet, world.now), Known::Miss);
}

/// What becomes of a frame from a guest; what is to wait is kept.
fn known(world: &mut World, frame: &[u8]) -> Known {
    let mut bytes = frame[14..].to_vec();
    let mut ip = Ipv4Packet::parse(&bytes).unwrap();
    let mut packet = NatPacket { bytes: &mut bytes, ip: &mut ip, partial_checksum: false };
    let known = world.nat.translate_known(&mut packet, world.now);
    if known == Known::Later {
        world.nat.keep_fragment(packet.ip, LAN, frame, world.now).unwrap();
        assert_eq!(packet.bytes, &frame[14..]);
    }
    known
}

#[test]
fn fragments_that_overtook_their_first_one_come_out_once_it_is_there() {
    let mut world = World::new();
    let sent = fragments(GUEST, REMOTE, (5000, 53), 9);
    assert_eq!((known(&mut world, &sent[2]), known(&mut world, &sent[1])), (Known::Later, Known::Later));
    assert!(world.nat.next_fragment(world.now).is_none());
    assert_eq!(world.nat.next_timeout(), Some(world.now + Millis::from_secs(2)));
    world.guest_sends(&sent[0]).unwrap();
    for expected in [&sent[2], &sent[1]] {
        let fragment = world.nat.next_fragment(world.now).unwrap();
        assert_eq!((&fragment.bytes, fragment.from, fragment.owner), (expected, LAN, None));
        assert_eq!(known(&mut world, &fragment.bytes), Known::Translated);
    }
    assert!(world.nat.next_fragment(world.now).is_none());
    world.wait(2000);
    assert_eq!((world.nat.take_lost_fragments(), world.flow().packets), (0, [3, 0]));
}

#[test]
fn a_fragment_whose_first_one_stays_away_is_lost_after_two_seconds() {
    let mut world = World::new();
    let later = &fragments(GUEST, REMOTE, (5000, 53), 9)[1];
    assert_eq!(known(&mut world, later), Known::Later);
    assert!(world.nat.next_fragment(world.now).is_none());
    world.wait(1999);
    assert_eq!(world.nat.take_lost_fragments(), 0);
    world.wait(1);
    assert_eq!((world.nat.take_lost_fragments(), world.nat.take_lost_fragments()), (1, 0));
    assert_eq!(world.nat.next_timeout(), None);
}

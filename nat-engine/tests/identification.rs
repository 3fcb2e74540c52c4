//! Identifications of packets that leave by a shared address.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use packet::builder::{FrameBuilder, eth, fragments};
use packet::wire::Ipv4Header;
use packet::{Ipv4Packet, L4};
use world::*;

fn may_be_cut(ip: &mut Ipv4Header) {
    ip.flags_fragment.set(0);
}

fn kinds(src: Ipv4Addr) -> [FrameBuilder; 3] {
    let ip = || eth().ipv4(src, REMOTE).ip(may_be_cut);
    [ip().udp(5000, 53), ip().tcp(5000, 80, SYN), ip().icmp_echo(77, 1)]
}

#[test]
fn rfc7857_s10_hosts_behind_one_address_never_share_an_identification_of_packets_that_may_be_cut() {
    for kind in 0..3 {
        let mut world = World::new();
        let mut seen = BTreeSet::new();
        for n in 0..32_768 {
            for guest in [GUEST, GUEST2] {
                let sent = kinds(guest)[kind].clone().ip(|ip| ip.id.set(n)).payload(b"");
                assert!(seen.insert(id(&world.guest_sends(&sent).unwrap())), "{n}");
            }
        }
        assert_eq!(seen.len(), 1 << 16);
    }
}

#[test]
fn rfc7857_s10_the_fragments_of_a_datagram_share_their_identification_with_no_other() {
    let mut world = World::new();
    let mut seen = BTreeSet::new();
    for n in 0..1000 {
        for guest in [GUEST, GUEST2] {
            let whole = eth().ipv4(guest, REMOTE).udp(5000, 53).payload(&[7; 100]);
            let left: BTreeSet<_> =
                fragments(&whole, n, 40).iter().map(|sent| id(&world.guest_sends(sent).unwrap())).collect();
            assert_eq!(left.len(), 1);
            assert!(left.into_iter().all(|id| seen.insert(id)));
        }
    }
}

#[test]
fn rfc7857_s10_packets_that_cannot_be_cut_keep_their_identification() {
    let mut world = World::new();
    for frame in kinds(GUEST) {
        let sent = frame.ip(|ip| (ip.id, ip.flags_fragment) = (7.into(), Ipv4Header::DF.into())).payload(b"");
        assert_eq!(id(&world.guest_sends(&sent).unwrap()), 7);
    }
}

#[test]
fn rfc7857_s10_the_segments_of_a_super_frame_have_identifications_of_their_own() {
    let mut world = World { partial_checksum: true, ..World::new() };
    let super_frame = eth().ipv4(GUEST, REMOTE).ip(may_be_cut).udp(5000, 53).payload(&[7; 60_000]);
    let first = id(&world.guest_sends(&super_frame).unwrap());
    let next = id(&world.guest_sends(&super_frame).unwrap());
    assert!(next.wrapping_sub(first) >= 60_000 / 536, "{first} {next}");
}

#[test]
fn what_comes_from_outside_keeps_its_identification() {
    let mut world = World::new();
    world.guest_sends(&kinds(GUEST)[0].clone().payload(b"")).unwrap();
    let answer = eth().ipv4(REMOTE, PUBLIC).ip(may_be_cut).udp(53, 5000).payload(b"");
    let delivered = world.remote_sends(&answer).unwrap();
    let ip = Ipv4Packet::parse(&delivered[14..]).unwrap();
    assert_eq!((ip.id, ip.l4, ip.dst), (1, L4::Udp, GUEST));
}

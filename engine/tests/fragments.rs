//! Fragments through the gateway, in any order: they arrive complete, translated, and none before its time is over is lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use common::*;
use packet::builder::fragments;
use packet::checksum::Sum;
use packet::wire::Ipv4Header;
use packet::{Ipv4Packet, Millis, Protocol};
use proptest::prelude::*;

/// What a host makes of the fragments in these frames: one datagram, its checksum right.
fn put_together(frames: &[Vec<u8>]) -> (Ipv4Packet, Vec<u8>) {
    let packets: Vec<_> =
        frames.iter().map(|frame| Ipv4Packet::parse_header(&frame[14..]).unwrap()).collect();
    let whole = packets[0];
    let mut pieces = BTreeMap::new();
    let mut end = None;
    for (frame, ip) in frames.iter().zip(&packets) {
        assert_eq!((ip.src, ip.dst, ip.protocol, ip.id), (whole.src, whole.dst, whole.protocol, whole.id));
        let flags = u16::from_be_bytes([frame[20], frame[21]]);
        let payload = &frame[34..14 + usize::from(ip.total_len)];
        let at = usize::from(flags & Ipv4Header::OFFSET_MASK) * 8;
        assert_eq!(pieces.insert(at, payload.to_vec()), None, "came twice");
        if flags & Ipv4Header::MF == 0 {
            end = Some(at + payload.len());
        }
    }
    let mut l4 = Vec::new();
    for (at, piece) in pieces {
        assert_eq!(at, l4.len(), "a gap");
        l4.extend(piece);
    }
    assert_eq!(Some(l4.len()), end);
    let pseudo = match whole.protocol {
        Protocol::ICMP => Sum::ZERO,
        protocol => Sum::pseudo_header_v4(whole.src, whole.dst, protocol.0, l4.len() as u16),
    };
    assert_eq!(pseudo.add(Sum::of(&l4)).fold(), 0xffff);
    (whole, l4)
}

/// Sends the frames in bursts of `burst`; returns what one port sent.
fn pass(bench: &mut Bench, from: u16, frames: &[Vec<u8>], burst: usize, to: u16) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    for frames in frames.chunks(burst) {
        let mut by_port = bench.send(from, frames);
        sent.extend(by_port.remove(&to).unwrap_or_default());
        assert!(by_port.is_empty(), "{by_port:?}");
    }
    sent.extend(bench.wait(Millis::ZERO).remove(&to).unwrap_or_default());
    sent
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 256) as u8).collect()
}

fn ports(l4: &[u8]) -> (u16, u16) {
    (u16::from_be_bytes([l4[0], l4[1]]), u16::from_be_bytes([l4[2], l4[3]]))
}

/// A datagram's size, that of its fragments, their order and how many come at once.
fn any_order() -> impl Strategy<Value = (usize, usize, Vec<usize>, usize)> {
    (1_usize..9000, 1_usize..185, 1..=packet::BURST_FRAMES).prop_flat_map(|(len, eighths, burst)| {
        let size = eighths.max(len / 400) * 8;
        let order: Vec<_> = (0..(len + 8).div_ceil(size)).collect();
        (Just(len), Just(size), Just(order).prop_shuffle(), Just(burst))
    })
}

fn shuffled(frames: &[Vec<u8>], order: &[usize]) -> Vec<Vec<u8>> {
    order.iter().map(|&place| frames[place].clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn rfc4787_req14_fragments_in_any_order_arrive_complete_and_translated(
        (len, size, order, burst) in any_order(),
    ) {
        let mut bench = Bench::nat();
        let data = payload(len);
        let out = fragments(&from_guest(0).ipv4(guest_ip(0), FAR).udp(5000, 53).payload(&data), 9, size);
        let sent = pass(&mut bench, 0, &shuffled(&out, &order), burst, UPLINK);
        let (ip, l4) = put_together(&sent);
        prop_assert_eq!((ip.src, ip.dst, ports(&l4), &l4[8..]), (WAN_IP, FAR, (5000, 53), &data[..]));

        let back = fragments(&from_outside().ipv4(FAR, WAN_IP).udp(53, 5000).payload(&data), 9, size);
        let sent = pass(&mut bench, UPLINK, &shuffled(&back, &order), burst, 0);
        let (ip, l4) = put_together(&sent);
        prop_assert_eq!((ip.src, ip.dst, ports(&l4), &l4[8..]), (FAR, guest_ip(0), (53, 5000), &data[..]));
        prop_assert!(bench.drops(0).is_empty() && bench.drops(UPLINK).is_empty());
        prop_assert_eq!(bench.worker.stats().own_drops.total(), 0);
    }

    #[test]
    fn rfc4787_req14_hairpinned_fragments_in_any_order_arrive((len, size, order, burst) in any_order()) {
        let mut bench = Bench::nat();
        bench.send(1, &[from_guest(1).ipv4(guest_ip(1), FAR).udp(6000, 53).payload(b"opens 6000")]);
        let data = payload(len);
        let across = fragments(&from_guest(0).ipv4(guest_ip(0), WAN_IP).udp(5000, 6000).payload(&data), 9, size);
        let (ip, l4) = put_together(&pass(&mut bench, 0, &shuffled(&across, &order), burst, 1));
        prop_assert_eq!((ip.src, ip.dst, ports(&l4), &l4[8..]), (WAN_IP, guest_ip(1), (5000, 6000), &data[..]));
    }

    #[test]
    fn a_ping_of_the_switch_is_answered_whatever_the_order_of_its_fragments(
        (len, size, order, burst) in any_order(), outside: bool,
    ) {
        let mut bench = Bench::nat();
        let data = payload(len);
        let (port, request, own) = match outside {
            false => (0, from_guest(0).ipv4(guest_ip(0), LAN_IP), LAN_IP),
            true => (UPLINK, from_outside().ipv4(FAR, WAN_IP), WAN_IP),
        };
        let request = fragments(&request.icmp_echo(7, 1).payload(&data), 9, size);
        let (ip, l4) = put_together(&pass(&mut bench, port, &shuffled(&request, &order), burst, port));
        prop_assert_eq!((ip.src, l4[0], &l4[8..]), (own, 0, &data[..]));
    }
}

#[test]
fn rfc4787_req14_a_fragment_whose_first_never_comes_is_dropped_after_two_seconds() {
    let mut bench = Bench::nat();
    let out = fragments(&from_guest(0).ipv4(guest_ip(0), FAR).udp(5000, 53).payload(&payload(2000)), 9, 1000);
    assert!(bench.send(0, &out[1..]).is_empty());
    assert!(bench.wait(Millis::new(1_999)).is_empty());
    assert_eq!(bench.worker.stats().own_drops.total(), 0);
    assert!(bench.wait(Millis::new(1)).is_empty());
    let drops: Vec<_> = bench.worker.stats().own_drops.nonzero().collect();
    assert_eq!(drops, [(packet::DropReason::FragmentWithoutFirst, 2)]);
    assert_eq!(bench.send(0, &out[..1])[&UPLINK].len(), 1);
    assert!(bench.drops(0).is_empty());
}

#[test]
fn early_fragments_of_a_datagram_that_is_refused_go_nowhere() {
    let mut bench = Bench::nat();
    let inward = fragments(&from_outside().ipv4(FAR, WAN_IP).udp(53, 5000).payload(&payload(2000)), 9, 1000);
    for fragment in inward.iter().rev() {
        assert!(bench.send(UPLINK, std::slice::from_ref(fragment)).is_empty());
    }
    assert_eq!(bench.drops(UPLINK), [("nat_unsolicited", 1)]);
    assert!(bench.wait(Millis::from_secs(3)).is_empty());
    assert_eq!(bench.worker.stats().own_drops.total(), 2);
}

#[test]
fn early_fragments_larger_than_the_way_out_are_cut_further() {
    let mut config = nat_config();
    config.networks[1].interface.as_mut().unwrap().settings.mtu = 576;
    let mut bench = Bench::new(config);
    bench.send(0, &[arp_request(guest_mac(0), guest_ip(0), LAN_IP)]);
    bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)]);
    let data = payload(4000);
    let may_be_cut = |ip: &mut Ipv4Header| ip.flags_fragment = 0.into();
    let whole = from_guest(0).ipv4(guest_ip(0), FAR).ip(may_be_cut).udp(5000, 53).payload(&data);
    let reversed: Vec<_> = fragments(&whole, 9, 1480).into_iter().rev().collect();
    let sent = pass(&mut bench, 0, &reversed, 1, UPLINK);
    assert!(sent.iter().all(|frame| frame.len() <= 14 + 576));
    assert_eq!(put_together(&sent).1[8..], data);
}

#[test]
fn early_fragments_to_a_next_hop_that_is_not_known_yet_wait_for_it() {
    let mut bench = Bench::new(nat_config());
    let out = fragments(&from_guest(0).ipv4(guest_ip(0), FAR).udp(5000, 53).payload(&payload(2000)), 9, 1000);
    for fragment in out.iter().rev() {
        assert!(
            bench.send(0, std::slice::from_ref(fragment)).values().flatten().all(|f| f[..6] == [0xff; 6])
        );
    }
    let sent = bench.send(UPLINK, &[arp_reply(OUTSIDE_MAC, OUTSIDE, (WAN_MAC, WAN_IP))]);
    assert_eq!(put_together(&sent[&UPLINK]).0.src, WAN_IP);
    assert!(sent[&UPLINK].iter().all(|frame| frame[..6] == OUTSIDE_MAC.octets()));
}

#[test]
fn rfc4787_req14a_a_flood_of_early_fragments_hurts_nobody_elses_datagrams() {
    let mut bench = Bench::nat();
    let stray = |id: u16, source: u16| {
        let src = Ipv4Addr::from_bits(FAR.to_bits() + u32::from(source));
        fragments(&from_outside().ipv4(src, WAN_IP).udp(53, 9).payload(&payload(1400)), id, 1000).remove(1)
    };
    let datagram =
        |id| fragments(&from_guest(0).ipv4(guest_ip(0), FAR).udp(5000, 53).payload(&payload(2000)), id, 1000);
    for id in 0..200_u16 {
        let flood: Vec<_> = (0..60).map(|n| stray(id, n + id)).collect();
        assert!(bench.send(UPLINK, &flood).is_empty());
        let (first, later) = (datagram(id), from_guest(1).ipv4(guest_ip(1), FAR).udp(1, 2).payload(b"whole"));
        assert_eq!(bench.send(0, &first)[&UPLINK].len(), 3, "in order");
        assert_eq!(bench.send(1, &[later])[&UPLINK].len(), 1, "whole");
        let reversed: Vec<_> = datagram(id + 1000).into_iter().rev().collect();
        assert_eq!(
            pass(&mut bench, 0, &reversed, 1, UPLINK).len(),
            3,
            "out of order, as there is room for newer ones"
        );
    }
    bench.wait(Millis::from_secs(3));
    assert_eq!(bench.worker.stats().own_drops.total() + drops_of(&bench, "fragment_queue_full"), 200 * 60);
}

fn drops_of(bench: &Bench, name: &str) -> u64 {
    bench.drops(UPLINK).iter().find(|drop| drop.0 == name).map_or(0, |drop| drop.1)
}

#[test]
fn rfc4787_req14a_one_sender_has_a_share_of_the_room_only() {
    let mut bench = Bench::nat();
    let early = |id| {
        fragments(&from_guest(0).ipv4(guest_ip(0), FAR).udp(5000, 53).payload(&payload(100)), id, 80)
            .remove(1)
    };
    let flood: Vec<_> = (0..60).map(early).collect();
    for _ in 0..3 {
        bench.send(0, &flood);
    }
    assert_eq!(bench.drops(0), [("fragment_queue_full", 3 * 60 - 128)]);
}

#[test]
fn a_frame_for_the_fragments_next_hop_is_addressed_like_any_other() {
    let mut bench = Bench::nat();
    let out = fragments(
        &from_guest(0).ipv4(guest_ip(0), FAR).ttl(9).udp(5000, 53).payload(&payload(2000)),
        9,
        1000,
    );
    let reversed: Vec<_> = out.into_iter().rev().collect();
    for frame in pass(&mut bench, 0, &reversed, 64, UPLINK) {
        assert_eq!((&frame[..6], &frame[6..12]), (&OUTSIDE_MAC.octets()[..], &WAN_MAC.octets()[..]));
        assert_eq!(Ipv4Packet::parse_header(&frame[14..]).unwrap().ttl, 8);
    }
}

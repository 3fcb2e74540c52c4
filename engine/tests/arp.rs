//! The worker's ARP table: who is believed, and what a reload leaves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use std::net::Ipv4Addr;

use common::*;
use packet::builder::eth;
use packet::{MacAddr, Millis};

const OUTSIDE_2: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const OTHER_MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0xee, 2]);

/// The MAC that a guest's packet to the world is handed to; `None`: it is on no port.
fn router_of(bench: &mut Bench) -> Option<MacAddr> {
    let packet = eth().src(guest_mac(0)).dst(LAN_MAC).ipv4(guest_ip(0), FAR).udp(5000, 53).payload(b"q");
    let sent = bench.send(0, &[packet]);
    let frame = sent.get(&UPLINK)?.last()?;
    (frame[12..14] == [8, 0]).then(|| MacAddr::new(frame[..6].try_into().unwrap()))
}

/// What the switch asks in this time, by unicast: the stations.
fn asked(bench: &mut Bench, time: Millis) -> Vec<MacAddr> {
    let sent = bench.wait(time).remove(&UPLINK).unwrap_or_default();
    sent.iter().map(|frame| MacAddr::new(frame[..6].try_into().unwrap())).collect()
}

#[test]
fn an_unsolicited_reply_does_not_take_the_routers_entry_over() {
    let mut bench = Bench::nat();
    bench.wait(Millis::from_secs(5));
    let forged = arp_reply(OTHER_MAC, OUTSIDE, (WAN_MAC, WAN_IP));
    for _ in 0..100 {
        bench.send(UPLINK, std::slice::from_ref(&forged));
        assert_eq!(router_of(&mut bench), Some(OUTSIDE_MAC));
    }
    assert_eq!(bench.drops(UPLINK), [("arp_conflict", 100)]);
    assert_eq!(asked(&mut bench, Millis::ZERO), [OUTSIDE_MAC], "one question, to whom it was taken from");
    bench.send(UPLINK, &[arp_reply(OUTSIDE_MAC, OUTSIDE, (WAN_MAC, WAN_IP))]);
    bench.wait(Millis::from_secs(10));
    assert_eq!(router_of(&mut bench), Some(OUTSIDE_MAC));
}

#[test]
fn a_router_that_takes_over_from_a_silent_one_is_followed_in_three_seconds() {
    let announcement = |mac| {
        let frame = || eth().src(mac).dst(MacAddr::BROADCAST);
        [
            frame().arp(1, (mac, OUTSIDE), (MacAddr::ZERO, OUTSIDE)),
            frame().arp(2, (mac, OUTSIDE), (mac, OUTSIDE)),
        ]
    };
    for kind in [0, 1] {
        let mut bench = Bench::nat();
        bench.send(UPLINK, &announcement(OTHER_MAC)[kind..=kind]);
        assert_eq!(router_of(&mut bench), Some(OUTSIDE_MAC));
        assert_eq!(asked(&mut bench, Millis::from_secs(3)), [OUTSIDE_MAC; 2]);
        assert_eq!(router_of(&mut bench), Some(OTHER_MAC));
        assert!(bench.drops(UPLINK).is_empty(), "{:?}", bench.drops(UPLINK));
    }
}

#[test]
fn a_guest_that_comes_back_with_another_mac_is_answered_at_once() {
    let mut bench = Bench::nat();
    let question = arp_request(OTHER_MAC, guest_ip(0), LAN_IP);
    assert_eq!(bench.send(0, &[question])[&0], [arp_reply(LAN_MAC, LAN_IP, (OTHER_MAC, guest_ip(0)))]);
}

#[test]
fn a_reload_keeps_neighbours_and_what_waits_for_them() {
    let mut bench = Bench::nat();
    let to_new =
        eth().src(guest_mac(0)).dst(LAN_MAC).ipv4(guest_ip(0), OUTSIDE_2).udp(5000, 53).payload(b"w");
    bench.send(0, &[to_new]);
    bench.worker.install(nat_config());
    let mut without_a_guest = nat_config();
    without_a_guest.ports.remove(3);
    bench.worker.install(without_a_guest);
    assert_eq!(router_of(&mut bench), Some(OUTSIDE_MAC));
    let answer = arp_reply(OTHER_MAC, OUTSIDE_2, (WAN_MAC, WAN_IP));
    assert_eq!(bench.send(UPLINK, &[answer])[&UPLINK].len(), 1, "the frame that waited");
    assert_eq!(bench.worker.stats().own_drops.total(), 0);
}

#[test]
fn neighbours_of_an_interface_that_changes_go_and_what_waited_is_counted() {
    let changes: [fn(&mut engine::InterfaceConfig); 2] = [
        |interface| interface.mac = MacAddr::local(0xabc),
        |interface| interface.address = "203.0.113.6/24".parse().unwrap(),
    ];
    for change in changes {
        let mut bench = Bench::nat();
        let to = |ip| eth().src(guest_mac(0)).dst(LAN_MAC).ipv4(guest_ip(0), ip).udp(5000, 53).payload(b"w");
        bench.send(0, &[to(OUTSIDE_2), to(OUTSIDE_2)]);
        let mut config = nat_config();
        change(config.networks[1].interface.as_mut().unwrap());
        bench.worker.install(config);
        assert_eq!(router_of(&mut bench), None);
        let drops = bench.worker.stats().own_drops;
        assert_eq!(
            drops.nonzero().map(|(r, n)| (r.name(), n)).collect::<Vec<_>>(),
            [("interface_changed", 2)]
        );
        let known: Vec<_> =
            bench.worker.neighbours().filter(|n| n.mac.is_some()).map(|n| n.network).collect();
        assert_eq!(known, [LAN; 4], "the guests are known as before");
    }
}

//! In a network whose ports are kept apart, nothing of one guest reaches another.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod common;

use common::*;
use engine::Guard;
use packet::builder::eth;
use packet::{MacAddr, Millis};

/// The NAT network of `common`, isolated and guarded; guests 0 to 3 have their addresses from the configuration.
fn isolated() -> Bench {
    let mut config = nat_config();
    config.networks[0].settings.isolated = true;
    config.networks[0].settings.ageing = Millis::from_secs(10);
    for n in 0..4 {
        let port = &mut config.ports[usize::from(n)];
        (port.settings.guard, port.settings.addresses) = (Guard::ALL, vec![guest_ip(n)]);
    }
    let mut bench = Bench::new(config);
    for n in 0..4 {
        bench.send(n, &[arp_request(guest_mac(n), guest_ip(n), LAN_IP)]);
    }
    bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)]);
    bench
}

fn to_published() -> Vec<u8> {
    eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv4(OUTSIDE, WAN_IP).tcp(5000, 8888, 2).payload(b"")
}

#[test]
fn a_guest_that_was_silent_for_longer_than_ageing_is_found_without_flooding() {
    let mut bench = isolated();
    bench.wait(Millis::from_secs(25));
    let sent = bench.send(UPLINK, &[to_published()]);
    assert_eq!(sent.keys().collect::<Vec<_>>(), [&1], "{sent:?}");
}

#[test]
fn a_guest_that_nobody_guards_is_asked_for_and_its_packets_are_not_flooded() {
    let mut config = nat_config();
    config.networks[0].settings.isolated = true;
    config.networks[0].settings.ageing = Millis::from_secs(10);
    let mut bench = Bench::new(config);
    bench.send(1, &[arp_request(guest_mac(1), guest_ip(1), LAN_IP)]);
    bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)]);
    bench.wait(Millis::from_secs(25));
    let mut sent = bench.send(UPLINK, &[to_published()]);
    sent.append(&mut bench.wait(Millis::new(1)));
    let arp = |frame: &Vec<u8>| frame[12..14] == [8, 6];
    assert!(!sent.is_empty() && sent.values().flatten().all(arp), "{sent:?}");
    let sent = bench.send(1, &[arp_reply(guest_mac(1), guest_ip(1), (LAN_MAC, LAN_IP))]);
    assert_eq!(sent.keys().collect::<Vec<_>>(), [&1], "{sent:?}");
    assert!(sent[&1].iter().any(|frame| frame[12..14] == [8, 0]), "the packet that waited");
}

#[test]
fn a_guest_that_speaks_for_another_is_not_heard() {
    let mut bench = isolated();
    let udp = |mac, from| eth().src(mac).dst(LAN_MAC).ipv4(from, OUTSIDE).udp(5000, 53).payload(b"");
    let cases = [
        ("guard_address", udp(guest_mac(0), guest_ip(1))),
        ("guard_mac", udp(guest_mac(1), guest_ip(1))),
        ("guard_address", arp_request(guest_mac(0), guest_ip(1), LAN_IP)),
        ("guard_address", arp_reply(guest_mac(0), LAN_IP, (guest_mac(1), guest_ip(1)))),
    ];
    for (name, frame) in cases {
        let before = bench.drops(0).into_iter().find(|drop| drop.0 == name).map_or(0, |drop| drop.1);
        assert!(bench.send(0, &[frame]).is_empty(), "{name}");
        assert!(bench.drops(0).contains(&(name, before + 1)), "{name}: {:?}", bench.drops(0));
    }
    assert!(bench.send(0, &[udp(guest_mac(0), guest_ip(0))]).contains_key(&UPLINK), "its own are");
}

#[test]
fn a_broadcast_answer_of_dhcp_goes_to_the_port_that_asked() {
    let mut config = nat_config();
    (config.ports[0].settings.guard, config.ports[1].settings.guard) = (Guard::ALL, Guard::ALL);
    let mut bench = Bench::new(config);
    let mut message = [0; 244];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    // The broadcast flag.
    message[10] = 0x80;
    message[28..34].copy_from_slice(&guest_mac(0).octets());
    message[236..].copy_from_slice(&[99, 130, 83, 99, 53, 1, 1, 255]);
    let (nobody, all) = (std::net::Ipv4Addr::UNSPECIFIED, std::net::Ipv4Addr::BROADCAST);
    let discover = eth().src(guest_mac(0)).dst(MacAddr::BROADCAST).ipv4(nobody, all).udp(68, 67);
    let mut sent = bench.send(0, &[discover.payload(&message)]);
    for (port, frames) in bench.wait(Millis::from_secs(3)) {
        sent.entry(port).or_default().extend(frames);
    }
    let is_offer = |frame: &&Vec<u8>| frame[12..14] == [8, 0] && frame[23] == 17 && frame[35] == 67;
    let offers = |port: u16| sent.get(&port).into_iter().flatten().filter(is_offer).count();
    assert_eq!((0..4).map(offers).collect::<Vec<_>>(), [1, 0, 0, 0], "{sent:?}");
}

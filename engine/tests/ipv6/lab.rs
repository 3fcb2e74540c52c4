//! The lab of these tests: four guests on a routed network of IPv6, and an uplink.

use std::net::Ipv6Addr;

use engine::{Ipv6Config, RaConfig, Reach, RuntimeConfig};
use packet::builder::{FrameBuilder, eth};
use packet::checksum::Sum;
use packet::{Ipv6Packet, MacAddr, Millis, Protocol, icmp6, solicited_node};

pub use crate::common::*;

pub fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// The switch's own on the LAN, where guest n is `fd00:1::10` + n.
pub const LAN_6: &str = "fd00:1::1";
pub const WAN_6: &str = "2001:db8::5";
pub const ROUTER_6: &str = "2001:db8::1";
pub const FAR_6: &str = "2001:db8:ffff::9";

pub fn guest_6(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x10 + n)
}

pub fn config() -> RuntimeConfig {
    let mut config = nat_config();
    config.networks[0].reach = Reach::Routed(Some(WAN));
    let mut lan = Ipv6Config::new("fd00:1::1/64".parse().unwrap());
    lan.ra = Some(RaConfig { is_router: true, dns: vec![v6("fd00:1::53")], domain: Some("lan".to_owned()) });
    let wan =
        Ipv6Config { gateway: Some(v6(ROUTER_6)), ..Ipv6Config::new("2001:db8::5/64".parse().unwrap()) };
    for (network, settings) in config.networks.iter_mut().zip([lan, wan]) {
        network.interface.as_mut().unwrap().settings.ipv6 = Some(settings);
    }
    config
}

/// The switch after its first seconds, when it has said who it is.
pub fn bench() -> Bench {
    let mut bench = Bench::new(config());
    bench.wait(Millis::from_secs(5));
    bench
}

/// The same, where guests and the router outside are known.
pub fn known() -> Bench {
    let mut bench = bench();
    for n in 0..4 {
        bench.send(n, &[solicitation(guest_mac(n), guest_6(n), v6(LAN_6))]);
    }
    bench.send(UPLINK, &[solicitation(OUTSIDE_MAC, v6(ROUTER_6), v6(WAN_6))]);
    bench
}

pub fn solicitation(mac: MacAddr, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let group = solicited_node(target);
    let frame = eth().src(mac).dst(MacAddr::of_group6(group)).ipv6(source, group).hop_limit(255);
    frame.icmp6(icmp6::NEIGHBOUR_SOLICITATION, 0, 0).payload(&with_mac(target, 1, mac))
}

pub fn advertisement(mac: MacAddr, target: Ipv6Addr, to: (MacAddr, Ipv6Addr), flags: u32) -> Vec<u8> {
    let frame = eth().src(mac).dst(to.0).ipv6(target, to.1).hop_limit(255);
    frame.icmp6(icmp6::NEIGHBOUR_ADVERTISEMENT, 0, flags).payload(&with_mac(target, 2, mac))
}

pub fn with_mac(target: Ipv6Addr, kind: u8, mac: MacAddr) -> Vec<u8> {
    [&target.octets()[..], &[kind, 1], &mac.octets()].concat()
}

/// From guest `n` to its gateway's MAC.
pub fn guest(n: u16, to: Ipv6Addr) -> FrameBuilder {
    eth().src(guest_mac(n)).dst(LAN_MAC).ipv6(guest_6(n), to)
}

/// The IPv6 packet in a frame, whose layer-4 checksum must be right.
pub fn read(frame: &[u8]) -> Ipv6Packet {
    let ip = Ipv6Packet::parse(&frame[14..]).unwrap();
    let l4 = ip.payload(&frame[14..]);
    let pseudo = Sum::pseudo_header_v6(ip.src.octets(), ip.dst.octets(), ip.protocol.0, l4.len() as u32);
    assert_eq!(pseudo.add(Sum::of(l4)).checksum(), 0, "layer-4 checksum of {ip:?}");
    ip
}

/// Type, code and what follows of the ICMPv6 message in a frame.
pub fn icmp(frame: &[u8]) -> (u8, u8, u32) {
    let ip = read(frame);
    assert_eq!(ip.protocol, Protocol::ICMPV6);
    let message = ip.payload(&frame[14..]);
    (message[0], message[1], u32::from_be_bytes(message[4..8].try_into().unwrap()))
}

/// The options of an advertisement: types and what they say.
pub fn options(frame: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let ip = read(frame);
    let mut rest = &ip.payload(&frame[14..])[16..];
    let mut options = Vec::new();
    while let &[kind, len, ..] = rest {
        let (option, behind) = rest.split_at(usize::from(len) * 8);
        options.push((kind, option[2..].to_vec()));
        rest = behind;
    }
    options
}

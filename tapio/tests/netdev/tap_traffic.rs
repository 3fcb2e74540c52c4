//! Frames through taps: ping, TCP with its content checked, the largest frame there is.

use std::net::Ipv4Addr;

use packet::builder::eth;
use packet::wire::TcpHeader;
use packet::{Gso, Offload};
use tapio::TapConfig;
use tapio::testing::PacketSocket;

use crate::lab::{Cable, Host, drain, open, send, transfer};

/// Two hosts, joined by a cable, each with `offload` or not.
fn two_hosts(mtu: u16, offload: [bool; 2]) -> (Host, Host, Cable) {
    let (a, b) = (Host::new(), Host::new());
    let open = |host: &Host, address: &str, offload| {
        let config = TapConfig { peer_address: address.parse().ok(), mtu: Some(mtu), offload, ..host.tap() };
        open(&config).unwrap()
    };
    let ports = [open(&a, "10.9.0.1/24", offload[0]), open(&b, "10.9.0.2/24", offload[1])];
    let cable = Cable::between(ports);
    a.run("ping -c 3 -i 0.2 -W 5 10.9.0.2").unwrap();
    (a, b, cable)
}

#[test]
fn offloaded_frames_cross_as_super_frames() {
    let (a, b, cable) = two_hosts(1500, [true, true]);
    transfer(&a, &b);
    let [_, to_b] = cable.unplug();
    assert!(to_b.tx_bytes / to_b.tx_frames > 10_000, "{to_b:?}");
    assert_eq!(to_b.drops.total(), 0);
}

#[test]
fn without_offload_on_both_sides_frames_are_ordinary() {
    let (a, b, cable) = two_hosts(1500, [false, false]);
    transfer(&a, &b);
    let [_, to_b] = cable.unplug();
    assert!(to_b.tx_bytes / to_b.tx_frames <= 1514, "{to_b:?}");
}

#[test]
fn super_frames_reach_a_side_without_offload_in_segments() {
    let (a, b, _cable) = two_hosts(1500, [true, false]);
    transfer(&a, &b);
}

#[test]
fn the_largest_mtu_works() {
    let (a, b, _cable) = two_hosts(65_521, [true, true]);
    a.run("ping -c 1 -W 5 -M do -s 65000 10.9.0.2").unwrap();
    transfer(&a, &b);
}

#[test]
fn the_longest_frame_arrives_whole() {
    let host = Host::new();
    let mut port = open(&TapConfig { mtu: Some(65_521), ..host.tap() }).unwrap();
    let socket = host.0.enter(|| PacketSocket::open("t0")).unwrap().unwrap();
    let content: Vec<u8> = (0..65_521_u32).map(|n| (n % 251) as u8).collect();
    let frame = eth().payload(&content);
    socket.send(&frame).unwrap();
    assert!(drain(&mut port).unwrap().contains(&frame));
    let tagged = eth().vlan(5).payload(&content);
    socket.send(&tagged).unwrap();
    assert!(drain(&mut port).unwrap().contains(&tagged));
}

#[test]
fn a_super_frame_to_a_device_without_offload_is_written_in_segments() {
    let host = Host::new();
    let mut port = open(&TapConfig { offload: false, ..host.tap() }).unwrap();
    let (source, target) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2));
    let frame = eth().ipv4(source, target).tcp(1, 2, TcpHeader::ACK).payload(&[7; 60_000]);
    let gso = Offload { gso: Gso::Tcp4, gso_size: 1448, needs_checksum: true, ..Offload::NONE };
    let counters = send(&mut port, &frame, Offload { csum_start: 34, csum_offset: 16, ..gso });
    assert_eq!((counters.tx_frames, counters.tx_bytes), (1, frame.len() as u64));
    let link = host.links().find("t0").unwrap();
    assert_eq!(link.rx_packets, 60_000_u64.div_ceil(1448));
}

#[test]
fn a_frame_that_the_system_refuses_is_a_counted_drop() {
    let mut port = open(&Host::new().tap()).unwrap();
    let counters = send(&mut port, &[1; 10], Offload::NONE);
    assert_eq!(counters.drops.of(packet::DropReason::TxRefused), 1);
    assert_eq!(counters.tx_frames, 0);
}

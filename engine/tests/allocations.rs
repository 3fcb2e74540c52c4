//! A burst of known stations and flows allocates nothing, from the first stage to the last.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use common::*;
use packet::builder::{FrameBuilder, eth};
use packet::wire::TcpHeader;
use packet::{Burst, Offload, PortId};

/// Allocations while a burst of 64 such frames goes through the worker, and frames that came out.
fn cost(bench: &mut Bench, from: u16, frame: &[u8]) -> (u64, usize) {
    let mut burst = Burst::new();
    let network = bench.worker.network_of(PortId::new(from).unwrap()).unwrap();
    burst.restart(PortId::new(from), network);
    while burst.push(frame, Offload::NONE) {}
    let mut sent = 0;
    let counted = allocation_counter::measure(|| {
        let turn = bench.worker.process(&mut burst, bench.now);
        let turn = bench.worker.transmit(turn, &mut burst, |_, _, frames, _| sent += frames.len());
        let own = bench.worker.service(turn, &mut burst, bench.now);
        bench.worker.transmit_own(own, |_, _, frames, _| sent += frames.len());
    });
    (counted.count_total, sent)
}

fn through_nat(n: u16) -> FrameBuilder {
    eth().src(guest_mac(n)).dst(LAN_MAC).ipv4(guest_ip(n), OUTSIDE)
}

#[test]
fn bridged_frames_allocate_nothing() {
    let mut bench = Bench::nat();
    let known = eth().src(guest_mac(0)).dst(guest_mac(1)).payload(b"x");
    let flooded = eth().src(guest_mac(0)).dst(guest_mac(99)).payload(b"x");
    assert_eq!(cost(&mut bench, 0, &known), (0, 64));
    assert_eq!(cost(&mut bench, 0, &flooded), (0, 3 * 64));
}

#[test]
fn packets_of_known_flows_allocate_nothing() {
    let mut bench = Bench::nat();
    let packets = [
        through_nat(0).udp(5000, 53).payload(b"x"),
        through_nat(0).tcp(5000, 80, TcpHeader::SYN).payload(b""),
        through_nat(0).icmp_echo(7, 1).payload(b"x"),
    ];
    bench.send(0, &packets);
    for packet in packets {
        assert_eq!(cost(&mut bench, 0, &packet), (0, 64));
    }
    let back = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv4(OUTSIDE, WAN_IP).udp(53, 5000).payload(b"x");
    assert_eq!(cost(&mut bench, UPLINK, &back), (0, 64));
}

#[test]
fn dropped_frames_allocate_nothing() {
    let mut bench = Bench::nat();
    let unsolicited = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv4(OUTSIDE, WAN_IP).tcp(1, 2, TcpHeader::ACK);
    for (from, frame) in [(0, vec![0; 13]), (0, vec![0xff; 60]), (UPLINK, unsolicited.payload(b""))] {
        assert_eq!(cost(&mut bench, from, &frame), (0, 0));
    }
}

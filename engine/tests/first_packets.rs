//! The first packets of a burst are admitted together, but as if they had come one after the other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use common::*;
use nat_engine::{Balance, Condition, Match, NatRule, PortList, Target};
use packet::builder::{FrameBuilder, eth};
use packet::wire::TcpHeader;

/// With a port outside whose connections are spread over three guests.
fn bench() -> Bench {
    let mut config = nat_config();
    let servers = (1..4).map(|n| std::net::SocketAddrV4::new(guest_ip(n), 80)).collect();
    config.rules.prerouting.push(NatRule {
        matches: Match {
            destination: Some(Condition::is("203.0.113.5/32".parse().unwrap())),
            destination_ports: Some(Condition::is(PortList::port(80))),
            ..Match::default()
        },
        target: Target::Balance(Balance { servers, backups: vec![] }),
    });
    let mut bench = Bench::new(config);
    for n in 0..4 {
        bench.send(n, &[arp_request(guest_mac(n), guest_ip(n), LAN_IP)]);
    }
    bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)]);
    bench
}

fn guest(n: u16) -> FrameBuilder {
    eth().src(guest_mac(n)).dst(LAN_MAC)
}

#[test]
fn a_burst_of_first_packets_leaves_as_if_they_had_come_one_by_one() {
    let syn = |port, to| guest(0).ipv4(guest_ip(0), WAN_IP).tcp(port, to, TcpHeader::SYN).payload(b"");
    let mut frames: Vec<_> = (0..40)
        .map(|n| guest(0).ipv4(guest_ip(0), OUTSIDE).udp(5000 + n / 2, 53 + n).payload(b"x"))
        .collect();
    frames.extend([
        // Known since the frame before; to what a frame before has mapped; published; spread; never to pass.
        guest(0).ipv4(guest_ip(0), OUTSIDE).udp(5000, 53).payload(b"again"),
        guest(0).ipv4(guest_ip(0), WAN_IP).udp(7000, 5003).payload(b"to a neighbour"),
        syn(6000, 8888),
        syn(6000, 80),
        syn(6001, 80),
        syn(6002, 80),
        guest(0).ipv4(guest_ip(0), OUTSIDE).tcp(1, 2, TcpHeader::ACK).payload(b""),
        guest(0).ipv4(guest_ip(0), OUTSIDE).icmp_echo(9, 1).payload(b""),
    ]);
    let (mut together, mut one_by_one) = (bench(), bench());
    let sent = together.send(0, &frames);
    let mut expected = Sent::new();
    for frame in &frames {
        for (port, frames) in one_by_one.send(0, std::slice::from_ref(frame)) {
            expected.entry(port).or_default().extend(frames);
        }
    }
    assert_eq!(sent, expected);
    assert_eq!(together.drops(0), one_by_one.drops(0));
    assert_eq!(sent.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, UPLINK]);
    let state = |bench: &Bench| bench.worker.export_flows(bench.now);
    assert_eq!(state(&together), state(&one_by_one));
}

//! The hit path allocates nothing.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use nat_engine::{Known, NatPacket};
use packet::builder::eth;
use packet::{Ipv4Packet, Millis};
use world::*;

#[test]
fn a_known_flows_packets_allocate_nothing() {
    let mut world = World::new();
    let out = [
        eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"question"),
        eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b""),
        eth().ipv4(GUEST, REMOTE).icmp_echo(77, 1).payload(b""),
        eth().ipv4(GUEST, REMOTE).ip(|ip| ip.flags_fragment.set(0x2000)).udp(5001, 53).payload(&[0; 24]),
    ];
    let left: Vec<_> = out.iter().map(|frame| world.guest_sends(frame).unwrap()).collect();
    let back = [
        eth().ipv4(REMOTE, PUBLIC).udp(53, 5000).payload(b"answer"),
        eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, SYN | ACK).payload(b""),
        eth().ipv4(REMOTE, PUBLIC).icmp_echo_reply(77, 1).payload(b""),
        // A later fragment, and an error.
        eth()
            .ipv4(GUEST, REMOTE)
            .ip(|ip| {
                ip.protocol = 17;
                ip.flags_fragment.set(4);
            })
            .payload(&[0; 24]),
        eth().ipv4(REMOTE, PUBLIC).icmp(3, 3, 0).payload(&left[0][14..]),
    ];
    let frames: Vec<_> = out.into_iter().chain(back).collect();
    let mut buffer = [0; 200];
    let allocations = allocation_counter::measure(|| {
        for round in 0..1000 {
            let now = world.now + Millis::new(round * 100);
            for frame in &frames {
                let bytes = &mut buffer[..frame.len() - 14];
                bytes.copy_from_slice(&frame[14..]);
                let mut ip = Ipv4Packet::parse(bytes).unwrap();
                let mut packet = NatPacket { bytes, ip: &mut ip, partial_checksum: false };
                let known = world.nat.translate_known(&mut packet, now);
                assert_eq!(known, Known::Translated);
            }
        }
    });
    assert_eq!(allocations.count_total, 0);
}

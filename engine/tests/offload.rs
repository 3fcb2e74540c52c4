//! Offloaded frames through the gateway: what a header asks for is done for the packet that is there, and for no other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use common::*;
use packet::builder::eth;
use packet::checksum::Sum;
use packet::wire::TcpHeader;
use packet::{Gso, Offload};

const TCP: Offload = Offload { needs_checksum: true, csum_start: 34, csum_offset: 16, ..Offload::NONE };
const UDP: Offload = Offload { csum_offset: 6, ..TCP };

fn from_guest() -> packet::builder::FrameBuilder {
    eth().src(guest_mac(0)).dst(LAN_MAC)
}

#[test]
fn a_checksum_that_is_to_be_completed_elsewhere_than_in_its_packet_never_leaves() {
    let mut bench = Bench::nat();
    let udp = from_guest().ipv4(guest_ip(0), FAR).udp(5000, 53).payload(&[7; 600]);
    assert_eq!(bench.send_offloaded(0, &[(udp.clone(), UDP)])[&UPLINK].len(), 1);
    let lies = [
        // Into the ports that NAT has chosen, the checksum of another protocol, the payload, the addresses.
        Offload { csum_offset: 0, ..UDP },
        Offload { csum_offset: 2, ..UDP },
        TCP,
        Offload { csum_start: 100, ..UDP },
        Offload { csum_start: 26, csum_offset: 0, ..UDP },
        Offload { gso: Gso::Tcp4, gso_size: 100, ..TCP },
        Offload { gso: Gso::Tcp6, gso_size: 100, ..UDP },
        Offload { gso: Gso::Udp, gso_size: 100, csum_start: 38, ..UDP },
    ];
    for (count, lie) in (1..).zip(lies) {
        assert!(bench.send_offloaded(0, &[(udp.clone(), lie)]).is_empty(), "{lie:?}");
        assert_eq!(bench.drops(0), [("bad_offload", count)], "{lie:?}");
    }
}

#[test]
fn protocols_and_fragments_that_no_sender_leaves_to_its_card_are_dropped() {
    let mut bench = Bench::nat();
    let echo = from_guest().ipv4(guest_ip(0), FAR).icmp_echo(1, 1).payload(&[7; 64]);
    let fragment = |flags: u16| {
        let frame = from_guest().ipv4(guest_ip(0), FAR).ip(move |ip| ip.flags_fragment = flags.into());
        frame.udp(5000, 53).payload(&[7; 64])
    };
    for (count, (frame, offload)) in (1..).zip([
        (echo, Offload { csum_offset: 2, ..TCP }),
        (fragment(0x2000), UDP),
        (fragment(0x0010), UDP),
    ]) {
        assert!(bench.send_offloaded(0, &[(frame, offload)]).is_empty());
        assert_eq!(bench.drops(0), [("bad_offload", count)]);
    }
}

#[test]
fn a_routed_super_frame_that_must_be_cut_costs_little_and_is_cut_as_far_as_there_is_room() {
    let mut config = nat_config();
    config.networks[1].interface.as_mut().unwrap().settings.mtu = 68;
    let mut bench = Bench::new(config);
    bench.send(0, &[arp_request(guest_mac(0), guest_ip(0), LAN_IP)]);
    bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)]);
    let may_be_cut = |ip: &mut packet::wire::Ipv4Header| ip.flags_fragment = 0.into();
    let tcp = |flags, payload: &[u8]| {
        from_guest().ipv4(guest_ip(0), FAR).ip(may_be_cut).tcp(4000, 80, flags).payload(payload)
    };
    bench.send(0, &[tcp(TcpHeader::SYN, b"")]);
    // Segments of 76 bytes, each of which becomes two fragments.
    let mut frame = tcp(TcpHeader::ACK, &[5; 65_000]);
    let pseudo = Sum::pseudo_header_v4(guest_ip(0), FAR, 6, (frame.len() - 34) as u16).fold();
    frame[50..52].copy_from_slice(&pseudo.to_be_bytes());
    let offload = Offload { gso: Gso::Tcp4, gso_size: 36, ..TCP };
    let mut sent = Sent::new();
    let counted = allocation_counter::measure(|| sent = bench.send_offloaded(0, &[(frame.clone(), offload)]));
    assert_eq!(sent[&UPLINK].len(), packet::BURST_FRAMES);
    assert!(sent[&UPLINK].iter().all(|frame| frame.len() <= 14 + 68));
    assert_eq!(bench.drops(0), [("reply_burst_full", 1)]);
    assert!(counted.bytes_max < 1 << 20, "{} bytes", counted.bytes_max);
}

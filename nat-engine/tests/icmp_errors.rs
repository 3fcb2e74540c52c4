//! ICMP errors about translated packets. The judge: the packet quoted in the error that arrives is, byte for byte, the
//! one its receiver once sent.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use std::net::Ipv4Addr;

use packet::DropReason;
use packet::builder::{FrameBuilder, eth};
use packet::checksum::of;
use packet::wire::Ipv4Header;
use proptest::prelude::*;
use world::*;

/// A router between here and there.
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 99);
const INSIDE_ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 200);

/// "Fragmentation needed, MTU 1400" from `src` about the packet in `about`, of which `len` bytes of layer 4 are quoted.
fn error(src: Ipv4Addr, dst: Ipv4Addr, about: &[u8], len: usize) -> Vec<u8> {
    let header_len = usize::from(about[14] & 0xf) * 4;
    let quoted = &about[14..about.len().min(14 + header_len + len)];
    eth().ipv4(src, dst).icmp(3, 4, 1400).payload(quoted)
}

/// The packet that an ICMP error quotes.
fn quoted(error: &[u8]) -> &[u8] {
    &error[14 + 20 + 8..]
}

fn flows(src: Ipv4Addr) -> [FrameBuilder; 3] {
    let ip = || eth().ipv4(src, REMOTE);
    [ip().udp(5000, 53), ip().tcp(5000, 80, SYN), ip().icmp_echo(77, 1)]
}

#[test]
fn rfc5508_req4_an_error_from_outside_reaches_the_guest_with_the_packet_it_sent() {
    for len in [8, 12, 20, 28, 100] {
        for flow in flows(GUEST) {
            let mut world = World::new();
            // Another guest has the port, so that ports change too.
            for flow in flows(GUEST2) {
                world.guest_sends(&flow.payload(b"")).unwrap();
            }
            let sent = flow.payload(b"something long enough");
            let left = world.guest_sends(&sent).unwrap();
            assert_ne!(ends(&left).1, ends(&sent).1);
            let before: Vec<_> = world.nat.flows(world.now).collect();
            world.now = world.now + packet::Millis::from_secs(10);

            let arrives = world.remote_sends(&error(ROUTER, PUBLIC, &left, len)).unwrap();
            assert_eq!(arrives, error(ROUTER, GUEST, &sent, len));
            let from_remote = world.remote_sends(&error(REMOTE, PUBLIC, &left, len)).unwrap();
            assert_eq!(from_remote, error(REMOTE, GUEST, &sent, len));

            // RFC 4787 REQ-12, 5382 REQ-10, 5508 REQ-6: nothing is refreshed, nothing ends.
            world.now = packet::Millis::from_secs(1000);
            assert_eq!(world.nat.flows(world.now).collect::<Vec<_>>(), before);
        }
    }
}

#[test]
fn rfc5508_req5_an_error_from_inside_shows_the_outside_address_only() {
    let mut world = World::new();
    for flow in flows(GUEST2).into_iter().chain(flows(GUEST)) {
        world.guest_sends(&flow.payload(b"")).unwrap();
    }
    let port = world
        .nat
        .flows(world.now)
        .find(|f| {
            f.original.source().port() == 5000
                && *f.original.source().ip() == GUEST
                && f.original.protocol() == packet::Protocol::UDP
        })
        .unwrap();
    let answer = eth().ipv4(REMOTE, PUBLIC).udp(53, port.reply.destination().port()).payload(b"answer");
    let delivered = world.remote_sends(&answer).unwrap();
    for src in [GUEST, INSIDE_ROUTER] {
        let out = world.guest_sends(&error(src, REMOTE, &delivered, 8)).unwrap();
        assert_eq!(out, error(PUBLIC, REMOTE, &answer, 8));
    }
}

#[test]
fn errors_about_a_published_port_go_both_ways() {
    let mut world = World::new();
    let syn = eth().ipv4(REMOTE, PUBLIC).tcp(7000, 8080, SYN).payload(b"");
    let delivered = world.remote_sends(&syn).unwrap();
    let refused = world.guest_sends(&error(GUEST, REMOTE, &delivered, 8)).unwrap();
    assert_eq!(refused, error(PUBLIC, REMOTE, &syn, 8));

    let syn_ack = eth().ipv4(GUEST, REMOTE).tcp(80, 7000, SYN | ACK).payload(b"");
    let left = world.guest_sends(&syn_ack).unwrap();
    let too_big = world.remote_sends(&error(ROUTER, PUBLIC, &left, 100)).unwrap();
    assert_eq!(too_big, error(ROUTER, GUEST, &syn_ack, 100));
}

#[test]
fn rfc5508_req7_hairpinned_errors_are_translated() {
    let mut world = World::new();
    let syn = eth().ipv4(GUEST2, PUBLIC).tcp(5000, 8080, SYN).payload(b"");
    let delivered = world.guest_sends(&syn).unwrap();
    let refused = world.guest_sends(&error(GUEST, PUBLIC, &delivered, 8)).unwrap();
    assert_eq!(refused, error(PUBLIC, GUEST2, &syn, 8));
}

#[test]
fn an_error_from_the_far_side_of_a_dnat_comes_from_the_address_the_guest_knows() {
    let mut config = config();
    config.rules.prerouting = vec![dnat(REMOTE, packet::Protocol::UDP, 53, REMOTE2, Some(5353))];
    let mut world = World::with(config);
    let sent = eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"q");
    let left = world.guest_sends(&sent).unwrap();
    let refused = world.remote_sends(&error(REMOTE2, PUBLIC, &left, 8)).unwrap();
    assert_eq!(refused, error(REMOTE, GUEST, &sent, 8));
}

#[test]
fn an_error_about_no_flow_is_refused() {
    let mut world = World::new();
    let stranger = eth().ipv4(PUBLIC, REMOTE).udp(5000, 53).payload(b"");
    assert_eq!(world.remote_sends(&error(ROUTER, PUBLIC, &stranger, 8)), Err(DropReason::NatUnsolicited));
    let stranger = eth().ipv4(REMOTE, GUEST).udp(53, 5000).payload(b"");
    assert_eq!(world.guest_sends(&error(GUEST, REMOTE, &stranger, 8)), Err(DropReason::IcmpErrorUnmatched));
}

#[test]
fn rfc5508_req3_wrong_checksums_and_cut_quotes_are_refused() {
    let mut world = World::new();
    let left = world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"")).unwrap();
    let mut wrong = error(ROUTER, PUBLIC, &left, 8);
    wrong[14 + 20 + 3] ^= 1;
    assert_eq!(world.remote_sends(&wrong), Err(DropReason::BadIcmpChecksum));

    let mut broken = left.clone();
    broken[14 + 8] ^= 1;
    let wrong = error(ROUTER, PUBLIC, &broken, 8);
    assert_eq!(world.remote_sends(&wrong), Err(DropReason::BadIpChecksum));

    let cut = eth().ipv4(ROUTER, PUBLIC).icmp(3, 4, 1400).payload(&left[14..14 + 19]);
    assert_eq!(world.remote_sends(&cut), Err(DropReason::BadL4Header));
    // Ports, but less than the 8 bytes that RFC 792 promises.
    assert_eq!(world.remote_sends(&error(ROUTER, PUBLIC, &left, 7)), Err(DropReason::NatUnsolicited));
}

#[test]
fn rfc5508_req3b_options_of_the_quoted_packet_are_walked_past() {
    let mut world = World::new();
    let with_options = |src, port: u16| {
        let plain = eth().ipv4(src, REMOTE).udp(port, 53).payload(b"q");
        let mut packet = plain[14..].to_vec();
        packet[0] = 0x46;
        packet.splice(20..20, [1, 1, 1, 0]);
        let total_len = packet.len() as u16;
        packet[2..4].copy_from_slice(&total_len.to_be_bytes());
        packet[10..12].fill(0);
        let checksum = of(&packet[..24]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        [&plain[..14], &packet].concat()
    };
    let sent = with_options(GUEST, 5000);
    let left = world.guest_sends(&sent).unwrap();
    assert_eq!(left, with_options(PUBLIC, 5000));
    let arrives = world.remote_sends(&error(ROUTER, PUBLIC, &left, 8)).unwrap();
    assert_eq!(arrives, error(ROUTER, GUEST, &sent, 8));
}

#[test]
fn rfc5508_req3d_extensions_behind_the_quoted_packet_stay_as_they_are() {
    let mut world = World::new();
    let sent = eth().ipv4(GUEST, REMOTE).icmp_echo(77, 1).payload(b"");
    let left = world.guest_sends(&sent).unwrap();
    let extended = |src: Ipv4Addr, dst, about: &[u8]| {
        let mut payload = about[14..].to_vec();
        payload.resize(128, 0);
        payload.extend_from_slice(b"an extension");
        eth().ipv4(src, dst).icmp(11, 0, 32 << 16).payload(&payload)
    };
    let arrives = world.remote_sends(&extended(ROUTER, PUBLIC, &left)).unwrap();
    assert_eq!(arrives, extended(ROUTER, GUEST, &sent));
}

#[test]
fn a_quoted_udp_packet_without_checksum_stays_without() {
    let mut world = World::new();
    let mut sent = eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"");
    sent[40..42].fill(0);
    let left = world.guest_sends(&sent).unwrap();
    let arrives = world.remote_sends(&error(ROUTER, PUBLIC, &left, 8)).unwrap();
    assert_eq!(arrives, error(ROUTER, GUEST, &sent, 8));
    assert_eq!(quoted(&arrives)[26..28], [0, 0]);
}

#[test]
fn a_later_fragment_that_is_quoted_belongs_to_no_known_flow() {
    let mut world = World::new();
    let left = world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"")).unwrap();
    let later = eth().ipv4(PUBLIC, REMOTE).ip(|ip| {
        ip.protocol = 17;
        ip.flags_fragment.set(3);
    });
    let later = later.payload(&left[34..]);
    let refused = world.remote_sends(&error(ROUTER, PUBLIC, &later, 8));
    assert_eq!(refused, Err(DropReason::NatUnsolicited));
    let in_fragments = eth().ipv4(ROUTER, PUBLIC).ip(|ip| ip.flags_fragment.set(Ipv4Header::MF));
    let in_fragments = in_fragments.icmp(3, 4, 1400).payload(quoted(&error(ROUTER, PUBLIC, &left, 8)));
    assert_eq!(world.remote_sends(&in_fragments), Err(DropReason::BadFragment));
}

proptest! {
    #![proptest_config(properties())]

    #[test]
    fn every_error_quotes_what_was_sent(
        protocol in 0_usize..3, half_len in 4_usize..30, payload: Vec<u8>, port: u16, taken: bool,
    ) {
        let frame = |guest, payload: &[u8]| {
            let ip = eth().ipv4(guest, REMOTE);
            [ip.clone().udp(port, 53), ip.clone().tcp(port, 80, SYN), ip.icmp_echo(port, 1)][protocol]
                .clone()
                .payload(payload)
        };
        let (mut world, len) = (World::new(), 2 * half_len);
        if taken {
            world.guest_sends(&frame(GUEST2, b"")).unwrap();
        }
        let sent = frame(GUEST, &payload);
        let left = world.guest_sends(&sent).unwrap();
        let arrives = world.remote_sends(&error(ROUTER, PUBLIC, &left, len)).unwrap();
        prop_assert_eq!(arrives, error(ROUTER, GUEST, &sent, len));
    }
}

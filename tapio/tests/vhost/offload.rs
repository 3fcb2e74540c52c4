//! Super-frames and unfinished checksums.

use std::net::Ipv4Addr;

use packet::builder::eth;
use packet::wire::TcpHeader;
use packet::{Gso, Offload, OffloadSet};

use crate::guest::{BASE, GUEST_CSUM, GUEST_TSO, Guest};
use crate::lab::Lab;
use tapio::Role;

fn super_frame() -> (Vec<u8>, Offload) {
    let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let frame = eth().ipv4(a, b).tcp(1, 2, TcpHeader::ACK).payload(&[7; 9000]);
    let offload = Offload {
        csum_start: 34,
        csum_offset: 16,
        gso_size: 1448,
        gso: Gso::Tcp4,
        needs_checksum: true,
        ..Offload::NONE
    };
    (frame, offload)
}

#[test]
fn a_super_frame_travels_whole_to_a_guest_that_takes_it() {
    let (mut lab, mut guest) = Lab::with_guest(BASE | GUEST_CSUM | GUEST_TSO, 2);
    assert_eq!(lab.port.offloads(), OffloadSet { checksum: true, tso: true, uso: false });
    guest.fill(0, 100);
    let (frame, offload) = super_frame();
    assert_eq!(lab.send(&[(frame.clone(), offload)]).tx_frames, 1);
    let received = guest.receive(0).unwrap();
    assert_eq!(received[12..], frame);
    assert_eq!(received[..10], offload.encode()[..10]);
    assert_eq!(guest.receive(0), None);
}

#[test]
fn a_guest_that_takes_no_super_frames_gets_segments() {
    let (mut lab, mut guest) = Lab::usual();
    assert_eq!(lab.port.offloads(), OffloadSet::NONE);
    guest.fill(0, 100);
    assert_eq!(lab.send(&[super_frame()]).tx_frames, 1);
    let mut payload = 0;
    while let Some(received) = guest.receive(0) {
        assert_eq!(received[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        payload += received.len() - 12 - 54;
    }
    assert_eq!(payload, 9000);
}

#[test]
fn a_super_frame_of_the_guest_comes_with_its_offload() {
    let (mut lab, mut guest) = Lab::usual();
    let (frame, offload) = super_frame();
    let at = crate::guest::GUEST + (6 << 20);
    guest.write(at, &[offload.encode().as_slice(), &frame].concat());
    guest.describe(1, 0, (at, 12 + frame.len() as u32), 0, 0);
    guest.offer(1, 0);
    let mut bad = offload.encode();
    bad[1] = 77;
    guest.send(1, &bad, &frame[..60]);
    lab.run();
    // The second asks for a kind of segmentation that doesn't exist, and is dropped.
    assert_eq!(lab.take_offloads(), [(frame, offload)]);
}

#[test]
fn offloads_are_offered_only_if_configured() {
    const GET_FEATURES: u32 = 1;
    let offered = |offload| {
        let mut lab = Lab::with(Role::Server, offload);
        let mut guest = Guest::connect(&lab.path);
        guest.ask(GET_FEATURES, &[], &[]);
        lab.run();
        guest.reply(GET_FEATURES)
    };
    assert_eq!(offered(true) & !offered(false), GUEST_CSUM | GUEST_TSO | 1 | 0b111 << 11 | 0b111 << 54);
    assert_eq!(offered(false) & BASE, BASE);
    const LOG_ALL: u64 = 1 << 26;
    assert_eq!(offered(true) & LOG_ALL, 0);
}

//! The hit path allocates nothing: counted by the allocator itself.
#![allow(unsafe_code, reason = "a global allocator is unsafe by nature; this one only counts")]
#![allow(clippy::unwrap_used)]

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use nat_engine::{Known, NatPacket};
use packet::builder::eth;
use packet::{Ipv4Packet, Millis};
use world::*;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's obligations are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    let before = ALLOCATIONS.get();
    for round in 0..1000 {
        let now = world.now + Millis::new(round * 100);
        for frame in &frames {
            let bytes = &mut buffer[..frame.len() - 14];
            bytes.copy_from_slice(&frame[14..]);
            let ip = Ipv4Packet::parse(bytes).unwrap();
            let known = world.nat.translate_known(&mut NatPacket { bytes, ip, partial_checksum: false }, now);
            assert_eq!(known, Known::Translated);
        }
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(before > 0, "the counter counts");
}

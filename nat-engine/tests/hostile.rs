//! Whatever arrives: no panic, no growth beyond the cap, and what is refused is untouched (`World::pass` asserts it).
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use nat_engine::NatConfig;
use packet::builder::eth;
use packet::checksum::of;
use packet::wire::Ipv4Header;
use packet::{NetworkId, Protocol};
use proptest::prelude::*;
use world::*;

const LIMIT: u32 = 8;

/// Addresses that meet rules and flows often enough.
fn address() -> impl Strategy<Value = std::net::Ipv4Addr> {
    prop::sample::select(vec![GUEST, GUEST2, GATEWAY, PUBLIC, REMOTE, REMOTE2])
}

/// A packet with an IP header that parses and anything behind it; a third of them quote another in an ICMP error.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let any_packet = (
        address(),
        address(),
        prop::sample::select(vec![1_u8, 6, 17, 47]),
        prop::collection::vec(prop_oneof![Just(0_u8), Just(8), any::<u8>()], 0..60),
        prop_oneof![4 => Just(0_u16), 1 => Just(Ipv4Header::MF), 1 => any::<u16>()],
    )
        .prop_map(|(src, dst, protocol, mut payload, flags)| {
            // Few ports, so that flows are met again; a length that UDP accepts.
            for (at, value) in [(0, 0), (2, 0), (4, 0), (5, 8)] {
                payload.get_mut(at..=at).unwrap_or_default().fill(value);
            }
            raw(src, dst, Protocol(protocol), 1, flags, &payload)
        });
    let any_packet = any_packet.boxed();
    prop_oneof![
        2 => any_packet.clone(),
        1 => (address(), address(), any_packet, 14_usize..90, prop::sample::select(vec![3_u8, 4, 5, 11, 12])).prop_map(
            |(src, dst, quoted, end, kind)| {
                eth().ipv4(src, dst).icmp(kind, 1, 0).payload(&quoted[14..end.min(quoted.len())])
            }
        ),
    ]
}

proptest! {
    #![proptest_config(properties())]

    #[test]
    fn any_sequence_of_packets_is_survived(
        steps in prop::collection::vec((frame(), 0_u16..3, 0_u64..100_000, any::<bool>()), 1..60)
    ) {
        let mut world = World::with(NatConfig { flow_limit: LIMIT, ..config() });
        for (frame, input, wait, partial) in steps {
            world.wait(wait);
            world.partial_checksum = partial;
            let _ = world.pass(&frame, NetworkId::new(input));
            prop_assert!(world.nat.flow_count() <= LIMIT as usize);
            prop_assert!(world.nat.next_timeout().is_none_or(|at| at > world.now));
        }
        world.wait(10_000_000);
        prop_assert_eq!(world.nat.flow_count(), 0);
    }

    #[test]
    fn any_bytes_behind_an_ip_header_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 20..120)) {
        bytes[0] = 0x45 + bytes[0] % 3;
        let len = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        bytes[10..12].fill(0);
        let header_len = usize::from(bytes[0] & 0xf) * 4;
        let checksum = of(&bytes[..header_len.min(bytes.len())]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut world = World::new();
        world.partial_checksum = true;
        let _ = world.pass(&[&[0; 14], &bytes[..]].concat(), LAN);
    }
}

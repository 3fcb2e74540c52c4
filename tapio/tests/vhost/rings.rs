//! Frames in both directions, in every shape that a driver may give its buffers.

use packet::DropReason;
use packet::builder::eth;

use crate::guest::{
    BASE, BUFFER, EVENT_IDX, GUEST, Guest, INDIRECT, MRG_RXBUF, NEXT, VERSION_1, WRITE, descriptor,
};
use crate::lab::{Lab, frames, plain};

const HEADER: [u8; 12] = [0; 12];

#[test]
fn frames_go_both_ways_in_order() {
    for count in [0, 1, 63, 64, 65, 200] {
        let (mut lab, mut guest) = Lab::usual();
        let frames = frames(count);
        frames.iter().for_each(|frame| guest.send(1, &HEADER, frame));
        guest.fill(0, 256);
        lab.run();
        assert_eq!(lab.take(), frames);
        assert_eq!(usize::from(guest.used_index(1)), count);
        for burst in frames.chunks(64) {
            assert_eq!(lab.send(&plain(burst)).tx_frames, burst.len() as u64);
        }
        for frame in &frames {
            let received = guest.receive(0).unwrap();
            assert_eq!(received[12..], *frame);
            assert_eq!(received[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        }
        assert_eq!(guest.receive(0), None);
        assert_eq!(lab.loss, None);
    }
}

#[test]
fn rings_of_every_size_wrap_and_so_does_their_index() {
    for size in [1, 2, 64, 256] {
        let mut lab = Lab::new();
        let mut guest = Guest::connect(&lab.path);
        guest.size = size;
        // The index goes over its end after a few frames.
        for ring in [0_u16, 1] {
            guest.rings[usize::from(ring)].available = 65_500;
            guest.rings[usize::from(ring)].used = 65_500;
            guest.set_word(ring, 0x5002, 65_500);
            guest.set_word(ring, 0x4002, 65_500);
        }
        guest.start(BASE, 2);
        lab.run();
        for chunk in frames(300).chunks(usize::from(size.min(64))) {
            chunk.iter().for_each(|frame| guest.send(1, &HEADER, frame));
            guest.fill(0, chunk.len() as u16);
            lab.run();
            assert_eq!(lab.take(), chunk);
            assert_eq!(lab.send(&plain(chunk)).tx_frames, chunk.len() as u64);
            for frame in chunk {
                assert_eq!(guest.receive(0).unwrap()[12..], *frame);
            }
            while guest.take_used(1).is_some() {}
        }
        assert_eq!(lab.loss, None);
    }
}

#[test]
fn a_frame_may_come_in_many_pieces() {
    let (mut lab, mut guest) = Lab::usual();
    let frame = eth().payload(&(0..=250).collect::<Vec<u8>>());
    let whole = [HEADER.as_slice(), &frame].concat();
    let at = Guest::buffer(1, 100);
    guest.write(at, &whole);
    // The header ends within the second piece; the third is empty.
    let pieces = [(0, 7), (7, 20), (27, 0), (27, 1), (28, whole.len() as u32 - 28)];
    for (index, (offset, len)) in (0..).zip(pieces) {
        let flags = if index == 4 { 0 } else { NEXT };
        guest.describe(1, index, (at + offset, len), flags, index + 1);
    }
    guest.offer(1, 0);
    lab.run();
    assert_eq!(lab.take(), [frame]);
    assert_eq!(guest.take_used(1), Some((0, 0)));
}

#[test]
fn pieces_may_be_listed_in_an_indirect_table() {
    let (mut lab, mut guest) = Lab::usual();
    let frame = eth().payload(&[9; 300]);
    let whole = [HEADER.as_slice(), &frame].concat();
    let at = Guest::buffer(1, 100);
    guest.write(at, &whole);
    // Once aligned as usual, once not at all, once behind an ordinary descriptor.
    for (nth, table_at) in (0_u16..).zip([Guest::buffer(1, 101), Guest::buffer(1, 102) + 3]) {
        let table = [descriptor(at + 200, whole.len() as u32 - 200, 0, 0), descriptor(at, 200, NEXT, 0)];
        let order = [descriptor(at, 200, NEXT, 2), descriptor(0, 0, 0, 0), table[0].clone()].concat();
        guest.write(table_at, &order);
        guest.describe(1, nth, (table_at, 48), INDIRECT, 0);
        guest.offer(1, nth);
    }
    guest.write(Guest::buffer(1, 103), &descriptor(at + 12, whole.len() as u32 - 12, 0, 0));
    guest.describe(1, 2, (at, 12), NEXT, 3);
    guest.describe(1, 3, (Guest::buffer(1, 103), 16), INDIRECT, 0);
    guest.offer(1, 2);
    lab.run();
    assert_eq!(lab.take(), [frame.clone(), frame.clone(), frame]);
}

#[test]
fn the_longest_frame_passes_and_a_longer_one_is_dropped() {
    let (mut lab, mut guest) = Lab::usual();
    let room = GUEST + (6 << 20);
    let longest = eth().payload(&[5; packet::MAX_FRAME - 14]);
    guest.write(room, &[HEADER.as_slice(), &longest, &[0]].concat());
    for (index, extra) in [(0, 0), (1, 1)] {
        guest.describe(1, index, (room, 12 + longest.len() as u32 + extra), 0, 0);
        guest.offer(1, index);
    }
    let counted = lab.port.rx_burst(&mut lab.burst).unwrap();
    assert!(matches!(counted, tapio::Rx::Drained | tapio::Rx::More));
    assert_eq!(lab.burst.bytes(0), longest);
    assert_eq!(lab.burst.metas()[1].verdict, packet::Verdict::Drop(DropReason::FrameTooLong));
    assert_eq!(guest.used_index(1), 2);
}

#[test]
fn a_frame_shorter_than_its_header_is_dropped() {
    let (mut lab, mut guest) = Lab::usual();
    guest.describe(1, 0, (Guest::buffer(1, 0), 11), 0, 0);
    guest.offer(1, 0);
    guest.describe(1, 1, (Guest::buffer(1, 0), 0), 0, 0);
    guest.offer(1, 1);
    lab.port.rx_burst(&mut lab.burst).unwrap();
    for meta in lab.burst.metas() {
        assert_eq!(meta.verdict, packet::Verdict::Drop(DropReason::FrameTooShort));
    }
    assert_eq!((lab.burst.len(), guest.used_index(1)), (2, 2));
}

#[test]
fn a_long_frame_is_spread_over_buffers() {
    let (mut lab, mut guest) = Lab::usual();
    guest.fill(0, 40);
    let long = eth().payload(&(0..60_000_u32).map(|n| (n % 251) as u8).collect::<Vec<u8>>());
    let frames = [vec![1; 60], long.clone(), vec![2; 60]];
    assert_eq!(lab.send(&plain(&frames)).tx_frames, 3);
    for frame in &frames {
        let received = guest.receive(0).unwrap();
        assert_eq!(received[12..], *frame);
        let buffers = (12 + frame.len()).div_ceil(BUFFER as usize);
        assert_eq!(usize::from(u16::from_le_bytes([received[10], received[11]])), buffers);
    }
    // What is left is too little for it; a short one still fits.
    let counters = lab.send(&plain(&[long, vec![3; 60]]));
    assert_eq!((counters.drops.of(DropReason::TxQueueFull), counters.tx_frames), (1, 1));
    assert_eq!(guest.receive(0).unwrap()[12..], [3; 60]);
}

#[test]
fn without_mergeable_buffers_a_frame_must_fit_into_one() {
    let (mut lab, mut guest) = Lab::with_guest(BASE & !MRG_RXBUF, 2);
    guest.fill(0, 4);
    let fits = vec![1; BUFFER as usize - 12];
    let counters = lab.send(&plain(&[vec![1; BUFFER as usize - 11], fits.clone()]));
    assert_eq!((counters.drops.of(DropReason::TxBufferTooSmall), counters.tx_frames), (1, 1));
    assert_eq!(guest.receive(0).unwrap()[12..], fits);
}

#[test]
fn a_receive_buffer_may_be_in_many_pieces() {
    let (mut lab, mut guest) = Lab::with_guest(BASE & !MRG_RXBUF, 2);
    let at = Guest::buffer(0, 0);
    let table: Vec<u8> = (0..20_u16)
        .flat_map(|n| {
            let flags = if n == 19 { WRITE } else { WRITE | NEXT };
            descriptor(at + u64::from(n) * 5, 5, flags, n + 1)
        })
        .collect();
    guest.write(Guest::buffer(0, 9), &table);
    guest.describe(0, 7, (Guest::buffer(0, 9), table.len() as u32), INDIRECT, 0);
    guest.offer(0, 7);
    let frame = eth().payload(&(0..60).collect::<Vec<u8>>());
    assert_eq!(lab.send(&plain(std::slice::from_ref(&frame))).tx_frames, 1);
    assert_eq!(guest.take_used(0), Some((7, 12 + frame.len() as u32)));
    assert_eq!(guest.read(at + 12, frame.len()), frame);
}

#[test]
fn a_driver_from_before_virtio_1_has_a_shorter_header() {
    let (mut lab, mut guest) = Lab::with_guest(BASE & !(MRG_RXBUF | VERSION_1), 2);
    guest.fill(0, 1);
    let frame = frames(1).remove(0);
    guest.send(1, &[0; 10], &frame);
    lab.run();
    assert_eq!(lab.take(), std::slice::from_ref(&frame));
    assert_eq!(lab.send(&plain(std::slice::from_ref(&frame))).tx_frames, 1);
    assert_eq!(guest.take_used(0), Some((0, 10 + frame.len() as u32)));
    assert_eq!(guest.read(Guest::buffer(0, 0), 10 + frame.len()), [[0; 10].as_slice(), &frame].concat());
}

#[test]
fn frames_to_a_guest_without_buffers_are_dropped_and_counted() {
    let (mut lab, mut guest) = Lab::with_guest(BASE | EVENT_IDX, 2);
    guest.fill(0, 3);
    let counters = lab.send(&plain(&frames(5)));
    assert_eq!((counters.tx_frames, counters.drops.of(DropReason::TxQueueFull)), (3, 2));
    assert_eq!(guest.used_index(0), 3);
}

#[test]
fn a_flow_stays_with_one_of_several_rings() {
    use std::net::Ipv4Addr;
    let (mut lab, mut guest) = Lab::with_guest(BASE, 8);
    let address = |n| Ipv4Addr::new(10, 0, 0, n);
    [0, 2, 4, 6].into_iter().for_each(|ring| guest.fill(ring, 256));
    let flow = |port| eth().ipv4(address(1), address(2)).udp(port, 53).payload(&[0; 20]);
    let flows: Vec<_> = (0..60).map(flow).collect();
    for _ in 0..2 {
        assert_eq!(lab.send(&plain(&flows)).tx_frames, 60);
    }
    let mut counts = Vec::new();
    for ring in [0, 2, 4, 6] {
        let mut seen = Vec::new();
        while let Some(frame) = guest.receive(ring) {
            seen.push(frame);
        }
        let (first, second) = seen.split_at(seen.len() / 2);
        assert_eq!(first, second);
        counts.push(first.len());
    }
    assert!(counts.iter().sum::<usize>() == 60 && counts.iter().all(|&count| count > 3), "{counts:?}");
    for ring in [1, 3, 5, 7] {
        guest.send(ring, &HEADER, &flow(ring));
    }
    lab.run();
    assert_eq!(lab.take().len(), 4);
}

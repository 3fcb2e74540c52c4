//! Ports joined in memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::net::Ipv4Addr;
use std::time::Duration;

use mio::{Events, Poll, Token};
use packet::builder::eth;
use packet::wire::TcpHeader;
use packet::{
    BURST_FRAMES, Burst, DropReason, Gso, NetworkId, Offload, OffloadSet, PortCounters, TxEntry, parse,
};
use tapio::testing::{MemoryPort, memory_pair};
use tapio::{Queue, Rx};

fn burst_of(frames: impl IntoIterator<Item = Vec<u8>>) -> Burst {
    let mut burst = empty();
    for frame in frames {
        assert!(burst.push(&frame, Offload::NONE));
    }
    burst
}

fn empty() -> Burst {
    let mut burst = Burst::new();
    burst.restart(None, NetworkId::new(0));
    burst
}

/// Sends the whole burst and returns what moved.
fn send(port: &mut MemoryPort, burst: &mut Burst) -> PortCounters {
    let frames: Vec<_> = (0..burst.len()).map(TxEntry::as_is).collect();
    let mut counters = PortCounters::default();
    port.tx_burst(burst, &frames, &mut counters);
    counters
}

fn numbered(n: usize) -> Vec<u8> {
    eth().payload(&[n as u8; 50])
}

#[test]
fn bursts_of_every_edge_arrive_in_order() {
    for count in [0, 1, BURST_FRAMES - 1, BURST_FRAMES, BURST_FRAMES + 1] {
        let (mut a, mut b) = memory_pair(100);
        for frames in (0..count).collect::<Vec<_>>().chunks(BURST_FRAMES) {
            let mut sent = burst_of(frames.iter().map(|&n| numbered(n)));
            let counters = send(&mut a, &mut sent);
            let expected = PortCounters {
                tx_frames: frames.len() as u64,
                tx_bytes: 64 * frames.len() as u64,
                ..PortCounters::default()
            };
            assert_eq!(counters, expected);
        }
        let mut received = Vec::new();
        loop {
            let mut burst = empty();
            let rx = b.rx_burst(&mut burst).unwrap();
            received.extend((0..burst.len()).map(|n| burst.bytes(n).to_vec()));
            if rx == Rx::Drained {
                break;
            }
            assert_eq!(burst.len(), BURST_FRAMES);
        }
        assert_eq!(received, (0..count).map(numbered).collect::<Vec<_>>());
    }
}

#[test]
fn a_full_queue_drops_counts_and_recovers() {
    let (mut a, mut b) = memory_pair(3);
    for _ in 0..5 {
        let counters = send(&mut a, &mut burst_of((0..5).map(numbered)));
        assert_eq!(counters.tx_frames, 3);
        assert_eq!(counters.drops.nonzero().collect::<Vec<_>>(), [(DropReason::TxQueueFull, 2)]);
        let mut burst = empty();
        assert_eq!(b.rx_burst(&mut burst).unwrap(), Rx::Drained);
        assert_eq!((burst.len(), burst.bytes(2)), (3, &numbered(2)[..]));
    }
}

#[test]
fn only_the_listed_frames_are_sent() {
    let (mut a, mut b) = memory_pair(10);
    let mut counters = PortCounters::default();
    a.tx_burst(&mut burst_of((0..5).map(numbered)), &[1, 4].map(TxEntry::as_is), &mut counters);
    let mut burst = empty();
    b.rx_burst(&mut burst).unwrap();
    assert_eq!((burst.len(), burst.bytes(0), burst.bytes(1)), (2, &numbered(1)[..], &numbered(4)[..]));
}

#[test]
fn a_super_frame_passes_whole_where_it_is_taken_and_in_segments_where_not() {
    let (source, target) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let frame = eth().ipv4(source, target).tcp(1, 2, TcpHeader::ACK).payload(&[7; 4000]);
    let offload = Offload {
        csum_start: 34,
        csum_offset: 16,
        gso_size: 1448,
        gso: Gso::Tcp4,
        needs_checksum: true,
        ..Offload::NONE
    };
    for (offloads, lengths) in [
        (OffloadSet::ALL, &[4054][..]),
        (OffloadSet::NONE, &[1502, 1502, 54 + 4000 - 2 * 1448]),
        (OffloadSet { tso: false, ..OffloadSet::ALL }, &[1502, 1502, 54 + 4000 - 2 * 1448]),
    ] {
        let (a, b) = memory_pair(10);
        let (mut a, mut b) = (a.with_offloads(offloads), b);
        assert_eq!(a.offloads(), offloads);
        let mut sent = empty();
        sent.push(&frame, offload);
        parse(&mut sent);
        let counters = send(&mut a, &mut sent);
        assert_eq!((counters.tx_frames, counters.tx_bytes, counters.drops.total()), (1, 4054, 0));
        assert_eq!(sent.bytes(0), frame, "other ports may get the same frame");
        let mut received = empty();
        b.rx_burst(&mut received).unwrap();
        let received: Vec<_> =
            (0..received.len()).map(|n| (received.bytes(n).len(), received.metas()[n].offload)).collect();
        let expected = if offloads.tso { offload } else { Offload::NONE };
        assert_eq!(received, lengths.iter().map(|&len| (len, expected)).collect::<Vec<_>>());
    }
}

#[test]
fn a_super_frame_that_makes_no_sense_is_a_counted_drop() {
    let (a, b) = memory_pair(10);
    let (mut a, mut b) = (a.with_offloads(OffloadSet::NONE), b);
    let mut sent = empty();
    let offload = Offload { gso: Gso::Tcp6, gso_size: 100, needs_checksum: true, ..Offload::NONE };
    sent.push(&eth().payload(&[0; 500]), offload);
    parse(&mut sent);
    let counters = send(&mut a, &mut sent);
    assert_eq!(counters.tx_frames, 0);
    assert_eq!(counters.drops.nonzero().collect::<Vec<_>>(), [(DropReason::TxUnsegmentable, 1)]);
    let mut received = empty();
    assert_eq!((b.rx_burst(&mut received).unwrap(), received.len()), (Rx::Drained, 0));
}

#[test]
fn a_registered_port_gets_an_event_for_frames_before_and_after() {
    let (mut a, mut b) = memory_pair(10);
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(4));
    let mut ready = |poll: &mut Poll, patience| {
        poll.poll(&mut events, Some(Duration::from_millis(patience))).unwrap();
        events.iter().map(mio::event::Event::token).collect::<Vec<_>>()
    };
    send(&mut a, &mut burst_of([numbered(0)]));
    b.register(poll.registry(), Token(5)).unwrap();
    assert_eq!(ready(&mut poll, 5000), [Token(5)]);
    assert_eq!(ready(&mut poll, 0), []);
    b.rx_burst(&mut empty()).unwrap();
    send(&mut a, &mut burst_of([numbered(1)]));
    assert_eq!(ready(&mut poll, 5000), [Token(5)]);
    b.deregister(poll.registry()).unwrap();
    b.rx_burst(&mut empty()).unwrap();
    send(&mut a, &mut burst_of([numbered(2)]));
    assert_eq!(ready(&mut poll, 50), []);
}

//! Frames as datagrams.

use std::fs;
use std::os::unix::net::UnixDatagram;

use packet::{DropReason, MAX_FRAME, Verdict};
use tapio::{DgramConfig, PortSpec, Rx};

use crate::lab::{Driven, Folder, LIMIT, empty_burst, frames};

fn spec(folder: &Folder) -> PortSpec {
    PortSpec::from(DgramConfig { path: folder.path("switch"), peer: folder.path("peer") })
}

fn peer(folder: &Folder) -> UnixDatagram {
    let socket = UnixDatagram::bind(folder.path("peer")).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

fn receive(peer: &UnixDatagram) -> Vec<u8> {
    let mut frame = vec![0; MAX_FRAME];
    let len = peer.recv(&mut frame).unwrap();
    frame.truncate(len);
    frame
}

#[test]
fn frames_pass_both_ways_and_the_link_is_up_when_the_peers_socket_is_there() {
    let folder = Folder::new();
    let mut port = Driven::open(&spec(&folder));
    assert!(!port.port.link_up());
    assert_eq!(port.send(&frames(1)).drops.of(DropReason::TxLinkDown), 1);
    let peer = peer(&folder);
    assert!(port.port.link_up());
    for frame in &frames(5) {
        peer.send_to(frame, folder.path("switch")).unwrap();
    }
    assert_eq!(port.receive_frames(5), frames(5));
    assert_eq!(port.send(&frames(5)).tx_frames, 5);
    frames(5).iter().for_each(|frame| assert_eq!(&receive(&peer), frame));
    drop(port);
    assert!(!folder.path("switch").exists());
}

#[test]
fn a_peer_in_the_place_of_one_that_went_gets_the_next_frame() {
    let folder = Folder::new();
    let mut port = Driven::open(&spec(&folder));
    drop(peer(&folder));
    fs::remove_file(folder.path("peer")).unwrap();
    let first = peer(&folder);
    assert!(port.port.link_up());
    drop(first);
    fs::remove_file(folder.path("peer")).unwrap();
    let second = peer(&folder);
    port.send(&frames(1));
    assert_eq!(receive(&second), frames(1)[0]);
    drop(second);
    port.send(&frames(1));
    assert_eq!(port.send(&frames(1)).drops.of(DropReason::TxLinkDown), 1);
    assert!(!port.port.link_up());
}

#[test]
fn what_a_slow_peer_does_not_take_waits_for_it() {
    let folder = Folder::new();
    let mut port = Driven::open(&spec(&folder));
    let peer = peer(&folder);
    assert!(port.port.link_up());
    // More than the queue of a socket holds where nobody has changed net.unix.max_dgram_qlen.
    let sent = frames(64);
    assert_eq!(port.send(&sent).tx_frames, 64);
    let mut received = Vec::new();
    while received.len() < 64 {
        received.push(receive(&peer));
        if port.has_event() {
            port.receive();
        }
    }
    assert_eq!(received, sent);
}

#[test]
fn a_datagram_that_is_no_frame_is_dropped_and_counted() {
    let folder = Folder::new();
    let mut port = Driven::open(&spec(&folder));
    let peer = peer(&folder);
    for len in [0, MAX_FRAME, MAX_FRAME + 1] {
        peer.send_to(&vec![1; len], folder.path("switch")).unwrap();
    }
    let mut burst = empty_burst();
    assert_eq!(port.port.rx_burst(&mut burst).unwrap(), Rx::Drained);
    let lengths: Vec<usize> = (0..3).map(|n| burst.bytes(n).len()).collect();
    assert_eq!(lengths, [0, MAX_FRAME, MAX_FRAME]);
    assert_eq!(burst.metas()[1].verdict, Verdict::Undecided);
    assert_eq!(burst.metas()[2].verdict, Verdict::Drop(DropReason::FrameTooLong));
}

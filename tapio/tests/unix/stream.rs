//! Frames over connected sockets.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use packet::{DropReason, MAX_FRAME, PortCounters};
use tapio::testing::Port;
use tapio::{LinkLoss, PortSpec, Role, Rx, StreamConfig};

use crate::lab::{Driven, Folder, LIMIT, empty_burst, frames, wait_until};

fn server(path: PathBuf) -> PortSpec {
    PortSpec::from(StreamConfig { path, role: Role::Server })
}

fn client(path: PathBuf) -> PortSpec {
    PortSpec::from(StreamConfig { path, role: Role::Client })
}

/// The other side.
struct Peer(UnixStream);

impl Peer {
    fn connect(path: PathBuf) -> Self {
        Self::new(UnixStream::connect(path).unwrap())
    }

    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(stream)
    }

    fn send(&mut self, frames: &[Vec<u8>]) {
        let prefixed = |frame: &Vec<u8>| [&(frame.len() as u32).to_be_bytes(), frame.as_slice()].concat();
        self.0.write_all(&frames.iter().flat_map(prefixed).collect::<Vec<u8>>()).unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).unwrap();
        frame
    }

    fn is_refused(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

#[test]
fn frames_pass_both_ways_and_the_link_is_up_while_a_peer_is_there() {
    let folder = Folder::new();
    let mut port = Driven::open(&server(folder.path("s")));
    assert!(!port.port.link_up());
    let mut peer = Peer::connect(folder.path("s"));
    assert_eq!(port.on_event(), (vec![], Rx::Drained));
    assert!(port.port.link_up());
    let sent = frames(64);
    peer.send(&sent);
    assert_eq!(port.receive_frames(64), sent);
    let counters = port.send(&sent);
    let expected = PortCounters {
        tx_frames: 64,
        tx_bytes: sent.iter().map(|frame| frame.len() as u64).sum(),
        ..PortCounters::default()
    };
    assert_eq!(counters, expected);
    sent.iter().for_each(|frame| assert_eq!(&peer.receive(), frame));
    drop(peer);
    assert_eq!(port.on_event(), (vec![], Rx::LinkDown(LinkLoss::Closed)));
    assert!(!port.port.link_up());
    assert_eq!(port.send(&frames(1)).drops.of(DropReason::TxLinkDown), 1);
}

#[test]
fn the_first_peer_keeps_the_place_and_after_it_the_next_may_have_it() {
    let folder = Folder::new();
    let mut port = Driven::open(&server(folder.path("s")));
    let first = Peer::connect(folder.path("s"));
    port.on_event();
    let mut second = Peer::connect(folder.path("s"));
    port.on_event();
    assert!(second.is_refused());
    assert!(port.port.link_up());
    drop(first);
    port.on_event();
    let mut third = Peer::connect(folder.path("s"));
    assert!(port.port.link_up());
    third.send(&frames(1));
    assert_eq!(port.receive_frames(1), frames(1));
}

#[test]
fn a_peer_that_goes_while_it_is_sent_to_is_missed_all_the_same() {
    let folder = Folder::new();
    let mut port = Driven::open(&server(folder.path("s")));
    let peer = Peer::connect(folder.path("s"));
    assert_eq!(port.on_event(), (vec![], Rx::Drained));
    drop(peer);
    port.send(&frames(2));
    assert!(matches!(port.on_event(), (_, Rx::LinkDown(_))));
    assert!(!port.port.link_up());
}

#[test]
fn a_client_connects_when_it_is_asked_for_its_link_again_and_again() {
    let folder = Folder::new();
    let mut port = Driven::open(&client(folder.path("s")));
    assert!(!port.port.link_up());
    for _ in 0..2 {
        let listener = UnixListener::bind(folder.path("s")).unwrap();
        assert!(port.port.link_up());
        let mut peer = Peer::new(listener.accept().unwrap().0);
        peer.send(&frames(3));
        assert_eq!(port.receive_frames(3), frames(3));
        port.send(&frames(1));
        assert_eq!(peer.receive(), frames(1)[0]);
        drop((listener, peer));
        fs::remove_file(folder.path("s")).unwrap();
        assert_eq!(port.on_event().1, Rx::LinkDown(LinkLoss::Closed));
        assert!(!port.port.link_up());
    }
}

#[test]
fn a_peer_that_announces_an_impossible_frame_is_cut_off_and_the_frame_is_counted() {
    for (length, reason) in [(0, DropReason::FrameTooShort), (u32::MAX, DropReason::FrameTooLong)] {
        let folder = Folder::new();
        let mut port = Driven::open(&server(folder.path("s")));
        let mut peer = Peer::connect(folder.path("s"));
        peer.send(&frames(1));
        peer.0.write_all(&length.to_be_bytes()).unwrap();
        let mut burst = empty_burst();
        let rx = port.port.rx_burst(&mut burst).unwrap();
        assert_eq!(rx, Rx::LinkDown(LinkLoss::BadLength(length)));
        assert_eq!(burst.bytes(0), frames(1)[0]);
        assert_eq!(burst.metas()[1].verdict, packet::Verdict::Drop(reason));
        assert!(peer.is_refused());
        assert!(!port.port.link_up());
    }
}

#[test]
fn a_peer_that_writes_byte_by_byte_is_understood() {
    let folder = Folder::new();
    let mut port = Driven::open(&server(folder.path("s")));
    let peer = Peer::connect(folder.path("s"));
    let bytes = [&[0, 0, 0, 20][..], &[7; 20]].concat();
    let mut received = Vec::new();
    for byte in bytes {
        (&peer.0).write_all(&[byte]).unwrap();
        received.extend(port.on_event().0);
    }
    assert_eq!(received, [[7; 20]]);
}

#[test]
fn what_a_slow_peer_does_not_take_waits_and_when_too_much_waits_frames_are_dropped_whole() {
    let folder = Folder::new();
    let mut port = Driven::open(&server(folder.path("s")));
    let mut peer = Peer::connect(folder.path("s"));
    port.on_event();
    let long: Vec<Vec<u8>> = (0..4).map(|n| packet::builder::eth().payload(&vec![n; 60_000])).collect();
    let mut total = PortCounters::default();
    let mut bursts = 0;
    while total.drops.of(DropReason::TxQueueFull) == 0 {
        let counters = port.send(&long);
        total.tx_frames += counters.tx_frames;
        for _ in 0..counters.drops.of(DropReason::TxQueueFull) {
            total.drops.count(DropReason::TxQueueFull);
        }
        assert_eq!(counters.tx_frames + counters.drops.total(), 4);
        bursts += 1;
        assert!(bursts < 100);
    }
    let expected = total.tx_frames;
    let reader = thread::spawn(move || {
        (0..expected).for_each(|n| assert!(long.contains(&peer.receive()), "frame {n} is damaged"));
        peer
    });
    // Only events make the rest go.
    while !reader.is_finished() {
        if port.has_event() {
            port.receive();
        }
    }
    let mut peer = reader.join().unwrap();
    while port.has_event() {
        port.receive();
    }
    port.send(&frames(1));
    assert_eq!(peer.receive(), frames(1)[0]);
    assert!(!port.has_event(), "a peer that takes everything causes no events");
}

#[test]
fn super_frames_are_segmented_for_the_peer() {
    use packet::wire::TcpHeader;
    use packet::{Gso, Offload};
    let folder = Folder::new();
    let mut port = Driven::open(&server(folder.path("s")));
    let mut peer = Peer::connect(folder.path("s"));
    port.on_event();
    let (a, b) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let frame = packet::builder::eth().ipv4(a, b).tcp(1, 2, TcpHeader::ACK).payload(&[7; 4000]);
    let offload = Offload {
        csum_start: 34,
        csum_offset: 16,
        gso: Gso::Tcp4,
        gso_size: 1448,
        needs_checksum: true,
        ..Offload::NONE
    };
    let mut burst = empty_burst();
    assert!(burst.push(&frame, offload));
    assert_eq!(port.send_burst(burst).tx_frames, 1);
    let lengths = [(); 3].map(|()| peer.receive().len());
    assert_eq!(lengths, [54 + 1448, 54 + 1448, 54 + 4000 - 2 * 1448]);
}

#[test]
fn the_longest_frame_passes() {
    let folder = Folder::new();
    let mut port = Driven::open(&server(folder.path("s")));
    let mut peer = Peer::connect(folder.path("s"));
    peer.send(&[vec![3; MAX_FRAME]]);
    assert_eq!(port.receive_frames(1), [vec![3; MAX_FRAME]]);
}

#[test]
fn the_socket_is_for_owner_and_group_and_goes_with_the_port() {
    let folder = Folder::new();
    let path = folder.path("made/for/it/s");
    let port = Port::open(&server(path.clone())).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    drop(port);
    assert!(!path.exists());
}

#[test]
fn a_dead_socket_is_replaced_and_everything_else_left_alone() {
    let folder = Folder::new();
    let error = |name: &str| Port::open(&server(folder.path(name))).unwrap_err().to_string();
    drop(UnixListener::bind(folder.path("dead")).unwrap());
    drop(Port::open(&server(folder.path("dead"))).unwrap());
    let _alive = UnixListener::bind(folder.path("alive")).unwrap();
    assert!(error("alive").contains("another process has a socket there"), "{}", error("alive"));
    fs::write(folder.path("file"), "text").unwrap();
    assert!(error("file").contains("something else than a socket is there"), "{}", error("file"));
    assert_eq!(fs::read(folder.path("file")).unwrap(), b"text");
    let long = "x".repeat(100);
    assert!(error(&long).contains("107 bytes at most"), "{}", error(&long));
}

#[test]
fn a_socket_that_somebody_else_has_put_in_its_place_is_left_there() {
    let folder = Folder::new();
    let port = Port::open(&server(folder.path("s"))).unwrap();
    fs::remove_file(folder.path("s")).unwrap();
    let _theirs = UnixListener::bind(folder.path("s")).unwrap();
    drop(port);
    assert!(folder.path("s").exists());
}

#[test]
fn peers_that_come_and_go_quickly_leave_a_port_that_works() {
    let folder = Folder::new();
    let mut port = Driven::open(&server(folder.path("s")));
    for n in 0..100 {
        let mut peer = Peer::connect(folder.path("s"));
        if n % 2 == 0 {
            peer.0.write_all(&[0, 0, 5][..n % 3]).unwrap();
        }
        drop(peer);
        port.receive();
    }
    wait_until(|| !matches!(port.receive().1, Rx::LinkDown(_)));
    let mut peer = Peer::connect(folder.path("s"));
    peer.send(&frames(2));
    wait_until(|| port.port.link_up());
    assert_eq!(port.receive_frames(2), frames(2));
}

#[test]
fn a_socket_outlives_its_queue_and_when_disarmed_its_device() {
    let folder = Folder::new();
    let mut server = Driven::open(&server(folder.path("s")));
    let mut first = Peer::connect(folder.path("s"));
    assert!(server.port.link_up());
    server.port.renew_queue();
    assert!(first.is_refused(), "a connection is its queue's");
    let _second = Peer::connect(folder.path("s"));
    assert!(server.port.link_up());
    server.port.device.disarm();
    drop(server);
    assert!(folder.path("s").exists());
}

//! Fragments of a datagram that overtake each other on their way: the host at the end puts them together.

use std::net::{Ipv4Addr, UdpSocket};

use packet::MacAddr;
use packet::builder::{eth, fragments};
use tapio::testing::PacketSocket;

use crate::host::{DEVICE, Host};
use crate::nat::Lab;
use crate::traffic::udp;

/// A socket's address and port.
type End = (Ipv4Addr, u16);

/// A datagram's fragments leave `host` for `gateway`, the last one first; `socket` must receive what was sent.
fn send_reversed(host: &Host, gateway: MacAddr, (from, to): (End, End), socket: &UdpSocket, size: usize) {
    let sender = host.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    let frame = eth().src(host.mac().parse().expect("a MAC address")).dst(gateway);
    for (id, len) in [(1, 1473), (2, 9000), (3, 60_000)] {
        let payload: Vec<u8> = (0..len).map(|n| (n * 7 + n / 256) as u8).collect();
        let whole = frame.clone().ipv4(from.0, to.0).udp(from.1, to.1).payload(&payload);
        for fragment in fragments(&whole, id, size).iter().rev() {
            sender.send(fragment).expect("the queue has room");
        }
        let mut buffer = vec![0; 1 << 16];
        let received = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{len} bytes: {error}"));
        assert!(buffer[..received] == payload, "{received} other bytes came than the {len} sent");
    }
}

#[test]
fn datagrams_whose_fragments_come_in_reverse_order_arrive_unharmed_both_ways_through_masquerade() {
    let lab = Lab::with("nat", "");
    lab.a.ping("10.180.13.1");
    let (inside, outside) = (udp(&lab.a, "192.168.122.10:5000"), udp(&lab.outside, "10.180.13.1:53"));
    let guest = (Ipv4Addr::new(192, 168, 122, 10), 5000);
    let remote = (Ipv4Addr::new(10, 180, 13, 1), 53);
    let public = (Ipv4Addr::new(10, 180, 13, 2), 5000);
    send_reversed(&lab.a, lab.a.neighbour_mac("192.168.122.1"), (guest, remote), &outside, 1480);
    send_reversed(&lab.outside, lab.outside.neighbour_mac("10.180.13.2"), (remote, public), &inside, 1480);
    lab.switch.terminate();
}

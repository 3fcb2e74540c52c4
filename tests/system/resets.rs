//! Resets of real connections through the NAT, and such as somebody forges.

use std::io;
use std::net::Ipv4Addr;
use std::num::NonZero;
use std::time::Duration;

use packet::builder::eth;
use packet::wire::{FromBytes, TcpHeader};
use packet::{Ipv4Packet, MacAddr};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType};
use tapio::testing::PacketSocket;

use crate::host::{DEVICE, Host};
use crate::nat::Lab;
use crate::switch::wait_until;
use crate::traffic::{Connection, TcpServer};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 180, 13, 1);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(10, 180, 13, 2);
/// RFC 5382 REQ-5 and RFC 7857, 2.2.
const CLOSING_MS: u64 = 241_000;

/// A segment with data that `connection`'s client sends now, as the outside host hears it, and the MAC address that it
/// is sent to. It acknowledges all that the server has sent.
fn heard(lab: &Lab, connection: &Connection) -> (TcpHeader, MacAddr) {
    let all = Protocol::from_raw(NonZero::new(3_u32.to_be() >> 16).expect("ETH_P_ALL"));
    let open = || rustix::net::socket(AddressFamily::PACKET, SocketType::RAW, Some(all));
    let socket = lab.outside.enter(open).expect("tests are root in their namespaces");
    connection.client_speaks();
    let mut buffer = [0; 70_000];
    loop {
        let received = rustix::net::recv(&socket, &mut buffer, RecvFlags::DONTWAIT);
        let (_, len) = received.expect("what the client said was heard");
        let frame = &buffer[..len.min(buffer.len())];
        let Ok(ip) = Ipv4Packet::parse(frame.get(14..).unwrap_or_default()) else { continue };
        let Ok((tcp, _)) = TcpHeader::read_from_prefix(&frame[14 + usize::from(ip.header_len)..]) else {
            continue;
        };
        let has_data = usize::from(ip.total_len) > usize::from(ip.header_len) + tcp.header_len();
        if ip.src == PUBLIC && ip.src_port == connection.peer().port() && has_data {
            return (tcp, frame[..6].try_into().map(MacAddr::new).expect("six bytes"));
        }
    }
}

/// State and remaining life of the only flow to this port.
fn flow(lab: &Lab, port: u16) -> (String, u64) {
    let flows = lab.switch.show("flows");
    let end = format!(":{port}");
    let is_it = |flow: &&serde_json::Value| {
        flow["original"]["destination"].as_str().is_some_and(|destination| destination.ends_with(&end))
    };
    let flow = flows.as_array().and_then(|flows| flows.iter().find(is_it));
    let flow = flow.unwrap_or_else(|| panic!("no flow to port {port} in {flows}"));
    let state = flow["state"].as_str().expect("a text").to_owned();
    (state, flow["expires_in_ms"].as_u64().expect("a number"))
}

fn challenges(host: &Host) -> u64 {
    let printed = host.run("cat /proc/net/netstat");
    let mut lines = printed.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = pairs.find(|(name, _)| *name == "TCPChallengeACK").expect("the kernel counts them");
    value.parse().expect("a number")
}

#[test]
fn a_forged_reset_in_the_window_is_challenged_and_the_connection_goes_on() {
    let lab = Lab::new();
    let server = TcpServer::listen(&lab.outside, "10.180.13.1:80");
    let connection = server.connect(&lab.a, "10.180.13.1:80");
    let (segment, own) = heard(&lab, &connection);
    let socket = lab.outside.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    let gateway = lab.outside.neighbour_mac("10.180.13.2");
    let (expected, port) = (segment.ack.get(), connection.peer().port());
    let before = challenges(&lab.a);
    for off in [1, 2, 1000, 20_000] {
        for flags in [TcpHeader::RST, TcpHeader::RST | TcpHeader::ACK] {
            let ip = eth().src(own).dst(gateway).ipv4(SERVER, PUBLIC);
            let reset = ip.tcp(80, port, flags).numbers(expected.wrapping_add(off), segment.seq.get());
            socket.send(&reset.payload(b"")).expect("the queue is empty");
        }
    }
    // The guest's kernel got it, and says so once in half a second only.
    wait_until("the guest challenges that", || challenges(&lab.a) > before);
    let (state, expires) = flow(&lab, 80);
    assert!(state == "established" && expires > CLOSING_MS, "{state}, {expires} ms");
    connection.client_speaks();
    connection.server_speaks();
    // A true one is heard, if with what is expected.
    let ip = eth().src(own).dst(gateway).ipv4(SERVER, PUBLIC);
    let (segment, _) = heard(&lab, &connection);
    let reset = ip.tcp(80, port, TcpHeader::RST).numbers(segment.ack.get(), 0);
    socket.send(&reset.payload(b"")).expect("the queue is empty");
    wait_until("the flow is reset", || flow(&lab, 80).0 == "reset");
    lab.switch.terminate();
}

type End = fn(Connection) -> io::Result<()>;

#[test]
fn real_resets_shorten_a_flows_life_whatever_is_under_way() {
    let lab = Lab::new();
    let ends: [(u16, End); 5] = [
        (81, Connection::client_aborts),
        (82, Connection::server_aborts),
        (83, |connection| {
            connection.client_speaks();
            connection.server_speaks();
            connection.client_aborts()
        }),
        (84, |connection| {
            connection.chat(Duration::from_millis(300))?;
            connection.server_aborts()
        }),
        (85, Connection::client_closes_on_unread_data),
    ];
    for (port, end) in ends {
        let address = format!("10.180.13.1:{port}");
        let server = TcpServer::listen(&lab.outside, &address);
        end(server.connect(&lab.a, &address)).expect("the connection lives");
        wait_until(&format!("the flow to port {port} is reset"), || flow(&lab, port).0 == "reset");
        assert!(flow(&lab, port).1 <= CLOSING_MS);
    }
    assert!(crate::traffic::try_connect(&lab.a, "10.180.13.1:99").is_err());
    assert_eq!(flow(&lab, 99).0, "reset");
    lab.switch.terminate();
}

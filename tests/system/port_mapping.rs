//! Guests that open ports of the uplink for themselves: NAT-PMP by Debian's client, PCP by messages of our own.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use packet::MacAddr;
use packet::builder::eth;
use tapio::testing::PacketSocket;

use crate::host::DEVICE;
use crate::nat::Lab;
use crate::switch::wait_until;
use crate::traffic::{TcpServer, udp, udp_exchange};

/// The answer of the switch to a PCP message of guest `a`.
fn ask(socket: &UdpSocket, message: &[u8]) -> Vec<u8> {
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time above zero");
    socket.send_to(message, "192.168.122.1:5351").expect("there is a route");
    let mut answer = [0; 1100];
    let (len, from) = socket.recv_from(&mut answer).expect("the switch answers");
    assert_eq!(from.to_string(), "192.168.122.1:5351");
    answer[..len].to_vec()
}

/// MAP, RFC 6887, 11.1: the UDP port of `client`, for so many seconds.
fn map_request(client: &str, port: u16, lifetime: u32) -> Vec<u8> {
    let client: Ipv4Addr = client.parse().expect("an address");
    let any = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets();
    [
        &[2, 1, 0, 0][..],
        &lifetime.to_be_bytes(),
        &client.to_ipv6_mapped().octets(),
        b"twelve bytes",
        &[17, 0, 0, 0],
        &port.to_be_bytes(),
        &[0, 0],
        &any,
    ]
    .concat()
}

#[test]
fn rfc6886_natpmpc_opens_a_port_of_the_uplink_and_closes_it() {
    let lab = Lab::with("nat", "pcp = true");
    let said = lab.a.run("natpmpc -g 192.168.122.1 -a 9090 8080 tcp 600");
    assert!(said.contains("Public IP address : 10.180.13.2"), "{said}");
    assert!(said.contains("Mapped public port 9090 protocol TCP to local port 8080"), "{said}");
    let server = TcpServer::listen(&lab.a, "192.168.122.10:8080");
    server.exchange(&lab.outside, "10.180.13.2:9090", 100_000);
    let mappings = lab.switch.show("mappings");
    assert_eq!(mappings[0]["inside"], "192.168.122.10:8080", "{mappings}");
    assert_eq!(mappings[0]["outside"], "10.180.13.2:9090", "{mappings}");
    // The client's way to say "none any more".
    lab.a.run("natpmpc -g 192.168.122.1 -a 9090 8080 tcp 0");
    wait_until("the mapping is gone", || lab.switch.show("mappings").as_array().is_some_and(Vec::is_empty));
    lab.switch.terminate();
}

#[test]
fn rfc6887_a_guest_maps_renews_and_ends_its_port_by_pcp() {
    let lab = Lab::with("nat", "pcp = true");
    let guest = udp(&lab.a, "192.168.122.10:5000");
    let outside = udp(&lab.outside, "10.180.13.1:7000");
    let answer = ask(&guest, &map_request("192.168.122.10", 5000, 3600));
    assert_eq!((answer.len(), &answer[..8]), (60, &[2, 0x81, 0, 0, 0, 0, 0x0e, 0x10][..]));
    assert_eq!(&answer[24..36], b"twelve bytes");
    assert_eq!((&answer[42..44], &answer[56..]), (&5000_u16.to_be_bytes()[..], &[10, 180, 13, 2][..]));
    // Nobody asked this stranger in but by that message.
    udp_exchange(&outside, &guest, "10.180.13.2:5000", 200);
    // Whose address another host claims to have, and who has another nonce, is refused.
    let liar = ask(&guest, &map_request("192.168.122.11", 5000, 3600));
    assert_eq!((liar[1], liar[3]), (0x81, 12));
    let mut other = map_request("192.168.122.10", 5000, 0);
    other[24] ^= 1;
    assert_eq!(ask(&guest, &other)[3], 2);
    let ended = ask(&guest, &map_request("192.168.122.10", 5000, 0));
    assert_eq!(&ended[..8], [2, 0x81, 0, 0, 0, 0, 0, 0]);
    lab.switch.terminate();
}

#[test]
fn without_the_setting_nobody_opens_ports() {
    let lab = Lab::with("nat", "");
    let refused = lab.a.try_run("natpmpc -g 192.168.122.1 -a 9090 8080 tcp 600");
    assert!(refused.is_err(), "{refused:?}");
    lab.switch.terminate();
}

#[test]
fn a_guest_that_claims_many_addresses_leaves_others_ports_to_map() {
    let rule = "-A POSTROUTING -s 192.168.122.0/24 -o eth0 -p udp -j MASQUERADE --to-ports 20000-20999";
    let lab = Lab::with("nat", &format!("pcp = true\nrules = ['{rule}']"));
    lab.a.ping("192.168.122.1");
    let gateway = lab.a.neighbour_mac("192.168.122.1");
    let socket = lab.a.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    // Thirteen addresses of a hundred mappings each want more than there are; the last ones are b's.
    for n in 0..1300_u16 {
        let claimed = Ipv4Addr::new(192, 168, 122, [100 + n / 100, 11][usize::from(n >= 1200)] as u8);
        let request = map_request(&claimed.to_string(), 1024 + n % 100, 3600);
        let frame = eth().src(MacAddr::local(u64::from(n))).dst(gateway);
        let frame = frame.ipv4(claimed, Ipv4Addr::new(192, 168, 122, 1)).udp(5000, 5351).payload(&request);
        while socket.send(&frame).is_err() {
            std::thread::yield_now();
        }
    }
    let mapped = || lab.switch.show("mappings").as_array().map_or(0, Vec::len);
    wait_until("they are mapped, as far as its share goes", || mapped() >= 750);
    let guest = udp(&lab.b, "192.168.122.11:5000");
    for port in 5000..5100 {
        let answer = ask(&guest, &map_request("192.168.122.11", port, 3600));
        assert_eq!(answer[3], 0, "port {port}");
    }
    // The guest itself is told that its quota is used: RFC 6887, 7.4.
    let greedy = udp(&lab.a, "192.168.122.10:5000");
    assert_eq!(ask(&greedy, &map_request("192.168.122.10", 5000, 3600))[3], 10);
    lab.switch.terminate();
}

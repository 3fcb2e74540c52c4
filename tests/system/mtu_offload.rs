//! Every combination of frame size and offload: what arrives is what was sent.

use std::io;

use crate::host::{DEVICE, Host};
use crate::switch::Switch;
use crate::traffic::{TcpServer, udp, udp_exchange};

/// The largest IP packet of the three sizes that networks here use.
const MTUS: [u16; 3] = [1500, 9000, 65_520];

/// Bytes per transfer and direction.
const TRANSFER: u64 = 8 << 20;

fn port(table: &str, host: &Host, (mtu, offload): (u16, bool)) -> String {
    format!(
        "[{table}]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{host}\"\nmtu = {mtu}\noffload = {offload}\n"
    )
}

/// Checks transfers and pings between two hosts.
fn check(a: &Host, b: &Host, address: &str, mtu: u16) {
    TcpServer::listen(b, &format!("{address}:80")).exchange(a, &format!("{address}:80"), TRANSFER);
    let (from, to) = (udp(a, "0.0.0.0:5000"), udp(b, &format!("{address}:5001")));
    for len in [1, 1472, 1473, 8972, 8973, 65_492] {
        udp_exchange(&from, &to, &format!("{address}:5001"), len);
    }
    a.run(&format!("ping -n -c 1 -W 3 -M do -s {} {address}", mtu - 28));
}

#[test]
fn transfers_on_one_bridge_arrive_unharmed_at_every_mtu_with_offload_on_and_off() {
    for mtu in MTUS {
        for (left, right) in [(true, true), (true, false), (false, true), (false, false)] {
            let (a, b) = (Host::new(), Host::new());
            let _switch = Switch::start(&format!(
                "[network.lan]\nmode = \"internal\"\n{}{}",
                port("network.lan.port.a", &a, (mtu, left)),
                port("network.lan.port.b", &b, (mtu, right))
            ));
            eprintln!("mtu {mtu}, offload {left} and {right}");
            a.address("10.1.0.1/24");
            b.address("10.1.0.2/24");
            check(&a, &b, "10.1.0.2", mtu);
        }
    }
}

#[test]
fn transfers_through_masquerade_arrive_unharmed_at_every_mtu_with_offload_on_and_off() {
    for mtu in MTUS {
        for (inside, outside) in [(true, true), (true, false), (false, true), (false, false)] {
            eprintln!("mtu {mtu}, offload {inside} inside and {outside} outside");
            let (a, o, _switch) = masquerade((mtu, inside), (mtu, outside));
            check(&a, &o, "10.180.13.1", mtu);
        }
    }
}

#[test]
fn a_packet_too_large_for_the_uplink_is_reported_with_its_mtu_and_tcp_adapts() {
    let (a, o, _switch) = masquerade((9000, true), (1500, true));
    let printed = a.try_run("ping -n -c 1 -W 2 -M do -s 4000 10.180.13.1").expect_err("it can't pass");
    assert!(printed.contains("From 192.168.122.1") && printed.contains("mtu = 1500"), "{printed}");
    TcpServer::listen(&o, "10.180.13.1:80").exchange(&a, "10.180.13.1:80", TRANSFER);
    let socket = udp(&a, "0.0.0.0:5000");
    socket.connect("10.180.13.1:5001").expect("UDP connects to anything");
    // The kernel remembers the smaller MTU from the ping, and fragments.
    let server = udp(&o, "10.180.13.1:5001");
    socket.send(&[7; 4000]).expect("fragments leave");
    assert_eq!(server.recv(&mut [0; 8000]).expect("fragments arrive"), 4000);
}

#[test]
fn a_packet_without_df_that_is_too_large_for_the_uplink_is_fragmented() {
    let (a, o, _switch) = masquerade((9000, true), (1500, true));
    // `-M dont` clears DF, so whoever forwards must cut it.
    a.run("ping -n -c 1 -W 3 -M dont -s 4000 10.180.13.1");
    let _ = o;
}

#[test]
fn tcp_finds_the_mtu_by_itself_when_the_first_packets_are_too_large() {
    let (a, o, _switch) = masquerade((65_520, true), (1500, false));
    let server = TcpServer::listen(&o, "10.180.13.1:80");
    server.exchange(&a, "10.180.13.1:80", TRANSFER);
    let error = udp(&a, "0.0.0.0:5000").recv(&mut [0; 1]).expect_err("nobody sent");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

/// A guest inside, a host outside, and masquerade between them; each side with its MTU and offload.
fn masquerade(inside: (u16, bool), outside: (u16, bool)) -> (Host, Host, Switch) {
    let (a, o) = (Host::new(), Host::new());
    let switch = Switch::start(&format!(
        "[network.default]\nmode = \"nat\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\nmtu = {}\n{}{}\
         address = \"10.180.13.2/24\"\ngateway = \"10.180.13.1\"\n",
        inside.0,
        port("network.default.port.a", &a, inside),
        port("uplink.wan", &o, outside),
    ));
    a.address("192.168.122.10/24");
    a.gateway("192.168.122.1");
    o.address("10.180.13.1/24");
    (a, o, switch)
}

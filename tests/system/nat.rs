//! Masquerade and published ports between guests and a host outside, which has no route to the guests.

use std::io;
use std::net::SocketAddr;

use crate::host::Host;
use crate::switch::{Switch, tap, wait_until};
use crate::traffic::{TcpServer, at, try_connect, udp, udp_exchange, udp_lite};

/// Two guests behind an uplink, and a host outside.
///
/// ```text
/// a 192.168.122.10 ┐
///                  ├ 192.168.122.1 [switch] 10.180.13.2 ── 10.180.13.1 outside, also 203.0.113.1
/// b 192.168.122.11 ┘
/// ```
pub struct Lab {
    pub a: Host,
    pub b: Host,
    pub outside: Host,
    pub switch: Switch,
}

impl Lab {
    pub fn new() -> Self {
        Self::with("nat", "")
    }

    /// With further keys of the network.
    pub fn with(mode: &str, keys: &str) -> Self {
        Self::start(mode, keys, "")
    }

    /// With a further section.
    pub fn with_engine(section: &str) -> Self {
        Self::start("nat", "", section)
    }

    fn start(mode: &str, keys: &str, section: &str) -> Self {
        let (a, b, outside) = (Host::new(), Host::new(), Host::new());
        let switch = Switch::start(&format!(
            "[network.default]\nmode = \"{mode}\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\n{keys}\n{}{}\
             [uplink.wan]\ntype = \"tap\"\ndevice = \"eth0\"\nnetns = \"{outside}\"\n\
             address = \"10.180.13.2/24\"\ngateway = \"10.180.13.1\"\n{section}",
            tap("default", "a", &a),
            tap("default", "b", &b),
        ));
        for (guest, address) in [(&a, "192.168.122.10/24"), (&b, "192.168.122.11/24")] {
            guest.address(address);
            guest.gateway("192.168.122.1");
        }
        outside.address("10.180.13.1/24");
        outside.run("ip address add 203.0.113.1/32 dev lo");
        Self { a, b, outside, switch }
    }
}

#[test]
fn s5_masquerade_shows_the_outside_only_the_uplinks_address() {
    let lab = Lab::new();
    lab.a.ping("10.180.13.1");
    lab.a.ping("203.0.113.1");
    let server = TcpServer::listen(&lab.outside, "203.0.113.1:80");
    for guest in [&lab.a, &lab.b] {
        let peer = server.exchange(guest, "203.0.113.1:80", 1 << 20);
        assert_eq!(peer.ip().to_string(), "10.180.13.2");
    }
    let to = udp(&lab.outside, "203.0.113.1:53");
    let from = udp(&lab.a, "192.168.122.10:5000");
    let peer = udp_exchange(&from, &to, "203.0.113.1:53", 100);
    assert_eq!(peer, SocketAddr::V4(at("10.180.13.2:5000")), "a free source port is kept");
    lab.switch.terminate();
}

#[test]
fn s5_an_echo_keeps_its_identifier_where_it_is_free() {
    let lab = Lab::new();
    lab.a.run("ping -n -e 77 -c 1 -W 3 10.180.13.1");
    let flows = lab.switch.show("flows");
    let flow = flows.as_array().and_then(|flows| flows.iter().find(|flow| flow["protocol"] == "icmp"));
    let flow = flow.unwrap_or_else(|| panic!("no flow of the ping in {flows}"));
    assert_eq!(flow["original"]["source"], "192.168.122.10:77");
    assert_eq!(flow["reply"]["destination"], "10.180.13.2:77");
    assert_eq!([&flow["original"]["packets"], &flow["reply"]["packets"]], [1, 1]);
}

#[test]
fn s5_pings_of_two_guests_with_one_identifier_keep_apart() {
    let lab = Lab::new();
    // `-e` sets the identifier of the echoes.
    let ping = "ping -n -q -e 77 -c 20 -i 0.05 10.180.13.1";
    std::thread::scope(|scope| {
        let tasks = [&lab.a, &lab.b].map(|guest| scope.spawn(move || guest.run(ping)));
        for task in tasks {
            let printed = task.join().expect("pings are answered");
            assert!(
                printed.contains("20 received, 0% packet loss") && !printed.contains("duplicates"),
                "{printed}"
            );
        }
    });
}

#[test]
fn two_guests_with_the_same_source_port_are_told_apart() {
    let lab = Lab::new();
    let to = udp(&lab.outside, "10.180.13.1:53");
    let peers = [(&lab.a, "192.168.122.10:5000"), (&lab.b, "192.168.122.11:5000")].map(|(guest, address)| {
        let from = udp(guest, address);
        udp_exchange(&from, &to, "10.180.13.1:53", 64)
    });
    assert_ne!(peers[0], peers[1]);
}

#[test]
fn udp_lite_passes_like_udp() {
    let lab = Lab::new();
    let ends = (udp_lite(&lab.a, "192.168.122.10:5000"), udp_lite(&lab.outside, "10.180.13.1:53"));
    let (Some(from), Some(to)) = ends else {
        println!("passed over: the kernel has no UDP-Lite");
        return;
    };
    for len in [1, 1400, 9000] {
        let peer = udp_exchange(&from, &to, "10.180.13.1:53", len);
        assert_eq!(peer, SocketAddr::V4(at("10.180.13.2:5000")));
    }
}

#[test]
fn s7_dnat_of_a_port_to_the_same_port_of_a_guest() {
    let lab = Lab::with("nat", "publish = [\"80:192.168.122.10:80/tcp\"]");
    let peer =
        TcpServer::listen(&lab.a, "192.168.122.10:80").exchange(&lab.outside, "10.180.13.2:80", 1 << 20);
    assert_eq!(peer.ip().to_string(), "10.180.13.1", "the guest sees who the client is");
    let rules = lab.switch.show("nat");
    let dnat = rules.as_array().and_then(|rules| rules.iter().find(|rule| rule["target"] == "DNAT"));
    assert_eq!(dnat.map(|rule| &rule["packets"]), Some(&1.into()), "one flow's first packet: {rules}");
}

#[test]
fn s7_dnat_of_a_port_to_another_port_of_a_guest() {
    let lab = Lab::with("nat", "publish = [\"80:192.168.122.10:10080/tcp\", \"81:192.168.122.11:80/tcp\"]");
    TcpServer::listen(&lab.a, "192.168.122.10:10080").exchange(&lab.outside, "10.180.13.2:80", 1 << 20);
    TcpServer::listen(&lab.b, "192.168.122.11:80").exchange(&lab.outside, "10.180.13.2:81", 1 << 20);
    lab.a.ping("10.180.13.1");
}

#[test]
fn s7_dnat_by_iptables_lines_with_the_port_kept_and_changed() {
    let lab = Lab::with(
        "nat",
        "rules = [\
         \"-A PREROUTING -i wan -d 10.180.13.2 -p tcp --dport 80 -j DNAT --to-destination 192.168.122.10:10080\", \
         \"-A PREROUTING -i wan -d 10.180.13.2 -p tcp --dport 81 -j DNAT --to-destination 192.168.122.11\", \
         \"-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE\"]",
    );
    TcpServer::listen(&lab.a, "192.168.122.10:10080").exchange(&lab.outside, "10.180.13.2:80", 1 << 20);
    TcpServer::listen(&lab.b, "192.168.122.11:81").exchange(&lab.outside, "10.180.13.2:81", 1 << 20);
    lab.a.ping("10.180.13.1");
}

#[test]
fn s8_a_tcp_client_outside_is_served_by_a_guest_through_a_published_port() {
    let lab =
        Lab::with("nat", "publish = [\"8888:192.168.122.10:8080/tcp\", \"5353:192.168.122.11:53/udp\"]");
    TcpServer::listen(&lab.a, "192.168.122.10:8080").exchange(&lab.outside, "10.180.13.2:8888", 8 << 20);
    let (from, to) = (udp(&lab.outside, "10.180.13.1:4000"), udp(&lab.b, "192.168.122.11:53"));
    udp_exchange(&from, &to, "10.180.13.2:5353", 512);
}

#[test]
fn s8_a_published_range_leads_port_by_port_to_the_guests_also_shifted() {
    let lab = Lab::with(
        "nat",
        "publish = [\"8000-8010:192.168.122.10:8000-8010/tcp\", \"9000-9002:192.168.122.11:80-82/tcp\", \
         \"5000-5099:192.168.122.11:6000-6099/udp\"]",
    );
    for port in [8000, 8007, 8010] {
        let server = TcpServer::listen(&lab.a, &format!("192.168.122.10:{port}"));
        server.exchange(&lab.outside, &format!("10.180.13.2:{port}"), 10_000);
    }
    for (outside, inside) in [(9000, 80), (9001, 81), (9002, 82)] {
        let server = TcpServer::listen(&lab.b, &format!("192.168.122.11:{inside}"));
        server.exchange(&lab.outside, &format!("10.180.13.2:{outside}"), 10_000);
    }
    let (from, to) = (udp(&lab.outside, "10.180.13.1:4000"), udp(&lab.b, "192.168.122.11:6042"));
    udp_exchange(&from, &to, "10.180.13.2:5042", 512);
    try_connect(&lab.outside, "10.180.13.2:8011").expect_err("the range ends before it");
    let printed = String::from_utf8(lab.switch.command(&["nat", "list"]).stdout).expect("ASCII");
    assert!(printed.contains("to:192.168.122.11:80-82/9000"), "{printed}");
}

#[test]
fn s8_a_port_of_an_address_beside_the_uplinks_is_published_to_both_sides() {
    let lab = Lab::with("nat", "publish = [\"10.180.13.5:8080:192.168.122.10:80\"]");
    let server = TcpServer::listen(&lab.a, "192.168.122.10:80");
    // Nobody outside has a route: the switch answers for the address.
    server.exchange(&lab.outside, "10.180.13.5:8080", 1 << 20);
    server.exchange(&lab.b, "10.180.13.5:8080", 1 << 20);
    try_connect(&lab.outside, "10.180.13.5:8081").expect_err("only one port is published");
    try_connect(&lab.outside, "10.180.13.2:8080").expect_err("not that of the uplink's own address");
}

#[test]
fn nobody_outside_reaches_a_guest_unasked() {
    let lab = Lab::new();
    lab.a.ping("10.180.13.1");
    lab.outside.run("ip route add 192.168.122.0/24 via 10.180.13.2");
    lab.outside.cannot_ping("192.168.122.10");
    let _server = TcpServer::listen(&lab.a, "192.168.122.10:80");
    try_connect(&lab.outside, "192.168.122.10:80").expect_err("the guest's own address isn't reachable");
    try_connect(&lab.outside, "10.180.13.2:80").expect_err("nothing is published");
    let drops = lab.switch.show("drops").to_string();
    assert!(drops.contains("nat_unsolicited"), "{drops}");
}

#[test]
fn a_closed_udp_port_outside_is_reported_to_the_guest() {
    let lab = Lab::new();
    let socket = udp(&lab.a, "192.168.122.10:5000");
    socket.connect("203.0.113.1:9").expect("UDP connects to anything");
    socket.send(b"anybody?").expect("the datagram leaves");
    let error = socket.recv(&mut [0; 16]).expect_err("nobody is there");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_closed_tcp_port_outside_is_reported_to_the_guest() {
    let lab = Lab::new();
    let error = try_connect(&lab.a, "203.0.113.1:9").expect_err("nobody is there");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_packet_whose_time_to_live_ends_at_the_switch_is_reported_by_it() {
    let lab = Lab::new();
    let printed = lab.a.try_run("ping -n -c 1 -W 2 -t 1 203.0.113.1").expect_err("it can't arrive");
    assert!(printed.contains("From 192.168.122.1") && printed.contains("Time to live exceeded"), "{printed}");
}

#[test]
fn a_packet_whose_time_to_live_ends_beyond_the_switch_is_reported_to_the_guest() {
    let lab = Lab::new();
    // The outside host is a router now; it finds the time to live used up before it asks for the next hop.
    lab.outside.run("sysctl -qw net.ipv4.ip_forward=1");
    lab.outside.run("ip route add 198.51.100.0/24 via 10.180.13.77");
    let printed = lab.a.try_run("ping -n -c 1 -W 2 -t 2 198.51.100.9").expect_err("it can't arrive");
    assert!(printed.contains("From 10.180.13.1") && printed.contains("Time to live exceeded"), "{printed}");
}

#[test]
fn large_transfers_through_masquerade_arrive_unharmed() {
    let lab = Lab::new();
    TcpServer::listen(&lab.outside, "10.180.13.1:80").exchange(&lab.a, "10.180.13.1:80", 128 << 20);
}

#[test]
fn fragmented_datagrams_pass_masquerade_in_both_directions() {
    let lab = Lab::new();
    let (from, to) = (udp(&lab.a, "192.168.122.10:5000"), udp(&lab.outside, "10.180.13.1:53"));
    for len in [1473, 4000, 9000, 65_507] {
        udp_exchange(&from, &to, "10.180.13.1:53", len);
    }
    lab.a.run("ping -n -c 1 -W 3 -s 8000 10.180.13.1");
}

#[test]
fn iperf3_runs_in_both_directions_with_many_streams() {
    let lab = Lab::new();
    let _server = lab.outside.start("iperf3 --server --bind 10.180.13.1");
    for options in ["", "-R", "-P 8", "-u -b 50M", "-u -b 50M -R"] {
        // The server listens anew for each client.
        wait_until("iperf3 listens", || lab.outside.run("ss -Hltn sport = :5201").contains("LISTEN"));
        lab.a.run(&format!("iperf3 --client 10.180.13.1 --time 1 {options}"));
    }
}

#[test]
fn hundreds_of_connections_each_get_their_flow() {
    let lab = Lab::new();
    let server = TcpServer::listen(&lab.outside, "10.180.13.1:80");
    for _ in 0..300 {
        server.exchange(&lab.a, "10.180.13.1:80", 100);
    }
    let flows = lab.switch.show("flows");
    let tcp = flows.as_array().expect("a list").iter().filter(|flow| flow["protocol"] == "tcp").count();
    assert!((1..=300).contains(&tcp), "{tcp} flows");
}

#[test]
fn guests_of_a_nat_network_reach_each_other_and_their_gateway() {
    let lab = Lab::new();
    lab.a.ping("192.168.122.11");
    lab.a.ping("192.168.122.1");
    lab.a.ping("10.180.13.2");
}

#[test]
fn isolated_guests_reach_the_outside_but_not_each_other() {
    let lab = Lab::with("nat-isolated", "");
    lab.a.ping("10.180.13.1");
    lab.b.ping("10.180.13.1");
    lab.a.cannot_ping("192.168.122.11");
}

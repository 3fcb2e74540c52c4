//! IPv6 with hosts as they are: Linux's own autoconfiguration, duplicate address detection and neighbour discovery.

use std::fs;

use crate::host::{DEVICE, Host};
use crate::switch::{Switch, tap, wait_until};
use crate::traffic::TcpServer;

/// A host with IPv6 on.
fn host() -> Host {
    let host = Host::new();
    host.enter(|| {
        for which in ["all", "default"] {
            fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "0").expect("there is IPv6");
        }
    });
    host
}

/// Its address that begins so, once there is one that no duplicate address detection waits for.
#[track_caller]
fn address_of(host: &Host, prefix: &str) -> String {
    let mut found = None;
    wait_until("the host has an address", || {
        let listed = host.run(&format!("ip -6 -o address show dev {DEVICE} -tentative"));
        let words = listed.split_whitespace().filter_map(|word| word.split_once('/'));
        found = words.map(|(address, _)| address.to_owned()).find(|address| address.starts_with(prefix));
        found.is_some()
    });
    found.expect("it was found")
}

/// Waits for a ping to be answered.
#[track_caller]
fn pings(host: &Host, target: &str) {
    wait_until("the ping is answered", || host.try_run(&format!("ping -6 -n -c 1 -W 2 {target}")).is_ok());
}

/// Two networks with a guest each, and a router outside, at 2001:db8::1.
struct Lab {
    a: Host,
    b: Host,
    outside: Host,
    switch: Switch,
}

impl Lab {
    fn new(more: &str) -> Self {
        let (a, b, outside) = (host(), host(), host());
        let switch = Switch::start(&format!(
            "[network.one]\nmode = \"route\"\naddress = \"10.10.10.1/24\"\naddress6 = \"2001:db8:1::1/64\"\n\
             uplink = \"wan\"\ndns = [\"2001:db8::53\"]\ndomain = \"lan.example\"\n{more}\
             [network.two]\nmode = \"route\"\naddress = \"10.10.20.1/24\"\naddress6 = \"2001:db8:2::1/64\"\n\
             uplink = \"wan\"\n{}{}\
             [uplink.wan]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{outside}\"\n\
             address = \"10.180.13.2/24\"\naddress6 = \"2001:db8::2/64\"\ngateway6 = \"2001:db8::1\"\n",
            tap("one", "a", &a),
            tap("two", "b", &b),
        ));
        outside.run(&format!("ip address add 2001:db8::1/64 dev {DEVICE} nodad"));
        outside.run("ip address add 2001:db8:ffff::9/128 dev lo nodad");
        outside.run("ip -6 route add 2001:db8:1::/64 via 2001:db8::2");
        outside.run("ip -6 route add 2001:db8:2::/64 via 2001:db8::2");
        Self { a, b, outside, switch }
    }
}

#[test]
fn linux_configures_itself_and_reaches_guests_of_another_network_and_the_world() {
    let lab = Lab::new("");
    let (a, b) = (address_of(&lab.a, "2001:db8:1:"), address_of(&lab.b, "2001:db8:2:"));
    let routes = lab.a.run("ip -6 route show default");
    assert!(routes.contains("proto ra"), "{routes}");
    pings(&lab.a, "2001:db8:1::1");
    pings(&lab.a, &b);
    pings(&lab.a, "2001:db8:ffff::9");
    pings(&lab.outside, &a);
    let server = TcpServer::listen(&lab.outside, "[2001:db8:ffff::9]:80");
    let peer = server.exchange(&lab.a, "[2001:db8:ffff::9]:80", 32 << 20);
    assert_eq!(peer.ip().to_string(), a, "addresses stay as they are");
    let traced = lab.a.run("busybox traceroute6 -n -q 1 -w 3 -m 4 2001:db8:ffff::9");
    assert!(traced.contains("2001:db8:1::1") && traced.contains("2001:db8:ffff::9"), "{traced}");
    // The neighbours of both families are told.
    let shown = lab.switch.show("neighbours").to_string();
    assert!(shown.contains(&a) && shown.contains("2001:db8::1"), "{shown}");
    assert_eq!(lab.switch.show("networks")[0]["address6"], "2001:db8:1::1/64");
    lab.switch.terminate();
    // The end is told: nobody sends there any more.
    wait_until("the route is gone", || lab.b.run("ip -6 route show default").is_empty());
}

#[test]
fn the_default_route_stays_while_linux_looks_whether_its_router_is_there() {
    let lab = Lab::new("");
    address_of(&lab.a, "2001:db8:1:");
    lab.a.run(&format!("sysctl -qw net.ipv6.neigh.{DEVICE}.base_reachable_time_ms=500"));
    for _ in 0..8 {
        lab.a.run("ping -6 -n -c 2 -i 0.5 -W 3 2001:db8:ffff::9");
        assert!(!lab.a.run("ip -6 route show default").is_empty());
    }
}

#[test]
fn what_cannot_be_delivered_is_told_of() {
    let lab = Lab::new("mtu = 1400\n");
    address_of(&lab.a, "2001:db8:1:");
    let ping =
        |more: &str| lab.a.try_run(&format!("ping -6 -n -c 1 -W 10 {more}")).expect_err("it can't arrive");
    let printed = ping("2001:db8:2::77");
    assert!(printed.contains("2001:db8:1::1") && printed.contains("Address unreachable"), "{printed}");
    let printed = ping("-t 1 2001:db8:ffff::9");
    assert!(printed.contains("2001:db8:1::1") && printed.contains("Hop limit"), "{printed}");
    // What comes back is too big for the network: the sender outside learns that.
    let a = address_of(&lab.a, "2001:db8:1:");
    let printed =
        lab.outside.try_run(&format!("ping -6 -n -c 1 -W 3 -M do -s 1420 {a}")).expect_err("too big");
    assert!(printed.contains("mtu") && printed.contains("1400"), "{printed}");
}

#[test]
fn linux_finds_out_that_the_gateways_address_is_taken() {
    let lab = Lab::new("");
    address_of(&lab.a, "2001:db8:1:");
    lab.a.run(&format!("ip address add 2001:db8:1::1/64 dev {DEVICE}"));
    wait_until("duplicate address detection has failed", || {
        lab.a.run(&format!("ip -6 -o address show dev {DEVICE}")).contains("dadfailed")
    });
    pings(&lab.a, "2001:db8:ffff::9");
}

#[test]
fn a_host_only_network_has_addresses_and_no_way_out() {
    let (a, b, other) = (host(), host(), host());
    let switch = Switch::start(&format!(
        "[network.closed]\nmode = \"host-only\"\naddress = \"192.168.56.1/24\"\naddress6 = \"fd00:56::1/64\"\n\
         [network.open]\nmode = \"route\"\naddress = \"10.10.20.1/24\"\naddress6 = \"fd00:20::1/64\"\n{}{}{}",
        tap("closed", "a", &a),
        tap("closed", "b", &b),
        tap("open", "other", &other),
    ));
    let (_, second) = (address_of(&a, "fd00:56:"), address_of(&b, "fd00:56:"));
    pings(&a, "fd00:56::1");
    pings(&a, &second);
    assert_eq!(a.run("ip -6 route show default"), "");
    address_of(&other, "fd00:20:");
    let refused = other.try_run("ping -6 -n -c 1 -W 3 fd00:56::1").expect_err("that is closed");
    assert!(refused.contains("Administratively prohibited"), "{refused}");
    switch.terminate();
}

#[test]
fn a_reload_renumbers_and_the_old_addresses_are_deprecated() {
    let a = host();
    let config = |address: &str| {
        let network = "[network.lan]\nmode = \"route\"\naddress = \"10.0.0.1/24\"\naddress6 = ";
        format!("{network}\"{address}\"\n{}", tap("lan", "a", &a))
    };
    let switch = Switch::start(&config("fd00:1::1/64"));
    let old = address_of(&a, "fd00:1:");
    assert!(switch.reload(&config("fd00:2::1/64")).status.success());
    address_of(&a, "fd00:2:");
    wait_until("the old address is deprecated", || {
        let listed = a.run(&format!("ip -6 -o address show dev {DEVICE} deprecated"));
        listed.contains(&old)
    });
}

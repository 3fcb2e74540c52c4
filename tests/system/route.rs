//! Networks that are routed, not translated.

use crate::host::Host;
use crate::switch::{Switch, tap};
use crate::traffic::TcpServer;

/// Two routed networks with a guest each, at 10.10.10.2 and 10.10.20.2; the gateways are `.1`.
fn two_networks() -> (Host, Host, Switch) {
    let (a, b) = (Host::new(), Host::new());
    let switch = Switch::start(&format!(
        "[network.one]\nmode = \"route\"\naddress = \"10.10.10.1/24\"\n\
         [network.two]\nmode = \"route\"\naddress = \"10.10.20.1/24\"\n{}{}",
        tap("one", "a", &a),
        tap("two", "b", &b)
    ));
    for (guest, net) in [(&a, "10.10.10"), (&b, "10.10.20")] {
        guest.address(&format!("{net}.2/24"));
        guest.gateway(&format!("{net}.1"));
    }
    (a, b, switch)
}

#[test]
fn s18_guests_of_two_routed_networks_ping_with_ttl_63() {
    let (a, b, switch) = two_networks();
    let printed = a.run("ping -n -c 1 -W 3 10.10.20.2");
    assert!(printed.contains("ttl=63"), "{printed}");
    let printed = b.run("ping -n -c 1 -W 3 10.10.10.2");
    assert!(printed.contains("ttl=63"), "{printed}");
    let peer = TcpServer::listen(&b, "10.10.20.2:80").exchange(&a, "10.10.20.2:80", 32 << 20);
    assert_eq!(peer.ip().to_string(), "10.10.10.2", "addresses stay as they are");
    switch.terminate();
}

#[test]
fn a_neighbour_that_does_not_answer_is_reported_as_unreachable() {
    let (a, _b, _switch) = two_networks();
    let printed = a.try_run("ping -n -c 1 -W 10 10.10.20.77").expect_err("nobody is there");
    assert!(
        printed.contains("From 10.10.10.1") && printed.contains("Destination Host Unreachable"),
        "{printed}"
    );
}

#[test]
fn an_address_without_a_route_is_reported_as_unreachable() {
    let (a, _b, _switch) = two_networks();
    let printed = a.try_run("ping -n -c 1 -W 3 198.51.100.1").expect_err("nothing leads there");
    assert!(printed.contains("From 10.10.10.1") && printed.contains("Net Unreachable"), "{printed}");
}

#[test]
fn a_time_to_live_of_one_ends_at_the_gateway() {
    let (a, _b, _switch) = two_networks();
    let printed = a.try_run("ping -n -c 1 -W 3 -t 1 10.10.20.2").expect_err("it can't arrive");
    assert!(printed.contains("From 10.10.10.1") && printed.contains("Time to live exceeded"), "{printed}");
}

#[test]
fn a_routed_network_leaves_by_its_uplink_with_its_own_addresses() {
    let (a, outside) = (Host::new(), Host::new());
    let _switch = Switch::start(&format!(
        "[network.lab]\nmode = \"route\"\naddress = \"10.10.10.1/24\"\nuplink = \"wan\"\n{}\
         [uplink.wan]\ntype = \"tap\"\ndevice = \"eth0\"\nnetns = \"{outside}\"\n\
         address = \"10.180.13.2/24\"\ngateway = \"10.180.13.1\"\n",
        tap("lab", "a", &a),
    ));
    a.address("10.10.10.2/24");
    a.gateway("10.10.10.1");
    outside.address("10.180.13.1/24");
    outside.run("ip route add 10.10.10.0/24 via 10.180.13.2");
    let peer = TcpServer::listen(&outside, "10.180.13.1:80").exchange(&a, "10.180.13.1:80", 1 << 20);
    assert_eq!(peer.ip().to_string(), "10.10.10.2");
    outside.ping("10.10.10.2");
}

#[test]
fn a_host_only_network_ends_at_its_gateway() {
    let (a, b, other) = (Host::new(), Host::new(), Host::new());
    let _switch = Switch::start(&format!(
        "[network.closed]\nmode = \"host-only\"\naddress = \"192.168.56.1/24\"\n\
         [network.open]\nmode = \"route\"\naddress = \"10.10.20.1/24\"\n{}{}{}",
        tap("closed", "a", &a),
        tap("closed", "b", &b),
        tap("open", "other", &other)
    ));
    for (guest, address, gateway) in [
        (&a, "192.168.56.2/24", "192.168.56.1"),
        (&b, "192.168.56.3/24", "192.168.56.1"),
        (&other, "10.10.20.2/24", "10.10.20.1"),
    ] {
        guest.address(address);
        guest.gateway(gateway);
    }
    a.ping("192.168.56.1");
    a.ping("192.168.56.3");
    other.ping("10.10.20.1");
    a.cannot_ping("10.10.20.2");
    other.cannot_ping("192.168.56.2");
}

//! Tables as full, and networks, ports and rules as many, as they may be: showing and changing them keeps no packet waiting.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::pauses::paused_for_moments_only;
use crate::switch::{Folder, Switch};

const TABLES: [&str; 13] = [
    "networks",
    "uplinks",
    "map",
    "ports",
    "fdb",
    "neighbours",
    "flows",
    "nat",
    "servers",
    "leases",
    "mappings",
    "drops",
    "stats",
];

/// Shows all that there is.
fn show_all(switch: &Switch) {
    TABLES.iter().for_each(|what| drop(switch.show(what)));
}

#[test]
fn showing_and_flushing_forwarding_databases_with_millions_of_places_keeps_no_packet_waiting() {
    let network = |n| format!("[network.n{n}]\nmode = \"internal\"\nfdb-capacity = 1048576\n");
    let switch = Switch::start(&(0..8).map(network).collect::<String>());
    show_all(&switch);
    assert!(switch.command(&["flush", "fdb"]).status.success());
    paused_for_moments_only(&switch);
    switch.terminate();
}

#[test]
fn showing_hundreds_of_networks_keeps_no_packet_waiting() {
    let network = |n| format!("[network.n{n}]\nmode = \"internal\"\n");
    let switch = Switch::start(&(0..800).map(network).collect::<String>());
    show_all(&switch);
    paused_for_moments_only(&switch);
    switch.terminate();
}

/// A network with four thousand ports, so called, and so many rules.
fn four_thousand_ports(folder: &Folder, name: &str, rules: usize) -> String {
    let path = folder.path().display();
    let port = |n| {
        format!(
            "[network.lan.port.{name}{n}]\ntype = \"dgram\"\npath = \"{path}/{n}\"\npeer = \"{path}/peer{n}\"\n"
        )
    };
    let rule = |n| {
        let (net, host) = (n / 250, n % 250 + 1);
        format!("\"-A PREROUTING -d 10.1.{net}.{host} -j DNAT --to-destination 192.168.0.2\",\n")
    };
    let ports: String = (0..4000).map(port).collect();
    let rules: String = (0..rules).map(rule).collect();
    format!(
        "[network.lan]\nmode = \"nat\"\naddress = \"192.168.0.1/16\"\nuplink = \"wan\"\nrules = [\n{rules}]\n{ports}\n\
         [uplink.wan]\ntype = \"tap\"\ndevice = \"wan0\"\naddress = \"10.0.0.2/24\"\ngateway = \"10.0.0.1\"\n"
    )
}

#[test]
fn thousands_of_ports_and_rules_are_shown_changed_and_named_anew_and_end_and_keep_no_packet_waiting() {
    let folder = Folder::new();
    let mut switch = Switch::start(&four_thousand_ports(&folder, "a", 4096));
    show_all(&switch);
    for (name, rules) in [("a", 4095), ("b", 4095)] {
        let output = switch.reload(&four_thousand_ports(&folder, name, rules));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    show_all(&switch);
    paused_for_moments_only(&switch);
    let start = Instant::now();
    assert!(switch.signal(Signal::TERM).success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

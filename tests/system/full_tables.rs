//! Tables as full, and networks as many, as they may be: showing them keeps no packet waiting.

use crate::pauses::paused_for_moments_only;
use crate::switch::Switch;

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

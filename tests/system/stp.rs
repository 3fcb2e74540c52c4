//! The spanning tree, with the kernel's bridge, Open vSwitch and a second switch of ours as neighbours by two links.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::host::{Host, in_user_namespace};
use crate::ovs::Ovs;
use crate::switch::{Switch, tap, wait_until};

/// Timers as short as they may be.
const SHORT: &str = "stp-hello-time = 1\nstp-max-age = 6\nstp-forward-delay = 4\n";

/// The shortest time in which a frame may get through with STP, and some for a loaded machine.
const TWICE_FORWARD_DELAY: Duration = Duration::from_secs(8 + 4);

/// A guest at port `a`, which is an edge, and taps `l1` and `l2` in the namespace of another bridge.
fn linked(stp: &str, links: &Host) -> (Host, Switch) {
    let a = Host::new();
    let link = |name| format!("[network.lan.port.{name}]\ntype = \"tap\"\nnetns = \"{links}\"\n");
    let ports = [tap("lan", "a", &a), "edge = true\n".to_owned(), link("l1"), link("l2")].concat();
    let switch =
        Switch::start(&format!("[network.lan]\nmode = \"internal\"\nstp = \"{stp}\"\n{SHORT}{ports}"));
    a.address("10.1.0.1/24");
    (a, switch)
}

/// The kernel's bridge with STP, which has both links, and an address.
fn kernel_bridge(host: &Host) {
    let times = "hello_time 100 max_age 600 forward_delay 400";
    host.run(&format!("ip link add br0 address 02:00:00:00:00:99 type bridge stp_state 1 {times}"));
    host.run("ip address add 10.1.0.9/24 dev br0");
    for link in ["l1", "l2"] {
        host.run(&format!("ip link set {link} master br0"));
    }
    host.run("ip link set br0 up");
}

/// Waits until `target` answers, and says how long that took.
#[track_caller]
fn time_until_ping(host: &Host, target: &str) -> Duration {
    let start = Instant::now();
    wait_until("the network goes on", || host.try_run(&format!("ping -n -c 1 -W 0.2 {target}")).is_ok());
    start.elapsed()
}

/// A field of each port, by name.
fn field(switch: &Switch, port: &str, field: &str) -> Value {
    let ports = switch.show("stp");
    let entry = ports.as_array().and_then(|ports| ports.iter().find(|entry| entry["port"] == port));
    entry.unwrap_or_else(|| panic!("no {port} in {ports}"))[field].clone()
}

/// Nothing goes round: broadcasts come once.
fn no_storm(switch: &Switch, host: &Host) {
    let before = host.statistic("rx_packets");
    for _ in 0..10 {
        let _ = host.try_run("ping -n -c 1 -W 0.1 10.1.0.77");
    }
    let received = host.statistic("rx_packets") - before;
    assert!(received < 200, "{received} frames came: {}", switch.log());
}

/// The link that one of both sides has blocked, and the other one.
fn blocked(switch: &Switch, other_side: impl Fn(&str) -> bool) -> (&'static str, &'static str) {
    let is_blocked = |link: &str| field(switch, link, "state") != "forwarding" || other_side(link);
    match (is_blocked("l1"), is_blocked("l2")) {
        (true, false) => ("l1", "l2"),
        (false, true) => ("l2", "l1"),
        both => panic!("blocked: {both:?}, {}", switch.show("stp")),
    }
}

fn kernel_blocks(host: &Host, link: &str) -> bool {
    let shown = host.run(&format!("ip -j -d link show dev {link}"));
    let shown: Value = serde_json::from_str(&shown).expect("ip prints JSON");
    shown[0]["linkinfo"]["info_slave_data"]["state"] != "forwarding"
}

fn with_kernel(stp: &str) {
    let lan = Host::new();
    let (a, switch) = linked(stp, &lan);
    kernel_bridge(&lan);
    no_storm(&switch, &a);
    let took = time_until_ping(&a, "10.1.0.9");
    assert!(took < TWICE_FORWARD_DELAY, "{took:?}");
    no_storm(&switch, &a);
    assert_eq!(field(&switch, "l1", "protocol"), "stp");
    let (_, open) = blocked(&switch, |link| kernel_blocks(&lan, link));
    lan.run(&format!("ip link set {open} down"));
    let took = time_until_ping(&a, "10.1.0.9");
    assert!(took < TWICE_FORWARD_DELAY, "{took:?}");
    lan.run(&format!("ip link set {open} up"));
    no_storm(&switch, &a);
    switch.terminate();
}

#[test]
fn stp_and_the_kernels_bridge_leave_one_of_two_links_and_replace_it_when_it_is_cut() {
    with_kernel("stp");
}

#[test]
fn rstp_speaks_stp_with_the_kernels_bridge() {
    with_kernel("rstp");
}

fn with_ovs(stp: &str, settings: &str, cuts: &[&str], limits: (Duration, Duration)) {
    if in_user_namespace() {
        return;
    }
    let lan = Host::new();
    let (a, switch) = linked(stp, &lan);
    let ovs = Ovs::start(&lan);
    ovs.set(&format!("set bridge br0 other_config:hwaddr=02:00:00:00:00:99 {settings}"));
    ["l1", "l2"].iter().for_each(|link| ovs.set(&format!("add-port br0 {link}")));
    lan.run("ip address add 10.1.0.9/24 dev br0");
    lan.run("ip link set br0 up");
    no_storm(&switch, &a);
    let took = time_until_ping(&a, "10.1.0.9");
    assert!(took < limits.0, "{took:?}: {}", switch.log());
    assert_eq!(field(&switch, "l1", "protocol"), stp);
    wait_until("roles are settled", || {
        let roles = [field(&switch, "l1", "role"), field(&switch, "l2", "role")];
        roles.iter().any(|role| role == "root") == roles.iter().any(|role| role == "alternate")
    });
    no_storm(&switch, &a);
    // One link is cut, and when it is there again, the other.
    for link in cuts {
        lan.run(&format!("ip link set {link} down"));
        let took = time_until_ping(&a, "10.1.0.9");
        assert!(took < limits.1, "{link}: {took:?}: {}", switch.log());
        no_storm(&switch, &a);
        lan.run(&format!("ip link set {link} up"));
        wait_until("the link is in the tree", || field(&switch, link, "role") != "disabled");
        time_until_ping(&a, "10.1.0.9");
        let settled =
            || field(&switch, link, "role") != "designated" || field(&switch, link, "state") == "forwarding";
        wait_until("the link has its place", settled);
        no_storm(&switch, &a);
    }
    switch.terminate();
}

#[test]
fn rstp_agrees_with_open_vswitch_at_once() {
    let times =
        "other_config:rstp-hello-time=1 other_config:rstp-max-age=6 other_config:rstp-forward-delay=4";
    let settings = format!("rstp_enable=true {times}");
    // An agreement takes milliseconds (switch-core/tests/spanning_tree.rs): the rest is for Open vSwitch to see its links.
    with_ovs("rstp", &settings, &["l1", "l2"], (Duration::from_secs(7), Duration::from_secs(7)));
}

#[test]
fn stp_and_open_vswitchs_stp_leave_one_of_two_links() {
    let times = "other_config:stp-hello-time=1 other_config:stp-max-age=6 other_config:stp-forward-delay=4";
    let settings = format!("stp_enable=true {times}");
    with_ovs("stp", &settings, &["l1"], (TWICE_FORWARD_DELAY, TWICE_FORWARD_DELAY));
}

/// Two switches of ours with two links between them, made of veth pairs; a guest at each.
fn pair(stp: &str) -> (Host, [Switch; 2], [Host; 2]) {
    let wires = Host::new();
    for link in ["l1", "l2"] {
        wires.run(&format!("ip link add {link}x type veth peer name {link}y"));
        for end in ["x", "y"] {
            wires.run(&format!("ip link set {link}{end} up"));
        }
    }
    let guests = [Host::new(), Host::new()];
    let start = |end: &str, guest: &Host| {
        let link = |name| {
            format!(
                "[network.lan.port.{name}]\ntype = \"packet\"\ndevice = \"{name}{end}\"\nnetns = \"{wires}\"\n"
            )
        };
        let ports = [tap("lan", "a", guest), "edge = true\n".to_owned(), link("l1"), link("l2")].concat();
        Switch::start(&format!("[network.lan]\nmode = \"internal\"\nstp = \"{stp}\"\n{SHORT}{ports}"))
    };
    let switches = [start("x", &guests[0]), start("y", &guests[1])];
    guests[0].address("10.1.0.1/24");
    guests[1].address("10.1.0.2/24");
    (wires, switches, guests)
}

#[test]
fn two_of_ours_agree_at_once_and_replace_a_cut_link_before_a_ping_is_lost() {
    if in_user_namespace() {
        return;
    }
    let (wires, switches, guests) = pair("rstp");
    no_storm(&switches[0], &guests[0]);
    let took = time_until_ping(&guests[0], "10.1.0.2");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let (_, open) = blocked(&switches[0], |link| field(&switches[1], link, "state") != "forwarding");
    wires.run(&format!("ip link set {open}x down"));
    let took = time_until_ping(&guests[0], "10.1.0.2");
    assert!(took < Duration::from_secs(1), "{took:?}");
    wires.run(&format!("ip link set {open}x up"));
    wait_until("the link is in the tree", || {
        switches.iter().all(|switch| field(switch, open, "role") != "disabled")
    });
    no_storm(&switches[0], &guests[0]);
    guests[1].ping("10.1.0.1");
    for switch in switches {
        switch.terminate();
    }
}

#[test]
fn a_bpdu_shuts_a_guarded_port_until_its_link_comes_again_and_a_reload_follows_the_keys() {
    let (a, b) = (Host::new(), Host::new());
    let config = |keys: &str| {
        format!("[network.lan]\nmode = \"internal\"\n{}{keys}{}", tap("lan", "a", &a), tap("lan", "b", &b))
    };
    let switch = Switch::start(&config("bpdu-guard = true\n"));
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    a.ping("10.1.0.2");
    a.run("ip link add br0 type bridge stp_state 1");
    a.run("ip link set eth0 master br0");
    a.run("ip link set br0 up");
    wait_until("the port is shut", || switch.show("ports")[0]["state"] == "shut");
    assert!(switch.log().contains("bpdu-guard"), "{}", switch.log());
    assert_eq!(switch.log().matches("bpdu-guard").count(), 1, "{}", switch.log());
    a.run("ip link set eth0 nomaster");
    a.cannot_ping("10.1.0.2");
    a.run("ip link set eth0 down");
    wait_until("the link is down", || switch.show("ports")[0]["state"] == "down");
    a.run("ip link set eth0 up");
    time_until_ping(&a, "10.1.0.2");
    // Without the key nothing shuts it.
    a.run("ip link set eth0 master br0");
    wait_until("the port is shut", || switch.show("ports")[0]["state"] == "shut");
    assert!(switch.reload(&config("")).status.success());
    wait_until("the port is open", || switch.show("ports")[0]["state"] == "forwarding");
    switch.terminate();
}

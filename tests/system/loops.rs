//! Two ports on one wire: the storm ends, and the network goes on by one of them.

use std::thread;
use std::time::Duration;

use crate::host::Host;
use crate::switch::{Switch, tap, wait_until};

/// A guest at port `a`, and a bridge that has both `l1` and `l2` of the switch, and an address.
fn looped(network: &str) -> (Host, Host, Switch) {
    let (a, lan) = (Host::new(), Host::new());
    let link = |name| format!("[network.lan.port.{name}]\ntype = \"tap\"\nnetns = \"{lan}\"\n");
    let ports = [tap("lan", "a", &a), link("l1"), link("l2")].concat();
    let switch = Switch::start(&format!("[network.lan]\n{network}\n{ports}"));
    // With an address of its own, that does not change with its ports.
    lan.run("ip link add br0 address 02:00:00:00:00:99 type bridge");
    lan.run("ip address add 10.1.0.9/24 dev br0");
    lan.run("ip link set br0 up");
    a.address("10.1.0.1/24");
    for link in ["l1", "l2"] {
        lan.run(&format!("ip link set {link} master br0"));
    }
    (a, lan, switch)
}

/// Frames that the guest has been sent in this time.
fn received_in(host: &Host, time: Duration) -> u64 {
    let before = host.statistic("rx_packets");
    thread::sleep(time);
    host.statistic("rx_packets") - before
}

/// A station that was seen at several ports stays where it was for the rest of these two seconds.
fn goes_on(host: &Host, target: &str) {
    wait_until("the network goes on", || host.try_run(&format!("ping -n -c 1 -W 1 {target}")).is_ok());
}

#[test]
fn two_links_to_one_bridge_are_one_link_and_no_storm() {
    let (a, lan, switch) = looped("mode = \"internal\"");
    for _ in 0..20 {
        let _ = a.try_run("ping -n -c 1 -W 1 10.1.0.77");
        if switch.log().contains("there is a loop") {
            break;
        }
    }
    let log = switch.log();
    assert!(log.contains("there is a loop") && log.contains("lan/l2"), "{log}");
    wait_until("the storm is over", || received_in(&a, Duration::from_millis(500)) < 50);
    goes_on(&a, "10.1.0.9");
    lan.ping("10.1.0.1");
    let drops = switch.show("drops");
    assert!(drops.to_string().contains("loop_damped"), "{drops}");
    assert_eq!(switch.log().matches("loop").count(), 1, "one line: {}", switch.log());
    // The loop goes.
    lan.run("ip link set l2 nomaster");
    wait_until("the port is open again", || switch.log().contains("the loop is gone"));
    a.ping("10.1.0.9");
    switch.terminate();
}

#[test]
fn the_gateways_own_frames_that_come_back_end_the_loop_too() {
    let (a, _lan, switch) = looped("mode = \"host-only\"\naddress = \"10.1.0.254/24\"");
    // The gateway asks who has this, of all.
    wait_until("the loop is noticed", || {
        let _ = a.try_run("ping -n -c 1 -W 1 10.1.0.254");
        let _ = a.try_run("ping -n -c 1 -W 1 10.1.0.77");
        switch.log().contains("there is a loop")
    });
    wait_until("the storm is over", || received_in(&a, Duration::from_millis(500)) < 50);
    goes_on(&a, "10.1.0.254");
    goes_on(&a, "10.1.0.9");
    switch.terminate();
}

//! Rates and storms: what a guest may send and get.

use packet::MacAddr;
use packet::builder::eth;
use serde_json::Value;
use tapio::testing::PacketSocket;

use crate::host::{DEVICE, Host};
use crate::switch::{Switch, tap, wait_until};

/// Two hosts, the first of which has these keys at its port.
fn pair(keys: &str) -> (Host, Host, Switch) {
    let (a, b) = (Host::new(), Host::new());
    let switch = Switch::start(&format!(
        "[network.lan]\nmode = \"internal\"\n{}{keys}\n{}",
        tap("lan", "a", &a),
        tap("lan", "b", &b)
    ));
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    (a, b, switch)
}

/// Bits a second that arrive of one TCP connection from `from` to `to`.
fn tcp(from: &Host, to: &Host, address: &str) -> f64 {
    let server = to.start(&format!("iperf3 -s -B {address}"));
    wait_until("iperf3 listens", || to.run("ss -Hltn sport = :5201").contains("LISTEN"));
    let shown = from.run(&format!("iperf3 -c {address} -t 6 -O 1 -J"));
    drop(server);
    let shown: Value = serde_json::from_str(&shown).expect("iperf3 prints JSON");
    shown["end"]["sum_received"]["bits_per_second"].as_f64().expect("a rate")
}

/// One TCP connection reaches nine tenths of the rate, on a busy machine not always at once, and never more than it, but
/// for the quarter of a second that the bucket holds.
#[track_caller]
fn reaches(from: &Host, to: &Host, address: &str, bits: f64) {
    let mut reached = 0.0;
    for _ in 0..3 {
        reached = tcp(from, to, address) / bits;
        assert!(reached < 1.06, "{reached} of {bits}");
        if reached >= 0.9 {
            return;
        }
    }
    panic!("{reached} of {bits}");
}

#[test]
fn tcp_reaches_nine_tenths_of_a_rate_in_and_no_more_than_it() {
    for (rate, bits) in [("20Mbit", 20e6), ("200Mbit", 200e6)] {
        let (a, b, switch) = pair(&format!("rate-in = \"{rate}\""));
        reaches(&a, &b, "10.1.0.2", bits);
        // The other way isn't limited.
        assert!(tcp(&b, &a, "10.1.0.1") > 1.2 * bits);
        switch.terminate();
    }
}

#[test]
fn tcp_reaches_nine_tenths_of_a_rate_out_and_no_more_than_it() {
    for (rate, bits) in [("20Mbit", 20e6), ("200Mbit", 200e6)] {
        let (a, b, switch) = pair(&format!("rate-out = \"{rate}\""));
        reaches(&b, &a, "10.1.0.1", bits);
        switch.terminate();
    }
}

#[test]
fn a_storm_of_broadcasts_is_cut_to_what_the_port_may_have_flooded() {
    let (a, b, switch) = pair("storm = { broadcast = 100, unknown = 50 }");
    let socket = a.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    let before = b.statistic("rx_packets");
    let frame = |dst| eth().src(MacAddr::local(0x51)).dst(dst).payload(&[0; 46]);
    for dst in [MacAddr::BROADCAST, MacAddr::local(0x77)] {
        let frame = frame(dst);
        let sent: usize = (0..40).map(|_| socket.send_many(&frame, 50).unwrap_or(0)).sum();
        assert!(sent > 500, "{sent}");
    }
    let stormed =
        || switch.show("drops").as_array().is_some_and(|drops| drops.iter().any(|d| d["reason"] == "storm"));
    wait_until("the rest is counted", stormed);
    let arrived = || b.statistic("rx_packets") - before;
    wait_until("a quarter of a second's of both kinds arrive", || arrived() >= 25 + 12);
    assert!(arrived() < 1000, "{} of thousands", arrived());
    // Who is known is reached.
    a.ping("10.1.0.2");
    switch.terminate();
}

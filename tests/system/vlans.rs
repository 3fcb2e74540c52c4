//! VLANs: access ports, trunks and tunnels between real hosts, with another switch of ours and with Open vSwitch.

use packet::MacAddr;
use packet::builder::{FrameBuilder, eth};
use serde_json::{Value, json};
use tapio::testing::PacketSocket;

use crate::host::{DEVICE, Host, in_user_namespace};
use crate::ovs::Ovs;
use crate::switch::{Switch, tap, wait_until};
use crate::traffic::TcpServer;

/// Bytes per transfer and direction.
const TRANSFER: u64 = 16 << 20;

/// A host at 10.1.0.N, with the keys of its port.
fn guest(n: u8, keys: &str) -> (Host, String) {
    let host = Host::new();
    let port = format!("{}{keys}\n", tap("lan", &format!("p{n}"), &host));
    (host, port)
}

fn switch(ports: &[&str]) -> Switch {
    Switch::start(&format!("[network.lan]\nmode = \"internal\"\n{}", ports.concat()))
}

fn addresses(hosts: &[&Host]) {
    for (n, host) in (1..).zip(hosts) {
        host.address(&format!("10.1.0.{n}/24"));
    }
}

/// What comes to a host's device with these tags, and nothing else, as tcpdump shows it.
fn received(host: &Host, expression: &str, send: impl FnOnce()) -> String {
    let dump = format!("timeout 10 tcpdump -n -e -c 1 --immediate-mode -i {DEVICE} {expression}");
    let mut listening = host.command("sh");
    let mut listening = listening
        .args(["-c", &format!("exec {dump}")])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("nsenter runs");
    let mut told = String::new();
    let mut errors = std::io::BufReader::new(listening.stderr.take().expect("it is piped"));
    while !told.contains("listening on") {
        let read = std::io::BufRead::read_line(&mut errors, &mut told).expect("tcpdump speaks");
        assert!(read > 0, "{told}");
    }
    send();
    let output = listening.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn send(host: &Host, frame: FrameBuilder) {
    let socket = host.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    socket.send(&frame.payload(&[1; 60])).expect("the queue is empty");
}

#[test]
fn s24_guests_of_different_vlans_do_not_meet_and_those_of_one_do() {
    let (a, pa) = guest(1, "vlan = 10");
    let (b, pb) = guest(2, "vlan = 10");
    let (c, pc) = guest(3, "vlan = 20");
    let (d, pd) = guest(4, "");
    let switch = switch(&[&pa, &pb, &pc, &pd]);
    addresses(&[&a, &b, &c, &d]);
    a.ping("10.1.0.2");
    a.cannot_ping("10.1.0.3");
    d.cannot_ping("10.1.0.1");
    c.cannot_ping("10.1.0.4");
    TcpServer::listen(&b, "10.1.0.2:80").exchange(&a, "10.1.0.2:80", TRANSFER);
    let vids: Vec<Value> =
        switch.show("fdb").as_array().expect("a list").iter().map(|e| e["vid"].clone()).collect();
    assert!(vids.contains(&json!(10)) && vids.contains(&json!(0)), "{vids:?}");
    let vlans = switch.show("vlans");
    let of = |vid: u16| vlans.as_array().expect("a list").iter().find(|vlan| vlan["vid"] == vid).cloned();
    let ten = of(10).expect("it is there");
    assert_eq!((&ten["untagged"], &ten["tagged"]), (&json!(["p1", "p2"]), &json!(["p4"])));
    assert_eq!((&ten["stations"], &ten["network"]), (&json!(2), &json!("lan")));
    let ports = switch.show("ports");
    let shown: Vec<&Value> = ports.as_array().expect("a list").iter().map(|port| &port["vlans"]).collect();
    assert_eq!(shown, ["10", "10", "20", "all"]);
    switch.terminate();
}

#[test]
fn s24_a_trunk_carries_tags_with_their_priority_and_an_access_port_none() {
    let (a, pa) = guest(1, "vlan = 10");
    let (b, pb) = guest(2, "trunk = \"10,20\"");
    let (c, pc) = guest(3, "vlan = 10");
    let _switch = switch(&[&pa, &pb, &pc]);
    let from = || eth().src(MacAddr::local(0x51)).dst(MacAddr::local(0x52));
    let shown = received(&b, "ether src 02:00:00:00:00:51", || send(&a, from().vlan(0xa000)));
    assert!(shown.contains("vlan 10, p 5"), "{shown}");
    let from = || eth().src(MacAddr::local(0x53)).dst(MacAddr::local(0x54));
    let shown = received(&c, "ether src 02:00:00:00:00:53", || send(&b, from().vlan(0xf00a)));
    assert!(shown.contains("length 74") && !shown.contains("vlan"), "{shown}");
}

#[test]
fn super_frames_cross_trunks_and_tunnels_with_one_and_two_tags_and_arrive_unharmed() {
    if in_user_namespace() {
        return;
    }
    let (a, b, host) = (Host::new(), Host::new(), Host::new());
    let mut config = String::new();
    for n in 1..=3 {
        host.run(&format!("ip link add l{n} mtu 1508 type veth peer name r{n} mtu 1508"));
    }
    // a ─ n1 ─ C-tag ─ n2 ─ S-tag around it ─ n3 ─ C-tag ─ n4 ─ b
    for (network, ports) in [
        ("n1", ["", "l1 trunk = \"10\""]),
        ("n2", ["r1 qinq = 100", "l2 trunk = \"100\""]),
        ("n3", ["r2 trunk = \"100\"", "l3 qinq = 100"]),
        ("n4", ["r3 vlan = 7\ntrunk = \"10\"", ""]),
    ] {
        config += &format!("[network.{network}]\nmode = \"internal\"\nmtu = 1500\n");
        for (device, keys) in ports.iter().filter_map(|port| port.split_once(' ')) {
            config += &format!("[network.{network}.port.{device}]\ntype = \"packet\"\n{keys}\n");
        }
    }
    config += &format!("{}vlan = 10\n{}vlan = 10\n", tap("n1", "a", &a), tap("n4", "b", &b));
    let switch = Switch::start_on(&host, &config);
    addresses(&[&a, &b]);
    a.ping("10.1.0.2");
    // The largest packet, with both tags 1522 bytes.
    a.run("ping -n -c 1 -W 3 -M do -s 1472 10.1.0.2");
    TcpServer::listen(&b, "10.1.0.2:80").exchange(&a, "10.1.0.2:80", TRANSFER);
    let drops = switch.show("drops");
    assert_eq!(drops.as_array().map(Vec::len), Some(0), "{drops}");
    let longest = |device: &str| {
        let ports = switch.show("ports");
        let port =
            ports.as_array().and_then(|ports| ports.iter().find(|port| port["name"] == device)).cloned();
        let count = |field: &str| port.as_ref().and_then(|port| port[field].as_u64()).expect("a counter");
        count("tx_bytes") / count("tx_frames")
    };
    assert!(longest("l2") > 3000, "they went as super-frames: {}", longest("l2"));
    switch.terminate();
}

#[test]
fn segments_for_a_port_without_offload_have_their_tags_and_open_vswitch_takes_them() {
    let (a, b, peer) = (Host::new(), Host::new(), Host::new());
    let trunk = format!("{}trunk = \"10,20\"\noffload = false\n", tap("lan", "ovs", &peer));
    let switch = Switch::start(&format!(
        "[network.lan]\nmode = \"internal\"\n{}vlan = 10\n{}vlan = 20\n{trunk}",
        tap("lan", "a", &a),
        tap("lan", "b", &b)
    ));
    addresses(&[&a]);
    b.address("10.2.0.1/24");
    let ovs = Ovs::start(&peer);
    ovs.internal_port("ten", "10.1.0.2/24", "tag=10");
    ovs.internal_port("twenty", "10.2.0.2/24", "tag=20");
    ovs.set(&format!("add-port br0 {DEVICE} trunks=10,20"));
    wait_until("the path is there", || a.try_run("ping -n -c 1 -W 1 10.1.0.2").is_ok());
    b.ping("10.2.0.2");
    TcpServer::listen(&peer, "10.1.0.2:80").exchange(&a, "10.1.0.2:80", TRANSFER);
    let known = ovs.ask("fdb/show br0");
    let is_in = |vlan: &str, mac: &str| {
        known.lines().any(|line| line.split_whitespace().skip(1).take(2).eq([vlan, mac]))
    };
    assert!(is_in("10", &a.mac()) && is_in("20", &b.mac()), "{known}");
    switch.terminate();
}

#[test]
fn a_tunnel_of_open_vswitch_ends_at_one_of_ours() {
    let (a, peer) = (Host::new(), Host::new());
    // The kernel makes room for a tag of 802.1Q beside the MTU, but for none of 802.1ad.
    let trunk = format!("{}trunk = \"100\"\nmtu = 1504\noffload = false\n", tap("lan", "ovs", &peer));
    let switch = Switch::start(&format!(
        "[network.lan]\nmode = \"internal\"\n{}qinq = 100\n{trunk}",
        tap("lan", "a", &a),
    ));
    addresses(&[&a]);
    let ovs = Ovs::start(&peer);
    ovs.set("set Open_vSwitch . other_config:vlan-limit=2");
    ovs.internal_port("tunnel", "10.1.0.2/24", "vlan_mode=dot1q-tunnel tag=100");
    ovs.set(&format!("add-port br0 {DEVICE} vlan_mode=trunk trunks=100"));
    wait_until("the path is there", || a.try_run("ping -n -c 1 -W 1 10.1.0.2").is_ok());
    TcpServer::listen(&peer, "10.1.0.2:80").exchange(&a, "10.1.0.2:80", 1 << 20);
    switch.terminate();
}

#[test]
fn a_reload_moves_a_guest_into_another_vlan() {
    let hosts = [Host::new(), Host::new(), Host::new()];
    let config = |vlan: u16| {
        let ports = (1..).zip(&hosts).zip([vlan, 10, 20]);
        let ports =
            ports.map(|((n, host), vlan)| format!("{}vlan = {vlan}\n", tap("lan", &format!("p{n}"), host)));
        format!("[network.lan]\nmode = \"internal\"\n{}", ports.collect::<String>())
    };
    let switch = Switch::start(&config(10));
    let [a, b, c] = &hosts;
    addresses(&[a, b, c]);
    a.ping("10.1.0.2");
    assert!(switch.reload(&config(20)).status.success());
    a.ping("10.1.0.3");
    a.cannot_ping("10.1.0.2");
    switch.terminate();
}

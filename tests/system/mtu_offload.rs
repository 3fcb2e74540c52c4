//! Every combination of frame size and offload: what arrives is what was sent.

use std::io;

use crate::host::{DEVICE, Host, in_user_namespace};
use crate::switch::{Switch, tap, wait_until};
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
fn segments_that_a_sender_cut_itself_leave_as_super_frames_where_that_is_wanted() {
    let (a, b) = (Host::new(), Host::new());
    // Without offload the sender's kernel cuts.
    let config = |gro| {
        let from = port("network.lan.port.a", &a, (1500, false));
        format!(
            "[network.lan]\nmode = \"internal\"\n{from}{}{gro}",
            port("network.lan.port.b", &b, (1500, true))
        )
    };
    let switch = Switch::start(&config(""));
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    let server = TcpServer::listen(&b, "10.1.0.2:80");
    let transfer = || {
        let frames = || [a.statistic("tx_packets"), b.statistic("rx_packets")];
        let before = frames();
        server.exchange(&a, "10.1.0.2:80", TRANSFER);
        let after = frames();
        [after[0] - before[0], after[1] - before[1]]
    };
    let [cut, arrived] = transfer();
    assert!(cut > TRANSFER / 1448 && arrived < cut * 3 / 4, "{arrived} of {cut}");
    let ports = switch.show("ports");
    let counted = ["rx_frames", "tx_frames"].map(|key| ports[usize::from(key == "tx_frames")][key].as_u64());
    assert!(counted[1] >= Some(cut) && counted[1] <= counted[0], "{counted:?}");
    assert!(switch.reload(&config("gro = false\n")).status.success());
    let [cut, arrived] = transfer();
    assert!(arrived >= cut - cut / 100, "{arrived} of {cut}");
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

/// The MTUs of ports, as the switch has them.
fn mtus(switch: &Switch) -> Vec<u64> {
    let ports = switch.show("ports");
    ports.as_array().expect("a list").iter().map(|port| port["mtu"].as_u64().expect("a number")).collect()
}

fn mtu_of(host: &Host, device: &str) -> u64 {
    let json = host.run(&format!("ip -j link show dev {device}"));
    let links: serde_json::Value = serde_json::from_str(&json).expect("ip prints JSON");
    links[0]["mtu"].as_u64().expect("a number")
}

fn set_mtu(host: &Host, mtu: u16) {
    host.run(&format!("ip link set {DEVICE} mtu {mtu}"));
}

/// A network of two hosts, where these keys stand behind the network's and behind the first port's.
fn lan(keys: &str, [a, b]: [&Host; 2], port: &str) -> String {
    format!(
        "[network.lan]\nmode = \"internal\"\n{keys}\n{}{port}\n{}",
        tap("lan", "a", a),
        tap("lan", "b", b)
    )
}

#[test]
fn ports_without_mtu_follow_peers_to_jumbo_frames_and_back_and_a_reload_leaves_them_so() {
    let (a, b) = (Host::new(), Host::new());
    let switch = Switch::start(&lan("", [&a, &b], ""));
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    [&a, &b].iter().for_each(|host| set_mtu(host, 9000));
    wait_until("both are followed", || mtus(&switch) == [9000, 9000]);
    check(&a, &b, "10.1.0.2", 9000);
    assert!(switch.reload(&lan("ageing = 100", [&a, &b], "")).status.success());
    assert_eq!(mtus(&switch), [9000, 9000]);
    a.run("ping -n -c 1 -W 3 -M do -s 8972 10.1.0.2");
    // Set in the file, and then no more: the device is as it was.
    assert!(switch.reload(&lan("", [&a, &b], "mtu = 1400")).status.success());
    assert_eq!(mtus(&switch), [1400, 9000]);
    assert_eq!(mtu_of(&a, DEVICE), 1400);
    assert!(switch.reload(&lan("", [&a, &b], "")).status.success());
    assert_eq!((mtus(&switch), mtu_of(&a, DEVICE)), (vec![9000, 9000], 9000));
}

#[test]
fn mtus_that_the_file_says_follow_nobody() {
    for (network, port, expected) in
        [("mtu = 1500", "", [1500, 1500, 1300]), ("", "mtu = 1500", [1500, 9000, 1300])]
    {
        let (a, b) = (Host::new(), Host::new());
        // What is told of the witness is told of the device before, too.
        let witness = format!(
            "[network.w]\nmode = \"internal\"\n[network.w.port.w]\ntype = \"tap\"\ndevice = \"w0\"\nnetns = \"{a}\"\n"
        );
        let switch = Switch::start(&(lan(network, [&a, &b], port) + &witness));
        a.address("10.1.0.1/24");
        b.address("10.1.0.2/24");
        [&b, &a].iter().for_each(|host| set_mtu(host, 9000));
        a.run("ip link set w0 mtu 1300");
        wait_until("the witness is followed", || mtus(&switch) == expected);
        b.cannot_ping("-M do -s 4000 10.1.0.1");
        assert_eq!(mtus(&switch), expected);
    }
}

#[test]
fn an_uplink_that_is_lowered_is_told_to_guests_and_connections_go_on() {
    let (a, o) = (Host::new(), Host::new());
    let config = format!(
        "[network.default]\nmode = \"nat\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\n{}\
         [uplink.wan]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{o}\"\naddress = \"10.180.13.2/24\"\n",
        tap("default", "a", &a)
    );
    let switch = Switch::start(&config);
    a.address("192.168.122.10/24");
    a.gateway("192.168.122.1");
    o.address("10.180.13.1/24");
    a.run("ping -n -c 1 -W 3 -M do -s 1400 10.180.13.1");
    let server = TcpServer::listen(&o, "10.180.13.1:80");
    server.exchange(&a, "10.180.13.1:80", TRANSFER);
    set_mtu(&o, 1280);
    wait_until("the uplink is followed", || switch.show("uplinks")[0]["mtu"] == 1280);
    let printed = a.try_run("ping -n -c 1 -W 2 -M do -s 1400 10.180.13.1").expect_err("it can't pass");
    assert!(printed.contains("From 192.168.122.1") && printed.contains("mtu = 1280"), "{printed}");
    TcpServer::listen(&o, "10.180.13.1:81").exchange(&a, "10.180.13.1:81", TRANSFER);
    a.run("ping -n -c 1 -W 3 -M dont -s 4000 10.180.13.1");
    // Nothing of it is undone by a reload, or by rules.
    assert!(
        switch.reload(&config.replace("uplink = \"wan\"", "uplink = \"wan\"\nageing = 100")).status.success()
    );
    a.run("ip route flush cache");
    let printed = a.try_run("ping -n -c 1 -W 2 -M do -s 1400 10.180.13.1").expect_err("it can't pass");
    assert!(printed.contains("mtu = 1280"), "{printed}");
    set_mtu(&o, 1500);
    wait_until("the uplink is followed", || switch.show("uplinks")[0]["mtu"] == 1500);
    a.run("ip route flush cache");
    a.run("ping -n -c 1 -W 3 -M do -s 1400 10.180.13.1");
}

#[test]
fn devices_that_are_there_before_the_switch_keep_their_mtu() {
    if in_user_namespace() {
        return;
    }
    let host = Host::new();
    host.run("ip tuntap add t0 mode tap");
    host.run("ip link set t0 mtu 9000");
    host.run("ip link add v0 mtu 1400 type veth peer name v1");
    host.run("ip link set v1 up");
    let config = "[network.lan]\nmode = \"internal\"\n[network.lan.port.a]\ntype = \"tap\"\ndevice = \"t0\"\n\
                  [network.lan.port.b]\ntype = \"packet\"\ndevice = \"v0\"\n";
    let mut switch = Switch::start_on(&host, config);
    assert_eq!(mtus(&switch), [9000, 1400]);
    assert_eq!((mtu_of(&host, "t0"), mtu_of(&host, "v0")), (9000, 1400));
    host.run("ip link set v0 mtu 1300");
    wait_until("it is followed", || mtus(&switch) == [9000, 1300]);
    assert!(switch.signal(rustix::process::Signal::TERM).success());
    assert_eq!((mtu_of(&host, "t0"), mtu_of(&host, "v0")), (9000, 1300));
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

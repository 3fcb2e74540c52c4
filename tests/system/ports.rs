//! Ports of other types than tap, and what mixes of them make.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::host::{DEVICE, Host, in_user_namespace};
use crate::switch::{self, Folder, Switch, tapswitch_on, wait_until};
use crate::traffic::TcpServer;

const BYTES: u64 = 8 << 20;

/// A tap port whose device has the same MAC address after each start.
fn tap(network: &str, name: &str, host: &Host) -> String {
    let last = name.as_bytes().first().copied().unwrap_or_default();
    format!("{}mac = \"02:00:00:00:00:{last:02x}\"\n", switch::tap(network, name, host))
}

/// The table of a packet port on `device`, which is where the switch is.
fn packet(network: &str, name: &str, device: &str) -> String {
    format!("[network.{network}.port.{name}]\ntype = \"packet\"\ndevice = \"{device}\"\n")
}

/// The table of a stream port.
fn stream(name: &str, folder: &Folder, role: &str) -> String {
    let path = folder.path().join("cable.sock");
    format!(
        "[network.lan.port.{name}]\ntype = \"stream\"\npath = \"{}\"\nrole = \"{role}\"\n",
        path.display()
    )
}

/// A cable from `guest`'s device to `device` of `host`.
#[track_caller]
fn veth(host: &Host, device: &str, guest: &Host) {
    host.run(&format!("ip link add {device} type veth peer name {DEVICE} netns {guest}"));
    guest.run(&format!("ip link set {DEVICE} up"));
}

/// What `show ports` says of the port `name`.
fn port(switch: &Switch, name: &str) -> Value {
    let ports = switch.show("ports");
    let found = ports.as_array().into_iter().flatten().find(|port| port["name"] == name);
    found.unwrap_or_else(|| panic!("no port {name} in {ports}")).clone()
}

#[track_caller]
fn wait_for_link(switch: &Switch, name: &str, up: bool) {
    wait_until(&format!("the link of {name} is {up}"), || port(switch, name)["link"] == up);
}

/// `to`, which is 10.0.0.2, answers ping and serves a client in `from`.
#[track_caller]
fn reaches(from: &Host, to: &Host) {
    from.ping("10.0.0.2");
    TcpServer::listen(to, "10.0.0.2:80").exchange(from, "10.0.0.2:80", BYTES);
}

#[test]
fn a_veth_end_and_a_tap_are_on_one_network_and_the_host_between_them_is_silent() {
    if in_user_namespace() {
        return;
    }
    let (host, a, b) = (Host::new(), Host::new(), Host::new());
    veth(&host, "v0", &a);
    host.run("ip address add 10.0.0.99/24 dev v0");
    let config = format!(
        "[network.lan]\nmode = \"internal\"\n{}take-over = true\n{}",
        packet("lan", "a", "v0"),
        tap("lan", "b", &b)
    );
    let switch = Switch::start_on(&host, &config);
    a.address("10.0.0.1/24");
    b.address("10.0.0.2/24");
    reaches(&a, &b);
    a.cannot_ping("10.0.0.99");
    assert_eq!(port(&switch, "a")["type"], "packet");
    switch.terminate();
}

/// What `ip` says of `v0`: its flags, and its MTU.
fn v0(host: &Host) -> (bool, u64) {
    let text = host.run("ip -j link show dev v0");
    let links: Value = serde_json::from_str(&text).expect("ip prints JSON");
    let flags = links[0]["flags"].as_array().into_iter().flatten();
    (flags.into_iter().any(|flag| flag == "UP"), links[0]["mtu"].as_u64().expect("a number"))
}

/// 10.0.0.99 answers, once `host` has forgotten that it didn't.
#[track_caller]
fn answers(host: &Host) {
    wait_until("the host answers", || host.try_run("ping -n -c 1 -W 1 10.0.0.99").is_ok());
}

#[test]
fn a_host_that_had_no_use_of_a_device_stays_silent_there_when_the_switch_is_killed() {
    if in_user_namespace() {
        return;
    }
    let (host, a) = (Host::new(), Host::new());
    veth(&host, "v0", &a);
    host.run("ip link set v0 mtu 1400");
    a.address("10.0.0.1/24");
    // The host would hear of it at any of its addresses.
    host.run("ip address add 10.0.0.99/32 dev lo");
    let config = format!("[network.lan]\nmode = \"internal\"\n{}", packet("lan", "a", "v0"));
    let mut switch = Switch::start_on(&host, &config);
    let config = config + "mtu = 1500\n";
    assert!(switch.reload(&config).status.success());
    let is_silent = || {
        a.cannot_ping("10.0.0.99");
        let heard = a.statistic("rx_packets");
        let _ = host.try_run("ping -n -c 1 -W 1 -I v0 10.0.0.1");
        assert_eq!(a.statistic("rx_packets"), heard, "the host has said something");
    };
    is_silent();
    switch.kill();
    is_silent();
    assert_eq!(v0(&host), (true, 1500), "nobody was there to give it back");
    switch.restart();
    is_silent();
    switch.kill_and_restart();
    // A second one that can't run beside the first takes nothing from it.
    let folder = Folder::new();
    std::fs::write(folder.config(), &config).expect("the folder exists");
    let (config, control) = (folder.config(), switch.control());
    let args =
        ["run", "--config", config.to_str().expect("ASCII"), "--control", control.to_str().expect("ASCII")];
    let second = tapswitch_on(&host, &args);
    assert!(!second.status.success(), "{second:?}");
    is_silent();
    assert_eq!(v0(&host), (true, 1500));
    switch.terminate();
    assert_eq!(v0(&host), (false, 1400), "as it was before the first start");
    assert_eq!(host.run("tc qdisc show dev v0 clsact"), "");
    host.run("ip link set v0 up");
    host.run("ip route add 10.0.0.1/32 dev v0");
    answers(&a);
}

#[test]
fn what_a_killed_switch_has_left_goes_when_the_host_may_use_the_device_again_or_by_hand() {
    if in_user_namespace() {
        return;
    }
    let (host, a) = (Host::new(), Host::new());
    veth(&host, "v0", &a);
    host.run("ip address add 10.0.0.99/24 dev v0");
    a.address("10.0.0.1/24");
    let config =
        |keys: &str| format!("[network.lan]\nmode = \"internal\"\n{}{keys}\n", packet("lan", "a", "v0"));
    let mut switch = Switch::start_on(&host, &config("take-over = true"));
    a.cannot_ping("10.0.0.99");
    switch.kill();
    a.cannot_ping("10.0.0.99");
    switch.write_config(&config("host-stack = true"));
    switch.restart();
    answers(&a);
    switch.terminate();
    assert!(!v0(&host).0, "as it was before the first start");

    let mut switch = Switch::start_on(&host, &config("take-over = true"));
    assert!(switch.reload(&config("host-stack = true")).status.success());
    answers(&a);
    assert!(switch.reload(&config("take-over = true")).status.success());
    a.cannot_ping("10.0.0.99");
    switch.kill();
    a.cannot_ping("10.0.0.99");
    host.run("tc qdisc del dev v0 clsact");
    answers(&a);
}

#[test]
fn a_host_whose_device_was_taken_over_has_it_back_when_the_switch_is_killed() {
    if in_user_namespace() {
        return;
    }
    let (host, a) = (Host::new(), Host::new());
    veth(&host, "v0", &a);
    host.run("ip link set v0 up");
    host.run("ip address add 10.0.0.99/24 dev v0");
    a.address("10.0.0.1/24");
    answers(&a);
    let config =
        format!("[network.lan]\nmode = \"internal\"\n{}take-over = true\n", packet("lan", "a", "v0"));
    let mut switch = Switch::start_on(&host, &config);
    a.cannot_ping("10.0.0.99");
    switch.kill();
    answers(&a);
}

#[test]
fn s27_ports_come_and_go_while_traffic_flows_and_fdb_and_flows_are_shown() {
    let [a, b, c, outside] = [Host::new(), Host::new(), Host::new(), Host::new()];
    let config = format!(
        "[network.lan]\nmode = \"nat\"\naddress = \"10.0.0.254/24\"\nuplink = \"wan\"\n{}{}\
         [uplink.wan]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{outside}\"\naddress = \"10.180.13.2/24\"\n",
        tap("lan", "a", &a),
        tap("lan", "b", &b)
    );
    let switch = Switch::start(&config);
    a.address("10.0.0.1/24");
    b.address("10.0.0.2/24");
    outside.address("10.180.13.1/24");
    let shown = |what: &str, words: &[&str]| {
        let table = switch.command(&["show", what]);
        let table = String::from_utf8_lossy(&table.stdout).into_owned();
        table.lines().any(|line| words.iter().all(|word| line.contains(word)))
    };
    let flow = a.start("ping -n -i 0.01 10.0.0.2");
    for _ in 0..3 {
        let added =
            switch.command(&["port", "add", "lan/c", "type=tap", "device=eth0", &format!("netns={c}")]);
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        c.address("10.0.0.3/24");
        c.gateway("10.0.0.254");
        reaches(&c, &b);
        c.ping("10.180.13.1");
        let mac = c.mac();
        assert!(shown("fdb", &["lan", &mac, " c "]));
        assert!(shown("flows", &["icmp", "10.0.0.3:", "10.180.13.1:", "10.180.13.2:"]));
        assert!(switch.command(&["port", "del", "lan/c"]).status.success());
        assert!(c.try_run("ip link show eth0").is_err(), "the device goes with its port");
        assert!(!shown("fdb", &[&mac]), "what was learned there, too");
    }
    drop(flow);
    let wrong = switch.command(&["port", "add", "lan/a", "type=tap"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("there already"));
    let missing =
        switch.command(&["port", "add", "lan/d", "type=tap", "device=d", "netns=no-such-namespace"]);
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(switch.show("ports").as_array().map(Vec::len), Some(3));
    let added =
        switch.command(&["port", "add", "lan/d", "type=packet", "device=d0", "host-stack=true", "mtu=9000"]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    assert!(switch.reload(&config).status.success());
    assert_eq!(switch.show("ports").as_array().map(Vec::len), Some(3), "a reload returns to the file");
    reaches(&a, &b);
}

#[test]
fn a_packet_port_waits_for_its_device_and_takes_it_up_again() {
    if in_user_namespace() {
        return;
    }
    let (host, b) = (Host::new(), Host::new());
    let config =
        format!("[network.lan]\nmode = \"internal\"\n{}{}", packet("lan", "a", "v0"), tap("lan", "b", &b));
    let switch = Switch::start_on(&host, &config);
    b.address("10.0.0.2/24");
    assert_eq!(port(&switch, "a")["link"], false);
    for _ in 0..2 {
        let a = Host::new();
        veth(&host, "v0", &a);
        a.address("10.0.0.1/24");
        wait_for_link(&switch, "a", true);
        reaches(&a, &b);
        host.run("ip link delete v0");
        wait_for_link(&switch, "a", false);
        b.cannot_ping("10.0.0.1");
    }
}

#[test]
fn a_device_is_one_switchs_and_the_next_ones_when_that_ends() {
    if in_user_namespace() {
        return;
    }
    let (host, a, other) = (Host::new(), Host::new(), Host::new());
    veth(&host, "v0", &a);
    let network = "[network.lan]\nmode = \"internal\"\n";
    let config = format!("{network}{}", packet("lan", "a", "v0"));
    let mut first = Switch::start_on(&host, &config);
    let second = Switch::start_on(&host, network);
    let refused = |second: &Switch, keys: &str| {
        let output = second.reload(&format!("{config}{keys}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{output:?}");
        assert!(said.contains(&format!("another switch, process {}, has it", first.pid())), "{said}");
        assert!(said.contains("port lan/a: cannot take v0"), "{said}");
    };
    refused(&second, "");
    refused(&second, "host-stack = true\n");
    // By another name of the same namespace, too; and of another one a device of that number is free.
    let abroad = Switch::start_on(&other, network);
    refused(&abroad, &format!("netns = \"{host}\"\n"));
    // Its own switch goes on, and over to another way to have it.
    assert!(first.reload(&format!("{config}host-stack = true\n")).status.success());
    refused(&second, "");
    assert!(first.reload(&config).status.success());
    assert_eq!(port(&first, "a")["link"], true);
    first.kill();
    assert!(second.reload(&config).status.success());
    wait_for_link(&second, "a", true);
}

#[test]
fn a_device_without_ethernet_is_refused_by_everything_that_sees_it() {
    if in_user_namespace() {
        return;
    }
    let host = Host::new();
    let network = "[network.lan]\nmode = \"internal\"\n";
    let config = format!("{network}{}", packet("lan", "a", "tun0"));
    let mut switch = Switch::start_on(&host, network);
    // It is not there yet: somebody may want to make a tap of that name.
    assert!(switch.reload(&config).status.success());
    host.run("ip tuntap add tun0 mode tun");
    host.run("ip link set tun0 up");
    wait_until("the log says why", || {
        switch.log().contains("cannot take tun0: it carries no Ethernet frames")
    });
    assert_eq!(switch.log().matches("it carries no Ethernet frames").count(), 1, "{}", switch.log());
    assert!(switch.reload(network).status.success());
    let added = switch.command(&["port", "add", "lan/a", "type=packet", "device=tun0"]);
    let folder = Folder::new();
    std::fs::write(folder.config(), &config).expect("the folder exists");
    let checked = switch::tapswitch_on(&host, &["check", folder.config().to_str().expect("ASCII")]);
    for output in [switch.reload(&config), added, checked] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("`tun0` carries no Ethernet frames") && said.contains("a tap"), "{said}");
    }
    switch.kill();
}

#[test]
fn an_uplink_of_type_packet_leads_outside() {
    if in_user_namespace() {
        return;
    }
    let card = |host: &Host, outside: &Host| veth(host, "wan0", outside);
    let on_top = |kind: &str| {
        let line = format!("ip link add link card name wan0 type {kind} mode passthru");
        move |host: &Host, outside: &Host| {
            veth(host, "card", outside);
            host.run("ip link set card up");
            host.run(&line);
        }
    };
    leads_outside(card);
    leads_outside(on_top("macvtap"));
    leads_outside(on_top("macvlan"));
}

/// An uplink of type packet on what `make` makes of a network card, which goes to `outside`.
fn leads_outside(make: impl Fn(&Host, &Host)) {
    let (host, guest, outside) = (Host::new(), Host::new(), Host::new());
    make(&host, &outside);
    let switch = Switch::start_on(
        &host,
        &format!(
            "[network.lan]\nmode = \"nat\"\naddress = \"192.168.7.1/24\"\nuplink = \"wan\"\n\
             publish = [\"80:192.168.7.10:80\"]\n{}\
             [uplink.wan]\ntype = \"packet\"\ndevice = \"wan0\"\naddress = \"10.0.0.9/24\"\ngateway = \"10.0.0.2\"\n",
            tap("lan", "guest", &guest)
        ),
    );
    guest.address("192.168.7.10/24");
    guest.gateway("192.168.7.1");
    outside.address("10.0.0.2/24");
    reaches(&guest, &outside);
    TcpServer::listen(&guest, "192.168.7.10:80").exchange(&outside, "10.0.0.9:80", BYTES);
    switch.terminate();
}

#[test]
fn a_stream_joins_two_switches_and_is_taken_up_again_after_each_restart() {
    let (folder, a, b) = (Folder::new(), Host::new(), Host::new());
    let config = |name: &str, host: &Host, role: &str| {
        format!(
            "[network.lan]\nmode = \"internal\"\n{}{}",
            tap("lan", name, host),
            stream("cable", &folder, role)
        )
    };
    let mut server = Switch::start(&config("a", &a, "server"));
    let mut client = Switch::start(&config("b", &b, "client"));
    wait_for_link(&server, "cable", true);
    wait_for_link(&client, "cable", true);
    a.address("10.0.0.1/24");
    b.address("10.0.0.2/24");
    reaches(&a, &b);
    client.kill();
    wait_for_link(&server, "cable", false);
    client.restart();
    wait_for_link(&client, "cable", true);
    b.address("10.0.0.2/24");
    reaches(&a, &b);
    server.kill_and_restart();
    a.address("10.0.0.1/24");
    wait_for_link(&client, "cable", true);
    wait_for_link(&server, "cable", true);
    reaches(&a, &b);
}

#[test]
fn datagrams_join_two_switches() {
    let (folder, a, b) = (Folder::new(), Host::new(), Host::new());
    let config = |name: &str, host: &Host, path: &str, peer: &str| {
        let [path, peer] = [path, peer].map(|name| folder.path().join(name).display().to_string());
        let lan = tap("lan", name, host);
        format!(
            "[network.lan]\nmode = \"internal\"\n{lan}[network.lan.port.cable]\ntype = \"dgram\"\npath = \"{path}\"\npeer = \"{peer}\"\n"
        )
    };
    let one = Switch::start(&config("a", &a, "one", "two"));
    let mut two = Switch::start(&config("b", &b, "two", "one"));
    wait_for_link(&one, "cable", true);
    a.address("10.0.0.1/24");
    b.address("10.0.0.2/24");
    reaches(&a, &b);
    two.kill_and_restart();
    b.address("10.0.0.2/24");
    wait_until("the peer is found again", || a.try_run("ping -n -c 1 -W 1 10.0.0.2").is_ok());
    reaches(&a, &b);
}

#[test]
fn a_peer_that_sends_nonsense_loses_its_connection_and_nobody_else_notices() {
    let (folder, a, b) = (Folder::new(), Host::new(), Host::new());
    let switch = Switch::start(&format!(
        "[network.lan]\nmode = \"internal\"\n{}{}{}",
        tap("lan", "a", &a),
        tap("lan", "b", &b),
        stream("cable", &folder, "server")
    ));
    a.address("10.0.0.1/24");
    b.address("10.0.0.2/24");
    for nonsense in [&[0xff; 64][..], &[0; 64]] {
        let mut peer = UnixStream::connect(folder.path().join("cable.sock")).expect("the switch listens");
        peer.write_all(nonsense).expect("the switch reads");
        assert_eq!(peer.read(&mut [0]).expect("the switch answers nothing"), 0);
    }
    let drops = port(&switch, "cable")["drops"].clone();
    assert_eq!((&drops["frame_too_long"], &drops["frame_too_short"]), (&1.into(), &1.into()), "{drops}");
    assert!(switch.log().contains("announced a frame of 4294967295 bytes"), "{}", switch.log());
    reaches(&a, &b);
}

#[test]
fn a_guest_that_reads_nothing_holds_up_nobody() {
    let (folder, a, b) = (Folder::new(), Host::new(), Host::new());
    let switch = Switch::start(&format!(
        "[network.lan]\nmode = \"internal\"\n{}{}{}",
        tap("lan", "a", &a),
        tap("lan", "b", &b),
        stream("cable", &folder, "server")
    ));
    a.address("10.0.0.1/24");
    b.address("10.0.0.2/24");
    let _deaf = UnixStream::connect(folder.path().join("cable.sock")).expect("the switch listens");
    wait_for_link(&switch, "cable", true);
    // To nobody: flooded to the deaf peer, too, until its queues are full.
    a.run("ip neighbour add 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0");
    wait_until("the deaf peer's queue is full", || {
        let _ = a.try_run("ping -n -q -c 200 -i 0.002 -s 1400 -W 1 10.0.0.77");
        port(&switch, "cable")["drops"]["tx_queue_full"].as_u64() > Some(0)
    });
    reaches(&a, &b);
}

//! One Ethernet segment: guests, the host, and namespaces as ports of a learning bridge.

use packet::MacAddr;
use packet::builder::eth;
use serde_json::Value;
use tapio::testing::PacketSocket;

use crate::host::{DEVICE, Host};
use crate::switch::{Switch, tap, wait_until};
use crate::traffic::{TcpServer, udp, udp_exchange};

/// A segment of guests at 10.1.0.1, 10.1.0.2 …; the ports are called p1, p2 ….
fn segment(guests: &[&Host]) -> Switch {
    let ports: String = (1..).zip(guests).map(|(n, guest)| tap("lan", &format!("p{n}"), guest)).collect();
    let switch = Switch::start(&format!("[network.lan]\nmode = \"internal\"\n{ports}"));
    for (n, guest) in (1..).zip(guests) {
        guest.address(&format!("10.1.0.{n}/24"));
    }
    switch
}

/// The port behind which the FDB has `mac`.
fn port_of(fdb: &Value, mac: &str) -> Option<String> {
    let entry = fdb.as_array()?.iter().find(|entry| entry["mac"] == mac)?;
    Some(entry["port"].as_str()?.to_owned())
}

#[test]
fn s1_two_guests_on_one_bridge_ping_and_the_fdb_shows_both() {
    let (a, b) = (Host::new(), Host::new());
    let switch = segment(&[&a, &b]);
    a.ping("10.1.0.2");
    b.ping("10.1.0.1");
    let fdb = switch.show("fdb");
    assert_eq!(port_of(&fdb, &a.mac()).as_deref(), Some("p1"), "{fdb}");
    assert_eq!(port_of(&fdb, &b.mac()).as_deref(), Some("p2"), "{fdb}");
    switch.terminate();
}

#[test]
fn s2_the_host_has_an_address_on_its_tap_and_pings_the_guest() {
    let (host, guest) = (Host::new(), Host::new());
    let config = format!(
        "[network.lan]\nmode = \"internal\"\n{}\
         [network.lan.port.tap1]\ntype = \"tap\"\npeer-address = \"192.168.1.1/24\"\n",
        tap("lan", "guest", &guest)
    );
    let switch = Switch::start_on(&host, &config);
    guest.address("192.168.1.2/24");
    host.ping("192.168.1.2");
    guest.ping("192.168.1.1");
    switch.terminate();
}

#[test]
fn s19_ports_are_placed_in_namespaces_by_name_by_path_and_by_process_id() {
    let (by_id, by_path) = (Host::new(), Host::new());
    let name = format!("tapswitch-test-{}", std::process::id());
    let named = NamedNamespace::new(&name);
    let switch = Switch::start(&format!(
        "[network.lan]\nmode = \"internal\"\n{}\
         [network.lan.port.p2]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"/proc/{by_path}/ns/net\"\n\
         peer-address = \"10.1.0.2/24\"\n\
         [network.lan.port.p3]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{name}\"\n\
         peer-address = \"10.1.0.3/24\"\n",
        tap("lan", "p1", &by_id)
    ));
    by_id.address("10.1.0.1/24");
    by_id.ping("10.1.0.2");
    by_id.ping("10.1.0.3");
    by_path.ping("10.1.0.3");
    switch.terminate();
    drop(named);
}

/// A namespace as `ip netns` makes it.
struct NamedNamespace<'a>(&'a str);

impl<'a> NamedNamespace<'a> {
    fn new(name: &'a str) -> Self {
        Self::ip(&["netns", "add", name]);
        Self(name)
    }

    fn ip(args: &[&str]) {
        let status = std::process::Command::new("ip").args(args).status().expect("ip runs");
        assert!(status.success(), "ip {args:?}");
    }
}

impl Drop for NamedNamespace<'_> {
    fn drop(&mut self) {
        Self::ip(&["netns", "delete", self.0]);
    }
}

#[test]
fn unknown_destinations_flood_and_known_ones_reach_only_their_port() {
    let (a, b, c) = (Host::new(), Host::new(), Host::new());
    let _switch = segment(&[&a, &b, &c]);
    a.ping("10.1.0.2");
    // ARP's question went to all.
    assert!(c.statistic("rx_packets") >= 1);
    // The answer of the ping above has made both known; entries of ARP don't need refreshing within this second.
    let before = c.statistic("rx_packets");
    a.run("ping -n -q -c 50 -i 0.01 10.1.0.2");
    let seen = c.statistic("rx_packets") - before;
    assert!(seen <= 1, "{seen} frames of a conversation between others reached a third port");
}

#[test]
fn transfers_between_guests_arrive_unharmed() {
    let (a, b) = (Host::new(), Host::new());
    let _switch = segment(&[&a, &b]);
    let peer = TcpServer::listen(&b, "10.1.0.2:80").exchange(&a, "10.1.0.2:80", 64 << 20);
    assert_eq!(peer.ip().to_string(), "10.1.0.1");
    let (from, to) = (udp(&a, "10.1.0.1:5000"), udp(&b, "10.1.0.2:5001"));
    for len in [0, 1, 1472, 1473, 9000, 65_507] {
        udp_exchange(&from, &to, "10.1.0.2:5001", len);
    }
}

#[test]
fn ipv6_guests_find_each_other_by_multicast() {
    let (a, b) = (Host::new(), Host::new());
    let _switch = segment(&[&a, &b]);
    for (host, address) in [(&a, "fd00:1::1/64"), (&b, "fd00:1::2/64")] {
        host.run(&format!("sysctl -qw net.ipv6.conf.{DEVICE}.disable_ipv6=0"));
        host.run(&format!("ip address add {address} dev {DEVICE} nodad"));
    }
    a.ping("fd00:1::2");
}

#[test]
fn tagged_frames_pass_whole() {
    let (a, b) = (Host::new(), Host::new());
    let _switch = segment(&[&a, &b]);
    let socket = a.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    let before = (b.statistic("rx_packets"), b.statistic("rx_bytes"));
    let frame = eth().vlan(100).vlan(7).dst(MacAddr::local(0x77)).payload(&[1; 100]);
    socket.send(&frame).expect("the queue is empty");
    wait_until("the frame arrives", || b.statistic("rx_packets") == before.0 + 1);
    assert_eq!(b.statistic("rx_bytes") - before.1, frame.len() as u64);
}

#[test]
fn a_lone_guests_broadcasts_are_no_drops() {
    let (a, b) = (Host::new(), Host::new());
    let switch = Switch::start(&format!(
        "[network.lan]\nmode = \"host-only\"\naddress = \"10.1.0.254/24\"\n{}{}",
        tap("lan", "a", &a),
        tap("lan", "b", &b)
    ));
    b.run(&format!("ip link set {DEVICE} down"));
    a.address("10.1.0.1/24");
    a.ping("10.1.0.254");
    a.cannot_ping("10.1.0.2");
    let socket = a.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    socket
        .send(&eth().dst(MacAddr::BROADCAST).src(MacAddr::local(1)).payload(b"all"))
        .expect("there is room");
    let flooded = || switch.show("ports")[0]["flooded"].as_u64().expect("a counter");
    wait_until("the broadcasts have come", || flooded() >= 3);
    let drops = switch.show("drops");
    assert_eq!(drops.as_array().map(Vec::len), Some(0), "{drops}");
}

#[test]
fn four_thousand_stations_behind_one_port_are_learned_and_a_reload_makes_room_for_more() {
    let (a, b) = (Host::new(), Host::new());
    let config = |capacity| {
        let ports = [tap("lan", "p1", &a), tap("lan", "p2", &b)].concat();
        format!("[network.lan]\nmode = \"internal\"\nfdb-capacity = {capacity}\n{ports}")
    };
    let switch = Switch::start(&config(8192));
    let learned = || {
        let ports = switch.show("ports");
        let port = ports.as_array().and_then(|ports| ports.iter().find(|port| port["name"] == "p1"));
        port.and_then(|port| port["learned"].as_u64()).expect("the port is shown")
    };
    let socket = a.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    let show = |count: u64| {
        for n in 0..count {
            let frame =
                eth().src(MacAddr::local(0x7000_0000 + n)).dst(MacAddr::local(0x77)).payload(&[0; 46]);
            while socket.send(&frame).is_err() {
                std::thread::yield_now();
            }
        }
    };
    // The tap's queue may lose some: they are shown again.
    wait_until("4000 stations are learned", || {
        show(4000);
        learned() >= 3960
    });
    assert!(switch.reload(&config(65536)).status.success());
    assert!(learned() >= 3960, "they stay");
    wait_until("there is room for 30 000", || {
        show(30_000);
        learned() >= 29_700
    });
    assert!(switch.reload(&config(256)).status.success());
    assert!((128..=256).contains(&learned()), "{}", learned());
}

#[test]
fn a_network_of_mode_bridge_is_one_segment_with_its_uplink() {
    let (a, b, outside) = (Host::new(), Host::new(), Host::new());
    let _switch = Switch::start(&format!(
        "[network.lan]\nmode = \"bridge\"\nuplink = \"wan\"\n{}{}\
         [uplink.wan]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{outside}\"\n",
        tap("lan", "a", &a),
        tap("lan", "b", &b)
    ));
    for (n, host) in (1..).zip([&a, &b, &outside]) {
        host.address(&format!("10.1.0.{n}/24"));
    }
    a.ping("10.1.0.3");
    outside.ping("10.1.0.2");
    let printed = outside.run("ip neighbour show 10.1.0.2");
    assert!(printed.contains(&b.mac()), "the outside sees the guest's own MAC: {printed}");
}

#[test]
fn networks_of_one_process_do_not_hear_each_other() {
    let (a, b) = (Host::new(), Host::new());
    let _switch = Switch::start(&format!(
        "[network.one]\nmode = \"internal\"\n[network.two]\nmode = \"internal\"\n{}{}",
        tap("one", "p1", &a),
        tap("two", "p2", &b)
    ));
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    a.cannot_ping("10.1.0.2");
    assert_eq!(b.statistic("rx_packets"), 0);
}

#[test]
fn a_guest_whose_link_goes_down_is_forgotten_and_found_again_when_it_returns() {
    let (a, b) = (Host::new(), Host::new());
    let switch = segment(&[&a, &b]);
    a.ping("10.1.0.2");
    let mac = b.mac();
    b.run(&format!("ip link set {DEVICE} down"));
    wait_until("the FDB has forgotten", || port_of(&switch.show("fdb"), &mac).is_none());
    a.cannot_ping("10.1.0.2");
    b.run(&format!("ip link set {DEVICE} up"));
    wait_until("the guest answers again", || a.try_run("ping -n -c 1 -W 1 10.1.0.2").is_ok());
    assert_eq!(port_of(&switch.show("fdb"), &mac).as_deref(), Some("p2"));
}

#[test]
fn an_address_that_moves_to_another_port_is_followed() {
    let (a, b, c) = (Host::new(), Host::new(), Host::new());
    let switch = segment(&[&a, &b, &c]);
    a.ping("10.1.0.2");
    let mac = b.mac();
    b.run(&format!("ip address flush dev {DEVICE}"));
    b.run(&format!("ip link set {DEVICE} address 02:00:00:00:00:99"));
    c.run(&format!("ip link set {DEVICE} address {mac}"));
    c.address("10.1.0.2/24");
    c.ping("10.1.0.1");
    a.ping("10.1.0.2");
    assert_eq!(port_of(&switch.show("fdb"), &mac).as_deref(), Some("p3"));
}

#[test]
fn a_device_that_is_deleted_takes_only_its_own_port_with_it() {
    let (a, b, c) = (Host::new(), Host::new(), Host::new());
    let switch = segment(&[&a, &b, &c]);
    a.ping("10.1.0.3");
    let mac = c.mac();
    c.run(&format!("ip link delete {DEVICE}"));
    wait_until("the FDB has forgotten", || port_of(&switch.show("fdb"), &mac).is_none());
    a.cannot_ping("10.1.0.3");
    a.ping("10.1.0.2");
    switch.terminate();
}

#[test]
fn a_namespace_whose_last_process_ends_disturbs_nobody() {
    let (a, b, c) = (Host::new(), Host::new(), Host::new());
    let switch = segment(&[&a, &b, &c]);
    a.ping("10.1.0.3");
    drop(c);
    a.ping("10.1.0.2");
    b.ping("10.1.0.1");
    switch.terminate();
}

/// Frames that were dropped for this reason.
fn dropped(switch: &Switch, reason: &str) -> u64 {
    let drops = switch.show("drops");
    let of = |drop: &&Value| drop["reason"] == reason;
    drops.as_array().into_iter().flatten().filter(of).filter_map(|drop| drop["frames"].as_u64()).sum()
}

#[test]
fn isolated_ports_see_only_ports_that_are_not_isolated_and_the_gateway() {
    let (a, b, c) = (Host::new(), Host::new(), Host::new());
    let isolated = |name, host, isolated| tap("lan", name, host) + &format!("isolated = {isolated}\n");
    let config = |a_is, b_is| {
        let ports = [isolated("p1", &a, a_is), isolated("p2", &b, b_is), tap("lan", "p3", &c)].concat();
        format!("[network.lan]\nmode = \"host-only\"\naddress = \"10.1.0.254/24\"\n{ports}")
    };
    let switch = Switch::start(&config(true, true));
    for (n, host) in [(1, &a), (2, &b), (3, &c)] {
        host.address(&format!("10.1.0.{n}/24"));
        host.ping("10.1.0.254");
    }
    for host in [&a, &b] {
        host.ping("10.1.0.3");
    }
    c.ping("10.1.0.1");
    c.ping("10.1.0.2");
    // Neither a broadcast nor a frame to B's own address gets there.
    a.cannot_ping("10.1.0.2");
    assert_eq!(dropped(&switch, "port_isolated"), 0, "the broadcasts have reached others");
    a.run(&format!("ip neighbour replace 10.1.0.2 lladdr {} dev {DEVICE}", b.mac()));
    a.cannot_ping("10.1.0.2");
    assert!(dropped(&switch, "port_isolated") > 0);
    // A reload changes it live, in both directions; one that isn't isolated sees those that are.
    let reloaded = switch.reload(&config(true, false));
    let said = String::from_utf8_lossy(&reloaded.stdout).into_owned();
    assert!(said.contains("lan/p2/isolated: true → false"), "{said}");
    a.ping("10.1.0.2");
    b.ping("10.1.0.1");
    assert!(switch.reload(&config(true, true)).status.success());
    b.cannot_ping("10.1.0.1");
    switch.terminate();
}

#[test]
fn two_stations_of_a_vepa_reach_each_other_where_their_port_is_a_hairpin() {
    let (trunk, other) = (Host::new(), Host::new());
    let config = |hairpin| {
        let port = tap("lan", "p1", &trunk) + &format!("hairpin = {hairpin}\n");
        format!("[network.lan]\nmode = \"internal\"\n{port}{}", tap("lan", "p2", &other))
    };
    let switch = Switch::start(&config(true));
    other.address("10.1.0.9/24");
    let stations: Vec<Host> = (1..=2)
        .map(|n| {
            let station = Host::new();
            trunk.run(&format!("ip link add link {DEVICE} name m{n} type macvlan mode vepa"));
            trunk.run(&format!("ip link set m{n} netns {station}"));
            station.run(&format!("ip link set m{n} name {DEVICE}"));
            station.address(&format!("10.1.0.{n}/24"));
            station.run(&format!("ip link set {DEVICE} up"));
            station
        })
        .collect();
    let [a, b] = [&stations[0], &stations[1]];
    // By broadcasts first, which come back, and then from one to the other.
    a.ping("10.1.0.2");
    b.ping("10.1.0.1");
    for station in [a, b] {
        station.ping("10.1.0.9");
        assert_eq!(port_of(&switch.show("fdb"), &station.mac()).as_deref(), Some("p1"));
    }
    assert_eq!(dropped(&switch, "same_port"), 0);
    assert!(switch.reload(&config(false)).status.success());
    a.cannot_ping("10.1.0.2");
    assert!(dropped(&switch, "same_port") > 0);
    a.ping("10.1.0.9");
    assert!(switch.reload(&config(true)).status.success());
    a.ping("10.1.0.2");
    assert_eq!(dropped(&switch, "loop_damped"), 0);
    switch.terminate();
}

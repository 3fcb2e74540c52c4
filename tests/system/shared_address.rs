//! `address = "host"`: guests leave by the address that the host has, which goes on as before.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::host::{DEVICE, Host, in_user_namespace};
use crate::switch::{Switch, tap, wait_until};

/// The host that the switch runs on, a router, and a host beyond it.
///
/// ```text
/// host eth0 192.168.1.5 ── 192.168.1.1 router 10.77.0.1 ── 10.77.0.2 far
/// ```
pub struct Lan {
    pub host: Host,
    pub router: Host,
    pub far: Host,
}

impl Lan {
    #[track_caller]
    pub fn new() -> Self {
        let (host, router, far) = (Host::new(), Host::new(), Host::new());
        router.run(&format!("ip link add lan type veth peer name {DEVICE} netns {host}"));
        router.run(&format!("ip link add wide type veth peer name {DEVICE} netns {far}"));
        router.run("ip address add 192.168.1.1/24 dev lan");
        router.run("ip address add 10.77.0.1/24 dev wide");
        router.run("sysctl -qw net.ipv4.ip_forward=1");
        for (host, device) in [(&router, "lan"), (&router, "wide"), (&host, DEVICE), (&far, DEVICE)] {
            host.run(&format!("ip link set {device} up"));
        }
        host.address("192.168.1.5/24");
        host.gateway("192.168.1.1");
        far.address("10.77.0.2/24");
        far.gateway("10.77.0.1");
        host.ping("10.77.0.2");
        Self { host, router, far }
    }
}

/// A network for `guest` behind the host's address.
fn config(guest: &Host, keys: &str) -> String {
    format!(
        "[network.lan]\nmode = \"nat\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\n{keys}\n{}\
         peer-address = \"192.168.122.10/24\"\n\
         [uplink.wan]\ntype = \"packet\"\ndevice = \"{DEVICE}\"\naddress = \"host\"\n",
        tap("lan", "guest", guest)
    )
}

/// Whom a connection from `client` to `server`, which listens at the address, seems to come from.
#[track_caller]
fn seen_from(client: &Host, server: &Host, address: &str) -> String {
    let listener = server.enter(|| TcpListener::bind(address)).expect("the port is free");
    let target = address.parse().expect("an address and a port");
    let stream = client.enter(|| TcpStream::connect_timeout(&target, Duration::from_secs(5)));
    let mut stream = stream.unwrap_or_else(|error| panic!("{address}: {error}"));
    let (mut accepted, peer) = listener.accept().expect("it has come");
    talk(&mut stream, &mut accepted);
    peer.to_string()
}

/// Both sides hear each other.
#[track_caller]
fn talk(a: &mut TcpStream, b: &mut TcpStream) {
    let (a, b) = (&*a, &*b);
    for (mut from, mut to) in [(a, b), (b, a)] {
        to.set_read_timeout(Some(Duration::from_secs(5))).expect("it is no zero");
        from.write_all(b"hello").expect("it is open");
        to.read_exact(&mut [0; 5]).expect("it comes");
    }
}

#[track_caller]
fn drops(switch: &Switch) -> String {
    switch.show("drops").to_string()
}

#[test]
fn a_guest_reaches_the_world_by_the_hosts_address_and_the_host_goes_on() {
    if in_user_namespace() {
        return;
    }
    let (Lan { host, router, far }, guest) = (Lan::new(), Host::new());
    let mut long = host.enter(|| TcpListener::bind("0.0.0.0:22")).map(|listener| {
        let stream = far.enter(|| TcpStream::connect("192.168.1.5:22")).expect("the host serves");
        (stream, listener.accept().expect("it has come").0)
    });
    let (a, b) = long.as_mut().expect("the port is free");
    let switch = Switch::start_on(&host, &config(&guest, "publish = [\"8888:192.168.122.10:8080\"]"));
    guest.gateway("192.168.122.1");
    guest.ping("192.168.1.1");
    guest.ping("10.77.0.2");
    let peer = seen_from(&guest, &far, "10.77.0.2:80");
    let port: u16 = peer.strip_prefix("192.168.1.5:").and_then(|port| port.parse().ok()).unwrap_or_default();
    assert!((40_000..=49_151).contains(&port), "the far side sees {peer}");
    // The host: what was, what it begins, what is begun with it, and pings both ways.
    talk(a, b);
    assert!(seen_from(&host, &far, "10.77.0.2:81").starts_with("192.168.1.5:"));
    assert!(seen_from(&far, &host, "192.168.1.5:9000").starts_with("10.77.0.2:"));
    host.ping("10.77.0.2");
    far.ping("192.168.1.5");
    // Refused as by any host, and not answered twice.
    assert!(far.try_run("busybox nc -w 2 192.168.1.5 81").is_err());
    let pings = far.run("ping -n -c 3 -i 0.2 -W 3 192.168.1.5");
    assert!(pings.contains("3 received") && !pings.contains("DUP"), "{pings}");
    // A port of its own on the LAN.
    let listener = guest.enter(|| TcpListener::bind("192.168.122.10:8080")).expect("the port is free");
    let mut client = far.enter(|| TcpStream::connect("192.168.1.5:8888")).expect("it is published");
    talk(&mut client, &mut listener.accept().expect("it has come").0);
    // One address, one station.
    let stations = router.run("ip neighbour show dev lan");
    assert_eq!(stations.lines().filter(|line| line.contains("lladdr")).count(), 1, "{stations}");
    for innocent in ["nat_unsolicited", "no_service", "icmp_error_unmatched", "bad_arp"] {
        assert!(!drops(&switch).contains(innocent), "{}", drops(&switch));
    }
    switch.terminate();
    talk(a, b);
    host.ping("10.77.0.2");
    assert!(seen_from(&far, &host, "192.168.1.5:8888").starts_with("10.77.0.2:"), "it is the host's again");
}

#[test]
fn the_hosts_own_connections_from_ports_of_the_range_go_on_and_after_a_kill_all_is_the_hosts() {
    if in_user_namespace() {
        return;
    }
    let (Lan { host, far, router: _router }, guest) = (Lan::new(), Host::new());
    host.enter(|| std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "41000 41100")).expect("root may");
    let mut switch = Switch::start_on(
        &host,
        &config(&guest, "").replace("\"host\"", "\"host\"\nhost-ports = \"41000-41300\""),
    );
    guest.gateway("192.168.122.1");
    for round in 0..40 {
        let (port, other) = (5000 + 2 * round, 5001 + 2 * round);
        assert!(seen_from(&host, &far, &format!("10.77.0.2:{port}")).starts_with("192.168.1.5:41"));
        assert!(seen_from(&guest, &far, &format!("10.77.0.2:{other}")).starts_with("192.168.1.5:41"));
    }
    // Datagrams of the host's, whatever guests do.
    let (own, server) = (
        host.enter(|| UdpSocket::bind("192.168.1.5:0")).expect("there are ports"),
        far.enter(|| UdpSocket::bind("10.77.0.2:53")).expect("the port is free"),
    );
    own.set_read_timeout(Some(Duration::from_secs(5))).expect("it is no zero");
    own.send_to(b"?", "10.77.0.2:53").expect("there is a way");
    let (_, peer) = server.recv_from(&mut [0; 9]).expect("it comes");
    server.send_to(b"!", peer).expect("there is a way");
    own.recv_from(&mut [0; 9]).expect("the answer comes");
    switch.kill();
    assert!(seen_from(&far, &host, "192.168.1.5:41005").starts_with("10.77.0.2:"));
    host.ping("10.77.0.2");
}

#[test]
fn the_hosts_address_is_followed_when_it_comes_and_when_it_changes() {
    if in_user_namespace() {
        return;
    }
    let (Lan { host, far, router }, guest) = (Lan::new(), Host::new());
    host.run(&format!("ip address flush dev {DEVICE}"));
    let text = config(&guest, "publish = [\"8888:192.168.122.10:8080\"]");
    let switch = Switch::start_on(&host, &text);
    assert!(switch.log().contains("the host has no IPv4 address on eth0"), "{}", switch.log());
    guest.gateway("192.168.122.1");
    guest.cannot_ping("10.77.0.2");
    let listener = guest.enter(|| TcpListener::bind("192.168.122.10:8080")).expect("the port is free");
    for address in ["192.168.1.5", "192.168.1.7"] {
        host.run(&format!("ip address flush dev {DEVICE}"));
        host.address(&format!("{address}/24"));
        host.gateway("192.168.1.1");
        wait_until("the guest has a way out", || guest.try_run("ping -n -c 1 -W 1 10.77.0.2").is_ok());
        assert!(seen_from(&guest, &far, "10.77.0.2:80").starts_with(&format!("{address}:4")));
        let mut client =
            far.enter(|| TcpStream::connect(format!("{address}:8888"))).expect("it is published");
        talk(&mut client, &mut listener.accept().expect("it has come").0);
    }
    drop(router);
    assert!(switch.log().contains("shares the host's address 192.168.1.7/24 on eth0"), "{}", switch.log());
    switch.terminate();
}

#[test]
fn what_the_host_serves_on_a_published_port_is_warned_of_and_rules_publish_at_run_time() {
    if in_user_namespace() {
        return;
    }
    let (Lan { host, far, router: _router }, guest) = (Lan::new(), Host::new());
    let _served = host.enter(|| TcpListener::bind("0.0.0.0:8888")).expect("the port is free");
    let switch = Switch::start_on(&host, &config(&guest, "publish = [\"8888:192.168.122.10:8080\"]"));
    assert!(switch.log().contains("port 8888 of tcp leads to a guest"), "{}", switch.log());
    guest.gateway("192.168.122.1");
    let listener = guest.enter(|| TcpListener::bind("192.168.122.10:8080")).expect("the port is free");
    let connect = |port: u16| {
        let mut client = far.enter(|| TcpStream::connect(("192.168.1.5", port))).expect("it is published");
        talk(&mut client, &mut listener.accept().expect("it has come").0);
    };
    connect(8888);
    let rule = "-A PREROUTING -i wan -p tcp --dport 9999 -j DNAT --to-destination 192.168.122.10:8080";
    assert!(switch.command(&["nat", "add", rule]).status.success());
    connect(9999);
    // A guest can't reach the host by it, and is told at once.
    let told = guest.try_run("ping -n -c 1 -W 3 192.168.1.5").unwrap_err();
    assert!(told.contains("filtered") || told.contains("Prohibited"), "{told}");
    assert!(drops(&switch).contains("host_not_reached"));
    switch.terminate();
}

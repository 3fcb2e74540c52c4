//! One port of the uplink, several servers behind it: real web servers that are killed, cut off and started again.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::host::{Background, DEVICE, Host};
use crate::switch::{Folder, Switch, tap, wait_until};
use crate::traffic::{TcpServer, at, udp};

/// Three servers behind an uplink, and a host outside. Each serves its own name.
///
/// ```text
/// a 192.168.122.10:8080 ┐
/// b 192.168.122.11:8080 ┼ 192.168.122.1 [switch] 10.180.13.2 ── 10.180.13.1 outside
/// c 192.168.122.12:8080 ┘
/// ```
struct Lab {
    hosts: [Host; 3],
    outside: Host,
    pages: Folder,
    switch: Switch,
    config: String,
}

impl Lab {
    fn new(section: &str) -> Self {
        let hosts = [(); 3].map(|()| Host::new());
        let outside = Host::new();
        let config = format!(
            "[network.default]\nmode = \"nat\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\n{}{}{}\
             [uplink.wan]\ntype = \"tap\"\ndevice = \"eth0\"\nnetns = \"{outside}\"\n\
             address = \"10.180.13.2/24\"\ngateway = \"10.180.13.1\"\n{section}",
            tap("default", "a", &hosts[0]),
            tap("default", "b", &hosts[1]),
            tap("default", "c", &hosts[2]),
        );
        let switch = Switch::start(&config);
        for (host, last) in hosts.iter().zip(10..) {
            host.address(&format!("192.168.122.{last}/24"));
            host.gateway("192.168.122.1");
        }
        outside.address("10.180.13.1/24");
        Self { hosts, outside, pages: Folder::new(), switch, config }
    }

    /// The web server of a host, until it is dropped.
    fn serve(&self, n: usize) -> Background {
        let pages = self.pages.path().join(n.to_string());
        fs::create_dir_all(&pages).expect("the folder exists");
        fs::write(pages.join("index.html"), NAMES[n]).expect("the folder exists");
        self.hosts[n].start(&format!("busybox httpd -f -p 8080 -h {}", pages.display()))
    }

    fn report(&self, n: usize) -> serde_json::Value {
        let servers = self.switch.show("servers");
        let server = format!("192.168.122.{}:", 10 + n);
        let mut reports = servers.as_array().expect("a list").iter();
        let report =
            reports.find(|report| report["server"].as_str().is_some_and(|at| at.starts_with(&server)));
        report.expect("it is a server").clone()
    }

    #[track_caller]
    fn wait_for(&self, n: usize, state: &str) {
        wait_until(&format!("server {} is {state}", NAMES[n]), || self.report(n)["state"] == state);
    }

    /// Who serves so many new connections of the host outside, in order of the names.
    #[track_caller]
    fn served(&self, connections: usize) -> String {
        let get = |_| get(&self.outside, "10.180.13.2:80").unwrap_or_else(|error| panic!("{error}"));
        let mut names: Vec<String> = (0..connections).map(get).collect();
        names.sort();
        names.concat()
    }

    fn cut(&self, n: usize) {
        self.hosts[n].run(&format!("ip link set {DEVICE} down"));
    }

    fn join(&self, n: usize) {
        self.hosts[n].run(&format!("ip link set {DEVICE} up"));
        self.hosts[n].gateway("192.168.122.1");
    }
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The page that `host` gets from a web server.
fn get(host: &Host, address: &str) -> io::Result<String> {
    let mut stream = host.enter(|| TcpStream::connect_timeout(&at(address).into(), PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let page = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?.1;
    Ok(page.to_owned())
}

/// Three of a client's SYNs.
const PATIENCE: Duration = Duration::from_secs(10);

const WEB: &str = "[network.default.balance.web]\nlisten = \"80/tcp\"\nbackup = [\"192.168.122.12:8080\"]\n\
                   servers = [\"192.168.122.10:8080\", \"192.168.122.11:8080\"]\ninterval = 1\n";

#[test]
fn s13_new_connections_avoid_a_server_that_dies_and_return_when_it_does() {
    let lab = Lab::new(WEB);
    let (a, _b, _c) = (lab.serve(0), lab.serve(1), lab.serve(2));
    (0..3).for_each(|n| lab.wait_for(n, "alive"));
    assert_eq!(lab.served(10), "aaaaabbbbb");

    drop(a);
    let start = Instant::now();
    lab.wait_for(0, "dead");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(lab.served(6), "bbbbbb");
    let told = |text: &str| {
        lab.switch.log().lines().any(|line| line.contains(text) && line.contains("network=\"default\""))
    };
    assert!(told("the server is dead: it refuses connections"), "{}", lab.switch.log());

    let _a = lab.serve(0);
    lab.wait_for(0, "alive");
    assert_eq!(lab.served(6), "aaabbb");
    assert!(told("the server is back"), "{}", lab.switch.log());
}

#[test]
fn s13_a_server_that_falls_silent_loses_the_connections_that_it_did_not_answer() {
    let lab = Lab::new(WEB);
    let _servers = [lab.serve(0), lab.serve(1), lab.serve(2)];
    (0..3).for_each(|n| lab.wait_for(n, "alive"));
    lab.cut(1);
    assert_eq!(lab.served(2), "aa", "one of them had to ask again");
    lab.wait_for(1, "dead");
    assert_eq!(lab.served(4), "aaaa");
    assert!(lab.switch.log().contains("the server is dead: it doesn't answer"));
    lab.join(1);
    lab.wait_for(1, "alive");
    assert_eq!(lab.served(4), "aabb");
}

#[test]
fn s13_the_backup_serves_while_all_servers_are_dead_and_then_clients_are_refused() {
    let lab = Lab::new(WEB);
    let (a, b, c) = (lab.serve(0), lab.serve(1), lab.serve(2));
    (0..3).for_each(|n| lab.wait_for(n, "alive"));
    // Guests go out as ever meanwhile.
    let elsewhere = TcpServer::listen(&lab.outside, "10.180.13.1:80");
    let goes_out = || elsewhere.exchange(&lab.hosts[2], "10.180.13.1:80", 1 << 20).ip().to_string();
    assert_eq!(goes_out(), "10.180.13.2");
    drop((a, b));
    (0..2).for_each(|n| lab.wait_for(n, "dead"));
    assert_eq!(lab.served(3), "ccc");
    assert_eq!(lab.report(2)["flows_admitted"], 3);
    drop(c);
    lab.wait_for(2, "dead");
    let start = Instant::now();
    let error = get(&lab.outside, "10.180.13.2:80").expect_err("nobody serves");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let drops = lab.switch.show("drops");
    let mut drops = drops.as_array().expect("a list").iter();
    assert!(drops.any(|drop| drop["reason"] == "nat_no_server"));
    assert_eq!(goes_out(), "10.180.13.2");
    let _b = lab.serve(1);
    lab.wait_for(1, "alive");
    assert_eq!(lab.served(3), "bbb");
}

#[test]
fn s13_a_guest_reaches_the_servers_by_the_outside_address() {
    let lab = Lab::new(WEB);
    let _servers = [lab.serve(0), lab.serve(1)];
    (0..2).for_each(|n| lab.wait_for(n, "alive"));
    for guest in [&lab.hosts[2], &lab.hosts[0]] {
        let mut names =
            [(); 2].map(|()| get(guest, "10.180.13.2:80").unwrap_or_else(|error| panic!("{error}")));
        names.sort();
        assert_eq!(names, ["a", "b"]);
    }
}

#[test]
fn s13_a_backup_outside_serves_clients_outside_and_inside() {
    let lab = Lab::new(&WEB.replace("192.168.122.12:8080", "203.0.113.1:80"));
    lab.outside.run("ip address add 203.0.113.1/32 dev lo");
    let server = TcpServer::listen(&lab.outside, "203.0.113.1:80");
    let backup = || lab.switch.show("servers")[2].clone();
    wait_until("the backup is alive", || backup()["state"] == "alive");
    (0..2).for_each(|n| lab.wait_for(n, "dead"));
    for client in [&lab.outside, &lab.hosts[0]] {
        let peer = server.exchange(client, "10.180.13.2:80", 1 << 20);
        assert_eq!(peer.ip().to_string(), "10.180.13.2", "so that the answers come by the switch");
    }
    assert_eq!(backup()["flows_admitted"], 2);
}

#[test]
fn s13_datagrams_go_to_another_server_when_theirs_no_longer_answers_pings() {
    let lab = Lab::new(
        "[network.default.balance.dns]\nlisten = \"53/udp\"\n\
         servers = [\"192.168.122.10:5353\", \"192.168.122.11:5353\"]\ninterval = 1\n",
    );
    (0..2).for_each(|n| lab.wait_for(n, "alive"));
    let sockets = [0, 1].map(|n| udp(&lab.hosts[n], &format!("192.168.122.{}:5353", 10 + n)));
    let client = udp(&lab.outside, "10.180.13.1:4000");
    let mut buffer = [0; 16];
    client.send_to(b"first", "10.180.13.2:53").expect("it leaves");
    let (_, peer) = sockets[0].recv_from(&mut buffer).expect("the first one has the first turn");
    sockets[0].send_to(b"answer", peer).expect("it leaves");
    client.recv_from(&mut buffer).expect("the answer comes");
    lab.cut(0);
    lab.wait_for(0, "dead");
    client.send_to(b"second", "10.180.13.2:53").expect("it leaves");
    let (len, peer) = sockets[1].recv_from(&mut buffer).expect("the other one gets it");
    assert_eq!((&buffer[..len], peer.to_string().as_str()), (&b"second"[..], "10.180.13.1:4000"));
}

#[test]
fn s13_the_rule_and_the_servers_are_shown_and_outlast_a_reload() {
    let lab = Lab::new(WEB);
    let _server = lab.serve(0);
    lab.wait_for(0, "alive");
    (1..3).for_each(|n| lab.wait_for(n, "dead"));
    assert_eq!(lab.served(2), "aa");
    assert!(lab.switch.reload(&format!("{}\n[engine]\nflows = 1000\n", lab.config)).status.success());
    assert_eq!([0, 1, 2].map(|n| lab.report(n)["state"].clone()), ["alive", "dead", "dead"]);
    assert_eq!(lab.served(1), "a");
    let output = lab.switch.command(&["nat", "list"]);
    let rule = "    3   180 BALANCE    tcp  --  *      *       0.0.0.0/0            10.180.13.2          tcp dpt:80 \
                /* web */ to:192.168.122.10:8080,192.168.122.11:8080 backup:192.168.122.12:8080\n";
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains(rule), "{shown}");
    let output = lab.switch.command(&["show", "servers"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = shown.lines().nth(1).expect("a line each").split_whitespace().collect();
    assert_eq!(words[..5], ["default", "web", "192.168.122.10:8080/tcp", "server", "alive"]);
    assert_eq!(words[words.len() - 1], "3");
}

//! The socket against clients of every kind, and answers through JSON and back.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

use mio::{Events, Poll, Token, Waker};

use super::server::CLIENT_TIME;
use super::*;
use crate::config::{Change, Kind, Outcome, Value};
use crate::show::Listed;
use crate::show::changed::{Flushed, PortChanged, RuleChanged, Saved};
use crate::show::drops::Drop;
use crate::show::fdb::FdbEntry;
use crate::show::flows::{Flow, Tuple};
use crate::show::leases::Lease;
use crate::show::map::Map;
use crate::show::mappings::Mapping;
use crate::show::nat::Rule;
use crate::show::neighbours::Neighbour;
use crate::show::networks::{Network, Networks, Range};
use crate::show::ports::Port;
use crate::show::reloaded::Reloaded;
use crate::show::servers::BalancedServer;
use crate::show::stats::Stats;
use crate::show::uplinks::Uplink;

/// A server, and a driver that answers `show stats` only. Its folder goes with it.
struct Lab {
    folder: PathBuf,
    server: Option<Server>,
}

impl Lab {
    fn new() -> Self {
        Self::with(|commands, mut poll| {
            let mut events = Events::with_capacity(8);
            loop {
                poll.poll(&mut events, None).unwrap();
                loop {
                    match commands.try_recv() {
                        Ok(Command { request, reply }) => drop(reply.try_send(respond(request))),
                        Err(std::sync::mpsc::TryRecvError::Empty) => break,
                        Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                    }
                }
            }
        })
    }

    fn with(driver: impl FnOnce(Receiver<Command>, Poll) + Send + 'static) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tapswitch-control-{}-{number}", std::process::id()));
        let (sender, commands) = channel();
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let server = Server::listen(&folder.join("new/control.sock"), sender, waker).unwrap();
        thread::spawn(move || driver(commands, poll));
        Self { folder, server: Some(server) }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("new/control.sock")
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    fn stats(&self) -> Result<Answer, ClientError> {
        request(&self.path(), Request::show(What::Stats, 1))
    }
}

impl std::ops::Drop for Lab {
    fn drop(&mut self) {
        self.server = None;
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn respond(request: Request) -> Response {
    match request {
        Request::Show { what: What::Stats, limit, .. } => {
            Ok(Answer::Stats(Stats { flow_limit: limit as u64, ..Stats::default() }).into())
        }
        Request::Show { what: What::Leases, limit, .. } => {
            let mut answers = answers_of_every_kind().into_iter();
            let leases = answers.find_map(|answer| match answer {
                Answer::Leases(leases) => Some(leases),
                _ => None,
            });
            let leases = leases.unwrap();
            let entries = leases.entries.iter().cycle().take(limit).cloned().collect();
            Ok(Answer::Leases(Listed { total: 7, entries }).into())
        }
        Request::Show { .. } | Request::NatSave | Request::Flush { .. } => {
            Err(RequestError::Failed("not in this test".into()))
        }
        Request::PortAdd { port, .. } | Request::PortDel { port } => {
            Err(RequestError::WrongPort(crate::config::Plan::default().without_port(&port).unwrap_err()))
        }
        Request::Nat { line } => Err(RequestError::WrongRule(Mistakes::new(
            "rule",
            &line,
            vec![crate::mistake::Mistake::new(0..1, "not in this test", "")],
        ))),
        Request::Reload => Err(RequestError::WrongConfig(
            crate::config::Config::parse("t", "x = 1", &[]).unwrap_err().into(),
        )),
    }
}

/// What the server answers to these bytes, line by line, until it closes.
fn answers(lab: &Lab, bytes: &[u8]) -> Vec<serde_json::Value> {
    let mut stream = lab.connect();
    // The server may close before it has taken, and then read, all.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

const STATS: &str = "{\"request\":\"show\",\"what\":\"stats\"}\n";

#[test]
fn one_line_asks_and_one_line_answers() {
    let lab = Lab::new();
    let seen = answers(&lab, format!("{STATS}{STATS}").as_bytes());
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0]["stats"]["flow_limit"], 1000, "the default limit");
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn limits_are_cut_to_what_fits_in_memory() {
    let lab = Lab::new();
    let answer = request(&lab.path(), Request::show(What::Stats, usize::MAX));
    assert!(matches!(answer, Ok(Answer::Stats(Stats { flow_limit, .. })) if flow_limit == MAX_LIMIT as u64));
}

#[test]
fn only_its_owner_can_open_the_socket_and_it_is_gone_afterwards() {
    let lab = Lab::new();
    assert_eq!(fs::metadata(lab.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let (path, folder) = (lab.path(), lab.folder.clone());
    assert_eq!(fs::read_dir(folder.join("new")).unwrap().count(), 1);
    drop(lab);
    assert!(!path.exists());
}

#[test]
fn errors_say_what_is_wrong_and_whose_fault_it_is() {
    let lab = Lab::new();
    let seen = answers(&lab, b"{\"request\":\"reload\"}\n{\"request\":\"show\",\"what\":\"ports\"}\n");
    assert_eq!(seen[0]["kind"], "config");
    assert!(seen[0]["error"].as_str().unwrap().contains("unknown key `x`\n --> t:1:1"));
    assert_eq!(seen[1], serde_json::json!({"error": "not in this test", "kind": "failed"}));
    let seen = answers(&lab, b"{\"request\":\"nat\",\"line\":\"-X\"}\n");
    assert_eq!(seen[0]["kind"], "config");
    assert!(seen[0]["error"].as_str().unwrap().contains("--> rule:1:1"));
    let refused = request(&lab.path(), Request::Reload);
    assert!(matches!(refused, Err(ClientError::Refused { kind: ErrorKind::Config, .. })));
}

#[test]
fn junk_is_answered_with_an_error_and_disturbs_nobody() {
    let lab = Lab::new();
    let junk: [&[u8]; 8] = [
        b"\n",
        b"hello\n",
        b"\xff\xfe\x00\n",
        b"{}\n",
        b"[[[[[[[[\n",
        b"{\"request\":\"show\",\"what\":\"passwords\"}\n",
        b"{\"request\":\"show\",\"what\":\"stats\",\"limit\":-1}\n",
        b"{\"request\":\"show\",\"what\":\"stats\",\"limt\":1}\n",
    ];
    for line in junk {
        let seen = answers(&lab, &[line, STATS.as_bytes()].concat());
        assert_eq!(seen[0]["kind"], "request", "{seen:?}");
        assert!(seen[1]["stats"].is_object(), "the next line is read as if nothing had been");
    }
    assert!(lab.stats().is_ok());
}

#[test]
fn half_a_line_is_no_request() {
    let lab = Lab::new();
    assert_eq!(answers(&lab, &STATS.as_bytes()[..20]).len(), 0);
    let mut stream = lab.connect();
    for byte in STATS.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"stats\":"), "a line in pieces is whole in the end");
}

#[test]
fn a_line_without_end_is_cut_off() {
    let lab = Lab::new();
    let seen = answers(&lab, &vec![b' '; MAX_LINE + 100_000]);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["kind"], "request");
    assert!(lab.stats().is_ok());
}

#[test]
fn a_hundred_clients_are_all_served() {
    let lab = Lab::new();
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| assert!(lab.stats().is_ok()));
        }
    });
}

#[test]
fn clients_that_say_nothing_lose_their_place() {
    let lab = Lab::new();
    let silent: Vec<UnixStream> = (0..40).map(|_| lab.connect()).collect();
    let mut dripping = lab.connect();
    dripping.write_all(b"{").unwrap();
    let start = Instant::now();
    // All places are taken: this waits until the first silent ones have had their time, again and again.
    let (served, seen) = thread::scope(|scope| {
        let asked = scope.spawn(|| lab.stats());
        let mut text = String::new();
        (&silent[0]).read_to_string(&mut text).unwrap();
        (asked.join().unwrap(), text)
    });
    assert!(served.is_ok(), "{served:?}");
    assert!(seen.contains("did not end in time"), "{seen}");
    assert!(start.elapsed() < CLIENT_TIME * 20);
}

#[test]
fn clients_that_take_no_answer_lose_their_place() {
    let lab = Lab::new();
    let deaf: Vec<UnixStream> = (0..20).map(|_| lab.connect()).collect();
    for mut client in &deaf {
        client.write_all(b"{\"request\":\"show\",\"what\":\"leases\",\"limit\":5000}\n").unwrap();
    }
    let start = Instant::now();
    assert!(lab.stats().is_ok());
    assert!(start.elapsed() < CLIENT_TIME * 10);
}

#[test]
fn a_client_that_leaves_before_the_answer_disturbs_nobody() {
    let lab = Lab::new();
    for _ in 0..50 {
        lab.connect().write_all(STATS.as_bytes()).unwrap();
    }
    assert!(lab.stats().is_ok());
}

#[test]
fn a_driver_that_has_ended_is_told_of() {
    let lab = Lab::with(|commands, _| drop(commands));
    thread::sleep(Duration::from_millis(50));
    assert!(matches!(lab.stats(), Err(ClientError::Refused { kind: ErrorKind::Failed, .. })));
}

fn waker() -> Arc<Waker> {
    Arc::new(Waker::new(Poll::new().unwrap().registry(), Token(0)).unwrap())
}

#[test]
fn a_living_switch_keeps_its_socket_and_a_dead_ones_is_replaced() {
    let lab = Lab::new();
    let error = Server::listen(&lab.path(), channel().0, waker()).unwrap_err();
    assert!(error.to_string().contains("another tapswitch listens"), "{error}");
    assert!(lab.stats().is_ok());

    let dead = lab.folder.join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    assert!(dead.exists());
    let server = Server::listen(&dead, channel().0, waker()).unwrap();
    assert!(UnixStream::connect(&dead).is_ok());
    drop(server);
    assert!(!dead.exists());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let lab = Lab::new();
    let file = lab.folder.join("file");
    fs::write(&file, "precious").unwrap();
    let error = Server::listen(&file, channel().0, waker()).unwrap_err();
    assert!(error.to_string().contains("something else"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_socket_that_took_its_place_is_not_removed() {
    let mut lab = Lab::new();
    fs::remove_file(lab.path()).unwrap();
    let other = UnixListener::bind(lab.path()).unwrap();
    lab.server = None;
    assert!(lab.path().exists());
    drop(other);
}

/// One of each kind, with no list empty.
fn answers_of_every_kind() -> Vec<Answer> {
    let tuple = Tuple { source: "a:1".into(), destination: "b:2".into(), packets: 1, bytes: 2 };
    let flow = Flow {
        protocol: "tcp".into(),
        original: tuple.clone(),
        reply: tuple,
        expires_in_ms: u64::MAX,
        ..Flow::default()
    };
    let port = Port {
        id: 1,
        network: "n".into(),
        name: "p".into(),
        kind: "tap".into(),
        link: true,
        state: "forwarding".into(),
        device: "d".into(),
        netns: None,
        mtu: 1500,
        vlans: "10, trunk 20".into(),
        learned: 1,
        rx_frames: 2,
        rx_bytes: 3,
        tx_frames: 4,
        tx_bytes: 5,
        flooded: 6,
        learn_refused: 7,
        drops: [("same_port".to_owned(), 8)].into(),
    };
    let fdb = FdbEntry { network: "n".into(), vid: 1, mac: "m".into(), port: "p".into(), idle_ms: Some(5) };
    let lease = Lease {
        network: "n".into(),
        address: "a".into(),
        mac: "m".into(),
        host_name: Some("\u{1b}".into()),
        expires_in_ms: 1,
    };
    let mapping =
        Mapping { protocol: "udp".into(), inside: "a:1".into(), outside: "b:2".into(), expires_in_ms: 3 };
    let server = BalancedServer {
        network: "n".into(),
        balance: "web".into(),
        server: "a:1".into(),
        protocol: "tcp".into(),
        backup: true,
        state: "alive".into(),
        since_ms: None,
        check: Some("icmp".into()),
        checks: 4,
        failures: 3,
        flows: 2,
        flows_admitted: 1,
    };
    let rule = Rule { chain: "PREROUTING".into(), input: Some("!wan".into()), ..Rule::default() };
    let drop = Drop {
        network: None,
        port: None,
        reason: "no_route".into(),
        meaning: "No route to the destination.".into(),
        frames: 9,
    };
    let network = Network { name: "n".into(), dhcp: Some(Range::default()), ..Network::default() };
    let networks = Networks { entries: vec![network.clone()], ..Networks::default() };
    let uplink = Uplink {
        name: "wan".into(),
        kind: "tap".into(),
        device: "eth0".into(),
        netns: None,
        link: true,
        address: None,
        address6: None,
        mac: None,
        mtu: 1500,
        gateway: None,
        gateway6: None,
        networks: vec!["n".into()],
    };
    let map = Map { networks: vec![network], uplinks: vec![uplink.clone()], ports: vec![port.clone()] };
    let neighbour = Neighbour { network: "n".into(), address: "a".into(), mac: None };
    vec![
        Answer::Networks(networks),
        Answer::Uplinks(vec![uplink]),
        Answer::Map(map),
        Answer::Neighbours(Listed { total: 7, entries: vec![neighbour] }),
        Answer::Flushed(Flushed { what: Flushable::Flows, count: 3 }),
        Answer::Ports(vec![port]),
        Answer::Fdb(Listed { total: 7, entries: vec![fdb] }),
        Answer::Flows(Listed { total: 7, entries: vec![flow] }),
        Answer::Nat(vec![rule]),
        Answer::Leases(Listed { total: 7, entries: vec![lease] }),
        Answer::Mappings(Listed { total: 7, entries: vec![mapping] }),
        Answer::Servers(vec![server]),
        Answer::Drops(vec![drop]),
        Answer::Stats(Stats { frames: 1, ..Stats::default() }),
        Answer::Reloaded(Reloaded {
            opened: 1,
            closed: 2,
            reconfigured: 3,
            changes: vec![Change {
                kind: Kind::Setting,
                what: "lan/publish".into(),
                change: Outcome::Changed,
                from: Some(Value::Many(vec!["80:192.168.122.10:80/tcp".into()])),
                to: Some(Value::One("none".into())),
            }],
        }),
        Answer::RuleChanged(RuleChanged { chain: "PREROUTING".into(), number: 1, added: true }),
        Answer::PortChanged(PortChanged { port: "n/p".into(), added: true }),
        Answer::Saved(Saved { file: "/state".into(), flows: 3 }),
    ]
}

#[test]
fn answers_come_back_from_json_as_they_were() {
    for answer in answers_of_every_kind() {
        let line = serde_json::to_string(&Reply::from(Ok(answer.clone().into()))).unwrap();
        match serde_json::from_str(&line).unwrap() {
            Reply::Answer(back) => assert_eq!(back, answer),
            Reply::Error { .. } => panic!("{line}"),
        }
    }
}

#[test]
fn every_field_is_in_the_documentation() {
    fn check(value: &serde_json::Value) {
        match value {
            serde_json::Value::Array(list) => list.iter().for_each(check),
            serde_json::Value::Object(members) => members.iter().for_each(|(name, value)| {
                let known = ["`NAME`", "\"NAME\":"].map(|form| form.replace("NAME", name));
                assert!(known.iter().any(|form| DOCUMENTATION.contains(form)), "{name}");
                // Below `drops` of a port are reasons, not fields.
                if !(name == "drops" && value.is_object()) {
                    check(value);
                }
            }),
            _ => {}
        }
    }
    for answer in answers_of_every_kind() {
        check(&serde_json::to_value(answer).unwrap());
    }
}

const DOCUMENTATION: &str = include_str!("../../docs/control.md");

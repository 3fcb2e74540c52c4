//! The switch asks servers whether they are alive, seen from the ports.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use std::net::SocketAddrV4;

use common::*;
use engine::report::{CheckOutcome, ServerReport, ServerState};
use engine::{BalanceConfig, CheckConfig, CheckKind, RuntimeConfig};
use nat_engine::{Balance, Target};
use packet::builder::eth;
use packet::wire::{FromBytes, IcmpHeader, TcpHeader};
use packet::{Ipv4Packet, L4, Millis, Protocol};

const SYN: u8 = TcpHeader::SYN;
const ACK: u8 = TcpHeader::ACK;
const RST: u8 = TcpHeader::RST;

fn server(n: u16) -> SocketAddrV4 {
    SocketAddrV4::new(guest_ip(n), 8080)
}

/// What comes to the uplink's port 8888 goes to guests 0 and 1, or else to guest 2.
fn config(kind: CheckKind) -> RuntimeConfig {
    let mut config = nat_config();
    let balance = Balance { servers: vec![server(0), server(1)], backups: vec![server(2)] };
    config.rules.prerouting[0].target = Target::Balance(balance.clone());
    config.balances.push(BalanceConfig {
        name: "web".to_owned(),
        network: LAN,
        protocol: Protocol::TCP,
        balance,
        check: Some(CheckConfig { kind, interval: Millis::from_secs(2), failures: 2, successes: 2 }),
    });
    config
}

/// All neighbours are known, and nobody has been asked anything.
fn bench(kind: CheckKind) -> Bench {
    let mut bench = Bench::nat();
    bench.worker.install(config(kind));
    for n in 0..4 {
        bench.send(n, &[arp_request(guest_mac(n), guest_ip(n), LAN_IP)]);
    }
    bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)]);
    bench
}

/// The question that the switch has just sent to a guest.
#[derive(Clone, Debug)]
struct Question {
    port: u16,
    number: u32,
    data: Vec<u8>,
}

fn question(sent: &Sent, n: u16) -> Question {
    let [frame] = &sent[&n][..] else { panic!("{sent:?}") };
    let ip = Ipv4Packet::parse(&frame[14..]).unwrap();
    assert_eq!((ip.src, ip.dst), (LAN_IP, guest_ip(n)));
    let (icmp, data) = IcmpHeader::ref_from_prefix(&frame[34..]).unwrap();
    let port = ip.src_port;
    match ip.l4 {
        L4::Tcp if (ip.dst_port, ip.tcp_flags) == (8080, SYN) => {
            let (tcp, _) = TcpHeader::ref_from_prefix(&frame[34..]).unwrap();
            Question { port, number: tcp.seq.get(), data: vec![] }
        }
        L4::EchoRequest => Question { port, number: icmp.seq.get().into(), data: data.to_vec() },
        other => panic!("{other:?}"),
    }
}

impl Bench {
    /// A segment of guest `n`'s server about a question, with this difference to the right number.
    fn answer(&mut self, n: u16, asked: &Question, flags: u8, difference: u32) -> Sent {
        let segment = eth().src(guest_mac(n)).dst(LAN_MAC).ipv4(guest_ip(n), LAN_IP);
        let right = asked.number.wrapping_add(1).wrapping_add(difference);
        self.send(n, &[segment.tcp(8080, asked.port, flags).numbers(77, right).payload(b"")])
    }

    fn report(&self, n: u16) -> ServerReport {
        self.worker.servers(self.now).find(|report| report.server == server(n)).unwrap()
    }

    fn state(&self, n: u16) -> ServerState {
        self.report(n).state
    }

    /// An interval passes, in which the guests answer the questions that begin it as `flags` say.
    fn interval(&mut self, flags: [Option<u8>; 3]) {
        let sent = self.wait(Millis::ZERO);
        for (n, flags) in (0..).zip(flags) {
            if let Some(flags) = flags {
                self.answer(n, &question(&sent, n), flags, 0);
            }
        }
        self.now = self.now + Millis::from_secs(2);
    }

    /// Where a client outside is connected to.
    fn connect(&mut self, port: u16) -> Option<u16> {
        let syn = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv4(FAR, WAN_IP).tcp(port, 8888, SYN).payload(b"");
        let sent = self.send(UPLINK, &[syn]);
        sent.into_keys().find(|&port| port != UPLINK)
    }

    fn changes(&mut self) -> Vec<(SocketAddrV4, CheckOutcome)> {
        let next = || self.worker.next_server_change();
        std::iter::from_fn(next).map(|change| (change.server, change.outcome)).collect()
    }
}

const UP: Option<u8> = Some(SYN | ACK);
const REFUSES: Option<u8> = Some(RST | ACK);

#[test]
fn a_server_that_accepts_is_alive_and_is_left_with_nothing_half_open() {
    let mut bench = bench(CheckKind::Tcp);
    assert_eq!(bench.state(0), ServerState::Unchecked);
    let sent = bench.wait(Millis::ZERO);
    let asked = question(&sent, 0);
    let sent = bench.answer(0, &asked, SYN | ACK, 0);
    let [reset] = &sent[&0][..] else { panic!("{sent:?}") };
    let right = eth().src(LAN_MAC).dst(guest_mac(0)).ipv4(LAN_IP, guest_ip(0));
    let right = right.tcp(asked.port, 8080, RST).numbers(asked.number.wrapping_add(1), 0).payload(b"");
    assert_eq!(*reset, right);
    assert_eq!((bench.state(0), bench.state(1)), (ServerState::Alive, ServerState::Unchecked));
    assert_eq!(bench.drops(0), []);
    assert!(bench.changes().is_empty(), "it was taken to be alive before");
    let next = question(&bench.wait(Millis::from_secs(2)), 0);
    assert!(next.port != asked.port && next.number != asked.number, "{asked:?} {next:?}");
}

#[test]
fn answers_that_do_not_fit_are_no_answers() {
    let mut bench = bench(CheckKind::Tcp);
    let asked = question(&bench.wait(Millis::ZERO), 0);
    bench.answer(0, &asked, SYN | ACK, 1);
    bench.answer(0, &asked, SYN, 0);
    bench.answer(0, &asked, RST, 0);
    bench.answer(0, &asked, RST | ACK, u32::MAX);
    bench.answer(0, &Question { port: asked.port ^ 1, ..asked.clone() }, SYN | ACK, 0);
    bench.answer(1, &asked, SYN | ACK, 0);
    let mut spoilt = eth().src(guest_mac(0)).dst(LAN_MAC).ipv4(guest_ip(0), LAN_IP);
    spoilt = spoilt.tcp(8080, asked.port, SYN | ACK).numbers(0, asked.number.wrapping_add(1));
    let mut spoilt = spoilt.payload(b"");
    spoilt[50] ^= 1;
    bench.send(0, &[spoilt]);
    assert_eq!((bench.state(0), bench.report(0).checks), (ServerState::Unchecked, 0));
    assert_eq!((bench.state(1), bench.report(1).checks), (ServerState::Unchecked, 0));
    assert_eq!(bench.drops(0), [("no_service", 6)]);
    bench.answer(0, &asked, SYN | ACK, 0);
    assert_eq!(bench.state(0), ServerState::Alive, "the right one still counts");
    bench.answer(0, &asked, RST | ACK, 0);
    assert_eq!(bench.report(0).checks, 1, "once");
}

#[test]
fn silence_and_refusals_kill_and_successes_revive() {
    let mut bench = bench(CheckKind::Tcp);
    bench.interval([UP, UP, UP]);
    bench.interval([UP, REFUSES, None]);
    assert_eq!([0, 1, 2].map(|n| bench.state(n)), [ServerState::Alive; 3]);
    bench.interval([UP, REFUSES, None]);
    assert_eq!([0, 1].map(|n| bench.state(n)), [ServerState::Alive, ServerState::Dead]);
    bench.interval([UP, UP, UP]);
    assert_eq!([1, 2].map(|n| bench.state(n)), [ServerState::Dead; 2]);
    bench.interval([UP, REFUSES, UP]);
    bench.interval([UP, UP, UP]);
    assert_eq!([1, 2].map(|n| bench.state(n)), [ServerState::Dead, ServerState::Alive]);
    bench.interval([UP, UP, UP]);
    assert_eq!(bench.state(1), ServerState::Alive);
    let expected = [
        (server(1), CheckOutcome::Refused),
        (server(2), CheckOutcome::Silent),
        (server(2), CheckOutcome::Answered),
        (server(1), CheckOutcome::Answered),
    ];
    assert_eq!(bench.changes(), expected);
    let report = bench.report(1);
    assert_eq!((report.checks, report.failures, report.since), (7, 3, Some(Millis::from_secs(2))));
    assert!(bench.report(2).is_backup && !report.is_backup);
}

#[test]
fn a_new_server_is_judged_by_its_first_check() {
    let mut bench = bench(CheckKind::Tcp);
    bench.interval([UP, REFUSES, None]);
    assert_eq!([0, 1].map(|n| bench.state(n)), [ServerState::Alive, ServerState::Dead]);
    bench.wait(Millis::from_secs(2));
    assert_eq!(bench.state(2), ServerState::Dead);
    assert_eq!(bench.changes().len(), 2);
}

#[test]
fn connections_avoid_the_dead_and_go_to_the_backup_when_all_are() {
    let mut bench = bench(CheckKind::Tcp);
    bench.interval([UP, UP, UP]);
    let mut both = [bench.connect(1000).unwrap(), bench.connect(1001).unwrap()];
    both.sort_unstable();
    assert_eq!(both, [0, 1]);
    bench.interval([REFUSES, UP, UP]);
    bench.interval([REFUSES, UP, UP]);
    assert_eq!([bench.connect(1002), bench.connect(1003)], [Some(1); 2]);
    bench.interval([REFUSES, REFUSES, UP]);
    bench.interval([REFUSES, REFUSES, UP]);
    assert_eq!([bench.connect(1004), bench.connect(1005)], [Some(2); 2]);
    assert_eq!((bench.report(2).flows, bench.report(2).flows_admitted), (2, 2));
}

#[test]
fn who_cannot_be_served_is_told() {
    let mut bench = bench(CheckKind::Tcp);
    bench.interval([REFUSES; 3]);
    let syn = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv4(FAR, WAN_IP).tcp(1000, 8888, SYN).payload(b"");
    let sent = bench.send(UPLINK, &[syn]);
    let [error] = &sent[&UPLINK][..] else { panic!("{sent:?}") };
    assert_eq!((error[34], error[35]), (3, 3), "port unreachable");
    assert_eq!(bench.drops(UPLINK), [("nat_no_server", 1)]);
}

#[test]
fn an_echo_is_an_answer_if_it_is_the_one_that_was_asked_for() {
    let mut bench = bench(CheckKind::Icmp);
    let sent = bench.wait(Millis::ZERO);
    let reply = |n: u16, asked: &Question, data: &[u8]| {
        let reply = eth().src(guest_mac(n)).dst(LAN_MAC).ipv4(guest_ip(n), LAN_IP);
        reply.icmp_echo_reply(asked.port, asked.number as u16).payload(data)
    };
    let [first, second] = [question(&sent, 0), question(&sent, 1)];
    bench.send(0, &[reply(0, &first, &first.data), reply(0, &second, &second.data)]);
    bench.send(1, &[reply(1, &second, b"12345678")]);
    assert_eq!([0, 1].map(|n| bench.state(n)), [ServerState::Alive, ServerState::Unchecked]);
    assert_eq!((bench.drops(0), bench.drops(1)), (vec![("no_service", 1)], vec![("no_service", 1)]));
}

#[test]
fn a_server_beyond_the_uplink_is_asked_from_the_uplinks_address() {
    let mut config = config(CheckKind::Tcp);
    let far = SocketAddrV4::new(FAR, 80);
    config.balances[0].balance.backups = vec![far];
    config.rules.prerouting[0].target = Target::Balance(config.balances[0].balance.clone());
    // Whatever comes to the uplink's address is a guest's, but not what the switch asked for.
    let mut all = config.rules.prerouting[0].clone();
    (all.matches.destination_ports, all.target) =
        (None, Target::Dnat { addresses: guest_ip(3).into(), ports: None, base: None });
    config.rules.prerouting.push(all);
    let mut bench = Bench::new(config);
    bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)]);
    let sent = bench.wait(Millis::ZERO);
    let syn = sent[&UPLINK].iter().find(|frame| frame[12..14] == [8, 0]).unwrap();
    let ip = Ipv4Packet::parse(&syn[14..]).unwrap();
    let (tcp, _) = TcpHeader::ref_from_prefix(&syn[34..]).unwrap();
    assert_eq!((ip.src, ip.dst), (WAN_IP, FAR));
    let answer = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv4(FAR, WAN_IP);
    let answer = answer.tcp(80, tcp.src_port.get(), SYN | ACK).numbers(1, tcp.seq.get().wrapping_add(1));
    let sent = bench.send(UPLINK, &[answer.payload(b"")]);
    assert_eq!(sent[&UPLINK].len(), 1);
    let reports: Vec<_> = bench.worker.servers(bench.now).collect();
    assert_eq!(reports[2].state, ServerState::Alive);
}

#[test]
fn a_server_that_nobody_answers_arp_for_is_dead_and_nothing_else_goes_out() {
    let mut bench = Bench::new(config(CheckKind::Tcp));
    let sent = bench.wait(Millis::from_secs(20));
    assert_eq!([0, 1, 2].map(|n| bench.state(n)), [ServerState::Dead; 3]);
    let others = sent.values().flatten().filter(|frame| frame[12..14] != [8, 6]);
    assert_eq!(others.count(), 0, "questions about hosts, and none about the switch itself");
    let about_itself = |frame: &&Vec<u8>| frame[38..42] == LAN_IP.octets();
    assert_eq!(sent.values().flatten().filter(about_itself).count(), 0);
}

#[test]
fn servers_that_stay_keep_their_state_over_a_reload() {
    let mut bench = bench(CheckKind::Tcp);
    bench.interval([UP, REFUSES, UP]);
    let mut other = config(CheckKind::Tcp);
    other.rules.prerouting.clear();
    bench.worker.install(other);
    let mut more = config(CheckKind::Tcp);
    more.balances[0].balance.servers.push(server(3));
    more.rules.prerouting[0].target = Target::Balance(more.balances[0].balance.clone());
    bench.worker.install(more);
    let states = [ServerState::Alive, ServerState::Dead, ServerState::Alive, ServerState::Unchecked];
    assert_eq!([0, 1, 2, 3].map(|n| bench.state(n)), states);
    let used = [bench.connect(1000), bench.connect(1001), bench.connect(1002)];
    assert!(!used.contains(&Some(1)), "{used:?}");
    bench.worker.install(config(CheckKind::Icmp));
    assert_eq!(bench.state(1), ServerState::Unchecked, "another question, another answer");
    let mut unchecked = config(CheckKind::Tcp);
    unchecked.balances[0].check = None;
    bench.worker.install(unchecked);
    assert_eq!(bench.wait(Millis::from_secs(9)).len(), 0);
    assert_eq!(bench.report(0).since, None);
}

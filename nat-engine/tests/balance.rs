//! Flows spread over several servers, of which some die and come back.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use std::net::{Ipv4Addr, SocketAddrV4};

use nat_engine::{Balance, NatConfig, ServerUse, Target};
use packet::builder::eth;
use packet::{DropReason, Millis, Protocol};
use world::*;

const fn server(last: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 168, 122, last), 80)
}

const SERVERS: [SocketAddrV4; 3] = [server(20), server(21), server(22)];
const BACKUPS: [SocketAddrV4; 2] = [server(30), server(31)];

fn balanced(protocol: Protocol) -> NatConfig {
    let mut config = config();
    let rule = dnat(PUBLIC, protocol, 8080, GUEST, None);
    config.rules.prerouting[0] = rule;
    config.rules.prerouting[0].target =
        Target::Balance(Balance { servers: SERVERS.to_vec(), backups: BACKUPS.to_vec() });
    config
}

fn tcp() -> World {
    World::with(balanced(Protocol::TCP))
}

impl World {
    /// The server that a segment from this port of a client is sent to.
    fn segment(&mut self, port: u16, flags: u8) -> Result<SocketAddrV4, DropReason> {
        let out = self.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(port, 8080, flags).payload(b""))?;
        Ok(SocketAddrV4::new(ends(&out).2, ends(&out).3))
    }

    fn syn(&mut self, port: u16) -> Result<SocketAddrV4, DropReason> {
        self.segment(port, SYN)
    }

    /// A whole handshake.
    fn connect(&mut self, port: u16) -> SocketAddrV4 {
        let server = self.syn(port).unwrap();
        let answer = eth().ipv4(*server.ip(), REMOTE).tcp(server.port(), port, SYN | ACK).payload(b"");
        assert_eq!(ends(&self.guest_sends(&answer).unwrap()), (PUBLIC, 8080, REMOTE, port));
        assert_eq!(self.segment(port, ACK), Ok(server));
        server
    }

    fn set_alive(&mut self, server: SocketAddrV4, alive: bool) {
        self.nat.set_server_alive(Protocol::TCP, server, alive);
        while self.nat.next_timeout() == Some(Millis::ZERO) {
            self.nat.on_timeout(self.now);
        }
    }

    fn used(&self, server: SocketAddrV4) -> (u64, u64) {
        let ServerUse { flows, admitted } = self.nat.server_use(Protocol::TCP, server).unwrap();
        (flows, admitted)
    }
}

#[test]
fn new_flows_are_spread_evenly() {
    let mut world = tcp();
    for port in 1000..1300 {
        world.connect(port);
    }
    assert_eq!(SERVERS.map(|server| world.used(server)), [(100, 100); 3]);
    assert_eq!(BACKUPS.map(|server| world.used(server)), [(0, 0); 2]);
    world.wait(3 * 3600 * 1000);
    assert_eq!(SERVERS.map(|server| world.used(server)), [(0, 100); 3]);
}

#[test]
fn a_flow_stays_with_its_server_as_long_as_it_lives() {
    let mut world = tcp();
    let first = world.connect(1000);
    world.connect(1001);
    assert_eq!(world.segment(1000, ACK), Ok(first));
    world.set_alive(first, false);
    assert_eq!(world.segment(1000, ACK), Ok(first), "an established connection has nowhere else to go");
}

#[test]
fn a_dead_server_gets_no_new_flow_and_one_that_returns_does() {
    let mut world = tcp();
    world.set_alive(SERVERS[1], false);
    for port in 1000..1100 {
        world.connect(port);
    }
    assert_eq!(SERVERS.map(|server| world.used(server).0), [50, 0, 50]);
    world.set_alive(SERVERS[1], true);
    for port in 2000..2003 {
        world.connect(port);
    }
    assert_eq!(SERVERS.map(|server| world.used(server).0), [51, 1, 51]);
}

#[test]
fn a_syn_that_a_dead_server_did_not_answer_is_sent_to_another_one() {
    let mut world = tcp();
    let first = world.syn(1000).unwrap();
    assert_eq!(world.syn(1000), Ok(first), "it lives, as far as known");
    world.set_alive(first, false);
    assert_eq!(world.counts(), (0, 1, 1));
    assert_ne!(world.syn(1000).unwrap(), first);
}

#[test]
fn a_refused_connection_may_go_elsewhere_with_the_same_ports() {
    let mut world = tcp();
    let first = world.syn(1000).unwrap();
    let refusal = eth().ipv4(*first.ip(), REMOTE).tcp(first.port(), 1000, RST | ACK).payload(b"");
    world.guest_sends(&refusal).unwrap();
    world.set_alive(first, false);
    assert_ne!(world.syn(1000).unwrap(), first);
}

#[test]
fn udp_leaves_a_dead_server_at_once() {
    let mut world = World::with(balanced(Protocol::UDP));
    let datagram = eth().ipv4(REMOTE, PUBLIC).udp(1000, 8080).payload(b"");
    let send = |world: &mut World| ends(&world.remote_sends(&datagram).unwrap()).2;
    let first = send(&mut world);
    world.guest_sends(&eth().ipv4(first, REMOTE).udp(80, 1000).payload(b"")).unwrap();
    assert_eq!(send(&mut world), first);
    world.nat.set_server_alive(Protocol::TCP, SocketAddrV4::new(first, 80), false);
    world.wait(0);
    assert_eq!(send(&mut world), first, "that is about another protocol");
    world.nat.set_server_alive(Protocol::UDP, SocketAddrV4::new(first, 80), false);
    world.wait(0);
    assert_ne!(send(&mut world), first);
}

#[test]
fn backups_serve_while_no_server_lives() {
    let mut world = tcp();
    SERVERS.iter().for_each(|&server| world.set_alive(server, false));
    let used = [world.connect(1000), world.connect(1001)];
    assert!(used.iter().all(|server| BACKUPS.contains(server)) && used[0] != used[1], "{used:?}");
    world.set_alive(BACKUPS[0], false);
    assert_eq!([world.connect(1002), world.connect(1003)], [BACKUPS[1]; 2]);
    world.set_alive(SERVERS[2], true);
    assert_eq!([world.connect(1004), world.connect(1005)], [SERVERS[2]; 2]);
    assert_eq!(world.segment(1003, ACK), Ok(BACKUPS[1]), "who is there already stays");
}

#[test]
fn without_any_server_new_flows_are_refused_by_name() {
    let mut world = tcp();
    let known = world.connect(1000);
    SERVERS.iter().chain(&BACKUPS).for_each(|&server| world.set_alive(server, false));
    assert_eq!(world.syn(1001), Err(DropReason::NatNoServer));
    assert_eq!(world.segment(1002, ACK), Err(DropReason::TcpNoSyn));
    assert_eq!(world.segment(1000, ACK), Ok(known));
}

#[test]
fn a_guest_reaches_the_servers_by_the_outside_address() {
    let mut world = tcp();
    let out = world.guest_sends(&eth().ipv4(GUEST, PUBLIC).tcp(1000, 8080, SYN).payload(b"")).unwrap();
    let (source, port, server, _) = ends(&out);
    assert_eq!(source, PUBLIC);
    let answer = eth().ipv4(server, source).tcp(80, port, SYN | ACK).payload(b"");
    assert_eq!(ends(&world.guest_sends(&answer).unwrap()), (PUBLIC, 8080, GUEST, 1000));
}

#[test]
fn servers_that_stay_are_as_dead_as_before_and_keep_their_flows() {
    let mut world = tcp();
    for port in 1000..1003 {
        world.connect(port);
    }
    world.set_alive(SERVERS[0], false);
    let mut config = balanced(Protocol::TCP);
    let Target::Balance(balance) = &mut config.rules.prerouting[0].target else { unreachable!() };
    balance.servers = vec![SERVERS[0], SERVERS[1]];
    world.nat.reconfigure(config);
    assert_eq!([world.connect(2000), world.connect(2001)], [SERVERS[1]; 2]);
    assert_eq!(world.nat.server_use(Protocol::TCP, SERVERS[2]), None);
    world.nat.reconfigure(balanced(Protocol::TCP));
    assert_eq!(SERVERS.map(|server| world.used(server).0), [1, 3, 1], "flows of one that is new are counted");
}

#[test]
fn forgetting_the_flows_of_a_dead_server_takes_a_little_at_a_time() {
    let mut config = balanced(Protocol::TCP);
    config.flow_limit = 10_000;
    let mut world = World::with(config);
    for port in 1..=9000 {
        world.syn(port).unwrap();
    }
    world.nat.set_server_alive(Protocol::TCP, SERVERS[0], false);
    let mut steps = 0;
    while world.nat.next_timeout() == Some(Millis::ZERO) {
        let before = world.nat.flow_count();
        world.nat.on_timeout(world.now);
        assert!(before - world.nat.flow_count() <= 1024);
        steps += 1;
    }
    assert_eq!((world.counts(), steps), ((6000, 9000, 3000), 9));
}

#[test]
fn a_port_for_own_use_is_no_flows() {
    let mut world = World::new();
    let lease = world.nat.lease_port(PUBLIC, Protocol::UDP, world.now).unwrap();
    let out = world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(lease.port(), 53).payload(b"")).unwrap();
    assert_ne!(ends(&out).1, lease.port());
    let port = lease.port();
    world.nat.return_port(lease);
    let out = world.guest_sends(&eth().ipv4(GUEST2, REMOTE).udp(port, 53).payload(b"")).unwrap();
    assert_eq!(ends(&out).1, port);
}

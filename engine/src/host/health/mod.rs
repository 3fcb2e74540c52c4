//! Which servers of balance rules are alive: the switch asks them.
//!
//! ```text
//! check  question, each interval   success            failure
//! tcp    SYN                       SYN-ACK (gets RST)  RST; silence until the next question
//! icmp   echo request              its reply           silence until the next question
//!
//! state      failures in a row   successes in a row
//! unchecked  1: dead             1: alive              new flows may go to it
//! alive      `failures`: dead
//! dead                           `successes`: alive    new flows may not
//! ```
//!
//! Questions come from the switch's own address on the network that the server is reached by, and from a port that NAT gives
//! to nobody else meanwhile. While nothing comes back the same question is asked again, so that it doesn't matter which one
//! an answer is to. Only who has seen the question can answer it: port and numbers are random.

mod question;

use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::net::SocketAddrV4;

use nat_engine::{Balance, PortLease};
use packet::wire::EthernetHeader;
use packet::{DropReason, Fragment, FrameMeta, Ipv4Packet, L4, Millis, NetworkId, Offload, Protocol};

use self::question::{Question, is_answer};
use super::Outgoing;
use crate::gateway::Gateway;
use crate::keyed::Keyed;
use crate::report::{CheckOutcome, ServerChange, ServerReport, ServerState};
use crate::runtime_config::{BalanceConfig, CheckConfig, CheckKind};

/// All servers that are asked.
#[derive(Debug)]
pub(crate) struct Health {
    servers: BTreeMap<Key, Server>,
    /// When the next question is due.
    next: Option<Millis>,
    /// What nobody has been told yet.
    changes: VecDeque<ServerChange>,
    random: Keyed,
    drawn: u64,
}

/// A server, those of one address beside each other.
type Key = (SocketAddrV4, Protocol);

#[derive(Debug)]
struct Server {
    /// Hosts of this network reach it as flows do.
    network: NetworkId,
    check: CheckConfig,
    state: ServerState,
    since: Option<Millis>,
    /// Outcomes in a row that contradict the state.
    streak: u8,
    due: Millis,
    /// What has not been answered yet.
    question: Option<Question>,
    checks: u64,
    failures: u64,
}

impl Health {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        let (servers, changes) = (BTreeMap::new(), VecDeque::new());
        Self { servers, next: None, changes, random: Keyed(seed), drawn: 0 }
    }

    /// Takes over the servers of a configuration; those that stay, and are asked as before, keep their state. The ports of
    /// questions that are no longer of interest are returned.
    fn follow(&mut self, balances: &[BalanceConfig]) -> Vec<PortLease> {
        let mut old = std::mem::take(&mut self.servers);
        let mut returned = Vec::new();
        for (config, check) in balances.iter().filter_map(|config| Some((config, config.check?))) {
            for server in all(&config.balance) {
                let key = (server, config.protocol);
                let known = old.remove(&key).filter(|known| known.check.kind == check.kind);
                let mut server = known.unwrap_or_else(|| Server::new(config.network, check));
                if server.check.interval != check.interval {
                    server.due = Millis::ZERO;
                    returned.extend(server.question.take());
                }
                (server.network, server.check) = (config.network, check);
                self.servers.entry(key).or_insert(server);
            }
        }
        returned.extend(old.into_values().filter_map(|server| server.question));
        self.reschedule();
        returned.into_iter().map(|question| question.port).collect()
    }

    pub(crate) const fn next_timeout(&self) -> Option<Millis> {
        self.next
    }

    fn reschedule(&mut self) {
        self.next = self.servers.values().map(|server| server.due).min();
    }

    /// The servers whose turn it is to be asked.
    fn due(&self, now: Millis) -> Vec<Key> {
        let due = self.servers.iter().filter(|(_, server)| server.due <= now);
        due.map(|(&key, _)| key).take(AT_ONCE).collect()
    }

    /// Takes note of a check's outcome. Whether the server has died or come to life by it.
    fn note(&mut self, key: Key, outcome: CheckOutcome, now: Millis) -> bool {
        let Some(server) = self.servers.get_mut(&key) else { return false };
        let before = server.state;
        if !server.note(outcome, now) {
            return false;
        }
        if before != ServerState::Unchecked || server.state == ServerState::Dead {
            self.changes.push_back(ServerChange {
                network: server.network,
                server: key.0,
                protocol: key.1,
                outcome,
            });
            self.changes.truncate(CHANGES);
        }
        true
    }

    pub(crate) fn next_change(&mut self) -> Option<ServerChange> {
        self.changes.pop_front()
    }

    /// The server that this packet seems to come from, as an answer to its question.
    fn asked(&self, ip: &Ipv4Packet) -> Option<Key> {
        if self.servers.is_empty() || ip.fragment != Fragment::Whole {
            return None;
        }
        let (kind, source_port) = match ip.l4 {
            L4::Tcp if is_answer(ip.tcp_flags) => (CheckKind::Tcp, Some(ip.src_port)),
            L4::EchoReply => (CheckKind::Icmp, None),
            _ => return None,
        };
        let at = |port, protocol| (SocketAddrV4::new(ip.src, port), Protocol(protocol));
        let mut servers = self.servers.range(at(0, 0)..=at(u16::MAX, u8::MAX));
        let found = servers.find(|((socket, _), server)| {
            let is_it = |asked: &Question| asked.source == ip.dst && asked.port.port() == ip.dst_port;
            server.check.kind == kind
                && source_port.is_none_or(|port| port == socket.port())
                && server.question.as_ref().is_some_and(is_it)
        });
        found.map(|(&key, _)| key)
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.random.hash_one(("question", self.drawn))
    }
}

impl Server {
    const fn new(network: NetworkId, check: CheckConfig) -> Self {
        Self {
            network,
            check,
            state: ServerState::Unchecked,
            since: None,
            streak: 0,
            due: Millis::ZERO,
            question: None,
            checks: 0,
            failures: 0,
        }
    }

    /// Whether the state has changed.
    fn note(&mut self, outcome: CheckOutcome, now: Millis) -> bool {
        self.checks += 1;
        self.failures += u64::from(outcome != CheckOutcome::Answered);
        let (seen, needed) = match (outcome, self.state) {
            (CheckOutcome::Answered, ServerState::Dead) => (ServerState::Alive, self.check.successes),
            (CheckOutcome::Answered, _) => (ServerState::Alive, 1),
            (_, ServerState::Alive) => (ServerState::Dead, self.check.failures),
            (_, _) => (ServerState::Dead, 1),
        };
        self.streak = if seen == self.state { 0 } else { self.streak.saturating_add(1) };
        if seen == self.state || self.streak < needed {
            return false;
        }
        (self.state, self.since, self.streak) = (seen, Some(now), 0);
        true
    }
}

impl Gateway {
    /// Takes over the servers of a configuration that NAT has its rules of already.
    pub(crate) fn follow_servers(&mut self, balances: &[BalanceConfig]) {
        for port in self.health.follow(balances) {
            self.nat.return_port(port);
        }
        for config in balances {
            for server in all(&config.balance) {
                let known = self.health.servers.get(&(server, config.protocol));
                let is_alive = known.is_none_or(|known| known.state != ServerState::Dead);
                self.nat.set_server_alive(config.protocol, server, is_alive);
            }
        }
    }

    /// Asks the servers whose turn it is.
    pub(crate) fn check_servers(&mut self, now: Millis, out: &mut Outgoing) {
        for key in self.health.due(now) {
            if self.health.servers.get(&key).is_some_and(|server| server.question.is_some()) {
                self.conclude(key, CheckOutcome::Silent, now);
            }
            if let Err(reason) = self.ask_server(key, now, out) {
                out.drops.count(reason);
            }
        }
        self.health.reschedule();
    }

    /// Whether the packet, which is for the switch itself, seems to be what a server answers.
    pub(crate) fn may_be_answer(&self, ip: &Ipv4Packet) -> bool {
        self.health.asked(ip).is_some()
    }

    /// Takes a server's answer to the switch's question. `false`: it is none.
    pub(crate) fn take_answer(
        &mut self,
        meta: &FrameMeta,
        frame: &[u8],
        ip: &Ipv4Packet,
        input: NetworkId,
        now: Millis,
        out: &mut Outgoing,
    ) -> bool {
        let Some(key) = self.health.asked(ip) else { return false };
        let Some(server) = self.health.servers.get_mut(&key) else { return false };
        let packet = &frame[EthernetHeader::LEN..];
        let Some(outcome) =
            server.question.as_ref().and_then(|question| question.outcome(packet, ip, meta.offload))
        else {
            return false;
        };
        if let Some(question) = server.question.take() {
            if server.check.kind == CheckKind::Tcp && outcome == CheckOutcome::Answered {
                // Nothing is left half open there.
                let own_mac = self.interface(input).map_or(meta.dst, |interface| interface.mac);
                out.push(input, &question.reset(key.0, own_mac, meta.src), Offload::NONE);
            }
            self.nat.return_port(question.port);
        }
        self.conclude(key, outcome, now);
        true
    }

    /// All servers of `balances`, which are those of the running configuration.
    pub(crate) fn servers<'a>(
        &'a self,
        balances: &'a [BalanceConfig],
        now: Millis,
    ) -> impl Iterator<Item = ServerReport> + 'a {
        balances.iter().enumerate().flat_map(move |(index, config)| {
            let Balance { servers, backups } = &config.balance;
            let sockets = servers.iter().map(|&server| (server, false));
            sockets.chain(backups.iter().map(|&server| (server, true))).map(move |(server, is_backup)| {
                let known = self.health.servers.get(&(server, config.protocol));
                let used = self.nat.server_use(config.protocol, server).unwrap_or_default();
                ServerReport {
                    balance: index,
                    server,
                    is_backup,
                    state: known.map_or(ServerState::Unchecked, |known| known.state),
                    since: known.and_then(|known| known.since).map(|since| now.since(since)),
                    checks: known.map_or(0, |known| known.checks),
                    failures: known.map_or(0, |known| known.failures),
                    flows: used.flows,
                    flows_admitted: used.admitted,
                }
            })
        })
    }

    /// Servers that have died or come back.
    pub(crate) fn next_server_change(&mut self) -> Option<ServerChange> {
        self.health.next_change()
    }

    fn conclude(&mut self, key: Key, outcome: CheckOutcome, now: Millis) {
        if self.health.note(key, outcome, now) {
            let (server, protocol) = key;
            self.nat.set_server_alive(protocol, server, outcome == CheckOutcome::Answered);
        }
    }

    fn ask_server(&mut self, key: Key, now: Millis, out: &mut Outgoing) -> Result<(), DropReason> {
        let Some(server) = self.health.servers.get_mut(&key) else { return Ok(()) };
        server.due = now + server.check.interval;
        let (network, kind, mut question) = (server.network, server.check.kind, server.question.take());
        let destination = *key.0.ip();
        let way = self.routes.lookup(network, destination, true);
        let own = way.ok().and_then(|hop| self.interface(hop.network)).map(|own| own.address.address());
        let stale = question.take_if(|question| Some(question.source) != own);
        if let Some(stale) = stale {
            self.nat.return_port(stale.port);
        }
        let (Ok(hop), Some(source)) = (way, own) else {
            self.conclude(key, CheckOutcome::Silent, now);
            return Err(way.err().unwrap_or(DropReason::NoRoute));
        };
        let question = match question {
            Some(question) => question,
            None => Question {
                source,
                port: self.nat.lease_port(source, kind.protocol(), now).ok_or(DropReason::NatNoPorts)?,
                secret: self.health.draw(),
            },
        };
        let frame = question.frame(kind, key.0);
        if let Some(server) = self.health.servers.get_mut(&key) {
            server.question = Some(question);
        }
        self.send(hop, frame, now, out)
    }
}

fn all(balance: &Balance) -> impl Iterator<Item = SocketAddrV4> + '_ {
    balance.servers.iter().chain(&balance.backups).copied()
}

/// Questions of one call: all of the switch's own frames of one call have to fit into a burst.
const AT_ONCE: usize = 16;
/// Changes that wait to be told: whoever doesn't ask for them misses the later ones.
const CHANGES: usize = 1024;

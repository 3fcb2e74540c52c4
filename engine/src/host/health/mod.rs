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

use nat_engine::{Balance, Nat};
use packet::{DropReason, Fragment, Ipv4Packet, L4, Millis, NetworkId, Offload, Protocol};

use self::question::{Question, is_answer};
use super::outgoing::To;
use super::slow::Slow;
use crate::gateway::Gateway;
use crate::gateway::route::Source;
use crate::punt::Punted;
use crate::report::{CheckOutcome, ServerChange, ServerReport, ServerState};
use crate::runtime_config::{BalanceConfig, CheckConfig, CheckKind};
use crate::sockets::{Connected, Service};
use packet::keyed::SipKeys;

/// All servers that are asked.
#[derive(Debug)]
pub(crate) struct Health {
    servers: BTreeMap<Key, Server>,
    /// When the next question is due.
    next: Option<Millis>,
    /// What nobody has been told yet.
    changes: VecDeque<ServerChange>,
    random: SipKeys,
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
        Self { servers, next: None, changes, random: SipKeys(seed), drawn: 0 }
    }

    /// Takes over the servers of a configuration that NAT has its rules of already; those that stay, and are asked as
    /// before, keep their state.
    pub(super) fn install(&mut self, balances: &[BalanceConfig], gateway: &mut Gateway) {
        let mut old = std::mem::take(&mut self.servers);
        for (config, check) in balances.iter().filter_map(|config| Some((config, config.check?))) {
            for server in all(&config.balance) {
                let key = (server, config.protocol);
                let mut known = old.remove(&key).unwrap_or_else(|| Server::new(config.network, check));
                let is_same_kind = known.check.kind == check.kind;
                if !is_same_kind || known.check.interval != check.interval {
                    known.due = Millis::ZERO;
                    end(known.question.take(), server, known.check.kind, gateway);
                }
                if !is_same_kind {
                    known = Server::new(config.network, check);
                }
                (known.network, known.check) = (config.network, check);
                self.servers.entry(key).or_insert(known);
            }
        }
        for ((server, _), known) in old {
            end(known.question, server, known.check.kind, gateway);
        }
        self.reschedule();
        for config in balances {
            for server in all(&config.balance) {
                let known = self.servers.get(&(server, config.protocol));
                let is_alive = known.is_none_or(|known| known.state != ServerState::Dead);
                gateway.nat.set_server_alive(config.protocol, server, is_alive);
            }
        }
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

    /// Asks the servers whose turn it is.
    pub(super) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        for key in self.due(slow.now) {
            if self.servers.get(&key).is_some_and(|server| server.question.is_some()) {
                self.conclude(key, CheckOutcome::Silent, slow);
            }
            if let Err(reason) = self.ask(key, slow) {
                slow.out.drops.count(reason);
            }
        }
        self.reschedule();
    }

    /// Takes a server's answer to the switch's question.
    ///
    /// # Errors
    /// `NoService`: it is none.
    pub(super) fn serve(&mut self, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let ip = punted.ip()?;
        let key = self.asked(&ip).ok_or(DropReason::NoService)?;
        let server = self.servers.get_mut(&key).ok_or(DropReason::NoService)?;
        let outcome = |question: &Question| question.outcome(punted.packet(), &ip, punted.meta.offload);
        let outcome = server.question.as_ref().and_then(outcome).ok_or(DropReason::NoService)?;
        let (question, kind) = (server.question.take(), server.check.kind);
        if let Some(question) = &question
            && kind == CheckKind::Tcp
            && outcome == CheckOutcome::Answered
        {
            // Nothing is left half open there.
            let interface = slow.gateway.interface(punted.input);
            let own_mac = interface.map_or(punted.meta.dst, |interface| interface.mac);
            let reset = question.reset(key.0, own_mac, punted.meta.src);
            slow.out.push(To::Network(punted.input), &reset, Offload::NONE);
        }
        end(question, key.0, kind, slow.gateway);
        self.conclude(key, outcome, slow);
        Ok(())
    }

    /// All servers of `balances`, which are those of the running configuration.
    pub(crate) fn servers<'a>(
        &'a self,
        balances: &'a [BalanceConfig],
        nat: &'a Nat,
        now: Millis,
    ) -> impl Iterator<Item = ServerReport> + 'a {
        balances.iter().enumerate().flat_map(move |(index, config)| {
            let Balance { servers, backups } = &config.balance;
            let sockets = servers.iter().map(|&server| (server, false));
            sockets.chain(backups.iter().map(|&server| (server, true))).map(move |(server, is_backup)| {
                let known = self.servers.get(&(server, config.protocol));
                let used = nat.server_use(config.protocol, server).unwrap_or_default();
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

    fn conclude(&mut self, key: Key, outcome: CheckOutcome, slow: &mut Slow<'_>) {
        if self.note(key, outcome, slow.now) {
            let (server, protocol) = key;
            slow.gateway.nat.set_server_alive(protocol, server, outcome == CheckOutcome::Answered);
        }
    }

    fn ask(&mut self, key: Key, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let Some(server) = self.servers.get_mut(&key) else { return Ok(()) };
        server.due = slow.now + server.check.interval;
        let (network, kind, mut question) = (server.network, server.check.kind, server.question.take());
        let route = slow.gateway.routes.lookup(Source::Translated(network), *key.0.ip());
        let own = route.ok().and_then(|hop| slow.gateway.interface(hop.network));
        let own = own.map(|interface| interface.address.address());
        let stale = question.take_if(|question| Some(question.source) != own);
        end(stale, key.0, kind, slow.gateway);
        let (Ok(hop), Some(source)) = (route, own) else {
            self.conclude(key, CheckOutcome::Silent, slow);
            return Err(route.err().unwrap_or(DropReason::NoRoute));
        };
        let question = match question {
            Some(question) => question,
            None => {
                let port = slow.gateway.nat.lease_port(source, kind.protocol(), slow.now);
                let port = port.ok_or(DropReason::NatNoPorts)?;
                let question = Question { source, port, secret: self.draw() };
                slow.gateway.sockets.connect(socket(&question, key.0, kind), Service::Health);
                question
            }
        };
        let frame = question.frame(kind, key.0);
        if let Some(server) = self.servers.get_mut(&key) {
            server.question = Some(question);
        }
        slow.send(hop, frame)
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

/// The question to `server`, if there was one, is of no interest any more: its port is returned.
fn end(question: Option<Question>, server: SocketAddrV4, kind: CheckKind, gateway: &mut Gateway) {
    if let Some(question) = question {
        gateway.sockets.disconnect(socket(&question, server, kind));
        gateway.nat.return_port(question.port);
    }
}

/// What the answer comes to.
fn socket(question: &Question, server: SocketAddrV4, kind: CheckKind) -> Connected {
    let remote = match kind {
        CheckKind::Tcp => server,
        CheckKind::Icmp => SocketAddrV4::new(*server.ip(), 0),
    };
    let local = SocketAddrV4::new(question.source, question.port.port());
    Connected { protocol: kind.protocol(), local, remote }
}

fn all(balance: &Balance) -> impl Iterator<Item = SocketAddrV4> + '_ {
    balance.servers.iter().chain(&balance.backups).copied()
}

/// Questions of one call: all of the switch's own frames of one call have to fit into a burst.
const AT_ONCE: usize = 16;
/// Changes that wait to be told: whoever doesn't ask for them misses the later ones.
const CHANGES: usize = 1024;

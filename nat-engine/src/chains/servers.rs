//! Servers that share an outside address and port: which of them a new flow goes to.
//!
//! ```text
//! first packet ─▶ Target::Balance ─▶ the next one of the servers that live ─▶ the flow stays there
//!                                    none lives: the next one of the backups that live
//!                                    none of these either: refused, NatNoServer
//! ```
//!
//! Whether a server lives is for the caller to find out, and to tell by
//! [`Nat::set_server_alive`](crate::Nat::set_server_alive). When one dies, its flows
//! that can begin anew elsewhere are forgotten: TCP that isn't established, so that a client's next SYN finds a server
//! that lives; and UDP, where a client that goes on sending would otherwise stay with the dead one for ever. An established
//! connection has no other place to go to; it waits for its server.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::ops::Range;

use packet::Protocol;

use crate::chains::rule::{Balance, RuleSet, Target};
use crate::flows::flow::Flow;
use crate::flows::timeouts::TimeoutClass;
use crate::flows::tuple::Direction;

/// How a server is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServerUse {
    /// Flows that it has.
    pub flows: u64,
    /// Flows that it was ever given.
    pub admitted: u64,
}

/// The servers of all rules, by protocol and socket.
#[derive(Debug, Default)]
pub(super) struct Servers {
    servers: BTreeMap<(Protocol, SocketAddrV4), Server>,
    /// Flows of dead servers are being forgotten: from this place of the table on. `None`: all are.
    sweep: Option<usize>,
}

#[derive(Debug, Default)]
struct Server {
    is_dead: bool,
    used: ServerUse,
}

impl Servers {
    /// Takes over the servers of other rules; those that stay are as alive as they were. If there are new ones, the flows of
    /// all are counted again.
    pub(super) fn reconfigure<'a>(&mut self, rules: &RuleSet, flows: impl Iterator<Item = &'a Flow>) {
        if self.follow(rules) {
            self.servers.values_mut().for_each(|server| server.used.flows = 0);
            for flow in flows {
                if let Some(server) = self.of(flow) {
                    server.used.flows += 1;
                }
            }
        }
    }

    /// Whether there are new servers.
    fn follow(&mut self, rules: &RuleSet) -> bool {
        let mut old = std::mem::take(&mut self.servers);
        let mut any_new = false;
        for rule in &rules.prerouting {
            let Target::Balance(Balance { servers, backups }) = &rule.target else { continue };
            let protocols = [Protocol::TCP, Protocol::UDP].into_iter().filter(|protocol| {
                rule.matches.protocol.is_none_or(|on| (on.value == *protocol) != on.negated)
            });
            for protocol in protocols {
                for &server in servers.iter().chain(backups) {
                    let key = (protocol, server);
                    self.servers.entry(key).or_insert_with(|| {
                        let known = old.remove(&key);
                        any_new |= known.is_none();
                        known.unwrap_or_default()
                    });
                }
            }
        }
        any_new
    }

    /// Says whether new flows may go to a server; one that no rule has is not remembered.
    pub(super) fn set_alive(&mut self, protocol: Protocol, server: SocketAddrV4, alive: bool) {
        let Some(known) = self.servers.get_mut(&(protocol, server)) else { return };
        if !alive && !known.is_dead {
            self.sweep = Some(0);
        }
        known.is_dead = !alive;
    }

    /// How a server is used; `None` if no rule has it.
    pub(super) fn use_of(&self, protocol: Protocol, server: SocketAddrV4) -> Option<ServerUse> {
        self.servers.get(&(protocol, server)).map(|server| server.used)
    }

    fn is_alive(&self, protocol: Protocol, server: SocketAddrV4) -> bool {
        self.servers.get(&(protocol, server)).is_none_or(|server| !server.is_dead)
    }

    /// The server that a flow of `protocol` goes to; each `turn` has the next one.
    pub(super) fn pick(&self, balance: &Balance, protocol: Protocol, turn: u64) -> Option<SocketAddrV4> {
        balance.pick(turn, |server| self.is_alive(protocol, server))
    }

    /// The flow has begun.
    pub(super) fn add(&mut self, flow: &Flow) {
        if let Some(server) = self.of(flow) {
            server.used.flows += 1;
            server.used.admitted += 1;
        }
    }

    /// The flow has ended.
    pub(super) fn remove(&mut self, flow: &Flow) {
        if let Some(server) = self.of(flow) {
            server.used.flows -= 1;
        }
    }

    /// Whether flows are still to be looked at because a server died.
    pub(super) const fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// The places of the table of flows whose [stranded](Self::is_stranded) flows are to be forgotten now. `places` is how many
    /// there are.
    pub(super) fn next_sweep(&mut self, places: usize) -> Option<Range<usize>> {
        let start = self.sweep?;
        let end = start + SWEEP_AT_ONCE;
        self.sweep = (end < places).then_some(end);
        Some(start..end)
    }

    /// Whether the flow's server is dead, and it would be better off with another one.
    pub(super) fn is_stranded(&self, flow: &Flow) -> bool {
        let is_dead = |key| self.servers.get(&key).is_some_and(|server| server.is_dead);
        flow.class != TimeoutClass::TcpEstablished && self.server_of(flow).is_some_and(is_dead)
    }

    fn of(&mut self, flow: &Flow) -> Option<&mut Server> {
        let key = self.server_of(flow)?;
        self.servers.get_mut(&key)
    }

    /// Where the flow's destination was translated to, if servers are known at all.
    fn server_of(&self, flow: &Flow) -> Option<(Protocol, SocketAddrV4)> {
        if self.servers.is_empty() {
            return None;
        }
        let (original, reply) = (flow.tuple(Direction::Original), flow.tuple(Direction::Reply));
        let is_translated = original.destination() != reply.source();
        is_translated.then(|| (original.protocol(), reply.source()))
    }
}

/// Places of the table that one call of [`Nat::on_timeout`](crate::Nat::on_timeout) looks at: as many as it may expire flows.
const SWEEP_AT_ONCE: usize = 1024;

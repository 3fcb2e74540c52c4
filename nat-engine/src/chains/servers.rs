//! Servers that share an outside address and port: which of them a new flow goes to.
//!
//! ```text
//! first packet ─▶ Target::Balance ─▶ the next one of the servers that live ─▶ the flow stays there
//!                                    none lives: the next one of the backups that live
//!                                    none of these either: refused, NatNoServer
//! ```
//!
//! Whether a server lives is for the caller to find out, and to tell by [`Nat::set_server_alive`]. When one dies, its flows
//! that can begin anew elsewhere are forgotten: TCP that isn't established, so that a client's next SYN finds a server
//! that lives; and UDP, where a client that goes on sending would otherwise stay with the dead one for ever. An established
//! connection has no other place to go to; it waits for its server.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{Millis, Protocol};

use crate::chains::rule::{RuleSet, Target};
use crate::flows::flow::Flow;
use crate::flows::timeouts::TimeoutClass;
use crate::flows::tuple::Direction;
use crate::memory::slab::Id;
use crate::nat::Nat;
use crate::outside::port_pool::{PortLease, Wanted};

/// Servers that flows are spread over, one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Balance {
    /// Those that serve.
    pub servers: Vec<SocketAddrV4>,
    /// Those that serve while none of `servers` lives.
    pub backups: Vec<SocketAddrV4>,
}

impl Balance {
    fn pick(&self, turn: u64, is_alive: impl Fn(SocketAddrV4) -> bool) -> Option<SocketAddrV4> {
        [&self.servers, &self.backups].into_iter().find_map(|servers| {
            let alive = || servers.iter().copied().filter(|&server| is_alive(server));
            let place = turn.checked_rem(alive().count() as u64)?;
            alive().nth(place as usize)
        })
    }
}

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
pub(crate) struct Servers {
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
    /// Takes over the servers of other rules; those that stay are as alive as they were. Whether there are new ones, whose
    /// flows are to be counted.
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

    fn is_alive(&self, protocol: Protocol, server: SocketAddrV4) -> bool {
        self.servers.get(&(protocol, server)).is_none_or(|server| !server.is_dead)
    }

    /// The server that a flow of `protocol` goes to; each `turn` has the next one.
    pub(crate) fn pick(&self, balance: &Balance, protocol: Protocol, turn: u64) -> Option<SocketAddrV4> {
        balance.pick(turn, |server| self.is_alive(protocol, server))
    }

    /// The flow has begun.
    pub(crate) fn add(&mut self, flow: &Flow) {
        if let Some(server) = self.of(flow) {
            server.used.flows += 1;
            server.used.admitted += 1;
        }
    }

    /// The flow has ended.
    pub(crate) fn remove(&mut self, flow: &Flow) {
        if let Some(server) = self.of(flow) {
            server.used.flows -= 1;
        }
    }

    /// Whether the flow's server is dead, and it would be better off with another one.
    fn is_stranded(&mut self, flow: &Flow) -> bool {
        flow.class != TimeoutClass::TcpEstablished && self.of(flow).is_some_and(|server| server.is_dead)
    }

    /// The server that the flow's destination was translated to.
    fn of(&mut self, flow: &Flow) -> Option<&mut Server> {
        if self.servers.is_empty() {
            return None;
        }
        let (original, reply) = (flow.tuple(Direction::Original), flow.tuple(Direction::Reply));
        let is_translated = original.destination() != reply.source();
        self.servers.get_mut(&(original.protocol(), reply.source())).filter(|_| is_translated)
    }
}

impl Nat {
    /// Says whether new flows may go to a server of [`Target::Balance`]. All are taken to be alive until told otherwise;
    /// servers that no rule has are not remembered.
    pub fn set_server_alive(&mut self, protocol: Protocol, server: SocketAddrV4, alive: bool) {
        let Some(known) = self.servers.servers.get_mut(&(protocol, server)) else { return };
        if !alive && !known.is_dead {
            self.servers.sweep = Some(0);
        }
        known.is_dead = !alive;
    }

    /// How a server is used, also by rules that lead to it alone; `None` if no [`Target::Balance`] has it.
    pub fn server_use(&self, protocol: Protocol, server: SocketAddrV4) -> Option<ServerUse> {
        self.servers.servers.get(&(protocol, server)).map(|server| server.used)
    }

    /// A port of one of the switch's own addresses, or an identifier of ICMP queries, for its own use: no new mapping gets
    /// it before it comes back by [`return_port`](Self::return_port). Nobody can guess which it is. `None` if all are taken.
    pub fn lease_port(&mut self, address: Ipv4Addr, protocol: Protocol, now: Millis) -> Option<PortLease> {
        let wanted = Wanted { port: u16::MAX, keep: false, range: None, parity: false };
        let published = self.config.published();
        self.mappings.ports.lease(address, protocol, wanted, &published, &mut self.random, now)
    }

    /// The port is free again. It came from this very NAT.
    pub fn return_port(&mut self, lease: PortLease) {
        self.mappings.ports.give_back(lease);
    }

    pub(crate) fn follow_servers(&mut self) {
        if self.servers.follow(&self.config.rules) {
            let Self { servers, flows, .. } = self;
            for server in servers.servers.values_mut() {
                server.used.flows = 0;
            }
            for flow in flows.iter() {
                if let Some(server) = servers.of(flow) {
                    server.used.flows += 1;
                }
            }
        }
    }

    pub(crate) const fn is_sweeping(&self) -> bool {
        self.servers.sweep.is_some()
    }

    /// Forgets flows that are better off without their dead server, as far as a little time allows.
    pub(crate) fn sweep(&mut self, now: Millis) {
        let Some(start) = self.servers.sweep else { return };
        let end = start + SWEEP_AT_ONCE;
        let stranded: Vec<Id> = {
            let Self { servers, flows, .. } = self;
            flows.ids_in(start..end).filter(|&id| servers.is_stranded(flows.get(id))).collect()
        };
        stranded.into_iter().for_each(|id| self.expire(id, now));
        self.servers.sweep = (end < self.flows.places()).then_some(end);
    }
}

/// Places of the table that one call of [`Nat::on_timeout`] looks at: as many as it may expire flows.
const SWEEP_AT_ONCE: usize = 1024;

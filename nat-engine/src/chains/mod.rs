//! The two chains of rules, how often each rule decided, and the servers that rules spread flows over.
//!
//! ```text
//! packet ─▶ PREROUTING rules (destination) ─▶ routing ─▶ POSTROUTING rules (source) ─▶ flow
//! ```
//!
//! A decision changes nothing: [`decide`] takes `&Chains`. What a flow changes that begins or ends
//! is counted in [`counters`] and [`servers`].

pub(crate) mod counters;
pub(crate) mod decide;
pub(crate) mod rule;
pub(crate) mod servers;

use std::net::SocketAddrV4;
use std::ops::Range;

use packet::Protocol;

use crate::chains::counters::{Counters, RuleCounters};
use crate::chains::rule::RuleSet;
use crate::chains::servers::{ServerUse, Servers};
use crate::flows::flow::Flow;

/// What rules have done so far, and which servers they may choose.
#[derive(Debug)]
pub(crate) struct Chains {
    counters: Counters,
    servers: Servers,
}

impl Chains {
    /// The chains of `rules`, none of which has had a flow.
    pub(crate) fn new(rules: &RuleSet) -> Self {
        let mut servers = Servers::default();
        servers.reconfigure(rules, std::iter::empty());
        Self { counters: Counters::new(rules), servers }
    }

    /// Rules that stay keep their counters, and servers what is known of them.
    pub(crate) fn reconfigure<'a>(
        &mut self,
        old: &RuleSet,
        new: &RuleSet,
        flows: impl Iterator<Item = &'a Flow>,
    ) {
        self.counters.reconfigure(old, new);
        self.servers.reconfigure(new, flows);
    }

    /// A flow whose first packet has this length was admitted, and these rules decided.
    pub(crate) fn count_first_packet(
        &mut self,
        prerouting: Option<usize>,
        postrouting: Option<usize>,
        len: u16,
    ) {
        self.counters.count(prerouting, postrouting, len);
    }

    /// How often each rule decided.
    pub(crate) fn counters(&self) -> RuleCounters<'_> {
        self.counters.all()
    }

    /// The flow has begun.
    pub(crate) fn add_flow(&mut self, flow: &Flow) {
        self.servers.add(flow);
    }

    /// The flow has ended.
    pub(crate) fn remove_flow(&mut self, flow: &Flow) {
        self.servers.remove(flow);
    }

    /// Says whether new flows may go to a server; one that no rule has is not remembered.
    pub(crate) fn set_server_alive(&mut self, protocol: Protocol, server: SocketAddrV4, alive: bool) {
        self.servers.set_alive(protocol, server, alive);
    }

    /// How a server is used; `None` if no rule has it.
    pub(crate) fn server_use(&self, protocol: Protocol, server: SocketAddrV4) -> Option<ServerUse> {
        self.servers.use_of(protocol, server)
    }

    /// Whether flows are still to be looked at because a server died.
    pub(crate) const fn is_sweeping(&self) -> bool {
        self.servers.is_sweeping()
    }

    /// The places of the table of flows, which has so many, whose [stranded](Self::is_stranded) flows are to
    /// end now.
    pub(crate) fn next_sweep(&mut self, places: usize) -> Option<Range<usize>> {
        self.servers.next_sweep(places)
    }

    /// Whether the flow's server is dead, and it would be better off with another one.
    pub(crate) fn is_stranded(&self, flow: &Flow) -> bool {
        self.servers.is_stranded(flow)
    }
}

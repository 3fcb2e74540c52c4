//! A flow's beginning and its end, in all owners at once.
//!
//! ```text
//! begin ─▶ mappings are used, by their hosts ─▶ whom they let in ─▶ its server has one more ─▶ table
//! end   ◀─ a timeout, a flush, a dead server, an address that is gone, or another flow that needs the room
//! ```

use std::net::Ipv4Addr;
use std::ops::Range;

use packet::{Millis, PortId};

use crate::chains::Chains;
use crate::config::NatConfig;
use crate::flows::flow::Flow;
use crate::flows::table::{FlowKey, FlowMappings, FlowTable};
use crate::flows::tuple::Direction;
use crate::flows::view::FlowView;
use crate::memory::slab::Id;
use crate::outside::Outside;
use crate::outside::explicit::ExplicitMapping;

/// The owners that a flow has a part of.
pub(crate) struct Lifecycle<'a> {
    pub(crate) config: &'a NatConfig,
    pub(crate) flows: &'a mut FlowTable,
    pub(crate) outside: &'a mut Outside,
    pub(crate) chains: &'a mut Chains,
}

impl Lifecycle<'_> {
    /// `keys` are those of the flow's tuples.
    pub(crate) fn begin(
        &mut self,
        flow: Flow,
        keys: [FlowKey; 2],
        mappings: FlowMappings,
        owner: Option<PortId>,
        now: Millis,
    ) -> Id {
        self.outside.add_flow(mappings, contact_of(&flow), self.config, now);
        self.chains.add_flow(&flow);
        self.flows.insert(flow, keys, mappings, owner, now)
    }

    pub(crate) fn end(&mut self, id: Id, now: Millis) {
        let mappings = self.flows.mappings(id);
        let Some(flow) = self.flows.remove(id) else { return };
        self.chains.remove_flow(&flow);
        self.outside.remove_flow(mappings, contact_of(&flow), self.config, now);
    }

    /// The flow makes room for another.
    pub(crate) fn displace(&mut self, id: Id, now: Millis) {
        self.flows.count_displaced();
        self.end(id, now);
    }

    /// Ends some hundred flows that were idle for too long or whose server died, and requests whose time is over.
    pub(crate) fn on_timeout(&mut self, now: Millis) {
        self.sweep(now);
        self.outside.on_timeout(self.config, now);
        for _ in 0..EXPIRE_AT_ONCE {
            match self.flows.next_to_expire(&self.config.timeouts) {
                Some((id, deadline)) if deadline <= now => self.end(id, now),
                _ => break,
            }
        }
    }

    /// Does all at once that [`on_timeout`](Self::on_timeout) does bit by bit.
    pub(crate) fn catch_up(&mut self, now: Millis) {
        while self.next_timeout().is_some_and(|at| at <= now) {
            self.on_timeout(now);
        }
    }

    fn next_timeout(&self) -> Option<Millis> {
        next_timeout(self.config, self.flows, self.outside, self.chains)
    }

    /// Ends flows that are better off without their dead server, as far as a little time allows.
    fn sweep(&mut self, now: Millis) {
        let Some(places) = self.chains.next_sweep(self.flows.places()) else { return };
        let (flows, chains) = (&*self.flows, &*self.chains);
        let is_stranded = |&id: &Id| chains.is_stranded(flows.get(id));
        let stranded: Vec<Id> = flows.ids_in(places).filter(is_stranded).collect();
        stranded.into_iter().for_each(|id| self.end(id, now));
    }

    /// Ends the flows that `which` chooses among those in `places` of the table, and returns how many.
    pub(crate) fn flush(
        &mut self,
        places: Range<usize>,
        which: impl Fn(&FlowView) -> bool,
        now: Millis,
    ) -> usize {
        let view = |id: Id| FlowView::of(self.flows, id, &self.config.timeouts, now);
        let chosen: Vec<Id> = self.flows.ids_in(places).filter(|&id| which(&view(id))).collect();
        chosen.iter().for_each(|&id| self.end(id, now));
        chosen.len()
    }

    /// The configuration was `old` until now.
    pub(crate) fn reconfigure(&mut self, old: &NatConfig) {
        let Self { config, flows, outside, chains } = self;
        chains.reconfigure(&old.rules, &config.rules, flows.iter());
        outside.republish(config);
        reserve(config, flows, outside);
        if old.settings.filtering != config.settings.filtering {
            let of_sources = |id| Some((flows.mappings(id).source?, contact_of(flows.get(id))));
            let counted = flows.ids().filter(|_| config.filters_by_address());
            outside.recount_contacts(counted.filter_map(of_sources));
        }
        if config.settings.limits_hosts() && !old.settings.limits_hosts() {
            outside.recount_hosts(flows.ids().map(|id| flows.mappings(id)), config);
        }
        self.forget_addresses(&old.addresses);
    }

    /// Ends flows to or from those of `old` own addresses that are own no more.
    pub(crate) fn forget_addresses(&mut self, old: &[Option<Ipv4Addr>]) {
        let own = &self.config.addresses;
        let gone: Vec<_> = old.iter().filter(|old| !own.contains(old)).copied().flatten().collect();
        if gone.is_empty() {
            return;
        }
        let arrives_there = |flow: &Flow| {
            Direction::BOTH.iter().any(|&way| gone.contains(&flow.tuple(way).destination_address()))
        };
        let ids: Vec<Id> = self.flows.ids().filter(|&id| arrives_there(self.flows.get(id))).collect();
        // No other mapping gets their ports, however short they rest: the address is gone.
        ids.into_iter().for_each(|id| self.end(id, Millis::ZERO));
        let stays = |mapping: &ExplicitMapping| !gone.contains(mapping.outside.ip());
        self.outside.retain_explicit(stays, self.config, Millis::ZERO);
    }
}

/// When [`Lifecycle::on_timeout`] has something to do.
pub(crate) fn next_timeout(
    config: &NatConfig,
    flows: &FlowTable,
    outside: &Outside,
    chains: &Chains,
) -> Option<Millis> {
    let sweep = chains.is_sweeping().then_some(Millis::ZERO);
    [sweep, flows.next_timeout(&config.timeouts), outside.next_timeout()].into_iter().flatten().min()
}

/// Makes room for as many flows as the configuration allows.
pub(crate) fn reserve(config: &NatConfig, flows: &mut FlowTable, outside: &mut Outside) {
    // One more, as a flow that makes room for another goes when that one is there.
    let limit = config.flow_limit().min(RESERVE_LIMIT) + 1;
    flows.reserve(limit);
    outside.reserve(limit);
}

/// Whom the flow's mapping lets in because of it: whoever its first packet was sent to.
fn contact_of(flow: &Flow) -> Ipv4Addr {
    flow.tuple(Direction::Original).destination_address()
}

/// Flows that one call of [`Lifecycle::on_timeout`] ends at most. Among 1 M flows, which are far from the processor, that
/// takes 0.2 to 0.3 ms (`cargo bench -p bench --bench nat`).
const EXPIRE_AT_ONCE: usize = 512;
/// Flows that there is room for from the start: 2²⁴. Beyond that tables grow while packets wait.
const RESERVE_LIMIT: usize = 1 << 24;

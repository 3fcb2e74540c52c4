//! Whose flows and outside ports there are: those of the ports of the switch that the first packets came in by. A source
//! address can be invented, a port can't.
//!
//! Embedders that name no owner pay nothing, and are limited by the table alone.

use packet::{PortId, share};

use crate::memory::slab::Id;

/// Who has how much.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// By [`Id::index`] of the flow, and of the mapping; [`NOBODY`] if nobody was named.
    of_flow: Vec<u16>,
    of_mapping: Vec<u16>,
    /// By owner.
    held: Vec<Held>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    flows: u32,
    ports: u32,
}

impl Owners {
    /// Whether `owner` may have one more of the flows.
    pub(crate) fn may_add_flow(&self, owner: Option<PortId>, used: usize, limit: usize) -> bool {
        owner.is_none_or(|owner| share::may_take(self.held(owner).flows as usize, used, limit))
    }

    /// Whether `owner` may have one more of an address' `limit` ports. How many are used is asked of those only that have
    /// many.
    pub(crate) fn may_add_port(
        &self,
        owner: Option<PortId>,
        limit: usize,
        used: impl FnOnce() -> usize,
    ) -> bool {
        let Some(owner) = owner else { return true };
        let held = self.held(owner).ports as usize;
        held <= limit / MANY || share::may_take(held, used(), limit)
    }

    /// Whose flow it is.
    pub(crate) fn of_flow(&self, flow: Id) -> Option<PortId> {
        self.of_flow.get(flow.index()).copied().and_then(PortId::new)
    }

    /// How many flows `owner` has.
    pub(crate) fn flows_of(&self, owner: Option<PortId>) -> u32 {
        owner.map_or(0, |owner| self.held(owner).flows)
    }

    pub(crate) fn add_flow(&mut self, flow: Id, owner: Option<PortId>) {
        if set(&mut self.of_flow, flow, owner) {
            self.change(owner, |held| held.flows += 1);
        }
    }

    pub(crate) fn remove_flow(&mut self, flow: Id) {
        let owner = take(&mut self.of_flow, flow);
        self.change(owner, |held| held.flows -= 1);
    }

    pub(crate) fn add_mapping(&mut self, mapping: Id, owner: Option<PortId>) {
        if set(&mut self.of_mapping, mapping, owner) {
            self.change(owner, |held| held.ports += 1);
        }
    }

    pub(crate) fn remove_mapping(&mut self, mapping: Id) {
        let owner = take(&mut self.of_mapping, mapping);
        self.change(owner, |held| held.ports -= 1);
    }

    /// The port of the switch is another's from now on: what it held is nobody's.
    pub(crate) fn forget(&mut self, owner: PortId) {
        let owners = self.of_flow.iter_mut().chain(&mut self.of_mapping);
        owners.filter(|of| **of == owner.get()).for_each(|of| *of = NOBODY);
        if let Some(held) = self.held.get_mut(owner.index()) {
            *held = Held::default();
        }
    }

    fn held(&self, owner: PortId) -> Held {
        self.held.get(owner.index()).copied().unwrap_or_default()
    }

    fn change(&mut self, owner: Option<PortId>, change: impl FnOnce(&mut Held)) {
        let Some(owner) = owner else { return };
        if self.held.len() <= owner.index() {
            self.held.resize(owner.index() + 1, Held::default());
        }
        change(&mut self.held[owner.index()]);
    }
}

/// Whether there is an owner to be counted.
fn set(owners: &mut Vec<u16>, id: Id, owner: Option<PortId>) -> bool {
    if owner.is_none() && owners.is_empty() {
        return false;
    }
    if owners.len() <= id.index() {
        owners.resize(id.index() + 1, NOBODY);
    }
    owners[id.index()] = owner.map_or(NOBODY, PortId::get);
    owner.is_some()
}

fn take(owners: &mut [u16], id: Id) -> Option<PortId> {
    PortId::new(std::mem::replace(owners.get_mut(id.index())?, NOBODY))
}

/// No port of the switch has this number.
const NOBODY: u16 = u16::MAX;
/// One eighth of an address' ports are everybody's to have.
const MANY: usize = 8;

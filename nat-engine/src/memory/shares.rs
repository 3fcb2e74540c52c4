//! Who has how many of the things in a slab: the ports of the switch that the first packets came in
//! by. A source address can be invented, a port can't.
//!
//! Embedders that name no owner pay nothing, and are limited by the table alone.

use std::collections::BTreeSet;

use packet::PortId;

use crate::memory::slab::Id;

/// Whose the things are.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// By [`Id::index`]; [`NOBODY`] if nobody was named.
    owners: Vec<u16>,
    /// How many things each owner has.
    held: Vec<u32>,
}

impl Shares {
    /// The thing is this owner's.
    pub(crate) fn add(&mut self, id: Id, owner: Option<PortId>) {
        if owner.is_none() && self.owners.is_empty() {
            return;
        }
        if self.owners.len() <= id.index() {
            self.owners.resize(id.index() + 1, NOBODY);
        }
        self.owners[id.index()] = owner.map_or(NOBODY, PortId::get);
        self.change(owner, |held| *held += 1);
    }

    /// The thing is gone.
    pub(crate) fn remove(&mut self, id: Id) {
        let Some(owner) = self.owners.get_mut(id.index()) else { return };
        let owner = PortId::new(std::mem::replace(owner, NOBODY));
        self.change(owner, |held| *held -= 1);
    }

    /// Whose it is.
    pub(crate) fn owner(&self, id: Id) -> Option<PortId> {
        self.owners.get(id.index()).copied().and_then(PortId::new)
    }

    /// How many things `owner` has.
    pub(crate) fn held(&self, owner: PortId) -> usize {
        self.held.get(owner.index()).map_or(0, |&held| held as usize)
    }

    /// These ports of the switch are others' from now on: what they held is nobody's.
    pub(crate) fn forget(&mut self, owners: &BTreeSet<PortId>) {
        let mut gone = vec![false; self.held.len()];
        for owner in owners {
            if let Some(held) = self.held.get_mut(owner.index()) {
                gone[owner.index()] = std::mem::take(held) > 0;
            }
        }
        if gone.contains(&true) {
            let is_gone = |of: &&mut u16| gone.get(usize::from(**of)) == Some(&true);
            self.owners.iter_mut().filter(is_gone).for_each(|of| *of = NOBODY);
        }
    }

    fn change(&mut self, owner: Option<PortId>, change: impl FnOnce(&mut u32)) {
        let Some(owner) = owner else { return };
        if self.held.len() <= owner.index() {
            self.held.resize(owner.index() + 1, 0);
        }
        change(&mut self.held[owner.index()]);
    }
}

/// No port of the switch has this number.
const NOBODY: u16 = u16::MAX;

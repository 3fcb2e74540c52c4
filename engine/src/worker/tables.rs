//! Forwarding databases that are made ahead.

use std::collections::{BTreeMap, BTreeSet};

use packet::NetworkId;
use switch_core::Fdb;

use crate::runtime_config::{NetworkConfig, RuntimeConfig};

/// Forwarding databases for networks that are new: the memory for hundreds takes tens of milliseconds to come by, in which
/// packets needn't wait.
#[derive(Debug, Default)]
pub struct NewTables(BTreeMap<NetworkId, Fdb>);

impl NewTables {
    /// Those that a worker with this `seed` needs to go from `old` to `new`.
    pub fn between(old: &RuntimeConfig, new: &RuntimeConfig, seed: [u64; 2]) -> Self {
        let known: BTreeSet<&str> = old.networks.iter().map(|network| network.name.as_str()).collect();
        let made = new.networks.iter().filter(|network| !known.contains(network.name.as_str()));
        Self(made.map(|network| (network.id, new_table(network, seed))).collect())
    }

    /// The table of a network, made now if it wasn't before.
    pub(super) fn take(&mut self, network: &NetworkConfig, seed: [u64; 2]) -> Fdb {
        self.0.remove(&network.id).unwrap_or_else(|| new_table(network, seed))
    }
}

fn new_table(network: &NetworkConfig, seed: [u64; 2]) -> Fdb {
    Fdb::new(network.settings.fdb_capacity, network.settings.ageing, seed)
}

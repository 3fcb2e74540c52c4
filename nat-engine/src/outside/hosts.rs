//! What each inside host holds, where the settings limit that. RFC 6888 REQ-4 and REQ-5.
//!
//! Without limits nothing is counted: a host is then limited by the table only.

use std::net::Ipv4Addr;

use hashbrown::HashTable;
use packet::Millis;

use crate::config::NatSettings;
use packet::keyed::KeyedHash;

/// The inside hosts that have flows.
#[derive(Debug)]
pub(crate) struct Hosts {
    hosts: HashTable<Host>,
    hash: KeyedHash,
}

#[derive(Clone, Copy, Debug)]
struct Host {
    address: Ipv4Addr,
    flows: u32,
    ports: u32,
    /// Mappings that it may make at once, times 1000.
    tokens: u64,
    filled: Millis,
}

impl Hosts {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self { hosts: HashTable::new(), hash: KeyedHash::new(seed, "hosts") }
    }

    /// Whether the host may have one more flow.
    pub(crate) fn may_add_flow(&self, address: Ipv4Addr, settings: &NatSettings) -> bool {
        let key = key(&self.hash, address);
        let host = self.hosts.find(key, |host| host.address == address);
        settings.host_flow_limit.is_none_or(|limit| host.map_or(0, |host| host.flows) < limit)
    }

    /// Whether the host may have one more outside port, now.
    pub(crate) fn may_map(&mut self, address: Ipv4Addr, settings: &NatSettings, now: Millis) -> bool {
        let key = key(&self.hash, address);
        let Some(host) = self.hosts.find_mut(key, |host| host.address == address) else {
            return settings.host_port_limit != Some(0) && settings.host_mapping_rate != Some(0);
        };
        if let Some(rate) = settings.host_mapping_rate {
            let gained = now.since(host.filled).get().saturating_mul(rate.into());
            host.tokens = host.tokens.saturating_add(gained).min(full(rate));
            host.filled = now;
        }
        settings.host_port_limit.is_none_or(|limit| host.ports < limit)
            && (settings.host_mapping_rate.is_none() || host.tokens >= TOKEN)
    }

    /// The host has one more flow, and with `maps` one more outside port.
    pub(crate) fn add(&mut self, address: Ipv4Addr, maps: bool, settings: &NatSettings, now: Millis) {
        let Self { hosts, hash } = self;
        let tokens = settings.host_mapping_rate.map_or(0, full);
        let new = Host { address, flows: 0, ports: 0, tokens, filled: now };
        let is_it = |host: &Host| host.address == address;
        let mut entry = hosts.entry(key(hash, address), is_it, |host| key(hash, host.address)).or_insert(new);
        let host = entry.get_mut();
        host.flows += 1;
        if maps {
            host.ports += 1;
            host.tokens = host.tokens.saturating_sub(TOKEN);
        }
    }

    /// The host has one flow fewer, and with `unmaps` one outside port fewer.
    pub(crate) fn remove(&mut self, address: Ipv4Addr, unmaps: bool) {
        let key = key(&self.hash, address);
        if let Ok(mut entry) = self.hosts.find_entry(key, |host| host.address == address) {
            let host = entry.get_mut();
            host.flows = host.flows.saturating_sub(1);
            host.ports = host.ports.saturating_sub(unmaps.into());
            if host.flows == 0 {
                entry.remove();
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.hosts.clear();
    }
}

fn key(hash: &KeyedHash, address: Ipv4Addr) -> u64 {
    hash.of([address.to_bits().into(), 0])
}

/// A second's worth.
fn full(rate: u32) -> u64 {
    u64::from(rate) * TOKEN
}

const TOKEN: u64 = 1000;

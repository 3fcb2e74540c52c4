//! Where hosts of networks with `allow-names` may go: to addresses that answers of the switch's own DNS have named, for as
//! long as these said.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use packet::{DnsName, Millis, NetworkId};

use crate::runtime_config::RuntimeConfig;

/// What was named, by network; `None`: its hosts go where they like.
#[derive(Debug, Default)]
pub(crate) struct Egress(Vec<Option<Named>>);

/// What was named in a network. Bounded: what ends first gives way.
#[derive(Debug, Default)]
struct Named {
    addresses: BTreeMap<Ipv4Addr, (Millis, DnsName)>,
    ends: BTreeSet<(Millis, Ipv4Addr)>,
}

impl Egress {
    /// Takes over a configuration that replaces `old`. What was named stays as long as names are what counts.
    pub(super) fn install(&mut self, old: &RuntimeConfig, config: &RuntimeConfig) {
        let mut before = std::mem::take(&mut self.0);
        let named = config.networks.iter().map(|network| {
            let dns = network.interface.as_ref()?.settings.dns.as_ref()?;
            let allowed = dns.allowed.as_ref()?;
            let place = old.networks.iter().position(|other| other.name == network.name);
            let mut named = place.and_then(|place| before.get_mut(place)?.take()).unwrap_or_default();
            named.retain(|name| {
                allowed.iter().any(|pattern| pattern.matches(name))
                    || dns.hosts.iter().any(|(host, _)| name.is(host))
            });
            Some(named)
        });
        self.0 = named.collect();
    }

    /// Whether hosts of `network` may go to `address`.
    #[inline]
    pub(crate) fn allows(&self, network: NetworkId, address: Ipv4Addr, now: Millis) -> bool {
        let Some(Some(named)) = self.0.get(network.index()) else { return true };
        named.addresses.get(&address).is_some_and(|(until, _)| now < *until)
    }

    /// `name` was said to have `address` until then.
    pub(crate) fn name(&mut self, network: NetworkId, address: Ipv4Addr, name: &DnsName, until: Millis) {
        let Some(Some(named)) = self.0.get_mut(network.index()) else { return };
        if let Some((before, _)) = named.addresses.get(&address) {
            if *before >= until {
                return;
            }
            named.ends.remove(&(*before, address));
        }
        named.addresses.insert(address, (until, name.clone()));
        named.ends.insert((until, address));
        if named.addresses.len() > LIMIT
            && let Some((_, first)) = named.ends.pop_first()
        {
            named.addresses.remove(&first);
        }
    }

    /// The name that `address` had last, also when its time is over.
    pub(crate) fn name_of(&self, network: NetworkId, address: Ipv4Addr) -> Option<&DnsName> {
        self.0.get(network.index())?.as_ref()?.addresses.get(&address).map(|(_, name)| name)
    }

    /// All that was named, with when it ends or ended.
    pub(crate) fn all(&self) -> impl Iterator<Item = (NetworkId, Ipv4Addr, &DnsName, Millis)> {
        let networks = (0..).map(NetworkId::new).zip(&self.0);
        networks.filter_map(|(network, named)| Some((network, named.as_ref()?))).flat_map(
            |(network, named)| {
                named.addresses.iter().map(move |(&address, (until, name))| (network, address, name, *until))
            },
        )
    }
}

impl Named {
    fn retain(&mut self, keeps: impl Fn(&DnsName) -> bool) {
        let Self { addresses, ends } = self;
        addresses.retain(|&address, (until, name)| {
            let stays = keeps(name);
            if !stays {
                ends.remove(&(*until, address));
            }
            stays
        });
    }
}

/// Addresses of a network: names of content networks have a dozen each, and are good for minutes.
const LIMIT: usize = 4096;

//! What goes on in the next process: mappings, who asked for them, and ports that rest.

use packet::Millis;

use crate::config::NatConfig;
use crate::memory::slab::Id;
use crate::outside::Outside;
use crate::outside::mapping::MappingKey;
use crate::outside::port_pool::Resting;
use crate::outside::requests::{Request, key_of};

impl Outside {
    /// Whether anything is asked for, or rests.
    pub(crate) fn is_in_use(&self) -> bool {
        self.requests.all().next().is_some() || self.mappings.ports.resting().next().is_some()
    }

    /// Mappings that were asked for, by whom, and until when.
    pub(crate) fn requested(&self) -> impl Iterator<Item = ((MappingKey, u16), [u8; 12], Millis)> + '_ {
        self.requests.all().map(|entry| (self.mapping(entry.mapping), entry.owner, entry.until))
    }

    /// Ports that rest beyond `now`, the next one to be free first.
    pub(crate) fn resting(&self, now: Millis) -> impl Iterator<Item = Resting> + '_ {
        self.mappings.ports.resting().filter(move |resting| resting.until > now)
    }

    /// A mapping of an earlier process, which nothing uses yet.
    pub(crate) fn restore(&mut self, key: MappingKey, port: u16, config: &NatConfig) -> Id {
        let lease = self.mappings.ports.claim(key.outside(), key.protocol(), port, config);
        let key = self.mappings.hashed(key);
        let is_first = self.mappings.find(key).is_none();
        self.mappings.insert(key, lease, is_first)
    }

    /// The mapping is asked for, as it was. By which port of the switch, is forgotten.
    pub(crate) fn restore_request(
        &mut self,
        mapping: Id,
        owner: [u8; 12],
        until: Millis,
        config: &NatConfig,
        now: Millis,
    ) {
        self.acquire(mapping, config, now);
        let key = self.mappings.key(mapping);
        self.requests
            .set(key_of(key.protocol(), key.inside()), Request { mapping, owner, port: None, until });
    }

    /// A port rests that nobody has, until the last of those before or later.
    pub(crate) fn restore_resting(&mut self, resting: Resting, config: &NatConfig) {
        let Resting { until, outside, protocol } = resting;
        let lease = self.mappings.ports.claim(*outside.ip(), protocol, outside.port(), config);
        self.mappings.ports.rest(lease, until, config.settings.quarantine_limit);
    }
}

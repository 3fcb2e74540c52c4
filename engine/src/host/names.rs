//! What guests call themselves, between the servers that give them addresses and the one that is asked for names.

use std::net::Ipv4Addr;

use packet::{Millis, NetworkId};

/// Who knows what guests call themselves.
pub(super) trait LeaseNames {
    /// The address leased to the guest of this name, in small letters and without a domain.
    fn address_of(&self, network: NetworkId, name: &str, now: Millis) -> Option<Ipv4Addr>;

    /// The name of the guest that `address` is leased to, as [`address_of`](Self::address_of) knows it.
    fn name_of(&self, network: NetworkId, address: Ipv4Addr, now: Millis) -> Option<String>;
}

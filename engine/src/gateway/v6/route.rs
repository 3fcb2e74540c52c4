//! Where an IPv6 packet leaves: the networks' own prefixes, the way out of each, and what their modes allow.

use std::net::Ipv6Addr;

use packet::{DropReason, Ipv6Cidr, NetworkId};

use crate::gateway::route::{Hop, Routes};
use crate::runtime_config::{NetworkConfig, Reach, RuntimeConfig};

/// An address of the switch's own that a packet is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owner {
    /// The network that the switch has it on.
    pub network: NetworkId,
    /// Whether it is the one that all routers of the prefix have. RFC 4291, 2.6.1.
    pub is_anycast: bool,
}

/// The routes of one configuration: each prefix by its network, the longest first, and an uplink's gateway for all else.
#[derive(Debug, Default)]
pub(crate) struct Routes6 {
    /// Longest prefix first.
    connected: Vec<Connected>,
    /// By network: what its modes allow.
    reach: Vec<Reach>,
    /// By network: the way to elsewhere.
    default: Vec<Result<Hop<Ipv6Addr>, DropReason>>,
}

/// A network's prefix, taken apart: a packet's way is one comparison per network.
#[derive(Clone, Copy, Debug)]
struct Connected {
    prefix: u128,
    mask: u128,
    own: Ipv6Addr,
    network: NetworkId,
}

impl Connected {
    fn new(address: Ipv6Cidr, network: NetworkId) -> Self {
        let (prefix, mask) = (address.network().to_bits(), address.mask());
        Self { prefix, mask, own: address.address(), network }
    }

    #[inline]
    const fn contains(&self, address: Ipv6Addr) -> bool {
        address.to_bits() & self.mask == self.prefix
    }

    /// Links between two routers have none. RFC 6164.
    const fn is_anycast(&self, address: Ipv6Addr) -> bool {
        !self.mask > 1 && address.to_bits() == self.prefix
    }
}

impl Routes6 {
    pub(crate) fn new(config: &RuntimeConfig, modes: &Routes) -> Self {
        let prefix = |network: &NetworkConfig| {
            let settings = network.interface.as_ref()?.settings.ipv6.as_ref()?;
            Some(Connected::new(settings.address, network.id))
        };
        let mut connected: Vec<_> = config.networks.iter().filter_map(prefix).collect();
        connected.sort_by_key(|connected| std::cmp::Reverse(connected.mask));
        let reach = config.networks.iter().map(|network| network.reach).collect();
        let default = config.networks.iter().map(|network| default_of(network.id, config, modes)).collect();
        Self { connected, reach, default }
    }

    /// The network in whose prefix `address` is.
    pub(crate) fn network_of(&self, address: Ipv6Addr) -> Option<NetworkId> {
        self.connected(address).map(|connected| connected.network)
    }

    /// Who has the address, if it is one of the switch's own that aren't link-local.
    #[inline]
    pub(crate) fn owner_of(&self, address: Ipv6Addr) -> Option<Owner> {
        let is_its = |connected: &&Connected| connected.own == address || connected.is_anycast(address);
        let connected = self.connected.iter().find(is_its)?;
        Some(Owner { network: connected.network, is_anycast: connected.own != address })
    }

    /// The route of a packet from `input` to `destination`, which is not one of the switch's own.
    ///
    /// # Errors
    /// `RouteProhibited` if a mode forbids it, `NoRoute`.
    #[inline]
    pub(crate) fn lookup(
        &self,
        input: NetworkId,
        destination: Ipv6Addr,
        modes: &Routes,
    ) -> Result<Hop<Ipv6Addr>, DropReason> {
        match self.connected(destination) {
            Some(to) if self.allows(input, to.network, modes) => {
                Ok(Hop { network: to.network, address: destination })
            }
            Some(_) => Err(DropReason::RouteProhibited),
            None => self.default.get(input.index()).copied().unwrap_or(Err(DropReason::NoRoute)),
        }
    }

    /// The route of a packet of the switch itself.
    pub(crate) fn own(&self, destination: Ipv6Addr) -> Result<Hop<Ipv6Addr>, DropReason> {
        if let Some(network) = self.network_of(destination) {
            return Ok(Hop { network, address: destination });
        }
        self.default.iter().find_map(|route| route.ok()).ok_or(DropReason::NoRoute)
    }

    /// Whether the modes let a packet from `input` leave by `output`, as for IPv4. Nothing is translated: networks of mode nat
    /// have no way out.
    pub(crate) fn allows(&self, input: NetworkId, output: NetworkId, modes: &Routes) -> bool {
        !self.is_translated(input) && !self.is_translated(output) && modes.allows(input, output, false)
    }

    /// The prefixes of other networks, uplinks left out, that `network` may send to.
    pub(crate) fn beside<'a>(
        &'a self,
        network: NetworkId,
        modes: &'a Routes,
    ) -> impl Iterator<Item = Ipv6Cidr> + 'a {
        let is_uplink = |to: NetworkId| matches!(self.reach[to.index()], Reach::Uplink(_));
        let is_beside = move |to: NetworkId| !is_uplink(to) && self.allows(network, to, modes);
        let others = self.connected.iter().filter(move |to| is_beside(to.network));
        others.filter_map(|to| Ipv6Cidr::new(Ipv6Addr::from_bits(to.prefix), to.mask.leading_ones() as u8))
    }

    fn connected(&self, address: Ipv6Addr) -> Option<&Connected> {
        self.connected.iter().find(|connected| connected.contains(address))
    }

    fn is_translated(&self, network: NetworkId) -> bool {
        matches!(self.reach.get(network.index()), Some(Reach::Translated(_)))
    }
}

/// The default route of a network: its uplink's gateway. What comes from an uplink isn't sent back there.
fn default_of(
    network: NetworkId,
    config: &RuntimeConfig,
    modes: &Routes,
) -> Result<Hop<Ipv6Addr>, DropReason> {
    let uplink = match config.networks[network.index()].reach {
        Reach::Closed | Reach::Translated(_) => return Err(DropReason::RouteProhibited),
        Reach::Routed(uplink) => uplink.filter(|&uplink| modes.allows(network, uplink, false)),
        Reach::Uplink(_) => None,
    };
    let uplink = uplink.ok_or(DropReason::NoRoute)?;
    let interface = config.networks.get(uplink.index()).and_then(|uplink| uplink.interface.as_ref());
    let settings = interface.and_then(|interface| interface.settings.ipv6.as_ref());
    let address = settings.and_then(|settings| settings.gateway).ok_or(DropReason::NoRoute)?;
    Ok(Hop { network: uplink, address })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime_config::{InterfaceConfig, InterfaceSettings, Ipv6Config, NetworkSettings};
    use packet::MacAddr;

    const WAN: NetworkId = NetworkId::new(0);
    const A: NetworkId = NetworkId::new(1);
    const B: NetworkId = NetworkId::new(2);
    const CLOSED: NetworkId = NetworkId::new(3);
    const NAT: NetworkId = NetworkId::new(4);

    fn of(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn routes() -> (Routes, Routes6) {
        let network = |id: NetworkId, reach, address: &str, gateway| NetworkConfig {
            id,
            name: id.get().to_string(),
            reach,
            interface: Some(InterfaceConfig {
                mac: MacAddr::local(id.get().into()),
                address: format!("10.{}.0.1/16", id.get()).parse().unwrap(),
                settings: InterfaceSettings {
                    ipv6: Some(Ipv6Config { gateway, ..Ipv6Config::new(address.parse().unwrap()) }),
                    ..InterfaceSettings::default()
                },
            }),
            settings: NetworkSettings::default(),
        };
        let config = RuntimeConfig {
            networks: vec![
                network(WAN, Reach::Uplink(None), "2001:db8::5/64", Some(of("fe80::1"))),
                network(A, Reach::Routed(Some(WAN)), "2001:db8:1::1/48", None),
                network(B, Reach::Routed(None), "2001:db8:1:2::1/64", None),
                network(CLOSED, Reach::Closed, "fd00:3::1/64", None),
                network(NAT, Reach::Translated(WAN), "fd00:4::1/64", None),
            ],
            ..RuntimeConfig::default()
        };
        let modes = Routes::new(&config);
        let routes = Routes6::new(&config, &modes);
        (modes, routes)
    }

    #[test]
    fn the_longest_prefix_and_the_modes_decide_where_a_packet_goes() {
        let (modes, routes) = routes();
        let lookup = |input, to: &str| routes.lookup(input, of(to), &modes);
        let to = |network, address: &str| Ok(Hop { network, address: of(address) });
        let prohibited = Err(DropReason::RouteProhibited);
        assert_eq!(lookup(A, "2001:db8:1:2::9"), to(B, "2001:db8:1:2::9"), "longer than A's own prefix");
        assert_eq!(lookup(B, "2001:db8:1:3::9"), to(A, "2001:db8:1:3::9"));
        assert_eq!(lookup(A, "2001:db8:1:3::9"), prohibited, "it is on the network itself");
        assert_eq!(lookup(A, "2001:db8:9::9"), to(WAN, "fe80::1"));
        assert_eq!(lookup(B, "2001:db8:9::9"), Err(DropReason::NoRoute));
        assert_eq!(lookup(WAN, "2001:db8:1:3::9"), to(A, "2001:db8:1:3::9"));
        assert_eq!(lookup(WAN, "2001:db8:1:2::9"), prohibited, "it uses no uplink");
        assert_eq!(lookup(WAN, "2001:db8:9::9"), Err(DropReason::NoRoute), "not back out");
        for closed in [CLOSED, NAT] {
            assert_eq!(lookup(closed, "2001:db8:9::9"), prohibited);
            assert_eq!(lookup(closed, "2001:db8:1:2::9"), prohibited);
        }
        assert_eq!([lookup(A, "fd00:3::9"), lookup(WAN, "fd00:4::9")], [prohibited; 2]);
        assert_eq!(routes.own(of("2001:db8:9::9")), to(WAN, "fe80::1"));
        let beside: Vec<_> = routes.beside(B, &modes).map(|prefix| prefix.to_string()).collect();
        assert_eq!(beside, ["2001:db8:1::/48"]);
    }

    #[test]
    fn own_addresses_are_known_and_the_one_of_all_routers() {
        let (_, routes) = routes();
        let owner = |network, is_anycast| Some(Owner { network, is_anycast });
        assert_eq!(routes.owner_of(of("2001:db8:1::1")), owner(A, false));
        assert_eq!(routes.owner_of(of("2001:db8:1::")), owner(A, true));
        assert_eq!(routes.owner_of(of("2001:db8:1::2")), None);
    }
}

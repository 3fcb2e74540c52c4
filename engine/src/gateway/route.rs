//! Where a packet leaves: the networks' own subnets, the way out of each, and what their modes allow.

use std::net::Ipv4Addr;

use packet::{DropReason, Ipv4Cidr, NetworkId};

use crate::runtime_config::{Reach, RuntimeConfig};

/// A way out: the network, and whom to hand the packet to there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Hop<A = Ipv4Addr> {
    /// The network that the packet leaves by.
    pub network: NetworkId,
    /// The destination itself, or the router towards it.
    pub address: A,
}

/// Whose packet is to be routed: the modes don't let everybody everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// It came from this network.
    Network(NetworkId),
    /// It came from this network, and a flow or a rule has given it its destination, so that it may enter a network that is
    /// otherwise closed to the outside.
    Translated(NetworkId),
    /// The switch itself.
    Own,
}

/// The routes of one configuration. Every network is a route to its subnet; an uplink with a gateway is the default
/// route of the networks that use it.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Longest prefix first.
    connected: Vec<Connected>,
    /// By network.
    reach: Vec<Reach>,
    /// By network: the way to elsewhere.
    default: Vec<Result<Hop, DropReason>>,
}

/// A network's subnet, taken apart: a packet's way is one comparison per network.
#[derive(Clone, Copy, Debug)]
struct Connected {
    subnet: u32,
    mask: u32,
    own: Ipv4Addr,
    network: NetworkId,
}

impl Connected {
    fn new(address: Ipv4Cidr, network: NetworkId) -> Self {
        let (subnet, mask) = (address.network().to_bits(), address.netmask().to_bits());
        Self { subnet, mask, own: address.address(), network }
    }

    #[inline]
    const fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask == self.subnet
    }

    /// The subnet's first or last address, which no host has; /31 and /32 have no such. RFC 3021.
    const fn is_edge(&self, address: Ipv4Addr) -> bool {
        let host = address.to_bits() & !self.mask;
        !self.mask > 1 && (host == 0 || host == !self.mask)
    }
}

impl Routes {
    pub(crate) fn new(config: &RuntimeConfig) -> Self {
        let mut connected: Vec<_> = config
            .networks
            .iter()
            .filter_map(|network| Some(Connected::new(network.interface.as_ref()?.address, network.id)))
            .collect();
        connected.sort_by_key(|connected| std::cmp::Reverse(connected.mask));
        let reach = config.networks.iter().map(|network| network.reach).collect();
        let mut routes = Self { connected, reach, default: Vec::new() };
        routes.default = config.networks.iter().map(|network| routes.default_of(network.id)).collect();
        routes
    }

    /// The network in whose subnet `address` is.
    pub(crate) fn network_of(&self, address: Ipv4Addr) -> Option<NetworkId> {
        self.connected.iter().find(|connected| connected.contains(address)).map(|connected| connected.network)
    }

    /// The network whose own address `address` is.
    pub(crate) fn owner_of(&self, address: Ipv4Addr) -> Option<NetworkId> {
        self.connected.iter().find(|connected| connected.own == address).map(|connected| connected.network)
    }

    /// The route of a packet to `destination`.
    ///
    /// # Errors
    /// `RouteProhibited` if a mode forbids it, `NotRoutable` for a subnet's broadcast address, `NoRoute`.
    #[inline]
    pub(crate) fn lookup(&self, source: Source, destination: Ipv4Addr) -> Result<Hop, DropReason> {
        if let Some(to) = self.connected.iter().find(|connected| connected.contains(destination)) {
            let is_allowed = match source {
                Source::Network(input) => self.allows(input, to.network, false),
                Source::Translated(input) => self.allows(input, to.network, true),
                Source::Own => true,
            };
            return if !is_allowed {
                Err(DropReason::RouteProhibited)
            } else if to.is_edge(destination) {
                Err(DropReason::NotRoutable)
            } else {
                Ok(Hop { network: to.network, address: destination })
            };
        }
        let default =
            |input: NetworkId| self.default.get(input.index()).copied().unwrap_or(Err(DropReason::NoRoute));
        match source {
            Source::Network(input) => default(input),
            Source::Translated(input) => default(input).or_else(|reason| self.back_out(input).ok_or(reason)),
            Source::Own => self.default.iter().find_map(|route| route.ok()).ok_or(DropReason::NoRoute),
        }
    }

    /// The way of what comes from an uplink and is sent back there, because a rule leads to a server outside.
    fn back_out(&self, uplink: NetworkId) -> Option<Hop> {
        match *self.reach.get(uplink.index())? {
            Reach::Uplink(Some(address)) => Some(Hop { network: uplink, address }),
            _ => None,
        }
    }

    /// Whether the modes let a packet from `input` leave by `output`.
    ///
    /// | from        | to an uplink          | to a routed network        | to a translated network            |
    /// |-------------|-----------------------|----------------------------|------------------------------------|
    /// | uplink      | if translated, itself | if it uses this uplink     | if translated and it uses this one |
    /// | routed      | its own               | another one                | if translated, same uplink         |
    /// | translated  | its own               | if translated, same uplink | if translated, same uplink         |
    pub(crate) fn allows(&self, input: NetworkId, output: NetworkId, translated: bool) -> bool {
        let (Some(from), Some(to)) = (self.reach.get(input.index()), self.reach.get(output.index())) else {
            return false;
        };
        let same_uplink =
            || self.uplink_of(input).is_some_and(|uplink| self.uplink_of(output) == Some(uplink));
        match (from, to) {
            (Reach::Closed, _) | (_, Reach::Closed) => false,
            (Reach::Uplink(_), Reach::Uplink(_)) => translated && input == output,
            (Reach::Routed(_), Reach::Routed(_)) => input != output || translated,
            (_, Reach::Uplink(_)) | (Reach::Uplink(_), Reach::Routed(_)) => same_uplink(),
            (_, Reach::Translated(_)) | (Reach::Translated(_), Reach::Routed(_)) => {
                translated && same_uplink()
            }
        }
    }

    /// The uplink that a network uses; an uplink is its own.
    fn uplink_of(&self, network: NetworkId) -> Option<NetworkId> {
        match *self.reach.get(network.index())? {
            Reach::Closed => None,
            Reach::Routed(uplink) => uplink,
            Reach::Translated(uplink) => Some(uplink),
            Reach::Uplink(_) => Some(network),
        }
    }

    /// The default route of a network: its uplink's gateway. What comes from an uplink isn't sent back there.
    fn default_of(&self, network: NetworkId) -> Result<Hop, DropReason> {
        let reach_of = |network: NetworkId| self.reach.get(network.index()).copied();
        let uplink = self.uplink_of(network).filter(|&uplink| uplink != network);
        match (reach_of(network), uplink.map(|uplink| (uplink, reach_of(uplink)))) {
            (Some(Reach::Closed), _) => Err(DropReason::RouteProhibited),
            (_, Some((network, Some(Reach::Uplink(Some(address)))))) => Ok(Hop { network, address }),
            _ => Err(DropReason::NoRoute),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime_config::{InterfaceConfig, InterfaceSettings, NetworkConfig, NetworkSettings};
    use packet::MacAddr;

    const WAN: NetworkId = NetworkId::new(0);
    const NAT: NetworkId = NetworkId::new(1);
    const ROUTED_A: NetworkId = NetworkId::new(2);
    const ROUTED_B: NetworkId = NetworkId::new(3);
    const HOST_ONLY: NetworkId = NetworkId::new(4);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

    fn routes() -> Routes {
        let network = |id: NetworkId, reach, address: &str| NetworkConfig {
            id,
            name: id.get().to_string(),
            reach,
            interface: Some(InterfaceConfig {
                mac: MacAddr::local(id.get().into()),
                address: address.parse().unwrap(),
                settings: InterfaceSettings::default(),
            }),
            settings: NetworkSettings::default(),
        };
        Routes::new(&RuntimeConfig {
            networks: vec![
                network(WAN, Reach::Uplink(Some(GATEWAY)), "203.0.113.5/24"),
                network(NAT, Reach::Translated(WAN), "192.168.1.1/24"),
                network(ROUTED_A, Reach::Routed(Some(WAN)), "10.1.0.1/16"),
                network(ROUTED_B, Reach::Routed(None), "10.2.0.1/16"),
                network(HOST_ONLY, Reach::Closed, "192.168.56.1/24"),
            ],
            ..RuntimeConfig::default()
        })
    }

    #[test]
    fn the_modes_decide_who_reaches_whom() {
        let inside = Ipv4Addr::new(192, 168, 1, 10);
        let (a, b) = (Ipv4Addr::new(10, 1, 0, 10), Ipv4Addr::new(10, 2, 0, 10));
        let far = Ipv4Addr::new(198, 51, 100, 9);
        let prohibited = Err(DropReason::RouteProhibited);
        let to = |network, address| Ok(Hop { network, address });
        let routes = routes();
        assert_eq!(routes.lookup(Source::Network(NAT), far), to(WAN, GATEWAY));
        assert_eq!(routes.lookup(Source::Network(NAT), a), prohibited);
        assert_eq!(routes.lookup(Source::Network(WAN), inside), prohibited);
        assert_eq!(routes.lookup(Source::Translated(WAN), inside), to(NAT, inside));
        assert_eq!(routes.lookup(Source::Translated(NAT), inside), to(NAT, inside));
        assert_eq!(routes.lookup(Source::Network(ROUTED_A), b), to(ROUTED_B, b));
        assert_eq!(routes.lookup(Source::Network(WAN), a), to(ROUTED_A, a));
        assert_eq!(routes.lookup(Source::Network(WAN), b), prohibited);
        assert_eq!(routes.lookup(Source::Network(WAN), GATEWAY), prohibited);
        assert_eq!(routes.lookup(Source::Translated(WAN), GATEWAY), to(WAN, GATEWAY));
        assert_eq!(routes.lookup(Source::Translated(WAN), far), to(WAN, GATEWAY));
        assert_eq!(routes.lookup(Source::Network(ROUTED_B), far), Err(DropReason::NoRoute));
        assert_eq!(routes.lookup(Source::Network(WAN), far), Err(DropReason::NoRoute));
        assert_eq!(routes.lookup(Source::Network(HOST_ONLY), far), prohibited);
        assert_eq!(
            routes.lookup(Source::Network(ROUTED_A), Ipv4Addr::new(10, 2, 255, 255)),
            Err(DropReason::NotRoutable)
        );
    }

    #[test]
    fn own_addresses_are_known() {
        let routes = routes();
        assert_eq!(routes.owner_of(Ipv4Addr::new(192, 168, 1, 1)), Some(NAT));
        assert_eq!(routes.owner_of(Ipv4Addr::new(192, 168, 1, 2)), None);
        let own = |address| routes.lookup(Source::Own, address);
        assert_eq!(own(Ipv4Addr::new(8, 8, 8, 8)), Ok(Hop { network: WAN, address: GATEWAY }));
        let inside = Ipv4Addr::new(192, 168, 1, 10);
        assert_eq!(own(inside), Ok(Hop { network: NAT, address: inside }));
    }
}

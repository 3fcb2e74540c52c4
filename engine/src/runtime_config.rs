//! The configuration as the worker runs it: an immutable snapshot, valid by construction of whoever made it.

mod ipv6;

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use nat_engine::{Balance, NatSettings, PortRange, RuleSet, Timeouts};
use packet::{DnsName, Ipv4Cidr, MacAddr, Millis, NetworkId, PortId, Protocol};
use switch_core::PortSettings;
use switch_core::stp::TreeSettings;

pub use self::ipv6::{Ipv6Config, RaConfig};

/// A snapshot. Numbers, not names, connect its parts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuntimeConfig {
    /// The networks, uplinks among them; `networks[n].id.index() == n`.
    pub networks: Vec<NetworkConfig>,
    /// The ports, in ascending order of their ids; ids may have gaps.
    pub ports: Vec<PortConfig>,
    /// NAT rules, in order.
    pub rules: RuleSet,
    /// What the rules that spread flows over servers need beside the rules.
    pub balances: Vec<BalanceConfig>,
    /// How NAT maps, filters and limits.
    pub nat: NatSettings,
    /// Idle times of flows.
    pub timeouts: Timeouts,
    /// Flows at most; a new one beyond that is refused.
    pub flow_limit: u32,
}

impl RuntimeConfig {
    /// Sets the largest IP packet that a port takes, and with that of an uplink what the switch sends there. Says whether
    /// that is a change.
    pub fn set_mtu(&mut self, port: PortId, mtu: u16) -> bool {
        let Ok(index) = self.ports.binary_search_by_key(&port, |port| port.id) else { return false };
        let port = &mut self.ports[index];
        if let Some(network) = self.networks.get_mut(port.network.index())
            && let (Reach::Uplink(_), Some(interface)) = (network.reach, &mut network.interface)
        {
            interface.settings.mtu = mtu;
        }
        std::mem::replace(&mut port.settings.mtu, mtu) != mtu
    }
}

/// One Ethernet segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkConfig {
    /// Its index in the snapshot.
    pub id: NetworkId,
    /// The name in the configuration, for people.
    pub name: String,
    /// What traffic may enter and leave it at layer 3.
    pub reach: Reach,
    /// The switch's own place in it; `None`: a segment without a gateway (modes internal and bridge).
    pub interface: Option<InterfaceConfig>,
    /// What is set for it.
    pub settings: NetworkSettings,
}

/// What is set for a segment. The default is what holds where nothing is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkSettings {
    /// Idle time after which a learned address is forgotten.
    pub ageing: Millis,
    /// Addresses learned at most; rounded up to a power of two.
    pub fdb_capacity: u32,
    /// Guests' ports can't reach each other, only the gateway (mode nat-isolated).
    pub isolated: bool,
    /// The spanning tree.
    pub tree: TreeSettings,
    /// Whether the switch looks for loops that no spanning tree sees.
    pub loop_detect: bool,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            // IEEE 802.1Q, table 8-6.
            ageing: Millis::from_secs(300),
            // A guest has one address or a few; a thousand guests fit.
            fdb_capacity: 8192,
            isolated: false,
            tree: TreeSettings::default(),
            loop_detect: true,
        }
    }
}

/// What traffic may enter and leave a network at layer 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// No routing at all: internal, bridge, host-only.
    Closed,
    /// To and from other routed networks, and out by this uplink if there is one; addresses stay as they are.
    Routed(Option<NetworkId>),
    /// Out by this uplink, translated; in only with a flow or a rule.
    Translated(NetworkId),
    /// This network is an uplink: the next hop for everything that is on no network, if there is one.
    Uplink(Option<Ipv4Addr>),
}

impl Reach {
    /// The uplink that a network uses.
    pub const fn uplink(self) -> Option<NetworkId> {
        match self {
            Self::Routed(uplink) => uplink,
            Self::Translated(uplink) => Some(uplink),
            Self::Closed | Self::Uplink(_) => None,
        }
    }
}

/// The switch's own address on a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceConfig {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its address, with the network's prefix length.
    pub address: Ipv4Cidr,
    /// What is set for it.
    pub settings: InterfaceSettings,
}

/// What is set for the switch's own address on a network. The default is what holds where nothing is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceSettings {
    /// The largest IP packet on this network, in bytes.
    pub mtu: u16,
    /// The DHCP server, if the network has one.
    pub dhcp: Option<DhcpConfig>,
    /// The DNS forwarder, if the network has one.
    pub dns: Option<DnsConfig>,
    /// Whether hosts of the network may open ports of its uplink by PCP or NAT-PMP, if it is translated.
    pub pcp: bool,
    /// These ports and identifiers of the address are the switch's; with those that are published, they are all that it has
    /// of an address that is a host's, too. `None`: the address is the switch's alone.
    pub shared: Option<PortRange>,
    /// What the switch has of IPv6 there, if anything.
    pub ipv6: Option<Ipv6Config>,
}

impl Default for InterfaceSettings {
    fn default() -> Self {
        // Ethernet's.
        Self { mtu: 1500, dhcp: None, dns: None, pcp: false, shared: None, ipv6: None }
    }
}

/// A DHCPv4 server's settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhcpConfig {
    /// First address to lease.
    pub first: Ipv4Addr,
    /// Last address to lease.
    pub last: Ipv4Addr,
    /// How long a lease is good for.
    pub lease_time: Millis,
    /// The router option; `None`: none is offered (host-only).
    pub router: Option<Ipv4Addr>,
    /// The DNS servers option; empty: none is offered.
    pub dns: Vec<Ipv4Addr>,
    /// The domain name option.
    pub domain: Option<String>,
    /// Addresses that belong to certain clients.
    pub reserved: Vec<(DhcpClient, Ipv4Addr)>,
    /// The time servers option; empty: none is offered.
    pub ntp: Vec<Ipv4Addr>,
    /// Routes beside the default one, and the routers they lead by.
    pub routes: Vec<(Ipv4Cidr, Ipv4Addr)>,
    /// What clients boot from.
    pub boot: Option<DhcpBoot>,
}

/// What a client is known by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DhcpClient {
    /// Its MAC address.
    Mac(MacAddr),
    /// Its identifier, option 61 as it is sent.
    Id(Box<[u8]>),
}

/// A file that clients boot from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhcpBoot {
    /// Its name there.
    pub file: String,
    /// Who has it.
    pub server: Ipv4Addr,
}

/// A DNS forwarder's settings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DnsConfig {
    /// Whom it asks, by the network's uplink; `None`: the host's own resolvers, if the network has an uplink.
    pub upstreams: Option<Vec<SocketAddrV4>>,
    /// Names that it knows, beside those of leases.
    pub hosts: Vec<(DnsName, IpAddr)>,
    /// The domain of these names.
    pub domain: Option<DnsName>,
    /// The names that hosts of the network may ask for and go to; `None`: all.
    pub allowed: Option<Vec<NamePattern>>,
}

/// One name, or all that are below it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamePattern {
    /// The name.
    pub name: DnsName,
    /// Whether those below it are meant, and not itself.
    pub is_below: bool,
}

impl NamePattern {
    /// Whether `name` is meant.
    pub fn matches(&self, name: &DnsName) -> bool {
        if self.is_below { name.is_below(&self.name) } else { name.is(&self.name) }
    }
}

/// Servers that flows are spread over, and how it is found out which of them are alive. A server that is in several has
/// the same check in all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BalanceConfig {
    /// The name in the configuration, for people.
    pub name: String,
    /// Servers are asked the way that hosts of this network reach them.
    pub network: NetworkId,
    /// The protocol that they serve by.
    pub protocol: Protocol,
    /// The servers, as the rule has them.
    pub balance: Balance,
    /// `None`: all are always taken to be alive.
    pub check: Option<CheckConfig>,
}

/// How servers are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckConfig {
    /// By what.
    pub kind: CheckKind,
    /// Time between two questions, and for an answer.
    pub interval: Millis,
    /// Failures in a row after which a server is dead. At least 1.
    pub failures: u8,
    /// Successes in a row after which a dead one is alive. At least 1.
    pub successes: u8,
}

/// What a server is asked by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckKind {
    /// A connection to its port.
    Tcp,
    /// An echo request.
    Icmp,
}

/// A port of the switch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortConfig {
    /// Its number, unchanged across reloads while the port exists.
    pub id: PortId,
    /// The name in the configuration, for people.
    pub name: String,
    /// The network it is in.
    pub network: NetworkId,
    /// What is set for it.
    pub settings: PortSettings,
}

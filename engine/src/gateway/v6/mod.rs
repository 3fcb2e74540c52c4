//! The gateway's other half: IPv6. RFC 8200, RFC 4291.
//!
//! ```text
//! Local frame ─▶ IPv6 checked ─▶ own address? ──yes─▶ Punt ─▶ host
//!                                    │ no
//!                                    └▶ route ─▶ next hop's MAC ─▶ new Ethernet header
//!                                                     └ unknown, or too big ─▶ Divert ─▶ host
//! ```
//!
//! A burst that has no IPv6 packet for the switch doesn't come here.

pub(crate) mod route;

use std::net::Ipv6Addr;

use packet::wire::{EthernetHeader, FromBytes, Ipv6Header};
use packet::{
    ALL_NODES, ALL_ROUTERS, Burst, DivertReason, DropReason, EtherType, Frame, Ipv6Cidr, Ipv6Packet, MacAddr,
    Millis, NetworkId, PuntReason, Verdict, solicited_node,
};
use switch_core::Bridge;

use self::route::Routes6;
use super::adjacency::Adjacency;
use super::neighbour::Neighbours;
use super::route::{Hop, Routes};
use crate::runtime_config::{NetworkConfig, Reach, RuntimeConfig};

/// What routes IPv6 packets: all that each of them needs.
#[derive(Debug)]
pub(crate) struct Gateway6 {
    /// By network.
    interfaces: Vec<Option<Interface6>>,
    pub(crate) routes: Routes6,
    pub(crate) neighbours: Neighbours<Ipv6Addr>,
    /// Where the frame before went, in this burst.
    last: Option<Adjacency<Ipv6Addr>>,
    /// Where the burst's diverted frames go, with their places in the burst.
    diverted: Vec<(usize, Hop<Ipv6Addr>)>,
}

/// The switch's own IPv6 addresses on one network.
#[derive(Clone, Debug)]
pub(crate) struct Interface6 {
    pub(crate) mac: MacAddr,
    pub(crate) link_local: Ipv6Addr,
    pub(crate) address: Ipv6Cidr,
    pub(crate) mtu: u16,
    pub(crate) reach: Reach,
    /// The next hop of an uplink.
    pub(crate) gateway: Option<Ipv6Addr>,
    /// The groups that the switch is in, but for that of all nodes.
    pub(crate) groups: Vec<Ipv6Addr>,
    /// Whether hosts go only where names lead to: by IPv6, none does yet.
    names_only: bool,
}

impl Gateway6 {
    /// A gateway without networks. `seed` must be random.
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            interfaces: Vec::new(),
            routes: Routes6::default(),
            neighbours: Neighbours::new(seed),
            last: None,
            diverted: Vec::new(),
        }
    }

    /// Takes over a configuration.
    pub(crate) fn install(&mut self, config: &RuntimeConfig, modes: &Routes) {
        self.interfaces = config.networks.iter().map(Interface6::new).collect();
        self.routes = Routes6::new(config, modes);
    }

    /// The switch's own addresses on a network.
    pub(crate) fn interface(&self, network: NetworkId) -> Option<&Interface6> {
        self.interfaces.get(network.index())?.as_ref()
    }

    /// All networks with the switch's own addresses on them.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = (NetworkId, &Interface6)> {
        let networks = (0..).map(NetworkId::new).zip(&self.interfaces);
        networks.filter_map(|(network, interface)| Some((network, interface.as_ref()?)))
    }

    /// The way out by this uplink takes packets of this size.
    pub(crate) fn set_mtu(&mut self, network: NetworkId, mtu: u16) {
        if let Some(Some(interface)) = self.interfaces.get_mut(network.index())
            && matches!(interface.reach, Reach::Uplink(_))
        {
            interface.mtu = mtu;
        }
    }

    /// Where the frame in this place of the last burst goes, if it was diverted.
    pub(crate) fn hop_of(&self, index: usize) -> Option<Hop<Ipv6Addr>> {
        let diverted = self.diverted.iter().find(|&&(place, _)| place == index);
        diverted.map(|&(_, hop)| hop)
    }

    /// Whether the host wants to see a frame to a group address.
    pub(crate) fn wants_group(&self, dst: MacAddr, input: NetworkId) -> bool {
        let Some(interface) = self.interface(input) else { return false };
        let is_its = |&group: &Ipv6Addr| MacAddr::of_group6(group) == dst;
        is_its(&ALL_NODES) || interface.groups.iter().any(is_its)
    }

    /// The frames for the switch that carry IPv6 are routed.
    #[inline(never)]
    pub(crate) fn process(&mut self, burst: &mut Burst, modes: &Routes, bridges: &[Bridge], now: Millis) {
        let input = burst.network();
        self.last = None;
        self.diverted.clear();
        burst.for_each(|index, frame| {
            if frame.meta.verdict == Verdict::Local && frame.meta.ether_type == EtherType::IPV6 {
                self.route(frame, index, input, modes, bridges, now);
            }
        });
    }

    /// Routes a frame: on return its verdict is `Forward` or `Flood`, or says why it isn't.
    #[inline]
    fn route(
        &mut self,
        frame: Frame<'_>,
        index: usize,
        input: NetworkId,
        modes: &Routes,
        bridges: &[Bridge],
        now: Millis,
    ) {
        let Frame { meta, bytes } = frame;
        let mut ip = Ipv6Packet::EMPTY;
        let decided = self.decide(&Frame { meta: &mut *meta, bytes: &mut *bytes }, &mut ip, input, modes);
        let hop = match decided {
            Ok(hop) => hop,
            Err(verdict) => return meta.verdict = verdict,
        };
        let packet_len = meta.offload.packet_len(bytes, EthernetHeader::LEN, EtherType::IPV6);
        let packet_len = packet_len.min(ip.total_len as usize);
        if self.interface(hop.network).is_none_or(|interface| packet_len > usize::from(interface.mtu)) {
            // It stays as it came in: whoever sent it is told what of it is too big.
            self.diverted.push((index, hop));
            return meta.verdict = DivertReason::TooBig.into();
        }
        let (ethernet, packet) = bytes.split_at_mut(EthernetHeader::LEN);
        if let Ok((header, _)) = Ipv6Header::mut_from_prefix(packet) {
            header.hop_limit = ip.hop_limit - 1;
        }
        (meta.network, meta.routed) = (hop.network, true);
        let Some(next) = self.adjacency(hop, bridges, now) else {
            self.diverted.push((index, hop));
            return meta.verdict = DivertReason::ResolveNeighbour.into();
        };
        ethernet[..12].copy_from_slice(&next.addresses);
        (meta.dst, meta.src, meta.verdict) = (next.dst, next.src, next.verdict);
    }

    /// Where the packet in a frame goes, if it goes anywhere: then its hop limit is above 1.
    #[inline]
    fn decide(
        &self,
        frame: &Frame<'_>,
        ip: &mut Ipv6Packet,
        input: NetworkId,
        modes: &Routes,
    ) -> Result<Hop<Ipv6Addr>, Verdict> {
        let interface = self.interface(input).ok_or(DropReason::NotForGateway)?;
        ip.read(&frame.bytes[EthernetHeader::LEN..])?;
        let offload = frame.meta.offload;
        if offload.needs_checksum && !offload.is_of_ipv6(ip, EthernetHeader::LEN) {
            Err(DropReason::BadOffload)?;
        }
        self.check(ip, input, interface)?;
        if let Some(owner) = self.routes.owner_of(ip.dst) {
            let is_reachable = owner.network == input || self.allows(input, owner.network, modes);
            Err(if is_reachable { PuntReason::ToSelf } else { PuntReason::Prohibited })?;
        }
        if ip.src.is_unicast_link_local() {
            Err(PuntReason::BeyondScope)?;
        }
        if ip.hop_limit <= 1 {
            Err(PuntReason::TtlExceeded)?;
        }
        let hop = self.routes.lookup(input, ip.dst, modes);
        if interface.names_only && hop.is_ok_and(|hop| hop.network != input) {
            Err(PuntReason::Prohibited)?;
        }
        hop.map_err(|reason| match (reason, interface.reach) {
            (DropReason::RouteProhibited, Reach::Uplink(_)) => DropReason::NatUnsolicited.into(),
            (DropReason::RouteProhibited, _) => PuntReason::Prohibited.into(),
            _ => PuntReason::NoRoute.into(),
        })
    }

    /// Whether the packet may be looked at any further; what is for a link-local address or a group ends here.
    #[inline]
    fn check(&self, ip: &Ipv6Packet, input: NetworkId, interface: &Interface6) -> Result<(), Verdict> {
        if !is_host(ip.src) || interface.has(ip.src) {
            Err(DropReason::BadIpSource)?;
        }
        let is_on_link = match interface.reach {
            _ if ip.src.is_unicast_link_local() => true,
            // The world is behind an uplink, but not our own networks.
            Reach::Uplink(_) => self.routes.network_of(ip.src).is_none_or(|network| network == input),
            _ => interface.address.contains(ip.src),
        };
        if !is_on_link {
            Err(DropReason::SourceNotOnLink)?;
        }
        if is_host(ip.dst) && !ip.dst.is_unicast_link_local() {
            return Ok(());
        }
        Err(match ip.dst {
            own if own == interface.link_local => PuntReason::ToSelf.into(),
            // One frame may be for one of the stations that a group has: RFC 6085.
            group if interface.hears(group) => PuntReason::ToSelf.into(),
            group if group.is_multicast() => DropReason::MulticastNotRouted.into(),
            _ => DropReason::NotRoutable.into(),
        })
    }

    fn allows(&self, input: NetworkId, output: NetworkId, modes: &Routes) -> bool {
        self.routes.allows(input, output, modes)
    }

    #[inline]
    fn adjacency(
        &mut self,
        hop: Hop<Ipv6Addr>,
        bridges: &[Bridge],
        now: Millis,
    ) -> Option<Adjacency<Ipv6Addr>> {
        match self.last {
            Some(last) if last.hop == hop => {}
            _ => {
                let dst = self.neighbours.mac(hop, now)?;
                let interface = self.interface(hop.network)?;
                let (src, mtu) = (interface.mac, usize::from(interface.mtu));
                let verdict = bridges[hop.network.index()].towards(dst, now);
                if verdict == Verdict::Drop(DropReason::UnknownStation) {
                    // It is asked where it is, as if nobody knew it.
                    return None;
                }
                self.last = Some(Adjacency::new(hop, (dst, src), mtu, verdict));
            }
        }
        self.last
    }
}

impl Interface6 {
    fn new(network: &NetworkConfig) -> Option<Self> {
        let interface = network.interface.as_ref()?;
        let settings = interface.settings.ipv6.as_ref()?;
        let (mac, address) = (interface.mac, settings.address);
        let link_local = mac.link_local6();
        let mut groups = vec![ALL_ROUTERS, solicited_node(link_local), solicited_node(address.address())];
        if address.prefix_len() < 127 {
            groups.push(solicited_node(address.network()));
        }
        groups.sort_unstable();
        groups.dedup();
        let (mtu, reach) = (interface.settings.mtu, network.reach);
        let names_only = interface.settings.dns.as_ref().is_some_and(|dns| dns.allowed.is_some());
        Some(Self { mac, link_local, address, mtu, reach, gateway: settings.gateway, groups, names_only })
    }

    /// Whether `address` is the switch's own and nobody else's.
    pub(crate) fn has(&self, address: Ipv6Addr) -> bool {
        address == self.link_local || address == self.address.address()
    }

    /// Whether `address` is that of all routers of the prefix. RFC 4291, 2.6.1.
    pub(crate) fn is_anycast(&self, address: Ipv6Addr) -> bool {
        self.address.prefix_len() < 127 && address == self.address.network() && !self.has(address)
    }

    /// Whether the switch is in the group.
    pub(crate) fn hears(&self, group: Ipv6Addr) -> bool {
        group == ALL_NODES || self.groups.contains(&group)
    }

    /// Whether somebody with this address can be a neighbour.
    pub(crate) fn is_on_link(&self, address: Ipv6Addr) -> bool {
        let is_on_link = address.is_unicast_link_local() || self.address.contains(address);
        is_host(address) && (is_on_link || self.gateway == Some(address))
    }

    /// Whether the switch is a router there: then every advertisement of its addresses says so, as hosts forget routers that
    /// are none any more. RFC 4861, 7.2.5.
    pub(crate) const fn is_router(&self) -> bool {
        !matches!(self.reach, Reach::Closed)
    }

    /// The own address that somebody with this one is told.
    pub(crate) fn towards(&self, address: Ipv6Addr) -> Ipv6Addr {
        if address.is_unicast_link_local() { self.link_local } else { self.address.address() }
    }
}

/// Can be the address of a host: neither unspecified, loopback nor a group, and none that stands for IPv4 addresses inside a
/// host (RFC 4291, 2.5.5), which are no business of a wire.
pub(crate) fn is_host(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, ..] = address.segments();
    let is_inside = (a, b, c, d, e) == (0, 0, 0, 0, 0) && matches!(f, 0 | 0xffff);
    !address.is_multicast() && !is_inside
}

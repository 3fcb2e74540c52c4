//! The gateway: the switch as a router on its own networks. RFC 1812.
//!
//! ```text
//! Local frame ─▶ IPv4 checked ─▶ flow known? ──yes─▶ rewritten ─┐
//!                                    │ no (admit)               ├─▶ route ─▶ next hop's MAC ─▶ new Ethernet header
//!                                    └▶ rules ─▶ new flow ──────┘     │            │ unknown
//!                                                                     └────────────┴─▶ Punt ─▶ host
//! ```
//!
//! What is here runs for each frame of a burst, once per worker. What answers, waits or allocates is the host, which is built
//! on this and of which nothing here knows.

mod adjacency;
pub(crate) mod egress;
mod first_packet;
mod install;
mod lookahead;
pub(crate) mod neighbour;
pub(crate) mod route;
pub(crate) mod v6;

use std::net::Ipv4Addr;

use nat_engine::{Known, Nat, NatConfig, NatPacket};
use packet::wire::{EthernetHeader, FromBytes, Ipv4Header, TcpHeader};
use packet::{
    BURST_FRAMES, Burst, DivertReason, DropReason, EtherType, Frame, Ipv4Cidr, Ipv4Packet, MacAddr, Millis,
    NetworkId, PortId, PuntReason, Verdict, Vid,
};
use switch_core::Bridge;

use self::adjacency::Adjacency;
use self::egress::Egress;
use self::lookahead::Lookahead;
use self::neighbour::Neighbours;
use self::route::{Hop, Routes, Source};
use self::v6::Gateway6;
use crate::runtime_config::Reach;
use crate::sockets::{Service, Sockets};

/// What routes frames: all that each of them needs.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// By network.
    interfaces: Vec<Option<Interface>>,
    pub(crate) routes: Routes,
    pub(crate) neighbours: Neighbours,
    pub(crate) nat: Nat,
    /// The same for IPv6.
    pub(crate) v6: Gateway6,
    /// Whether there is any rule at all.
    translates: bool,
    pub(crate) sockets: Sockets,
    pub(crate) egress: Egress,
    /// The port that the burst came from.
    origin: Option<PortId>,
    /// The burst's packets that are to be routed, with their places in the burst. Kept for its allocation.
    packets: Box<[(usize, Ipv4Packet)]>,
    /// What is looked up of `packets` together.
    lookahead: Lookahead,
    /// Where the frame before went, in this burst: mostly the next one goes there too.
    last: Option<Adjacency>,
    /// Where the last translated packet came from and went to, and its route.
    last_route: Option<((NetworkId, Ipv4Addr), Hop)>,
    /// Where the last diverted packet goes.
    diverted_to: Option<Hop>,
    /// Where the burst's diverted frames go, with their places in the burst.
    diverted: Vec<(usize, Hop)>,
}

/// Why a packet isn't simply sent on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unsent {
    /// It stays as it came in.
    Arrived(Verdict),
    /// It is translated, and on its way to this hop.
    Departing(DivertReason, Hop),
}

/// The switch's own address on one network.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) mac: MacAddr,
    pub(crate) address: Ipv4Cidr,
    pub(crate) mtu: u16,
    pub(crate) reach: Reach,
    /// Whether the address is a host's, too, which answers for it.
    pub(crate) is_shared: bool,
}

impl Gateway {
    /// A gateway without networks. `seed` must be random.
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            interfaces: Vec::new(),
            routes: Routes::default(),
            neighbours: Neighbours::new(seed),
            nat: Nat::new(NatConfig::default(), seed),
            v6: Gateway6::new(seed),
            translates: false,
            sockets: Sockets::default(),
            egress: Egress::default(),
            origin: None,
            packets: vec![(0, Ipv4Packet::EMPTY); BURST_FRAMES].into(),
            lookahead: Lookahead::new(),
            last: None,
            last_route: None,
            diverted_to: None,
            diverted: Vec::with_capacity(BURST_FRAMES),
        }
    }

    /// Stage 5. Frames addressed to the switch are routed; of flooded ones it notes which the slow path wants to see.
    pub(crate) fn process(&mut self, burst: &mut Burst, bridges: &[Bridge], now: Millis) {
        self.speak_for(burst.origin());
        let mut packets = std::mem::take(&mut self.packets);
        let (count, has_v6) = self.read_all(burst, &mut packets);
        self.route_all(burst, &mut packets[..count], bridges, now);
        self.packets = packets;
        if has_v6 {
            self.v6.process(burst, &self.routes, bridges, now);
        }
    }

    /// The port that what is done counts for.
    pub(crate) const fn origin(&self) -> Option<PortId> {
        self.origin
    }

    /// Where the frame in this place of the last burst goes, if it was diverted.
    pub(crate) fn hop_of(&self, index: usize) -> Option<Hop> {
        let diverted = self.diverted.iter().find(|&&(place, _)| place == index);
        diverted.map(|&(_, hop)| hop)
    }

    /// When there is something to be done about neighbours or flows.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        let neighbours = [self.neighbours.next_timeout(), self.v6.neighbours.next_timeout()];
        neighbours.into_iter().chain([self.nat.next_timeout()]).flatten().min()
    }

    /// What follows is done because of frames from this port, and counts for it.
    pub(crate) fn speak_for(&mut self, origin: Option<PortId>) {
        self.origin = origin;
        self.nat.set_owner(origin);
    }

    /// Reads the packets that are to be routed, and says how many that are, and whether there are such of IPv6, which stay as
    /// they are. All of them come first, so that their flows can be fetched from memory together.
    #[inline]
    fn read_all(&self, burst: &mut Burst, packets: &mut [(usize, Ipv4Packet)]) -> (usize, bool) {
        let input = burst.network();
        let Some(interface) = self.interface(input) else { return (0, false) };
        let serves_dhcp = self.sockets.listens(input, Service::Dhcp);
        let (mut count, mut has_v6) = (0, false);
        burst.for_each(|index, frame| match (frame.meta.verdict, packets.get_mut(count)) {
            (Verdict::Local, Some((place, ip))) => match self.read(&frame, ip, input, interface) {
                Ok(()) => (*place, count) = (index, count + 1),
                Err(verdict) => {
                    has_v6 |= verdict == Verdict::Local;
                    frame.meta.verdict = verdict;
                }
            },
            (Verdict::Flood, _) if frame.meta.dst.is_group() => {
                frame.meta.copy = self.wanted(&frame, input, serves_dhcp);
            }
            _ => {}
        });
        (count, has_v6)
    }

    #[inline]
    fn route_all(
        &mut self,
        burst: &mut Burst,
        packets: &mut [(usize, Ipv4Packet)],
        bridges: &[Bridge],
        now: Millis,
    ) {
        let input = burst.network();
        if self.translates {
            self.lookahead.keys.clear();
            self.lookahead.keys.extend(packets.iter().map(|(_, ip)| self.nat.key(ip)));
            let unknown = self.nat.look_ahead(&mut self.lookahead.keys, now);
            self.prepare(packets, unknown, input);
        }
        self.last = None;
        self.diverted.clear();
        for (nth, (index, ip)) in packets.iter_mut().enumerate() {
            let Frame { meta, bytes } = burst.frame_mut(*index);
            if let Err(verdict) = self.route(Frame { meta, bytes }, ip, Some(nth), input, bridges, now) {
                burst.metas_mut()[*index].verdict = verdict;
                self.diverted.extend(self.diverted_to.take().map(|hop| (*index, hop)));
            }
        }
    }

    /// Routes a packet that isn't one of a burst: what it needs isn't looked up ahead.
    ///
    /// # Errors
    /// Why it isn't to be sent as it is then.
    #[cold]
    pub(crate) fn route_one(
        &mut self,
        frame: Frame<'_>,
        input: NetworkId,
        bridges: &[Bridge],
        now: Millis,
    ) -> Result<(), Unsent> {
        self.last = None;
        let ip = Ipv4Packet::parse(&frame.bytes[EthernetHeader::LEN..]);
        let mut ip = ip.map_err(|reason| Unsent::Arrived(reason.into()))?;
        self.route(frame, &mut ip, None, input, bridges, now).map_err(|verdict| {
            match (verdict, self.diverted_to.take()) {
                (Verdict::Divert(reason), Some(hop)) => Unsent::Departing(reason, hop),
                (verdict, _) => Unsent::Arrived(verdict),
            }
        })
    }

    /// The packet is translated, and the host is to send it on to `hop`.
    #[cold]
    fn divert(&mut self, reason: DivertReason, hop: Hop) -> Verdict {
        self.diverted_to = Some(hop);
        reason.into()
    }

    /// The packet in a frame addressed to the switch, if it may be looked at any further.
    #[inline]
    fn read(
        &self,
        frame: &Frame<'_>,
        ip: &mut Ipv4Packet,
        input: NetworkId,
        interface: &Interface,
    ) -> Result<(), Verdict> {
        match frame.meta.ether_type {
            _ if usize::from(frame.meta.l3) != EthernetHeader::LEN => Err(DropReason::TaggedForGateway)?,
            EtherType::IPV4 => {}
            EtherType::ARP => Err(PuntReason::Arp)?,
            EtherType::IPV6 => Err(Verdict::Local)?,
            _ => Err(DropReason::NotForGateway)?,
        }
        ip.read(&frame.bytes[EthernetHeader::LEN..])?;
        let offload = frame.meta.offload;
        if offload.needs_checksum && !offload.is_of(ip, EthernetHeader::LEN) {
            // Completed on its way out, it could undo what NAT has rewritten.
            Err(DropReason::BadOffload)?;
        }
        self.check(ip, input, interface)
    }

    /// Routes the frame with a packet, the `nth` of the burst if it is one of it: on return its verdict is `Forward` or
    /// `Flood`, or the error says why it isn't.
    #[inline(always)]
    fn route(
        &mut self,
        frame: Frame<'_>,
        ip: &mut Ipv4Packet,
        nth: Option<usize>,
        input: NetworkId,
        bridges: &[Bridge],
        now: Millis,
    ) -> Result<(), Verdict> {
        let Frame { meta, bytes } = frame;
        let packet_len = meta.offload.packet_len(bytes, EthernetHeader::LEN, EtherType::IPV4);
        let packet_len = packet_len.min(usize::from(ip.total_len));
        let (ethernet, bytes) = bytes.split_at_mut(EthernetHeader::LEN);
        let mut packet = NatPacket { bytes, ip, partial_checksum: meta.offload.needs_checksum };
        let hop = self.translate(&mut packet, nth, input, now)?;

        meta.network = hop.network;
        meta.routed = true;
        decrement_ttl(packet.bytes);
        let next = self.adjacency(hop, bridges, now);
        let mtu = next.map_or_else(|| self.mtu_of(hop.network), |next| next.mtu);
        if packet_len > mtu {
            let may_fragment = !packet.ip.dont_fragment;
            let reason = if may_fragment { DivertReason::Fragment } else { DivertReason::TooBig };
            return Err(self.divert(reason, hop));
        }
        let Some(next) = next else { return Err(self.divert(DivertReason::ResolveNeighbour, hop)) };
        ethernet[..12].copy_from_slice(&next.addresses);
        (meta.dst, meta.src, meta.verdict) = (next.dst, next.src, next.verdict);
        Ok(())
    }

    /// Whether the packet may be looked at any further.
    #[inline]
    fn check(&self, ip: &Ipv4Packet, input: NetworkId, interface: &Interface) -> Result<(), Verdict> {
        let own = interface.address;
        // A subnet's broadcast address as a source: RFC 1812, 5.3.7.
        if !is_host(ip.src) || ip.src == own.address() || own.is_edge(ip.src) {
            let is_dhcp = ip.src.is_unspecified() && self.sockets.listener(input, ip) == Some(Service::Dhcp);
            return Err(if is_dhcp { PuntReason::ToSelf.into() } else { DropReason::BadIpSource.into() });
        }
        let on_link = match interface.reach {
            // The world is behind an uplink, but not our own networks.
            Reach::Uplink(_) => self.routes.network_of(ip.src).is_none_or(|network| network == input),
            _ => own.contains(ip.src),
        };
        if !on_link {
            Err(DropReason::SourceNotOnLink)?;
        }
        if !is_host(ip.dst) || ip.dst.is_link_local() {
            let is_group = ip.dst.is_multicast();
            Err(if is_group { DropReason::MulticastNotRouted } else { DropReason::NotRoutable })?;
        }
        if ip.ttl <= 1 && self.routes.owner_of(ip.dst).is_none() {
            Err(PuntReason::TtlExceeded)?;
        }
        Ok(())
    }

    /// Rewrites the packet if a flow or a rule says so, and finds its way out.
    #[inline(always)]
    fn translate(
        &mut self,
        packet: &mut NatPacket<'_>,
        nth: Option<usize>,
        input: NetworkId,
        now: Millis,
    ) -> Result<Hop, Verdict> {
        if !self.translates {
            return self.route_plainly(packet.ip.dst, input);
        }
        match self.nat.translate_known_at(packet, self.lookahead.key(nth), now) {
            Known::Miss => self.admit(packet, nth, input, now),
            Known::Later => Err(PuntReason::EarlyFragment.into()),
            Known::Drop(reason) => Err(reason.into()),
            // It was addressed to the switch, and its way ends here.
            Known::Translated if packet.ip.ttl <= 1 => Err(DropReason::TtlExceeded.into()),
            Known::Translated => Ok(self.translated_route(packet.ip.dst, input)?),
        }
    }

    #[inline]
    fn translated_route(&mut self, destination: Ipv4Addr, input: NetworkId) -> Result<Hop, DropReason> {
        if let Some((last, hop)) = self.last_route
            && last == (input, destination)
        {
            return Ok(hop);
        }
        let hop = self.routes.lookup(Source::Translated(input), destination)?;
        self.last_route = Some(((input, destination), hop));
        Ok(hop)
    }

    /// The way of a packet that nothing translates.
    fn route_plainly(&self, destination: Ipv4Addr, input: NetworkId) -> Result<Hop, Verdict> {
        if let Some(owner) = self.routes.owner_of(destination) {
            let reachable = owner == input || self.routes.allows(input, owner, false);
            return Err(if reachable { PuntReason::ToSelf } else { PuntReason::Prohibited }.into());
        }
        self.routes.lookup(Source::Network(input), destination).map_err(|reason| match reason {
            DropReason::RouteProhibited if self.is_outside(input) => DropReason::NatUnsolicited.into(),
            _ => unroutable(reason),
        })
    }

    fn is_outside(&self, network: NetworkId) -> bool {
        self.interface(network).is_some_and(|interface| matches!(interface.reach, Reach::Uplink(_)))
    }

    #[inline]
    fn adjacency(&mut self, hop: Hop, bridges: &[Bridge], now: Millis) -> Option<Adjacency> {
        match self.last {
            Some(last) if last.hop == hop => {}
            _ => {
                let dst = self.neighbours.mac(hop, now)?;
                let src = self.interface(hop.network)?.mac;
                let verdict = bridges[hop.network.index()].towards(dst, now);
                if verdict == Verdict::Drop(DropReason::UnknownStation) {
                    // It is asked where it is, as if nobody knew it.
                    return None;
                }
                self.last = Some(Adjacency::new(hop, (dst, src), self.mtu_of(hop.network), verdict));
            }
        }
        self.last
    }

    pub(crate) fn mtu_of(&self, network: NetworkId) -> usize {
        self.interface(network).map_or(0, |interface| usize::from(interface.mtu))
    }

    /// Whether a host has this own address of the switch's, too.
    pub(crate) fn is_a_hosts(&self, address: Ipv4Addr) -> bool {
        let owner = self.routes.owner_of(address).and_then(|network| self.interface(network));
        owner.is_some_and(|interface| interface.is_shared)
    }

    /// The switch's own address on a network.
    pub(crate) fn interface(&self, network: NetworkId) -> Option<&Interface> {
        self.interfaces.get(network.index())?.as_ref()
    }

    /// Whether the host wants to see a flooded frame.
    #[inline]
    fn wanted(&self, frame: &Frame<'_>, input: NetworkId, serves_dhcp: bool) -> Option<PuntReason> {
        let meta = &frame.meta;
        if usize::from(meta.l3) != EthernetHeader::LEN || meta.vid != Vid::UNTAGGED {
            return None;
        }
        match meta.ether_type {
            EtherType::ARP => Some(PuntReason::Arp),
            EtherType::IPV6 => self.v6.wants_group(meta.dst, input).then_some(PuntReason::ToSelf),
            EtherType::IPV4 if serves_dhcp => {
                let ip = Ipv4Packet::parse(&frame.bytes[EthernetHeader::LEN..]).ok()?;
                (self.sockets.listener(input, &ip) == Some(Service::Dhcp)).then_some(PuntReason::ToSelf)
            }
            _ => None,
        }
    }
}

/// Can be the address of a host: not 0/8, 127/8, 224/4 (multicast) or 240/4 (reserved, broadcast). RFC 1122, 3.2.1.3.
fn is_host(address: Ipv4Addr) -> bool {
    let first = address.to_bits() >> 24;
    first.wrapping_sub(1) < 223 && first != 127
}

fn unroutable(reason: DropReason) -> Verdict {
    match reason {
        DropReason::NoRoute => PuntReason::NoRoute.into(),
        DropReason::RouteProhibited => PuntReason::Prohibited.into(),
        other => other.into(),
    }
}

/// The time to live goes down by one, and the header's checksum with it. RFC 1624.
#[inline]
fn decrement_ttl(packet: &mut [u8]) {
    if let Ok((ip, _)) = Ipv4Header::mut_from_prefix(packet)
        && let Some(less) = ip.ttl.checked_sub(1)
    {
        ip.ttl = less;
        // What RFC 1624 comes to for this change, with its one carry.
        let sum = u32::from(ip.checksum.get()) + 0x100;
        ip.checksum = ((sum + u32::from(sum >= 0xffff)) as u16).into();
    }
}

/// Whether a segment asks for a connection, whatever it says of congestion.
pub(crate) const fn is_syn(flags: u8) -> bool {
    flags & (TcpHeader::SYN | TcpHeader::ACK | TcpHeader::RST | TcpHeader::FIN) == TcpHeader::SYN
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::checksum::Delta;

    #[test]
    fn a_hop_less_is_the_change_of_rfc1624_for_every_checksum() {
        for checksum in 0..=u16::MAX {
            let mut packet = [0; Ipv4Header::LEN];
            packet[8] = 64;
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
            decrement_ttl(&mut packet);
            let expected = Delta::NONE.u16(64 << 8, 63 << 8).apply(checksum);
            assert_eq!((packet[8], &packet[10..12]), (63, &expected.to_be_bytes()[..]));
        }
    }
}

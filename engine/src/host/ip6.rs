//! IPv6 of the host: which protocol a packet for the switch is for, and who is told of one that isn't. RFC 8200, RFC 4443.

use std::net::Ipv6Addr;

use packet::wire::EthernetHeader;
use packet::{DivertReason, DropReason, Fragment, Ipv6Packet, L4, Millis, Protocol, PuntReason, icmp6};

use super::headers::{self, Problem};
use super::icmp::v6;
use super::mld::Mld;
use super::ndp::Ndp;
use super::ndp::message::Message;
use super::ra::Ra;
use super::resolution::Waiting;
use super::slow::Slow;
use super::slow6::Icmp6Error;
use crate::gateway::Gateway;
use crate::gateway::route::Hop;
use crate::gateway::v6::is_host;
use crate::punt::Punted;
use crate::runtime_config::{Reach, RuntimeConfig};

/// The protocols that the switch speaks over IPv6.
#[derive(Debug)]
pub(crate) struct Ip6 {
    pub(crate) ndp: Ndp,
    ra: Ra,
    mld: Mld,
}

impl Ip6 {
    /// A host without networks. `seed` must be random.
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self { ndp: Ndp::default(), ra: Ra::new(seed), mld: Mld::new(seed) }
    }

    /// Takes over a configuration that the gateway has already.
    pub(crate) fn install(&mut self, config: &RuntimeConfig, gateway: &Gateway) {
        self.mld.install(gateway.v6.interfaces());
        self.ndp.install(gateway.v6.interfaces());
        self.ra.install(config, gateway);
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        let (ndp, ra, mld) = (self.ndp.next_timeout(), self.ra.next_timeout(), self.mld.next_timeout());
        [ndp, ra, mld].into_iter().flatten().min()
    }

    /// Does what is due. A group is joined before questions are asked in it: RFC 4862, 5.4.2.
    pub(crate) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        self.mld.on_timeout(slow);
        self.ndp.on_timeout(slow);
        slow.gateway.speak_for(None);
        self.ra.on_timeout(slow);
    }

    /// The switch ends.
    pub(crate) fn farewell(&mut self, slow: &mut Slow<'_>) {
        self.ra.farewell(slow);
    }

    /// Deals with a frame as it came in.
    ///
    /// # Errors
    /// Why its way ends here; the sender was told where that is due.
    pub(crate) fn serve(
        &mut self,
        reason: PuntReason,
        punted: &mut Punted<'_>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        let (error, reason) = match reason {
            PuntReason::ToSelf => return self.for_self(punted, slow),
            PuntReason::TtlExceeded => (Icmp6Error::TimeExceeded, DropReason::TtlExceeded),
            PuntReason::NoRoute => (Icmp6Error::NoRoute, DropReason::NoRoute),
            PuntReason::BeyondScope => (Icmp6Error::BeyondScope, DropReason::BeyondScope),
            _ => (Icmp6Error::Prohibited, DropReason::RouteProhibited),
        };
        slow.tell6(error, punted)?;
        Err(reason)
    }

    /// Deals with a frame that can't be sent on to `hop` as it is.
    ///
    /// # Errors
    /// Why its way ends here; the sender was told where that is due.
    pub(crate) fn serve_departing(
        &mut self,
        reason: DivertReason,
        hop: Hop<Ipv6Addr>,
        punted: &mut Punted<'_>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        if reason == DivertReason::ResolveNeighbour {
            let (offload, origin) = (punted.meta.offload, punted.origin);
            return self.ndp.wait(hop, Waiting { bytes: punted.bytes.to_vec(), offload, origin }, slow);
        }
        let mtu = slow.gateway.v6.interface(hop.network).map_or(LEAST_MTU, |interface| interface.mtu);
        // Less is nobody's business: RFC 8200, 5.
        slow.tell6(Icmp6Error::TooBig(mtu.max(LEAST_MTU).into()), punted)?;
        Err(DropReason::FragmentationNeeded)
    }

    /// A packet for an address or group of the switch's.
    fn for_self(&mut self, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let ip = punted.ip6()?;
        is_for_us(&ip, punted, slow)?;
        match headers::check(punted.packet(), &ip) {
            Ok(()) => {}
            Err(Problem::Silent(reason)) => return Err(reason),
            Err(Problem::Told(error)) => {
                slow.tell6(error, punted)?;
                return Err(DropReason::UnknownOption);
            }
        }
        let interface = slow.gateway.v6.interface(punted.input).ok_or(DropReason::NoService)?;
        let from_outside = matches!(interface.reach, Reach::Uplink(_));
        match ip.protocol {
            Protocol::ICMPV6 => self.icmp(&ip, punted, slow),
            _ if ip.src.is_unspecified() => Err(DropReason::BadIpSource),
            // An answer to a stranger would tell that there is something to attack.
            Protocol::TCP | Protocol::UDP if from_outside => Err(DropReason::NatUnsolicited),
            Protocol::TCP | Protocol::UDP => {
                slow.tell6(Icmp6Error::PortUnreachable, punted)?;
                Err(DropReason::NoService)
            }
            Protocol::NO_NEXT_HEADER => Err(DropReason::NoService),
            _ if ip.fragment == Fragment::Later => Err(DropReason::NoService),
            _ => {
                slow.tell6(Icmp6Error::UnknownHeader(ip.next_at.into()), punted)?;
                Err(DropReason::NoService)
            }
        }
    }

    /// An ICMPv6 message.
    fn icmp(
        &mut self,
        ip: &Ipv6Packet,
        punted: &mut Punted<'_>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        let offload = punted.meta.offload;
        let is_vouched_for = offload.checksum_valid && !offload.needs_checksum;
        if ip.fragment == Fragment::Whole && !is_vouched_for && !v6::is_summed(punted.packet(), ip) {
            return Err(DropReason::BadIcmpChecksum);
        }
        match ip.l4 {
            L4::EchoRequest | L4::None if !ip.src.is_unspecified() => return answer_echo(ip, punted, slow),
            L4::IcmpError => return Err(DropReason::IcmpErrorUnmatched),
            L4::IcmpOther if ip.fragment == Fragment::Whole => {}
            _ => return Err(DropReason::NoService),
        }
        let message = ip.payload(punted.packet());
        if message.first() == Some(&icmp6::LISTENER_QUERY) {
            return self.mld.serve(ip, message, punted.input, slow.now);
        }
        match Message::parse(ip, message)? {
            Some(message @ Message::RouterSolicitation { .. }) => {
                self.ndp.serve(message, ip, punted, slow)?;
                self.ra.answer(ip.src, punted.meta.src, punted.input, slow)
            }
            Some(message) => self.ndp.serve(message, ip, punted, slow),
            // Reports of listeners, and what nobody knows: RFC 4443, 2.4 b.
            None => Err(DropReason::NdpNotForUs),
        }
    }
}

/// Whether a packet is for the switch, and its sender one that can be. Of what was flooded the gateway has judged nothing.
fn is_for_us(ip: &Ipv6Packet, punted: &Punted<'_>, slow: &Slow<'_>) -> Result<(), DropReason> {
    let gateway = &slow.gateway.v6;
    let interface = gateway.interface(punted.input).ok_or(DropReason::NdpNotForUs)?;
    let is_own =
        interface.has(ip.dst) || interface.hears(ip.dst) || gateway.routes.owner_of(ip.dst).is_some();
    if !is_own {
        return Err(DropReason::NdpNotForUs);
    }
    let is_probe = ip.src.is_unspecified() && ip.protocol == Protocol::ICMPV6;
    // Who says to have an own address is heard, for others to be told better.
    let is_claim = ip.payload(punted.packet()).first() == Some(&icmp6::NEIGHBOUR_ADVERTISEMENT);
    let is_own = interface.has(ip.src) && !(is_claim && ip.protocol == Protocol::ICMPV6);
    if !is_probe && (!is_host(ip.src) || is_own) {
        return Err(DropReason::BadIpSource);
    }
    let is_near = is_probe || interface.is_on_link(ip.src) || matches!(interface.reach, Reach::Uplink(_));
    if is_near { Ok(()) } else { Err(DropReason::SourceNotOnLink) }
}

/// Answers an echo request, also one to a group: then from an address of its own, and as rarely as errors are told.
fn answer_echo(ip: &Ipv6Packet, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
    let interface = slow.gateway.v6.interface(punted.input).ok_or(DropReason::NoService)?;
    let (own, is_group) = (interface.towards(ip.src), ip.dst.is_multicast());
    let fragment = if ip.has_fragment_header { 8 } else { 0 };
    if !is_group && usize::from(ip.header_len) == 40 + fragment {
        v6::answer_echo(&mut punted.bytes[EthernetHeader::LEN..], ip)?;
        return slow.send_back(punted);
    }
    if ip.fragment != Fragment::Whole {
        return Err(DropReason::NoService);
    }
    if is_group {
        slow.admit_error()?;
    }
    let own = if is_group { own } else { ip.dst };
    let reply = v6::echo_reply(punted.packet(), ip, own).ok_or(DropReason::BadL4Header)?;
    slow.answer(reply, punted)
}

/// Every link of IPv6 takes packets of this size. RFC 8200, 5.
const LEAST_MTU: u16 = 1280;

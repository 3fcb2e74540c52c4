//! Neighbour discovery of the switch itself: it answers for its own addresses, finds out whether somebody else has them, and
//! asks for next hops. RFC 4861, RFC 4862 5.4.
//!
//! ```text
//! own address ─▶ Tentative ──1 s──▶ Valid ─▶ announced
//!                  │ somebody else has it, on an uplink
//!                  └▶ Duplicate ──1 min──▶ Tentative
//! ```
//!
//! On a network of guests the switch uses its addresses at once and whatever a guest says: else any guest could keep the
//! gateway from all others. It tells them that the address is its own, and counts them.
//!
//! Whoever says that a known address is theirs isn't believed at once, as with ARP: see [`resolution`](super::resolution).

pub(crate) mod message;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use packet::builder::eth;
use packet::{ALL_NODES, DropReason, Ipv6Packet, MacAddr, Millis, NetworkId, Offload, icmp6, solicited_node};

use self::message::Message;
use super::outgoing::To;
use super::resolution::{Due, Heard, Resolution, Waiting};
use super::slow::{Slow, address_frame};
use super::slow6::{Icmp6Error, error};
use super::wire6::{SOURCE, TARGET, link_layer_address};
use crate::gateway::route::Hop;
use crate::gateway::v6::Interface6;
use crate::punt::Punted;
use crate::runtime_config::Reach;

/// The switch's own addresses, and what is being asked.
#[derive(Debug, Default)]
pub(crate) struct Ndp {
    resolution: Resolution<Ipv6Addr>,
    own: BTreeMap<(NetworkId, Ipv6Addr), Own>,
}

/// An own address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Own {
    mac: MacAddr,
    state: OwnState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OwnState {
    /// Nobody was asked yet whether it is somebody else's.
    New,
    /// It is the switch's if nobody says so until then.
    Tentative(Millis),
    /// It is the switch's.
    Valid,
    /// It is somebody else's. Then it is tried again.
    Duplicate(Millis),
}

impl OwnState {
    const fn due(self) -> Option<Millis> {
        match self {
            Self::New => Some(Millis::ZERO),
            Self::Tentative(until) | Self::Duplicate(until) => Some(until),
            Self::Valid => None,
        }
    }
}

impl Ndp {
    /// Takes over a configuration that the gateway has already: own addresses that are new are asked for.
    pub(crate) fn install<'a>(&mut self, interfaces: impl Iterator<Item = (NetworkId, &'a Interface6)>) {
        let before = std::mem::take(&mut self.own);
        for (network, interface) in interfaces {
            for address in [interface.link_local, interface.address.address()] {
                let (key, new) = ((network, address), Own { mac: interface.mac, state: OwnState::New });
                let same = before.get(&key).copied().filter(|own| own.mac == interface.mac);
                self.own.insert(key, same.unwrap_or(new));
            }
        }
    }

    /// The questions about next hops.
    pub(crate) const fn resolution(&mut self) -> &mut Resolution<Ipv6Addr> {
        &mut self.resolution
    }

    /// The next hops that are asked for and of which nothing is known.
    pub(crate) const fn asked(&self) -> &Resolution<Ipv6Addr> {
        &self.resolution
    }

    /// When there is something to do.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        let own = self.own.values().filter_map(|own| own.state.due()).min();
        [own, self.resolution.next_timeout()].into_iter().flatten().min()
    }

    /// Takes a message.
    ///
    /// # Errors
    /// Why its way ends here.
    pub(crate) fn serve(
        &mut self,
        message: Message,
        ip: &Ipv6Packet,
        punted: &Punted<'_>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        match message {
            Message::Solicitation { target, source } => self.asked_for(target, source, ip, punted, slow),
            Message::Advertisement { target, mac, is_solicited } => {
                self.told(target, mac.unwrap_or(punted.meta.src), is_solicited, punted, slow)
            }
            Message::RouterSolicitation { source: Some(mac) } if mac == punted.meta.src => {
                self.hear(Hop { network: punted.input, address: ip.src }, mac, true, slow)
            }
            Message::RouterSolicitation { .. } => Ok(()),
            Message::RouterAdvertisement | Message::Redirect => Err(DropReason::NdpNotBelieved),
        }
    }

    /// Asks for next hops and gives up on silent ones; asks whether own addresses are somebody else's.
    pub(crate) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        self.check_own(slow);
        for due in self.resolution.on_timeout(slow.now, &mut slow.gateway.v6.neighbours) {
            match due {
                Due::Ask(hop, mac) => self.ask(hop, mac, slow),
                Due::Failed(hop, waiting) => waiting.iter().for_each(|frame| self.fail(frame, hop, slow)),
            }
        }
    }

    /// Sends a frame, whose Ethernet addresses are still to be filled in, to `hop`, or keeps it until its MAC is known.
    pub(crate) fn send(
        &mut self,
        hop: Hop<Ipv6Addr>,
        mut frame: Vec<u8>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        let own_mac = slow.gateway.v6.interface(hop.network).ok_or(DropReason::NoRoute)?.mac;
        let Some(mac) = slow.gateway.v6.neighbours.mac(hop, slow.now) else {
            let origin = slow.gateway.origin();
            return self.wait(hop, Waiting { bytes: frame, offload: Offload::NONE, origin }, slow);
        };
        address_frame(&mut frame, mac, own_mac);
        slow.out.push(To::Network(hop.network), &frame, Offload::NONE);
        Ok(())
    }

    /// Keeps a frame until the MAC of `hop` is known.
    pub(crate) fn wait(
        &mut self,
        hop: Hop<Ipv6Addr>,
        frame: Waiting,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        self.resolution.wait(hop, frame, slow.now, &mut slow.gateway.v6.neighbours)
    }

    /// Somebody asks for an address.
    fn asked_for(
        &mut self,
        target: Ipv6Addr,
        source: Option<MacAddr>,
        ip: &Ipv6Packet,
        punted: &Punted<'_>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        let (network, station) = (punted.input, punted.meta.src);
        let interface = slow.gateway.v6.interface(network).ok_or(DropReason::NdpNotForUs)?.clone();
        if !interface.has(target) && !interface.is_anycast(target) {
            return Err(DropReason::NdpNotForUs);
        }
        let is_probe = ip.src.is_unspecified();
        if interface.has(target) && !self.is_usable(network, target, &interface) {
            // Somebody else is about to take it: then it is not the switch's either.
            return if is_probe { self.lose(network, target, slow) } else { Err(DropReason::NdpNotForUs) };
        }
        if let Some(mac) = source.filter(|mac| *mac == station) {
            // Who is not believed is answered all the same: it may be right.
            self.hear(Hop { network, address: ip.src }, mac, true, slow).unwrap_or_default();
        }
        let to = if is_probe { ALL_NODES } else { ip.src };
        let answer = advertisement(&interface, target, to, if is_probe { None } else { Some(station) });
        slow.out.push(To::Network(network), &answer, Offload::NONE);
        if is_probe { Err(DropReason::NdpConflict) } else { Ok(()) }
    }

    /// Somebody says who has an address.
    fn told(
        &mut self,
        target: Ipv6Addr,
        mac: MacAddr,
        is_solicited: bool,
        punted: &Punted<'_>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        let network = punted.input;
        let interface = slow.gateway.v6.interface(network).ok_or(DropReason::NdpNotForUs)?.clone();
        if interface.has(target) {
            if !self.is_usable(network, target, &interface) {
                return self.lose(network, target, slow);
            }
            slow.admit_error()?;
            let answer = advertisement(&interface, target, ALL_NODES, None);
            slow.out.push(To::Network(network), &answer, Offload::NONE);
            return Err(DropReason::NdpConflict);
        }
        if mac != punted.meta.src {
            return Err(DropReason::BadNdp);
        }
        let hop = Hop { network, address: target };
        let known = slow.gateway.v6.neighbours.get(hop);
        if !is_solicited && known.is_some_and(|known| known.seen.mac == mac && !known.doubted) {
            // It says where it is, not that it hears us. RFC 4861, 7.2.5.
            return Ok(());
        }
        self.hear(hop, mac, false, slow)
    }

    /// `mac` says that it has the address of `hop`: what waited for that is sent.
    fn hear(
        &mut self,
        hop: Hop<Ipv6Addr>,
        mac: MacAddr,
        asks_us: bool,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        let interface = slow.gateway.v6.interface(hop.network).ok_or(DropReason::NdpNotForUs)?;
        if !interface.is_on_link(hop.address) || interface.has(hop.address) {
            return Ok(());
        }
        let own_mac = interface.mac;
        let heard = Heard { mac, origin: slow.gateway.origin(), asks_us };
        for mut frame in self.resolution.hear(hop, heard, slow.now, &mut slow.gateway.v6.neighbours)? {
            address_frame(&mut frame.bytes, mac, own_mac);
            slow.out.push(To::Network(hop.network), &frame.bytes, frame.offload);
        }
        Ok(())
    }

    /// Asks all that may have the hop's address, or the station that had it last.
    fn ask(&self, hop: Hop<Ipv6Addr>, mac: Option<MacAddr>, slow: &mut Slow<'_>) {
        let Some(interface) = slow.gateway.v6.interface(hop.network) else { return };
        let own = interface.towards(hop.address);
        if !self.is_usable(hop.network, own, interface) {
            return;
        }
        let group = solicited_node(hop.address);
        let (dst, to) = mac.map_or((group, MacAddr::of_group6(group)), |mac| (hop.address, mac));
        let question = eth().src(interface.mac).dst(to).ipv6(own, dst).hop_limit(u8::MAX);
        let source = link_layer_address(SOURCE, interface.mac);
        let body = [&hop.address.octets()[..], &source].concat();
        let question = question.icmp6(icmp6::NEIGHBOUR_SOLICITATION, 0, 0).payload(&body);
        slow.out.push(To::Network(hop.network), &question, Offload::NONE);
    }

    /// Nobody has the hop's address: the frame's sender is told.
    fn fail(&mut self, frame: &Waiting, hop: Hop<Ipv6Addr>, slow: &mut Slow<'_>) {
        slow.gateway.speak_for(frame.origin);
        slow.out.drops.count(DropReason::NeighbourUnreachable);
        if let Err(reason) = self.tell_origin(frame.packet(), hop, slow) {
            slow.out.drops.count(reason);
        }
    }

    fn tell_origin(
        &mut self,
        packet: &[u8],
        hop: Hop<Ipv6Addr>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        let ip = Ipv6Packet::parse(packet)?;
        let is_own = slow.gateway.v6.interface(hop.network).is_none_or(|interface| interface.has(ip.src));
        if is_own || slow.gateway.v6.routes.owner_of(ip.src).is_some() {
            return Ok(());
        }
        let back = slow.gateway.v6.routes.own(ip.src)?;
        let interface = slow.gateway.v6.interface(back.network).ok_or(DropReason::NoRoute)?;
        let Some(told) = error(packet, interface.address.address(), Icmp6Error::AddressUnreachable) else {
            return Ok(());
        };
        slow.admit_error()?;
        self.send(back, told, slow)
    }

    /// Whether the switch may speak from its own `address`. On a network of guests it always may.
    fn is_usable(&self, network: NetworkId, address: Ipv6Addr, interface: &Interface6) -> bool {
        let is_valid = || self.own.get(&(network, address)).is_some_and(|own| own.state == OwnState::Valid);
        !matches!(interface.reach, Reach::Uplink(_)) || is_valid()
    }

    /// An own address on an uplink is somebody else's.
    fn lose(&mut self, network: NetworkId, address: Ipv6Addr, slow: &Slow<'_>) -> Result<(), DropReason> {
        if let Some(own) = self.own.get_mut(&(network, address)) {
            own.state = OwnState::Duplicate(slow.now + RETRY);
        }
        Err(DropReason::NdpConflict)
    }

    /// What is due of the own addresses: the question whether somebody else has them, and saying that they are the switch's.
    fn check_own(&mut self, slow: &mut Slow<'_>) {
        for (&(network, address), own) in &mut self.own {
            if own.state.due().is_none_or(|due| due > slow.now) || !slow.out.has_room() {
                continue;
            }
            let Some(interface) = slow.gateway.v6.interface(network) else { continue };
            let frame = match own.state {
                OwnState::Tentative(_) => {
                    own.state = OwnState::Valid;
                    advertisement(interface, address, ALL_NODES, None)
                }
                _ => {
                    own.state = OwnState::Tentative(slow.now + RETRANSMIT);
                    probe(interface, address)
                }
            };
            slow.out.push(To::Network(network), &frame, Offload::NONE);
        }
    }
}

/// Asks whether somebody else has an own address. RFC 4862, 5.4.2.
fn probe(interface: &Interface6, address: Ipv6Addr) -> Vec<u8> {
    let group = solicited_node(address);
    let frame = eth().src(interface.mac).dst(MacAddr::of_group6(group));
    let frame = frame.ipv6(Ipv6Addr::UNSPECIFIED, group).hop_limit(u8::MAX);
    frame.icmp6(icmp6::NEIGHBOUR_SOLICITATION, 0, 0).payload(&address.octets())
}

/// Says that `target` is the switch's: to the station that asked, or to all.
fn advertisement(
    interface: &Interface6,
    target: Ipv6Addr,
    to: Ipv6Addr,
    station: Option<MacAddr>,
) -> Vec<u8> {
    let is_anycast = interface.is_anycast(target);
    let router = if interface.is_router() { ROUTER } else { 0 };
    let solicited = if station.is_some() { SOLICITED } else { 0 };
    // Of an address that others have, too, nobody else's is replaced. RFC 4861, 7.2.7.
    let flags = router | solicited | if is_anycast { 0 } else { OVERRIDE };
    let own = if is_anycast { interface.towards(to) } else { target };
    let frame = eth().src(interface.mac).dst(station.unwrap_or(MacAddr::of_group6(to)));
    let frame = frame.ipv6(own, to).hop_limit(u8::MAX).icmp6(icmp6::NEIGHBOUR_ADVERTISEMENT, 0, flags);
    frame.payload(&[&target.octets()[..], &link_layer_address(TARGET, interface.mac)].concat())
}

/// Flags of an advertisement. RFC 4861, 4.4.
const ROUTER: u32 = 1 << 31;
const SOLICITED: u32 = 1 << 30;
const OVERRIDE: u32 = 1 << 29;
/// RETRANS_TIMER. RFC 4861, 10.
const RETRANSMIT: Millis = Millis::from_secs(1);
/// After so long an address that was somebody else's is tried again.
const RETRY: Millis = Millis::from_secs(60);

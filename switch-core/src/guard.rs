//! Guards: what a port may say of itself. A guest that is told nothing of its neighbours can't speak for them either.
//!
//! ```text
//! mac    source is one of the port's own: those that are given, else the first one seen, until the link goes down
//! ip     IPv4 source, and ARP's sender, is the station's: given to the port, leased or reserved to the MAC
//! dhcp   nothing that servers say (DHCPv4, DHCPv6); clients speak for themselves
//! ra     no router advertisements and redirects of IPv6
//! ```
//!
//! Costs nothing for ports without; else some 10 ns a frame.

use std::net::Ipv4Addr;

use packet::wire::{ArpPacket, FromBytes, Ipv4Header};
use packet::{Burst, DropReason, EtherType, Frame, MacAddr, PortId, Protocol, Vid};

/// What is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Guard {
    /// Source MAC addresses.
    pub mac: bool,
    /// IPv4 source addresses, and ARP's.
    pub ip: bool,
    /// Messages of DHCP servers, and of clients in other clients' names.
    pub dhcp: bool,
    /// Router advertisements.
    pub ra: bool,
}

impl Guard {
    /// Everything.
    pub const ALL: Self = Self { mac: true, ip: true, dhcp: true, ra: true };
    /// Nothing.
    pub const NONE: Self = Self { mac: false, ip: false, dhcp: false, ra: false };
}

/// A guarded port's settings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PortGuard {
    /// What is checked.
    pub checks: Guard,
    /// Its MAC addresses; empty: the first one seen.
    pub macs: Vec<MacAddr>,
    /// Addresses that are given to it, beside those that its MAC address has by lease.
    pub addresses: Vec<Ipv4Addr>,
    /// Nobody gives it an address: the first one seen is its own.
    pub first_come: bool,
}

/// The guarded ports of a segment.
#[derive(Debug, Default)]
pub(crate) struct Guards(Vec<(PortId, State)>);

#[derive(Debug)]
struct State {
    guard: PortGuard,
    mac: Option<MacAddr>,
    address: Option<Ipv4Addr>,
}

impl State {
    fn has_mac(&self, mac: MacAddr) -> bool {
        self.mac == Some(mac) || self.guard.macs.contains(&mac)
    }

    fn has_address(&self, address: Ipv4Addr) -> bool {
        self.address == Some(address) || self.guard.addresses.contains(&address)
    }
}

impl Guards {
    /// Guards a port, or no longer. What was seen of it stays.
    pub(crate) fn set(&mut self, port: PortId, guard: Option<PortGuard>) {
        let place = self.0.iter().position(|(id, _)| *id == port);
        match (place, guard) {
            (Some(place), Some(guard)) => self.0[place].1.guard = guard,
            (Some(place), None) => drop(self.0.swap_remove(place)),
            (None, Some(guard)) => self.0.push((port, State { guard, mac: None, address: None })),
            (None, None) => {}
        }
    }

    /// The link went down: whoever comes next may be another.
    pub(crate) fn forget(&mut self, port: PortId) {
        if let Some((_, state)) = self.0.iter_mut().find(|(id, _)| *id == port) {
            (state.mac, state.address) = (None, None);
        }
    }

    /// The port that this MAC address belongs to for as long as its link is up, however long it is silent.
    pub(crate) fn port_of(&self, mac: MacAddr) -> Option<PortId> {
        let guarded = self.0.iter().filter(|(_, state)| state.guard.checks.mac);
        guarded.into_iter().find(|(_, state)| state.has_mac(mac)).map(|&(id, _)| id)
    }

    /// Drops what a guarded port may not say. `holder` tells whose an address is by lease or reservation, and `is_static`
    /// whether a MAC address always belongs to another port.
    pub(crate) fn check(
        &mut self,
        burst: &mut Burst,
        holder: impl Fn(Ipv4Addr) -> Option<MacAddr>,
        is_static: impl Fn(MacAddr, Vid) -> bool,
    ) {
        let Some(place) = burst.origin().and_then(|port| self.0.iter().position(|(id, _)| *id == port))
        else {
            return;
        };
        // Most frames of a burst have the same source.
        let mut last = None;
        burst.for_each(|_, frame| {
            if frame.meta.is_dropped() {
                return;
            }
            if let Err(reason) = self.judge(place, &frame, &holder, &is_static, &mut last) {
                frame.meta.refuse(reason);
            }
        });
    }

    fn judge(
        &mut self,
        place: usize,
        frame: &Frame<'_>,
        holder: &impl Fn(Ipv4Addr) -> Option<MacAddr>,
        is_static: &impl Fn(MacAddr, Vid) -> bool,
        last: &mut Option<(MacAddr, Ipv4Addr)>,
    ) -> Result<(), DropReason> {
        let (checks, mac) = (self.0[place].1.guard.checks, frame.meta.src);
        if checks.mac && !self.may_use_mac(place, mac, || is_static(mac, frame.meta.vid)) {
            return Err(DropReason::GuardMac);
        }
        let packet = frame.bytes.get(usize::from(frame.meta.l3)..).unwrap_or_default();
        match frame.meta.ether_type {
            EtherType::ARP => {
                let (arp, _) = ArpPacket::ref_from_prefix(packet).map_err(|_| DropReason::BadArp)?;
                let sender = Ipv4Addr::from(arp.sender_ip);
                let is_own_mac = MacAddr::new(arp.sender_mac) == mac;
                // A probe has no sender address: RFC 5227, 2.1.1.
                let is_right = !checks.ip
                    || sender.is_unspecified()
                    || self.may_use_address(place, mac, sender, holder, last);
                if (checks.mac || checks.ip) && !(is_own_mac && is_right) {
                    return Err(DropReason::GuardAddress);
                }
                Ok(())
            }
            EtherType::IPV4 => {
                let ip = Ip::read(packet).ok_or(DropReason::BadIpHeader)?;
                // A checksum that is still to be written must not be written over what is judged here.
                let behind = frame.meta.l3 + IPV4_HEADER;
                if frame.meta.offload.needs_checksum && frame.meta.offload.csum_start < behind {
                    return Err(DropReason::BadOffload);
                }
                if checks.dhcp && !ip.is_honest_dhcp(mac) {
                    return Err(DropReason::GuardDhcp);
                }
                let asks = ip.source.is_unspecified() && ip.ports == Some((CLIENT, SERVER));
                if checks.ip && !asks && !self.may_use_address(place, mac, ip.source, holder, last) {
                    return Err(DropReason::GuardAddress);
                }
                Ok(())
            }
            EtherType::IPV6 => judge_ipv6(packet, checks),
            _ => Ok(()),
        }
    }

    fn may_use_mac(&mut self, place: usize, mac: MacAddr, is_static: impl FnOnce() -> bool) -> bool {
        let state = &self.0[place].1;
        if !state.guard.macs.is_empty() || state.mac.is_some() {
            return state.has_mac(mac);
        }
        let is_others = is_static() || self.0.iter().any(|(_, other)| other.has_mac(mac));
        if !is_others {
            self.0[place].1.mac = Some(mac);
        }
        !is_others
    }

    fn may_use_address(
        &mut self,
        place: usize,
        mac: MacAddr,
        address: Ipv4Addr,
        holder: &impl Fn(Ipv4Addr) -> Option<MacAddr>,
        last: &mut Option<(MacAddr, Ipv4Addr)>,
    ) -> bool {
        if *last == Some((mac, address)) {
            return true;
        }
        let state = &self.0[place].1;
        let has_it = state.has_address(address) || holder(address) == Some(mac);
        let is_free =
            || holder(address).is_none() && !self.0.iter().any(|(_, other)| other.has_address(address));
        let may_have = !has_it && state.guard.first_come && state.address.is_none() && is_free();
        if may_have {
            self.0[place].1.address = Some(address);
        }
        if has_it || may_have {
            *last = Some((mac, address));
        }
        has_it || may_have
    }
}

/// What is looked at of an IPv4 packet.
struct Ip<'a> {
    source: Ipv4Addr,
    /// Of UDP, where they can be seen.
    ports: Option<(u16, u16)>,
    payload: &'a [u8],
}

impl<'a> Ip<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        let (header, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
        let len = usize::from(header.version_ihl & 15) * 4;
        let source = Ipv4Addr::from(header.src);
        let is_udp = header.protocol == Protocol::UDP.0;
        let is_first = header.flags_fragment.get() & Ipv4Header::OFFSET_MASK == 0;
        match packet.get(len..).and_then(|rest| rest.split_first_chunk::<8>()) {
            Some((&[s0, s1, d0, d1, ..], payload)) if is_udp && is_first => {
                let ports = Some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])));
                Some(Self { source, ports, payload })
            }
            _ => Some(Self { source, ports: None, payload: &[] }),
        }
    }

    /// No server's message; and a client's is about itself, and comes by no relay agent. RFC 2131, figure 1.
    fn is_honest_dhcp(&self, mac: MacAddr) -> bool {
        match self.ports {
            Some((SERVER, _) | (_, CLIENT)) => false,
            Some((_, SERVER)) => {
                let client = self.payload.get(CHADDR..CHADDR + 6);
                let relay = self.payload.get(GIADDR..GIADDR + 4);
                self.payload.first() == Some(&BOOTREQUEST)
                    && client == Some(mac.octets().as_slice())
                    && relay == Some(&[0; 4])
            }
            _ => true,
        }
    }
}

/// What an IPv6 packet is, as far as guards care.
enum Ip6 {
    /// A router advertisement or redirect.
    Router,
    /// A message of a DHCPv6 server or relay agent.
    DhcpServer,
    /// Its headers go on beyond the packet or the ones that a host would send: RFC 7113, 3.
    Hidden,
    Other,
}

fn judge_ipv6(packet: &[u8], checks: Guard) -> Result<(), DropReason> {
    match Ip6::read(packet) {
        Ip6::Router if checks.ra => Err(DropReason::GuardRa),
        Ip6::DhcpServer if checks.dhcp => Err(DropReason::GuardDhcp),
        Ip6::Hidden if checks.ra || checks.dhcp => Err(DropReason::GuardRa),
        _ => Ok(()),
    }
}

impl Ip6 {
    fn read(packet: &[u8]) -> Self {
        let Some((header, mut rest)) = packet.split_first_chunk::<40>() else { return Self::Other };
        let mut next = header[6];
        for _ in 0..EXTENSIONS {
            match (next, rest) {
                (HOP_BY_HOP | ROUTING | DESTINATION, [following, len, ..]) => {
                    let Some(behind) = rest.get(usize::from(*len) * 8 + 8..) else { return Self::Hidden };
                    (next, rest) = (*following, behind);
                }
                (FRAGMENT, [following, _, o0, o1, ..]) => {
                    if u16::from_be_bytes([*o0, *o1]) & 0xfff8 != 0 {
                        return Self::Other;
                    }
                    let Some(behind) = rest.get(8..) else { return Self::Hidden };
                    (next, rest) = (*following, behind);
                }
                (ICMPV6, [kind, ..]) => {
                    return if matches!(kind, 134 | 137) { Self::Router } else { Self::Other };
                }
                (UDP, [s0, s1, d0, d1, ..]) => {
                    let ports = (u16::from_be_bytes([*s0, *s1]), u16::from_be_bytes([*d0, *d1]));
                    return if ports.0 == 547 || ports.1 == 546 { Self::DhcpServer } else { Self::Other };
                }
                (HOP_BY_HOP | ROUTING | DESTINATION | FRAGMENT | ICMPV6 | UDP, _) => return Self::Hidden,
                _ => return Self::Other,
            }
        }
        Self::Hidden
    }
}

/// The shortest header of IPv4, addresses included.
const IPV4_HEADER: u16 = 20;
/// Ports of DHCPv4.
const SERVER: u16 = 67;
const CLIENT: u16 = 68;
const BOOTREQUEST: u8 = 1;
/// Offsets in a message: the relay agent's address, and the client's. RFC 2131, figure 1.
const GIADDR: usize = 24;
const CHADDR: usize = 28;
/// Next headers of IPv6.
const HOP_BY_HOP: u8 = 0;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;
const DESTINATION: u8 = 60;
/// Extension headers that are walked over: more than any host sends.
const EXTENSIONS: usize = 8;

#[cfg(test)]
mod tests;

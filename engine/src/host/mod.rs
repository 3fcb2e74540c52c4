//! What the gateway answers, and what has to wait: ARP, ICMP, DHCP, unresolved next hops, fragmentation.

pub(crate) mod dhcp;
mod early;
mod fragment;
pub(crate) mod health;
pub(crate) mod held;
pub(crate) mod icmp;
pub(crate) mod loops;
mod outgoing;
mod pcp;

use std::net::Ipv4Addr;

use nat_engine::{Exhausted, Known, NatPacket};
use packet::builder::eth;
use packet::checksum::Sum;
use packet::wire::{ArpPacket, EthernetHeader, FromBytes, TcpHeader, UdpHeader};
use packet::{
    DropReason, EtherType, FrameMeta, Gso, Ipv4Packet, L4, MacAddr, Millis, NetworkId, Offload, PuntReason,
    offload,
};

use self::held::HeldSyn;
use self::icmp::v4::{self, IcmpError};
pub(crate) use self::outgoing::Outgoing;
use self::pcp::server::{Client, PCP_SERVER_PORT};
use crate::gateway::neighbour::{Due, Waiting};
use crate::gateway::route::Hop;
use crate::gateway::{DHCP_SERVER_PORT, Gateway};
use crate::runtime_config::Reach;

impl Gateway {
    /// Deals with a frame that came from `input`.
    ///
    /// # Errors
    /// Why the frame's way ends here; the sender was told where that is due.
    pub(crate) fn serve(
        &mut self,
        reason: PuntReason,
        meta: &FrameMeta,
        bytes: &mut [u8],
        input: NetworkId,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        match reason {
            PuntReason::Arp => self.arp(meta, bytes, input, now, out),
            // The worker's own.
            PuntReason::LoopProbe => Ok(()),
            PuntReason::Dhcp => self.dhcp(meta, bytes, input, now, out),
            PuntReason::ToSelf => self.for_self(meta, bytes, input, now, out),
            PuntReason::ResolveNeighbour => self.resolve(meta, bytes, now),
            PuntReason::Fragment => self.fragment(meta, bytes, now, out),
            PuntReason::EarlyFragment => self.keep_fragment(bytes, input, now),
            PuntReason::TooBig => {
                let mtu = self.interface(meta.network).map_or(0, |interface| interface.mtu);
                self.tell_origin(IcmpError::FragmentationNeeded(mtu), bytes, meta.network, now, out)?;
                Err(DropReason::FragmentationNeeded)
            }
            PuntReason::TtlExceeded => {
                self.tell(IcmpError::TimeExceeded, meta, bytes, input, now, out)?;
                Err(DropReason::TtlExceeded)
            }
            PuntReason::NoRoute => {
                self.tell(IcmpError::NetworkUnreachable, meta, bytes, input, now, out)?;
                Err(DropReason::NoRoute)
            }
            PuntReason::NoResources(reason) => {
                let error = match (reason, self.nat.settings().exhausted) {
                    // As of a host on which nothing listens.
                    (DropReason::NatNoServer, _) => IcmpError::PortUnreachable,
                    (_, Exhausted::Prohibited) => IcmpError::Prohibited,
                    (_, Exhausted::HostUnreachable) => IcmpError::HostUnreachable,
                };
                self.tell(error, meta, bytes, input, now, out)?;
                Err(reason)
            }
            PuntReason::Prohibited => {
                self.tell(IcmpError::Prohibited, meta, bytes, input, now, out)?;
                Err(DropReason::RouteProhibited)
            }
        }
    }

    /// Does what is due: asks servers and for next hops, gives up on silent ones and on fragments, forgets idle
    /// flows.
    pub(crate) fn on_timeout(&mut self, now: Millis, out: &mut Outgoing) {
        self.speak_for(None);
        self.release_fragments(now, out);
        self.nat.on_timeout(now);
        out.drops.count_many(DropReason::FragmentWithoutFirst, self.nat.take_lost_fragments());
        self.check_servers(now, out);
        while let Some(syn) = self.held.due(now) {
            self.speak_for(syn.origin);
            if let Err(reason) = self.refuse(&syn, now, out) {
                out.drops.count(reason);
            }
        }
        for due in self.neighbours.on_timeout(now) {
            match due {
                Due::Ask(hop, mac) => self.ask(hop, mac, out),
                Due::Failed(hop, waiting) => {
                    for frame in waiting {
                        self.speak_for(frame.origin);
                        out.drops.count(DropReason::NeighbourUnreachable);
                        let told =
                            self.tell_origin(IcmpError::HostUnreachable, &frame.bytes, hop.network, now, out);
                        if let Err(reason) = told {
                            out.drops.count(reason);
                        }
                    }
                }
            }
        }
        self.speak_for(None);
        self.serve_dhcp_clients(now, out);
    }

    fn arp(
        &mut self,
        meta: &FrameMeta,
        bytes: &[u8],
        input: NetworkId,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        let interface = self.interface(input).ok_or(DropReason::ArpNotForUs)?;
        let (own, own_mac) = (interface.address, interface.mac);
        let arp = bytes.get(usize::from(meta.l3)..).and_then(|b| ArpPacket::ref_from_prefix(b).ok());
        let (arp, _) = arp.ok_or(DropReason::BadArp)?;
        let (operation, sender_mac) = (arp.operation.get(), MacAddr::new(arp.sender_mac));
        let well_formed = (arp.hardware.get(), arp.hardware_len) == (1, 6)
            && (arp.protocol.get(), arp.protocol_len) == (EtherType::IPV4.0, 4)
            && matches!(operation, ArpPacket::REQUEST | ArpPacket::REPLY)
            && sender_mac == meta.src;
        let (sender, target) = (Ipv4Addr::from(arp.sender_ip), Ipv4Addr::from(arp.target_ip));
        if !well_formed || sender == own.address() || own.is_edge(sender) {
            return Err(DropReason::BadArp);
        }
        let asks_us = operation == ArpPacket::REQUEST && self.answers_for(target, input);
        let mut heard = Ok(());
        // A router may be outside of a subnet that is one host alone.
        if own.contains(sender) || interface.reach == Reach::Uplink(Some(sender)) {
            let hop = Hop { network: input, address: sender };
            match self.neighbours.hear(hop, sender_mac, asks_us, self.origin, now) {
                Ok(waiting) => {
                    waiting.into_iter().for_each(|frame| send_waiting(frame, hop, own_mac, sender_mac, out));
                }
                Err(reason) => heard = Err(reason),
            }
            self.note_address(hop, sender_mac, now, out);
        }
        if asks_us {
            let reply = eth().src(own_mac).dst(sender_mac);
            let reply = reply.arp(ArpPacket::REPLY, (own_mac, target), (sender_mac, sender));
            out.push(input, &reply, Offload::NONE);
            return Ok(());
        }
        if operation == ArpPacket::REPLY { heard } else { heard.and(Err(DropReason::ArpNotForUs)) }
    }

    /// Whether `address` is the switch's own there, or one of an uplink's subnet that NAT takes for others. RFC 1027.
    fn answers_for(&self, address: Ipv4Addr, network: NetworkId) -> bool {
        let Some(interface) = self.interface(network) else { return false };
        let is_uplink = matches!(interface.reach, Reach::Uplink(_));
        if interface.address.address() == address {
            return !interface.is_shared;
        }
        is_uplink
            && interface.address.contains(address)
            && self.nat.rules().stands_for_others(address, network)
    }

    pub(crate) fn ask(&self, hop: Hop, mac: Option<MacAddr>, out: &mut Outgoing) {
        let Some(interface) = self.interface(hop.network) else { return };
        let own = (interface.mac, interface.address.address());
        let question = eth().src(interface.mac).dst(mac.unwrap_or(MacAddr::BROADCAST));
        let question = question.arp(ArpPacket::REQUEST, own, (MacAddr::ZERO, hop.address));
        out.push(hop.network, &question, Offload::NONE);
    }

    /// A packet for one of the switch's own addresses.
    fn for_self(
        &mut self,
        meta: &FrameMeta,
        bytes: &mut [u8],
        input: NetworkId,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        let ip = Ipv4Packet::parse(&bytes[EthernetHeader::LEN..])?;
        if self.take_answer(meta, bytes, &ip, input, now, out) {
            return Ok(());
        }
        let interface = self.interface(input).ok_or(DropReason::NoService)?;
        if interface.is_shared {
            // The host has heard it, too, and answers if need be.
            return Ok(());
        }
        if self.is_a_hosts(ip.dst) {
            self.tell(IcmpError::Prohibited, meta, bytes, input, now, out)?;
            return Err(DropReason::HostNotReached);
        }
        let from_outside = matches!(interface.reach, Reach::Uplink(_));
        match ip.l4 {
            L4::Udp if ip.dst_port == DHCP_SERVER_PORT && !from_outside => {
                self.dhcp(meta, bytes, input, now, out)
            }
            L4::Udp
                if ip.dst_port == PCP_SERVER_PORT
                    && let Some(output) = self.mapped_uplink(input) =>
            {
                let client = Client { address: ip.src, input, output };
                self.map_port(meta, bytes, &ip, client, now, out)
            }
            L4::EchoRequest | L4::None => {
                v4::answer_echo(&mut bytes[EthernetHeader::LEN..], &ip)?;
                address_frame(bytes, meta.src, interface.mac);
                out.push(input, bytes, Offload::NONE);
                Ok(())
            }
            L4::IcmpError => Err(DropReason::IcmpErrorUnmatched),
            L4::Tcp if from_outside && is_syn(ip.tcp_flags) => {
                self.held.hold(bytes, input, self.origin, now);
                Err(DropReason::NatUnsolicited)
            }
            // An answer to a stranger would tell that there is something to attack.
            L4::Tcp | L4::Udp if from_outside => Err(DropReason::NatUnsolicited),
            L4::Tcp | L4::Udp => {
                self.tell(IcmpError::PortUnreachable, meta, bytes, input, now, out)?;
                Err(DropReason::NoService)
            }
            _ => Err(DropReason::NoService),
        }
    }

    /// Whether a host has this own address of the switch's, too.
    fn is_a_hosts(&self, address: Ipv4Addr) -> bool {
        let owner = self.routes.owner_of(address).and_then(|network| self.interface(network));
        owner.is_some_and(|interface| interface.is_shared)
    }

    /// Tells the sender of a SYN that nobody wanted it, unless its connection has come about since.
    fn refuse(&mut self, syn: &HeldSyn, now: Millis, out: &mut Outgoing) -> Result<(), DropReason> {
        let (_, packet) = syn.bytes.split_at(EthernetHeader::LEN);
        if self.nat.knows(&Ipv4Packet::parse(packet)?) {
            return Ok(());
        }
        let (ethernet, _) =
            EthernetHeader::ref_from_prefix(&syn.bytes).map_err(|_| DropReason::FrameTooShort)?;
        let sender = MacAddr::new(ethernet.src);
        self.tell_sender(IcmpError::PortUnreachable, sender, &syn.bytes, syn.network, now, out)
    }

    /// A routed frame waits for its next hop's MAC.
    fn resolve(&mut self, meta: &FrameMeta, bytes: &[u8], now: Millis) -> Result<(), DropReason> {
        let ip = Ipv4Packet::parse_header(&bytes[EthernetHeader::LEN..])?;
        let hop = self.hop_on(meta.network, &ip).ok_or(DropReason::NoRoute)?;
        let (offload, origin) = (meta.offload, self.origin);
        self.neighbours.wait(hop, Waiting { bytes: bytes.to_vec(), offload, origin }, now)
    }

    /// A routed frame is cut to the MTU of its way out.
    pub(crate) fn fragment(
        &mut self,
        meta: &FrameMeta,
        bytes: &mut [u8],
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        let mtu = usize::from(self.interface(meta.network).ok_or(DropReason::NoRoute)?.mtu);
        if meta.offload.gso == Gso::None {
            offload::complete_checksum(bytes, &mut meta.offload.clone());
            return self.send_cut(bytes, meta.network, mtu, now, out);
        }
        let (mut segments, mut segment) = (offload::Segments::new(bytes, meta)?, vec![0; bytes.len()]);
        while let Some(len) = segments.next_into(&mut segment) {
            self.send_cut(&segment[..len], meta.network, mtu, now, out)?;
        }
        Ok(())
    }

    /// Sends the frame's packet in pieces, as long as there is room for them.
    fn send_cut(
        &mut self,
        frame: &[u8],
        output: NetworkId,
        mtu: usize,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        let (ethernet, packet) = frame.split_at(EthernetHeader::LEN);
        for piece in fragment::fragments(packet, mtu) {
            if out.is_full() {
                return Err(DropReason::ReplyBurstFull);
            }
            let ip = Ipv4Packet::parse_header(&piece)?;
            let hop = self.hop_on(output, &ip).ok_or(DropReason::NoRoute)?;
            self.send(hop, [ethernet, &piece].concat(), now, out)?;
        }
        Ok(())
    }

    /// Tells the sender of the frame, which is as it came in from `input`. Nothing is told where RFC 1812 says so.
    fn tell(
        &mut self,
        error: IcmpError,
        meta: &FrameMeta,
        bytes: &[u8],
        input: NetworkId,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        self.tell_sender(error, meta.src, bytes, input, now, out)
    }

    fn tell_sender(
        &mut self,
        error: IcmpError,
        sender: MacAddr,
        bytes: &[u8],
        input: NetworkId,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        let interface = self.interface(input).ok_or(DropReason::NoRoute)?;
        let (own, own_mac) = (interface.address.address(), interface.mac);
        if let Some(mut frame) = v4::error(&bytes[EthernetHeader::LEN..], own, error) {
            self.admit_icmp(now)?;
            address_frame(&mut frame, sender, own_mac);
            out.push(input, &frame, Offload::NONE);
        }
        Ok(())
    }

    /// Tells the sender of a packet that is on its way out of `output`, translated perhaps: the error then finds back
    /// like one from outside.
    fn tell_origin(
        &mut self,
        error: IcmpError,
        bytes: &[u8],
        output: NetworkId,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        let own = self.interface(output).ok_or(DropReason::NoRoute)?.address.address();
        let Some(mut frame) = v4::error(&bytes[EthernetHeader::LEN..], own, error) else { return Ok(()) };
        self.admit_icmp(now)?;
        let bytes = &mut frame[EthernetHeader::LEN..];
        let mut ip = Ipv4Packet::parse(bytes)?;
        let mut packet = NatPacket { bytes, ip: &mut ip, partial_checksum: false };
        if let Known::Drop(reason) = self.nat.translate_known(&mut packet, now) {
            return Err(reason);
        }
        if self.routes.owner_of(packet.ip.dst).is_some() {
            // It was the switch itself that asked for something there.
            return Ok(());
        }
        let hop = self.routes.own_way(packet.ip.dst).ok_or(DropReason::NoRoute)?;
        // The sender knows the switch by its address there: RFC 1812, 4.3.2.4.
        let own = self.interface(hop.network).ok_or(DropReason::NoRoute)?.address.address();
        v4::set_source(packet.bytes, own);
        self.send(hop, frame, now, out)
    }

    /// Sends a frame, whose Ethernet header is still to be filled in, to `hop`, or keeps it until that is known.
    pub(crate) fn send(
        &mut self,
        hop: Hop,
        mut frame: Vec<u8>,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        let own_mac = self.interface(hop.network).ok_or(DropReason::NoRoute)?.mac;
        match self.neighbours.mac(hop, now) {
            Some(mac) => {
                address_frame(&mut frame, mac, own_mac);
                out.push(hop.network, &frame, Offload::NONE);
                Ok(())
            }
            None => {
                let frame = Waiting { bytes: frame, offload: Offload::NONE, origin: self.origin };
                self.neighbours.wait(hop, frame, now)
            }
        }
    }

    /// Whom to hand a packet to that leaves by `network`.
    fn hop_on(&self, network: NetworkId, ip: &Ipv4Packet) -> Option<Hop> {
        let interface = self.interface(network)?;
        let address = match interface.reach {
            _ if interface.address.contains(ip.dst) => ip.dst,
            Reach::Uplink(gateway) => gateway?,
            _ => return None,
        };
        Some(Hop { network, address })
    }

    fn admit_icmp(&mut self, now: Millis) -> Result<(), DropReason> {
        if self.icmp_limits.admit(self.origin, now) { Ok(()) } else { Err(DropReason::IcmpRateLimited) }
    }
}

/// The payload of the UDP datagram in a frame for the switch, which has to be right as any host would check it.
pub(crate) fn udp_payload(frame: &[u8], offload: Offload) -> Result<&[u8], DropReason> {
    let packet = &frame[EthernetHeader::LEN..];
    let ip = Ipv4Packet::parse(packet)?;
    let datagram = &packet[usize::from(ip.header_len)..usize::from(ip.total_len)];
    let (udp, _) = UdpHeader::ref_from_prefix(datagram).map_err(|_| DropReason::BadUdp)?;
    let datagram = datagram.get(..usize::from(udp.len.get())).ok_or(DropReason::BadUdp)?;
    let is_summed = udp.checksum.get() != 0 && !offload.needs_checksum && !offload.checksum_valid;
    let pseudo = Sum::pseudo_header_v4(ip.src, ip.dst, ip.protocol.0, udp.len.get());
    if is_summed && pseudo.add(Sum::of(datagram)).checksum() != 0 {
        return Err(DropReason::BadUdp);
    }
    datagram.get(UdpHeader::LEN..).ok_or(DropReason::BadUdp)
}

/// Whether a segment asks for a connection, whatever it says of congestion.
pub(crate) const fn is_syn(flags: u8) -> bool {
    flags & (TcpHeader::SYN | TcpHeader::ACK | TcpHeader::RST | TcpHeader::FIN) == TcpHeader::SYN
}

pub(crate) fn send_waiting(mut frame: Waiting, hop: Hop, own_mac: MacAddr, mac: MacAddr, out: &mut Outgoing) {
    address_frame(&mut frame.bytes, mac, own_mac);
    out.push(hop.network, &frame.bytes, frame.offload);
}

fn address_frame(frame: &mut [u8], dst: MacAddr, src: MacAddr) {
    frame[..6].copy_from_slice(&dst.octets());
    frame[6..12].copy_from_slice(&src.octets());
}

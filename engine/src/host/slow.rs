//! What the host's protocols work with: the gateway, the time, and what is to be sent.

use nat_engine::{Known, NatPacket};
use packet::builder::eth;
use packet::rate::Rate;
use packet::wire::{ArpPacket, EthernetHeader};
use packet::{DropReason, Ipv4Packet, MacAddr, Millis, NetworkId, Offload};
use switch_core::Bridge;

use super::icmp::v4;
pub(super) use super::icmp::v4::IcmpError;
use super::outgoing::{Outgoing, To};
use super::resolution::{Heard, Resolution, Waiting};
use crate::gateway::Gateway;
use crate::gateway::route::{Hop, Source};
use crate::punt::Punted;

/// What a protocol has at hand while it deals with a frame, or with what is due.
#[derive(Debug)]
pub(crate) struct Slow<'a> {
    pub now: Millis,
    pub gateway: &'a mut Gateway,
    /// By network.
    pub bridges: &'a [Bridge],
    /// Of the next hops.
    pub resolution: &'a mut Resolution,
    pub out: &'a mut Outgoing,
}

impl Slow<'_> {
    /// Sends a frame, whose Ethernet header is still to be filled in, to `hop`, or keeps it until its MAC is known.
    pub(super) fn send(&mut self, hop: Hop, mut frame: Vec<u8>) -> Result<(), DropReason> {
        let own_mac = self.gateway.interface(hop.network).ok_or(DropReason::NoRoute)?.mac;
        match self.gateway.neighbours.mac(hop, self.now) {
            Some(mac) => {
                address_frame(&mut frame, mac, own_mac);
                self.out.push(To::Network(hop.network), &frame, Offload::NONE);
                Ok(())
            }
            None => {
                let origin = self.gateway.origin();
                let frame = Waiting { bytes: frame, offload: Offload::NONE, origin };
                self.resolution.wait(hop, frame, self.now, &mut self.gateway.neighbours)
            }
        }
    }

    /// Asks everybody, or the station that had it last, who has the hop's address.
    pub(super) fn ask(&mut self, hop: Hop, mac: Option<MacAddr>) {
        let Some(interface) = self.gateway.interface(hop.network) else { return };
        let own = (interface.mac, interface.address.address());
        let question = eth().src(interface.mac).dst(mac.unwrap_or(MacAddr::BROADCAST));
        let question = question.arp(ArpPacket::REQUEST, own, (MacAddr::ZERO, hop.address));
        self.out.push(To::Network(hop.network), &question, Offload::NONE);
    }

    /// `mac` says that it has the address of `hop`: what waited for that is sent. Of a stranger it is remembered only if it
    /// `asks_us`, as an answer is likely to follow then.
    ///
    /// # Errors
    /// `ArpConflict`: another station has the address; it will be asked.
    pub(super) fn hear(&mut self, hop: Hop, mac: MacAddr, asks_us: bool) -> Result<(), DropReason> {
        let own_mac = self.gateway.interface(hop.network).ok_or(DropReason::NoRoute)?.mac;
        let heard = Heard { mac, origin: self.gateway.origin(), asks_us };
        for mut frame in self.resolution.hear(hop, heard, self.now, &mut self.gateway.neighbours)? {
            address_frame(&mut frame.bytes, mac, own_mac);
            self.out.push(To::Network(hop.network), &frame.bytes, frame.offload);
        }
        Ok(())
    }

    /// Sends `frame` back to the station that it came from, from the switch's own address.
    pub(super) fn send_back(&mut self, punted: &mut Punted<'_>) -> Result<(), DropReason> {
        let own_mac = self.gateway.interface(punted.input).ok_or(DropReason::NoService)?.mac;
        address_frame(punted.bytes, punted.meta.src, own_mac);
        self.out.push(To::Network(punted.input), punted.bytes, Offload::NONE);
        Ok(())
    }

    /// Tells the sender of the frame, which is as it came in. Nothing is told where RFC 1812 says so.
    pub(super) fn tell(&mut self, error: IcmpError, punted: &Punted<'_>) -> Result<(), DropReason> {
        self.tell_sender(error, punted.meta.src, punted.packet(), punted.input)
    }

    /// Tells the station `sender` on `input` of the packet that it sent.
    pub(super) fn tell_sender(
        &mut self,
        error: IcmpError,
        sender: MacAddr,
        packet: &[u8],
        input: NetworkId,
    ) -> Result<(), DropReason> {
        let interface = self.gateway.interface(input).ok_or(DropReason::NoRoute)?;
        let (own, own_mac) = (interface.address.address(), interface.mac);
        if let Some(mut frame) = v4::error(packet, own, error) {
            self.admit_error()?;
            address_frame(&mut frame, sender, own_mac);
            self.out.push(To::Network(input), &frame, Offload::NONE);
        }
        Ok(())
    }

    /// Tells the sender of a packet that is on its way out of `output`, translated perhaps: the error then finds back
    /// like one from outside.
    pub(super) fn tell_origin(
        &mut self,
        error: IcmpError,
        packet: &[u8],
        output: NetworkId,
    ) -> Result<(), DropReason> {
        let own = self.gateway.interface(output).ok_or(DropReason::NoRoute)?.address.address();
        let Some(mut frame) = v4::error(packet, own, error) else { return Ok(()) };
        self.admit_error()?;
        let bytes = &mut frame[EthernetHeader::LEN..];
        let mut ip = Ipv4Packet::parse(bytes)?;
        let mut packet = NatPacket { bytes, ip: &mut ip, partial_checksum: false };
        if let Known::Drop(reason) = self.gateway.nat.translate_known(&mut packet, self.now) {
            return Err(reason);
        }
        if self.gateway.routes.owner_of(packet.ip.dst).is_some() {
            // It was the switch itself that asked for something there.
            return Ok(());
        }
        let hop = self.gateway.routes.lookup(Source::Own, packet.ip.dst)?;
        // The sender knows the switch by its address there: RFC 1812, 4.3.2.4.
        let own = self.gateway.interface(hop.network).ok_or(DropReason::NoRoute)?.address.address();
        v4::set_source(packet.bytes, own);
        self.send(hop, frame)
    }

    /// Sends an answer, whose Ethernet addresses are still to be filled in, to the station that the frame came from.
    pub(super) fn answer(&mut self, mut frame: Vec<u8>, punted: &Punted<'_>) -> Result<(), DropReason> {
        let own_mac = self.gateway.interface(punted.input).ok_or(DropReason::NoService)?.mac;
        address_frame(&mut frame, punted.meta.src, own_mac);
        self.out.push(To::Network(punted.input), &frame, Offload::NONE);
        Ok(())
    }

    /// Whether one more error may be told, which whoever caused it has a share of.
    pub(super) fn admit_error(&mut self) -> Result<(), DropReason> {
        let is_admitted = self.out.errors.take(ERRORS, self.gateway.origin(), self.now);
        if is_admitted { Ok(()) } else { Err(DropReason::IcmpRateLimited) }
    }
}

pub(super) fn address_frame(frame: &mut [u8], dst: MacAddr, src: MacAddr) {
    frame[..6].copy_from_slice(&dst.octets());
    frame[6..12].copy_from_slice(&src.octets());
}

/// ICMP errors because of a port's frames, RFC 1812 4.3.2.8: a second as Linux's `icmp_msgs_per_sec`, and at once a traceroute of
/// a few hosts.
const ERRORS: Rate = Rate { per_second: 1000, burst: 100 };

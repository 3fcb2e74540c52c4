//! ARP of the switch itself: it answers for its own addresses, and asks for next hops. RFC 826, RFC 1027.

use std::net::Ipv4Addr;

use packet::builder::eth;
use packet::wire::{ArpPacket, FromBytes};
use packet::{DropReason, EtherType, MacAddr, NetworkId, Offload};

use super::outgoing::To;
use super::resolution::{Due, Waiting};
use super::slow::{IcmpError, Slow};
use crate::gateway::Gateway;
use crate::gateway::route::Hop;
use crate::punt::Punted;
use crate::runtime_config::Reach;

/// What it knows beside the gateway's neighbours and the questions about them.
#[derive(Debug, Default)]
pub(super) struct Arp {
    /// Who has spoken last, if nobody has asked for that yet.
    heard: Option<(Hop, MacAddr)>,
}

impl Arp {
    /// Takes an ARP packet.
    pub(super) fn serve(&mut self, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let input = punted.input;
        let interface = slow.gateway.interface(input).ok_or(DropReason::ArpNotForUs)?;
        let (own, own_mac, reach) = (interface.address, interface.mac, interface.reach);
        let (arp, _) = ArpPacket::ref_from_prefix(punted.packet()).map_err(|_| DropReason::BadArp)?;
        let (operation, sender_mac) = (arp.operation.get(), MacAddr::new(arp.sender_mac));
        let well_formed = (arp.hardware.get(), arp.hardware_len) == (1, 6)
            && (arp.protocol.get(), arp.protocol_len) == (EtherType::IPV4.0, 4)
            && matches!(operation, ArpPacket::REQUEST | ArpPacket::REPLY)
            && sender_mac == punted.meta.src;
        let (sender, target) = (Ipv4Addr::from(arp.sender_ip), Ipv4Addr::from(arp.target_ip));
        if !well_formed || sender == own.address() || own.is_edge(sender) {
            return Err(DropReason::BadArp);
        }
        let asks_us = operation == ArpPacket::REQUEST && answers_for(slow.gateway, target, input);
        let mut heard = Ok(());
        // A router may be outside of a subnet that is one host alone.
        if own.contains(sender) || reach == Reach::Uplink(Some(sender)) {
            let hop = Hop { network: input, address: sender };
            heard = slow.hear(hop, sender_mac, asks_us);
            self.heard = Some((hop, sender_mac));
        }
        if asks_us {
            let reply = eth().src(own_mac).dst(sender_mac);
            let reply = reply.arp(ArpPacket::REPLY, (own_mac, target), (sender_mac, sender));
            slow.out.push(To::Network(input), &reply, Offload::NONE);
            return Ok(());
        }
        if operation == ArpPacket::REPLY { heard } else { heard.and(Err(DropReason::ArpNotForUs)) }
    }

    /// The station that the last packet was from, and the address that it says to have.
    pub(super) const fn take_heard(&mut self) -> Option<(Hop, MacAddr)> {
        self.heard.take()
    }

    /// Asks for next hops, and gives up on silent ones.
    pub(super) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        for due in slow.resolution.on_timeout(slow.now, &mut slow.gateway.neighbours) {
            match due {
                Due::Ask(hop, mac) => slow.ask(hop, mac),
                Due::Failed(hop, waiting) => {
                    waiting.iter().for_each(|frame| fail(frame, hop, slow));
                }
            }
        }
    }
}

/// Nobody has the hop's address: the frame's sender is told.
fn fail(frame: &Waiting, hop: Hop, slow: &mut Slow<'_>) {
    slow.gateway.speak_for(frame.origin);
    slow.out.drops.count(DropReason::NeighbourUnreachable);
    if let Err(reason) = slow.tell_origin(IcmpError::HostUnreachable, frame.packet(), hop.network) {
        slow.out.drops.count(reason);
    }
}

/// Whether `address` is the switch's own there, or one of an uplink's subnet that NAT takes for others. RFC 1027.
fn answers_for(gateway: &Gateway, address: Ipv4Addr, network: NetworkId) -> bool {
    let Some(interface) = gateway.interface(network) else { return false };
    let is_uplink = matches!(interface.reach, Reach::Uplink(_));
    if interface.address.address() == address {
        return !interface.is_shared;
    }
    is_uplink
        && interface.address.contains(address)
        && gateway.nat.rules().stands_for_others(address, network)
}

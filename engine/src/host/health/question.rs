//! What a server is asked, and what it answers.

use std::net::{Ipv4Addr, SocketAddrV4};

use nat_engine::PortLease;
use packet::builder::eth;
use packet::checksum::Sum;
use packet::wire::{FromBytes, IcmpHeader, TcpHeader};
use packet::{Ipv4Packet, L4, MacAddr, Offload, Protocol};

use crate::report::CheckOutcome;
use crate::runtime_config::CheckKind;

/// A question that has not been answered yet.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) source: Ipv4Addr,
    /// The source port, or the identifier.
    pub(super) port: PortLease,
    /// The sequence number is its lower half; an echo carries it whole.
    pub(super) secret: u64,
}

impl Question {
    /// Its Ethernet addresses are still to be filled in.
    pub(super) fn frame(&self, kind: CheckKind, server: SocketAddrV4) -> Vec<u8> {
        let frame = eth().ipv4(self.source, *server.ip());
        match kind {
            CheckKind::Tcp => {
                let syn = frame.tcp(self.port.port(), server.port(), TcpHeader::SYN);
                syn.numbers(self.secret as u32, 0).payload(b"")
            }
            CheckKind::Icmp => {
                frame.icmp_echo(self.port.port(), self.secret as u16).payload(&self.secret.to_be_bytes())
            }
        }
    }

    /// The end of a connection that `server` accepted, with these Ethernet addresses.
    pub(super) fn reset(&self, server: SocketAddrV4, src: MacAddr, dst: MacAddr) -> Vec<u8> {
        let frame = eth().src(src).dst(dst).ipv4(self.source, *server.ip());
        let reset = frame.tcp(self.port.port(), server.port(), TcpHeader::RST);
        reset.numbers((self.secret as u32).wrapping_add(1), 0).payload(b"")
    }

    /// What the answer says, if it is one.
    pub(super) fn outcome(&self, packet: &[u8], ip: &Ipv4Packet, offload: Offload) -> Option<CheckOutcome> {
        let message = packet.get(usize::from(ip.header_len)..usize::from(ip.total_len))?;
        let pseudo = match ip.l4 {
            L4::Tcp => Sum::pseudo_header_v4(ip.src, ip.dst, ip.protocol.0, message.len() as u16),
            _ => Sum::ZERO,
        };
        let is_summed = !offload.needs_checksum && !offload.checksum_valid;
        if is_summed && pseudo.add(Sum::of(message)).checksum() != 0 {
            return None;
        }
        if ip.l4 != L4::Tcp {
            let (icmp, data) = IcmpHeader::ref_from_prefix(message).ok()?;
            let is_ours = icmp.seq.get() == self.secret as u16 && data == self.secret.to_be_bytes();
            return is_ours.then_some(CheckOutcome::Answered);
        }
        let (tcp, _) = TcpHeader::ref_from_prefix(message).ok()?;
        if tcp.ack.get() != (self.secret as u32).wrapping_add(1) {
            return None;
        }
        let is_reset = tcp.flags & TcpHeader::RST != 0;
        Some(if is_reset { CheckOutcome::Refused } else { CheckOutcome::Answered })
    }
}

impl CheckKind {
    /// Whose ports it takes.
    pub(super) const fn protocol(self) -> Protocol {
        match self {
            Self::Tcp => Protocol::TCP,
            Self::Icmp => Protocol::ICMP,
        }
    }
}

/// What may answer a SYN: a SYN-ACK, or an RST that acknowledges it. RFC 9293, 3.10.7.3.
pub(super) const fn is_answer(flags: u8) -> bool {
    let relevant = flags & (TcpHeader::SYN | TcpHeader::ACK | TcpHeader::RST);
    relevant == TcpHeader::SYN | TcpHeader::ACK || relevant == TcpHeader::RST | TcpHeader::ACK
}

//! ICMP errors about a flow's packets: they quote the packet, and follow its flow back to the sender. RFC 5508, 4.
//!
//! ```text
//! inside host A ─(A > R)─▶ NAT ─(P > R)─▶ router X: unreachable!
//!
//!                              arrives               leaves
//! outer IP header              X > P                 X > A        from R itself, or from the far side of a DNAT: the
//!   ICMP header                checksum              checksum     address that A knows it by
//!     quoted IP header         P > R, checksum       A > R
//!       quoted ports (8 bytes) P's port              A's port, and the checksum if it is quoted
//! ```
//!
//! The quoted identification stays what the packet left with: that of a packet that could be cut was another one inside (see
//! `fragments/identification.rs`), which nothing remembers and no host looks at.
//!
//! The quoted packet, reversed, has the tuple of the packets that travel in the error's direction: that finds the flow,
//! from outside and from inside alike. Errors never refresh or end a flow (RFC 4787 REQ-12, 5382 REQ-10, 5508 REQ-6).

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::checksum::{Delta, Sum};
use packet::offload::update_checksum;
use packet::wire::{FromBytes, IcmpHeader, Ipv4Header};
use packet::{DropReason, Protocol};

use crate::flows::flow::Flow;
use crate::flows::packet::{Known, NatPacket};
use crate::flows::table::FlowTable;
use crate::flows::tuple::Tuple;

/// Translates an ICMP error, outer and quoted headers; a miss if it is about no flow.
///
/// Drops: `BadIcmpChecksum` (RFC 5508 REQ-3), `BadIpChecksum` of the quoted header, `BadL4Header` if that is none,
/// `BadFragment`. Sums the whole message.
#[cold]
pub(crate) fn translate_error(packet: &mut NatPacket<'_>, flows: &FlowTable) -> Known {
    let quoted = match Quoted::read(packet) {
        Ok(Some(quoted)) => quoted,
        Ok(None) => return Known::Miss,
        Err(reason) => return Known::Drop(reason),
    };
    let arrives = quoted.tuple.reversed();
    let Some((id, direction)) = flows.find(arrives, flows.key(arrives)) else { return Known::Miss };
    let flow: &Flow = flows.get(id);
    // What the quoted packet was when it came here: the other direction's tuple.
    let sent = flow.tuple(direction.other());
    quoted.rewrite(packet, sent);
    // Whoever reports hides behind the far side's translated address, if there is one: RFC 5508 REQ-5.
    let far_side = flow.tuple(direction).source_address();
    let known_as = sent.destination_address();
    let src = if known_as == far_side { packet.ip.src } else { known_as };
    packet.rewrite_addresses(src, sent.source_address());
    Known::Translated
}

/// The packet inside an ICMP error. Offsets are from the outer IP header.
struct Quoted {
    tuple: Tuple,
    /// Where the quoted IP header starts.
    ip: usize,
    /// Where the quoted layer 4 starts.
    l4: usize,
    /// Where the quoted packet, or what is quoted of it, ends. Beyond that: extensions and padding, RFC 4884.
    end: usize,
}

impl Quoted {
    /// `None`: it can't be of a flow, or too little of it is quoted to tell.
    fn read(packet: &NatPacket<'_>) -> Result<Option<Self>, DropReason> {
        if packet.is_fragment() {
            return Err(DropReason::BadFragment);
        }
        let bytes = packet.packet_bytes();
        let message = bytes.get(usize::from(packet.ip.header_len)..).ok_or(DropReason::BadL4Header)?;
        if !packet.partial_checksum && Sum::of(message).fold() != 0xffff {
            return Err(DropReason::BadIcmpChecksum);
        }
        let ip = usize::from(packet.ip.header_len) + IcmpHeader::LEN;
        let quoted = bytes.get(ip..).ok_or(DropReason::BadL4Header)?;
        let (header, _) = Ipv4Header::ref_from_prefix(quoted).map_err(|_| DropReason::BadL4Header)?;
        let header_len = usize::from(header.version_ihl & 0xf) * 4;
        let with_options = quoted.get(..header_len).filter(|header| header.len() >= Ipv4Header::LEN);
        let with_options = with_options.filter(|_| header.version_ihl >> 4 == 4);
        if Sum::of(with_options.ok_or(DropReason::BadL4Header)?).fold() != 0xffff {
            return Err(DropReason::BadIpChecksum);
        }
        let end = quoted.len().min(usize::from(header.total_len.get()));
        let l4 = quoted.get(header_len..end).unwrap_or_default();
        let is_first = header.flags_fragment.get() & Ipv4Header::OFFSET_MASK == 0;
        let ports = ports_of(Protocol(header.protocol), l4).filter(|_| is_first);
        Ok(ports.map(|(source, destination)| Self {
            tuple: Tuple::new(
                Protocol(header.protocol),
                SocketAddrV4::new(header.source(), source),
                SocketAddrV4::new(header.destination(), destination),
            ),
            ip,
            l4: ip + header_len,
            end: ip + end,
        }))
    }

    /// Makes the quoted packet one that has the tuple `to`, and keeps all checksums right.
    fn rewrite(&self, packet: &mut NatPacket<'_>, to: Tuple) {
        let partial = packet.partial_checksum;
        let message = usize::from(packet.ip.header_len);
        let mut quoted =
            Editor { bytes: packet.bytes.get_mut(..self.end).unwrap_or_default(), delta: Delta::NONE };
        let from = self.tuple;
        let addresses = quoted
            .address(self.ip + 12, to.source_address())
            .and(quoted.address(self.ip + 16, to.destination_address()));
        quoted.word(self.ip + 10, |checksum| addresses.apply(checksum));
        let ports = Delta::NONE
            .u16(from.source_port(), to.source_port())
            .u16(from.destination_port(), to.destination_port());
        let checksum = |udp, addresses| {
            move |checksum: u16| {
                let mut field = checksum.to_be_bytes();
                update_checksum(&mut field, false, udp, addresses, ports);
                u16::from_be_bytes(field)
            }
        };
        match from.protocol() {
            Protocol::ICMP => {
                // One of the two is the identifier, the other is zero.
                quoted.word(self.l4 + ICMP_ID, |_| to.source_port() | to.destination_port());
                quoted.word(self.l4 + ICMP_CHECKSUM, checksum(false, Delta::NONE));
            }
            protocol if protocol.has_ports() => {
                quoted.word(self.l4, |_| to.source_port());
                quoted.word(self.l4 + 2, |_| to.destination_port());
                let udp = matches!(protocol, Protocol::UDP | Protocol::UDP_LITE);
                let at = if protocol == Protocol::TCP { TCP_CHECKSUM } else { UDP_CHECKSUM };
                quoted.word(self.l4 + at, checksum(udp, addresses));
            }
            _ => {}
        }
        let change = quoted.delta;
        if !partial {
            let mut outer = Editor { bytes: packet.bytes, delta: Delta::NONE };
            outer.word(message + ICMP_CHECKSUM, |checksum| change.apply(checksum));
        }
    }
}

/// Ports in the first 8 bytes of layer 4; `None` if there are fewer, or an ICMP message that is no query.
fn ports_of(protocol: Protocol, l4: &[u8]) -> Option<(u16, u16)> {
    let &[a, b, c, d, e, f, _, _] = l4.first_chunk()?;
    match protocol {
        _ if protocol.has_ports() => Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
        Protocol::ICMP => match a {
            IcmpHeader::ECHO_REQUEST | IcmpHeader::TIMESTAMP => Some((u16::from_be_bytes([e, f]), 0)),
            IcmpHeader::ECHO_REPLY | IcmpHeader::TIMESTAMP_REPLY => Some((0, u16::from_be_bytes([e, f]))),
            _ => None,
        },
        _ => Some((0, 0)),
    }
}

/// Offset of the checksum in a TCP header.
const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a header of UDP, UDP-Lite and DCCP.
const UDP_CHECKSUM: usize = 6;
/// Offset of the checksum in an ICMP message.
const ICMP_CHECKSUM: usize = 2;
/// Offset of the identifier in an ICMP query.
const ICMP_ID: usize = 4;

/// Changes 16-bit words and adds up what that changes in a checksum over them. Words that aren't there stay away.
struct Editor<'a> {
    bytes: &'a mut [u8],
    delta: Delta,
}

impl Editor<'_> {
    fn word(&mut self, at: usize, change: impl FnOnce(u16) -> u16) {
        if let Some(word) = self.bytes.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut()) {
            let old = u16::from_be_bytes(*word);
            let new = change(old);
            *word = new.to_be_bytes();
            self.delta = self.delta.u16(old, new);
        }
    }

    /// Returns the change of this address alone.
    fn address(&mut self, at: usize, new: Ipv4Addr) -> Delta {
        let [a, b, c, d] = new.octets();
        let before = std::mem::take(&mut self.delta);
        self.word(at, |_| u16::from_be_bytes([a, b]));
        self.word(at + 2, |_| u16::from_be_bytes([c, d]));
        let address = self.delta;
        self.delta = before.and(address);
        address
    }
}

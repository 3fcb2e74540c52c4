//! ICMP messages of the switch itself. RFC 792, RFC 1812 4.3.

use std::net::Ipv4Addr;

use packet::builder::eth;
use packet::checksum::Delta;
use packet::wire::{FromBytes, IcmpHeader, Ipv4Header};
use packet::{DropReason, Fragment, Ipv4Packet, L4, Protocol};

/// An error to be told to a packet's sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IcmpError {
    /// No route to the destination.
    NetworkUnreachable,
    /// Nobody answers ARP for the destination.
    HostUnreachable,
    /// Nothing serves that port.
    PortUnreachable,
    /// Larger than this MTU, and not to be fragmented. RFC 1191.
    FragmentationNeeded(u16),
    /// The network's mode forbids it. RFC 1812, code 13.
    Prohibited,
    /// The time to live ran out on the way.
    TimeExceeded,
}

impl IcmpError {
    /// Type, code and the four bytes behind the checksum.
    const fn header(self) -> (u8, u8, u32) {
        match self {
            Self::NetworkUnreachable => (IcmpHeader::UNREACHABLE, 0, 0),
            Self::HostUnreachable => (IcmpHeader::UNREACHABLE, 1, 0),
            Self::PortUnreachable => (IcmpHeader::UNREACHABLE, 3, 0),
            Self::FragmentationNeeded(mtu) => (IcmpHeader::UNREACHABLE, 4, mtu as u32),
            Self::Prohibited => (IcmpHeader::UNREACHABLE, 13, 0),
            Self::TimeExceeded => (IcmpHeader::TIME_EXCEEDED, 0, 0),
        }
    }
}

/// The frame (Ethernet addresses to be filled in) that tells `own`'s view of what went wrong with the IPv4 packet at
/// `about` to its sender; `None` where RFC 1812, 4.3.2.7, says to stay silent.
pub(crate) fn error(about: &[u8], own: Ipv4Addr, error: IcmpError) -> Option<Vec<u8>> {
    let packet = Ipv4Packet::parse(about).ok()?;
    let silent = packet.l4 == L4::IcmpError
        || packet.fragment == Fragment::Later
        || !is_unicast(packet.src)
        || !is_unicast(packet.dst);
    if silent {
        return None;
    }
    let quoted = &about[..usize::from(packet.total_len).min(QUOTED)];
    let (kind, code, rest) = error.header();
    let tos = about.get(1).map_or(0, |tos| tos & TOS);
    let header = |ip: &mut Ipv4Header| (ip.flags_fragment, ip.tos) = (0.into(), INTERNETWORK_CONTROL | tos);
    Some(eth().ipv4(own, packet.src).ip(header).icmp(kind, code, rest).payload(quoted))
}

/// Turns the echo request in `frame` (IPv4 packet at `l3`) into its reply, in place. A fragmented request is answered
/// fragment by fragment: only the first has the header to change, the others just go back.
///
/// # Errors
/// `NoService` if it is no echo request, `BadIcmpChecksum`.
pub(crate) fn answer_echo(bytes: &mut [u8], packet: &Ipv4Packet) -> Result<(), DropReason> {
    let header_len = usize::from(packet.header_len);
    let (ip, rest) = bytes.split_at_mut(header_len);
    let message = &mut rest[..usize::from(packet.total_len) - header_len];
    match (packet.protocol, packet.fragment, packet.l4) {
        (Protocol::ICMP, Fragment::Later, _) => {}
        (Protocol::ICMP, fragment, L4::EchoRequest) => {
            if fragment == Fragment::Whole && packet::checksum::of(message) != 0 {
                return Err(DropReason::BadIcmpChecksum);
            }
            let (icmp, _) = IcmpHeader::mut_from_prefix(message).map_err(|_| DropReason::BadL4Header)?;
            let words = (u16::from(icmp.kind) << 8, u16::from(IcmpHeader::ECHO_REPLY) << 8);
            icmp.kind = IcmpHeader::ECHO_REPLY;
            icmp.checksum = Delta::NONE.u16(words.0, words.1).apply(icmp.checksum.get()).into();
        }
        _ => return Err(DropReason::NoService),
    }
    let (ip, _) = Ipv4Header::mut_from_prefix(ip).map_err(|_| DropReason::BadIpHeader)?;
    // Swapping the addresses leaves the header's checksum as it is.
    std::mem::swap(&mut ip.src, &mut ip.dst);
    let old = u16::from(ip.ttl) << 8;
    ip.ttl = TTL;
    ip.checksum = Delta::NONE.u16(old, u16::from(TTL) << 8).apply(ip.checksum.get()).into();
    Ok(())
}

/// Makes `source` the sender of the IPv4 packet at `packet`, an ICMP message: its own checksum doesn't cover that.
pub(crate) fn set_source(packet: &mut [u8], source: Ipv4Addr) {
    if let Ok((ip, _)) = Ipv4Header::mut_from_prefix(packet) {
        let delta = Delta::NONE.u32(ip.source().to_bits(), source.to_bits());
        ip.src = source.octets();
        ip.checksum = delta.apply(ip.checksum.get()).into();
    }
}

fn is_unicast(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback())
}

/// An error fits 576 bytes with its own headers. RFC 1812, 4.3.2.3.
const QUOTED: usize = 576 - 20 - 8;
/// The precedence of errors, RFC 1812, 4.3.2.5; as a DS field it is class selector 6 (RFC 2474, 4.2.2).
const INTERNETWORK_CONTROL: u8 = 0xc0;
/// What an error takes over of the type of service that it is about; not the last two bits, which are ECN's now.
const TOS: u8 = 0x1c;
/// RFC 1700's recommended default.
const TTL: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn an_echo_request_becomes_its_reply_with_right_checksums() {
        let mut frame = eth().ipv4(A, B).ttl(7).icmp_echo(5, 6).payload(b"data");
        let packet = Ipv4Packet::parse(&frame[14..]).unwrap();
        answer_echo(&mut frame[14..], &packet).unwrap();
        assert_eq!(frame, eth().ipv4(B, A).icmp_echo_reply(5, 6).payload(b"data"));
    }

    #[test]
    fn rfc5508_req10d_an_error_has_the_precedence_of_control_and_the_service_of_what_it_is_about() {
        for (tos, expected) in [(0, 0xc0), (0xb8 | 1, 0xd8), (0x10, 0xd0), (0x20, 0xc0)] {
            let about = eth().ipv4(A, B).ip(|ip| ip.tos = tos).udp(1, 2).payload(b"");
            assert_eq!(error(&about[14..], B, IcmpError::TimeExceeded).unwrap()[15], expected, "{tos:#x}");
        }
    }

    #[test]
    fn an_error_quotes_the_packet_and_fits_576_bytes() {
        let about = eth().ipv4(A, B).udp(1, 2).payload(&[1; 1400]);
        let frame = error(&about[14..], B, IcmpError::FragmentationNeeded(1400)).unwrap();
        let packet = Ipv4Packet::parse(&frame[14..]).unwrap();
        assert_eq!((packet.src, packet.dst, packet.total_len), (B, A, 576));
        assert_eq!(packet::checksum::of(&frame[34..]), 0);
        assert_eq!(frame[34..42][6..], 1400_u16.to_be_bytes());
        assert_eq!(frame[42..], about[14..14 + QUOTED]);
    }

    #[test]
    fn rfc1812_no_error_about_errors_fragments_or_broadcasts() {
        let later = |ip: &mut Ipv4Header| ip.flags_fragment = 5.into();
        for about in [
            eth().ipv4(A, B).icmp(3, 1, 0).payload(&[0; 28]),
            eth().ipv4(A, B).ip(later).payload(&[0; 28]),
            eth().ipv4(A, Ipv4Addr::BROADCAST).udp(1, 2).payload(b""),
            eth().ipv4(Ipv4Addr::UNSPECIFIED, B).udp(1, 2).payload(b""),
        ] {
            assert_eq!(error(&about[14..], B, IcmpError::HostUnreachable), None);
        }
    }
}

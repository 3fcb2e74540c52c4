//! ICMPv6 messages of the switch itself. RFC 4443.

use std::net::Ipv6Addr;

use packet::builder::eth;
use packet::checksum::{Delta, Sum};
use packet::wire::{FromBytes, IcmpHeader, Ipv6Header};
use packet::{DropReason, Fragment, Ipv6Packet, L4, Protocol, icmp6};

/// An error to be told to a packet's sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Icmp6Error {
    /// No route to the destination.
    NoRoute,
    /// The network's mode forbids it.
    Prohibited,
    /// A link-local source wants to go further than its link.
    BeyondScope,
    /// Nobody says to have the address.
    AddressUnreachable,
    /// Nothing serves that port.
    PortUnreachable,
    /// Larger than this MTU.
    TooBig(u32),
    /// The hop limit ran out.
    TimeExceeded,
    /// A field of a header makes no sense: where it is in the packet.
    BadField(u32),
    /// A next header that is unknown here: where it stands.
    UnknownHeader(u32),
    /// An option that is unknown here: where it stands.
    UnknownOption(u32),
}

impl Icmp6Error {
    /// Type, code and the four bytes behind the checksum.
    const fn header(self) -> (u8, u8, u32) {
        match self {
            Self::NoRoute => (icmp6::UNREACHABLE, 0, 0),
            Self::Prohibited => (icmp6::UNREACHABLE, 1, 0),
            Self::BeyondScope => (icmp6::UNREACHABLE, 2, 0),
            Self::AddressUnreachable => (icmp6::UNREACHABLE, 3, 0),
            Self::PortUnreachable => (icmp6::UNREACHABLE, 4, 0),
            Self::TooBig(mtu) => (icmp6::TOO_BIG, 0, mtu),
            Self::TimeExceeded => (icmp6::TIME_EXCEEDED, 0, 0),
            Self::BadField(at) => (icmp6::PARAMETER_PROBLEM, 0, at),
            Self::UnknownHeader(at) => (icmp6::PARAMETER_PROBLEM, 1, at),
            Self::UnknownOption(at) => (icmp6::PARAMETER_PROBLEM, 2, at),
        }
    }

    /// Whether it is told about a packet to a group, too. RFC 4443, 2.4 e.3.
    const fn is_about_groups(self) -> bool {
        matches!(self, Self::TooBig(_) | Self::UnknownOption(_))
    }
}

/// The frame (Ethernet addresses to be filled in) that tells `own`'s view of what went wrong with the IPv6 packet at
/// `about` to its sender; `None` where RFC 4443, 2.4 e, says to stay silent.
pub(crate) fn error(about: &[u8], own: Ipv6Addr, error: Icmp6Error) -> Option<Vec<u8>> {
    let ip = Ipv6Packet::parse(about).ok()?;
    let is_icmp = ip.protocol == Protocol::ICMPV6;
    let is_redirect = is_icmp && ip.payload(about).first() == Some(&icmp6::REDIRECT);
    let is_error = ip.l4 == L4::IcmpError || (is_icmp && ip.fragment == Fragment::Later);
    let is_nobody = ip.src.is_unspecified() || ip.src.is_multicast();
    if is_error || is_redirect || is_nobody || (ip.dst.is_multicast() && !error.is_about_groups()) {
        return None;
    }
    let quoted = &about[..(ip.total_len as usize).min(QUOTED)];
    let (kind, code, rest) = error.header();
    Some(eth().ipv6(own, ip.src).icmp6(kind, code, rest).payload(quoted))
}

/// Whether the checksum of the ICMPv6 message in the packet `ip` at `bytes` is right.
pub(crate) fn is_summed(bytes: &[u8], ip: &Ipv6Packet) -> bool {
    let message = ip.payload(bytes);
    let pseudo =
        Sum::pseudo_header_v6(ip.src.octets(), ip.dst.octets(), Protocol::ICMPV6.0, message.len() as u32);
    pseudo.add(Sum::of(message)).checksum() == 0
}

/// Turns the echo request at `bytes` into its reply, in place: nothing is behind the IPv6 header, or the fragment header
/// alone. A fragmented request is answered fragment by fragment: only the first has the header to change, the others go back.
///
/// # Errors
/// `NoService` if it is no echo request.
pub(crate) fn answer_echo(bytes: &mut [u8], ip: &Ipv6Packet) -> Result<(), DropReason> {
    let (header, message) = bytes.split_at_mut(usize::from(ip.header_len));
    match (ip.fragment, ip.l4) {
        (Fragment::Later, _) => {}
        (_, L4::EchoRequest) => {
            let (icmp, _) = IcmpHeader::mut_from_prefix(message).map_err(|_| DropReason::BadL4Header)?;
            let (old, new) = (u16::from(icmp6::ECHO_REQUEST) << 8, u16::from(icmp6::ECHO_REPLY) << 8);
            icmp.kind = icmp6::ECHO_REPLY;
            icmp.checksum = Delta::NONE.u16(old, new).apply(icmp.checksum.get()).into();
        }
        _ => return Err(DropReason::NoService),
    }
    let (header, _) = Ipv6Header::mut_from_prefix(header).map_err(|_| DropReason::BadIpHeader)?;
    // Swapping the addresses leaves the sum as it is.
    std::mem::swap(&mut header.src, &mut header.dst);
    header.hop_limit = HOPS;
    Ok(())
}

/// The same in a frame of its own, from `own`: the request has other headers, or went to a group.
pub(crate) fn echo_reply(bytes: &[u8], ip: &Ipv6Packet, own: Ipv6Addr) -> Option<Vec<u8>> {
    let &[_, _, _, _, a, b, c, d, ref data @ ..] = ip.payload(bytes) else { return None };
    let rest = u32::from_be_bytes([a, b, c, d]);
    Some(eth().ipv6(own, ip.src).icmp6(icmp6::ECHO_REPLY, 0, rest).payload(data))
}

/// An error fits the least MTU of IPv6 with its own headers. RFC 4443, 2.4 c.
const QUOTED: usize = 1280 - 40 - 8;
/// RFC 1700's recommended default.
const HOPS: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xa);
    const B: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xb);

    #[test]
    fn an_echo_request_becomes_its_reply_with_a_right_checksum() {
        let mut frame = eth().ipv6(A, B).hop_limit(7).icmp6(128, 0, 5 << 16 | 6).payload(b"data");
        let ip = Ipv6Packet::parse(&frame[14..]).unwrap();
        assert!(is_summed(&frame[14..], &ip));
        let reply = eth().ipv6(B, A).icmp6(129, 0, 5 << 16 | 6).payload(b"data");
        assert_eq!(echo_reply(&frame[14..], &ip, B).unwrap(), reply);
        answer_echo(&mut frame[14..], &ip).unwrap();
        assert_eq!(frame, reply);
    }

    #[test]
    fn rfc4443_2_4_c_an_error_quotes_the_packet_and_fits_1280_bytes() {
        let about = eth().ipv6(A, B).udp(1, 2).payload(&[1; 1400]);
        let frame = error(&about[14..], B, Icmp6Error::TooBig(1300)).unwrap();
        let ip = Ipv6Packet::parse(&frame[14..]).unwrap();
        assert_eq!((ip.src, ip.dst, ip.total_len, frame[54], frame[55]), (B, A, 1280, 2, 0));
        assert!(is_summed(&frame[14..], &ip));
        assert_eq!(frame[58..62], 1300_u32.to_be_bytes());
        assert_eq!(frame[62..], about[14..14 + QUOTED]);
    }

    #[test]
    fn rfc4443_2_4_e_nothing_is_told_about_errors_groups_and_nobody() {
        let group = packet::ALL_NODES;
        for about in [
            eth().ipv6(A, B).icmp6(1, 4, 0).payload(&[0; 48]),
            eth().ipv6(A, B).icmp6(137, 0, 0).payload(&[0; 32]),
            eth().ipv6(A, group).udp(1, 2).payload(b""),
            eth().ipv6(Ipv6Addr::UNSPECIFIED, B).udp(1, 2).payload(b""),
            eth().ipv6(group, B).udp(1, 2).payload(b""),
        ] {
            assert_eq!(error(&about[14..], B, Icmp6Error::PortUnreachable), None);
        }
        let about = eth().ipv6(A, group).udp(1, 2).payload(b"");
        assert!(error(&about[14..], B, Icmp6Error::TooBig(1280)).is_some());
        assert!(error(&about[14..], B, Icmp6Error::UnknownOption(40)).is_some());
    }
}

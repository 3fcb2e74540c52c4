//! Extension headers of IPv6 packets that end at the switch: options that it has to know, and routes that it doesn't take.
//! RFC 8200 4.2 and 4.4, RFC 5095.

use packet::{DropReason, Ipv6Packet, Protocol};

use super::slow6::Icmp6Error;

/// What is wrong with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Problem {
    /// It is dropped.
    Silent(DropReason),
    /// And its sender is told.
    Told(Icmp6Error),
}

/// Looks at the headers in front of layer 4 of `ip`, which was read from `bytes`.
pub(super) fn check(bytes: &[u8], ip: &Ipv6Packet) -> Result<(), Problem> {
    const CUT: Problem = Problem::Silent(DropReason::BadIpHeader);
    let end = usize::from(ip.header_len);
    let (mut next, mut at) = (Protocol(*bytes.get(NEXT_HEADER).ok_or(CUT)?), IPV6);
    while at < end {
        let &[following, len, ..] = bytes.get(at..end).ok_or(CUT)? else { return Err(CUT) };
        let len = match next {
            Protocol::FRAGMENT => 8,
            Protocol::AUTHENTICATION => (usize::from(len) + 2) * 4,
            _ => (usize::from(len) + 1) * 8,
        };
        let header = bytes.get(at..(at + len).min(end)).ok_or(CUT)?;
        match next {
            Protocol::HOP_BY_HOP | Protocol::DESTINATION_OPTIONS => options(header, at, ip)?,
            // Segments are left, of a kind that is unknown here: all are. RFC 8200, 4.4.
            Protocol::ROUTING if header.get(3).is_some_and(|&left| left != 0) => {
                return Err(Problem::Told(Icmp6Error::BadField(at as u32 + 2)));
            }
            _ => {}
        }
        (next, at) = (Protocol(following), at + len);
    }
    Ok(())
}

/// Looks at the options in a header that starts `at` there.
fn options(header: &[u8], at: usize, ip: &Ipv6Packet) -> Result<(), Problem> {
    let mut place = 2;
    while let Some(&kind) = header.get(place) {
        if kind == PAD_1 {
            place += 1;
            continue;
        }
        let len = header.get(place + 1).map(|&len| usize::from(len) + 2);
        let len = len.filter(|len| place + len <= header.len());
        let len = len.ok_or(Problem::Silent(DropReason::BadIpHeader))?;
        let problem = Problem::Told(Icmp6Error::UnknownOption((at + place) as u32));
        match kind >> 6 {
            _ if matches!(kind, PAD_N | ROUTER_ALERT) => {}
            0 => {}
            1 => return Err(Problem::Silent(DropReason::UnknownOption)),
            3 if ip.dst.is_multicast() => return Err(Problem::Silent(DropReason::UnknownOption)),
            _ => return Err(problem),
        }
        place += len;
    }
    Ok(())
}

const IPV6: usize = packet::wire::Ipv6Header::LEN;
/// Where the next header stands in IPv6's.
const NEXT_HEADER: usize = 6;
/// Options that are known here. RFC 8200, 4.2; RFC 2711.
const PAD_1: u8 = 0;
const PAD_N: u8 = 1;
const ROUTER_ALERT: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use packet::builder::eth;
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    const A: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xa);

    fn judge(dst: Ipv6Addr, kind: Protocol, header: [u8; 8]) -> Result<(), Problem> {
        let frame = eth().ipv6(A, dst).extension(kind, &header).udp(1, 2).payload(b"");
        check(&frame[14..], &Ipv6Packet::parse(&frame[14..]).unwrap())
    }

    #[test]
    fn rfc8200_4_2_the_first_bits_of_an_unknown_option_say_what_becomes_of_it() {
        let group = packet::ALL_NODES;
        let option = |dst, kind| judge(dst, Protocol::DESTINATION_OPTIONS, [0, 0, kind, 4, 0, 0, 0, 0]);
        let silent = Err(Problem::Silent(DropReason::UnknownOption));
        let told = Err(Problem::Told(Icmp6Error::UnknownOption(42)));
        assert_eq!([option(A, 0x3e), option(A, PAD_N)], [Ok(()); 2]);
        assert_eq!([option(A, 0x7e), option(group, 0x7e)], [silent; 2]);
        assert_eq!([option(A, 0xbe), option(group, 0xbe), option(A, 0xfe)], [told; 3]);
        assert_eq!(option(group, 0xfe), silent);
    }

    #[test]
    fn an_option_that_ends_behind_its_header_is_refused() {
        let bad = judge(A, Protocol::DESTINATION_OPTIONS, [0, 0, 0x3e, 5, 0, 0, 0, 0]);
        assert_eq!(bad, Err(Problem::Silent(DropReason::BadIpHeader)));
        let padded = judge(A, Protocol::HOP_BY_HOP, [0; 8]);
        assert_eq!(padded, Ok(()));
    }

    #[test]
    fn rfc5095_routes_of_type_0_are_not_taken() {
        let route = |left| judge(A, Protocol::ROUTING, [0, 0, 0, left, 0, 0, 0, 0]);
        assert_eq!(route(1), Err(Problem::Told(Icmp6Error::BadField(42))));
        assert_eq!(route(0), Ok(()), "it ends here");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_survived(kind: bool, header in proptest::collection::vec(any::<u8>(), 8..64)) {
            let kind = if kind { Protocol::ROUTING } else { Protocol::DESTINATION_OPTIONS };
            let mut header = header;
            header.truncate(header.len() / 8 * 8);
            header[1] = (header.len() / 8 - 1) as u8;
            let frame = eth().ipv6(A, A).extension(kind, &header).udp(1, 2).payload(b"");
            let _ = check(&frame[14..], &Ipv6Packet::parse(&frame[14..]).unwrap());
        }
    }
}

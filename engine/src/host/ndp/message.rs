//! Messages of neighbour discovery, checked as RFC 4861 has it: 6.1.1, 6.1.2, 7.1, 8.1.

use std::net::Ipv6Addr;

use packet::{DropReason, Ipv6Packet, MacAddr, icmp6};

use crate::host::wire6::{SOURCE, TARGET};

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    /// A host asks for routers; it may say who it is.
    RouterSolicitation { source: Option<MacAddr> },
    /// A router tells what it offers.
    RouterAdvertisement,
    /// Who has `target`? Whoever asks may say who it is.
    Solicitation { target: Ipv6Addr, source: Option<MacAddr> },
    /// Somebody has `target`.
    Advertisement { target: Ipv6Addr, mac: Option<MacAddr>, is_solicited: bool },
    /// A router tells of a better one.
    Redirect,
}

impl Message {
    /// Reads the message at `icmp`, whose checksum is right, of the packet `ip`; `None`: it is of no kind of these.
    ///
    /// # Errors
    /// `BadNdp`: it isn't valid, or came by a router, or in fragments (RFC 6980).
    pub(crate) fn parse(ip: &Ipv6Packet, icmp: &[u8]) -> Result<Option<Self>, DropReason> {
        const BAD: DropReason = DropReason::BadNdp;
        let &[kind, code, ..] = icmp else { return Err(BAD) };
        if !(icmp6::ROUTER_SOLICITATION..=icmp6::REDIRECT).contains(&kind) {
            return Ok(None);
        }
        if ip.hop_limit != u8::MAX || code != 0 || ip.has_fragment_header {
            return Err(BAD);
        }
        let message = Self::read(kind, ip, icmp)?;
        let is_routers = matches!(message, Self::RouterAdvertisement | Self::Redirect);
        let says_who = matches!(
            message,
            Self::RouterSolicitation { source: Some(_) } | Self::Solicitation { source: Some(_), .. }
        );
        if (is_routers && !ip.src.is_unicast_link_local()) || (says_who && ip.src.is_unspecified()) {
            return Err(BAD);
        }
        Ok(Some(message))
    }

    fn read(kind: u8, ip: &Ipv6Packet, icmp: &[u8]) -> Result<Self, DropReason> {
        const BAD: DropReason = DropReason::BadNdp;
        let options = |at: usize| Options::read(icmp.get(at..).ok_or(BAD)?);
        let anonymous = ip.src.is_unspecified();
        let target = || {
            let octets: [u8; 16] = icmp.get(8..24).and_then(|octets| octets.try_into().ok()).ok_or(BAD)?;
            let target = Ipv6Addr::from(octets);
            if target.is_multicast() { Err(BAD) } else { Ok(target) }
        };
        Ok(match kind {
            icmp6::ROUTER_SOLICITATION => Self::RouterSolicitation { source: options(8)?.source },
            icmp6::ROUTER_ADVERTISEMENT => {
                options(16)?;
                Self::RouterAdvertisement
            }
            icmp6::NEIGHBOUR_SOLICITATION => {
                let (target, source) = (target()?, options(24)?.source);
                if anonymous && ip.dst != packet::solicited_node(target) {
                    return Err(BAD);
                }
                Self::Solicitation { target, source }
            }
            icmp6::NEIGHBOUR_ADVERTISEMENT => {
                let (target, mac, is_solicited) = (target()?, options(24)?.target, icmp[4] & SOLICITED != 0);
                if anonymous || (ip.dst.is_multicast() && is_solicited) {
                    return Err(BAD);
                }
                Self::Advertisement { target, mac, is_solicited }
            }
            _ => {
                options(40)?;
                Self::Redirect
            }
        })
    }
}

/// What options say; of others only the length counts.
#[derive(Clone, Copy, Default)]
struct Options {
    source: Option<MacAddr>,
    target: Option<MacAddr>,
}

impl Options {
    /// RFC 4861, 4.6: a length of 0, or beyond the message, spoils all of it. A link-layer address has 8 bytes here.
    fn read(mut bytes: &[u8]) -> Result<Self, DropReason> {
        let mut options = Self::default();
        while let &[kind, len, ..] = bytes {
            let (option, rest) = bytes.split_at_checked(usize::from(len) * 8).ok_or(DropReason::BadNdp)?;
            match (kind, option) {
                (_, []) => return Err(DropReason::BadNdp),
                (SOURCE | TARGET, &[_, _, a, b, c, d, e, f]) => {
                    let mac = MacAddr::new([a, b, c, d, e, f]);
                    if !mac.is_station() {
                        return Err(DropReason::BadNdp);
                    }
                    *(if kind == SOURCE { &mut options.source } else { &mut options.target }) = Some(mac);
                }
                (SOURCE | TARGET, _) => return Err(DropReason::BadNdp),
                _ => {}
            }
            bytes = rest;
        }
        if bytes.is_empty() { Ok(options) } else { Err(DropReason::BadNdp) }
    }
}

/// An advertisement answers a question.
const SOLICITED: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::wire6::link_layer_address;
    use packet::builder::eth;
    use proptest::prelude::*;

    const A: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa);
    const B: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xb);
    const MAC: MacAddr = MacAddr::local(7);

    fn read(
        src: Ipv6Addr,
        dst: Ipv6Addr,
        hops: u8,
        kind: u8,
        body: &[u8],
    ) -> Result<Option<Message>, DropReason> {
        let frame = eth().ipv6(src, dst).hop_limit(hops).icmp6(kind, 0, 0).payload(body);
        let ip = Ipv6Packet::parse(&frame[14..]).unwrap();
        Message::parse(&ip, ip.payload(&frame[14..]))
    }

    fn with(target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
        [&target.octets(), options].concat()
    }

    #[test]
    fn rfc4861_7_1_1_a_solicitation_is_valid_only_as_it_says() {
        let source = link_layer_address(SOURCE, MAC);
        let valid = Ok(Some(Message::Solicitation { target: B, source: Some(MAC) }));
        assert_eq!(read(A, B, 255, 135, &with(B, &source)), valid);
        let group = packet::solicited_node(B);
        let anonymous = Ok(Some(Message::Solicitation { target: B, source: None }));
        assert_eq!(read(Ipv6Addr::UNSPECIFIED, group, 255, 135, &with(B, &[])), anonymous);
        let bad = Err(DropReason::BadNdp);
        assert_eq!(read(A, B, 254, 135, &with(B, &source)), bad, "it came by a router");
        assert_eq!(read(A, B, 255, 135, &B.octets()[..15]), bad, "too short");
        assert_eq!(read(A, B, 255, 135, &with(packet::ALL_NODES, &source)), bad, "a group has no station");
        assert_eq!(read(Ipv6Addr::UNSPECIFIED, B, 255, 135, &with(B, &[])), bad, "not to the group");
        assert_eq!(read(Ipv6Addr::UNSPECIFIED, group, 255, 135, &with(B, &source)), bad, "nobody has a MAC");
    }

    #[test]
    fn rfc4861_7_1_2_an_advertisement_is_valid_only_as_it_says() {
        let body = with(B, &link_layer_address(TARGET, MAC));
        let valid = Ok(Some(Message::Advertisement { target: B, mac: Some(MAC), is_solicited: false }));
        assert_eq!(read(A, packet::ALL_NODES, 255, 136, &body), valid);
        let bad = Err(DropReason::BadNdp);
        assert_eq!(read(A, packet::ALL_NODES, 1, 136, &body), bad);
        assert_eq!(read(Ipv6Addr::UNSPECIFIED, A, 255, 136, &body), bad);
        let mut frame =
            eth().ipv6(A, packet::ALL_NODES).hop_limit(255).icmp6(136, 0, 0x4000_0000).payload(&body);
        let ip = Ipv6Packet::parse(&frame[14..]).unwrap();
        assert_eq!(Message::parse(&ip, ip.payload(&frame[14..])), bad, "nobody asked for what goes to all");
        frame[55] = 1;
        assert_eq!(Message::parse(&ip, ip.payload(&frame[14..])), bad, "another code");
    }

    #[test]
    fn rfc4861_6_1_router_messages_are_valid_only_as_they_say() {
        let source = link_layer_address(SOURCE, MAC);
        let routers = packet::ALL_ROUTERS;
        assert_eq!(
            read(A, routers, 255, 133, &source),
            Ok(Some(Message::RouterSolicitation { source: Some(MAC) }))
        );
        assert_eq!(
            read(Ipv6Addr::UNSPECIFIED, routers, 255, 133, &[]),
            Ok(Some(Message::RouterSolicitation { source: None }))
        );
        let bad = Err(DropReason::BadNdp);
        assert_eq!(read(Ipv6Addr::UNSPECIFIED, routers, 255, 133, &source), bad);
        assert_eq!(read(A, packet::ALL_NODES, 255, 134, &[0; 8]), Ok(Some(Message::RouterAdvertisement)));
        let global = "fd00::1".parse().unwrap();
        assert_eq!(read(global, packet::ALL_NODES, 255, 134, &[0; 8]), bad, "not link-local");
        assert_eq!(read(A, B, 255, 137, &[0; 32]), Ok(Some(Message::Redirect)));
    }

    #[test]
    fn rfc6980_messages_in_fragments_are_refused() {
        let frame = eth().ipv6(A, B).hop_limit(255).extension(packet::Protocol::FRAGMENT, &[0; 8]);
        let frame = frame.icmp6(135, 0, 0).payload(&with(B, &[]));
        let ip = Ipv6Packet::parse(&frame[14..]).unwrap();
        assert_eq!(Message::parse(&ip, ip.payload(&frame[14..])), Err(DropReason::BadNdp));
    }

    #[test]
    fn every_option_with_every_impossible_length_spoils_the_message() {
        for kind in 0..=u8::MAX {
            for len in [0_u8, 2, 3, 31, 255] {
                let option = [kind, len, 2, 0, 0, 0, 0, 1];
                for message in [133, 134, 135, 136, 137] {
                    let body = match message {
                        133 => option.to_vec(),
                        134 => [&[0; 8][..], &option].concat(),
                        137 => [&[0; 32][..], &option].concat(),
                        _ => with(B, &option),
                    };
                    let read = read(A, B, 255, message, &body);
                    assert_eq!(read, Err(DropReason::BadNdp), "{message} {kind} {len}");
                }
            }
            // As long as it says, but no address of Ethernet's.
            let long = [vec![kind, 2], vec![0; 14]].concat();
            let is_address = matches!(kind, SOURCE | TARGET);
            assert_eq!(read(A, B, 255, 135, &with(B, &long)).is_err(), is_address);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_survived(kind: u8, body in proptest::collection::vec(any::<u8>(), 0..120), hops: u8) {
            let _ = read(A, B, hops, kind, &body);
        }
    }
}

//! The headers between IPv6's own and layer 4. RFC 8200, 4.
//!
//! ```text
//! IPv6 ─▶ hop-by-hop ─▶ destination options ─▶ routing ─▶ fragment ─▶ authentication ─▶ … ─▶ layer 4
//! ```
//!
//! Each says how long it is and what comes next, so a chain is walked once, from the front. A host sends three or four; who
//! sends more than [`LIMIT`] wants to keep somebody busy, or to hide something.

use crate::{DropReason, Fragment, Protocol};

/// What a walk along the headers found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain {
    /// What comes behind them.
    pub protocol: Protocol,
    /// Where that starts, from the IPv6 header's first byte.
    pub end: usize,
    /// Where `protocol` stands as the next header, from the IPv6 header's first byte.
    pub next_at: usize,
    /// The fragment header, if there is one.
    pub fragment: Option<FragmentHeader>,
    /// Where a routing header starts, if there is one.
    pub routing_at: Option<usize>,
}

/// Which part of a packet a fragment is. RFC 8200, 4.5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentHeader {
    /// Where it starts, from the IPv6 header's first byte.
    pub at: usize,
    /// Where its payload belongs, in bytes; a multiple of 8.
    pub offset: u16,
    /// More follow.
    pub more: bool,
    /// What all fragments of a packet have in common.
    pub id: u32,
}

impl FragmentHeader {
    /// Its length in bytes.
    pub const LEN: usize = 8;

    /// Which part it is. An atomic fragment, the only one, is a whole packet: RFC 6946.
    pub const fn part(self) -> Fragment {
        match (self.offset, self.more) {
            (0, false) => Fragment::Whole,
            (0, true) => Fragment::First,
            _ => Fragment::Later,
        }
    }
}

/// Walks along the headers of the packet that starts at `bytes`, whose IPv6 header names `first` as the next.
///
/// A later fragment ends the walk: what is behind its header is payload. So does a hop-by-hop header that isn't the first,
/// which is none.
///
/// # Errors
/// `BadIpHeader` if a header goes on beyond the packet, `TooManyExtensions`.
pub fn walk(first: u8, bytes: &[u8]) -> Result<Chain, DropReason> {
    let mut chain = Chain {
        protocol: Protocol(first),
        end: IPV6,
        next_at: NEXT_HEADER,
        fragment: None,
        routing_at: None,
    };
    for _ in 0..=LIMIT {
        let is_first = chain.end == IPV6;
        let rest = bytes.get(chain.end..).unwrap_or_default();
        let len = match (chain.protocol, rest) {
            (Protocol::HOP_BY_HOP, _) if !is_first => return Ok(chain),
            (Protocol::HOP_BY_HOP | Protocol::ROUTING | Protocol::DESTINATION_OPTIONS, &[_, len, ..]) => {
                (usize::from(len) + 1) * 8
            }
            (Protocol::AUTHENTICATION, &[_, len, ..]) => (usize::from(len) + 2) * 4,
            (Protocol::FRAGMENT, &[_, _, o0, o1, i0, i1, i2, i3, ..]) => {
                let field = u16::from_be_bytes([o0, o1]);
                let (offset, more) = (field & !7, field & 1 != 0);
                let id = u32::from_be_bytes([i0, i1, i2, i3]);
                chain.fragment = Some(FragmentHeader { at: chain.end, offset, more, id });
                FragmentHeader::LEN
            }
            (
                Protocol::HOP_BY_HOP
                | Protocol::ROUTING
                | Protocol::DESTINATION_OPTIONS
                | Protocol::AUTHENTICATION
                | Protocol::FRAGMENT,
                _,
            ) => return Err(DropReason::BadIpHeader),
            _ => return Ok(chain),
        };
        if chain.protocol == Protocol::ROUTING {
            chain.routing_at = Some(chain.end);
        }
        (chain.protocol, chain.next_at) = (Protocol(rest[0]), chain.end);
        chain.end += len;
        if chain.end > bytes.len() {
            return Err(DropReason::BadIpHeader);
        }
        if chain.fragment.is_some_and(|fragment| fragment.offset != 0) {
            return Ok(chain);
        }
    }
    Err(DropReason::TooManyExtensions)
}

/// Headers that are walked over: each of RFC 8200's order once, destination options twice, and two to spare.
pub const LIMIT: usize = 8;

const IPV6: usize = crate::wire::Ipv6Header::LEN;
/// Where the next header stands in IPv6's.
const NEXT_HEADER: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPTIONS: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

    /// A packet with these headers, each given what comes next, and then 8 bytes.
    fn packet(headers: &[(Protocol, &[u8])], last: Protocol) -> (u8, Vec<u8>) {
        let mut bytes = vec![0; IPV6];
        for (index, (_, header)) in headers.iter().enumerate() {
            let start = bytes.len();
            bytes.extend_from_slice(header);
            bytes[start] = headers.get(index + 1).map_or(last, |next| next.0).0;
        }
        bytes.extend_from_slice(&[0; 8]);
        (headers.first().map_or(last, |first| first.0).0, bytes)
    }

    #[test]
    fn a_chain_is_walked_to_layer_4() {
        let fragment = [0, 0, 0, 1, 0, 0, 0, 9];
        let (first, bytes) = packet(
            &[
                (Protocol::HOP_BY_HOP, &OPTIONS),
                (Protocol::ROUTING, &OPTIONS),
                (Protocol::FRAGMENT, &fragment),
                (
                    Protocol::AUTHENTICATION,
                    &[0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                ),
                (Protocol::DESTINATION_OPTIONS, &OPTIONS),
            ],
            Protocol::UDP,
        );
        let chain = walk(first, &bytes).unwrap();
        assert_eq!((chain.protocol, chain.end, chain.next_at), (Protocol::UDP, 96, 88));
        assert_eq!(chain.routing_at, Some(48));
        assert_eq!(chain.fragment, Some(FragmentHeader { at: 56, offset: 0, more: true, id: 9 }));
    }

    #[test]
    fn a_later_fragment_ends_the_walk_and_an_atomic_one_does_not() {
        let atomic = [(Protocol::FRAGMENT, &[0_u8; 8][..]), (Protocol::DESTINATION_OPTIONS, &OPTIONS)];
        let (first, bytes) = packet(&atomic, Protocol::TCP);
        let chain = walk(first, &bytes).unwrap();
        assert_eq!((chain.protocol, chain.fragment.unwrap().part()), (Protocol::TCP, Fragment::Whole));
        let later =
            [(Protocol::FRAGMENT, &[0, 0, 0, 8, 0, 0, 0, 1][..]), (Protocol::DESTINATION_OPTIONS, &OPTIONS)];
        let (first, bytes) = packet(&later, Protocol::TCP);
        let chain = walk(first, &bytes).unwrap();
        assert_eq!((chain.protocol, chain.end), (Protocol::DESTINATION_OPTIONS, 48));
        assert_eq!(chain.fragment.unwrap().part(), Fragment::Later);
    }

    #[test]
    fn a_chain_ends_with_the_packet_and_after_so_many_headers() {
        let (first, whole) = packet(&[(Protocol::HOP_BY_HOP, &OPTIONS)], Protocol::UDP);
        for end in IPV6..IPV6 + 8 {
            assert_eq!(walk(first, &whole[..end]), Err(DropReason::BadIpHeader), "{end}");
        }
        let chain =
            |count| packet(&vec![(Protocol::DESTINATION_OPTIONS, &OPTIONS[..]); count], Protocol::UDP);
        let (first, bytes) = chain(LIMIT);
        assert_eq!(walk(first, &bytes).unwrap().protocol, Protocol::UDP);
        let (first, bytes) = chain(LIMIT + 1);
        assert_eq!(walk(first, &bytes), Err(DropReason::TooManyExtensions));
    }

    #[test]
    fn hop_by_hop_options_are_the_first_or_none() {
        let headers = [(Protocol::DESTINATION_OPTIONS, &OPTIONS[..]), (Protocol::HOP_BY_HOP, &OPTIONS)];
        let (first, bytes) = packet(&headers, Protocol::UDP);
        let chain = walk(first, &bytes).unwrap();
        assert_eq!((chain.protocol, chain.end, chain.next_at), (Protocol::HOP_BY_HOP, 48, 40));
    }

    proptest! {
        #[test]
        fn whatever_comes_a_walk_stays_inside(first: u8, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(chain) = walk(first, &bytes) {
                prop_assert!(chain.end == IPV6 || chain.end <= bytes.len());
                prop_assert!(chain.next_at < chain.end);
            }
        }
    }
}

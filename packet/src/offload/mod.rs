//! Checksum and segmentation offload: the arithmetic that Linux leaves to a network card, in one place.
//!
//! A tap with `IFF_VNET_HDR`, a packet socket or a vhost-user ring hands over a `virtio_net_hdr` with each frame
//! (virtio 1.2, 5.1.6; little-endian as x86 taps speak it):
//!
//! ```text
//! flags:8  gso_type:8  hdr_len:16  gso_size:16  csum_start:16  csum_offset:16  num_buffers:16
//!   │         └ the frame is many segments of gso_size payload bytes in one: a super-frame
//!   └ NEEDS_CSUM: the sum of bytes[csum_start..] is still to be put at csum_start + csum_offset,
//!                 where the sum of the pseudo-header stands now
//! ```
//!
//! A rewrite of such a frame adjusts the pseudo-header's sum only ([`update_checksum`]); a port that takes offloaded
//! frames gets the header as it is; for one that doesn't, [`Segments`] and [`complete_checksum`] do the card's work. What
//! senders have cut themselves, [`join()`] puts together again for a port that takes super-frames.

mod join;
mod layers;
mod segments;

use crate::checksum::{Delta, Sum};
use crate::wire::{EthernetHeader, FromBytes, Ipv4Header, TcpHeader, UdpHeader};
use crate::{DropReason, EtherType, Fragment, Ipv4Packet, Ipv6Packet, Protocol};

pub use self::join::{Known, join, joinable};
pub use self::segments::Segments;

/// Length of the `virtio_net_hdr` on all ports: with `num_buffers`, as virtio 1 and mergeable buffers have it.
pub const VNET_HDR_LEN: usize = 12;

/// What a frame owes to hardware offload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offload {
    /// Where the checksum's sum starts, from the frame's first byte. Meaningful with `needs_checksum`.
    pub csum_start: u16,
    /// Where the checksum goes, from `csum_start` on.
    pub csum_offset: u16,
    /// Payload bytes per segment of a super-frame.
    pub gso_size: u16,
    /// What a super-frame is to be cut into.
    pub gso: Gso,
    /// The checksum is still to be completed.
    pub needs_checksum: bool,
    /// The receiver need not check the checksum: the sender's hardware, or the memory it never left, vouches for it.
    pub checksum_valid: bool,
    /// A super-frame's TCP segments carry ECN's CWR.
    pub ecn: bool,
}

/// Kinds of super-frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gso {
    /// An ordinary frame.
    None,
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of equal size, over IPv4 or IPv6.
    Udp,
}

/// The kinds of offloaded frame that a port takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OffloadSet {
    /// Frames whose checksum is still to be completed.
    pub checksum: bool,
    /// TCP super-frames over IPv4 and IPv6, with ECN.
    pub tso: bool,
    /// UDP super-frames over IPv4 and IPv6.
    pub uso: bool,
}

impl OffloadSet {
    /// Nothing but ordinary frames.
    pub const NONE: Self = Self { checksum: false, tso: false, uso: false };
    /// Everything.
    pub const ALL: Self = Self { checksum: true, tso: true, uso: true };
}

impl Offload {
    /// An ordinary frame.
    pub const NONE: Self = Self {
        csum_start: 0,
        csum_offset: 0,
        gso_size: 0,
        gso: Gso::None,
        needs_checksum: false,
        checksum_valid: false,
        ecn: false,
    };

    /// Reads the `virtio_net_hdr` of a frame of `frame_len` bytes.
    ///
    /// # Errors
    /// `BadOffload` if the header points outside the frame or into its addresses, or asks for a kind of segmentation that was
    /// not offered; `TooManySegments`.
    pub fn decode(header: &[u8; VNET_HDR_LEN], frame_len: usize) -> Result<Self, DropReason> {
        let [flags, gso_type, _, _, s0, s1, c0, c1, o0, o1, _, _] = *header;
        if flags & NEEDS_CSUM == 0 && gso_type == GSO_NONE {
            return Ok(Self { checksum_valid: flags & DATA_VALID != 0, ..Self::NONE });
        }
        let gso = match gso_type & !GSO_ECN {
            GSO_NONE => Gso::None,
            GSO_TCPV4 => Gso::Tcp4,
            GSO_TCPV6 => Gso::Tcp6,
            GSO_UDP_L4 => Gso::Udp,
            _ => return Err(DropReason::BadOffload),
        };
        let offload = Self {
            csum_start: u16::from_le_bytes([c0, c1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
            gso_size: u16::from_le_bytes([s0, s1]),
            gso,
            needs_checksum: flags & NEEDS_CSUM != 0,
            checksum_valid: flags & DATA_VALID != 0,
            ecn: gso_type & GSO_ECN != 0,
        };
        let sum_end = usize::from(offload.csum_start) + usize::from(offload.csum_offset) + 2;
        let is_inside = offload.csum_start >= FIRST_L4 && sum_end <= frame_len;
        if !(offload.needs_checksum && is_inside) {
            return Err(DropReason::BadOffload);
        }
        offload.check_segments(frame_len)?;
        Ok(offload)
    }

    /// Whether a super-frame of `frame_len` bytes is one that senders make.
    fn check_segments(self, frame_len: usize) -> Result<(), DropReason> {
        let (protocol, header, least, most) = match self.gso {
            Gso::None => return Ok(()),
            Gso::Tcp4 | Gso::Tcp6 => (Protocol::TCP, TcpHeader::LEN, TCP_SEGMENT, TCP_SEGMENTS),
            Gso::Udp => (Protocol::UDP, UdpHeader::LEN, 1, UDP_SEGMENTS),
        };
        let ecn_makes_sense = !self.ecn || protocol == Protocol::TCP;
        if self.gso_size < least || Some(self.csum_offset) != checksum_offset(protocol) || !ecn_makes_sense {
            return Err(DropReason::BadOffload);
        }
        let payload = frame_len.saturating_sub(usize::from(self.csum_start) + header);
        if payload <= usize::from(self.gso_size) * most { Ok(()) } else { Err(DropReason::TooManySegments) }
    }

    /// Whether the checksum to be completed, and the segmentation, are those of `ip`, which starts at `l3` in the frame.
    /// Meaningful with `needs_checksum`.
    ///
    /// Who rewrites headers must ask: a sum that is completed elsewhere would overwrite what was rewritten. Fragments have
    /// no such checksum: it covers the whole packet.
    #[inline]
    pub fn is_of(self, ip: &Ipv4Packet, l3: usize) -> bool {
        let is_kind = match self.gso {
            Gso::None => true,
            Gso::Tcp4 => ip.protocol == Protocol::TCP,
            Gso::Tcp6 => false,
            Gso::Udp => ip.protocol == Protocol::UDP,
        };
        is_kind
            && ip.fragment == Fragment::Whole
            && usize::from(self.csum_start) == l3 + usize::from(ip.header_len)
            && Some(self.csum_offset) == checksum_offset(ip.protocol)
    }

    /// The same for an IPv6 packet.
    #[inline]
    pub fn is_of_ipv6(self, ip: &Ipv6Packet, l3: usize) -> bool {
        let is_kind = match self.gso {
            Gso::None => true,
            Gso::Tcp4 => false,
            Gso::Tcp6 => ip.protocol == Protocol::TCP,
            Gso::Udp => ip.protocol == Protocol::UDP,
        };
        is_kind
            && !ip.has_fragment_header
            && usize::from(self.csum_start) == l3 + usize::from(ip.header_len)
            && Some(self.csum_offset) == checksum_offset(ip.protocol)
    }

    /// The `virtio_net_hdr` for a receiver that takes this frame as it is. `hdr_len` is a hint and covers the headers
    /// up to 20 bytes of layer 4.
    pub const fn encode(self) -> [u8; VNET_HDR_LEN] {
        if !self.needs_checksum {
            let flags = if self.checksum_valid { DATA_VALID } else { 0 };
            return [flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        }
        let (gso_type, l4_len) = match self.gso {
            Gso::None => (GSO_NONE, 0),
            Gso::Tcp4 => (GSO_TCPV4, TcpHeader::LEN),
            Gso::Tcp6 => (GSO_TCPV6, TcpHeader::LEN),
            Gso::Udp => (GSO_UDP_L4, UdpHeader::LEN),
        };
        let gso_type = if self.ecn { gso_type | GSO_ECN } else { gso_type };
        let [h0, h1] = match self.gso {
            Gso::None => [0, 0],
            _ => (self.csum_start + l4_len as u16).to_le_bytes(),
        };
        let [s0, s1] = self.gso_size.to_le_bytes();
        let [c0, c1] = self.csum_start.to_le_bytes();
        let [o0, o1] = self.csum_offset.to_le_bytes();
        [NEEDS_CSUM, gso_type, h0, h1, s0, s1, c0, c1, o0, o1, 0, 0]
    }

    /// Whether a port that takes `set` takes this frame as it is.
    #[inline]
    pub const fn fits(self, set: OffloadSet) -> bool {
        match self.gso {
            Gso::None => set.checksum || !self.needs_checksum,
            Gso::Tcp4 | Gso::Tcp6 => set.tso,
            Gso::Udp => set.uso,
        }
    }

    /// Whether the checksum of the layer-4 header at `l4` (from the frame's first byte) is still to be completed.
    #[inline]
    pub const fn is_partial_at(self, l4: usize) -> bool {
        self.needs_checksum && self.csum_start as usize == l4
    }

    /// The largest layer-3 packet that `frame` becomes on the wire. Its packet, of this type, starts at `l3`.
    #[inline]
    pub fn packet_len(self, frame: &[u8], l3: usize, ether_type: EtherType) -> usize {
        let whole = frame.len().saturating_sub(l3);
        if self.gso == Gso::None {
            return whole;
        }
        let segment = |headers: usize| headers.saturating_sub(l3) + usize::from(self.gso_size);
        self.headers_len(frame, l3, ether_type).map_or(whole, |headers| whole.min(segment(headers)))
    }

    /// How many bytes of a super-frame are headers, which each segment gets; `None` if layer 4 isn't what and where the offload
    /// says.
    fn headers_len(self, frame: &[u8], l3: usize, ether_type: EtherType) -> Option<usize> {
        let (protocol, l4) = layers::layer4(frame, l3, ether_type)?;
        let is_kind = match self.gso {
            Gso::None => false,
            Gso::Tcp4 => protocol == Protocol::TCP && ether_type == EtherType::IPV4,
            Gso::Tcp6 => protocol == Protocol::TCP && ether_type == EtherType::IPV6,
            Gso::Udp => protocol == Protocol::UDP,
        };
        if !is_kind || l4 != usize::from(self.csum_start) {
            return None;
        }
        let l4_len = match protocol {
            Protocol::TCP => TcpHeader::ref_from_prefix(&frame[l4..]).ok()?.0.header_len(),
            _ => UdpHeader::LEN,
        };
        if protocol == Protocol::TCP && l4_len < TcpHeader::LEN {
            return None;
        }
        Some(l4 + l4_len).filter(|&headers| headers < frame.len())
    }
}

/// Where the checksum is in the header of a protocol that has a sum over addresses, which senders leave to their card.
const fn checksum_offset(protocol: Protocol) -> Option<u16> {
    match protocol {
        Protocol::TCP => Some(16),
        Protocol::UDP | Protocol::UDP_LITE | Protocol::DCCP => Some(6),
        _ => None,
    }
}

/// Puts the checksum in that the sender left to its hardware. `bytes` is the whole frame.
///
/// Afterwards `offload` no longer needs a checksum. Cost: the sum over the frame.
pub fn complete_checksum(bytes: &mut [u8], offload: &mut Offload) {
    let start = usize::from(offload.csum_start);
    let at = start + usize::from(offload.csum_offset);
    if offload.needs_checksum && at + 2 <= bytes.len() {
        let checksum = Sum::of(&bytes[start..]).checksum();
        // TCP never ends up here with zero in practice, and UDP must not send it: RFC 768.
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
    *offload = Offload { checksum_valid: true, ..Offload::NONE };
}

/// Adjusts the layer-4 checksum in `field` (network byte order) after a rewrite.
///
/// `addresses` is the change in the pseudo-header, `ports` the change in the layer-4 header itself. With `partial` the
/// field holds the pseudo-header's sum and whoever completes it will add the layer-4 header as it is then, so only
/// `addresses` counts. A UDP checksum of zero means that there is none, and stays.
#[inline]
pub fn update_checksum(field: &mut [u8; 2], partial: bool, udp: bool, addresses: Delta, ports: Delta) {
    let old = u16::from_be_bytes(*field);
    let new = if partial {
        addresses.apply_to_sum(old)
    } else if udp {
        match old {
            0 => 0,
            _ => match addresses.and(ports).apply(old) {
                0 => 0xffff,
                new => new,
            },
        }
    } else {
        addresses.and(ports).apply(old)
    };
    *field = new.to_be_bytes();
}

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Behind the addresses of Ethernet and IPv4. Linux doesn't take less than 20 either.
const FIRST_L4: u16 = (EthernetHeader::LEN + Ipv4Header::LEN) as u16;
/// Payload bytes in a segment of TCP at least, as Linux has it (`TCP_MIN_GSO_SIZE`): the least maximum segment size, 48, without
/// 40 bytes of options.
const TCP_SEGMENT: u16 = 8;
/// A frame of 64 KiB at that least segment size has 1820 segments with timestamps: an odd sender, but a real one. They take
/// about 2 ms where each is a system call.
const TCP_SEGMENTS: usize = 2048;
/// As many as Linux has in one (`UDP_MAX_SEGMENTS`).
const UDP_SEGMENTS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::eth;
    use crate::{Burst, EtherType, FrameMeta, NetworkId, parse};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    pub(super) const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    pub(super) const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    /// The frame as its sender would hand it to a card: the pseudo-header's sum in the checksum field.
    pub(super) fn partial(
        mut frame: Vec<u8>,
        csum_offset: u16,
        gso: Gso,
        gso_size: u16,
    ) -> (Vec<u8>, FrameMeta) {
        let l4 = 34;
        let len = (frame.len() - l4) as u16;
        let pseudo = Sum::pseudo_header_v4(A, B, frame[23], len).fold();
        let at = l4 + usize::from(csum_offset);
        frame[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
        let offload =
            Offload { csum_start: 34, csum_offset, gso_size, gso, needs_checksum: true, ..Offload::NONE };
        let mut burst = Burst::new();
        burst.restart(None, NetworkId::new(0));
        burst.push(&frame, offload);
        parse(&mut burst);
        (frame, burst.metas()[0])
    }

    #[test]
    fn a_completed_checksum_equals_the_one_computed_at_once() {
        let whole = eth().ipv4(A, B).tcp(1, 2, TcpHeader::ACK).payload(b"hello");
        let (mut frame, mut meta) = partial(whole.clone(), 16, Gso::None, 0);
        complete_checksum(&mut frame, &mut meta.offload);
        assert_eq!(frame, whole);
        assert!(!meta.offload.needs_checksum);
    }

    #[test]
    fn header_round_trip() {
        let (frame, meta) =
            partial(eth().ipv4(A, B).tcp(1, 2, TcpHeader::ACK).payload(&[7; 3000]), 16, Gso::Tcp4, 1448);
        assert_eq!(Offload::decode(&meta.offload.encode(), frame.len()), Ok(meta.offload));
    }

    #[test]
    fn a_header_that_points_outside_the_frame_is_refused() {
        let bad = |change: fn(&mut [u8; 12])| {
            let (frame, meta) = partial(eth().ipv4(A, B).udp(1, 2).payload(&[7; 300]), 6, Gso::Udp, 100);
            let mut header = meta.offload.encode();
            change(&mut header);
            assert_eq!(Offload::decode(&header, frame.len()), Err(DropReason::BadOffload));
        };
        bad(|h| h[6..8].copy_from_slice(&1000_u16.to_le_bytes()));
        bad(|h| h[8..10].copy_from_slice(&u16::MAX.to_le_bytes()));
        bad(|h| h[4..6].fill(0));
        bad(|h| h[1] = 3);
        bad(|h| h[0] = 0);
        // Into the addresses; where UDP has no checksum; ECN of what has none.
        bad(|h| h[6..8].copy_from_slice(&33_u16.to_le_bytes()));
        bad(|h| h[8..10].copy_from_slice(&16_u16.to_le_bytes()));
        bad(|h| h[1] |= 0x80);
    }

    #[test]
    fn segments_as_small_as_real_senders_have_pass_and_smaller_ones_do_not() {
        const TOO_MANY: DropReason = DropReason::TooManySegments;
        let outcome = |gso, gso_size, payload: usize| {
            let udp = gso == Gso::Udp;
            let (csum_offset, header) = if udp { (6, 8) } else { (16, 20) };
            let offload =
                Offload { csum_start: 34, csum_offset, gso_size, gso, needs_checksum: true, ..Offload::NONE };
            Offload::decode(&offload.encode(), 34 + header + payload).map(|_| ())
        };
        let whole = 65_535 - 20 - 20;
        for gso in [Gso::Tcp4, Gso::Tcp6] {
            // The least segment size that Linux sends with, and that with timestamps.
            assert_eq!([48, 36].map(|size| outcome(gso, size, whole)), [Ok(()); 2]);
            assert_eq!([8, 31].map(|size| outcome(gso, size, whole)), [Err(TOO_MANY); 2]);
            assert_eq!([1, 7].map(|size| outcome(gso, size, 100)), [Err(DropReason::BadOffload); 2]);
            assert_eq!(outcome(gso, 8, 100), Ok(()));
        }
        assert_eq!([1, 500].map(|size| outcome(Gso::Udp, size, usize::from(size) * 128)), [Ok(()); 2]);
        assert_eq!(
            [1, 500].map(|size| outcome(Gso::Udp, size, usize::from(size) * 128 + 1)),
            [Err(TOO_MANY); 2]
        );
    }

    #[test]
    fn an_offload_is_of_a_packet_only_with_its_layer_4_and_its_checksum() {
        let (frame, meta) =
            partial(eth().ipv4(A, B).tcp(1, 2, TcpHeader::ACK).payload(&[7; 300]), 16, Gso::Tcp4, 100);
        let (ip, own) = (Ipv4Packet::parse(&frame[14..]).unwrap(), meta.offload);
        let plain = Offload { gso: Gso::None, ..own };
        assert!(own.is_of(&ip, 14) && plain.is_of(&ip, 14));
        for other in [
            Offload { csum_start: 36, ..plain },
            Offload { csum_offset: 0, ..plain },
            Offload { csum_offset: 6, ..plain },
            Offload { gso: Gso::Udp, ..own },
            Offload { gso: Gso::Tcp6, ..own },
        ] {
            assert!(!other.is_of(&ip, 14), "{other:?}");
        }
        for part in [Fragment::First, Fragment::Later] {
            assert!(!plain.is_of(&Ipv4Packet { fragment: part, ..ip }, 14));
        }
        assert!(!plain.is_of(&Ipv4Packet { protocol: Protocol::ICMP, ..ip }, 14));
    }

    #[test]
    fn a_super_frame_that_lies_about_its_layers_counts_as_a_whole_and_has_no_segments() {
        let (frame, meta) =
            partial(eth().ipv4(A, B).tcp(1, 2, TcpHeader::ACK).payload(&[0; 9000]), 16, Gso::Tcp4, 1460);
        let as_udp = Offload { gso: Gso::Udp, csum_offset: 6, ..meta.offload };
        for offload in
            [Offload { csum_start: 38, ..meta.offload }, Offload { gso: Gso::Tcp6, ..meta.offload }, as_udp]
        {
            assert_eq!(offload.packet_len(&frame, 14, EtherType::IPV4), frame.len() - 14);
            let refused = Segments::new(&frame, &FrameMeta { offload, ..meta }).map(|_| ());
            assert_eq!(refused, Err(DropReason::TxUnsegmentable));
        }
    }

    #[test]
    fn a_super_frame_counts_as_its_largest_segment() {
        let (frame, meta) =
            partial(eth().ipv4(A, B).tcp(1, 2, TcpHeader::ACK).payload(&[0; 9000]), 16, Gso::Tcp4, 1460);
        assert_eq!(meta.offload.packet_len(&frame, 14, EtherType::IPV4), 1500);
    }

    proptest! {
        #[test]
        fn any_header_and_frame_is_survived(
            header: [u8; 12], bytes in proptest::collection::vec(any::<u8>(), 14..300), ipv6: bool,
        ) {
            let mut bytes = bytes;
            bytes[12..14].copy_from_slice(&if ipv6 { [0x86, 0xdd] } else { [8, 0] });
            if let Ok(mut offload) = Offload::decode(&header, bytes.len()) {
                let mut meta = FrameMeta::new(NetworkId::new(0), offload);
                (meta.l3, meta.ether_type) = (14, if ipv6 { EtherType::IPV6 } else { EtherType::IPV4 });
                offload.packet_len(&bytes, 14, meta.ether_type);
                let mut out = vec![0; 400];
                if let Ok(mut segments) = Segments::new(&bytes, &meta) {
                    while segments.next_into(&mut out).is_some() {}
                }
                complete_checksum(&mut bytes, &mut offload);
            }
        }

        #[test]
        fn adjusting_a_partial_checksum_then_completing_it_is_right(new: u32, port: u16, data: Vec<u8>) {
            let new = Ipv4Addr::from_bits(new);
            let (mut frame, mut meta) = partial(eth().ipv4(A, B).udp(9, 53).payload(&data), 6, Gso::None, 0);
            let addresses = Delta::NONE.u32(A.to_bits(), new.to_bits());
            let ports = Delta::NONE.u16(9, port);
            let mut field = [frame[40], frame[41]];
            update_checksum(&mut field, meta.offload.is_partial_at(34), true, addresses, ports);
            frame[40..42].copy_from_slice(&field);
            frame[34..36].copy_from_slice(&port.to_be_bytes());
            complete_checksum(&mut frame, &mut meta.offload);
            let expected = eth().ipv4(new, B).udp(port, 53).payload(&data);
            prop_assert_eq!(&frame[34..], &expected[34..]);
        }
    }
}

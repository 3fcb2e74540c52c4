//! Cutting IPv4 packets to an MTU. RFC 791, 3.2.

use packet::checksum;
use packet::wire::{FromBytes, Ipv4Header, U16};

/// The fragments, in order, of the IPv4 packet at `packet`, each at most `mtu` bytes, made one by one; none if the packet is
/// no IPv4 packet or `mtu` is too small for any payload. A fragment itself may be cut further.
pub(crate) fn fragments(packet: &[u8], mtu: usize) -> impl Iterator<Item = Vec<u8>> + use<'_> {
    let cut = Cut::of(packet, mtu);
    cut.into_iter()
        .flat_map(|cut| (0..cut.payload.len().div_ceil(cut.room)).map(move |index| cut.piece(index)))
}

/// A packet and how it is cut.
#[derive(Clone, Copy)]
struct Cut<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    /// The packet's own place, if it is a fragment, and whether others follow it.
    offset: u16,
    more: u16,
    /// Bytes of payload in a fragment.
    room: usize,
}

impl<'a> Cut<'a> {
    fn of(packet: &'a [u8], mtu: usize) -> Option<Self> {
        let (header, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
        let header_len = usize::from(header.version_ihl & 0xf) * 4;
        let total_len = usize::from(header.total_len.get());
        // Every fragment but the last carries a multiple of 8 bytes.
        let room = mtu.saturating_sub(header_len) & !7;
        if header_len < Ipv4Header::LEN || total_len > packet.len() || total_len <= header_len || room == 0 {
            return None;
        }
        let flags = header.flags_fragment.get();
        let (offset, more) = (flags & Ipv4Header::OFFSET_MASK, flags & Ipv4Header::MF);
        let (header, payload) = packet[..total_len].split_at(header_len);
        Some(Self { header, payload, offset, more, room })
    }

    fn piece(&self, index: usize) -> Vec<u8> {
        let start = index * self.room;
        let end = self.payload.len().min(start + self.room);
        let mut fragment = [self.header, &self.payload[start..end]].concat();
        let (len, header_len) = (fragment.len() as u16, self.header.len());
        if index > 0 {
            blank_uncopied_options(&mut fragment[Ipv4Header::LEN..header_len]);
        }
        let more = if end == self.payload.len() { self.more } else { Ipv4Header::MF };
        if let Ok((header, _)) = Ipv4Header::mut_from_prefix(&mut fragment) {
            header.total_len = U16::new(len);
            header.flags_fragment = U16::new((self.offset + (start / 8) as u16) | more);
            header.checksum = U16::ZERO;
        }
        let sum = checksum::of(&fragment[..header_len]);
        fragment[10..12].copy_from_slice(&sum.to_be_bytes());
        fragment
    }
}

/// Options without the copied flag stay in the first fragment only; elsewhere "no operation" takes their place.
fn blank_uncopied_options(mut options: &mut [u8]) {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    while let Some(&kind) = options.first() {
        let len = match kind {
            END => return,
            NO_OPERATION => 1,
            _ => options.get(1).map_or(0, |&len| usize::from(len)),
        };
        if len == 0 || len > options.len() {
            return;
        }
        let (option, rest) = options.split_at_mut(len);
        if kind & COPIED == 0 {
            option.fill(NO_OPERATION);
        }
        options = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::builder::eth;
    use packet::{Fragment, Ipv4Packet};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn packet(len: usize) -> Vec<u8> {
        let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let may_fragment = |ip: &mut Ipv4Header| ip.flags_fragment = 0.into();
        eth().ipv4(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)).ip(may_fragment).payload(&payload)
            [14..]
            .to_vec()
    }

    proptest! {
        #[test]
        fn fragments_put_together_are_the_packet(len in 1_usize..5000, mtu in 28_usize..2000) {
            let whole = packet(len);
            let mut payload = vec![0; len];
            let pieces: Vec<_> = fragments(&whole, mtu).collect();
            for (index, piece) in pieces.iter().enumerate() {
                let header = Ipv4Packet::parse_header(piece).unwrap();
                prop_assert!(piece.len() <= mtu);
                let offset = usize::from(u16::from_be_bytes([piece[6], piece[7]]) & 0x1fff) * 8;
                payload[offset..offset + piece.len() - 20].copy_from_slice(&piece[20..]);
                let is_last = index + 1 == pieces.len();
                prop_assert_eq!(piece[6] & 0x20 == 0, is_last);
                prop_assert_eq!(header.fragment == Fragment::Whole, pieces.len() == 1);
            }
            prop_assert_eq!(&payload[..], &whole[20..]);
        }

        #[test]
        fn anything_is_survived(bytes: Vec<u8>, mtu in 0_usize..100) {
            fragments(&bytes, mtu).for_each(drop);
        }
    }

    #[test]
    fn uncopied_options_stay_in_the_first_fragment() {
        let mut options = [0x07, 3, 0, 0x94, 4, 0, 0, 1];
        blank_uncopied_options(&mut options);
        assert_eq!(options, [1, 1, 1, 0x94, 4, 0, 0, 1]);
    }
}

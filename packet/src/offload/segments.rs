//! The segments of a super-frame.

use crate::checksum::Sum;
use crate::wire::{FromBytes, Ipv4Header, Ipv6Header, TcpHeader, U16, U32};
use crate::{DropReason, EtherType, FrameMeta, Gso, Protocol};

/// Cuts a super-frame into the segments that a card would send. RFC 9293 for sequence numbers and flags; IPv4
/// identifications count up.
#[derive(Debug)]
pub struct Segments<'a> {
    frame: &'a [u8],
    l3: usize,
    l4: usize,
    headers: usize,
    size: usize,
    sent: usize,
    count: u16,
    ipv6: bool,
    protocol: Protocol,
}

impl<'a> Segments<'a> {
    /// The segments of the super-frame `frame`.
    ///
    /// # Errors
    /// `TxUnsegmentable` if the headers contradict the offload.
    pub fn new(frame: &'a [u8], meta: &FrameMeta) -> Result<Self, DropReason> {
        const BAD: DropReason = DropReason::TxUnsegmentable;
        let (offload, l3) = (meta.offload, usize::from(meta.l3));
        let headers = offload.headers_len(frame, l3, meta.ether_type).ok_or(BAD)?;
        let (ipv6, l4) = (meta.ether_type == EtherType::IPV6, usize::from(offload.csum_start));
        let protocol = if offload.gso == Gso::Udp { Protocol::UDP } else { Protocol::TCP };
        if offload.gso_size == 0 {
            return Err(BAD);
        }
        let size = usize::from(offload.gso_size);
        Ok(Self { frame, l3, l4, headers, size, sent: 0, count: 0, ipv6, protocol })
    }

    /// Writes the next segment, a frame with all checksums in place, into `out` and returns its length; `None` after
    /// the last one, or if `out` is too short.
    pub fn next_into(&mut self, out: &mut [u8]) -> Option<usize> {
        let payload = &self.frame[self.headers + self.sent..];
        let payload = &payload[..payload.len().min(self.size)];
        let out = out.get_mut(..self.headers + payload.len()).filter(|_| !payload.is_empty())?;
        out[..self.headers].copy_from_slice(&self.frame[..self.headers]);
        out[self.headers..].copy_from_slice(payload);
        let last = self.headers + self.sent + payload.len() == self.frame.len();
        self.fix_network_header(out);
        self.fix_transport_header(out, last);
        self.sent += payload.len();
        self.count = self.count.wrapping_add(1);
        Some(out.len())
    }

    fn fix_network_header(&self, out: &mut [u8]) {
        let packet = &mut out[self.l3..];
        let len = packet.len();
        if self.ipv6 {
            if let Ok((ip, _)) = Ipv6Header::mut_from_prefix(packet) {
                ip.payload_len = U16::new((len - Ipv6Header::LEN) as u16);
            }
            return;
        }
        let header_len = self.l4 - self.l3;
        if let Ok((ip, _)) = Ipv4Header::mut_from_prefix(packet) {
            ip.total_len = U16::new(len as u16);
            ip.id = U16::new(ip.id.get().wrapping_add(self.count));
            ip.checksum = U16::ZERO;
        }
        let checksum = crate::checksum::of(&packet[..header_len]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }

    fn fix_transport_header(&self, out: &mut [u8], last: bool) {
        let pseudo = self.pseudo_header(out);
        let l4 = &mut out[self.l4..];
        let len = l4.len();
        let at = if self.protocol == Protocol::TCP {
            if let Ok((tcp, _)) = TcpHeader::mut_from_prefix(l4) {
                tcp.seq = U32::new(tcp.seq.get().wrapping_add(self.sent as u32));
                if !last {
                    tcp.flags &= !(TcpHeader::FIN | TcpHeader::PSH);
                }
                if self.count > 0 {
                    tcp.flags &= !TcpHeader::CWR;
                }
            }
            16
        } else {
            l4[4..6].copy_from_slice(&(len as u16).to_be_bytes());
            6
        };
        l4[at..at + 2].fill(0);
        let checksum = match pseudo.add(Sum::of(l4)).checksum() {
            0 => 0xffff,
            checksum => checksum,
        };
        l4[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }

    fn pseudo_header(&self, out: &[u8]) -> Sum {
        let len = out.len() - self.l4;
        let addresses = if self.ipv6 { self.l3 + 8..self.l3 + 40 } else { self.l3 + 12..self.l3 + 20 };
        Sum::of(&out[addresses]).add_u16(u16::from(self.protocol.0)).add_u16(len as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::eth;
    use crate::offload::tests::{A, B, partial};
    use crate::{Ipv4Packet, Ipv6Packet};

    #[test]
    fn tcp_segments_carry_the_payload_in_order_with_right_checksums() {
        let payload: Vec<u8> = (0..4000_u32).map(|n| n as u8).collect();
        let flags = TcpHeader::ACK | TcpHeader::PSH | TcpHeader::FIN;
        let (frame, meta) = partial(eth().ipv4(A, B).tcp(1, 2, flags).payload(&payload), 16, Gso::Tcp4, 1448);
        let mut segments = Segments::new(&frame, &meta).unwrap();
        let (mut out, mut received, mut seq) = (vec![0; 2000], Vec::new(), 1000);
        while let Some(len) = segments.next_into(&mut out) {
            let packet = &out[14..len];
            let ip = Ipv4Packet::parse(packet).unwrap();
            let l4 = &packet[20..];
            assert_eq!(Sum::pseudo_header_v4(A, B, 6, l4.len() as u16).add(Sum::of(l4)).checksum(), 0);
            let (tcp, data) = TcpHeader::ref_from_prefix(l4).unwrap();
            assert_eq!((tcp.seq.get(), usize::from(ip.total_len)), (seq, packet.len()));
            seq += data.len() as u32;
            received.extend_from_slice(data);
            let is_last = received.len() == payload.len();
            assert_eq!(tcp.flags & TcpHeader::FIN != 0, is_last);
        }
        assert_eq!(received, payload);
    }

    #[test]
    fn tcp_segments_over_ipv6_are_whole_packets_with_right_checksums() {
        let (a, b) = (std::net::Ipv6Addr::LOCALHOST, std::net::Ipv6Addr::UNSPECIFIED);
        let payload: Vec<u8> = (0..4000_u32).map(|n| n as u8).collect();
        let options = [0, 0, 1, 4, 0, 0, 0, 0];
        let packet = eth().ipv6(a, b).extension(Protocol::DESTINATION_OPTIONS, &options);
        let frame = packet.tcp(1, 2, TcpHeader::ACK).payload(&payload);
        let offload = crate::Offload {
            csum_start: 62,
            csum_offset: 16,
            gso_size: 1440,
            gso: Gso::Tcp6,
            needs_checksum: true,
            ..crate::Offload::NONE
        };
        let mut meta = FrameMeta::new(crate::NetworkId::new(0), offload);
        (meta.ether_type, meta.l3) = (EtherType::IPV6, 14);
        let ip = Ipv6Packet::parse(&frame[14..]).unwrap();
        assert!(offload.is_of_ipv6(&ip, 14) && offload.packet_len(&frame, 14, EtherType::IPV6) == 1440 + 68);
        let mut segments = Segments::new(&frame, &meta).unwrap();
        let (mut out, mut received) = (vec![0; 2000], Vec::new());
        while let Some(len) = segments.next_into(&mut out) {
            let ip = Ipv6Packet::parse(&out[14..len]).unwrap();
            assert_eq!((ip.l4, ip.total_len as usize), (crate::L4::Tcp, len - 14));
            let l4 = ip.payload(&out[14..len]);
            let pseudo = Sum::pseudo_header_v6(a.octets(), b.octets(), 6, l4.len() as u32);
            assert_eq!(pseudo.add(Sum::of(l4)).checksum(), 0);
            received.extend_from_slice(&l4[20..]);
        }
        assert_eq!(received, payload);
    }
}

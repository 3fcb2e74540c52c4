//! Segments of a TCP stream, one behind the other, become a super-frame: what a card's receive offload does, and the reverse
//! of [`Segments`](super::Segments).
//!
//! Joined are segments with data that differ in nothing but sequence number, checksum and IPv4 identification, so that
//! cutting the super-frame gives the same ones again. All are as long as the first but the last, which may be shorter or have
//! PSH set. Nobody waits for a segment to come. Datagrams are left alone, as by the kernel's GRO unless it is told otherwise:
//! who counts them at a device expects each.

use super::{Gso, Offload, TCP_SEGMENT, TCP_SEGMENTS};
use crate::checksum::Sum;
use crate::wire::{FromBytes, Ipv4Header, Ipv6Header, TcpHeader};
use crate::{EtherType, FrameMeta, MAX_FRAME, Protocol};

/// A frame, and what is known of it.
pub type Known<'a> = (&'a [u8], &'a FrameMeta);

/// How many of the first of `frames` can be one super-frame; 1 at least, if there are any.
#[inline]
pub fn joinable<'a>(mut frames: impl Iterator<Item = Known<'a>>) -> usize {
    let Some((first, meta)) = frames.next() else { return 0 };
    let Some(first) = Segment::of(first, meta).filter(Segment::may_begin) else { return 1 };
    let mut joined = Joined { count: 1, len: first.frame.len(), is_ended: false };
    for (frame, meta) in frames {
        match Segment::of(frame, meta) {
            Some(next) if joined.take(&first, &next) => {}
            _ => break,
        }
    }
    joined.count
}

/// Writes the super-frame that `frames` make into `out`, which has room for [`MAX_FRAME`] bytes: its length, and what it
/// owes. `frames` must be as many as [`joinable`] says.
///
/// Cost: copying the payload.
pub fn join<'a>(mut frames: impl Iterator<Item = Known<'a>>, out: &mut [u8]) -> Option<(usize, Offload)> {
    let (first, meta) = frames.next()?;
    let first = Segment::of(first, meta)?;
    let (mut len, mut last) = (first.frame.len(), first.frame);
    out.get_mut(..len)?.copy_from_slice(first.frame);
    for (frame, _) in frames {
        let payload = frame.get(first.headers..)?;
        out.get_mut(len..len + payload.len())?.copy_from_slice(payload);
        len += payload.len();
        last = frame;
    }
    out[first.l4 + FLAGS] |= last[first.l4 + FLAGS] & TcpHeader::PSH;
    Some((len, first.lead(&mut out[..len])))
}

/// What has been joined so far.
struct Joined {
    count: usize,
    len: usize,
    is_ended: bool,
}

impl Joined {
    /// Whether `next` follows; it is joined then.
    fn take(&mut self, first: &Segment<'_>, next: &Segment<'_>) -> bool {
        let room = MAX_FRAME.min(first.l3 + usize::from(u16::MAX));
        let follows = !self.is_ended
            && self.count < TCP_SEGMENTS
            && self.len + next.payload() <= room
            && next.payload() <= first.payload()
            && first.is_like(next)
            && first.is_in_order(next, self.count, self.len - first.headers)
            // The first is looked at once there is a second.
            && (self.count > 1 || first.is_intact())
            && next.is_intact();
        if follows {
            self.count += 1;
            self.len += next.payload();
            self.is_ended = next.payload() < first.payload() || next.is_pushed();
        }
        follows
    }
}

/// A frame that is a whole packet of TCP with data, without options of IP.
struct Segment<'a> {
    frame: &'a [u8],
    offload: Offload,
    l3: usize,
    l4: usize,
    /// Where the payload starts.
    headers: usize,
    is_v4: bool,
}

impl<'a> Segment<'a> {
    fn of(frame: &'a [u8], meta: &FrameMeta) -> Option<Self> {
        let (offload, l3) = (meta.offload, usize::from(meta.l3));
        let packet = frame.get(l3..).filter(|_| offload.gso == Gso::None)?;
        let (is_v4, protocol, ip_len) = match meta.ether_type {
            EtherType::IPV4 => {
                let (ip, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
                let is_fragment = ip.flags_fragment.get() & (Ipv4Header::OFFSET_MASK | Ipv4Header::MF) != 0;
                let is_plain = ip.version_ihl == 0x45 && !is_fragment;
                let is_whole = usize::from(ip.total_len.get()) == packet.len();
                (is_plain && is_whole).then_some((true, Protocol(ip.protocol), Ipv4Header::LEN))?
            }
            EtherType::IPV6 => {
                let (ip, rest) = Ipv6Header::ref_from_prefix(packet).ok()?;
                let is_whole = usize::from(ip.payload_len.get()) == rest.len();
                is_whole.then_some((false, Protocol(ip.next_header), Ipv6Header::LEN))?
            }
            _ => return None,
        };
        let l4 = l3 + ip_len;
        if protocol != Protocol::TCP {
            return None;
        }
        let (tcp, _) = TcpHeader::ref_from_prefix(&frame[l4..]).ok()?;
        // ECE says the same of all. All other flags are about one segment.
        let is_data = tcp.flags & !(TcpHeader::PSH | TcpHeader::ECE) == TcpHeader::ACK;
        let headers = l4 + tcp.header_len();
        let is_right = is_data && tcp.header_len() >= TcpHeader::LEN && frame.len() > headers;
        is_right.then_some(Self { frame, offload, l3, l4, headers, is_v4 })
    }

    /// Whether others may follow it.
    fn may_begin(&self) -> bool {
        !self.is_pushed() && self.payload() >= usize::from(TCP_SEGMENT)
    }

    const fn payload(&self) -> usize {
        self.frame.len() - self.headers
    }

    const fn is_pushed(&self) -> bool {
        self.frame[self.l4 + FLAGS] & TcpHeader::PSH != 0
    }

    /// Whether `other` has the same headers, but for what differs from segment to segment.
    fn is_like(&self, other: &Self) -> bool {
        let (a, b, l3, l4) = (self.frame, other.frame, self.l3, self.l4);
        let same = |from, to| a[from..to] == b[from..to];
        if (other.l3, other.l4, other.headers) != (l3, l4, self.headers) || !same(0, l3) {
            return false;
        }
        // Not: total length, identification and checksum of IPv4, length of IPv6.
        let ip = if self.is_v4 {
            same(l3, l3 + 2) && same(l3 + 6, l3 + 10) && same(l3 + 12, l4)
        } else {
            same(l3, l3 + 4) && same(l3 + 6, l4)
        };
        // Not: sequence number, PSH, checksum.
        ip && same(l4, l4 + 4)
            && same(l4 + 8, l4 + FLAGS)
            && (a[l4 + FLAGS] ^ b[l4 + FLAGS]) & !TcpHeader::PSH == 0
            && same(l4 + 14, l4 + 16)
            && same(l4 + 18, self.headers)
    }

    /// Whether `other` comes after `count` segments with so much payload. RFC 9293, 3.1; identifications count up, or mean
    /// nothing as fragments are forbidden: RFC 6864, 4.1.
    fn is_in_order(&self, other: &Self, count: usize, payload: usize) -> bool {
        let word = |segment: &Self, at: usize| segment.frame.get(at..at + 2).map_or(0, be16);
        let may_be_cut = self.is_v4 && word(self, self.l3 + 6) & Ipv4Header::DF == 0;
        if may_be_cut && word(other, self.l3 + 4) != word(self, self.l3 + 4).wrapping_add(count as u16) {
            return false;
        }
        let seq = |segment: &Self| {
            u32::from(word(segment, self.l4 + 4)) << 16 | u32::from(word(segment, self.l4 + 6))
        };
        seq(other) == seq(self).wrapping_add(payload as u32)
    }

    /// Whether its checksums are right, or that of TCP is still to be made.
    fn is_intact(&self) -> bool {
        if self.is_v4 && crate::checksum::of(&self.frame[self.l3..self.l4]) != 0 {
            return false;
        }
        if self.offload.needs_checksum {
            return (usize::from(self.offload.csum_start), self.offload.csum_offset) == (self.l4, CHECKSUM);
        }
        let covered = &self.frame[self.l4..];
        self.offload.checksum_valid || self.pseudo_header(self.frame).add(Sum::of(covered)).checksum() == 0
    }

    /// The sum of the pseudo-header that `frame` has with these headers.
    fn pseudo_header(&self, frame: &[u8]) -> Sum {
        let from = self.l3 + if self.is_v4 { 12 } else { 8 };
        let len = (frame.len() - self.l4) as u16;
        Sum::of(&frame[from..self.l4]).add_u16(u16::from(Protocol::TCP.0)).add_u16(len)
    }

    /// Makes the headers in `out` those of a super-frame that is that long.
    fn lead(&self, out: &mut [u8]) -> Offload {
        let (l3, l4, len) = (self.l3, self.l4, out.len());
        let mut put = |at: usize, word: u16| out[at..at + 2].copy_from_slice(&word.to_be_bytes());
        if self.is_v4 {
            put(l3 + 2, (len - l3) as u16);
            put(l3 + 10, 0);
            let checksum = crate::checksum::of(&out[l3..l4]);
            out[l3 + 10..l3 + 12].copy_from_slice(&checksum.to_be_bytes());
        } else {
            put(l3 + 4, (len - l4) as u16);
        }
        let (at, sum) = (l4 + usize::from(CHECKSUM), self.pseudo_header(out).fold());
        out[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        Offload {
            csum_start: l4 as u16,
            csum_offset: CHECKSUM,
            gso_size: self.payload() as u16,
            gso: if self.is_v4 { Gso::Tcp4 } else { Gso::Tcp6 },
            needs_checksum: true,
            ..Offload::NONE
        }
    }
}

fn be16(bytes: &[u8]) -> u16 {
    bytes.first_chunk().map_or(0, |&word| u16::from_be_bytes(word))
}

/// Where TCP's flags and checksum are in its header.
const FLAGS: usize = 13;
const CHECKSUM: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::eth;
    use crate::offload::Segments;
    use crate::offload::tests::{A, B};
    use crate::{Burst, NetworkId, parse};
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    /// A burst of these frames.
    fn burst(frames: &[Vec<u8>]) -> Burst {
        let mut burst = Burst::new();
        burst.restart(None, NetworkId::new(0));
        for frame in frames {
            assert!(burst.push(frame, Offload::NONE));
        }
        parse(&mut burst);
        burst
    }

    fn known(burst: &Burst) -> impl Iterator<Item = Known<'_>> {
        burst.metas().iter().enumerate().map(|(index, meta)| (burst.bytes(index), meta))
    }

    fn count(frames: &[Vec<u8>]) -> usize {
        joinable(known(&burst(frames)))
    }

    /// The super-frame of all the frames.
    fn joined(frames: &[Vec<u8>]) -> (Vec<u8>, FrameMeta) {
        let burst = burst(frames);
        let mut out = vec![0; MAX_FRAME];
        let (len, offload) = join(known(&burst), &mut out).unwrap();
        out.truncate(len);
        let mut meta = burst.metas()[0];
        meta.offload = offload;
        (out, meta)
    }

    fn cut(super_frame: &[u8], meta: &FrameMeta) -> Vec<Vec<u8>> {
        let (mut segments, mut out, mut frames) =
            (Segments::new(super_frame, meta).unwrap(), vec![0; MAX_FRAME], Vec::new());
        while let Some(len) = segments.next_into(&mut out) {
            frames.push(out[..len].to_vec());
        }
        frames
    }

    fn tcp(seq: u32, id: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
        let ip = eth().ipv4(A, B).ip(|ip| (ip.id, ip.flags_fragment) = (id.into(), 0.into()));
        ip.tcp(1000, 80, flags | TcpHeader::ACK).numbers(seq, 7).payload(payload)
    }

    #[test]
    fn segments_of_a_stream_are_one_super_frame_with_the_last_ones_push() {
        let frames =
            [tcp(1000, 5, 0, &[1; 1448]), tcp(2448, 6, 0, &[2; 1448]), tcp(3896, 7, TcpHeader::PSH, &[3; 9])];
        assert_eq!(count(&frames), 3);
        let (super_frame, meta) = joined(&frames);
        assert_eq!(
            (super_frame.len(), meta.offload.gso, meta.offload.gso_size),
            (54 + 2905, Gso::Tcp4, 1448)
        );
        assert_eq!(Offload::decode(&meta.offload.encode(), super_frame.len()), Ok(meta.offload));
        assert_eq!(cut(&super_frame, &meta), frames);
    }

    #[test]
    fn what_is_not_the_next_segment_is_not_joined() {
        let first = tcp(1000, 5, 0, &[1; 100]);
        let next = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut frame = tcp(1100, 6, 0, &[2; 100]);
            change(&mut frame);
            // Both sums are right, so that it is the change that counts.
            frame[24..26].fill(0);
            let sum = crate::checksum::of(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
            frame[50..52].fill(0);
            let len = (frame.len() - 34) as u16;
            let pseudo = Sum::of(&frame[26..34]).add_u16(u16::from(frame[23])).add_u16(len);
            let sum = pseudo.add(Sum::of(&frame[34..])).checksum();
            frame[50..52].copy_from_slice(&sum.to_be_bytes());
            count(&[first.clone(), frame])
        };
        assert_eq!(next(&|_| ()), 2);
        let changes: [(&str, usize, u8); 12] = [
            ("another station", 5, 0xee),
            ("another service class", 15, 4),
            ("congestion experienced", 15, 3),
            ("another identification", 19, 9),
            ("a fragment", 20, 0x20),
            ("another time to live", 22, 63),
            ("another host", 29, 9),
            ("another port", 35, 1),
            ("another sequence number", 41, 1),
            ("another acknowledgement", 45, 8),
            ("the end", 47, TcpHeader::ACK | TcpHeader::FIN),
            ("another window", 49, 1),
        ];
        for (what, at, value) in changes {
            assert_eq!(next(&|frame| frame[at] = value), 1, "{what}");
        }
        // Without fragments nobody needs the identification.
        let first = eth().ipv4(A, B).ip(|ip| ip.flags_fragment = Ipv4Header::DF.into());
        let frames =
            [0, 100].map(|seq| first.clone().tcp(1, 2, TcpHeader::ACK).numbers(seq, 7).payload(&[1; 100]));
        assert_eq!(count(&frames), 2);
    }

    #[test]
    fn a_broken_segment_stays_alone_so_that_its_receiver_sees_it() {
        let (first, mut next) = (tcp(1000, 5, 0, &[1; 100]), tcp(1100, 6, 0, &[2; 100]));
        next[100] ^= 1;
        assert_eq!(count(&[first.clone(), next.clone()]), 1);
        assert_eq!(count(&[next, tcp(1200, 7, 0, &[2; 100])]), 1);
        let mut next = tcp(1100, 6, 0, &[2; 100]);
        next[24] ^= 1;
        assert_eq!(count(&[first.clone(), next]), 1, "the header's sum");
        let padded = [&first[..], &[0; 6]].concat();
        assert_eq!(count(&[padded, tcp(1100, 6, 0, &[2; 100])]), 1);
    }

    #[test]
    fn nothing_follows_a_short_or_pushed_segment_and_a_longer_one_does_not_follow() {
        let short = [tcp(0, 1, 0, &[0; 100]), tcp(100, 2, 0, &[0; 50]), tcp(150, 3, 0, &[0; 50])];
        assert_eq!(count(&short), 2);
        let pushed =
            [tcp(0, 1, 0, &[0; 100]), tcp(100, 2, TcpHeader::PSH, &[0; 100]), tcp(200, 3, 0, &[0; 100])];
        assert_eq!((count(&pushed), count(&pushed[1..])), (2, 1));
        assert_eq!(count(&[tcp(0, 1, 0, &[0; 100]), tcp(100, 2, 0, &[0; 101])]), 1);
        assert_eq!(count(&[tcp(0, 1, 0, &[]), tcp(0, 2, 0, &[0; 10])]), 1);
        assert_eq!(count(&[tcp(0, 1, TcpHeader::SYN, &[0; 10]), tcp(10, 2, 0, &[0; 10])]), 1);
    }

    #[test]
    fn datagrams_are_not_joined() {
        let datagram = |id: u16| eth().ipv4(A, B).ip(|ip| ip.id = id.into()).udp(1, 2).payload(&[0; 100]);
        assert_eq!(count(&[1, 2].map(datagram)), 1);
    }

    #[test]
    fn a_super_frame_holds_what_ip_can_say() {
        let frames: Vec<_> = (0..60).map(|n| tcp(n * 1448, n as u16, 0, &[n as u8; 1448])).collect();
        let fits = (65_535 - 40) / 1448;
        assert_eq!(count(&frames), fits);
        let (super_frame, meta) = joined(&frames[..fits]);
        assert_eq!(cut(&super_frame, &meta), frames[..fits]);
    }

    fn segment(kind: u8, tags: usize, at: u32, id: u16, payload: &[u8]) -> Vec<u8> {
        let (a, b) = (Ipv6Addr::LOCALHOST, Ipv6Addr::from_bits(9));
        let link = (0..tags).fold(eth(), |link, tag| link.vlan(7 + tag as u16));
        let v4 = link.clone().ipv4(A, B).ip(|ip| ip.id = id.into());
        match kind {
            0 => v4.tcp(1, 2, TcpHeader::ACK).numbers(at, 1).payload(payload),
            _ => link.ipv6(a, b).tcp(1, 2, TcpHeader::ACK).numbers(at, 1).payload(payload),
        }
    }

    proptest! {
            #[test]
            fn cutting_gives_what_was_joined(
                kind in 0..2_u8, tags in 0..3_usize, size in 8..1448_usize, count in 2..40_usize, last in 1..1448_usize,
                seq: u32, id: u16, fill: u8,
            ) {
                let frames: Vec<_> = (0..count)
                    .map(|n| {
                        let len = if n + 1 == count { last.min(size) } else { size };
                        let payload: Vec<u8> = (0..len).map(|byte| fill.wrapping_add((byte * 7 + n) as u8)).collect();
                        segment(kind, tags, seq.wrapping_add((n * size) as u32), id.wrapping_add(n as u16), &payload)
                    })
                    .collect();
                let joinable = joinable(known(&burst(&frames)));
    let mut len = 14 + 4 * tags;
                len = frames[0].len() - size - len;
                let fits = |payload: &[u8]| { len += payload.len() - (frames[0].len() - size); len <= 65_535 };
                prop_assert_eq!(joinable, frames.iter().map(Vec::as_slice).map(fits).take_while(|&fits| fits).count());
                let (super_frame, meta) = joined(&frames[..joinable]);
                prop_assert!(Offload::decode(&meta.offload.encode(), super_frame.len()).is_ok());
                if joinable > 1 {
                    prop_assert_eq!(cut(&super_frame, &meta), &frames[..joinable]);
                }
            }

            #[test]
            fn any_frames_are_survived(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 14..120), 2..5),
                v6: bool,
            ) {
                let mut frames = frames;
                for frame in &mut frames {
                    frame[6] &= 0xfe;
                    frame[6] |= 2;
                    frame[12..14].copy_from_slice(&if v6 { [0x86, 0xdd] } else { [8, 0] });
                }
                let burst = burst(&frames);
                let count = joinable(known(&burst));
                let mut out = vec![0; MAX_FRAME];
                join(known(&burst).take(count), &mut out);
            }
        }
}

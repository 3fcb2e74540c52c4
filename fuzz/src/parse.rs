//! One frame through everything that reads it. Input: a `virtio_net_hdr`, then the frame.

use packet::offload::{Segments, complete_checksum};
use packet::{Burst, Ipv4Packet, Ipv6Packet, NetworkId, Offload, VNET_HDR_LEN, Verdict, parse};

/// Panics if something is wrong.
pub fn run(data: &[u8]) {
    let Some((header, frame)) = data.split_first_chunk::<VNET_HDR_LEN>() else { return };
    let Ok(offload) = Offload::decode(header, frame.len()) else { return };
    // Nobody vouches for a checksum that isn't there yet.
    let expected = Offload { checksum_valid: offload.checksum_valid && !offload.needs_checksum, ..offload };
    assert_eq!(Offload::decode(&offload.encode(), frame.len()), Ok(expected));
    let mut burst = Burst::new();
    burst.restart(None, NetworkId::new(0));
    if !burst.push(frame, offload) {
        return;
    }
    parse(&mut burst);
    let meta = burst.metas()[0];
    let l3 = usize::from(meta.l3);
    if meta.verdict != Verdict::Undecided {
        return;
    }
    assert!(l3 <= frame.len());
    if let Ok(ip) = Ipv4Packet::parse(&frame[l3..]) {
        assert!(usize::from(ip.header_len) <= usize::from(ip.total_len));
        assert!(usize::from(ip.total_len) <= frame.len() - l3);
    }
    if let Ok(ip) = Ipv6Packet::parse(&frame[l3..]) {
        assert!(u32::from(ip.header_len) <= ip.total_len);
        assert!(ip.total_len as usize <= frame.len() - l3);
        assert!(ip.next_at < ip.header_len);
        assert!(ip.fragment_header(&frame[l3..]).is_some() == ip.has_fragment_header);
    }
    assert!(offload.packet_len(frame, l3, meta.ether_type) <= frame.len() - l3);
    if let Ok(mut segments) = Segments::new(frame, &meta) {
        let (mut out, mut sent) = (vec![0; frame.len()], 0);
        while let Some(len) = segments.next_into(&mut out) {
            assert!(len <= frame.len());
            sent += len;
        }
        assert!(sent >= frame.len());
    }
    complete_checksum(&mut frame.to_vec(), &mut { offload });
}

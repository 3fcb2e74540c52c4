//! Stage 1: bytes to `FrameMeta`. Layer 2 only, on every frame: a bridge doesn't judge layer 3.

use crate::{Burst, DropReason, EtherType, Frame, FrameMeta, FrameTag, MacAddr, Vid};

/// Finds the addresses, the VLAN and the EtherType of each frame.
///
/// Drops: `FrameTooShort`, `BadVlanTag`, `BadSourceMac`. About 2 ns a frame.
pub fn parse(burst: &mut Burst) {
    burst.for_each(|_, Frame { meta, bytes }| match parse_frame(meta, bytes) {
        // What was dropped while it was received teaches nothing.
        Ok(()) => meta.learn = !meta.is_dropped(),
        Err(reason) => meta.refuse(reason),
    });
}

fn parse_frame(meta: &mut FrameMeta, bytes: &[u8]) -> Result<(), DropReason> {
    let (head, rest) = bytes.split_first_chunk::<14>().ok_or(DropReason::FrameTooShort)?;
    let [d0, d1, d2, d3, d4, d5, source_and_type @ ..] = *head;
    let source_and_type = u64::from_be_bytes(source_and_type);
    meta.dst = MacAddr::new([d0, d1, d2, d3, d4, d5]);
    meta.src = MacAddr::from_u64(source_and_type >> 16);
    meta.ether_type = EtherType(source_and_type as u16);
    meta.l3 = 14;
    if !meta.src.is_station() {
        return Err(DropReason::BadSourceMac);
    }
    if meta.ether_type == EtherType::VLAN || meta.ether_type == EtherType::SERVICE_VLAN {
        return parse_tags(meta, rest);
    }
    Ok(())
}

/// The outermost tag gives the VLAN; one more is stepped over.
#[cold]
fn parse_tags(meta: &mut FrameMeta, mut rest: &[u8]) -> Result<(), DropReason> {
    let mut outermost = true;
    while meta.ether_type == EtherType::VLAN || meta.ether_type == EtherType::SERVICE_VLAN {
        let Some((&[i0, i1, t0, t1], behind)) = rest.split_first_chunk::<4>() else {
            return Err(DropReason::FrameTooShort);
        };
        if outermost {
            let tci = u16::from_be_bytes([i0, i1]);
            // A tag that has only a priority says VLAN 0. IEEE 802.1Q, table 9-2.
            meta.vid = Vid::new(tci & 0xfff).ok_or(DropReason::BadVlanTag)?;
            meta.tag = FrameTag::in_line(meta.ether_type == EtherType::SERVICE_VLAN, tci);
        } else if meta.l3 >= MAX_TAGS_END {
            break;
        }
        outermost = false;
        meta.ether_type = EtherType(u16::from_be_bytes([t0, t1]));
        meta.l3 += 4;
        rest = behind;
    }
    Ok(())
}

/// Two tags, as provider bridges use; what is behind a third is payload.
const MAX_TAGS_END: u16 = 14 + 2 * 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::eth;
    use crate::{NetworkId, Offload, Verdict};

    fn meta_of(bytes: &[u8]) -> FrameMeta {
        let mut burst = Burst::new();
        burst.restart(None, NetworkId::new(0));
        assert!(burst.push(bytes, Offload::NONE));
        parse(&mut burst);
        burst.metas()[0]
    }

    #[test]
    fn an_untagged_frame_is_in_no_vlan() {
        let meta = meta_of(&eth().ether_type(EtherType::IPV4).payload(b"x"));
        assert_eq!(
            (meta.vid, meta.l3, meta.ether_type, meta.verdict),
            (Vid::UNTAGGED, 14, EtherType::IPV4, Verdict::Undecided)
        );
    }

    #[test]
    fn the_outermost_tag_gives_the_vlan() {
        let meta = meta_of(&eth().vlan(7).vlan(9).ether_type(EtherType::ARP).payload(b"x"));
        assert_eq!((meta.vid.get(), meta.l3, meta.ether_type), (7, 22, EtherType::ARP));
    }

    #[test]
    fn a_priority_tag_names_no_vlan() {
        let meta = meta_of(&eth().vlan(0).ether_type(EtherType::IPV4).payload(b""));
        assert_eq!((meta.vid, meta.l3), (Vid::UNTAGGED, 18));
    }

    #[test]
    fn broken_layer_two_is_dropped_with_its_reason() {
        let whole = eth().vlan(7).ether_type(EtherType::IPV4).payload(b"");
        for len in 0..whole.len() {
            assert_eq!(meta_of(&whole[..len]).verdict, Verdict::Drop(DropReason::FrameTooShort), "{len}");
        }
        assert_eq!(meta_of(&eth().vlan(4095).payload(b"")).verdict, Verdict::Drop(DropReason::BadVlanTag));
        for src in [MacAddr::BROADCAST, MacAddr::ZERO] {
            assert_eq!(
                meta_of(&eth().src(src).payload(b"")).verdict,
                Verdict::Drop(DropReason::BadSourceMac)
            );
        }
    }

    #[test]
    fn a_broken_ip_header_is_none_of_the_bridges_business() {
        let meta = meta_of(&eth().ether_type(EtherType::IPV4).payload(&[0xff; 3]));
        assert_eq!(meta.verdict, Verdict::Undecided);
    }
}

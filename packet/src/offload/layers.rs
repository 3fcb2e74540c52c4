//! Where layer 4 of a packet is.

use crate::wire::{FromBytes, Ipv4Header, Ipv6Header};
use crate::{EtherType, Protocol, extensions};

/// Which protocol's header comes behind that of IP, and where in `frame` it starts; `None` if there is no such header, or the
/// packet is a fragment. The packet starts at `l3`.
pub(super) fn layer4(frame: &[u8], l3: usize, ether_type: EtherType) -> Option<(Protocol, usize)> {
    let packet = frame.get(l3..)?;
    let (protocol, l4) = match ether_type {
        EtherType::IPV4 => {
            let (ip, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
            let is_fragment = ip.flags_fragment.get() & (Ipv4Header::OFFSET_MASK | Ipv4Header::MF) != 0;
            let len = usize::from(ip.version_ihl & 0xf) * 4;
            (len >= Ipv4Header::LEN && !is_fragment).then_some((Protocol(ip.protocol), l3 + len))?
        }
        EtherType::IPV6 => behind_extensions(frame, l3)?,
        _ => return None,
    };
    (l4 < frame.len()).then_some((protocol, l4))
}

/// Steps over the extension headers that an unfragmented packet may have. RFC 8200, 4.
fn behind_extensions(frame: &[u8], l3: usize) -> Option<(Protocol, usize)> {
    let packet = frame.get(l3..)?;
    let (ip, _) = Ipv6Header::ref_from_prefix(packet).ok()?;
    if matches!(Protocol(ip.next_header), Protocol::TCP | Protocol::UDP) {
        return Some((Protocol(ip.next_header), l3 + Ipv6Header::LEN));
    }
    let chain = extensions::walk(ip.next_header, packet).ok()?;
    chain.fragment.is_none().then_some((chain.protocol, l3 + chain.end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::eth;
    use std::net::Ipv4Addr;

    #[test]
    fn options_and_extensions_are_stepped_over_and_fragments_have_no_layer_4() {
        let host = Ipv4Addr::new(10, 0, 0, 1);
        let mut frame = eth().ipv4(host, host).udp(1, 2).payload(&[0; 100]);
        assert_eq!(layer4(&frame, 14, EtherType::IPV4), Some((Protocol::UDP, 34)));
        frame[14] = 0x46;
        assert_eq!(layer4(&frame, 14, EtherType::IPV4), Some((Protocol::UDP, 38)));
        frame[20] = 0x20;
        assert_eq!(layer4(&frame, 14, EtherType::IPV4), None);
        assert_eq!(layer4(&frame, 14, EtherType::ARP), None);

        let mut frame = vec![0; 200];
        (frame[20], frame[54], frame[55], frame[70]) = (0, 60, 1, 6);
        assert_eq!(layer4(&frame, 14, EtherType::IPV6), Some((Protocol::TCP, 78)));
        // A fragment; one longer than the frame.
        frame[70] = 44;
        assert_eq!(layer4(&frame, 14, EtherType::IPV6), None);
        frame[55] = 255;
        assert_eq!(layer4(&frame, 14, EtherType::IPV6), None);
    }
}

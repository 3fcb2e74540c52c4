//! Which of a guest's receive rings a frame goes to: a flow stays with one, so that its frames stay in order.

use packet::hash::fnv1a_32;
use packet::{EtherType, FrameMeta, Protocol};

/// The same number for all frames of a flow, as far as addresses and ports tell; for other frames, of a pair of
/// stations. Good for spreading, not for tables.
pub(super) fn flow_number(bytes: &[u8], meta: &FrameMeta) -> usize {
    let packet = bytes.get(usize::from(meta.l3)..).unwrap_or(&[]);
    let (addresses, ports) = match (meta.ether_type, packet.first()) {
        (EtherType::IPV4, Some(0x45)) => {
            // A fragment without ports must not leave its flow: then none of the fragments counts them.
            let fragment = packet.get(6..8).is_none_or(|word| word[0] & 0x3f != 0 || word[1] != 0);
            (packet.get(12..20), ports(packet, 9, 20).filter(|_| !fragment))
        }
        (EtherType::IPV6, _) => (packet.get(8..40), ports(packet, 6, 40)),
        _ => (None, None),
    };
    let addresses = addresses.or(bytes.get(..12)).unwrap_or(&[]);
    (fnv1a_32(addresses.iter().chain(ports.unwrap_or(&[])).copied()) >> 16) as usize
}

/// The ports of a packet whose protocol is at `protocol` and whose header ends at `end`.
fn ports(packet: &[u8], protocol: usize, end: usize) -> Option<&[u8]> {
    let has_ports = matches!(Protocol(*packet.get(protocol)?), Protocol::TCP | Protocol::UDP);
    packet.get(end..end + 4).filter(|_| has_ports)
}

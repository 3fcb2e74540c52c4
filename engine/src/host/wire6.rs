//! What several protocols of IPv6 write.

use packet::MacAddr;

/// The option with a link-layer address. RFC 4861, 4.6.1.
pub(super) fn link_layer_address(kind: u8, mac: MacAddr) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac.octets();
    [kind, 1, a, b, c, d, e, f]
}

/// A name as labels with their lengths. RFC 1035, 3.1.
pub(super) fn encoded_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty() && label.len() < 64);
    let mut encoded: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    encoded.push(0);
    encoded
}

/// The sender's link-layer address.
pub(super) const SOURCE: u8 = 1;
/// The target's.
pub(super) const TARGET: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_as_labels() {
        assert_eq!(encoded_name("lan.example"), b"\x03lan\x07example\0");
    }
}

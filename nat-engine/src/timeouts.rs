//! How long an idle flow lives.

use packet::Millis;

/// Idle times per class. The defaults meet the floors of the RFCs cited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// UDP. RFC 4787 REQ-5: not below 2 min, 5 min recommended.
    pub udp: Millis,
    /// TCP before the handshake is complete. RFC 5382 REQ-5: not below 4 min.
    pub tcp_opening: Millis,
    /// TCP with the handshake complete. RFC 5382 REQ-5: not below 2 h 4 min.
    pub tcp_established: Millis,
    /// TCP after FINs from both sides, or RST. RFC 5382 REQ-5 and RFC 7857, 2.1 and 2.2: not below 4 min.
    pub tcp_closing: Millis,
    /// ICMP queries. RFC 5508 REQ-2: not below 60 s.
    pub icmp: Millis,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            udp: Millis::from_secs(300),
            tcp_opening: Millis::from_secs(240),
            tcp_established: Millis::from_secs(7440),
            tcp_closing: Millis::from_secs(240),
            icmp: Millis::from_secs(60),
        }
    }
}

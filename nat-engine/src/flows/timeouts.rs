//! How long an idle flow lives.

use packet::Millis;

/// Idle times per class. The defaults meet the floors of the RFCs cited.
///
/// DCCP has the times of TCP (RFC 5597 REQ-5), UDP-Lite that of UDP. A flow may outlive its time by one second, never fall short of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// UDP, and protocols without ports. RFC 4787 REQ-5: not below 2 min, 5 min recommended.
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

impl Timeouts {
    pub(crate) const fn of(&self, class: TimeoutClass) -> Millis {
        match class {
            TimeoutClass::Udp => self.udp,
            TimeoutClass::TcpOpening => self.tcp_opening,
            TimeoutClass::TcpEstablished => self.tcp_established,
            TimeoutClass::TcpClosing => self.tcp_closing,
            TimeoutClass::Icmp => self.icmp,
        }
    }
}

/// Which of the [`Timeouts`] a flow is under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum TimeoutClass {
    Udp,
    TcpOpening,
    TcpEstablished,
    TcpClosing,
    Icmp,
}

impl TimeoutClass {
    pub(crate) const ALL: [Self; 5] =
        [Self::Udp, Self::TcpOpening, Self::TcpEstablished, Self::TcpClosing, Self::Icmp];
}

//! Where a TCP connection is in its life, as far as one can tell from flags passing by. RFC 7857, 2.
//!
//! ```text
//! state         what arrives                   goes to        timeout class
//! syn-sent      SYN from the other side        syn-received   opening
//!               RST                            reset
//! syn-received  ACK without SYN                established    opening
//!               RST                            reset
//! established   FIN from one side              half-closed    established
//!               RST                            reset
//! half-closed   FIN from the other side        closing        established
//!               RST                            reset
//! closing       SYN                            syn-sent       closing     the ports are used again
//! reset         SYN                            syn-sent       closing     the ports are used again
//!               anything else but RST          before RST     closing     the RST was forged: RFC 7857, 2.2
//! ```
//!
//! A SYN may start from either side, so that simultaneous open (RFC 5382 REQ-2a) is not a special case. Figure 1 of the
//! RFC takes the second SYN for established already; here only the ACK that the two sides' handshake ends with counts, so
//! that a flood of answered SYNs goes after minutes, not hours. RST and FIN far from where the connection is don't arrive
//! here at all: see [`Flow::note`](crate::flows::flow::Flow::note).

use packet::wire::TcpHeader;

use crate::flows::timeouts::TimeoutClass;
use crate::flows::tuple::Direction;

/// What has been seen of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct TcpState(u8);

impl TcpState {
    /// Two bits each, one per [`Direction`].
    const SYN: u8 = 0b0000_0001;
    const FIN: u8 = 0b0000_0100;
    const ACKED: u8 = 0b0001_0000;
    const RST: u8 = 0b0010_0000;
    const BOTH: u8 = 0b11;

    pub(crate) const fn to_bits(self) -> u8 {
        self.0
    }

    /// `None` for bits that mean nothing.
    pub(crate) const fn from_bits(bits: u8) -> Option<Self> {
        if bits < 1 << 6 { Some(Self(bits)) } else { None }
    }

    /// Whether a packet with these flags may start a connection.
    pub(crate) const fn may_start(flags: u8) -> bool {
        flags & (TcpHeader::SYN | TcpHeader::ACK | TcpHeader::RST | TcpHeader::FIN) == TcpHeader::SYN
    }

    /// The state after a segment with these flags.
    #[inline]
    #[must_use]
    pub(crate) fn after(self, direction: Direction, flags: u8) -> Self {
        // Nothing left to learn: data on an established connection.
        let news = TcpHeader::SYN | TcpHeader::FIN | TcpHeader::RST;
        if flags & news == 0 && self.0 & (Self::ACKED | Self::RST) == Self::ACKED {
            return self;
        }
        self.after_event(direction, flags)
    }

    fn after_event(self, direction: Direction, flags: u8) -> Self {
        let side = direction as u8;
        if flags & TcpHeader::RST != 0 {
            return Self(self.0 | Self::RST);
        }
        if flags & TcpHeader::SYN != 0 {
            let before = if self.class() == TimeoutClass::TcpClosing { 0 } else { self.0 };
            return Self(before | Self::SYN << side);
        }
        let mut seen = self.0;
        if self.is_answered() {
            seen &= !Self::RST;
            if flags & TcpHeader::ACK != 0 {
                seen |= Self::ACKED;
            }
        }
        if flags & TcpHeader::FIN != 0 {
            seen |= Self::FIN << side;
        }
        Self(seen)
    }

    #[inline]
    pub(crate) const fn class(self) -> TimeoutClass {
        if self.0 & Self::RST != 0 || self.fins() == Self::BOTH {
            TimeoutClass::TcpClosing
        } else if self.0 & Self::ACKED != 0 {
            TimeoutClass::TcpEstablished
        } else {
            TimeoutClass::TcpOpening
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match (self.class(), self.fins()) {
            (TimeoutClass::TcpClosing, _) if self.0 & Self::RST != 0 => "reset",
            (TimeoutClass::TcpClosing, _) => "closing",
            (TimeoutClass::TcpEstablished, 0) => "established",
            (TimeoutClass::TcpEstablished, _) => "half-closed",
            _ if self.is_answered() => "syn-received",
            _ => "syn-sent",
        }
    }

    const fn is_answered(self) -> bool {
        (self.0 / Self::SYN) & Self::BOTH == Self::BOTH
    }

    const fn fins(self) -> u8 {
        (self.0 / Self::FIN) & Self::BOTH
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};

    const SYN: u8 = TcpHeader::SYN;
    const ACK: u8 = TcpHeader::ACK;
    const FIN: u8 = TcpHeader::FIN;
    const RST: u8 = TcpHeader::RST;

    fn names(segments: &[(Direction, u8)]) -> Vec<&'static str> {
        let mut state = TcpState::default();
        let step = |&(direction, flags): &(Direction, u8)| {
            state = state.after(direction, flags);
            state.name()
        };
        segments.iter().map(step).collect()
    }

    #[test]
    fn a_connection_opens_and_closes() {
        assert_eq!(
            names(&[
                (Original, SYN),
                (Reply, SYN | ACK),
                (Original, ACK),
                (Reply, ACK),
                (Original, FIN | ACK),
                (Reply, ACK),
                (Reply, FIN | ACK),
                (Original, ACK),
            ]),
            [
                "syn-sent",
                "syn-received",
                "established",
                "established",
                "half-closed",
                "half-closed",
                "closing",
                "closing"
            ]
        );
    }

    #[test]
    fn rfc5382_req2a_simultaneous_open_is_established() {
        assert_eq!(
            names(&[
                (Original, SYN),
                (Reply, SYN),
                (Original, SYN | ACK),
                (Reply, SYN | ACK),
                (Original, ACK)
            ]),
            ["syn-sent", "syn-received", "syn-received", "syn-received", "established"]
        );
    }

    #[test]
    fn a_half_open_connection_never_counts_as_established() {
        assert_eq!(names(&[(Original, SYN), (Original, ACK), (Original, ACK)]), ["syn-sent"; 3]);
        assert_eq!(names(&[(Original, SYN), (Reply, RST | ACK), (Original, ACK)])[1..], ["reset", "reset"]);
    }

    #[test]
    fn rfc7857_s2_2_traffic_after_a_forged_rst_restores_the_connection() {
        let forged = [(Original, SYN), (Reply, SYN | ACK), (Original, ACK), (Reply, RST), (Original, ACK)];
        assert_eq!(names(&forged)[3..], ["reset", "established"]);
    }

    #[test]
    fn a_syn_after_the_end_starts_anew() {
        let reuse = [(Original, SYN), (Reply, RST), (Original, SYN), (Reply, SYN | ACK), (Original, ACK)];
        assert_eq!(names(&reuse)[1..], ["reset", "syn-sent", "syn-received", "established"]);
    }

    #[test]
    fn only_a_bare_syn_starts_a_connection() {
        assert!(TcpState::may_start(SYN) && TcpState::may_start(SYN | 0xc0));
        for flags in [0, ACK, SYN | ACK, SYN | RST, SYN | FIN, RST] {
            assert!(!TcpState::may_start(flags));
        }
    }
}

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
//! that a flood of answered SYNs goes after minutes, not hours. An RST or FIN counts only from someone who knows where the
//! connection is: see [`sequence`](crate::flows::sequence). Of one whose numbers nobody knows, as its handshake contradicted
//! itself, a FIN counts and an RST doesn't.

use packet::wire::TcpHeader;

use crate::flows::sequence::{Segment, Sequence};
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
    /// The numbers of both sides are known.
    const KNOWN: u8 = 0b0100_0000;
    /// The upper halves of their numbers are.
    const ROUGH: u8 = 0b1000_0000;
    const BOTH: u8 = 0b11;

    pub(crate) const fn to_bits(self) -> u8 {
        self.0
    }

    /// `None` for bits that mean nothing.
    pub(crate) const fn from_bits(bits: u8) -> Option<Self> {
        let known = bits & (Self::KNOWN | Self::ROUGH);
        if known == Self::KNOWN | Self::ROUGH { None } else { Some(Self(bits)) }
    }

    /// From bits that know nothing of numbers; `is_rough` if there are those halves.
    pub(crate) const fn from_old_bits(bits: u8, is_rough: bool) -> Option<Self> {
        match bits {
            bits if bits >= Self::KNOWN => None,
            bits if is_rough && bits & Self::ACKED != 0 => Some(Self(bits | Self::ROUGH)),
            bits => Some(Self(bits)),
        }
    }

    /// Whether a packet with these flags may start a connection.
    pub(crate) const fn may_start(flags: u8) -> bool {
        flags & (TcpHeader::SYN | TcpHeader::ACK | TcpHeader::RST | TcpHeader::FIN) == TcpHeader::SYN
    }

    /// Whether a segment with these flags leaves it as it is: data on an established connection.
    #[inline]
    pub(crate) const fn is_known_to_stay(self, flags: u8) -> bool {
        let news = TcpHeader::SYN | TcpHeader::FIN | TcpHeader::RST;
        flags & (news | TcpHeader::ACK) == TcpHeader::ACK
            && self.0 & (Self::ACKED | Self::RST | Self::KNOWN) == Self::ACKED | Self::KNOWN
    }

    /// Goes along with a segment; `false` if it is an end that doesn't count.
    pub(crate) fn hear(
        &mut self,
        sequence: &mut Sequence,
        direction: Direction,
        flags: u8,
        segment: Segment,
    ) -> bool {
        let counts = if flags & TcpHeader::RST != 0 {
            self.is_reset_by(sequence, direction, flags, segment)
        } else if flags & TcpHeader::SYN != 0 {
            self.hear_syn(sequence, direction, flags, segment);
            return true;
        } else {
            let is_believed = flags & TcpHeader::ACK != 0 && self.follow(sequence, direction, segment);
            flags & TcpHeader::FIN == 0 || is_believed || self.0 & (Self::KNOWN | Self::ROUGH) == 0
        };
        if counts {
            *self = self.after(direction, flags);
        }
        counts
    }

    fn is_reset_by(self, sequence: &Sequence, direction: Direction, flags: u8, segment: Segment) -> bool {
        if self.0 & Self::KNOWN != 0 {
            return sequence.is_exact(direction, segment.seq);
        }
        let answers_syn = self.has_syn(direction.other()) && !self.has_syn(direction);
        answers_syn && flags & TcpHeader::ACK != 0 && sequence.acknowledges(direction, segment.ack)
    }

    fn hear_syn(&mut self, sequence: &mut Sequence, direction: Direction, flags: u8, segment: Segment) {
        let before = self.opening();
        *self = self.after(direction, flags);
        if before.0 & Self::ACKED != 0 && before.0 & (Self::KNOWN | Self::ROUGH) != 0 {
            // Whoever sent it is told where the connection is, and resets that if it isn't his: RFC 5961, 4.
            return;
        }
        if flags & TcpHeader::ACK != 0 {
            // Two that contradict each other can't both be from who was asked.
            let is_known = before.has_syn(direction.other()) && sequence.answer(direction, segment);
            self.0 = self.0 & !Self::KNOWN | if is_known { Self::KNOWN } else { 0 };
        } else if !before.has_syn(direction) {
            sequence.open(direction, segment);
        } else if !before.is_answered() {
            sequence.open_again(direction, segment);
        }
    }

    fn follow(&mut self, sequence: &mut Sequence, direction: Direction, segment: Segment) -> bool {
        if self.0 & Self::ROUGH != 0 && sequence.learn(direction, segment) {
            self.0 ^= Self::ROUGH | Self::KNOWN;
        }
        self.0 & Self::KNOWN != 0 && sequence.follow(direction, segment)
    }

    /// The state after a segment with these flags that counts.
    #[must_use]
    pub(crate) fn after(self, direction: Direction, flags: u8) -> Self {
        let side = direction as u8;
        if flags & TcpHeader::RST != 0 {
            return Self(self.0 | Self::RST);
        }
        if flags & TcpHeader::SYN != 0 {
            return Self(self.opening().0 | Self::SYN << side);
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

    /// What a SYN adds to: nothing, if it starts anew.
    fn opening(self) -> Self {
        if self.class() == TimeoutClass::TcpClosing { Self::default() } else { self }
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

    const fn has_syn(self, direction: Direction) -> bool {
        self.0 & Self::SYN << direction as u8 != 0
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

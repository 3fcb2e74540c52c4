//! Where the two sides of a TCP connection are in their sequence numbers. RFC 5961.
//!
//! ```text
//! the numbers of one side ──────┬───────────────────┬─────────▶
//!                             acked      sent       next
//!                  what the other side has      what comes next
//!
//! segment        is believed if                           and says
//! SYN            it is its side's first                   next and, as it may be acknowledged alone, acked
//!                it comes again before an answer          next
//! SYN-ACK        it acknowledges the other's SYN          next and acked of both: they are known from then on
//! any with ACK   it starts at next, or acknowledges       how far its side is, and what it has of the other
//!                the other's next
//! RST            it is at next or at acked
//! RST to a SYN   it acknowledges that SYN
//! ```
//!
//! Segments that were lost on their way here leave no gap for long: what follows them is believed
//! by what it acknowledges, or is itself acknowledged. Somebody who sees neither side has to guess
//! one of two numbers in 2³², or else changes nothing. The reset of a side that gives up is at its
//! next; that of one that knows nothing of the connection, any more, is where it was told to be: at
//! acked (RFC 9293, 3.10.7).

use crate::flows::tuple::Direction;

/// What matters here of a segment.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Segment {
    /// Its first number.
    pub(crate) seq: u32,
    /// The number behind its last.
    pub(crate) end: u32,
    /// What it acknowledges, if it does.
    pub(crate) ack: u32,
}

/// How far one side is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Side {
    pub(crate) next: u32,
    pub(crate) acked: u32,
}

/// Both sides, by the [`Direction`] in which they send.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Sequence(pub(crate) [Side; 2]);

impl Sequence {
    /// Goes along with a segment that has an ACK; `false` if it isn't believed.
    #[inline]
    pub(crate) fn follow(&mut self, direction: Direction, segment: Segment) -> bool {
        let (own, other) = self.sides(direction);
        if segment.seq != own.next && segment.ack != other.next {
            return false;
        }
        own.next = later(own.next, segment.end);
        other.next = later(other.next, segment.ack);
        other.acked = segment.ack;
        true
    }

    /// The first SYN of a side. Nothing proves that it is from there.
    pub(crate) fn open(&mut self, direction: Direction, segment: Segment) {
        self.0[direction as usize] = Side { next: segment.end, acked: behind_syn(segment) };
    }

    /// Another SYN without ACK, while there is no answer: either this one will be answered or the first.
    pub(crate) fn open_again(&mut self, direction: Direction, segment: Segment) {
        self.0[direction as usize].next = segment.end;
    }

    /// A SYN-ACK; `false` if it is none to the other side's SYN, and so from somebody who may not know it.
    pub(crate) fn answer(&mut self, direction: Direction, segment: Segment) -> bool {
        let answers = self.acknowledges(direction, segment.ack);
        if answers {
            let (own, other) = self.sides(direction);
            *own = Side { next: segment.end, acked: behind_syn(segment) };
            *other = Side { next: segment.ack, acked: segment.ack };
        }
        answers
    }

    /// Whether a segment of this direction acknowledges all that the other side has sent, or a SYN alone.
    pub(crate) fn acknowledges(&self, direction: Direction, ack: u32) -> bool {
        self.is_exact(direction.other(), ack)
    }

    /// From the upper halves of what each direction acknowledged.
    pub(crate) fn rough(acknowledged: [u16; 2]) -> Self {
        let [by_original, by_reply] = acknowledged.map(|upper| u32::from(upper) << 16);
        Self([by_reply, by_original].map(|acked| Side { next: acked, acked }))
    }

    /// Whether this is where the receiver expects the next segment.
    pub(crate) fn is_exact(&self, direction: Direction, seq: u32) -> bool {
        let Side { next, acked } = self.0[direction as usize];
        seq == next || seq == acked
    }

    /// Goes along with a segment where numbers are [`rough`](Self::rough): it must fit both, or what comes
    /// next; `false` if it doesn't. Who guesses is right once in 2³⁰ times.
    pub(crate) fn learn(&mut self, direction: Direction, segment: Segment) -> bool {
        let (own, other) = self.sides(direction);
        let fits = |number: u32, known: u32| (number >> 16).wrapping_sub(known >> 16) as u16 <= 1;
        let is_near = fits(segment.seq, own.acked) && fits(segment.ack, other.acked);
        if is_near {
            *own = Side { next: segment.end, acked: segment.seq };
            *other = Side { next: segment.ack, acked: segment.ack };
        }
        is_near
    }

    /// That of the sender, and the other one.
    #[inline]
    fn sides(&mut self, direction: Direction) -> (&mut Side, &mut Side) {
        let [original, reply] = &mut self.0;
        match direction {
            Direction::Original => (original, reply),
            Direction::Reply => (reply, original),
        }
    }
}

/// Of two numbers the one that comes later; they wrap.
#[inline]
const fn later(a: u32, b: u32) -> u32 {
    if (b.wrapping_sub(a) as i32) > 0 { b } else { a }
}

/// What the other side acknowledges at least if it takes the SYN: data that comes with it may be left for later.
const fn behind_syn(segment: Segment) -> u32 {
    segment.seq.wrapping_add(1)
}

//! Later fragments that came before their first one, which alone tells where they go. RFC 4787 REQ-14.
//!
//! ```text
//! Known::Later ─▶ keep ─▶ [oldest … newest] ── first one came ──▶ next_ready ─▶ translated as if it came now
//!                          │         └ too many, or 2 s old: given up
//!                          └ an eighth of the room for each source at most, and a share for each port
//! ```
//!
//! They are apart from everything else, so that a flood of them costs nothing but other waiting fragments their room
//! (REQ-14a).

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use packet::{DropReason, Ipv4Packet, Millis, NetworkId, PortId, share};

use crate::flows::tuple::Tuple;
use crate::fragments::datagrams::{Datagrams, key_of};

/// Fragments that wait for the first one of their datagram.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Oldest first.
    waiting: VecDeque<WaitingFragment>,
    bytes: usize,
    /// Given up, but not yet told.
    lost: u64,
    /// How many first fragments there were when the search below began.
    seen: u64,
    /// Those before this place have been looked at since.
    searched: usize,
}

/// A fragment that was kept by [`Nat::keep_fragment`](crate::Nat::keep_fragment).
#[derive(Debug)]
pub struct WaitingFragment {
    datagram: Tuple,
    due: Millis,
    /// The port of the switch that it counts for.
    pub owner: Option<PortId>,
    /// Where it came from.
    pub from: NetworkId,
    /// What was kept of it.
    pub bytes: Vec<u8>,
}

impl Waiting {
    /// Keeps a fragment. The oldest one has to go if there is no room. It counts for the port `owner`, if that is given.
    ///
    /// # Errors
    /// `FragmentQueueFull`: more of that sender's or port's fragments are waiting than may.
    pub(super) fn keep(
        &mut self,
        ip: &Ipv4Packet,
        from: NetworkId,
        owner: Option<PortId>,
        bytes: &[u8],
        now: Millis,
    ) -> Result<(), DropReason> {
        let of_sender = self.waiting.iter().filter(|fragment| fragment.source() == ip.src);
        let (frames, len) = of_sender
            .fold((1, bytes.len()), |(frames, len), fragment| (frames + 1, len + fragment.bytes.len()));
        if frames > FRAMES / SHARE || len > BYTES / SHARE || !self.has_share(owner) {
            return Err(DropReason::FragmentQueueFull);
        }
        while self.waiting.len() >= FRAMES || self.bytes + bytes.len() > BYTES {
            self.remove(0);
            self.lost += 1;
        }
        self.bytes += bytes.len();
        let fragment =
            WaitingFragment { datagram: key_of(ip), due: now + PATIENCE, owner, from, bytes: bytes.to_vec() };
        self.waiting.push_back(fragment);
        Ok(())
    }

    /// Whether one more may wait of those of `owner`.
    fn has_share(&self, owner: Option<PortId>) -> bool {
        let of_owner = self.waiting.iter().filter(|fragment| fragment.owner == owner);
        let (frames, len) =
            of_owner.fold((0, 0), |(frames, len), fragment| (frames + 1, len + fragment.bytes.len()));
        owner.is_none()
            || share::may_take(frames, self.waiting.len(), FRAMES) && share::may_take(len, self.bytes, BYTES)
    }

    /// A fragment whose first one has come since.
    pub(super) fn next_ready(&mut self, datagrams: &Datagrams, now: Millis) -> Option<WaitingFragment> {
        if self.seen != datagrams.recorded() {
            (self.seen, self.searched) = (datagrams.recorded(), 0);
        }
        while let Some(fragment) = self.waiting.get(self.searched) {
            if datagrams.find(fragment.datagram, now).is_some() {
                return self.remove(self.searched);
            }
            self.searched += 1;
        }
        None
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do; a moment that has passed means at once.
    pub(super) fn next_timeout(&self) -> Option<Millis> {
        if self.searched < self.waiting.len() {
            return Some(Millis::ZERO);
        }
        self.waiting.front().map(|fragment| fragment.due)
    }

    /// Gives up fragments whose time is over.
    pub(super) fn on_timeout(&mut self, now: Millis) {
        while self.waiting.front().is_some_and(|fragment| fragment.due <= now) {
            self.remove(0);
            self.lost += 1;
        }
    }

    /// How many were given up since the last call.
    pub(super) const fn take_lost(&mut self) -> u64 {
        std::mem::replace(&mut self.lost, 0)
    }

    fn remove(&mut self, place: usize) -> Option<WaitingFragment> {
        let fragment = self.waiting.remove(place)?;
        self.bytes -= fragment.bytes.len();
        self.searched -= usize::from(place < self.searched);
        Some(fragment)
    }
}

impl WaitingFragment {
    fn source(&self) -> Ipv4Addr {
        self.datagram.source_address()
    }
}

/// Fragments that wait at once: their list is gone through for each that comes.
const FRAMES: usize = 1024;
/// Bytes that wait at once.
const BYTES: usize = 1 << 20;
/// One sender may have this part of both: two datagrams of 64 KiB, or one in fragments of 576 bytes.
const SHARE: usize = 8;
/// How long a first fragment may be late. Packets overtake each other by milliseconds; a datagram that is sent again has another
/// identification.
const PATIENCE: Millis = Millis::from_secs(2);

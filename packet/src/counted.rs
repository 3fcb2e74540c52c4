//! Counters of a port. Plain integers: a worker owns its own, readers get a copy.

use crate::DropReason;

/// How many frames were dropped for each reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DropCounters([u64; DropReason::COUNT]);

impl Default for DropCounters {
    fn default() -> Self {
        Self([0; DropReason::COUNT])
    }
}

impl DropCounters {
    /// Counts one frame dropped for `reason`.
    pub const fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Counts so many frames dropped for `reason`.
    pub const fn count_many(&mut self, reason: DropReason, frames: u64) {
        self.0[reason as usize] += frames;
    }

    /// Frames dropped for `reason`.
    pub const fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Frames dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The reasons that occurred, with their counts.
    pub fn nonzero(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.of(reason))).filter(|&(_, count)| count > 0)
    }
}

/// What a port received, sent and dropped. Frames, and bytes from the destination MAC on; a super-frame counts as one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PortCounters {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Received frames whose destination was unknown or a group, and that were flooded.
    pub flooded: u64,
    /// Source addresses not learned because the table or the port's share of it was full, or because they move to and fro
    /// too fast. The frame passed.
    pub learn_refused: u64,
    /// Frames dropped: received ones by any stage, sent ones by the port.
    pub drops: DropCounters,
}

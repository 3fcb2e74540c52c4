//! Whether the loop looks for frames all the time, or sleeps until there is an event.

use crate::config::PollMode;

/// What is known of the last rounds of the loop. A round is one burst of each port that is ready.
#[derive(Default)]
pub(super) struct Spin {
    mode: PollMode,
    /// Rounds since the last frame of a port that can be polled.
    idle: u32,
    rounds: u32,
}

impl Spin {
    pub(super) fn set_mode(&mut self, mode: PollMode) {
        *self = Self { mode, idle: u32::MAX, rounds: 0 };
    }

    /// Whether ports that can be polled are looked at without waiting for their events.
    pub(super) fn is_on(&self) -> bool {
        match self.mode {
            PollMode::Event => false,
            PollMode::Adaptive => self.idle < IDLE_ROUNDS,
            PollMode::Busy => true,
        }
    }

    /// A port that can be polled had frames.
    pub(super) fn note_frames(&mut self) {
        self.idle = 0;
    }

    /// A round has ended. Whether it is time to ask the system for events, which costs as much as a few frames.
    pub(super) fn end_round(&mut self) -> bool {
        self.idle = self.idle.saturating_add(1);
        self.rounds = self.rounds.wrapping_add(1);
        !self.is_on() || self.rounds.is_multiple_of(ROUNDS_PER_EVENTS)
    }
}

/// Rounds without a frame after which mode adaptive goes to sleep. A round in which two ports have nothing takes about
/// 100 ns.
const IDLE_ROUNDS: u32 = 5_000;

/// Rounds between two questions for events. A round of full bursts takes a few microseconds.
const ROUNDS_PER_EVENTS: u32 = 64;

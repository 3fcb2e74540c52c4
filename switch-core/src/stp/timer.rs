//! Timers as the standard has them: they run down to zero, or are held at a value while a port waits for something else.

use packet::Millis;

/// A timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Timer {
    /// At zero.
    #[default]
    Zero,
    /// At zero from this moment on.
    Until(Millis),
    /// Set to this time again and again, so that it doesn't run.
    Held(Millis),
}

impl Timer {
    /// A timer that runs for `span`.
    pub(crate) fn start(span: Millis, now: Millis) -> Self {
        Self::Until(now + span)
    }

    /// Whether it is at zero.
    pub(crate) fn is_zero(self, now: Millis) -> bool {
        match self {
            Self::Zero => true,
            Self::Until(end) => end <= now,
            Self::Held(span) => span == Millis::ZERO,
        }
    }

    /// Nobody holds it any more: it runs.
    pub(crate) fn release(&mut self, now: Millis) {
        if let Self::Held(span) = *self {
            *self = Self::start(span, now);
        }
    }

    /// When it comes to zero.
    pub(crate) const fn end(self) -> Option<Millis> {
        match self {
            Self::Until(end) => Some(end),
            Self::Zero | Self::Held(_) => None,
        }
    }
}

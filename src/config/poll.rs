//! Whether the switch waits for frames or looks for them.

/// How the switch learns of frames on ports that it can look at without a system call: those of type vhost-user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PollMode {
    /// It sleeps until there is an event.
    #[default]
    Event,
    /// It looks all the time while traffic flows, and for about half a millisecond after.
    Adaptive,
    /// It looks all the time, and takes a processor for itself.
    Busy,
}

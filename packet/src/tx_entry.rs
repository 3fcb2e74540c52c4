//! What a port is to do with a frame of a burst.

/// A frame on a port's list: which one of the burst, and how this port's copy of it differs from the frame in the burst.
/// So far none does; [`Burst::outgoing`](crate::Burst::outgoing) gives its bytes to all ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxEntry {
    frame: u8,
}

impl TxEntry {
    /// The frame with this index in the burst, which must be below [`BURST_FRAMES`](crate::BURST_FRAMES), as it is.
    #[inline]
    pub const fn as_is(frame: usize) -> Self {
        Self { frame: frame as u8 }
    }

    /// The frame's index in the burst.
    #[inline]
    pub const fn frame(self) -> usize {
        self.frame as usize
    }
}

//! What a port is to do with a frame of a burst.

/// A frame on a port's list: which one of the burst, and how this port's copy of it differs from the frame in the burst.
///
/// ```text
/// TCI:16 │ – alone:1 service:1 push:1 strip:1 frame:6
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxEntry(u32);

impl TxEntry {
    const FRAME: u32 = 0x3f;
    const STRIP: u32 = 0x40;
    const PUSH: u32 = 0x80;
    const SERVICE: u32 = 0x100;
    const ALONE: u32 = 0x200;
    const RETAGGED: u32 = Self::STRIP | Self::PUSH;

    /// The frame with this index in the burst, which must be below [`BURST_FRAMES`](crate::BURST_FRAMES), as it is.
    #[inline]
    pub const fn as_is(frame: usize) -> Self {
        Self(frame as u32)
    }

    /// The same frame without the tag behind its addresses, which must be there.
    #[inline]
    #[must_use]
    pub const fn strip(self) -> Self {
        Self(self.0 | Self::STRIP)
    }

    /// The same frame with this tag behind its addresses, before what is left of its own.
    #[inline]
    #[must_use]
    pub const fn push(self, is_service: bool, tci: u16) -> Self {
        let service = if is_service { Self::SERVICE } else { 0 };
        Self(self.0 | Self::PUSH | service | (tci as u32) << 16)
    }

    /// The same frame, which isn't to be joined with others.
    #[inline]
    #[must_use]
    pub const fn alone(self) -> Self {
        Self(self.0 | Self::ALONE)
    }

    /// Whether the port may join it with others.
    #[inline]
    pub const fn may_be_joined(self) -> bool {
        self.0 <= Self::FRAME
    }

    /// The frame's index in the burst.
    #[inline]
    pub const fn frame(self) -> usize {
        (self.0 & Self::FRAME) as usize
    }

    /// Whether the port gets the frame as it is in the burst.
    #[inline]
    pub const fn is_as_is(self) -> bool {
        self.0 & Self::RETAGGED == 0
    }

    /// Whether it gets all frames of a list so. Looks at many of them at a time.
    #[inline]
    pub fn are_as_is(list: &[Self]) -> bool {
        list.iter().fold(0, |all, entry| all | entry.0) & Self::RETAGGED == 0
    }

    /// Whether the frame loses a tag.
    pub(crate) const fn strips(self) -> bool {
        self.0 & Self::STRIP != 0
    }

    /// The tag that it gets.
    pub(crate) const fn pushes(self) -> Option<[u8; 4]> {
        if self.0 & Self::PUSH == 0 {
            return None;
        }
        let [p0, p1]: [u8; 2] = if self.0 & Self::SERVICE == 0 { [0x81, 0x00] } else { [0x88, 0xa8] };
        let [t0, t1, ..] = self.0.to_be_bytes();
        Some([p0, p1, t0, t1])
    }
}

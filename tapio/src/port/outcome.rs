//! What comes of a burst: why receiving stopped, why a link went down, and the counters of what was sent.

use std::fmt;
use std::io;

use packet::{Burst, DropReason, FrameMeta, PortCounters, TxEntry, VNET_HDR_LEN};

use crate::port::vhost::violation::Violation;

/// Why receiving stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rx {
    /// The burst is full: call again, there will be no event for what is left.
    More,
    /// Nothing is left: an event comes with the next frame.
    Drained,
    /// Nothing is left, and the link has gone down.
    LinkDown(LinkLoss),
}

/// Why a link went down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkLoss {
    /// The other side has closed the connection.
    Closed,
    /// The other side announced a frame of a length that no frame has, and the connection was closed.
    BadLength(u32),
    /// The connection broke.
    Failed(io::ErrorKind),
    /// The device is down, or its other side is.
    DeviceDown,
    /// The device was deleted.
    DeviceGone,
    /// The other side broke the vhost-user protocol, and the connection was closed.
    Violation(Violation),
    /// The guest's driver was reset or unloaded.
    DriverStopped,
}

impl LinkLoss {
    /// Why the frame was dropped that made the port close the connection.
    pub(crate) const fn drop_reason(self) -> DropReason {
        match self {
            Self::BadLength(0) => DropReason::FrameTooShort,
            _ => DropReason::FrameTooLong,
        }
    }
}

impl fmt::Display for LinkLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other side closed the connection"),
            Self::BadLength(len) => {
                write!(f, "the other side announced a frame of {len} bytes, so the connection was closed")
            }
            Self::Failed(kind) => write!(f, "the connection failed: {kind}"),
            Self::DeviceDown => f.write_str("the device is down"),
            Self::DeviceGone => f.write_str("the device is gone; waiting for it to come back"),
            Self::Violation(violation) => {
                write!(
                    f,
                    "the guest or its front-end broke the protocol, so the connection was closed: {violation}"
                )
            }
            Self::DriverStopped => f.write_str("the guest's driver has stopped"),
        }
    }
}

impl From<Violation> for LinkLoss {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// Sends the frames on a port's list, in order, and counts each as sent or as dropped. `send` gets what is known of a frame,
/// and its bytes behind [`VNET_HDR_LEN`] free ones.
#[inline]
pub(crate) fn send_each(
    burst: &mut Burst,
    list: &[TxEntry],
    counters: &mut PortCounters,
    mut send: impl FnMut(&FrameMeta, &mut [u8]) -> Result<(), DropReason>,
) {
    let are_as_is = TxEntry::are_as_is(list);
    let (mut rest, mut headroom) = (list, VNET_HDR_LEN);
    while let Some(&first) = rest.first() {
        let count = if are_as_is { rest.len() } else { 1 };
        if !first.is_as_is() {
            headroom = burst.retag(first, VNET_HDR_LEN);
        }
        for &entry in &rest[..count] {
            let (meta, bytes) = burst.outgoing(entry, headroom);
            match send(meta, bytes) {
                Ok(()) => {
                    counters.tx_frames += 1;
                    counters.tx_bytes += (bytes.len() - VNET_HDR_LEN) as u64;
                }
                Err(reason) => counters.drops.count(reason),
            }
        }
        if !first.is_as_is() {
            // The burst is everybody's.
            burst.restore(first);
            headroom = VNET_HDR_LEN;
        }
        rest = &rest[count..];
    }
}

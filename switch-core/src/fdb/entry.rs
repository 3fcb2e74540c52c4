//! The two words of an entry.

use packet::{MacAddr, PortId, Vid};

/// mac:48, and vid:12 above it. 0: no entry (a VID is never 0).
#[derive(Clone, Copy)]
pub(super) struct Key(pub(super) u64);

impl Key {
    pub(super) fn new(mac: MacAddr, vid: Vid) -> Self {
        Self(u64::from(vid.get()) << 48 | mac.to_u64())
    }

    pub(super) fn vid(self) -> Vid {
        Vid::new((self.0 >> 48 & 0xfff) as u16).unwrap_or(Vid::UNTAGGED)
    }
}

/// That stations were seen on a port.
#[derive(Clone, Copy, Debug)]
pub struct Sighting(pub(super) Value);

/// static:1, port:15, generation:16, seen:32 (seconds).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Value(pub(super) u64);

pub(super) const STATIC: u64 = 1 << 63;
const _: () = assert!(PortId::LIMIT <= 1 << 15);

impl Value {
    pub(super) const fn is_static(self) -> bool {
        self.0 & STATIC != 0
    }

    pub(super) fn port(self) -> PortId {
        PortId::new((self.0 >> 48) as u16 & (PortId::LIMIT as u16 - 1)).expect("masked to below the limit")
    }

    pub(super) const fn generation(self) -> u16 {
        (self.0 >> 32) as u16
    }

    pub(super) const fn seen(self) -> u32 {
        self.0 as u32
    }

    pub(super) const fn seen_at(self, now: u32) -> Self {
        Self(self.0 & !(u32::MAX as u64) | now as u64)
    }
}

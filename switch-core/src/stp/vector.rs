//! What bridges compare: identifiers, priority vectors and times. IEEE 802.1D-2004, 17.5 to 17.8 and 9.2.

use std::fmt;

use packet::{MacAddr, Millis};

/// A bridge identifier: priority, then address. The lower, the better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BridgeId(u64);

impl BridgeId {
    /// The identifier of a bridge with this priority and address.
    pub const fn new(priority: u16, address: MacAddr) -> Self {
        Self((priority as u64) << 48 | address.to_u64())
    }

    /// As it stands in a BPDU.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// As it stands in a BPDU.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The priority.
    pub const fn priority(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// The address.
    pub const fn address(self) -> MacAddr {
        MacAddr::from_u64(self.0)
    }
}

impl fmt::Display for BridgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.priority(), self.address())
    }
}

/// A port priority vector: the lower, the better. Its fields are in the order in which they count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Vector {
    /// The root.
    pub root: BridgeId,
    /// What the way to the root costs.
    pub cost: u32,
    /// The bridge that says so.
    pub bridge: BridgeId,
    /// The port by which it does: priority and number.
    pub port: u16,
}

impl Vector {
    /// What `bridge` says of itself while it knows of no other.
    pub const fn own(bridge: BridgeId) -> Self {
        Self { root: bridge, cost: 0, bridge, port: 0 }
    }

    /// Whether a message with this vector replaces `held`: it is better, or from whoever said what is held. 17.6.
    pub fn replaces(&self, held: &Self) -> bool {
        let speaker = |vector: &Self| (vector.bridge.address(), vector.port & PORT_NUMBER);
        self < held || speaker(self) == speaker(held)
    }
}

/// The number in a port identifier; the four bits above are its priority. 9.2.7.
pub(crate) const PORT_NUMBER: u16 = 0xfff;

/// What a BPDU says of times, in 1/256 s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Since the root spoke.
    pub message_age: u16,
    /// From then on what it said counts no more.
    pub max_age: u16,
    /// Between two BPDUs of a port.
    pub hello: u16,
    /// That a port listens, and learns.
    pub forward_delay: u16,
}

impl Times {
    /// A root's, in seconds.
    pub const fn of_root(hello: u8, max_age: u8, forward_delay: u8) -> Self {
        Self {
            message_age: 0,
            max_age: (max_age as u16) << 8,
            hello: (hello as u16) << 8,
            forward_delay: (forward_delay as u16) << 8,
        }
    }

    /// As one bridge hands them to the next. 17.21.25 d.
    #[must_use]
    pub(crate) const fn one_on(self) -> Self {
        let older = self.message_age.saturating_add(SECOND + SECOND / 2) / SECOND * SECOND;
        Self { message_age: older, ..self }
    }

    /// For how long what came with these times counts: three times the hello time, or not at all if it is too old. 17.21.23.
    pub(crate) const fn good_for(self) -> Millis {
        if self.one_on().message_age > self.max_age {
            return Millis::ZERO;
        }
        Millis::new(span(self.hello).get() * 3)
    }
}

/// A time of a BPDU.
pub(crate) const fn span(wire: u16) -> Millis {
    Millis::new(wire as u64 * 1000 / SECOND as u64)
}

/// In 1/256 s.
pub(crate) const SECOND: u16 = 256;

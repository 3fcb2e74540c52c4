//! A flow: two tuples, where it is in its life, and what passed.

use packet::{L4, Millis, Protocol};

use crate::Tuple;
use crate::slab::Id;
use crate::tcp::TcpState;
use crate::timeouts::TimeoutClass;

/// Which of a flow's two directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Direction {
    /// That of its first packet.
    Original,
    /// The other one.
    Reply,
}

impl Direction {
    #[inline]
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// What passed in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counter {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// Neighbours in the list of the flow's timeout class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Links {
    pub(crate) previous: Option<Id>,
    pub(crate) next: Option<Id>,
}

/// A flow.
///
/// Bytes: 2 × 16 tuples, 2 × 16 counters, 8 time, 8 links, 4 mapping, 2 state, 2 padding. Beside it, in the worst
/// case just after the index has grown: 2 × 10 index, 4 free list.
#[derive(Debug)]
pub(crate) struct Flow {
    /// What its packets look like when they arrive, by [`Direction`].
    pub(crate) tuples: [Tuple; 2],
    pub(crate) counters: [Counter; 2],
    /// When it last moved to the end of its list.
    pub(crate) refreshed: Millis,
    pub(crate) links: Links,
    /// The mapping its outside port is from, if its source is translated.
    pub(crate) mapping: Option<Id>,
    pub(crate) tcp: TcpState,
    /// The list it is in.
    pub(crate) class: TimeoutClass,
}

const _: () = assert!(size_of::<Option<Flow>>() == 88);

impl Flow {
    pub(crate) fn new(original: Tuple, reply: Tuple, mapping: Option<Id>) -> Self {
        Self {
            tuples: [original, reply],
            counters: [Counter::default(); 2],
            refreshed: Millis::ZERO,
            links: Links::default(),
            mapping,
            tcp: TcpState::default(),
            class: match original.protocol() {
                Protocol::TCP => TimeoutClass::TcpOpening,
                Protocol::ICMP => TimeoutClass::Icmp,
                _ => TimeoutClass::Udp,
            },
        }
    }

    /// What a packet of `direction` looks like when it leaves.
    #[inline]
    pub(crate) const fn translated(&self, direction: Direction) -> Tuple {
        self.tuples[direction.other() as usize].reversed()
    }

    /// Takes note of a packet of `len` bytes and returns the class that the flow is now in.
    #[inline]
    pub(crate) fn note(&mut self, direction: Direction, l4: L4, len: u16) -> TimeoutClass {
        let counter = &mut self.counters[direction as usize];
        counter.packets += 1;
        counter.bytes += u64::from(len);
        match l4 {
            L4::Tcp { flags, .. } => {
                self.tcp = self.tcp.after(direction, flags);
                self.tcp.class()
            }
            _ => self.class,
        }
    }

    pub(crate) const fn state_name(&self) -> &'static str {
        match self.tuples[0].protocol() {
            Protocol::TCP => self.tcp.name(),
            _ if self.counters[Direction::Reply as usize].packets > 0 => "replied",
            _ => "unreplied",
        }
    }
}

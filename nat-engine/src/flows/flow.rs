//! A flow: two tuples, where it is in its life, and what passed.

use packet::wire::TcpHeader;
use packet::{Family, L4, Protocol, V4, V6};

use crate::flows::count::Count;
use crate::flows::families::{Alone, To};
use crate::flows::packet::NatPacket;
use crate::flows::sequence::Sequence;
use crate::flows::tcp::TcpState;
use crate::flows::timeouts::TimeoutClass;
use crate::flows::tuple::{Direction, Tuple};
use crate::memory::slab::Slab;
use packet::keyed::PairHash;

/// A flow from a host of one family to one of the same or another, as far as each of its packets needs it:
/// for IPv4, one cache line.
///
/// Beside it in the table: 16 bytes of list and mappings, and 2 × 7 bytes of index.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Flow<A: To<B> = V4, B: Family = A> {
    /// The [`Tuple`]s of its packets when they arrive, by [`Direction`]. The protocol is that of the original one; in the
    /// other it is the same, or the other family's ICMP.
    addresses: A::Addresses,
    ports: [u32; 2],
    protocol: Protocol,
    pub(crate) tcp: TcpState,
    /// The list it is in.
    pub(crate) class: TimeoutClass,
    /// The second in which it last moved to the end of its list.
    pub(crate) refreshed: u32,
    /// Of TCP.
    pub(crate) sequence: Sequence,
    /// What passed, by [`Direction`]; of a flow through which more passed than has room here, the
    /// table keeps the rest.
    pub(crate) counts: [Count; 2],
}

const _: () = assert!(Slab::<Flow>::BYTES == 64);
const _: () = assert!(Slab::<Flow<V6>>::BYTES == 128 && Slab::<Flow<V6, V4>>::BYTES == 128);

impl<F: Alone> Flow<F> {
    /// What a packet of `direction` looks like when it arrives.
    #[inline]
    pub(crate) fn tuple(&self, direction: Direction) -> Tuple<F> {
        Tuple {
            addresses: self.addresses[direction as usize],
            ports: self.ports[direction as usize],
            protocol: self.protocol,
        }
    }

    /// What a packet of `direction` looks like when it leaves.
    #[inline]
    pub(crate) fn translated(&self, direction: Direction) -> Tuple<F> {
        self.tuple(direction.other()).reversed()
    }
}

impl<A: To<B>, B: Family> Flow<A, B> {
    pub(crate) fn new(original: Tuple<A>, reply: Tuple<B>) -> Self {
        Self {
            addresses: A::join(original.addresses, reply.addresses),
            ports: [original.ports, reply.ports],
            protocol: original.protocol,
            tcp: TcpState::default(),
            class: match original.protocol {
                Protocol::TCP | Protocol::DCCP => TimeoutClass::TcpOpening,
                icmp if icmp == A::ICMP => TimeoutClass::Icmp,
                _ => TimeoutClass::Udp,
            },
            refreshed: 0,
            sequence: Sequence::default(),
            counts: [Count::default(); 2],
        }
    }

    /// Puts back what was read from [`tcp`](Self::tcp) and [`sequence`](Self::sequence).
    pub(crate) fn restore(&mut self, tcp: TcpState, sequence: Sequence) {
        (self.tcp, self.sequence) = (tcp, sequence);
        if matches!(self.protocol, Protocol::TCP | Protocol::DCCP) {
            self.class = tcp.class();
        }
    }

    /// What a packet of the original direction looks like when it arrives.
    #[inline]
    pub(crate) fn original(&self) -> Tuple<A> {
        let (addresses, _) = A::split(self.addresses);
        Tuple { addresses, ports: self.ports[Direction::Original as usize], protocol: self.protocol }
    }

    /// What a packet of the reply direction looks like when it arrives.
    #[inline]
    pub(crate) fn reply(&self) -> Tuple<B> {
        let (_, addresses) = A::split(self.addresses);
        let protocol = if self.protocol == A::ICMP { B::ICMP } else { self.protocol };
        Tuple { addresses, ports: self.ports[Direction::Reply as usize], protocol }
    }

    /// The hash of one of both.
    pub(crate) fn hash(&self, direction: Direction, hash: &PairHash) -> u64 {
        match direction {
            Direction::Original => self.original().hashed(hash),
            Direction::Reply => self.reply().hashed(hash),
        }
    }

    /// Takes note of a packet and returns the class that the flow is now in; `None` if that packet doesn't prolong its life.
    #[inline]
    pub(crate) fn note(&mut self, direction: Direction, packet: &NatPacket<'_>) -> Option<TimeoutClass> {
        self.count(direction, packet.ip.total_len);
        match packet.ip.l4 {
            L4::Tcp if self.tcp.is_known_to_stay(packet.ip.tcp_flags) => {
                self.sequence.follow(direction, packet.segment());
            }
            L4::Tcp => return self.note_event(direction, packet),
            L4::Dccp => return self.note_dccp(direction, packet.ip.tcp_flags),
            _ => {}
        }
        Some(self.class)
    }

    /// Whether it has to move to the end of the list of this class.
    #[inline]
    pub(crate) fn moves(&self, class: TimeoutClass, second: u32) -> bool {
        self.class != class || self.refreshed != second
    }

    /// A segment that may change where the connection is in its life.
    #[cold]
    fn note_event(&mut self, direction: Direction, packet: &NatPacket<'_>) -> Option<TimeoutClass> {
        let (flags, mut segment) = (packet.ip.tcp_flags, packet.segment());
        let numbered = flags & (TcpHeader::SYN | TcpHeader::FIN);
        segment.end = segment.end.wrapping_add(numbered.count_ones());
        let counts = self.tcp.hear(&mut self.sequence, direction, flags, segment);
        (counts && self.is_prolonged(flags)).then(|| self.tcp.class())
    }

    /// Its flags are read as TCP's, its sequence numbers aren't looked at: a forged reset is undone by what follows.
    #[cold]
    fn note_dccp(&mut self, direction: Direction, flags: u8) -> Option<TimeoutClass> {
        self.tcp = self.tcp.after(direction, flags);
        self.is_prolonged(flags).then(|| self.tcp.class())
    }

    /// An RST ends an established connection, which then has minutes left. Elsewhere it changes no time: who is refused again
    /// and again doesn't keep a mapping open by that (RFC 7857, 7.1).
    fn is_prolonged(&self, flags: u8) -> bool {
        flags & TcpHeader::RST == 0 || self.class == TimeoutClass::TcpEstablished
    }

    /// Counts a packet of this length.
    #[inline]
    pub(crate) fn count(&mut self, direction: Direction, len: u16) {
        self.counts[direction as usize].add(len);
    }

    /// Whether nobody has answered so far.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.counts[Direction::Reply as usize].get().packets == 0
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match self.protocol {
            Protocol::TCP | Protocol::DCCP => self.tcp.name(),
            _ if self.is_unanswered() => "unreplied",
            _ => "replied",
        }
    }
}

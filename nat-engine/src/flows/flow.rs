//! A flow: two tuples, where it is in its life, and what passed.

use packet::wire::TcpHeader;
use packet::{L4, Protocol};

use crate::flows::tcp::TcpState;
use crate::flows::timeouts::TimeoutClass;
use crate::flows::tuple::Direction;
use crate::memory::slab::Slab;
use crate::{NatPacket, Tuple};

/// A flow, as far as each of its packets needs it: one cache line.
///
/// Beside it in the table: 16 bytes of list and mappings, and 2 × 7 bytes of index.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Flow {
    /// The [`Tuple`]s of its packets when they arrive, by [`Direction`]; the protocol is the same.
    addresses: [u64; 2],
    ports: [u32; 2],
    protocol: Protocol,
    pub(crate) tcp: TcpState,
    /// The list it is in.
    pub(crate) class: TimeoutClass,
    /// The second in which it last moved to the end of its list.
    pub(crate) refreshed: u32,
    /// What passed, by [`Direction`]. Of `packets`, the upper 16 bits are what TCP acknowledged last, in 64 KiB.
    pub(crate) packets: [u64; 2],
    pub(crate) bytes: [u64; 2],
}

const _: () = assert!(Slab::<Flow>::BYTES == 64);

impl Flow {
    pub(crate) fn new(original: Tuple, reply: Tuple) -> Self {
        Self {
            addresses: [original.addresses, reply.addresses],
            ports: [original.ports, reply.ports],
            protocol: original.protocol,
            tcp: TcpState::default(),
            class: match original.protocol {
                Protocol::TCP | Protocol::DCCP => TimeoutClass::TcpOpening,
                Protocol::ICMP => TimeoutClass::Icmp,
                _ => TimeoutClass::Udp,
            },
            refreshed: 0,
            packets: [0; 2],
            bytes: [0; 2],
        }
    }

    /// Puts back what was read from [`tcp`](Self::tcp), [`packets`](Self::packets) and [`bytes`](Self::bytes).
    pub(crate) fn restore(&mut self, tcp: TcpState, packets: [u64; 2], bytes: [u64; 2]) {
        (self.tcp, self.packets, self.bytes) = (tcp, packets, bytes);
        if matches!(self.protocol, Protocol::TCP | Protocol::DCCP) {
            self.class = tcp.class();
        }
    }

    /// What a packet of `direction` looks like when it arrives.
    #[inline]
    pub(crate) const fn tuple(&self, direction: Direction) -> Tuple {
        Tuple {
            addresses: self.addresses[direction as usize],
            ports: self.ports[direction as usize],
            protocol: self.protocol,
        }
    }

    /// What a packet of `direction` looks like when it leaves.
    #[inline]
    pub(crate) const fn translated(&self, direction: Direction) -> Tuple {
        self.tuple(direction.other()).reversed()
    }

    /// Takes note of a packet and returns the class that the flow is now in; `None` if that packet doesn't prolong its life.
    #[inline]
    pub(crate) fn note(&mut self, direction: Direction, packet: &NatPacket<'_>) -> Option<TimeoutClass> {
        self.count(direction, packet.ip.total_len);
        match packet.ip.l4 {
            L4::Tcp => {
                let flags = packet.ip.tcp_flags;
                if flags & TcpHeader::ACK != 0 {
                    let count = self.packets[direction as usize] & COUNT;
                    self.packets[direction as usize] = count | u64::from(packet.acknowledged()) << COUNT_BITS;
                }
                if flags & (TcpHeader::RST | TcpHeader::FIN) != 0 {
                    return self.note_end(direction, packet);
                }
                self.tcp = self.tcp.after(direction, flags);
                Some(self.tcp.class())
            }
            L4::Dccp => self.note_dccp(direction, packet),
            _ => Some(self.class),
        }
    }

    /// Its flags are read as TCP's, its sequence numbers aren't looked at: a forged reset is undone by what follows.
    #[cold]
    fn note_dccp(&mut self, direction: Direction, packet: &NatPacket<'_>) -> Option<TimeoutClass> {
        if packet.ip.tcp_flags & TcpHeader::RST != 0 {
            return self.note_end(direction, packet);
        }
        self.tcp = self.tcp.after(direction, packet.ip.tcp_flags);
        Some(self.tcp.class())
    }

    /// An RST ends an established connection, which then has minutes left. Elsewhere it changes no time: who is refused again
    /// and again doesn't keep a mapping open by that (RFC 7857, 7.1).
    #[cold]
    fn note_end(&mut self, direction: Direction, packet: &NatPacket<'_>) -> Option<TimeoutClass> {
        if packet.ip.l4 == L4::Tcp && !self.is_in_window(direction, packet) {
            return None;
        }
        let is_reset = packet.ip.tcp_flags & TcpHeader::RST != 0;
        self.tcp = self.tcp.after(direction, packet.ip.tcp_flags);
        (!is_reset || self.class == TimeoutClass::TcpEstablished).then(|| self.tcp.class())
    }

    /// Counts a packet of this length.
    #[inline]
    pub(crate) fn count(&mut self, direction: Direction, len: u16) {
        self.packets[direction as usize] += 1;
        self.bytes[direction as usize] += u64::from(len);
    }

    /// Whether the end of an established connection comes from someone who knows where it is. Lenient: who guesses the
    /// four numbers of the tuple is right one time in 64, and what then follows from the true end undoes a reset.
    fn is_in_window(&self, direction: Direction, packet: &NatPacket<'_>) -> bool {
        let expected = (self.packets[direction.other() as usize] >> COUNT_BITS) as u16;
        let ahead = packet.sequence().wrapping_sub(expected).wrapping_add(1);
        self.tcp.class() != TimeoutClass::TcpEstablished || ahead <= WINDOW
    }

    /// Packets in original and reply direction.
    pub(crate) fn packet_counts(&self) -> [u64; 2] {
        self.packets.map(|packets| packets & COUNT)
    }

    /// Whether nobody has answered so far.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.packet_counts()[Direction::Reply as usize] == 0
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match self.protocol {
            Protocol::TCP | Protocol::DCCP => self.tcp.name(),
            _ if self.is_unanswered() => "unreplied",
            _ => "replied",
        }
    }
}

/// 2⁴⁸ packets are enough for a week at line rate.
const COUNT_BITS: u32 = 48;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// 64 MiB in 64 KiB: twice the largest receive buffer that Linux gives by default.
const WINDOW: u16 = 1024;

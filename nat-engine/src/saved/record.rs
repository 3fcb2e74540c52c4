//! The records of a saved state, as bytes. All numbers are big-endian.
//!
//! ```text
//! "tapswNAT" version:16 addresses:16 mappings:32 flows:32 requests:32 resting:32
//! address   own:32
//! mapping   protocol:8 inside:32,16 outside:32,16 depends-on:32,16
//! flow      protocol:8 original:32,32,16,16 reply:32,32,16,16 tcp:8 idle:32 (seconds)
//!           packets:64,64 bytes:64,64 next:32,32 acked:32,32 mappings:32,32 (place + 1; 0: none)
//! request   mapping:32 (place) owner:96 left:64 (milliseconds)
//! resting   protocol:8 outside:32,16 left:64 (milliseconds)
//! checksum:64 over all that
//! ```
//!
//! In format 2 there were no requests and no resting ports.
//! In format 1 there was no `next` and no `acked`, of which the upper halves were in those of the packets.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{Millis, Protocol};

use crate::flows::count::Passed;
use crate::flows::flow::Flow;
use crate::flows::sequence::{Sequence, Side};
use crate::flows::tcp::TcpState;
use crate::flows::tuple::{Direction, Tuple, has_ports_or_identifiers};
use crate::outside::mapping::MappingKey;

/// How many bytes [`Nat::state_len`](crate::Nat::state_len) needs.
pub const STATE_START: usize = 8 + 2 + 2 + 4 * 4;

/// Why saved state was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StateError {
    /// It is something else.
    Foreign,
    /// It was saved by a version that this one can't read.
    Version(u16),
    /// It is cut short, or bits have changed, or it contradicts itself.
    Damaged,
    /// There are flows already.
    NotEmpty,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("this is no saved NAT state"),
            Self::Version(version) => {
                write!(f, "saved in format {version}, but this version reads formats {OLDEST} to {VERSION}")
            }
            Self::Damaged => f.write_str("the saved state is damaged"),
            Self::NotEmpty => f.write_str("state can only be loaded before there are flows"),
        }
    }
}

impl core::error::Error for StateError {}

/// A mapping as it is saved.
pub(super) struct SavedMapping {
    pub(super) key: MappingKey,
    pub(super) port: u16,
}

/// A flow as it is saved, its mappings by their places.
pub(super) struct SavedFlow {
    pub(super) flow: Flow,
    pub(super) passed: [Passed; 2],
    /// Seconds.
    pub(super) idle: u32,
    pub(super) source: Option<usize>,
    pub(super) destination: Option<usize>,
}

/// A mapping that was asked for.
pub(super) struct SavedRequest {
    /// Its place.
    pub(super) mapping: usize,
    pub(super) owner: [u8; 12],
    /// For how long it still holds.
    pub(super) left: Millis,
}

/// A port that rests.
pub(super) struct SavedResting {
    pub(super) protocol: Protocol,
    pub(super) outside: SocketAddrV4,
    /// For how long it still rests.
    pub(super) left: Millis,
}

/// What stands behind the format's name and version.
pub(super) struct Header {
    pub(super) format: u16,
    pub(super) addresses: u16,
    pub(super) mappings: u32,
    pub(super) flows: u32,
    pub(super) requests: u32,
    pub(super) resting: u32,
}

impl Header {
    /// The header and what follows it.
    pub(super) fn read(state: &[u8]) -> Result<(Self, Reader<'_>), StateError> {
        let mut reader = Reader(state.strip_prefix(MAGIC).ok_or(StateError::Foreign)?);
        let format = reader.u16()?;
        if !(OLDEST..=VERSION).contains(&format) {
            return Err(StateError::Version(format));
        }
        let (addresses, mappings, flows) = (reader.u16()?, reader.u32()?, reader.u32()?);
        let has_ports = format >= WITH_PORTS;
        let (requests, resting) = if has_ports { (reader.u32()?, reader.u32()?) } else { (0, 0) };
        Ok((Self { format, addresses, mappings, flows, requests, resting }, reader))
    }

    pub(super) fn state_len(&self) -> u64 {
        let flow = if self.format == OLDEST { FLOW - NUMBERS } else { FLOW };
        let parts = [
            (self.addresses.into(), ADDRESS),
            (self.mappings, MAPPING),
            (self.flows, flow),
            (self.requests, REQUEST),
            (self.resting, RESTING),
        ];
        let start = if self.format < WITH_PORTS { STATE_START - COUNTS } else { STATE_START };
        let body = parts.iter().map(|&(count, size)| u64::from(count) * size as u64).sum::<u64>();
        (start + CHECKSUM) as u64 + body
    }
}

#[derive(Debug)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend_from_slice(&bytes);
    }

    pub(super) fn socket(&mut self, socket: SocketAddrV4) {
        self.put(socket.ip().octets());
        self.put(socket.port().to_be_bytes());
    }

    pub(super) fn mapping(&mut self, key: MappingKey, port: u16) {
        self.put([key.protocol().0]);
        self.socket(key.inside());
        self.socket(SocketAddrV4::new(key.outside(), port));
        self.socket(key.remote());
    }

    /// All of it but its mappings.
    pub(super) fn flow(&mut self, flow: &Flow, passed: [Passed; 2], now: Millis) {
        self.put([flow.tuple(Direction::Original).protocol().0]);
        for direction in Direction::BOTH {
            self.socket(flow.tuple(direction).source());
            self.socket(flow.tuple(direction).destination());
        }
        self.put([flow.tcp.to_bits()]);
        let idle = now.as_secs().saturating_sub(flow.refreshed.into());
        self.put(u32::try_from(idle).unwrap_or(u32::MAX).to_be_bytes());
        passed.iter().for_each(|passed| self.put(passed.packets.to_be_bytes()));
        passed.iter().for_each(|passed| self.put(passed.bytes.to_be_bytes()));
        let Sequence(sides) = flow.sequence;
        sides.iter().for_each(|side| self.put(side.next.to_be_bytes()));
        sides.iter().for_each(|side| self.put(side.acked.to_be_bytes()));
    }
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(StateError::Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, StateError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, StateError> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, StateError> {
        self.take().map(u64::from_be_bytes)
    }

    fn protocol(&mut self) -> Result<Protocol, StateError> {
        self.take().map(|[protocol]| Protocol(protocol))
    }

    fn socket(&mut self) -> Result<SocketAddrV4, StateError> {
        Ok(SocketAddrV4::new(Ipv4Addr::from(self.take::<4>()?), self.u16()?))
    }

    pub(super) fn mapping(&mut self) -> Result<SavedMapping, StateError> {
        let protocol = self.protocol()?;
        let (inside, outside, remote) = (self.socket()?, self.socket()?, self.socket()?);
        if !has_ports_or_identifiers(protocol) {
            return Err(StateError::Damaged);
        }
        Ok(SavedMapping {
            key: MappingKey::restored(protocol, inside, *outside.ip(), remote),
            port: outside.port(),
        })
    }

    pub(super) fn flow(&mut self, format: u16) -> Result<SavedFlow, StateError> {
        let protocol = self.protocol()?;
        let original = Tuple::new(protocol, self.socket()?, self.socket()?);
        let reply = Tuple::new(protocol, self.socket()?, self.socket()?);
        let ([bits], idle) = (self.take()?, self.u32()?);
        let (mut packets, bytes) = ([self.u64()?, self.u64()?], [self.u64()?, self.u64()?]);
        let (tcp, sequence) = if format == OLDEST {
            let acknowledged = packets.map(|packets| (packets >> PACKETS_BITS) as u16);
            packets = packets.map(|packets| packets & ((1 << PACKETS_BITS) - 1));
            (TcpState::from_old_bits(bits, !acknowledged.contains(&0)), Sequence::rough(acknowledged))
        } else {
            (TcpState::from_bits(bits), self.sequence()?)
        };
        // What comes yet must have room in the counters.
        let are_below = |counts: [u64; 2], limit: u64| counts.iter().all(|&count| count < limit);
        if !(are_below(packets, PACKETS_LIMIT) && are_below(bytes, BYTES_LIMIT)) {
            return Err(StateError::Damaged);
        }
        let mut flow = Flow::new(original, reply);
        flow.restore(tcp.ok_or(StateError::Damaged)?, sequence);
        let passed =
            Direction::BOTH.map(|at| Passed { packets: packets[at as usize], bytes: bytes[at as usize] });
        let mut place = || Ok(self.u32()?.checked_sub(1).map(|place| place as usize));
        Ok(SavedFlow { flow, passed, idle, source: place()?, destination: place()? })
    }

    pub(super) fn request(&mut self) -> Result<SavedRequest, StateError> {
        let (mapping, owner, left) = (self.u32()? as usize, self.take()?, self.left()?);
        Ok(SavedRequest { mapping, owner, left })
    }

    pub(super) fn resting(&mut self) -> Result<SavedResting, StateError> {
        let (protocol, outside, left) = (self.protocol()?, self.socket()?, self.left()?);
        if !has_ports_or_identifiers(protocol) {
            return Err(StateError::Damaged);
        }
        Ok(SavedResting { protocol, outside, left })
    }

    /// A time that is left, which is no longer than any that can be asked for.
    fn left(&mut self) -> Result<Millis, StateError> {
        let left = Millis::new(self.u64()?);
        if left > LONGEST { Err(StateError::Damaged) } else { Ok(left) }
    }

    fn sequence(&mut self) -> Result<Sequence, StateError> {
        let (next, acked) = ([self.u32()?, self.u32()?], [self.u32()?, self.u32()?]);
        Ok(Sequence(Direction::BOTH.map(|at| Side { next: next[at as usize], acked: acked[at as usize] })))
    }
}

/// RFC 6887 has 32 bits of seconds.
const LONGEST: Millis = Millis::from_secs(u32::MAX as u64);
/// Half of what counters hold, and held.
const PACKETS_LIMIT: u64 = 1 << (PACKETS_BITS - 1);
const BYTES_LIMIT: u64 = 1 << 63;
pub(super) const MAGIC: &[u8; 8] = b"tapswNAT";
pub(super) const VERSION: u16 = 3;
/// The oldest format that is read.
const OLDEST: u16 = 1;
/// From this format on there are requests and resting ports.
const WITH_PORTS: u16 = 3;
/// How many there are of both.
const COUNTS: usize = 2 * 4;
/// Of a flow's packets in the oldest format, whose other bits say what was acknowledged.
const PACKETS_BITS: u32 = 48;
const ADDRESS: usize = 4;
pub(super) const MAPPING: usize = 1 + 3 * SOCKET;
pub(super) const SOCKET: usize = 6;
pub(super) const REQUEST: usize = 4 + 12 + 8;
pub(super) const RESTING: usize = 1 + SOCKET + 8;
/// Without its mappings.
pub(super) const FLOW_ALONE: usize = 1 + 4 * SOCKET + 1 + 4 + 4 * 8 + NUMBERS;
/// What there wasn't of a flow in the oldest format.
const NUMBERS: usize = 4 * 4;
pub(super) const FLOW: usize = FLOW_ALONE + 2 * 4;
pub(super) const CHECKSUM: usize = 8;

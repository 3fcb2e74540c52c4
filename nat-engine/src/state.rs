//! Flows and mappings as bytes, so that they survive their process.
//!
//! ```text
//! "tapswNAT" version:16 mappings:32 flows:32
//! mapping   protocol:8 inside:32,16 outside:32,16 depends-on:32,16
//! flow      protocol:8 original:32,32,16,16 reply:32,32,16,16 tcp:8 idle:32 (seconds)
//!           packets:64,64 bytes:64,64 mappings:32,32 (place + 1; 0: none)
//! checksum:64 over all that
//! ```
//!
//! All numbers are big-endian. What is read is believed only if all of it makes sense together: damaged state is refused as
//! a whole, and the NAT stays as empty as it was.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{Millis, Protocol};
use siphasher::sip::SipHasher13;

use crate::Tuple;
use crate::flow::{Direction, Flow};
use crate::flow_table::FlowMappings;
use crate::mapping::MappingKey;
use crate::nat::Nat;
use crate::port_pool::Published;
use crate::slab::Id;
use crate::tcp::TcpState;

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
    /// It has more flows than the configuration allows.
    TooManyFlows(u32),
    /// There are flows already.
    NotEmpty,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("this is no saved NAT state"),
            Self::Version(version) => {
                write!(
                    f,
                    "saved in format {version}, but this version reads format {VERSION}; start without it"
                )
            }
            Self::Damaged => f.write_str("the saved state is damaged; start without it"),
            Self::TooManyFlows(flows) => {
                write!(f, "{flows} flows were saved, more than the limit allows; raise it")
            }
            Self::NotEmpty => f.write_str("state can only be loaded before there are flows"),
        }
    }
}

impl core::error::Error for StateError {}

/// A mapping as it is saved.
struct SavedMapping {
    key: MappingKey,
    port: u16,
}

/// A flow as it is saved, its mappings by their places.
struct SavedFlow {
    flow: Flow,
    /// Seconds.
    idle: u32,
    source: Option<usize>,
    destination: Option<usize>,
}

impl Nat {
    /// All flows and mappings, for [`import`](Self::import) into another process. Walks the whole table; about 90 bytes per
    /// flow.
    pub fn export(&self, now: Millis) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(HEADER + self.flows.len() * (FLOW + MAPPING) + CHECKSUM));
        out.0.extend_from_slice(MAGIC);
        out.put(VERSION.to_be_bytes());
        // Who asked for a mapping asks again.
        let has_flow = |&id: &Id| self.mappings.users(id) > u32::from(self.is_requested(id));
        let mappings: Vec<Id> = self.mappings.ids().filter(has_flow).collect();
        let mut places = vec![0_u32; mappings.iter().map(|id| id.index() + 1).max().unwrap_or(0)];
        out.put((mappings.len() as u32).to_be_bytes());
        out.put((self.flows.len() as u32).to_be_bytes());
        for (&id, place) in mappings.iter().zip(1..) {
            places[id.index()] = place;
            let (key, port) = (self.mappings.key(id), self.mappings.port(id));
            out.put([key.protocol().0]);
            out.socket(key.inside());
            out.socket(SocketAddrV4::new(key.outside(), port));
            out.socket(key.remote());
        }
        for id in self.flows.ids() {
            let flow = self.flows.get(id);
            out.put([flow.tuple(Direction::Original).protocol().0]);
            for direction in [Direction::Original, Direction::Reply] {
                out.socket(flow.tuple(direction).source());
                out.socket(flow.tuple(direction).destination());
            }
            out.put([flow.tcp.to_bits()]);
            let idle = now.as_secs().saturating_sub(flow.refreshed.into());
            out.put(u32::try_from(idle).unwrap_or(u32::MAX).to_be_bytes());
            flow.packets.iter().chain(&flow.bytes).for_each(|count| out.put(count.to_be_bytes()));
            let FlowMappings { source, destination } = self.flows.mappings(id);
            for mapping in [source, destination] {
                out.put(mapping.map_or(0, |id| places[id.index()]).to_be_bytes());
            }
        }
        out.put(checksum(&out.0).to_be_bytes());
        out.0
    }

    /// Takes over what [`export`](Self::export) saved, into a NAT that has its configuration and no flows yet. A flow's idle
    /// time goes on; one that is longer than `now` counts as `now`. Returns how many flows there were.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn import(&mut self, state: &[u8], now: Millis) -> Result<usize, StateError> {
        if self.flow_count() > 0 {
            return Err(StateError::NotEmpty);
        }
        let (mappings, mut flows) = read(state)?;
        if flows.len() > self.flow_limit() {
            return Err(StateError::TooManyFlows(flows.len() as u32));
        }
        check(&mappings, &flows)?;
        let add = |SavedMapping { key, port }| {
            let published = Published { rules: &self.config.rules, addresses: &self.config.addresses };
            let lease = self.mappings.ports.claim(key.outside(), key.protocol(), port, &published);
            self.mappings.insert(key, lease)
        };
        let ids: Vec<Id> = mappings.into_iter().map(add).collect();
        // The tables' lists are in the order of last use.
        flows.sort_by_key(|saved| std::cmp::Reverse(saved.idle));
        let count = flows.len();
        for SavedFlow { flow, idle, source, destination } in flows {
            let id = |place: Option<usize>| place.and_then(|place| ids.get(place).copied());
            let used = Millis::from_secs(now.as_secs().saturating_sub(idle.into()));
            let mappings = FlowMappings { source: id(source), destination: id(destination) };
            self.add_flow(flow, mappings, used);
        }
        Ok(count)
    }
}

fn read(state: &[u8]) -> Result<(Vec<SavedMapping>, Vec<SavedFlow>), StateError> {
    let version = Reader(state.strip_prefix(MAGIC).ok_or(StateError::Foreign)?).u16()?;
    if version != VERSION {
        return Err(StateError::Version(version));
    }
    let (body, sum) = state.split_last_chunk().ok_or(StateError::Damaged)?;
    if checksum(body) != u64::from_be_bytes(*sum) {
        return Err(StateError::Damaged);
    }
    let mut reader = Reader(body.get(MAGIC.len() + size_of_val(&VERSION)..).ok_or(StateError::Damaged)?);
    let (mappings, flows) = (reader.u32()?, reader.u32()?);
    let expected = u64::from(mappings) * MAPPING as u64 + u64::from(flows) * FLOW as u64;
    if reader.0.len() as u64 != expected {
        return Err(StateError::Damaged);
    }
    let mappings = (0..mappings).map(|_| reader.mapping()).collect::<Result<_, _>>()?;
    let flows = (0..flows).map(|_| reader.flow()).collect::<Result<_, _>>()?;
    Ok((mappings, flows))
}

/// Whether everything fits together as it does in a table.
fn check(mappings: &[SavedMapping], flows: &[SavedFlow]) -> Result<(), StateError> {
    let mut used = vec![false; mappings.len()];
    for SavedFlow { flow, source, destination, .. } in flows {
        let (original, reply) = (flow.tuple(Direction::Original), flow.tuple(Direction::Reply));
        let ends = [
            (source, original.source(), reply.destination()),
            (destination, reply.source(), original.destination()),
        ];
        for (place, inside, outside) in ends {
            let &Some(place) = place else { continue };
            let SavedMapping { key, port } = mappings.get(place).ok_or(StateError::Damaged)?;
            let is_its = key.protocol() == original.protocol()
                && key.inside() == inside
                && SocketAddrV4::new(key.outside(), *port) == outside;
            if !is_its {
                return Err(StateError::Damaged);
            }
            used[place] = true;
        }
    }
    let tuples = flows.iter().flat_map(|saved| {
        [Direction::Original, Direction::Reply].map(|direction| saved.flow.tuple(direction).words())
    });
    let outsides =
        mappings.iter().map(|mapping| (mapping.key.protocol().0, mapping.key.outside(), mapping.port));
    let is_sound =
        are_different(tuples.collect()) && are_different(outsides.collect()) && !used.contains(&false);
    if is_sound { Ok(()) } else { Err(StateError::Damaged) }
}

fn are_different<T: Ord>(mut things: Vec<T>) -> bool {
    things.sort_unstable();
    things.windows(2).all(|pair| pair[0] != pair[1])
}

struct Writer(Vec<u8>);

impl Writer {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend_from_slice(&bytes);
    }

    fn socket(&mut self, socket: SocketAddrV4) {
        self.put(socket.ip().octets());
        self.put(socket.port().to_be_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
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

    fn mapping(&mut self) -> Result<SavedMapping, StateError> {
        let protocol = self.protocol()?;
        let (inside, outside, remote) = (self.socket()?, self.socket()?, self.socket()?);
        if !matches!(protocol, Protocol::TCP | Protocol::UDP | Protocol::ICMP) {
            return Err(StateError::Damaged);
        }
        Ok(SavedMapping {
            key: MappingKey::restored(protocol, inside, *outside.ip(), remote),
            port: outside.port(),
        })
    }

    fn flow(&mut self) -> Result<SavedFlow, StateError> {
        let protocol = self.protocol()?;
        let original = Tuple::new(protocol, self.socket()?, self.socket()?);
        let reply = Tuple::new(protocol, self.socket()?, self.socket()?);
        let tcp = TcpState::from_bits(self.take::<1>()?[0]).ok_or(StateError::Damaged)?;
        let idle = self.u32()?;
        let mut flow = Flow::new(original, reply);
        flow.restore(tcp, [self.u64()?, self.u64()?], [self.u64()?, self.u64()?]);
        let mut place = || Ok(self.u32()?.checked_sub(1).map(|place| place as usize));
        Ok(SavedFlow { flow, idle, source: place()?, destination: place()? })
    }
}

/// Against accidents, not against forgery: who can write the file can do worse.
fn checksum(bytes: &[u8]) -> u64 {
    SipHasher13::new().hash(bytes)
}

const MAGIC: &[u8; 8] = b"tapswNAT";
const VERSION: u16 = 1;
const HEADER: usize = 18;
const MAPPING: usize = 1 + 3 * 6;
const FLOW: usize = 1 + 4 * 6 + 1 + 4 + 4 * 8 + 2 * 4;
const CHECKSUM: usize = 8;

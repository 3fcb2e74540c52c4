//! Flows and mappings as bytes, so that they survive their process.
//!
//! What is read is believed only if all of it makes sense together: damaged state is refused as
//! a whole, and the NAT stays as empty as it was. Ports that rest are not kept: they may be leased at once.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;

use packet::{Millis, Protocol};
use siphasher::sip::SipHasher13;

use crate::config::NatConfig;
use crate::flows::table::{FlowMappings, FlowTable};
use crate::flows::tuple::{Direction, Tuple};
use crate::lifecycle::Lifecycle;
use crate::outside::Outside;
use crate::outside::mapping::MappingKey;
use crate::saved::record::{
    CHECKSUM, FLOW, FLOW_ALONE, Header, MAGIC, MAPPING, Reader, SOCKET, STATE_START, SavedFlow, SavedMapping,
    StateError, VERSION, Writer,
};

/// What became of saved flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imported {
    /// Flows that go on.
    pub flows: usize,
    /// Flows that don't: idle for too long by now, to or from an own address that is gone, or the longest idle of more
    /// than the limit allows.
    pub left_out: usize,
}

/// All that was saved.
struct Saved {
    /// The switch's own addresses.
    addresses: Vec<Option<Ipv4Addr>>,
    mappings: Vec<SavedMapping>,
    flows: Vec<SavedFlow>,
}

/// A snapshot with no flow in it yet.
pub(crate) fn snapshot(config: &NatConfig) -> Snapshot {
    let addresses = config.addresses.iter().flatten();
    Snapshot { addresses: addresses.map(Ipv4Addr::octets).collect(), parts: Vec::new() }
}

/// Adds the flows in `places` of the table, as they are now.
pub(crate) fn copy_flows(
    flows: &FlowTable,
    outside: &Outside,
    places: Range<usize>,
    now: Millis,
    snapshot: &mut Snapshot,
) {
    let mut part = Part { flows: Writer(Vec::new()), mappings: Vec::new() };
    for id in flows.ids_in(places) {
        part.flows.flow(flows.get(id), flows.passed(id), now);
        let FlowMappings { source, destination } = flows.mappings(id);
        part.mappings.push([source, destination].map(|mapping| mapping.map(|id| outside.mapping(id))));
    }
    snapshot.parts.push(part);
}

/// How many bytes the state has that begins with `start`.
pub(crate) fn state_len(start: &[u8]) -> Result<u64, StateError> {
    Header::read(start).map(|(header, _)| header.state_len())
}

/// Takes over what was saved `age` ago.
pub(crate) fn import(
    into: &mut Lifecycle<'_>,
    state: &[u8],
    age: Millis,
    now: Millis,
) -> Result<Imported, StateError> {
    if into.flows.len() > 0 {
        return Err(StateError::NotEmpty);
    }
    let Saved { addresses, mappings, mut flows } = read(state)?;
    check(&mappings, &flows)?;
    // The tables' lists are in the order of last use.
    flows.sort_by_key(|saved| std::cmp::Reverse(saved.idle));
    let saved = flows.len();
    flows.drain(..saved.saturating_sub(into.config.flow_limit()));
    let mut ids = vec![None; mappings.len()];
    for SavedFlow { flow, passed, idle, source, destination } in flows {
        let mut id = |place: Option<usize>| {
            let place = place?;
            let SavedMapping { key, port } = mappings[place];
            Some(*ids[place].get_or_insert_with(|| into.outside.restore(key, port, into.config)))
        };
        let mappings = FlowMappings { source: id(source), destination: id(destination) };
        let keys = Direction::BOTH.map(|direction| into.flows.key(flow.tuple(direction)));
        let idle = Millis::from_secs(idle.into()) + age;
        let used = Millis::new(now.get().saturating_sub(idle.get()));
        let id = into.begin(flow, keys, mappings, None, used);
        into.flows.restore_passed(id, passed);
    }
    into.forget_addresses(&addresses);
    into.catch_up(now);
    let flows = into.flows.len();
    Ok(Imported { flows, left_out: saved - flows })
}

/// Flows as they were when they were copied.
#[derive(Debug)]
pub struct Snapshot {
    addresses: Vec<[u8; 4]>,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    /// Each without its mappings.
    flows: Writer,
    /// By flow.
    mappings: Vec<[Option<(MappingKey, u16)>; 2]>,
}

impl Snapshot {
    /// How many flows were copied.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.mappings.len()).sum()
    }

    /// Whether none were.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The flows, as [`export`](crate::Nat::export) has them. Of two that can't have been there at once, the one that was copied
    /// later is in it.
    pub fn into_bytes(self) -> Vec<u8> {
        let (mut flows, mut mappings) = (Vec::new(), Mappings::default());
        let mut tuples = HashSet::new();
        for part in self.parts.iter().rev() {
            let records = part.flows.0.chunks_exact(FLOW_ALONE);
            for (record, used) in records.zip(&part.mappings).rev() {
                let mut both = tuples_of(record);
                if both.any(|tuple| tuples.contains(&tuple)) || !mappings.allow(used) {
                    continue;
                }
                tuples.extend(tuples_of(record));
                flows.push((record, used.map(|mapping| mappings.place(mapping))));
            }
        }
        flows.reverse();
        let body = mappings.list.len() * MAPPING + flows.len() * FLOW;
        let mut out = Writer(Vec::with_capacity(STATE_START + body + CHECKSUM));
        out.0.extend_from_slice(MAGIC);
        out.put(VERSION.to_be_bytes());
        out.put((self.addresses.len() as u16).to_be_bytes());
        out.put((mappings.list.len() as u32).to_be_bytes());
        out.put((flows.len() as u32).to_be_bytes());
        self.addresses.iter().for_each(|address| out.put(*address));
        mappings.list.iter().for_each(|&(key, port)| out.mapping(key, port));
        for (record, places) in flows {
            out.0.extend_from_slice(record);
            places.iter().for_each(|place| out.put(place.to_be_bytes()));
        }
        out.put(checksum(&out.0).to_be_bytes());
        out.0
    }
}

/// Protocol, source and destination of both directions, as they are saved.
fn tuples_of(record: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let (protocol, rest) = record.split_at(1);
    rest.chunks_exact(2 * SOCKET).take(2).map(move |tuple| (protocol[0], tuple))
}

/// Mappings that flows in a snapshot have, each once.
#[derive(Default)]
struct Mappings {
    /// By what stands for them outside: their places.
    places: HashMap<(u8, Ipv4Addr, u16), u32>,
    list: Vec<(MappingKey, u16)>,
}

impl Mappings {
    fn outside((key, port): (MappingKey, u16)) -> (u8, Ipv4Addr, u16) {
        (key.protocol().0, key.outside(), port)
    }

    /// Whether nobody else has what a flow with these has outside.
    fn allow(&self, mappings: &[Option<(MappingKey, u16)>; 2]) -> bool {
        mappings.iter().flatten().all(|&mapping| {
            let place = self.places.get(&Self::outside(mapping));
            place.is_none_or(|&place| self.list[place as usize] == mapping)
        })
    }

    /// The place of a mapping, counted from 1; 0: there is none.
    fn place(&mut self, mapping: Option<(MappingKey, u16)>) -> u32 {
        let Some(mapping) = mapping else { return 0 };
        let next = self.list.len() as u32;
        let place = *self.places.entry(Self::outside(mapping)).or_insert(next);
        if place == next {
            self.list.push(mapping);
        }
        place + 1
    }
}

fn read(state: &[u8]) -> Result<Saved, StateError> {
    let (header, mut reader) = Header::read(state)?;
    let (body, sum) = state.split_last_chunk().ok_or(StateError::Damaged)?;
    if header.state_len() != state.len() as u64 || checksum(body) != u64::from_be_bytes(*sum) {
        return Err(StateError::Damaged);
    }
    let address = |reader: &mut Reader<'_>| Ok(Some(Ipv4Addr::from(reader.take::<4>()?)));
    Ok(Saved {
        addresses: (0..header.addresses).map(|_| address(&mut reader)).collect::<Result<_, _>>()?,
        mappings: (0..header.mappings).map(|_| reader.mapping()).collect::<Result<_, _>>()?,
        flows: (0..header.flows).map(|_| reader.flow(header.format)).collect::<Result<_, _>>()?,
    })
}

/// Whether everything fits together as it does in a table.
fn check(mappings: &[SavedMapping], flows: &[SavedFlow]) -> Result<(), StateError> {
    let mut used = vec![false; mappings.len()];
    for SavedFlow { flow, source, destination, .. } in flows {
        let (original, reply) = (flow.tuple(Direction::Original), flow.tuple(Direction::Reply));
        if !packets_have(original, reply) {
            return Err(StateError::Damaged);
        }
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
    let tuples =
        flows.iter().flat_map(|saved| Direction::BOTH.map(|direction| saved.flow.tuple(direction).words()));
    let outsides =
        mappings.iter().map(|mapping| (mapping.key.protocol().0, mapping.key.outside(), mapping.port));
    let is_sound =
        are_different(tuples.collect()) && are_different(outsides.collect()) && !used.contains(&false);
    if is_sound { Ok(()) } else { Err(StateError::Damaged) }
}

/// Whether there are packets with these tuples: where there are no ports, the side that asks has an identifier at most.
fn packets_have(original: Tuple, reply: Tuple) -> bool {
    let servers = [original.destination_port(), reply.source_port()];
    let clients = [original.source_port(), reply.destination_port()];
    match original.protocol() {
        protocol if protocol.has_ports() => true,
        Protocol::ICMP => servers == [0; 2],
        _ => servers == [0; 2] && clients == [0; 2],
    }
}

fn are_different<T: Ord>(mut things: Vec<T>) -> bool {
    things.sort_unstable();
    things.windows(2).all(|pair| pair[0] != pair[1])
}

/// Against accidents, not against forgery: who can write the file can do worse.
fn checksum(bytes: &[u8]) -> u64 {
    SipHasher13::new().hash(bytes)
}

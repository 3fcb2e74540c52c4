//! Flows and mappings as bytes, so that they survive their process.
//!
//! What is read is believed only if all of it makes sense together: damaged state is refused as
//! a whole, and the NAT stays as empty as it was.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;

use packet::{Millis, Protocol};
use siphasher::sip::SipHasher13;

use crate::config::{Behaviour, NatConfig};
use crate::flows::table::{FlowMappings, FlowTable};
use crate::flows::tuple::{Direction, Tuple};
use crate::lifecycle::Lifecycle;
use crate::outside::Outside;
use crate::outside::explicit::UNSPECIFIED;
use crate::outside::mapping::MappingKey;
use crate::outside::port_pool::Resting;
use crate::saved::record::{
    CHECKSUM, FLOW, FLOW_ALONE, Header, MAGIC, MAPPING, REQUEST, RESTING, Reader, SOCKET, STATE_START,
    SavedFlow, SavedMapping, SavedRequest, SavedResting, StateError, VERSION, Writer,
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
    requests: Vec<SavedRequest>,
    resting: Vec<SavedResting>,
}

/// A snapshot with no flow in it yet.
pub(crate) fn snapshot(config: &NatConfig) -> Snapshot {
    let addresses = config.addresses.iter().flatten();
    let addresses = addresses.map(Ipv4Addr::octets).collect();
    Snapshot { addresses, parts: Vec::new(), requests: Vec::new(), resting: Vec::new() }
}

/// Adds the flows in `places` of the table, as they are now; with the last of them, what is no flow's.
pub(crate) fn copy_flows(
    flows: &FlowTable,
    outside: &Outside,
    places: Range<usize>,
    now: Millis,
    snapshot: &mut Snapshot,
) {
    let places_end = places.end;
    let mut part = Part { flows: Writer(Vec::new()), mappings: Vec::new() };
    for id in flows.ids_in(places) {
        part.flows.flow(flows.get(id), flows.passed(id), now);
        let FlowMappings { source, destination } = flows.mappings(id);
        part.mappings.push([source, destination].map(|mapping| mapping.map(|id| outside.mapping(id))));
    }
    snapshot.parts.push(part);
    if places_end >= flows.places() {
        let left = |until: Millis| until.since(now);
        let requested = outside.requested().map(|(mapping, owner, until)| (mapping, owner, left(until)));
        snapshot.requests = requested.collect();
        let resting =
            outside.resting(now).map(|resting| (resting.protocol, resting.outside, left(resting.until)));
        snapshot.resting = resting.collect();
    }
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
    if into.flows.len() > 0 || into.outside.is_in_use() {
        return Err(StateError::NotEmpty);
    }
    let saved = read(state)?;
    check(&saved)?;
    let Saved { addresses, mappings, mut flows, requests, mut resting } = saved;
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
    let later = |left: Millis| now + left.since(age);
    for SavedRequest { mapping: place, owner, left } in requests.into_iter().filter(|it| it.left > age) {
        let SavedMapping { key, port } = mappings[place];
        let mapping = *ids[place].get_or_insert_with(|| into.outside.restore(key, port, into.config));
        into.outside.restore_request(mapping, owner, later(left), into.config, now);
    }
    resting.retain(|it| it.left > age && is_not_gone(&addresses, *it.outside.ip(), into.config));
    resting.sort_by_key(|it| it.left);
    for SavedResting { protocol, outside, left } in resting {
        let until = later(left).min(now + into.config.settings.quarantine);
        into.outside.restore_resting(Resting { until, outside, protocol }, into.config);
    }
    into.forget_addresses(&addresses);
    into.catch_up(now);
    let flows = into.flows.len();
    Ok(Imported { flows, left_out: saved - flows })
}

/// Whether this isn't one of the `saved` addresses that the switch no longer has.
fn is_not_gone(saved: &[Option<Ipv4Addr>], address: Ipv4Addr, config: &NatConfig) -> bool {
    !saved.contains(&Some(address)) || config.addresses.contains(&Some(address))
}

/// Flows as they were when they were copied, and what was asked for and rested then.
#[derive(Debug)]
pub struct Snapshot {
    addresses: Vec<[u8; 4]>,
    parts: Vec<Part>,
    requests: Vec<((MappingKey, u16), [u8; 12], Millis)>,
    resting: Vec<(Protocol, SocketAddrV4, Millis)>,
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
        let mut mappings = Mappings::default();
        // What was asked for was copied last.
        let requests: Vec<_> = self
            .requests
            .iter()
            .map(|&(mapping, owner, left)| (mappings.place(Some(mapping)) - 1, owner, left))
            .collect();
        let flows = self.flows(&mut mappings);
        let mut out = Writer(Vec::with_capacity(STATE_START + self.body(&mappings, flows.len()) + CHECKSUM));
        let is_free = |&&(protocol, outside, _): &&(Protocol, SocketAddrV4, Millis)| {
            !mappings.places.contains_key(&(protocol.0, *outside.ip(), outside.port()))
        };
        let resting: Vec<_> = self.resting.iter().filter(is_free).collect();
        out.0.extend_from_slice(MAGIC);
        out.put(VERSION.to_be_bytes());
        out.put((self.addresses.len() as u16).to_be_bytes());
        for count in [mappings.list.len(), flows.len(), requests.len(), resting.len()] {
            out.put((count as u32).to_be_bytes());
        }
        self.addresses.iter().for_each(|address| out.put(*address));
        mappings.list.iter().for_each(|&(key, port)| out.mapping(key, port));
        for (record, places) in flows {
            out.0.extend_from_slice(record);
            places.iter().for_each(|place| out.put(place.to_be_bytes()));
        }
        for (place, owner, left) in requests {
            out.put(place.to_be_bytes());
            out.put(owner);
            out.put(left.get().to_be_bytes());
        }
        for &(protocol, outside, left) in resting {
            out.put([protocol.0]);
            out.socket(outside);
            out.put(left.get().to_be_bytes());
        }
        out.put(checksum(&out.0).to_be_bytes());
        out.0
    }

    /// Each with the places of its mappings, in the order in which they were copied.
    fn flows(&self, mappings: &mut Mappings) -> Vec<(&[u8], [u32; 2])> {
        let (mut flows, mut tuples) = (Vec::new(), HashSet::new());
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
        flows
    }

    fn body(&self, mappings: &Mappings, flows: usize) -> usize {
        let ports = self.requests.len() * REQUEST + self.resting.len() * RESTING;
        mappings.list.len() * MAPPING + flows * FLOW + ports
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
        requests: (0..header.requests).map(|_| reader.request()).collect::<Result<_, _>>()?,
        resting: (0..header.resting).map(|_| reader.resting()).collect::<Result<_, _>>()?,
    })
}

/// Whether everything fits together as it does in a table.
fn check(saved: &Saved) -> Result<(), StateError> {
    let Saved { mappings, flows, requests, resting, .. } = saved;
    let mut used = vec![false; mappings.len()];
    let places = flows.iter().map(|flow| places_of(flow, mappings)).collect::<Result<Vec<_>, _>>()?;
    let asked = requests.iter().map(|request| asked_for(request, mappings)).collect::<Result<Vec<_>, _>>()?;
    let of_requests = requests.iter().map(|request| request.mapping);
    places.into_iter().flatten().flatten().chain(of_requests).for_each(|place| used[place] = true);
    let tuples =
        flows.iter().flat_map(|saved| Direction::BOTH.map(|direction| saved.flow.tuple(direction).words()));
    let outsides =
        mappings.iter().map(|mapping| (mapping.key.protocol().0, mapping.key.outside(), mapping.port));
    let rest = resting.iter().map(|it| (it.protocol.0, *it.outside.ip(), it.outside.port()));
    let is_sound = are_different(tuples.collect())
        && are_different(outsides.chain(rest).collect())
        && are_different(asked)
        && !used.contains(&false);
    if is_sound { Ok(()) } else { Err(StateError::Damaged) }
}

/// The places of a flow's mappings, which are such as it has.
fn places_of(saved: &SavedFlow, mappings: &[SavedMapping]) -> Result<[Option<usize>; 2], StateError> {
    let SavedFlow { flow, source, destination, .. } = saved;
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
    }
    Ok([*source, *destination])
}

/// The inside socket that a request is for, which has but one.
fn asked_for(request: &SavedRequest, mappings: &[SavedMapping]) -> Result<(u8, SocketAddrV4), StateError> {
    let SavedMapping { key, .. } = mappings.get(request.mapping).ok_or(StateError::Damaged)?;
    let (protocol, inside) = (key.protocol(), key.inside());
    // It is for all remote hosts.
    let expected =
        MappingKey::new(Behaviour::EndpointIndependent, protocol, inside, key.outside(), UNSPECIFIED);
    let is_one = *key == expected && matches!(protocol, Protocol::TCP | Protocol::UDP);
    if is_one { Ok((protocol.0, inside)) } else { Err(StateError::Damaged) }
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

//! The flows, found by the tuple of either direction and forgotten in the order of their last use.
//!
//! ```text
//! tuple ──keyed hash──▶ index: [id:31 direction:1]  7 bytes per direction
//!                                  │
//! flows:   [flow 1][flow 2][flow 3][flow 4] …          one cache line each
//!              ▲ head                  ▲ tail
//! lists:   udp 1 ⇄ 4     tcp_established 3 ⇄ 2     …   one per timeout class, next to expire first
//! ```
//!
//! All flows of a list have the same idle time, so moving a flow to the tail when it is used keeps the list in the
//! order of expiry: no timers, no scans.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::ops::Range;

use packet::{BURST_FRAMES, Family, Millis, PortId, V4};

use crate::flows::count::{Count, Passed};
use crate::flows::families::{Alone, To};
use crate::flows::flow::Flow;
use crate::flows::timeouts::{TimeoutClass, Timeouts};
use crate::flows::tuple::{Direction, Tuple};
use crate::memory::index::Index;
use crate::memory::shares::Shares;
use crate::memory::slab::{Id, Slab};
use packet::keyed::PairHash;

/// A flow in use moves to the end of its list once in a second, not with each packet. So it may have been used this much
/// later than the list says, and expires this much later.
const REFRESH_INTERVAL: Millis = Millis::from_secs(1);

#[derive(Debug)]
pub(crate) struct FlowTable<A: To<B> = V4, B: Family = A> {
    flows: Slab<Flow<A, B>>,
    /// By [`Id::index`], like the flows: what is of use once a second at most.
    places: Vec<Place>,
    index: Index,
    hash: PairHash,
    lists: [List; TimeoutClass::ALL.len()],
    /// What passed through flows and has no room in them. Those are few: see [`Count`].
    carried: BTreeMap<u32, [Passed; 2]>,
    shares: Shares,
    counts: FlowCounts,
}

/// What became of all flows so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FlowCounts {
    /// Those that there were.
    pub(crate) admitted: u64,
    /// Those that are gone.
    pub(crate) expired: u64,
    /// Of `expired`, those that made room for another.
    pub(crate) displaced: u64,
}

/// Where in the index of flows a packet's tuple is to be found.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowKey {
    pub(crate) hash: u64,
    /// Looking ahead, this entry looked like the right one. It may be none, or gone by now.
    ahead: u32,
}

/// A flow and the direction that the tuple is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry(u32);

/// Where a flow is in its list, and what else goes with it.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    previous: Option<Id>,
    next: Option<Id>,
    mappings: FlowMappings,
}

const _: () = assert!(size_of::<Place>() == 16);

/// The mappings that a flow's outside ports are from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FlowMappings {
    /// That of the host that sent the first packet.
    pub(crate) source: Option<Id>,
    /// That of the host that it was sent to.
    pub(crate) destination: Option<Id>,
}

#[derive(Clone, Copy, Debug, Default)]
struct List {
    head: Option<Id>,
    tail: Option<Id>,
}

impl<F: Alone> FlowTable<F> {
    /// The flow whose packets arrive with this tuple, which has this key, and in which direction they go.
    #[inline]
    pub(crate) fn find(&self, tuple: Tuple<F>, key: FlowKey) -> Option<(Id, Direction)> {
        self.find_by(key, |flow, direction| flow.tuple(direction) == tuple)
    }
}

impl<A: To<B>, B: Family> FlowTable<A, B> {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            flows: Slab::new(),
            places: Vec::new(),
            index: Index::new(),
            hash: PairHash::new(seed, "flows"),
            lists: [List::default(); TimeoutClass::ALL.len()],
            carried: BTreeMap::new(),
            shares: Shares::default(),
            counts: FlowCounts::default(),
        }
    }

    /// Makes room for `limit` flows, so that none of them has to wait while a table grows. The memory is not used before
    /// there are flows.
    pub(crate) fn reserve(&mut self, limit: usize) {
        self.flows.reserve(limit);
        // Where that much memory can't be promised, tables grow with the flows.
        let _ = self.places.try_reserve_exact(limit.saturating_sub(self.places.len()));
        let Self { flows, index, hash, .. } = self;
        index.reserve(2 * limit, |entry| Entry(entry).hash(flows, hash));
    }

    /// Whose flows there are.
    pub(crate) const fn shares(&self) -> &Shares {
        &self.shares
    }

    /// The port of the switch is another's from now on.
    pub(crate) fn forget_owners(&mut self, owners: &BTreeSet<PortId>) {
        self.shares.forget(owners);
    }

    pub(crate) const fn counts(&self) -> FlowCounts {
        self.counts
    }

    /// The next flow to be removed makes room for another.
    pub(crate) const fn count_displaced(&mut self) {
        self.counts.displaced += 1;
    }

    pub(crate) const fn len(&self) -> usize {
        self.flows.len()
    }

    /// Where in the index a tuple is to be found.
    #[inline]
    pub(crate) fn key<F: Family>(&self, tuple: Tuple<F>) -> FlowKey {
        FlowKey { hash: tuple.hashed(&self.hash), ahead: 0 }
    }

    /// Reads what [`find`](Self::find) and [`refresh`](Self::refresh) will read, for a burst's keys at once: the cache
    /// misses overlap. Bit n of the result is set if no flow has the n-th key.
    #[inline]
    pub(crate) fn look_ahead(&self, keys: &mut [FlowKey], now: Millis) -> u64 {
        let burst = keys.len().min(BURST_FRAMES);
        let keys = &mut keys[..burst];
        black_box(keys.iter().fold(0, |sum, key| sum ^ self.index.touch(key.hash)));
        let (mut unknown, mut moves) = (0, false);
        for (nth, key) in keys.iter_mut().enumerate() {
            let entry = self.index.find(key.hash, |_| true);
            key.ahead = entry.unwrap_or_default();
            unknown |= u64::from(entry.is_none()) << nth;
            moves |= entry.is_some() && self.moves(key.ahead, now).is_some();
        }
        if moves {
            self.look_ahead_refresh(keys, now);
        }
        unknown
    }

    /// The flow of an entry, if its next packet moves it to the end of its list.
    #[inline]
    fn moves(&self, entry: u32, now: Millis) -> Option<Id> {
        let (id, _) = Entry(entry).get();
        self.flows.get(id).filter(|flow| flow.moves(flow.class, seconds(now))).map(|_| id)
    }

    /// The flows that move, and their neighbours in their lists.
    #[cold]
    fn look_ahead_refresh(&self, keys: &[FlowKey], now: Millis) {
        let ids = || keys.iter().filter_map(|key| self.moves(key.ahead, now));
        let place = |id: Id| &self.places[id.index()];
        let number = |id: Option<Id>| id.map_or(0, |id| place(id).next.map_or(0, Id::get));
        black_box(ids().fold(0, |sum, id| sum ^ number(Some(id))));
        black_box(ids().fold(0, |sum, id| sum ^ number(place(id).previous) ^ number(place(id).next)));
    }

    /// Reads what adding flows with these replies will read.
    pub(crate) fn look_ahead_reply(&self, replies: impl Iterator<Item = FlowKey>) {
        black_box(replies.fold(0, |sum, key| sum ^ self.index.touch(key.hash)));
    }

    /// The flow whose packets arrive with this tuple, which has this key, in the original direction.
    #[cfg_attr(not(test), expect(dead_code, reason = "for flows between families: NAT64"))]
    #[inline]
    pub(crate) fn find_original(&self, tuple: Tuple<A>, key: FlowKey) -> Option<Id> {
        let is_it =
            |flow: &Flow<A, B>, direction| direction == Direction::Original && flow.original() == tuple;
        self.find_by(key, is_it).map(|(id, _)| id)
    }

    /// Likewise in the reply direction.
    #[cfg_attr(not(test), expect(dead_code, reason = "for flows between families: NAT64"))]
    #[inline]
    pub(crate) fn find_reply(&self, tuple: Tuple<B>, key: FlowKey) -> Option<Id> {
        let is_it = |flow: &Flow<A, B>, direction| direction == Direction::Reply && flow.reply() == tuple;
        self.find_by(key, is_it).map(|(id, _)| id)
    }

    #[inline]
    fn find_by(
        &self,
        key: FlowKey,
        is_it: impl Fn(&Flow<A, B>, Direction) -> bool,
    ) -> Option<(Id, Direction)> {
        let is_it = |entry| {
            let (id, direction) = Entry(entry).get();
            self.flows.get(id).is_some_and(|flow| is_it(flow, direction))
        };
        let entry = if is_it(key.ahead) { key.ahead } else { self.index.find(key.hash, is_it)? };
        Some(Entry(entry).get())
    }

    #[inline]
    pub(crate) fn get(&self, id: Id) -> &Flow<A, B> {
        &self.flows[id]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id) -> &mut Flow<A, B> {
        &mut self.flows[id]
    }

    /// Adds a flow of `owner`, neither of whose tuples, which have these keys, may be in the table yet.
    pub(crate) fn insert(
        &mut self,
        flow: Flow<A, B>,
        keys: [FlowKey; 2],
        mappings: FlowMappings,
        owner: Option<PortId>,
        now: Millis,
    ) -> Id {
        let class = flow.class;
        let id = self.flows.insert(flow);
        if self.places.len() <= id.index() {
            self.places.resize(id.index() + 1, Place::default());
        }
        self.places[id.index()].mappings = mappings;
        let Self { flows, index, hash, .. } = self;
        for (direction, key) in Direction::BOTH.into_iter().zip(keys) {
            index.insert(key.hash, Entry::new(id, direction).0, |entry| Entry(entry).hash(flows, hash));
        }
        self.append(id, class, now);
        self.shares.add(id, owner);
        self.counts.admitted += 1;
        id
    }

    /// Forgets a flow.
    pub(crate) fn remove(&mut self, id: Id) -> Option<Flow<A, B>> {
        self.unlink(id);
        self.carried.remove(&id.get());
        let flow = self.flows.remove(id)?;
        for direction in Direction::BOTH {
            let key = flow.hash(direction, &self.hash);
            self.index.remove(key, Entry::new(id, direction).0);
        }
        self.shares.remove(id);
        self.counts.expired += 1;
        Some(flow)
    }

    pub(crate) fn mappings(&self, id: Id) -> FlowMappings {
        self.places[id.index()].mappings
    }

    /// Says that the flow was used and is in `class` now: of use where it [moves](Flow::moves).
    pub(crate) fn refresh(&mut self, id: Id, class: TimeoutClass, now: Millis) {
        self.unlink(id);
        self.append(id, class, now);
        let counts = &mut self.flows[id].counts;
        if counts.iter().any(|count| count.is_half_full()) {
            let carried = self.carried.entry(id.get()).or_default();
            carried.iter_mut().zip(counts).for_each(|(carried, count)| *carried += count.take());
        }
    }

    /// What passed through a flow, by [`Direction`].
    pub(crate) fn passed(&self, id: Id) -> [Passed; 2] {
        let carried = self.carried.get(&id.get()).copied().unwrap_or_default();
        let counts = &self.flows[id].counts;
        Direction::BOTH.map(|direction| counts[direction as usize].get() + carried[direction as usize])
    }

    /// Puts back what was read from [`passed`](Self::passed).
    pub(crate) fn restore_passed(&mut self, id: Id, passed: [Passed; 2]) {
        let split = passed.map(Count::split);
        self.flows[id].counts = split.map(|(count, _)| count);
        let rest = split.map(|(_, rest)| rest);
        if rest != [Passed::default(); 2] {
            self.carried.insert(id.get(), rest);
        }
    }

    /// When the next flow expires.
    pub(crate) fn next_timeout(&self, timeouts: &Timeouts) -> Option<Millis> {
        self.next_to_expire(timeouts).map(|(_, deadline)| deadline)
    }

    /// The next flow to expire, over all classes, and when.
    pub(crate) fn next_to_expire(&self, timeouts: &Timeouts) -> Option<(Id, Millis)> {
        let heads = self.lists.iter().filter_map(|list| list.head);
        heads.map(|id| (id, deadline(&self.flows[id], timeouts))).min_by_key(|&(_, deadline)| deadline)
    }

    /// The flows of a class, in the order of their last use.
    pub(crate) fn oldest(&self, class: TimeoutClass) -> impl Iterator<Item = Id> + '_ {
        let next = |id: &Id| self.places[id.index()].next;
        std::iter::successors(self.lists[class as usize].head, next)
    }

    /// All flows, those of a class in the order of their last use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flow<A, B>> + '_ {
        self.ids().map(|id| &self.flows[id])
    }

    /// In the order of [`iter`](Self::iter).
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        TimeoutClass::ALL.into_iter().flat_map(|class| self.oldest(class))
    }

    /// Places that flows have had so far.
    pub(crate) const fn places(&self) -> usize {
        self.flows.places()
    }

    /// The flows at these places, counted from 0.
    pub(crate) fn ids_in(&self, places: Range<usize>) -> impl Iterator<Item = Id> + '_ {
        self.flows.ids_in(places)
    }

    fn append(&mut self, id: Id, class: TimeoutClass, now: Millis) {
        let list = &mut self.lists[class as usize];
        let previous = list.tail.replace(id);
        match previous {
            Some(previous) => self.places[previous.index()].next = Some(id),
            None => list.head = Some(id),
        }
        let place = &mut self.places[id.index()];
        (place.previous, place.next) = (previous, None);
        let flow = &mut self.flows[id];
        (flow.class, flow.refreshed) = (class, seconds(now));
    }

    fn unlink(&mut self, id: Id) {
        let Place { previous, next, .. } = self.places[id.index()];
        let list = &mut self.lists[self.flows[id].class as usize];
        match previous {
            Some(previous) => self.places[previous.index()].next = next,
            None => list.head = next,
        }
        match next {
            Some(next) => self.places[next.index()].previous = previous,
            None => list.tail = previous,
        }
    }
}

/// When the flow expires unless it is used.
pub(crate) fn deadline<A: To<B>, B: Family>(flow: &Flow<A, B>, timeouts: &Timeouts) -> Millis {
    Millis::from_secs(u64::from(flow.refreshed)) + timeouts.of(flow.class) + REFRESH_INTERVAL
}

#[inline]
pub(crate) fn seconds(now: Millis) -> u32 {
    now.as_secs() as u32
}

impl Entry {
    #[inline]
    const fn new(id: Id, direction: Direction) -> Self {
        Self(id.get() << 1 | direction as u32)
    }

    #[inline]
    const fn get(self) -> (Id, Direction) {
        let direction = if self.0 & 1 == 0 { Direction::Original } else { Direction::Reply };
        (Id::new(self.0 >> 1), direction)
    }

    fn hash<A: To<B>, B: Family>(self, flows: &Slab<Flow<A, B>>, hash: &PairHash) -> u64 {
        let (id, direction) = self.get();
        flows[id].hash(direction, hash)
    }
}

#[cfg(test)]
mod tests;

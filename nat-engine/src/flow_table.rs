//! The flows, found by the tuple of either direction and forgotten in the order of their last use.
//!
//! ```text
//! tuple ──keyed hash──▶ index: [id:31 direction:1]  4 bytes and 1 of hash per direction
//!                                  │
//! slab:    [flow 1][flow 2][flow 3][flow 4] …
//!              ▲ head                  ▲ tail
//! lists:   udp 1 ⇄ 4     tcp_established 3 ⇄ 2     …   one per timeout class, next to expire first
//! ```
//!
//! All flows of a list have the same idle time, so moving a flow to the tail when it is used keeps the list in the
//! order of expiry: no timers, no scans.

use hashbrown::HashTable;
use packet::Millis;

use crate::Tuple;
use crate::flow::{Direction, Flow, Links};
use crate::keyed::{KeyedHash, Purpose};
use crate::slab::{Id, Slab};
use crate::timeouts::{TimeoutClass, Timeouts};

/// A flow in use moves to the end of its list at most this often, which saves the list's writes on most packets. It is
/// given back at the end: a flow expires this much after its idle time.
const REFRESH_INTERVAL: Millis = Millis::from_secs(1);

#[derive(Debug)]
pub(crate) struct FlowTable {
    flows: Slab<Flow>,
    index: HashTable<Entry>,
    hash: KeyedHash,
    lists: [List; TimeoutClass::ALL.len()],
}

/// A flow and the direction that the tuple is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry(u32);

#[derive(Clone, Copy, Debug, Default)]
struct List {
    head: Option<Id>,
    tail: Option<Id>,
}

impl FlowTable {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            flows: Slab::new(),
            index: HashTable::new(),
            hash: KeyedHash::new(seed, Purpose::Flows),
            lists: [List::default(); TimeoutClass::ALL.len()],
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.flows.len()
    }

    /// The flow whose packets arrive with this tuple, and in which direction they go.
    #[inline]
    pub(crate) fn find(&self, tuple: Tuple) -> Option<(Id, Direction)> {
        let is_it = |entry: &Entry| {
            let (id, direction) = entry.get();
            self.flows[id].tuples[direction as usize] == tuple
        };
        self.index.find(self.hash.of(tuple.words()), is_it).map(|entry| entry.get())
    }

    #[inline]
    pub(crate) fn get(&self, id: Id) -> &Flow {
        &self.flows[id]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id) -> &mut Flow {
        &mut self.flows[id]
    }

    /// Adds a flow, neither of whose tuples may be in the table yet.
    pub(crate) fn insert(&mut self, flow: Flow, now: Millis) -> Id {
        let (class, tuples) = (flow.class, flow.tuples);
        let id = self.flows.insert(flow);
        let Self { flows, index, hash, .. } = self;
        let rehash = |entry: &Entry| {
            let (id, direction) = entry.get();
            hash.of(flows[id].tuples[direction as usize].words())
        };
        for direction in [Direction::Original, Direction::Reply] {
            let key = hash.of(tuples[direction as usize].words());
            index.insert_unique(key, Entry::new(id, direction), rehash);
        }
        self.append(id, class, now);
        id
    }

    /// Forgets a flow.
    pub(crate) fn remove(&mut self, id: Id) -> Option<Flow> {
        self.unlink(id);
        let flow = self.flows.remove(id)?;
        for direction in [Direction::Original, Direction::Reply] {
            let key = self.hash.of(flow.tuples[direction as usize].words());
            if let Ok(entry) = self.index.find_entry(key, |&entry| entry == Entry::new(id, direction)) {
                entry.remove();
            }
        }
        Some(flow)
    }

    /// Says that the flow was used and is in `class` now.
    #[inline]
    pub(crate) fn refresh(&mut self, id: Id, class: TimeoutClass, now: Millis) {
        let flow = &self.flows[id];
        if flow.class != class || now.since(flow.refreshed) >= REFRESH_INTERVAL {
            self.unlink(id);
            self.append(id, class, now);
        }
    }

    /// The next flow to expire, over all classes, and when.
    pub(crate) fn next_to_expire(&self, timeouts: &Timeouts) -> Option<(Id, Millis)> {
        let heads = self.lists.iter().filter_map(|list| list.head);
        heads.map(|id| (id, deadline(&self.flows[id], timeouts))).min_by_key(|&(_, deadline)| deadline)
    }

    /// All flows, those of a class in the order of their last use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flow> + '_ {
        self.lists.iter().flat_map(|list| {
            let next = |flow: &&Flow| flow.links.next.map(|id| &self.flows[id]);
            std::iter::successors(list.head.map(|id| &self.flows[id]), next)
        })
    }

    fn append(&mut self, id: Id, class: TimeoutClass, now: Millis) {
        let list = &mut self.lists[class as usize];
        let previous = list.tail.replace(id);
        match previous {
            Some(previous) => self.flows[previous].links.next = Some(id),
            None => list.head = Some(id),
        }
        let flow = &mut self.flows[id];
        flow.links = Links { previous, next: None };
        (flow.class, flow.refreshed) = (class, now);
    }

    fn unlink(&mut self, id: Id) {
        let flow = &self.flows[id];
        let (class, Links { previous, next }) = (flow.class as usize, flow.links);
        match previous {
            Some(previous) => self.flows[previous].links.next = next,
            None => self.lists[class].head = next,
        }
        match next {
            Some(next) => self.flows[next].links.previous = previous,
            None => self.lists[class].tail = previous,
        }
    }
}

/// When the flow expires unless it is used.
pub(crate) fn deadline(flow: &Flow, timeouts: &Timeouts) -> Millis {
    flow.refreshed + timeouts.of(flow.class) + REFRESH_INTERVAL
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::Protocol;
    use std::net::{Ipv4Addr, SocketAddrV4};

    fn flow(port: u16) -> Flow {
        let at = |last, port| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), port);
        let original = Tuple::new(Protocol::UDP, at(1, port), at(2, 53));
        Flow::new(original, original.reversed(), None)
    }

    fn ports(table: &FlowTable) -> Vec<u16> {
        table.iter().map(|flow| flow.tuples[0].source_port()).collect()
    }

    #[test]
    fn flows_are_found_by_both_tuples_until_removed() {
        let mut table = FlowTable::new([1, 2]);
        let ids: Vec<_> = (0..1000).map(|port| table.insert(flow(port), Millis::ZERO)).collect();
        for (port, &id) in ids.iter().enumerate() {
            let tuple = flow(port as u16).tuples[0];
            assert_eq!(table.find(tuple), Some((id, Direction::Original)));
            assert_eq!(table.find(tuple.reversed()), Some((id, Direction::Reply)));
        }
        for id in ids {
            let tuple = table.remove(id).unwrap().tuples[0];
            assert_eq!((table.find(tuple), table.find(tuple.reversed())), (None, None));
        }
        assert_eq!((table.len(), table.iter().count(), table.index.len()), (0, 0, 0));
    }

    #[test]
    fn use_moves_a_flow_to_the_end_of_the_line_once_a_second() {
        let mut table = FlowTable::new([1, 2]);
        let [a, b, c] = [1, 2, 3].map(|port| table.insert(flow(port), Millis::ZERO));
        table.refresh(b, TimeoutClass::Udp, Millis::new(999));
        assert_eq!(ports(&table), [1, 2, 3]);
        table.refresh(b, TimeoutClass::Udp, Millis::new(1000));
        assert_eq!(ports(&table), [1, 3, 2]);
        table.refresh(a, TimeoutClass::TcpClosing, Millis::new(1000));
        assert_eq!(ports(&table), [3, 2, 1]);
        let timeouts = Timeouts::default();
        assert_eq!(table.next_to_expire(&timeouts), Some((a, Millis::from_secs(1 + 240 + 1))));
        table.remove(a);
        assert_eq!(table.next_to_expire(&timeouts), Some((c, Millis::from_secs(300 + 1))));
    }
}

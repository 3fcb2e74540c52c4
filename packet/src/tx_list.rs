//! Which frames of a burst go to which port.

use crate::burst::BURST_FRAMES;
use crate::{PortId, TxEntry};

/// The frames of a burst that go to one port, in order.
#[derive(Clone, Debug)]
struct TxList {
    entries: [TxEntry; BURST_FRAMES],
    len: u8,
}

impl TxList {
    const EMPTY: Self = Self { entries: [TxEntry::as_is(0); BURST_FRAMES], len: 0 };

    fn entries(&self) -> &[TxEntry] {
        &self.entries[..usize::from(self.len)]
    }
}

/// A list per port. Filled by egress, taken by the driver; allocated once.
#[derive(Clone, Debug, Default)]
pub struct TxLists {
    lists: Vec<TxList>,
    touched: Vec<PortId>,
}

impl TxLists {
    /// Makes room for ports below `limit`. Call when ports are added, not per burst.
    pub fn reserve_ports(&mut self, limit: usize) {
        if self.lists.len() < limit {
            self.lists.resize(limit, TxList::EMPTY);
            self.touched.reserve(limit);
        }
    }

    /// Adds a frame of the burst for `port`. A frame is added once per port, so a list can't overflow.
    #[inline]
    pub fn push(&mut self, port: PortId, entry: TxEntry) {
        let Some(list) = self.lists.get_mut(port.index()) else { return };
        let at = usize::from(list.len);
        if let Some(place) = list.entries.get_mut(at) {
            *place = entry;
            if list.len == 0 {
                self.touched.push(port);
            }
            list.len += 1;
        }
    }

    /// The ports with frames, in the order of their first frame.
    pub fn touched(&self) -> &[PortId] {
        &self.touched
    }

    /// The list of `port`, the frames in the order of the burst.
    pub fn list(&self, port: PortId) -> &[TxEntry] {
        self.lists.get(port.index()).map_or(&[], TxList::entries)
    }

    /// Takes off the list of `port` what `keep` doesn't want, and says how many that were.
    pub fn retain(&mut self, port: PortId, mut keep: impl FnMut(TxEntry) -> bool) -> usize {
        let Some(list) = self.lists.get_mut(port.index()).filter(|list| list.len > 0) else { return 0 };
        let (before, mut kept) = (usize::from(list.len), 0);
        for at in 0..before {
            let entry = list.entries[at];
            if keep(entry) {
                list.entries[kept] = entry;
                kept += 1;
            }
        }
        list.len = kept as u8;
        if kept == 0 {
            self.touched.retain(|touched| *touched != port);
        }
        before - kept
    }

    /// Empties all lists.
    pub fn clear(&mut self) {
        for port in self.touched.drain(..) {
            if let Some(list) = self.lists.get_mut(port.index()) {
                list.len = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(id: u16) -> PortId {
        PortId::new(id).unwrap()
    }

    #[test]
    fn each_port_has_its_own_entries_in_the_order_of_the_burst() {
        let mut lists = TxLists::default();
        lists.reserve_ports(8);
        for (to, frame) in [(7, 0), (2, 0), (7, 3), (2, 63)] {
            lists.push(port(to), TxEntry::as_is(frame));
        }
        let frames = |of| lists.list(port(of)).iter().map(|entry| entry.frame()).collect::<Vec<_>>();
        assert_eq!((frames(7), frames(2), frames(3)), (vec![0, 3], vec![0, 63], vec![]));
        assert_eq!(lists.touched(), [port(7), port(2)]);
        lists.clear();
        assert!(lists.touched().is_empty() && lists.list(port(7)).is_empty());
    }

    #[test]
    fn a_list_keeps_what_is_wanted_in_its_order_and_without_anything_its_port_gets_nothing() {
        let mut lists = TxLists::default();
        lists.reserve_ports(8);
        (0..5).for_each(|frame| lists.push(port(3), TxEntry::as_is(frame)));
        assert_eq!(lists.retain(port(3), |entry| entry.frame() % 2 == 0), 2);
        assert_eq!(lists.list(port(3)), [0, 2, 4].map(TxEntry::as_is));
        assert_eq!((lists.retain(port(3), |_| false), lists.touched()), (3, &[][..]));
        assert_eq!(lists.retain(port(7), |_| false), 0);
        lists.push(port(3), TxEntry::as_is(1));
        assert_eq!(lists.touched(), [port(3)]);
    }

    #[test]
    fn a_whole_burst_fits_and_a_port_that_nobody_reserved_gets_nothing() {
        let mut lists = TxLists::default();
        lists.reserve_ports(1);
        for frame in 0..BURST_FRAMES {
            lists.push(port(0), TxEntry::as_is(frame));
            lists.push(port(1), TxEntry::as_is(frame));
        }
        assert_eq!(lists.list(port(0)).len(), BURST_FRAMES);
        assert_eq!(lists.list(port(0))[63].frame(), 63);
        assert_eq!((lists.list(port(1)), lists.touched()), (&[][..], &[port(0)][..]));
    }
}

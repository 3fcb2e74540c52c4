//! Which frames of a burst go to which port.

use crate::PortId;
use crate::burst::BURST_FRAMES;

/// The frames of a burst that go to one port, in order.
#[derive(Clone, Debug)]
pub struct TxList {
    frames: [u8; BURST_FRAMES],
    len: u8,
}

impl TxList {
    const EMPTY: Self = Self { frames: [0; BURST_FRAMES], len: 0 };

    /// The frames' indices in the burst, ascending.
    pub fn frames(&self) -> &[u8] {
        &self.frames[..usize::from(self.len)]
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

    /// Adds frame `index` of the burst for `port`. A frame is added once per port, so a list can't overflow.
    pub fn push(&mut self, port: PortId, index: usize) {
        let Some(list) = self.lists.get_mut(port.index()) else { return };
        let at = usize::from(list.len);
        if let (Some(entry), Ok(index)) = (list.frames.get_mut(at), u8::try_from(index)) {
            *entry = index;
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

    /// The list of `port`.
    pub fn list(&self, port: PortId) -> &[u8] {
        self.lists.get(port.index()).map_or(&[], TxList::frames)
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

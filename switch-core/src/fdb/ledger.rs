//! Who has how many entries.

use packet::PortId;

use super::moves::Moves;
use crate::sync::PORTS;

/// What only writers need. Who holds it is the only one to change keys, and values but for the time.
#[derive(Debug)]
pub(super) struct Ledger {
    /// By port: entries learned; those that aged are in it until their slots are taken, or counted.
    pub(super) learned: Box<[u32]>,
    /// Ports that have learned entries.
    pub(super) sharers: u32,
    /// The second of the last count.
    pub(super) counted: u32,
    pub(super) moves: Moves,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { learned: vec![0; PORTS].into(), sharers: 0, counted: u32::MAX, moves: Moves::new() }
    }

    pub(super) fn add(&mut self, port: PortId) {
        let learned = &mut self.learned[port.index()];
        self.sharers += u32::from(*learned == 0);
        *learned += 1;
    }

    pub(super) fn remove(&mut self, port: PortId) {
        let learned = &mut self.learned[port.index()];
        self.sharers -= u32::from(*learned == 1);
        *learned = learned.saturating_sub(1);
    }

    pub(super) fn forget(&mut self, port: PortId) {
        if std::mem::take(&mut self.learned[port.index()]) > 0 {
            self.sharers -= 1;
        }
    }

    pub(super) fn restart(&mut self) {
        self.sharers = 0;
        self.learned.fill(0);
    }
}

//! What tests want to know of the inside.

use packet::{MacAddr, Vid};

use super::Fdb;
use super::entry::Key;
use crate::sync::PORTS;

impl Fdb {
    /// By port: entries as the ledger has them, and as they are in the table.
    pub(crate) fn counts(&self) -> (Vec<u32>, Vec<u32>) {
        let mut there = vec![0; PORTS];
        for slot in self.slots().filter(|slot| slot.key().0 != 0 && !slot.value().is_static()) {
            there[slot.value().port().index()] += u32::from(self.is_current(slot.value()));
        }
        (self.lock().learned.to_vec(), there)
    }

    /// Ports that have entries, as the ledger has it.
    pub(crate) fn sharers(&self) -> usize {
        self.lock().sharers as usize
    }

    /// The first `count` stations that need the same slot.
    pub(crate) fn rivals(&self, count: usize) -> Vec<MacAddr> {
        let bucket = |mac| std::ptr::from_ref(self.first_bucket(self.hash(Key::new(mac, Vid::UNTAGGED))));
        let all = (1..).map(MacAddr::local);
        all.filter(|&mac| bucket(mac) == bucket(MacAddr::local(1))).take(count).collect()
    }
}

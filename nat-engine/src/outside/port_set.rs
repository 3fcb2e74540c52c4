//! Sets of ports.

use std::fmt;

/// A bit per port, and no memory for none.
#[derive(Default)]
pub(crate) struct PortSet(Vec<u64>);

impl PortSet {
    /// Of 64 ports, those that are in it; the lowest has the lowest bit.
    #[inline]
    pub(crate) fn word(&self, index: u16) -> u64 {
        self.0.get(usize::from(index)).copied().unwrap_or(0)
    }

    pub(crate) fn insert(&mut self, port: u16) {
        if self.0.is_empty() {
            self.0.resize(usize::from(u16::MAX / 64) + 1, 0);
        }
        self.0[usize::from(port / 64)] |= 1 << (port % 64);
    }

    pub(crate) fn remove(&mut self, port: u16) {
        self.0[usize::from(port / 64)] &= !(1 << (port % 64));
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        write!(f, "{ports} ports")
    }
}

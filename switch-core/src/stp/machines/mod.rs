//! The state machines of IEEE 802.1D-2004, clause 17: one file each. `next` is the figure's arrows, with their conditions;
//! `enter` what its boxes say. Nothing else moves a machine.

pub(crate) mod detection;
pub(crate) mod information;
pub(crate) mod migration;
pub(crate) mod receive;
pub(crate) mod selection;
pub(crate) mod topology;
pub(crate) mod traffic;
pub(crate) mod transition;
pub(crate) mod transmit;

#[cfg(test)]
mod tests;

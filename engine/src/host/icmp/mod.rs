//! ICMP of the switch itself.

pub(crate) mod v4;

//! Rules, and the servers that they distribute flows among.

pub(crate) mod rule;
pub(crate) mod servers;

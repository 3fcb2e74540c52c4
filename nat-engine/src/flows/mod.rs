//! Flows: what packets belong together, in both directions.

pub(crate) mod count;
pub(crate) mod flow;
pub(crate) mod icmp;
pub(crate) mod packet;
pub(crate) mod sequence;
pub(crate) mod table;
pub(crate) mod tcp;
pub(crate) mod timeouts;
pub(crate) mod tuple;

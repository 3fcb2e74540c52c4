//! The outside: which addresses and ports of it stand for whom inside.

pub(crate) mod contacts;
pub(crate) mod explicit;
pub(crate) mod hosts;
pub(crate) mod mapping;
pub(crate) mod owners;
pub(crate) mod port_pool;
mod port_set;

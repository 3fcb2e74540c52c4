//! What tests, benchmarks and the demo need beside ports.

pub mod host;
pub(crate) mod memory;

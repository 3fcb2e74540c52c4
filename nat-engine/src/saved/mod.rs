//! Flows and mappings as bytes, so that they survive their process.

pub(crate) mod record;
pub(crate) mod state;

//! Fragments: those after the first have no ports.

pub(crate) mod identification;
pub(crate) mod waiting;
pub(crate) mod ways;

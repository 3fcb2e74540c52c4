//! Where entries are kept and found: places, an index over them, hashes.

pub(crate) mod index;
pub(crate) mod keyed;
pub(crate) mod slab;

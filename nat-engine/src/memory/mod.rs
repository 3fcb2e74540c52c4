//! Where entries are kept and found: places, an index over them, hashes, and whose they are.

pub(crate) mod index;
pub(crate) mod keyed;
pub(crate) mod shares;
pub(crate) mod slab;

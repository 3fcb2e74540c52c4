//! Where entries are kept and found: places, an index over them, random numbers, and whose they are.

pub(crate) mod index;
pub(crate) mod random;
pub(crate) mod shares;
pub(crate) mod slab;

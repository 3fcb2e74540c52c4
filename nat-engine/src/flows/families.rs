//! The two families of a flow: its first packet is of one, and what answers may be of another (NAT64).
//!
//! ```text
//! same family   addresses: [original, reply], found by the direction
//! two families  addresses: (original, reply)
//! ```

use std::fmt::Debug;

use packet::{Family, V4, V6};

/// A family whose packets are answered by packets of `B`.
pub(crate) trait To<B: Family>: Family {
    /// The addresses of both tuples, as a flow keeps them.
    type Addresses: Copy + Debug;

    fn join(original: Self::Pair, reply: B::Pair) -> Self::Addresses;

    fn split(addresses: Self::Addresses) -> (Self::Pair, B::Pair);
}

/// A family that is answered by itself: a tuple is found by its direction, without a branch.
pub(crate) trait Alone: Family + To<Self, Addresses = [<Self as Family>::Pair; 2]> {}

impl<F: Family + To<F, Addresses = [<F as Family>::Pair; 2]>> Alone for F {}

macro_rules! same_family {
    ($family:ty) => {
        impl To<$family> for $family {
            type Addresses = [Self::Pair; 2];

            #[inline]
            fn join(original: Self::Pair, reply: Self::Pair) -> Self::Addresses {
                [original, reply]
            }

            #[inline]
            fn split([original, reply]: Self::Addresses) -> (Self::Pair, Self::Pair) {
                (original, reply)
            }
        }
    };
}

macro_rules! two_families {
    ($from:ty, $to:ty) => {
        impl To<$to> for $from {
            type Addresses = (<$from as Family>::Pair, <$to as Family>::Pair);

            #[inline]
            fn join(original: <$from as Family>::Pair, reply: <$to as Family>::Pair) -> Self::Addresses {
                (original, reply)
            }

            #[inline]
            fn split(addresses: Self::Addresses) -> (<$from as Family>::Pair, <$to as Family>::Pair) {
                addresses
            }
        }
    };
}

same_family!(V4);
same_family!(V6);
two_families!(V4, V6);
two_families!(V6, V4);

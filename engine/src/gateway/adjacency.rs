//! A resolved hop.

use std::net::Ipv4Addr;

use packet::{MacAddr, Verdict};

use super::route::Hop;

/// What a frame needs to be sent to a hop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adjacency<A = Ipv4Addr> {
    pub hop: Hop<A>,
    pub dst: MacAddr,
    pub src: MacAddr,
    /// Both as they stand in the frame.
    pub addresses: [u8; 12],
    pub mtu: usize,
    /// Which port, as far as the bridge knows.
    pub verdict: Verdict,
}

impl<A> Adjacency<A> {
    pub fn new(hop: Hop<A>, (dst, src): (MacAddr, MacAddr), mtu: usize, verdict: Verdict) -> Self {
        let mut addresses = [0; 12];
        addresses[..6].copy_from_slice(&dst.octets());
        addresses[6..].copy_from_slice(&src.octets());
        Self { hop, dst, src, addresses, mtu, verdict }
    }
}

//! What the host's protocols of IPv6 work with, beside [`slow`](super::slow): errors that are told.

use std::net::Ipv6Addr;

use packet::DropReason;

pub(super) use super::icmp::v6::{Icmp6Error, error};
use super::slow::Slow;
use crate::punt::Punted;

impl Slow<'_> {
    /// Tells the sender of an IPv6 frame, which is as it came in. Nothing is told where RFC 4443 says so.
    pub(super) fn tell6(&mut self, reason: Icmp6Error, punted: &Punted<'_>) -> Result<(), DropReason> {
        let interface = self.gateway.v6.interface(punted.input).ok_or(DropReason::NoRoute)?;
        let source = punted.ip6().map_or(Ipv6Addr::UNSPECIFIED, |ip| ip.src);
        let Some(frame) = error(punted.packet(), interface.towards(source), reason) else { return Ok(()) };
        self.admit_error()?;
        self.answer(frame, punted)
    }
}

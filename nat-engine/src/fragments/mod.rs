//! Fragments: only the first one of a datagram has ports.
//!
//! ```text
//! first fragment  ─▶ translated by its flow; its route is noted               datagrams
//! later fragment  ─▶ follows that route, or else waits for its first one      waiting
//! either          ─▶ gets an identification that no other host's packet has   identification
//! ```

mod datagrams;
mod identification;
mod waiting;

use packet::{DropReason, Fragment, Ipv4Packet, L4, Millis, NetworkId, PortId};

use crate::flows::packet::{Known, NatPacket};
use crate::flows::tuple::Tuple;
use crate::fragments::datagrams::{Datagrams, Route, is_unsafe, key_of};
use crate::fragments::identification::Identifications;
use crate::fragments::waiting::Waiting;
pub use crate::fragments::waiting::WaitingFragment;

/// What is known of datagrams that come in fragments.
#[derive(Debug)]
pub(crate) struct Fragments {
    datagrams: Datagrams,
    waiting: Waiting,
    identifications: Identifications,
    /// The port of the switch that fragments count for.
    owner: Option<PortId>,
}

impl Fragments {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            datagrams: Datagrams::new(seed),
            waiting: Waiting::default(),
            identifications: Identifications::new(seed),
            owner: None,
        }
    }

    /// From now on, fragments count for this port of the switch.
    #[inline]
    pub(crate) const fn set_owner(&mut self, owner: Option<PortId>) {
        self.owner = owner;
    }

    /// A packet goes on untranslated. If it is a first fragment, the later ones follow it.
    pub(crate) fn pass_untranslated(&mut self, ip: &Ipv4Packet, now: Millis) {
        if ip.fragment == Fragment::First {
            self.datagrams.record(key_of(ip), Route::Untranslated, self.owner, now);
        }
    }

    /// Makes a packet that has `arrived` with one tuple depart with the other.
    #[inline]
    pub(crate) fn rewrite(
        &mut self,
        packet: &mut NatPacket<'_>,
        arrived: Tuple,
        departing: Tuple,
        now: Millis,
    ) {
        if packet.ip.is_atomic() {
            packet.rewrite(arrived, departing);
        } else {
            self.rewrite_non_atomic(packet, arrived, departing, now);
        }
    }

    /// Rewrites a packet that may come in fragments: if others send from its new source address too, it gets another
    /// identification. A first fragment is remembered for the later ones.
    fn rewrite_non_atomic(
        &mut self,
        packet: &mut NatPacket<'_>,
        arrived: Tuple,
        departing: Tuple,
        now: Millis,
    ) {
        let key = key_of(packet.ip);
        let (src, dst) = (departing.source_address(), departing.destination_address());
        let is_first = packet.ip.fragment == Fragment::First;
        let id = match self.datagrams.find(key, now).filter(|_| is_first) {
            // The first fragment came twice.
            Some(Route::Translated { flow, id, .. }) if flow == arrived => id,
            // Without ports an address is one host's alone.
            _ if src == arrived.source_address() || matches!(packet.ip.l4, L4::Other | L4::None) => {
                packet.ip.id
            }
            _ => self.identifications.next(packet, departing),
        };
        if is_first {
            let route = Route::Translated { flow: arrived, src, dst, id };
            self.datagrams.record(key, route, self.owner, now);
        }
        packet.rewrite_id(id);
        packet.rewrite(arrived, departing);
    }

    /// Gives a later fragment the addresses and identification that its first one got. Beside what became of it: the tuple
    /// that its flow is found by.
    pub(crate) fn translate_later(&self, packet: &mut NatPacket<'_>, now: Millis) -> (Known, Option<Tuple>) {
        let Some(route) = self.datagrams.find(key_of(packet.ip), now) else { return (Known::Later, None) };
        if is_unsafe(packet) {
            return (Known::Drop(DropReason::BadFragment), None);
        }
        let Route::Translated { flow, src, dst, id } = route else { return (Known::Miss, None) };
        packet.rewrite_id(id);
        packet.rewrite_addresses(src, dst);
        (Known::Translated, Some(flow))
    }

    /// Keeps a later fragment until its first one has come.
    pub(crate) fn keep(
        &mut self,
        ip: &Ipv4Packet,
        from: NetworkId,
        bytes: &[u8],
        now: Millis,
    ) -> Result<(), DropReason> {
        self.waiting.keep(ip, from, self.owner, bytes, now)
    }

    /// A fragment whose first one has come since.
    pub(crate) fn next_ready(&mut self, now: Millis) -> Option<WaitingFragment> {
        self.waiting.next_ready(&self.datagrams, now)
    }

    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        self.waiting.next_timeout()
    }

    pub(crate) fn on_timeout(&mut self, now: Millis) {
        self.waiting.on_timeout(now);
    }

    /// Fragments that were given up since the last call.
    pub(crate) const fn take_lost(&mut self) -> u64 {
        self.waiting.take_lost()
    }
}

//! The hit path: a packet of a known flow, or about one, is rewritten in place.
//!
//! ```text
//! packet with a tuple ─▶ its flow ─▶ noted, rewritten to the other direction's tuple, reversed
//! ICMP error          ─▶ the flow of the packet that it quotes
//! later fragment      ─▶ the route of its first one
//! ```

use packet::{L4, Millis, PortId};

use crate::flows::icmp;
use crate::flows::packet::{Known, NatPacket};
use crate::flows::table::{FlowKey, FlowTable, seconds};
use crate::flows::tuple::Tuple;
use crate::fragments::Fragments;

/// What a packet takes that is translated.
pub(crate) struct Translation<'a> {
    pub(crate) flows: &'a mut FlowTable,
    pub(crate) fragments: &'a mut Fragments,
    pub(crate) owner: Option<PortId>,
    pub(crate) now: Millis,
}

impl Translation<'_> {
    #[inline]
    pub(crate) fn translate_known(&mut self, packet: &mut NatPacket<'_>, key: FlowKey) -> Known {
        let Some(arrived) = Tuple::of(packet.ip) else { return self.translate_without_tuple(packet) };
        let Some((id, direction)) = self.flows.find(arrived, key) else { return Known::Miss };
        let flow = self.flows.get_mut(id);
        let departing = flow.translated(direction);
        if let Some(class) = flow.note(direction, packet)
            && flow.moves(class, seconds(self.now))
        {
            self.flows.refresh(id, class, self.now);
        }
        self.rewrite(packet, arrived, departing);
        Known::Translated
    }

    #[inline]
    pub(crate) fn rewrite(&mut self, packet: &mut NatPacket<'_>, arrived: Tuple, departing: Tuple) {
        if packet.ip.is_atomic() {
            packet.rewrite(arrived, departing);
        } else {
            self.fragments.rewrite(packet, arrived, departing, self.owner, self.now);
        }
    }

    #[cold]
    fn translate_without_tuple(&mut self, packet: &mut NatPacket<'_>) -> Known {
        match packet.ip.l4 {
            L4::IcmpError => icmp::translate_error(packet, self.flows),
            L4::None => self.translate_later(packet),
            _ => Known::Miss,
        }
    }

    /// A later fragment counts for its flow, and says nothing about where that is in its life.
    fn translate_later(&mut self, packet: &mut NatPacket<'_>) -> Known {
        let (known, flow) = self.fragments.translate_later(packet, self.now);
        if let Some(flow) = flow
            && let Some((id, direction)) = self.flows.find(flow, self.flows.key(flow))
        {
            self.flows.get_mut(id).count(direction, packet.ip.total_len);
        }
        known
    }
}

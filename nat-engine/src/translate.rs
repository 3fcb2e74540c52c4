//! The hit path: a packet of a known flow, or about one, is rewritten in place.
//!
//! ```text
//! packet with a tuple ─▶ its flow ─▶ noted, rewritten to the other direction's tuple, reversed
//! ICMP error          ─▶ the flow of the packet that it quotes
//! later fragment      ─▶ the route of its first one
//! ```

use packet::{L4, Millis};

use crate::flows::icmp;
use crate::flows::packet::{Known, NatPacket};
use crate::flows::table::{FlowKey, FlowTable, seconds};
use crate::flows::tuple::Tuple;
use crate::fragments::Fragments;

/// Translates a packet that has this key.
#[inline]
pub(crate) fn translate_known(
    flows: &mut FlowTable,
    fragments: &mut Fragments,
    packet: &mut NatPacket<'_>,
    key: FlowKey,
    now: Millis,
) -> Known {
    let Some(arrived) = Tuple::of(packet.ip) else {
        return translate_without_tuple(flows, fragments, packet, now);
    };
    let Some((id, direction)) = flows.find(arrived, key) else { return Known::Miss };
    let flow = flows.get_mut(id);
    let departing = flow.translated(direction);
    if let Some(class) = flow.note(direction, packet)
        && flow.moves(class, seconds(now))
    {
        flows.refresh(id, class, now);
    }
    fragments.rewrite(packet, arrived, departing, now);
    Known::Translated
}

#[cold]
fn translate_without_tuple(
    flows: &mut FlowTable,
    fragments: &Fragments,
    packet: &mut NatPacket<'_>,
    now: Millis,
) -> Known {
    match packet.ip.l4 {
        L4::IcmpError => icmp::translate_error(packet, flows),
        L4::None => translate_later(flows, fragments, packet, now),
        _ => Known::Miss,
    }
}

/// A later fragment counts for its flow, and says nothing about where that is in its life.
fn translate_later(
    flows: &mut FlowTable,
    fragments: &Fragments,
    packet: &mut NatPacket<'_>,
    now: Millis,
) -> Known {
    let (known, flow) = fragments.translate_later(packet, now);
    if let Some(flow) = flow
        && let Some((id, direction)) = flows.find(flow, flows.key(flow))
    {
        flows.get_mut(id).count(direction, packet.ip.total_len);
    }
    known
}

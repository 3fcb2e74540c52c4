//! Stage 6: verdicts become lists of frames, one per port.

use packet::{DropReason, FrameMeta, PortId, TxEntry, TxLists, Verdict};

use crate::ports::{BridgePort, PortState, Ports};

/// Puts a frame of a burst from `origin` on the lists of the ports it goes to; `packet_len` is the length of the largest
/// layer-3 packet that it becomes on the wire.
#[inline]
pub(crate) fn egress(
    ports: &Ports,
    entry: TxEntry,
    meta: &mut FrameMeta,
    packet_len: usize,
    origin: Option<PortId>,
    lists: &mut TxLists,
) {
    match meta.verdict {
        Verdict::Forward(port) if ports.is_plain(port, packet_len) => lists.push(port, entry),
        Verdict::Forward(port) => forward(ports, port, entry, meta, packet_len, lists),
        Verdict::Flood => flood(ports, entry, meta, packet_len, origin, lists),
        Verdict::Undecided | Verdict::Local | Verdict::Punt(_) | Verdict::Divert(_) | Verdict::Drop(_) => {}
    }
}

#[cold]
fn forward(
    ports: &Ports,
    port: PortId,
    entry: TxEntry,
    meta: &mut FrameMeta,
    packet_len: usize,
    lists: &mut TxLists,
) {
    let settings = ports.get(port).ok_or(DropReason::NoEgressPort);
    match settings.and_then(|settings| leave(settings, entry, meta, packet_len)) {
        Ok(entry) => lists.push(port, entry),
        Err(reason) => meta.drop(reason),
    }
}

#[inline(never)]
fn flood(
    ports: &Ports,
    entry: TxEntry,
    meta: &mut FrameMeta,
    packet_len: usize,
    origin: Option<PortId>,
    lists: &mut TxLists,
) {
    // What the gateway forwards comes from the switch itself, which all ports see.
    let origin = origin.filter(|_| !meta.routed).and_then(|id| ports.origin(id));
    let own = origin.map(|origin| origin.id);
    let not_back = origin.filter(|origin| !origin.hairpin).map(|origin| origin.id);
    let group = origin.and_then(|origin| origin.group);
    let mut refused = None;
    let mut sent = false;
    for member in ports.members().iter().filter(|member| Some(member.id) != not_back) {
        let port = member.id;
        let is_apart = group.is_some() && member.group == group && Some(port) != own;
        if member.is_plain(packet_len) && !is_apart {
            lists.push(port, entry);
            sent = true;
            continue;
        }
        match unusual(ports, port, entry, meta, packet_len) {
            Err(reason) => refused = reason.or(refused),
            Ok(_) if is_apart => refused = Some(DropReason::PortIsolated),
            Ok(entry) => {
                lists.push(port, entry);
                sent = true;
            }
        }
    }
    // A frame that the gateway looks at has arrived, even if no port is there to take it; and what is for all has
    // reached all where nobody else is there.
    let is_for_one = meta.routed && !meta.dst.is_group();
    if !sent
        && meta.copy.is_none()
        && let Some(reason) = refused.or(is_for_one.then_some(DropReason::NoEgressPort))
    {
        meta.drop(reason);
    }
}

/// How a flooded frame leaves by the port, or why it should but can't. Ports that are down take nothing, and miss nothing; what
/// a loop leads to comes by another port; and nobody misses what is of a VLAN that the port doesn't carry.
#[inline(never)]
fn unusual(
    ports: &Ports,
    port: PortId,
    entry: TxEntry,
    meta: &FrameMeta,
    packet_len: usize,
) -> Result<TxEntry, Option<DropReason>> {
    let settings = ports.get(port).ok_or(None)?;
    leave(settings, entry, meta, packet_len).map_err(|reason| match reason {
        DropReason::MtuExceeded | DropReason::DoubleTagged => Some(reason),
        _ => None,
    })
}

/// How the frame leaves by the port.
fn leave(
    port: &BridgePort,
    entry: TxEntry,
    meta: &FrameMeta,
    packet_len: usize,
) -> Result<TxEntry, DropReason> {
    match port.state {
        PortState::Forwarding if packet_len > usize::from(port.mtu) => Err(DropReason::MtuExceeded),
        PortState::Forwarding => {
            let entry = port.vlans.leave(entry, meta)?;
            Ok(if port.gro { entry } else { entry.alone() })
        }
        other => Err(other.refusal()),
    }
}

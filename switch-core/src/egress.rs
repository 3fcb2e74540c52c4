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
        Verdict::Forward(port) => {
            let settings = ports.get(port).ok_or(DropReason::NoEgressPort);
            match settings.and_then(|settings| admits(settings, packet_len)) {
                Ok(()) => lists.push(port, entry),
                Err(reason) => meta.drop(reason),
            }
        }
        Verdict::Flood => flood(ports, entry, meta, packet_len, origin, lists),
        Verdict::Undecided | Verdict::Local | Verdict::Punt(_) | Verdict::Divert(_) | Verdict::Drop(_) => {}
    }
}

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
    for &port in ports.members().iter().filter(|&&port| Some(port) != not_back) {
        // Ports that are down take nothing, and miss nothing; what a loop leads to comes by another port.
        let is_up = |settings: &&BridgePort| settings.state == PortState::Forwarding;
        let Some(settings) = ports.get(port).filter(is_up) else { continue };
        if packet_len > usize::from(settings.mtu) {
            refused = Some(DropReason::MtuExceeded);
        } else if group.is_some() && settings.group == group && Some(port) != own {
            refused = Some(DropReason::PortIsolated);
        } else {
            lists.push(port, entry);
            sent = true;
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

#[inline]
fn admits(port: &BridgePort, packet_len: usize) -> Result<(), DropReason> {
    match port.state {
        PortState::Forwarding if packet_len > usize::from(port.mtu) => Err(DropReason::MtuExceeded),
        PortState::Forwarding => Ok(()),
        PortState::Looping => Err(DropReason::LoopDamped),
        PortState::Discarding | PortState::Learning => Err(DropReason::PortNotForwarding),
    }
}

//! Stage 2: what may enter.

use packet::{Burst, DropReason, FrameMeta, MacAddr, PuntReason};

use crate::own::Own;
use crate::ports::PortState;

/// Drops what may not enter by a port in this state. Returns whether a frame hints at a loop.
pub(crate) fn ingress(burst: &mut Burst, state: PortState, own: &Own) -> bool {
    if state != PortState::Forwarding {
        refuse_all(burst, state, own);
        return false;
    }
    let mut has_own_source = false;
    for meta in burst.metas_mut() {
        let is_own = Some(meta.src) == own.gateway;
        if meta.dst.is_bridge_reserved() {
            meta.learn &= !is_own;
            punt(meta);
        } else if is_own {
            meta.refuse(DropReason::OwnSourceMac);
            has_own_source = true;
        }
    }
    has_own_source
}

/// The host gets the frame, unless an earlier stage has dropped it.
fn punt(meta: &mut FrameMeta) {
    if !meta.is_dropped() {
        meta.verdict = PuntReason::Control.into();
    }
}

/// Drops all frames of a port that isn't forwarding, but for probes that look whether its loop is still there, and what
/// bridges say of the spanning tree.
#[cold]
fn refuse_all(burst: &mut Burst, state: PortState, own: &Own) {
    let reason = state.refusal();
    for meta in burst.metas_mut() {
        if state == PortState::Looping && meta.dst == own.probe.to_group() {
            continue;
        }
        if state.hears_bridges() && meta.dst == MacAddr::BRIDGES {
            punt(meta);
        } else {
            meta.drop(reason);
        }
    }
}

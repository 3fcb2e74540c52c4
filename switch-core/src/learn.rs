//! Stage 3: sources become entries of the forwarding database.

use packet::{Burst, Millis, PortCounters, PortId};

use crate::fdb::{Fdb, Learned};
use crate::ports::BridgePort;

/// Notes that the sources of a burst from `origin` are behind it. Never drops; counts what it could not learn. Returns whether
/// a station flaps.
pub(crate) fn learn(
    burst: &Burst,
    (origin, port): (PortId, &BridgePort),
    fdb: &Fdb,
    counters: &mut PortCounters,
    now: Millis,
) -> bool {
    let sighting = fdb.sighting(origin, now);
    let mut has_flapped = false;
    // Frames of a burst mostly have one sender.
    let mut last = None;
    for meta in burst.metas() {
        let station = (meta.src, meta.vid);
        if last == Some(station) || !meta.learn {
            continue;
        }
        last = Some(station);
        let learned = fdb.learn(meta.src, meta.vid, sighting, port.learn_limit);
        if matches!(learned, Learned::Refused | Learned::Flapping) {
            counters.learn_refused += 1;
            has_flapped |= learned == Learned::Flapping;
        }
    }
    has_flapped
}

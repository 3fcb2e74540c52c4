//! SYNs that nobody asked for: kept for six seconds before their sender is told, because the other side may be about to
//! send one too. RFC 5382 REQ-4.

use std::collections::VecDeque;

use packet::{Millis, NetworkId, PortId, share};

/// A frame that waits for its answer.
#[derive(Debug)]
pub(crate) struct HeldSyn {
    pub network: NetworkId,
    pub bytes: Vec<u8>,
    /// The port that it came in by.
    pub origin: Option<PortId>,
    due: Millis,
}

/// The frames, oldest first.
#[derive(Debug, Default)]
pub(crate) struct HeldSyns(VecDeque<HeldSyn>);

impl HeldSyns {
    /// Keeps a frame; when there are too many, also of its port alone, it gets no answer at all.
    pub(crate) fn hold(&mut self, bytes: &[u8], network: NetworkId, origin: Option<PortId>, now: Millis) {
        let of_port = self.0.iter().filter(|held| held.origin == origin).count();
        if share::may_take(of_port, self.0.len(), LIMIT) && bytes.len() <= LONGEST {
            self.0.push_back(HeldSyn { network, bytes: bytes.to_vec(), origin, due: now + HOLD });
        }
    }

    /// The next frame whose time has come.
    pub(crate) fn due(&mut self, now: Millis) -> Option<HeldSyn> {
        self.0.pop_front_if(|held| held.due <= now)
    }

    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        self.0.front().map(|held| held.due)
    }
}

/// RFC 5382 REQ-4: not answered earlier.
const HOLD: Millis = Millis::from_secs(6);
/// 128 KiB at most. A scan that is faster than this gets no answers.
const LIMIT: usize = 256;
/// A SYN without data, with all options.
const LONGEST: usize = 512;

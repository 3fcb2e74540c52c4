//! SYNs that nobody asked for: kept for six seconds before their sender is told, because the other side may be about to
//! send one too. RFC 5382 REQ-4.

use std::collections::VecDeque;

use packet::wire::{EthernetHeader, FromBytes};
use packet::{DropReason, Ipv4Packet, MacAddr, Millis, NetworkId, PortId, share};

use super::slow::{IcmpError, Slow};
use crate::punt::Punted;

/// A frame that waits for its answer.
#[derive(Debug)]
struct HeldSyn {
    network: NetworkId,
    bytes: Vec<u8>,
    /// The port that it came in by.
    origin: Option<PortId>,
    due: Millis,
}

/// The frames, oldest first.
#[derive(Debug, Default)]
pub(super) struct HeldSyns(VecDeque<HeldSyn>);

impl HeldSyns {
    /// Keeps a frame; when there are too many, also of its port alone, it gets no answer at all.
    pub(super) fn serve(&mut self, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let Punted { bytes, input: network, origin, .. } = punted;
        let of_port = self.0.iter().filter(|held| held.origin == *origin).count();
        if share::may_take(of_port, self.0.len(), LIMIT) && bytes.len() <= LONGEST {
            let (network, bytes, origin) = (*network, bytes.to_vec(), *origin);
            self.0.push_back(HeldSyn { network, bytes, origin, due: slow.now + HOLD });
        }
        Err(DropReason::NatUnsolicited)
    }

    pub(super) fn next_timeout(&self) -> Option<Millis> {
        self.0.front().map(|held| held.due)
    }

    /// Tells the senders whose time has come.
    pub(super) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        while let Some(syn) = self.0.pop_front_if(|held| held.due <= slow.now) {
            slow.gateway.speak_for(syn.origin);
            if let Err(reason) = refuse(&syn, slow) {
                slow.out.drops.count(reason);
            }
        }
    }
}

/// Tells the sender of a SYN that nobody wanted it, unless its connection has come about since.
fn refuse(syn: &HeldSyn, slow: &mut Slow<'_>) -> Result<(), DropReason> {
    let (ethernet, packet) =
        EthernetHeader::ref_from_prefix(&syn.bytes).map_err(|_| DropReason::FrameTooShort)?;
    if slow.gateway.nat.knows(&Ipv4Packet::parse(packet)?) {
        return Ok(());
    }
    slow.tell_sender(IcmpError::PortUnreachable, MacAddr::new(ethernet.src), packet, syn.network)
}

/// RFC 5382 REQ-4: not answered earlier.
const HOLD: Millis = Millis::from_secs(6);
/// 128 KiB at most. A scan that is faster than this gets no answers.
const LIMIT: usize = 256;
/// A SYN without data, with all options.
const LONGEST: usize = 512;

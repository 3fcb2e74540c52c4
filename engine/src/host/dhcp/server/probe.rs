//! Addresses that are asked for before a client gets them. RFC 2131, 2.2: the server should probe.
//!
//! ```text
//!            INTERVAL   INTERVAL
//!  who has it? ──── again ──── silence: the client's message is answered, as if it came now
//!       └──────────┴─────▶ somebody else answers: the address is set aside, and the message is answered likewise
//! ```
//!
//! There is one probe of an address, and it is for the client that its binding names. What that client sends meanwhile
//! takes the place of what it sent before, so that it gets one answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use packet::{MacAddr, Millis, PortId, share};

use super::View;

/// A message that waits for the outcome of a probe.
#[derive(Debug)]
pub(super) struct Probe {
    /// The client's message.
    pub message: Box<[u8]>,
    /// The station that sent it.
    pub from: MacAddr,
    /// The port of the switch that it came in by.
    pub port: Option<PortId>,
    /// Whether its MAC address is its own for sure.
    pub is_guarded: bool,
    asked: u8,
    due: Millis,
}

/// The probes of a server.
#[derive(Debug, Default)]
pub(super) struct Probes {
    by_address: BTreeMap<Ipv4Addr, Probe>,
    by_due: BTreeSet<(Millis, Ipv4Addr)>,
    /// How many of them are for clients behind which port of the switch.
    of_port: BTreeMap<PortId, usize>,
}

impl Probes {
    /// Whether no other address can be probed now for a client behind this port of the switch.
    pub fn is_full(&self, port: Option<PortId>) -> bool {
        let all = self.by_address.len();
        let of_port = port.and_then(|port| self.of_port.get(&port)).copied().unwrap_or_default();
        all >= LIMIT || !share::may_take(of_port, all, LIMIT)
    }

    /// Whether a message from behind this port of the switch may wait for a probe of `address`: there is room, or it takes
    /// the place of another one from there.
    pub fn may_wait(&self, address: Ipv4Addr, port: Option<PortId>) -> bool {
        self.by_address.get(&address).is_some_and(|probe| probe.port == port) || !self.is_full(port)
    }

    /// Has a message of the station `from` wait for the probe of `address`. Whether that has to begin.
    pub fn wait(
        &mut self,
        address: Ipv4Addr,
        message: &[u8],
        from: MacAddr,
        View { now, port, is_guarded, .. }: View<'_>,
    ) -> bool {
        let before = self.end(address);
        let (asked, due) = before.as_ref().map_or((1, now + INTERVAL), |probe| (probe.asked, probe.due));
        let message = message.into();
        self.insert(address, Probe { message, from, port, is_guarded, asked, due });
        before.is_none()
    }

    fn insert(&mut self, address: Ipv4Addr, probe: Probe) {
        if let Some(port) = probe.port {
            *self.of_port.entry(port).or_default() += 1;
        }
        self.by_due.insert((probe.due, address));
        self.by_address.insert(address, probe);
    }

    /// Ends the probe of `address`.
    pub fn end(&mut self, address: Ipv4Addr) -> Option<Probe> {
        let probe = self.by_address.remove(&address)?;
        self.by_due.remove(&(probe.due, address));
        if let Some(of_port) = probe.port.and_then(|port| self.of_port.get_mut(&port)) {
            *of_port -= 1;
        }
        Some(probe)
    }

    pub fn next_timeout(&self) -> Option<Millis> {
        self.by_due.first().map(|&(due, _)| due)
    }

    /// An address whose time has come: to be asked for again, or with its probe, that nobody answered.
    pub fn due(&mut self, now: Millis) -> Option<(Ipv4Addr, Option<Probe>)> {
        let (_, address) = self.by_due.first().copied().filter(|&(due, _)| due <= now)?;
        let mut probe = self.end(address)?;
        if probe.asked == QUESTIONS {
            return Some((address, Some(probe)));
        }
        (probe.asked, probe.due) = (probe.asked + 1, now + INTERVAL);
        self.insert(address, probe);
        Some((address, None))
    }
}

/// Questions for an address: one may get lost.
const QUESTIONS: u8 = 2;
/// Between questions, and after the last one. Hosts answer ARP within milliseconds, and clients repeat what isn't answered
/// after 3 seconds or more. RFC 5227 has hosts wait for a second or two; they may have slower links than ours.
const INTERVAL: Millis = Millis::new(200);
/// Addresses probed at once; with their messages 384 KiB. A boot storm of 640 unknown guests a second.
const LIMIT: usize = 256;

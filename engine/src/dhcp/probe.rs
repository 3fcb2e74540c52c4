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

use packet::{MacAddr, Millis};

/// A message that waits for the outcome of a probe.
#[derive(Debug)]
pub(super) struct Probe {
    /// The client's message.
    pub message: Box<[u8]>,
    /// The station that sent it.
    pub from: MacAddr,
    asked: u8,
    due: Millis,
}

/// The probes of a server.
#[derive(Debug, Default)]
pub(super) struct Probes {
    by_address: BTreeMap<Ipv4Addr, Probe>,
    by_due: BTreeSet<(Millis, Ipv4Addr)>,
}

impl Probes {
    /// Whether another address can't be probed now.
    pub fn is_full(&self) -> bool {
        self.by_address.len() >= LIMIT
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Has a message wait for the probe of `address`. Whether that has to begin.
    pub fn wait(&mut self, address: Ipv4Addr, message: &[u8], from: MacAddr, now: Millis) -> bool {
        if let Some(probe) = self.by_address.get_mut(&address) {
            (probe.message, probe.from) = (message.into(), from);
            return false;
        }
        let due = now + INTERVAL;
        self.by_due.insert((due, address));
        self.by_address.insert(address, Probe { message: message.into(), from, asked: 1, due });
        true
    }

    /// Ends the probe of `address`.
    pub fn end(&mut self, address: Ipv4Addr) -> Option<Probe> {
        let probe = self.by_address.remove(&address)?;
        self.by_due.remove(&(probe.due, address));
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
        self.by_due.insert((probe.due, address));
        self.by_address.insert(address, probe);
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

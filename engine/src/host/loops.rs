//! Loops between ports that no spanning tree protocol sees to: there is none, or it doesn't get through.
//!
//! ```text
//!        a station flaps, a frame has the switch's own source, or thousands were flooded
//!        │                                                              none came back
//! (none) ──────────────────────▶ Suspected ──────────────────────────────────▶ (none), or Open
//!                                │ probes out of the port, ten a second
//!                                ▼ one comes back by some port: the later one of the two is
//!                                Closed ◀──┐ a probe has come back: as long again
//!                                │ └───────┘ probes out of it, one a second
//!                                ▼ enough in a row have not come back
//!                                Open: closed for twice as long the next time
//! ```
//!
//! Only a probe closes a port, so a station that moves fast, or somebody with another's address, closes nothing. It has
//! a number that only those behind its port have seen: whoever sends it back alone closes that port.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use packet::builder::eth;
use packet::{DropReason, EtherType, FrameMeta, MacAddr, Millis, NetworkId, Offload, PortId};

use super::outgoing::To;
use super::slow::Slow;
use crate::punt::Punted;
use crate::report::LoopChange;
use crate::runtime_config::RuntimeConfig;
use packet::keyed::SipKeys;

/// The ports that may be part of a loop, or are.
#[derive(Debug)]
pub(crate) struct LoopWatch {
    /// Mostly none, and at most all ports.
    watched: Vec<Watched>,
    changes: VecDeque<LoopChange>,
    /// Ports that were closed or opened, which their bridges don't know yet.
    switched: Vec<PortId>,
    keyed: SipKeys,
    /// Ports ever watched: no two have one token.
    count: u64,
}

/// What is due.
#[derive(Debug)]
enum Due {
    /// Send a probe out of this port.
    Probe { port: PortId, network: NetworkId, token: u64 },
    /// The port isn't closed any more.
    Open(PortId),
}

#[derive(Debug)]
struct Watched {
    port: PortId,
    network: NetworkId,
    /// What probes out of this port say.
    token: u64,
    stage: Stage,
    due: Millis,
    /// Probes before the stage ends.
    left: u32,
    /// The probes in a row that must not come back before the port opens, when it is closed the next time.
    patience: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Suspected,
    /// With the probes in a row that must not come back.
    Closed(u32),
    Open,
}

impl LoopWatch {
    /// Nothing is watched. `seed` must be random.
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        let (watched, changes, switched) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { watched, changes, switched, keyed: SipKeys(seed), count: 0 }
    }

    /// Takes over a configuration: where it says so, nobody looks for loops any more.
    pub(super) fn install(&mut self, config: &RuntimeConfig) {
        let is_on = |network: NetworkId| {
            let network = config.networks.get(network.index());
            network.is_some_and(|network| network.settings.loop_detect)
        };
        self.watched.retain(|watched| is_on(watched.network));
    }

    /// Something that came from `port` hints at a loop.
    pub(crate) fn suspect(&mut self, port: PortId, network: NetworkId, now: Millis) {
        let watched = self.watch(port, network, now);
        if watched.stage == Stage::Open {
            (watched.stage, watched.left, watched.due) = (Stage::Suspected, SUSPICION, now);
        }
    }

    /// Takes a frame to the address of probes.
    pub(super) fn serve(&mut self, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let Punted { meta, bytes, input, origin } = punted;
        let closed = origin.and_then(|back| self.answer(meta, bytes, *input, back, slow.now));
        self.switched.extend(closed);
        Ok(())
    }

    /// Does what is due, as much as has room.
    pub(super) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        while slow.out.has_room()
            && let Some(due) = self.due(slow.now)
        {
            match due {
                Due::Probe { port, network, token } => {
                    let Some(bridge) = slow.bridges.get(network.index()) else { continue };
                    let (src, dst) = bridge.probe();
                    slow.out.push(To::Port(port), &probe(src, dst, token), Offload::NONE);
                }
                Due::Open(port) => self.switched.push(port),
            }
        }
    }

    /// A port that is closed now and wasn't, or the other way round, since the last call.
    pub(super) fn next_switched(&mut self) -> Option<PortId> {
        self.switched.pop()
    }

    /// A frame to the address of probes has come in by `back`. Returns the port that is to be closed.
    fn answer(
        &mut self,
        meta: &FrameMeta,
        bytes: &[u8],
        network: NetworkId,
        back: PortId,
        now: Millis,
    ) -> Option<PortId> {
        let token = token_of(meta, bytes)?;
        let is_its = |watched: &&mut Watched| (watched.token, watched.network) == (token, network);
        let watched = self.watched.iter_mut().find(is_its)?;
        let out = watched.port;
        if let Stage::Closed(patience) = watched.stage {
            watched.left = patience;
            return None;
        }
        if watched.stage == Stage::Open || self.is_closed(back) {
            return None;
        }
        let closed = out.max(back);
        // Two switches that have each closed a port of one loop don't open them at the same time.
        let chance = self.keyed.hash_one((token, now.get()));
        let watched = self.watch(closed, network, now);
        let patience = watched.patience + (chance % u64::from(watched.patience + 1)) as u32;
        (watched.stage, watched.left) = (Stage::Closed(patience), patience);
        (watched.patience, watched.due) = (MOST_PATIENCE.min(2 * watched.patience), now + BETWEEN_LOOKS);
        self.tell(LoopChange { port: closed, other: Some(if closed == out { back } else { out }) });
        Some(closed)
    }

    /// Whether the port is closed.
    pub(crate) fn is_closed(&self, port: PortId) -> bool {
        self.watched.iter().any(|watched| watched.port == port && matches!(watched.stage, Stage::Closed(_)))
    }

    /// The port has lost its link, or is gone.
    pub(crate) fn forget(&mut self, port: PortId) {
        self.watched.retain(|watched| watched.port != port);
    }

    /// A port that was closed or opened since the last call.
    pub(crate) fn next_change(&mut self) -> Option<LoopChange> {
        self.changes.pop_front()
    }

    /// When something is due.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        self.watched.iter().map(|watched| watched.due).min()
    }

    /// One thing that is due at `now`.
    fn due(&mut self, now: Millis) -> Option<Due> {
        loop {
            let index = self.watched.iter().position(|watched| watched.due <= now)?;
            let watched = &mut self.watched[index];
            let Watched { port, network, token, stage, .. } = *watched;
            if stage != Stage::Open && watched.left > 0 {
                watched.left -= 1;
                watched.due = now + if stage == Stage::Suspected { BETWEEN_PROBES } else { BETWEEN_LOOKS };
                return Some(Due::Probe { port, network, token });
            }
            let was_closed = matches!(stage, Stage::Closed(_));
            if stage == Stage::Open || watched.patience == PATIENCE {
                self.watched.swap_remove(index);
            } else {
                (watched.stage, watched.due) = (Stage::Open, now + MEMORY);
            }
            if was_closed {
                self.tell(LoopChange { port, other: None });
                return Some(Due::Open(port));
            }
        }
    }

    fn watch(&mut self, port: PortId, network: NetworkId, now: Millis) -> &mut Watched {
        let index = self.watched.iter().position(|watched| watched.port == port);
        let index = index.unwrap_or_else(|| {
            self.count += 1;
            let token = self.keyed.hash_one(("probe", self.count));
            let (stage, due) = (Stage::Open, now);
            self.watched.push(Watched { port, network, token, stage, due, left: 0, patience: PATIENCE });
            self.watched.len() - 1
        });
        &mut self.watched[index]
    }

    fn tell(&mut self, change: LoopChange) {
        if self.changes.len() < UNTOLD {
            self.changes.push_back(change);
        }
    }
}

/// The address that a bridge's probes come from; `nth`: no two bridges have one.
pub(crate) fn probe_source(seed: [u64; 2], nth: u64) -> MacAddr {
    MacAddr::local(SipKeys(seed).hash_one(("probe source", nth)))
}

/// A reply of the configuration testing protocol (the Ethernet, version 2.0, 8), which nobody answers, with the token as
/// its data.
fn probe(src: MacAddr, dst: MacAddr, token: u64) -> Vec<u8> {
    let mut payload = [0; 46];
    payload[..HEAD.len()].copy_from_slice(&HEAD);
    payload[HEAD.len()..HEAD.len() + 8].copy_from_slice(&token.to_be_bytes());
    eth().src(src).dst(dst).ether_type(CONFIGURATION_TESTING).payload(&payload)
}

fn token_of(meta: &FrameMeta, bytes: &[u8]) -> Option<u64> {
    let (head, rest) = bytes.get(usize::from(meta.l3)..)?.split_first_chunk()?;
    let is_probe = meta.ether_type == CONFIGURATION_TESTING && *head == HEAD;
    is_probe.then(|| rest.first_chunk().map(|token| u64::from_be_bytes(*token))).flatten()
}

const CONFIGURATION_TESTING: EtherType = EtherType(0x9000);
/// Skip count 0, function 1 (reply), receipt number 0; little-endian.
const HEAD: [u8; 6] = [0, 0, 1, 0, 0, 0];
/// Probes before a suspicion ends: in a storm, queues are full and lose some.
const SUSPICION: u32 = 10;
const BETWEEN_PROBES: Millis = Millis::new(100);
/// Between probes out of a port that is closed.
const BETWEEN_LOOKS: Millis = Millis::from_secs(1);
/// Probes that must not come back, the first time; by chance up to twice as many.
const PATIENCE: u32 = 3;
/// Some two to three minutes.
const MOST_PATIENCE: u32 = 96;
/// A port that is closed again within this time is closed for longer.
const MEMORY: Millis = Millis::from_secs(300);
/// Changes that nobody has asked for.
const UNTOLD: usize = 64;

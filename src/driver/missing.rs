//! Links that may have changed, and devices that are missing. Each look is short, but ports may be many: they are looked at a
//! few at a time, and devices are looked for on the thread of [`changes`](super::changes).

use std::collections::VecDeque;

use packet::{Millis, PortId};
use tapio::Netns;

use super::changes::{Change, Missing};
use super::link_state::RECHECK;
use super::{Driver, SLICE};

/// What is to be looked at.
#[derive(Default)]
pub(super) struct Checks {
    /// Ports whose link may be another than it was.
    links: Once,
    /// Ports whose devices are to be looked for, and when that began.
    missing: Once,
    begun: Option<Millis>,
    /// When to look for them again at the earliest.
    next: Millis,
    /// Namespaces that were left while devices are looked for: what is found there is no longer what is meant.
    left: Vec<Option<Netns>>,
}

/// Ports in the order of their turn, each once.
#[derive(Default)]
struct Once {
    queue: VecDeque<PortId>,
    /// By port: whether it is in the queue.
    waits: Vec<bool>,
}

impl Once {
    fn push(&mut self, id: PortId) {
        self.waits.resize(PortId::LIMIT, false);
        if !std::mem::replace(&mut self.waits[id.index()], true) {
            self.queue.push_back(id);
        }
    }

    fn pop(&mut self) -> Option<PortId> {
        let id = self.queue.pop_front()?;
        self.waits[id.index()] = false;
        Some(id)
    }

    fn extend(&mut self, ids: impl IntoIterator<Item = PortId>) {
        ids.into_iter().for_each(|id| self.push(id));
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Checks {
    pub(super) fn is_done(&self) -> bool {
        self.links.is_empty()
    }

    /// What is being looked for in this namespace is not to be taken.
    pub(super) fn leave(&mut self, netns: Option<&Netns>) {
        if self.begun.is_some() {
            self.left.push(netns.cloned());
        }
    }

    /// The links of these ports are to be looked at.
    pub(super) fn add(&mut self, ports: impl Iterator<Item = PortId>) {
        self.links.extend(ports);
    }
}

impl Driver {
    /// Devices of ports may have gone down or come up, or hosts have other addresses.
    pub(super) fn on_link_event(&mut self, place: usize) {
        let changed = self.links.changed(place, &self.plan);
        if changed.iter().any(|&id| self.is_shared(id)) {
            self.change(Change::Hosts, None);
        }
        for id in changed {
            if self.is_missing(id) && !self.worker.link(id) {
                // It may be there now.
                self.checks.missing.push(id);
            } else {
                self.checks.links.push(id);
            }
        }
        self.look_for_missing();
    }

    /// Looks at a few links.
    pub(super) fn go_on_checking(&mut self) {
        let start = self.clock.nanos();
        while self.clock.nanos() - start < SLICE {
            if self.links.is_behind() {
                let there = self.links.listen(&self.plan, self.poll.registry());
                self.checks.links.extend(there);
            } else if let Some(id) = self.checks.links.pop() {
                self.check_link(id);
                self.follow_mtu(id);
            } else {
                return;
            }
        }
    }

    /// Looks at all links: before the first frame.
    pub(super) fn check_all_links(&mut self) {
        while self.links.is_behind() || !self.checks.is_done() {
            self.go_on_checking();
        }
    }

    /// Whether the port's device is to be looked for. Few ports share a host's address, and what is leased of it is to be
    /// known to them all the time: they look for themselves.
    pub(super) fn is_missing(&mut self, id: PortId) -> bool {
        let is_shared = self.is_shared(id);
        self.ports.device(id).is_none_or(|device| !is_shared && device.lacks_device())
    }

    /// Ports that were down may be up again, and devices that were gone may be back.
    pub(super) fn recheck_ports(&mut self, now: Millis) {
        let down = |id: &PortId| !self.worker.link(*id);
        let down: Vec<PortId> = self.plan.devices.iter().map(|(id, _)| *id).filter(down).collect();
        self.recheck = (!down.is_empty()).then_some(now + RECHECK);
        let (missing, there): (Vec<PortId>, Vec<PortId>) =
            down.into_iter().partition(|&id| self.is_missing(id));
        self.checks.links.extend(there);
        if self.checks.missing.is_empty() && self.checks.begun.is_none() && self.checks.next <= now {
            self.checks.missing.extend(missing);
        }
        self.look_for_missing();
    }

    /// Has some of the missing devices looked for, if nobody wants something else.
    pub(super) fn look_for_missing(&mut self) {
        if !self.changes.is_idle() {
            return;
        }
        let now = self.clock.now();
        let mut part = Vec::new();
        while part.len() < PART
            && let Some(id) = self.checks.missing.pop()
        {
            if self.worker.link(id) || !self.is_missing(id) {
                self.checks.links.push(id);
            } else if let Some(spec) = self.plan.spec(id)
                && self.links.may_return(spec.netns())
            {
                let port = self.ports.take(id, self.poll.registry());
                part.push(Missing { id, spec: spec.clone(), port, refusal: None });
            }
        }
        if !part.is_empty() {
            self.checks.begun.get_or_insert(now);
            self.change(Change::Missing(part), None);
        } else if let Some(begun) = self.checks.begun.take() {
            // Where there are many, or each takes long, most of the time nobody looks.
            self.checks.next = now + Millis::new(PATIENCE * now.since(begun).get());
        }
    }

    /// Takes ports back that were looked at.
    pub(super) fn take_found(&mut self, ports: Vec<Missing>) {
        let left = std::mem::take(&mut self.checks.left);
        for Missing { id, spec, port, refusal } in ports {
            if let Some(error) = refusal {
                self.tell_refusal(id, &error);
            }
            let Some(mut port) = port else { continue };
            let is_left = left.iter().any(|left| left.as_ref() == spec.netns());
            let there = !port.device.lacks_device();
            if is_left || port.register(id, self.poll.registry()).is_err() {
                self.ports.close_port(&spec, port);
                continue;
            }
            self.ports.put(id, port);
            if self.is_shared(id) {
                self.claim_all_ports();
            }
            if there {
                self.links.reopen(spec.netns());
                self.checks.links.push(id);
            }
        }
    }
}

/// Devices that are looked for at once: who wants something else waits so long. Each takes about a millisecond.
const PART: usize = 32;
/// For so many times as long as looking took, nobody looks again.
const PATIENCE: u64 = 9;

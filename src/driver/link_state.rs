//! Which ports are up. Those that are down are looked at again and again: see [`missing`](super::missing).

use std::io;

use packet::{Millis, PortId};
use tapio::PortError;
use tracing::{info, warn};

use super::Driver;

impl Driver {
    /// Ports that couldn't be had are in the log.
    pub(super) fn warn_of(&mut self, waiting: &[(PortId, PortError)]) {
        waiting.iter().for_each(|(id, error)| self.tell_refusal(*id, error));
    }

    /// The port may have gone up or down.
    pub(super) fn check_link(&mut self, id: PortId) {
        if self.ports.device(id).is_none() {
            return;
        }
        match (self.worker.link(id), self.is_up(id)) {
            (true, false) => self.note_down(&[id], self.clock.now()),
            (false, true) => self.note_up(id),
            _ => {}
        }
    }

    /// The device is gone: deleted, or its namespace was.
    pub(super) fn lose(&mut self, id: PortId, error: &io::Error, now: Millis) {
        warn!(port = self.plan.place_of(id), %error, "the device is gone; waiting for it to come back");
        if let Some(spec) = self.plan.spec(id) {
            self.ports.close(id, spec);
        }
        self.worker.set_link(id, false);
        self.recheck = Some(now + RECHECK);
    }

    /// The links of these ports went down.
    pub(super) fn note_down(&mut self, down: &[PortId], now: Millis) {
        for &id in down {
            if !self.worker.link(id) {
                continue;
            }
            info!(port = self.plan.place_of(id), "link down");
            self.worker.set_link(id, false);
            self.recheck = Some(now + RECHECK);
            // A port that lost its other side while it was sending says why when it is asked for frames.
            self.mark_ready(id.index());
        }
    }

    /// Whether frames pass by the port. One whose device can't be had says why.
    fn is_up(&mut self, id: PortId) -> bool {
        let is_missing = self.is_missing(id);
        let is_up = if is_missing { Ok(false) } else { self.ports.link_up(id, self.poll.registry()) };
        let refusal = self.ports.device(id).and_then(|device| device.take_refusal());
        if let Some(error) = is_up.as_ref().err().or(refusal.as_ref()) {
            self.tell_refusal(id, error);
        }
        is_up.unwrap_or(false)
    }

    /// Says once why a port can't be had, until it is up: it is tried again and again. That its namespace is gone was said
    /// when it went.
    pub(super) fn tell_refusal(&mut self, id: PortId, error: &PortError) {
        let text = error.to_string();
        if !error.is_about_missing_netns() && self.refusals.get(&id) != Some(&text) {
            warn!(port = self.plan.place_of(id), %error, "the port stays down, and is tried again once a second");
            self.refusals.insert(id, text);
        }
    }

    /// How many ports are up.
    pub(super) fn links_up(&self) -> usize {
        self.ports.ids().filter(|&id| self.worker.link(id)).count()
    }

    fn note_up(&mut self, id: PortId) {
        info!(port = self.plan.place_of(id), "link up");
        self.worker.set_link(id, true);
        self.refusals.remove(&id);
        self.follow_mtu(id);
        if !self.ready.contains(&id) {
            self.ready.push_back(id);
        }
    }
}

/// How often ports that are down are looked at.
pub(super) const RECHECK: Millis = Millis::from_secs(1);

//! The process as whoever runs it sees it: what it is told, and what it takes of the system.

use packet::Millis;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Driver;
use crate::log::Log;
use crate::terminal::count;

impl Driver {
    /// The switch is there, for the first time: for whoever started it and waits.
    pub(super) fn tell_ready(&mut self, log: &Log) {
        let status = self.status();
        // It doesn't depend on the log level.
        log.say(&format!("tapswitch: ready, {status}"));
        self.manager.ready(&status);
    }

    /// A reload has ended, and what came of it.
    pub(super) fn tell_reloaded(&mut self) {
        if self.manager.is_reloading() && self.changes.is_idle() {
            let status = self.status();
            self.manager.ready(&status);
        }
    }

    /// What there is to do in each round beside frames, and takes no time.
    pub(super) fn tend(&mut self, now: Millis) {
        self.tend_leases(now);
        self.manager.live(now);
    }

    fn status(&self) -> String {
        let (up, all) = (self.links_up(), self.plan.devices.len());
        let verb = if all == 1 { "is" } else { "are" };
        format!("{up} of {} {verb} up", count(all as u64, "port"))
    }
}

/// As many as the process may have: the usual limit is for programs that use select(2). Guests bring dozens each.
pub(super) fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // What can't be raised is enough for most.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

//! What the machines of a bridge's ports work on, and the procedures that concern more than one port.
//! IEEE 802.1D-2004, 17.18, 17.20 and 17.21.

use std::collections::VecDeque;

use packet::{Millis, PortId};

use super::bpdu::{Bpdu, Role};
use super::port::Port;
use super::settings::{StpMode, TreeSettings};
use super::vector::{BridgeId, Times, Vector};

/// A bridge.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub settings: TreeSettings,
    pub id: BridgeId,
    /// In ascending order of their ids.
    pub ports: Vec<Port>,
    /// The root, as this bridge hands it on: from itself where it is the root.
    pub root: Vector,
    pub root_times: Times,
    pub root_port: Option<PortId>,
    /// Ports whose machines are to be looked at.
    pub due: Vec<usize>,
    /// Whether a machine of any port has moved, for which others may wait.
    pub has_moved: bool,
    /// What ports send.
    pub outbox: VecDeque<(PortId, Bpdu)>,
    /// Ports that do other things with frames than before.
    pub changed: Vec<PortId>,
    /// Ports whose stations may be elsewhere now.
    pub flushes: Vec<PortId>,
    /// Topology changes that this bridge has seen, and when it did so last.
    pub topology_changes: u64,
    pub topology_changed: Option<Millis>,
}

impl Tree {
    pub(crate) const fn new(id: BridgeId, settings: TreeSettings) -> Self {
        Self {
            settings,
            id,
            ports: Vec::new(),
            root: Vector::own(id),
            root_times: settings.times(),
            root_port: None,
            due: Vec::new(),
            has_moved: false,
            outbox: VecDeque::new(),
            changed: Vec::new(),
            flushes: Vec::new(),
            topology_changes: 0,
            topology_changed: None,
        }
    }

    /// 17.20.11.
    pub(crate) fn is_rapid(&self) -> bool {
        self.settings.mode == StpMode::Rstp
    }

    /// Where a port stands.
    pub(crate) fn place_of(&self, id: PortId) -> Result<usize, usize> {
        self.ports.binary_search_by_key(&id, |port| port.id)
    }

    /// The machines of a port are to be looked at.
    pub(crate) fn touch(&mut self, at: usize) {
        if !std::mem::replace(&mut self.ports[at].is_due, true) {
            self.due.push(at);
        }
    }

    /// The machines of all ports are.
    pub(crate) fn touch_all(&mut self) {
        (0..self.ports.len()).for_each(|at| self.touch(at));
    }

    /// Those of ports that wait for others are.
    pub(crate) fn touch_waiting(&mut self) {
        for at in 0..self.ports.len() {
            if matches!(self.ports[at].role, Role::Root | Role::Alternate | Role::Backup) {
                self.touch(at);
            }
        }
    }

    /// Whether all ports but the root port are in step. 17.20.1.
    pub(crate) fn all_synced(&self) -> bool {
        let is_in_step = |port: &Port| {
            port.is_decided() && port.role == port.selected_role && (port.synced || port.role == Role::Root)
        };
        self.ports.iter().all(is_in_step)
    }

    /// Whether no other port was the root port of late. 17.20.10.
    pub(crate) fn re_rooted(&self, at: usize, now: Millis) -> bool {
        let others = self.ports.iter().enumerate().filter(|(other, _)| *other != at);
        others.into_iter().all(|(_, port)| port.timers.recent_root.is_zero(now))
    }

    /// 17.21.14.
    pub(crate) fn set_sync(&mut self) {
        self.ports.iter_mut().for_each(|port| port.sync = true);
        self.touch_all();
    }

    /// 17.21.13.
    pub(crate) fn set_re_root(&mut self) {
        self.ports.iter_mut().for_each(|port| port.re_root = true);
        self.touch_all();
    }

    /// 17.21.18.
    pub(crate) fn set_tc_prop(&mut self, at: usize, now: Millis) {
        let others = self.ports.iter_mut().enumerate().filter(|(other, _)| *other != at);
        others.for_each(|(_, port)| port.tc_prop = true);
        (self.topology_changes, self.topology_changed) = (self.topology_changes + 1, Some(now));
        self.touch_all();
    }

    /// What was decided of ports' roles is to be decided anew for this one. 17.19.34.
    pub(crate) fn reselect(&mut self, at: usize) {
        let port = &mut self.ports[at];
        (port.reselect, port.selected) = (true, false);
    }

    /// Ports that change what they do with frames say so once.
    pub(crate) fn note_change(&mut self, id: PortId) {
        if !self.changed.contains(&id) {
            self.changed.push(id);
        }
    }

    /// As [`note_change`](Self::note_change), of ports whose stations are to be forgotten.
    pub(crate) fn note_flush(&mut self, id: PortId) {
        if !self.flushes.contains(&id) {
            self.flushes.push(id);
        }
    }
}

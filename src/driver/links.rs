//! The namespaces that have devices of ours: which links change there, and whether their names still lead there.
//!
//! A namespace lives as long as anybody has something open in it, so one that was deleted has to be let go: its ports are
//! closed, and opened again when its name leads somewhere. That of a process ends for us with the process: another one of
//! the same number is not what was meant.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use mio::{Registry, Token};
use packet::{Millis, PortId};
use tapio::{HostStack, LinkEvent, LinkMonitor, Netns, NetnsId, PacketConfig, PortSpec, ProcessWatch};
use tracing::{info, warn};

use super::Driver;
use super::ports::Ports;
use crate::config::Plan;

/// The namespaces; their places are their tokens, counted from [`LINKS`] and from [`PROCESSES`].
#[derive(Default)]
pub(super) struct Namespaces {
    places: Vec<Option<Namespace>>,
    /// Those in which it is still to listen: see [`listen`](Self::listen).
    wanted: VecDeque<Option<Netns>>,
    /// When it is next looked whether names lead elsewhere, and from which place on.
    look_at: Millis,
    look_from: usize,
}

struct Namespace {
    netns: Option<Netns>,
    state: State,
}

enum State {
    Open {
        monitor: LinkMonitor,
        id: Option<NetnsId>,
        /// The process that it is that of, where the kernel tells of its end.
        _process: Option<ProcessWatch>,
        /// Whether its name has to be looked at from time to time.
        is_looked_at: bool,
    },
    /// The process that stood for it has ended.
    Ended,
}

/// Why the ports of a namespace are closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Loss {
    /// Its name leads nowhere.
    Gone,
    /// Its name leads to another one.
    Replaced,
    /// The process that stands for it has ended.
    ProcessEnded,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "its network namespace is gone; waiting for one of that name",
            Self::Replaced => "its network namespace is another one now; going there",
            Self::ProcessEnded => {
                "the process of its network namespace has ended; write another `netns`, and reload"
            }
        })
    }
}

impl Namespaces {
    /// From now on, to listen in the namespaces where `plan` has devices, and no longer in others.
    pub(super) fn follow(&mut self, plan: &Plan, ports: &mut Ports) {
        let ended = self.places.iter().flatten().filter(|namespace| matches!(namespace.state, State::Ended));
        let ended: HashSet<Option<Netns>> = ended.map(|namespace| namespace.netns.clone()).collect();
        for (id, spec) in plan.devices.iter().filter(|_| !ended.is_empty()) {
            // Somebody has named the process anew.
            if ports.device(*id).is_some() && ended.contains(&spec.netns().cloned()) {
                self.forget(spec.netns());
            }
        }
        let devices = plan.devices.iter().map(|(_, spec)| spec).filter(|spec| spec.is_device());
        let wanted: HashSet<Option<&Netns>> = devices.map(|spec| spec.netns()).collect();
        for place in &mut self.places {
            if place.as_ref().is_some_and(|namespace| !wanted.contains(&namespace.netns.as_ref())) {
                *place = None;
            }
        }
        let there: HashSet<Option<&Netns>> =
            self.places.iter().flatten().map(|namespace| namespace.netns.as_ref()).collect();
        self.wanted = wanted.difference(&there).map(|netns| netns.cloned()).collect();
    }

    /// Whether there are namespaces in which it is still to listen.
    pub(super) fn is_behind(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Begins to listen in one more namespace. Returns the ports whose links may have changed meanwhile: those there.
    pub(super) fn listen(&mut self, plan: &Plan, registry: &Registry) -> Vec<PortId> {
        let Some(netns) = self.wanted.pop_front() else { return Vec::new() };
        self.open(netns.clone(), registry);
        let there =
            plan.devices.iter().filter(|(_, spec)| spec.is_device() && spec.netns() == netns.as_ref());
        there.map(|(id, _)| *id).collect()
    }

    /// To listen anew in a namespace that may have been replaced by another of its name.
    pub(super) fn reopen(&mut self, netns: Option<&Netns>) {
        self.forget(netns);
        if !self.wanted.iter().any(|other| other.as_ref() == netns) {
            self.wanted.push_back(netns.cloned());
        }
    }

    /// Whether a port may be opened there again without being asked to.
    pub(super) fn may_return(&self, netns: Option<&Netns>) -> bool {
        !matches!(self.find(netns), Some(Namespace { state: State::Ended, .. }))
    }

    /// When [`lost`](Self::lost) has to look again.
    pub(super) fn next_timeout(&self) -> Option<Millis> {
        let looked_at =
            |namespace: &Namespace| matches!(namespace.state, State::Open { is_looked_at: true, .. });
        self.places.iter().flatten().any(looked_at).then_some(self.look_at)
    }

    /// Namespaces whose names lead elsewhere since the last look, of a part of them. They are left.
    pub(super) fn lost(&mut self, now: Millis) -> Vec<(Option<Netns>, Loss)> {
        let loss = |namespace: &Namespace| match &namespace.state {
            State::Open { id: Some(id), is_looked_at: true, .. } => {
                match NetnsId::find(namespace.netns.as_ref()) {
                    Ok(found) if found == *id => None,
                    Ok(_) => Some(Loss::Replaced),
                    Err(_) => Some(Loss::Gone),
                }
            }
            _ => None,
        };
        let places = self.places.iter().skip(self.look_from).take(PART).flatten();
        let lost: Vec<_> = places.filter_map(|place| Some((place.netns.clone(), loss(place)?))).collect();
        lost.iter().for_each(|(netns, _)| self.leave(netns.as_ref()));
        self.look_from += PART;
        if self.look_from >= self.places.len() {
            (self.look_from, self.look_at) = (0, now + LOOK);
        }
        lost
    }

    /// The process in this place has ended: that namespace is left.
    pub(super) fn process_ended(&mut self, place: usize) -> Option<Netns> {
        let netns = self.places.get(place)?.as_ref()?.netns.clone();
        self.leave(netns.as_ref());
        netns
    }

    /// The ports of `plan` whose link may have changed, as the monitor in this place tells.
    pub(super) fn changed(&mut self, place: usize, plan: &Plan) -> Vec<PortId> {
        let Some(Some(Namespace { netns, state: State::Open { monitor, .. } })) = self.places.get_mut(place)
        else {
            return Vec::new();
        };
        let events = monitor.events();
        let (mut names, mut all, mut addresses) = (HashSet::new(), false, false);
        for event in &events {
            match event {
                LinkEvent::Changed(name) => drop(names.insert(name.as_str())),
                LinkEvent::Addresses => addresses = true,
                LinkEvent::Overflow => all = true,
            }
        }
        let is_shared = |spec: &PortSpec| {
            let packet = spec.of::<PacketConfig>();
            packet.is_some_and(|packet| matches!(packet.host, HostStack::Shared(_)))
        };
        let concerns =
            |spec: &PortSpec| all || addresses && is_shared(spec) || names.contains(spec.device().as_ref());
        let there =
            plan.devices.iter().filter(|(_, spec)| spec.is_device() && spec.netns() == netns.as_ref());
        there.filter(|(_, spec)| concerns(spec)).map(|(id, _)| *id).collect()
    }

    fn find(&self, netns: Option<&Netns>) -> Option<&Namespace> {
        self.places.iter().flatten().find(|namespace| namespace.netns.as_ref() == netns)
    }

    /// Closes what is open there. Of a process it stays known that it has ended.
    fn leave(&mut self, netns: Option<&Netns>) {
        if !matches!(netns, Some(Netns::Pid(_))) {
            return self.forget(netns);
        }
        let mut places = self.places.iter_mut().flatten();
        if let Some(namespace) = places.find(|namespace| namespace.netns.as_ref() == netns) {
            namespace.state = State::Ended;
        }
    }

    fn forget(&mut self, netns: Option<&Netns>) {
        for place in &mut self.places {
            if place.as_ref().is_some_and(|namespace| namespace.netns.as_ref() == netns) {
                *place = None;
            }
        }
    }

    fn open(&mut self, netns: Option<Netns>, registry: &Registry) {
        let place = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        let monitor = LinkMonitor::open(netns.as_ref()).and_then(|monitor| {
            monitor.register(registry, Token(LINKS + place))?;
            Ok(monitor)
        });
        let monitor = match monitor {
            Ok(monitor) => monitor,
            Err(error) => {
                let netns = netns.as_ref().map_or_else(String::new, ToString::to_string);
                return warn!(netns, %error, "links that go down will be noticed late");
            }
        };
        let process = match netns {
            // Not every kernel has it: then its name is looked at.
            Some(Netns::Pid(pid)) => ProcessWatch::new(pid, registry, Token(PROCESSES + place)).ok(),
            _ => None,
        };
        let is_looked_at = netns.is_some() && process.is_none();
        let state = State::Open { id: monitor.netns(), monitor, _process: process, is_looked_at };
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(Namespace { netns, state });
    }
}

impl Driver {
    /// Takes over the MTU of the port's device, where the configuration says none.
    pub(super) fn follow_mtu(&mut self, id: PortId) {
        let Some(mtu) = self.ports.device(id).and_then(|device| device.own_mtu()) else { return };
        if self.plan.port_mtu(id) != mtu && Arc::make_mut(&mut self.plan).runtime.set_mtu(id, mtu) {
            info!(port = self.plan.place_of(id), mtu, "its device has another MTU");
            self.worker.set_mtu(id, mtu);
        }
    }

    /// The namespaces of ports may have ended, or their names lead to others.
    pub(super) fn look_at_namespaces(&mut self, now: Millis) {
        for (netns, loss) in self.links.lost(now) {
            self.leave(netns.as_ref(), loss, now);
        }
    }

    pub(super) fn on_process_end(&mut self, place: usize) {
        let netns = self.links.process_ended(place);
        self.leave(netns.as_ref(), Loss::ProcessEnded, self.clock.now());
    }

    /// Closes the ports of a namespace, which would live on otherwise. They come back when there is one of its name.
    fn leave(&mut self, netns: Option<&Netns>, loss: Loss, now: Millis) {
        self.checks.leave(netns);
        let there = self.plan.devices.iter().filter(|(_, spec)| spec.is_device() && spec.netns() == netns);
        for (id, spec) in there.filter(|_| netns.is_some()) {
            if self.ports.device(*id).is_none() {
                continue;
            }
            warn!(port = self.plan.place_of(*id), "{loss}");
            self.ports.close(*id, spec);
            self.worker.set_link(*id, false);
            self.recheck = Some(now);
        }
    }
}

/// Tokens from here on tell of links that change; those below are ports with frames.
pub(super) const LINKS: usize = PortId::LIMIT;
/// Tokens from here on tell of processes that end.
pub(super) const PROCESSES: usize = LINKS + (1 << 20);
/// How often it is looked whether names lead elsewhere: nothing tells of a file that is mounted over, or a link to
/// another one.
const LOOK: Millis = Millis::from_secs(1);
/// Names that are looked at at once: each takes some microseconds.
const PART: usize = 32;

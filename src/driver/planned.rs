//! A plan with all that can be made ready for it while the one before it runs: on the thread of [`changes`](super::changes).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{NewTables, RuntimeConfig};
use mio::Registry;
use packet::PortId;
use tapio::{PortError, PortSpec};

use super::closing::{Closing, Place};
use super::port::Port;
use crate::config::{Action, Plan};

/// A plan, and what goes with it.
pub(super) struct Planned {
    pub(super) plan: Arc<Plan>,
    /// The plan's, for the worker to keep.
    pub(super) runtime: RuntimeConfig,
    pub(super) tables: NewTables,
    pub(super) steps: Steps,
}

/// What is to be done. A port that is in none of the lists stays as it is.
#[derive(Default)]
pub(super) struct Steps {
    pub(super) open: Vec<Opening>,
    pub(super) change: Vec<Move>,
    pub(super) close: Vec<PortId>,
}

/// A port that is new.
pub(super) struct Opening {
    pub(super) id: PortId,
    pub(super) spec: PortSpec,
    /// A port that is to be closed, and may have what this one needs.
    pub(super) holder: Option<PortId>,
    pub(super) found: Found,
}

/// What was found out about a new port.
pub(super) enum Found {
    /// It is open, and its events are asked for.
    Open(Box<Port>),
    /// It was not tried, or could be had but for the holder.
    Nothing,
    /// It can't be had.
    Refused(PortError),
}

/// An open port that is to have another number, other settings, or both.
pub(super) struct Move {
    pub(super) from: PortId,
    pub(super) to: PortId,
    pub(super) spec: PortSpec,
    /// Whether its settings are others.
    pub(super) is_change: bool,
}

/// What making ready takes.
pub(super) struct Means {
    pub(super) closing: Closing,
    registry: Registry,
    /// The worker's.
    seed: [u64; 2],
    is_ending: AtomicBool,
}

impl Means {
    pub(super) fn new(closing: Closing, registry: Registry, seed: [u64; 2]) -> Self {
        Self { closing, registry, seed, is_ending: AtomicBool::new(false) }
    }

    /// From now on no port is opened any more: the process ends.
    pub(super) fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// Makes `new` ready to replace `old`, of which the ports in `open` are open.
    pub(super) fn planned(&self, mut new: Plan, old: &Plan, open: &[PortId]) -> Planned {
        let steps = self.steps(&new, old, open);
        follow_devices(&mut new, old, &steps);
        let tables = NewTables::between(&old.runtime, &new.runtime, self.seed);
        Planned { runtime: new.runtime.clone(), plan: Arc::new(new), tables, steps }
    }

    fn steps(&self, new: &Plan, old: &Plan, open: &[PortId]) -> Steps {
        let (mut steps, mut openings, mut holders) = (Steps::default(), Vec::new(), Holders::default());
        for action in Plan::diff(old, new) {
            match action {
                Action::Close(id) => {
                    steps.close.push(id);
                    if let Some(spec) = old.spec(id).filter(|_| open.binary_search(&id).is_ok()) {
                        holders.add(id, spec);
                    }
                }
                Action::Open(id, spec) => openings.push((id, spec)),
                Action::Reconfigure(id, spec) => {
                    steps.change.push(Move { from: id, to: id, spec, is_change: true });
                }
            }
        }
        // Packet ports keep the host off their devices: the later, the less it notices of a failure.
        openings.sort_by_key(|(_, spec)| spec.keeps_host_off());
        for (id, spec) in openings {
            let place = Place::of(&spec);
            match holders.find(&place) {
                Some(held) if held.spec.same_device(&spec) => {
                    let from = held.id;
                    steps.change.push(Move { from, to: id, is_change: *held.spec != spec, spec });
                    holders.remove(&place);
                    steps.close.retain(|&id| id != from);
                }
                held => {
                    // Two that connect to the same socket don't need it alone.
                    let held = held.filter(|held| spec.is_device() || held.spec.collides(&spec));
                    steps.open.push(self.opening(id, spec, held.map(|held| held.id)));
                }
            }
        }
        // Nothing can fail with sockets.
        steps.change.sort_by_key(|change| !change.spec.is_device());
        steps
    }

    fn opening(&self, id: PortId, spec: PortSpec, holder: Option<PortId>) -> Opening {
        if self.is_ending.load(Ordering::Relaxed) {
            return Opening { id, spec, holder, found: Found::Nothing };
        }
        self.closing.wait_for(&spec);
        if holder.is_some() && !spec.is_device() {
            // The holder steps aside first.
            return Opening { id, spec, holder, found: Found::Nothing };
        }
        let opened = Port::open(&spec).and_then(|mut port| match holder {
            Some(_) => Ok(None),
            None => port.register(id, &self.registry).map(|()| Some(Box::new(port))),
        });
        let found = match opened {
            Ok(port) => port.map_or(Found::Nothing, Found::Open),
            Err(error) => Found::Refused(error),
        };
        Opening { id, spec, holder, found }
    }
}

/// Ports that are to be closed, by the names of what they have.
#[derive(Default)]
struct Holders<'a>(HashMap<String, Vec<Held<'a>>>);

struct Held<'a> {
    place: Place,
    id: PortId,
    spec: &'a PortSpec,
}

impl<'a> Holders<'a> {
    fn add(&mut self, id: PortId, spec: &'a PortSpec) {
        let place = Place::of(spec);
        self.0.entry(place.name().to_owned()).or_default().push(Held { place, id, spec });
    }

    fn find(&self, place: &Place) -> Option<&Held<'a>> {
        self.0.get(place.name())?.iter().find(|held| held.place == *place)
    }

    fn remove(&mut self, place: &Place) {
        if let Some(held) = self.0.get_mut(place.name())
            && let Some(nth) = held.iter().position(|held| held.place == *place)
        {
            held.remove(nth);
        }
    }
}

/// Where the plan says no MTU, that of the device: of one that stays as it was known last, as it is followed anyway.
fn follow_devices(new: &mut Plan, old: &Plan, steps: &Steps) {
    let opened = steps.open.iter().filter_map(|opening| match &opening.found {
        Found::Open(port) => Some((opening.id, port.device.own_mtu()?)),
        Found::Nothing | Found::Refused(_) => None,
    });
    let moved: HashMap<PortId, PortId> = steps.change.iter().map(|change| (change.to, change.from)).collect();
    let ids = new.devices.iter().filter(|(_, spec)| spec.has_own_mtu()).map(|(id, _)| *id);
    let stay = ids.filter_map(|id| {
        let from = *moved.get(&id).unwrap_or(&id);
        // One that had another MTU before by its settings is looked at a moment later.
        old.spec(from).filter(|spec| spec.has_own_mtu()).map(|_| (id, old.port_mtu(from)))
    });
    for (id, mtu) in stay.chain(opened).collect::<Vec<_>>() {
        new.runtime.set_mtu(id, mtu);
    }
}

//! Which links change: one monitor per namespace that has devices of ours.

use mio::{Registry, Token};
use packet::PortId;
use tapio::{HostStack, LinkEvent, LinkMonitor, Netns, PortSpec};
use tracing::warn;

use crate::config::Plan;

/// The monitors; their places are their tokens, counted from [`LINKS`].
#[derive(Default)]
pub(super) struct LinkMonitors(Vec<Option<(Option<Netns>, LinkMonitor)>>);

impl LinkMonitors {
    /// Listens in the namespaces where `plan` has devices, and no longer in others.
    pub(super) fn follow(&mut self, plan: &Plan, registry: &Registry) {
        let wanted = |netns: &Option<Netns>| {
            plan.devices.iter().any(|(_, spec)| has_device(spec) && spec.netns() == netns.as_ref())
        };
        for slot in &mut self.0 {
            if slot.as_ref().is_some_and(|(netns, _)| !wanted(netns)) {
                *slot = None;
            }
        }
        for (_, spec) in plan.devices.iter().filter(|(_, spec)| has_device(spec)) {
            if !self.0.iter().flatten().any(|(netns, _)| netns.as_ref() == spec.netns()) {
                self.open(spec.netns().cloned(), registry);
            }
        }
    }

    /// Listens anew in a namespace that may have been replaced by another of its name.
    pub(super) fn reopen(&mut self, netns: Option<&Netns>, registry: &Registry) {
        for slot in &mut self.0 {
            if slot.as_ref().is_some_and(|(other, _)| other.as_ref() == netns) {
                *slot = None;
            }
        }
        self.open(netns.cloned(), registry);
    }

    /// The ports of `plan` whose link may have changed, as the monitor in this place tells.
    pub(super) fn changed(&mut self, place: usize, plan: &Plan) -> Vec<PortId> {
        let Some((netns, monitor)) = self.0.get_mut(place).and_then(Option::as_mut) else {
            return Vec::new();
        };
        let events = monitor.events();
        let concerns = |spec: &PortSpec| {
            events.iter().any(|event| match event {
                LinkEvent::Changed(name) => *name == spec.device(),
                LinkEvent::Addresses => {
                    matches!(spec, PortSpec::Packet(packet) if matches!(packet.host, HostStack::Shared(_)))
                }
                LinkEvent::Overflow => true,
            })
        };
        let there =
            plan.devices.iter().filter(|(_, spec)| has_device(spec) && spec.netns() == netns.as_ref());
        there.filter(|(_, spec)| concerns(spec)).map(|(id, _)| *id).collect()
    }

    fn open(&mut self, netns: Option<Netns>, registry: &Registry) {
        let place = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        let monitor = LinkMonitor::open(netns.as_ref()).and_then(|monitor| {
            monitor.register(registry, Token(LINKS + place))?;
            Ok(monitor)
        });
        match monitor {
            Ok(monitor) if place == self.0.len() => self.0.push(Some((netns, monitor))),
            Ok(monitor) => self.0[place] = Some((netns, monitor)),
            Err(error) => warn!(%error, "links that go down will be noticed late"),
        }
    }
}

fn has_device(spec: &PortSpec) -> bool {
    matches!(spec, PortSpec::Tap(_) | PortSpec::Packet(_))
}

/// Tokens from here on tell of links that change; those below are ports with frames.
pub(super) const LINKS: usize = PortId::LIMIT;

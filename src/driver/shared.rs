//! Uplinks whose address is the host's, too: what the host has is followed, and the kernel told what is the switch's.

use packet::PortId;
use tapio::{HostStack, HostUse, PacketConfig, PortSpec, listeners};
use tracing::{info, warn};

use super::Driver;
use crate::config::{HostAddress, Plan};

/// Puts the hosts' addresses into a plan. Those of devices that can't be looked at are unknown.
pub(super) fn look_at_hosts(plan: &mut Plan) {
    plan.follow_hosts(look);
}

fn look(spec: &PortSpec) -> Option<HostAddress> {
    let found = HostUse::of(&spec.device(), spec.netns()).ok().flatten()?;
    let (address, gateway) = found.address()?;
    Some(HostAddress { address, gateway, mac: found.link.mac })
}

impl Driver {
    /// Whether the port's address is the host's, too.
    pub(super) fn is_shared(&self, id: PortId) -> bool {
        self.plan.shared.iter().any(|uplink| uplink.port == id)
    }

    /// Before a packet leaves by a port, the answer must be known to be the switch's.
    #[inline]
    pub(super) fn claim_ports(&mut self) {
        if self.plan.shared.is_empty() {
            return;
        }
        for change in self.worker.take_port_changes() {
            let owner = self
                .plan
                .shared
                .iter()
                .find(|uplink| uplink.host.is_some_and(|host| host.address.address() == change.address));
            if let Some(queue) = owner.and_then(|uplink| self.ports.queues.get_mut(uplink.port)) {
                queue.lease(change.protocol, change.port, change.leased);
            }
        }
    }

    /// A port that was opened anew knows of no leases yet.
    pub(super) fn claim_all_ports(&mut self) {
        self.claim_ports();
        for uplink in &self.plan.shared {
            let Some(host) = uplink.host else { continue };
            let Some(queue) = self.ports.queues.get_mut(uplink.port) else { continue };
            for lease in self.worker.shared_ports().filter(|lease| lease.address == host.address.address()) {
                queue.lease(lease.protocol, lease.port, true);
            }
        }
    }
}

/// Says what has changed since `before`.
pub(super) fn tell_hosts(plan: &Plan, before: &Plan) {
    for (nth, uplink) in plan.shared.iter().enumerate() {
        let name = plan.network_name(uplink.network);
        let same = before.shared.iter().find(|old| before.network_name(old.network) == name);
        let Some(spec) = plan.spec(uplink.port) else { continue };
        if same.is_none_or(|old| old.host != uplink.host) {
            tell_host(plan, nth, name, spec);
        }
        if same.is_none_or(|old| before.spec(old.port) != Some(spec)) {
            warn_of_listeners(name, spec);
        }
    }
}

fn tell_host(plan: &Plan, nth: usize, uplink: &str, spec: &PortSpec) {
    let (device, shared) = (spec.device(), &plan.shared[nth]);
    let Some(HostAddress { address, gateway, .. }) = shared.host else {
        match look(spec) {
            Some(found) => warn!(
                uplink,
                "the host's address {} on {device} overlaps the network {}: write another address there",
                found.address,
                plan.overlapping(nth, found.address).unwrap_or_default()
            ),
            None => {
                warn!(
                    uplink,
                    "the host has no IPv4 address on {device}: guests have no way out until it has"
                );
            }
        }
        return;
    };
    let (first, last) = shared.ports;
    match gateway {
        Some(gateway) => info!(
            uplink,
            "shares the host's address {address} on {device}, ports {first}-{last} in use for guests, by the router {gateway}"
        ),
        None => warn!(
            uplink,
            "the host has {address} on {device}, but no default route by it: guests reach that subnet only"
        ),
    }
}

/// What the host serves on a published port is no longer reached from outside.
fn warn_of_listeners(uplink: &str, spec: &PortSpec) {
    let Some(packet) = spec.of::<PacketConfig>() else { return };
    let HostStack::Shared(shared) = &packet.host else { return };
    let Some(address) = shared.address.filter(|_| !shared.published.is_empty()) else { return };
    let served = listeners(spec.netns(), address).unwrap_or_default();
    for &(protocol, (low, high)) in &shared.published {
        for &(_, port) in served.iter().filter(|&&(of, port)| of == protocol && (low..=high).contains(&port))
        {
            warn!(
                uplink,
                "port {port} of {protocol} leads to a guest: what the host itself serves there isn't reached through {} any more",
                spec.device()
            );
        }
    }
}

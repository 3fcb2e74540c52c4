//! What is no mistake, and still not what everybody expects.

use tapio::{HostStack, HostUse, PacketConfig};

use super::checked::Config;

impl Config {
    /// What to know of the devices that switch and host have both, as far as this machine tells.
    pub fn notes(&self) -> Vec<String> {
        let ports = self.networks.iter().flat_map(|network| &network.ports);
        let ports = ports.chain(self.uplinks.iter().map(|uplink| &uplink.port));
        let packet = ports.filter_map(|port| Some((port.name.as_str(), port.device.of::<PacketConfig>()?)));
        packet.flat_map(|(name, packet)| notes(name, packet)).collect()
    }
}

fn notes(name: &str, packet: &PacketConfig) -> Vec<String> {
    let device = &packet.device;
    let apart = format!(
        "{name}: guests and the host don't see each other by `{device}`: what leaves by a device doesn't come back in. \
         For that, give the host a port of type \"tap\" with `peer-address` in the guests' network"
    );
    match packet.host {
        HostStack::Silent { .. } => Vec::new(),
        HostStack::Beside => vec![apart],
        HostStack::Shared(_) => missing(name, packet).into_iter().chain([apart]).collect(),
    }
}

/// What the host has to have before guests get out by its address.
fn missing(name: &str, packet: &PacketConfig) -> Option<String> {
    let device = &packet.device;
    let what = match HostUse::of(device, packet.netns.as_ref()).ok().flatten().map(|found| found.address()) {
        None => format!("there is no `{device}` on this machine now"),
        Some(None) => format!("the host has no IPv4 address on `{device}` now"),
        Some(Some((_, None))) => format!("the host has no default route by `{device}` now"),
        Some(Some((_, Some(_)))) => return None,
    };
    Some(format!("{name}: {what}: guests have no way out to the world until that has changed"))
}

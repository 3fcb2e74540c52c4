//! What ports are made of, and that no two are made of the same.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use tapio::{
    DgramConfig, HostStack, Netns, PacketConfig, PortSpec, Role, StreamConfig, TapConfig, VhostUserConfig,
};
use toml::Spanned;

use super::super::device::{DeviceTable, DgramTable, PacketTable};
use super::super::table::{Given, Maybe};
use super::super::value;
use super::Check;

impl Check<'_> {
    pub(super) fn device(
        &mut self,
        name: &Spanned<String>,
        table: &DeviceTable,
        mtu: Option<u16>,
    ) -> Option<PortSpec> {
        Some(match table {
            DeviceTable::Tap(tap) => PortSpec::Tap(TapConfig {
                device: self.device_name(name, &tap.device)?,
                netns: tap.netns.value().cloned(),
                mac: tap.mac.value().copied(),
                mtu,
                peer_address: tap.peer_address.value().copied(),
                offload: tap.offload.value_or(true),
            }),
            DeviceTable::Packet(packet) => PortSpec::Packet(PacketConfig {
                device: self.device_name(name, &packet.device)?,
                netns: packet.netns.value().cloned(),
                mtu,
                host: host_stack(packet),
            }),
            DeviceTable::Stream(stream) => PortSpec::Stream(StreamConfig {
                path: stream.path.value().cloned()?,
                role: stream.role.value().copied().unwrap_or_default(),
            }),
            DeviceTable::Dgram(dgram) => PortSpec::Dgram(self.dgram(dgram)?),
            DeviceTable::VhostUser(vhost) => PortSpec::VhostUser(VhostUserConfig {
                path: vhost.path.value().cloned()?,
                role: vhost.role.value().copied().unwrap_or_default(),
                offload: vhost.offload.value_or(true),
            }),
        })
    }

    fn device_name(&mut self, name: &Spanned<String>, device: &Maybe<String>) -> Option<String> {
        if let Some(device) = device {
            return Some(device.get_ref().clone());
        }
        match value::device(name.get_ref()) {
            Ok(device) => Some(device),
            Err(wrong) => {
                let help = "write device = \"…\", at most 15 bytes, in this section";
                self.wrong(name.span(), wrong.message, help);
                None
            }
        }
    }

    fn dgram(&mut self, dgram: &DgramTable) -> Option<DgramConfig> {
        let (path, peer) = (dgram.path.as_ref()?, dgram.peer.as_ref()?);
        if path.get_ref() == peer.get_ref() {
            self.wrong(peer.span(), "this is the switch's own socket", "write the other side's");
        }
        Some(DgramConfig { path: path.get_ref().clone(), peer: peer.get_ref().clone() })
    }

    /// Each device and each socket that the switch makes is one port's.
    pub(super) fn devices(&mut self) {
        let file = self.file;
        let ports =
            file.networks.iter().flat_map(|network| &network.ports).map(|port| (&port.name, &port.device));
        let uplinks = file.uplinks.iter().map(|uplink| (&uplink.name, &uplink.device));
        let mut devices: HashMap<&str, Vec<Option<&Netns>>> = HashMap::new();
        let mut sockets: HashSet<&Path> = HashSet::new();
        for (name, table) in ports.chain(uplinks) {
            match Claim::of(name, table) {
                Claim::Device { device, netns, is_named } => {
                    let places = devices.entry(device.get_ref()).or_default();
                    if places.contains(&netns) {
                        let message = format!("the device `{}` is another port's already", device.get_ref());
                        self.wrong(device.span(), message, help_with_device(is_named));
                    }
                    places.push(netns);
                }
                Claim::Socket(path) if !sockets.insert(path.get_ref()) => {
                    self.wrong(path.span(), "this socket is another port's already", "write another path");
                }
                Claim::Socket(_) | Claim::Nothing => {}
            }
        }
    }
}

/// What a port needs for itself.
enum Claim<'a> {
    Device { device: &'a Spanned<String>, netns: Option<&'a Netns>, is_named: bool },
    Socket(&'a Spanned<std::path::PathBuf>),
    Nothing,
}

impl<'a> Claim<'a> {
    fn of(name: &'a Spanned<String>, table: &'a DeviceTable) -> Self {
        let device = |device: &'a Maybe<String>, netns: &'a Maybe<Netns>| Self::Device {
            device: device.as_ref().unwrap_or(name),
            netns: netns.value(),
            is_named: device.is_some(),
        };
        let (path, is_made) = match table {
            DeviceTable::Tap(tap) => return device(&tap.device, &tap.netns),
            DeviceTable::Packet(packet) => return device(&packet.device, &packet.netns),
            DeviceTable::Stream(stream) => (&stream.path, stream.role.value() != Some(&Role::Client)),
            DeviceTable::Dgram(dgram) => (&dgram.path, true),
            DeviceTable::VhostUser(vhost) => (&vhost.path, vhost.role.value() != Some(&Role::Client)),
        };
        path.as_ref().filter(|_| is_made).map_or(Self::Nothing, Self::Socket)
    }
}

fn host_stack(packet: &PacketTable) -> HostStack {
    if packet.host_stack.value_or(false) {
        HostStack::Beside
    } else {
        HostStack::Silent { take_over: packet.take_over.value_or(false) }
    }
}

fn help_with_device(is_named: bool) -> &'static str {
    if is_named {
        "write another device, or another `netns`"
    } else {
        "write device = \"…\" in one of the two sections: without it the device is named as the port"
    }
}

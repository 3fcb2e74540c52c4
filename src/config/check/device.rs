//! That ports have a device, and no two the same.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use tapio::{Netns, PortSpec};
use toml::Spanned;

use super::super::device::{DeviceTable, Needs, Place};
use super::super::table::{Given, Maybe};
use super::super::value;
use super::Check;

impl Check<'_> {
    pub(super) fn device(
        &mut self,
        name: &Spanned<String>,
        table: &DeviceTable,
        mtu: Option<u16>,
        is_shared: bool,
    ) -> Option<PortSpec> {
        let device = match &table.needs {
            Needs::Device(device, _) => self.device_name(name, device)?,
            Needs::Socket(_) | Needs::Nothing => String::new(),
        };
        table.settings(Place { device, mtu, is_shared })
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

    /// Each device and each socket that the switch makes is one port's.
    pub(super) fn devices(&mut self) {
        let file = self.file;
        let ports =
            file.networks.iter().flat_map(|network| &network.ports).map(|port| (&port.name, &port.device));
        let uplinks = file.uplinks.iter().map(|uplink| (&uplink.name, &uplink.device));
        let mut devices: HashMap<&str, Vec<Option<&Netns>>> = HashMap::new();
        let mut sockets: HashSet<&Path> = HashSet::new();
        for (name, table) in ports.chain(uplinks) {
            match &table.needs {
                Needs::Device(key, netns) => {
                    let (device, netns) = (key.as_ref().unwrap_or(name), netns.value());
                    let places = devices.entry(device.get_ref()).or_default();
                    if places.contains(&netns) {
                        let message = format!("the device `{}` is another port's already", device.get_ref());
                        self.wrong(device.span(), message, help_with_device(key.is_some()));
                    }
                    places.push(netns);
                }
                Needs::Socket(Some(path)) if !sockets.insert(path.get_ref()) => {
                    self.wrong(path.span(), "this socket is another port's already", "write another path");
                }
                Needs::Socket(_) | Needs::Nothing => {}
            }
        }
    }
}

fn help_with_device(is_named: bool) -> &'static str {
    if is_named {
        "write another device, or another `netns`"
    } else {
        "write device = \"…\" in one of the two sections: without it the device is named as the port"
    }
}

//! What the host itself has on the devices that ports and uplinks are to be made of.

use std::ops::Range;

use nat_engine::PortRange;
use packet::Ipv4Cidr;
use tapio::{HostUse, Netns};
use toml::Spanned;

use super::super::checked::UplinkPlace;
use super::super::device::{DeviceTable, HostKeys};
use super::super::file::UplinkTable;
use super::super::table::Given;
use super::Check;

/// Looks at a device; `None`: it isn't there, or can't be looked at.
pub(in super::super) type Devices<'a> = &'a dyn Fn(&str, Option<&Netns>) -> Option<HostUse>;

impl Check<'_> {
    /// No port takes a device from the host that hasn't been asked to.
    pub(super) fn host_devices(&mut self) {
        let file = self.file;
        let ports = file.networks.iter().flat_map(|network| &network.ports);
        for port in ports {
            self.host_device(&port.name, &port.device, Role::Port);
        }
        for uplink in &file.uplinks {
            let is_shared = uplink.host_address.is_some();
            self.host_device(
                &uplink.name,
                &uplink.device,
                if is_shared { Role::Shared } else { Role::Uplink },
            );
            self.address_of_the_host(uplink);
            self.subnet_of_the_host(uplink);
        }
    }

    fn host_device(&mut self, name: &Spanned<String>, table: &DeviceTable, role: Role) {
        let Some((device, netns)) = table.device(name) else { return };
        if device.get_ref() == "lo" {
            self.wrong(device.span(), "`lo` is the host's own loopback", "write another device");
            return;
        }
        let Some(keys) = &table.host else { return };
        self.host_keys(keys);
        let found = (self.devices)(device.get_ref(), netns);
        if found.as_ref().is_some_and(|found| !found.link.is_ethernet) {
            let message = format!("`{}` carries no Ethernet frames", device.get_ref());
            let help = "write a device with MAC addresses: a tap, a veth, a network card; a tun or a tunnel has none";
            self.wrong(device.span(), message, help);
            return;
        }
        if role == Role::Shared {
            return;
        }
        let Some(what) = found.and_then(|found| found.what()) else { return };
        if keys.take_over.value_or(false) || keys.host_stack.value_or(false) {
            return;
        }
        let message = format!("the host has {what} on `{}`, and would lose it", device.get_ref());
        let help = match role {
            Role::Port => {
                "write host-stack = true to leave the device to the host as well, or take-over = true to cut the host off"
            }
            _ => {
                "write address = \"host\" to share the host's address with it, host-stack = true where the switch has one of \
                 its own beside it, or take-over = true to cut the host off"
            }
        };
        self.wrong(device.span(), message, help);
    }

    fn host_keys(&mut self, keys: &HostKeys) {
        if let (Some(place), true, true) =
            (keys.take_over.place(), keys.take_over.value_or(false), keys.host_stack.value_or(false))
        {
            let help = "remove one of the two: with `host-stack` the host keeps the device";
            self.wrong(place, "`take-over` takes what `host-stack` leaves", help);
        }
    }

    /// The switch's part of the host's address.
    pub(super) fn shared_uplink(&mut self, table: &UplinkTable, address: Range<usize>) -> UplinkPlace {
        let Some(keys) = &table.device.host else {
            let help = "write type = \"packet\" and the name of the host's network card as `device`";
            self.wrong(address, "only an uplink of type packet shares the host's address", help);
            return UplinkPlace::Bridged;
        };
        for (place, key) in [
            (table.gateway.place(), "`gateway`: it is the host's"),
            (table.mac.place(), "`mac`: it is the device's"),
            (keys.host_stack.place(), "`host-stack`: the host keeps the device"),
            (keys.take_over.place(), "`take-over`: the host keeps the device"),
        ] {
            if let Some(place) = place {
                let message = format!("an uplink that shares the host's address has no {key}");
                self.wrong(place, message, "remove the key");
            }
        }
        UplinkPlace::Shared(table.host_ports.as_ref().map_or(HOST_PORTS, |range| *range.get_ref()))
    }

    /// The host's subnet is no network of the switch's.
    fn subnet_of_the_host(&mut self, uplink: &UplinkTable) {
        let file = self.file;
        let (Some(_), Some((device, netns))) = (&uplink.host_address, uplink.device.device(&uplink.name))
        else {
            return;
        };
        let host = (self.devices)(device.get_ref(), netns).and_then(|found| found.address());
        let Some((host, _)) = host else { return };
        let networks = file.networks.iter().filter_map(|network| network.address.as_ref());
        for network in networks.filter(|network| network.get_ref().overlaps(host)) {
            let message = format!(
                "{} overlaps {host}, which the host has on `{}`",
                network.get_ref(),
                device.get_ref()
            );
            self.wrong(network.span(), message, "write an address of a subnet of its own");
        }
    }

    /// Both would answer for it.
    fn address_of_the_host(&mut self, uplink: &UplinkTable) {
        let (Some(address), Some((device, netns))) = (&uplink.address, uplink.device.device(&uplink.name))
        else {
            return;
        };
        let own: Ipv4Cidr = *address.get_ref();
        let Some(found) = (self.devices)(device.get_ref(), netns) else { return };
        if found.addresses.iter().any(|other| other.address() == own.address()) {
            let message = format!("{} is the host's own address on `{}`", own.address(), device.get_ref());
            self.wrong(address.span(), message, "write another address of that subnet, which nobody has");
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Port,
    Uplink,
    /// An uplink by the host's own address.
    Shared,
}

/// Above what servers take, and in one piece. Linux takes ports for its own connections from 32768 to 60999: those in use are
/// its.
const HOST_PORTS: PortRange = (40_000, 49_151);

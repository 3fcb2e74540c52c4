//! What the host itself has on the devices that ports and uplinks are to be made of.

use packet::Ipv4Cidr;
use tapio::{HostUse, Netns};
use toml::Spanned;

use super::super::device::{DeviceTable, PacketTable};
use super::super::file::{Maybe, UplinkTable};
use super::{Check, span};

/// Looks at a device; `None`: it isn't there, or can't be looked at.
pub(in super::super) type Devices<'a> = &'a dyn Fn(&str, Option<&Netns>) -> Option<HostUse>;

impl Check<'_> {
    /// No port takes a device from the host that hasn't been asked to.
    pub(super) fn host_devices(&mut self) {
        let file = self.file;
        let ports = file.networks.iter().flat_map(|network| &network.ports);
        for port in ports {
            self.host_device(&port.name, &port.device, false);
        }
        for uplink in &file.uplinks {
            self.host_device(&uplink.name, &uplink.device, true);
            self.address_of_the_host(uplink);
        }
    }

    fn host_device(&mut self, name: &Spanned<String>, table: &DeviceTable, is_uplink: bool) {
        let Some((device, netns)) = place_of(name, table) else { return };
        if device.get_ref() == "lo" {
            self.wrong(device.span(), "`lo` is the host's own loopback", "write another device");
            return;
        }
        let DeviceTable::Packet(packet) = table else { return };
        self.host_keys(packet);
        let Some(what) = (self.devices)(device.get_ref(), netns).and_then(|found| found.what()) else {
            return;
        };
        if is_set(&packet.take_over) || is_set(&packet.host_stack) {
            return;
        }
        let message = format!("the host has {what} on `{}`, and would lose it", device.get_ref());
        let help = if is_uplink {
            "write host-stack = true where the switch has an address of its own beside the host's, or take-over = true \
             where the host is to be cut off"
        } else {
            "write host-stack = true to leave the device to the host as well, or take-over = true to cut the host off"
        };
        self.wrong(device.span(), message, help);
    }

    fn host_keys(&mut self, packet: &PacketTable) {
        if let (Some(place), true, true) =
            (span(&packet.take_over), is_set(&packet.take_over), is_set(&packet.host_stack))
        {
            let help = "remove one of the two: with `host-stack` the host keeps the device";
            self.wrong(place, "`take-over` takes what `host-stack` leaves", help);
        }
    }

    /// Both would answer for it.
    fn address_of_the_host(&mut self, uplink: &UplinkTable) {
        let (Some(address), Some((device, netns))) =
            (&uplink.address, place_of(&uplink.name, &uplink.device))
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

/// The device of a port, by its own key or by the port's name, and its namespace.
fn place_of<'a>(
    name: &'a Spanned<String>,
    table: &'a DeviceTable,
) -> Option<(&'a Spanned<String>, Option<&'a Netns>)> {
    let (device, netns) = match table {
        DeviceTable::Tap(tap) => (&tap.device, &tap.netns),
        DeviceTable::Packet(packet) => (&packet.device, &packet.netns),
        DeviceTable::Stream(_) | DeviceTable::Dgram(_) | DeviceTable::VhostUser(_) => return None,
    };
    Some((device.as_ref().unwrap_or(name), netns.as_ref().map(Spanned::get_ref)))
}

fn is_set(value: &Maybe<bool>) -> bool {
    value.as_ref().is_some_and(|value| *value.get_ref())
}

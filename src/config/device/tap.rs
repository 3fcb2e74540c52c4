//! `type = "tap"`

use tapio::{PortSpec, TapConfig};

use super::super::read::{boolean, text};
use super::super::table::{Given, Table};
use super::super::value;
use super::kind::{Card, DeviceTable, Kind, Needs, Netdev, Place};

pub(super) struct Tap;

impl Kind for Tap {
    fn name(&self) -> &'static str {
        "tap"
    }

    fn read(&self, table: &mut Table<'_, '_>, mac_key: &'static str) -> DeviceTable {
        let device = table.optional("device", text(value::device));
        let netns = table.optional("netns", value::netns);
        let mac = table.optional(mac_key, text(value::station)).value().copied();
        let peer_address = table.optional("peer-address", text(value::host_cidr));
        let offload = table.optional("offload", boolean).value_or(true);
        let (place, address) = (netns.value().cloned(), peer_address.value().copied());
        let settings = move |Place { device, mtu, .. }| {
            TapConfig { device, netns: place.clone(), mac, mtu, peer_address: address, offload }.into()
        };
        let (needs, settings) = (Needs::Device(device, netns), Some(Box::new(settings) as _));
        DeviceTable { needs, peer_address, host: None, settings }
    }

    /// The switch itself has the end that QEMU would need.
    fn netdev(&self, _spec: &PortSpec, _card: &Card<'_>) -> Option<Netdev> {
        None
    }
}

//! `type = "packet"`

use tapio::{HostStack, PacketConfig, PortSpec, SharedAddress};

use super::super::read::{boolean, text};
use super::super::table::{Given, Table};
use super::super::value;
use super::kind::{Card, DeviceTable, HostKeys, Kind, Needs, Netdev, Place, quoted};

pub(super) struct Packet;

impl Kind for Packet {
    fn name(&self) -> &'static str {
        "packet"
    }

    fn read(&self, table: &mut Table<'_, '_>, _mac_key: &'static str) -> DeviceTable {
        let device = table.optional("device", text(value::device));
        let netns = table.optional("netns", value::netns);
        let host = HostKeys {
            host_stack: table.optional("host-stack", boolean),
            take_over: table.optional("take-over", boolean),
        };
        let (has_host, take_over) = (host.host_stack.value_or(false), host.take_over.value_or(false));
        let place = netns.value().cloned();
        let settings = move |Place { device, mtu, is_shared }| {
            let host = match (is_shared, has_host) {
                (true, _) => HostStack::Shared(SharedAddress::default()),
                (false, true) => HostStack::Beside,
                (false, false) => HostStack::Silent { take_over },
            };
            PacketConfig { device, netns: place.clone(), mtu, host }.into()
        };
        let (needs, settings) = (Needs::Device(device, netns), Some(Box::new(settings) as _));
        DeviceTable { needs, peer_address: None, host: Some(host), settings }
    }

    fn netdev(&self, spec: &PortSpec, _card: &Card<'_>) -> Option<Netdev> {
        let options = format!("ifname={},script=no,downscript=no", quoted(&spec.device()));
        Some(Netdev { before: Vec::new(), kind: "tap", options })
    }
}

//! `type = "stream"`

use tapio::{PortSpec, Role, StreamConfig};

use super::super::read::{choice, text};
use super::super::table::{Given, Table};
use super::super::value;
use super::kind::{Card, DeviceTable, Kind, Netdev, ROLES, SOCKET, quoted};

pub(super) struct Stream;

impl Kind for Stream {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn read(&self, table: &mut Table<'_, '_>, _mac_key: &'static str) -> DeviceTable {
        let path = table.required("path", SOCKET, text(value::socket));
        let role = table.optional("role", choice(ROLES)).value_or(Role::default());
        DeviceTable::at_socket(path, role, |path, role| StreamConfig { path, role })
    }

    fn netdev(&self, spec: &PortSpec, _card: &Card<'_>) -> Option<Netdev> {
        let server = match spec.of::<StreamConfig>()?.role {
            Role::Server => "off",
            Role::Client => "on",
        };
        let options = format!("server={server},addr.type=unix,addr.path={}", quoted(&spec.device()));
        Some(Netdev { before: Vec::new(), kind: "stream", options })
    }
}

//! `type = "vhost-user"`

use tapio::{PortSpec, Role, VhostUserConfig};

use super::super::read::{boolean, choice, text};
use super::super::table::{Given, Table};
use super::super::value;
use super::kind::{Card, DeviceTable, Kind, Netdev, ROLES, SOCKET, quoted};

pub(super) struct VhostUser;

impl Kind for VhostUser {
    fn name(&self) -> &'static str {
        "vhost-user"
    }

    fn read(&self, table: &mut Table<'_, '_>, _mac_key: &'static str) -> DeviceTable {
        let path = table.required("path", SOCKET, text(value::socket));
        let role = table.optional("role", choice(ROLES)).value_or(Role::default());
        let offload = table.optional("offload", boolean).value_or(true);
        DeviceTable::at_socket(path, role, move |path, role| VhostUserConfig { path, role, offload })
    }

    /// The guest's memory is shared with the switch.
    fn netdev(&self, spec: &PortSpec, card: &Card<'_>) -> Option<Netdev> {
        let end = match spec.of::<VhostUserConfig>()?.role {
            Role::Server => "reconnect=1",
            Role::Client => "server=on,wait=off",
        };
        let (path, Card { name, memory }) = (quoted(&spec.device()), card);
        let size = quoted(memory);
        let before = [
            "-m",
            memory,
            "-object",
            &format!("memory-backend-memfd,id=shared-memory,size={size},share=on"),
            "-machine",
            "memory-backend=shared-memory",
            "-chardev",
            &format!("socket,id=chr-{name},path={path},{end}"),
        ];
        let before = before.map(str::to_owned).into();
        Some(Netdev { before, kind: "vhost-user", options: format!("chardev=chr-{name}") })
    }
}

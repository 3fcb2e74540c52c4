//! What a port or uplink is made of. A kind is a file here, and a line in [`KINDS`].

mod dgram;
mod kind;
mod packet;
mod stream;
mod tap;
mod udp;
mod vhost_user;

use tapio::PortSpec;

use self::kind::Kind;
pub use self::kind::{Card, Netdev};
pub(super) use self::kind::{DeviceTable, HostKeys, Needs, Place};
use super::read::{Read, Wrong, text};
use super::table::Table;
use crate::mistake::suggestion;

/// The one list of kinds that there is.
const KINDS: &[&dyn Kind] =
    &[&tap::Tap, &packet::Packet, &stream::Stream, &dgram::Dgram, &udp::Udp, &vhost_user::VhostUser];

/// Reads `type` and the keys that it brings along. The key for the MAC address of a tap's other side is `mac_key`. `None` if the
/// type is wrong: then nothing is known of the other keys.
pub(super) fn read(table: &mut Table<'_, '_>, mac_key: &'static str) -> Option<DeviceTable> {
    let kind = table.required("type", "type = \"tap\"", text(find))?;
    Some(kind.get_ref().read(table, mac_key))
}

/// What QEMU is told for a guest at the port; `None`: it can't be there.
pub fn netdev(spec: &PortSpec, card: &Card<'_>) -> Option<Netdev> {
    KINDS.iter().find(|kind| kind.name() == spec.kind())?.netdev(spec, card)
}

/// The words for all kinds.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name())
}

fn find(text: &str) -> Read<&'static dyn Kind> {
    let names: Vec<&str> = names().collect();
    match (KINDS.iter().find(|kind| kind.name() == text), text) {
        (Some(&kind), _) => Ok(kind),
        (None, "tun") => {
            let help = format!("write one of: {}", names.join(", "));
            Err(Wrong::new(format!("`{text}` is not supported yet"), help))
        }
        (None, other) => Err(Wrong::new(format!("`{other}` is no type of port"), suggestion(other, &names))),
    }
}

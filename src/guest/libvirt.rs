//! libvirt's domain XML. <https://libvirt.org/formatdomain.html#network-interfaces>

use std::fmt::Write;

use tapio::{PacketConfig, Role, VhostUserConfig};

use super::qemu::{self, USUAL_MTU};
use super::{Guest, GuestError};

/// The `<interface>`; for what libvirt has no element for, QEMU's own options.
pub(super) fn xml(guest: &Guest<'_>) -> Result<String, GuestError> {
    if let Some(packet) = guest.spec.of::<PacketConfig>() {
        let target = format!("<target dev='{}'/>", escaped(&packet.device));
        let mtu = with_mtu(guest, |mtu| format!("\n  <mtu size='{mtu}'/>"));
        return Ok(interface(guest, "ethernet", &target, &mtu));
    }
    let Some(vhost) = guest.spec.of::<VhostUserConfig>() else {
        return qemu::args(guest, "").map(command_line);
    };
    let path = escaped(&vhost.path.to_string_lossy());
    let end = match vhost.role {
        Role::Server => "mode='client'>\n    <reconnect enabled='yes' timeout='1'/>\n  </source>",
        Role::Client => "mode='server'/>",
    };
    let source = format!("<source type='unix' path='{path}' {end}");
    // libvirt 9 looks for a device of the host to set it on, finds none, and doesn't start the domain.
    let mtu = with_mtu(guest, |mtu| format!("<!-- The guest is to set its MTU itself: {mtu}. -->\n"));
    Ok(format!("{SHARED_MEMORY}{mtu}{}", interface(guest, "vhostuser", &source, "")))
}

fn with_mtu(guest: &Guest<'_>, text: impl FnOnce(u16) -> String) -> String {
    if guest.mtu == USUAL_MTU { String::new() } else { text(guest.mtu) }
}

fn interface(guest: &Guest<'_>, kind: &str, inner: &str, mtu: &str) -> String {
    format!(
        "<interface type='{kind}'>\n  <mac address='{}'/>\n  {inner}\n  <model type='virtio'/>{mtu}\n</interface>\n",
        guest.mac
    )
}

fn command_line(mut args: Vec<String>) -> String {
    if let Some(device) = args.last_mut() {
        *device += SLOT;
    }
    let mut xml = COMMAND_LINE.to_owned();
    for arg in args {
        // Writing to a String can't fail.
        let _ = writeln!(xml, "  <qemu:arg value='{}'/>", escaped(&arg));
    }
    xml + "</qemu:commandline>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;")
}

const SHARED_MEMORY: &str = "\
<!-- The domain needs <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>. -->
";

const COMMAND_LINE: &str = "\
<!-- A second such card in the domain needs another addr. -->
<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
";

/// Without it, QEMU takes the first free PCI slot, which libvirt has given to something else. libvirt counts from below.
const SLOT: &str = ",addr=0x10";

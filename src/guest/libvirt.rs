//! libvirt's domain XML. <https://libvirt.org/formatdomain.html#network-interfaces>

use std::fmt::Write;

use tapio::{PortSpec, Role};

use super::qemu::{self, USUAL_MTU};
use super::{Guest, GuestError};

/// The `<interface>`; for what libvirt has no element for, QEMU's own options.
pub(super) fn xml(guest: &Guest<'_>) -> Result<String, GuestError> {
    match guest.spec {
        PortSpec::Packet(packet) => {
            Ok(interface(guest, "ethernet", &format!("<target dev='{}'/>", escaped(&packet.device))))
        }
        PortSpec::VhostUser(vhost) => {
            let path = escaped(&vhost.path.to_string_lossy());
            let end = match vhost.role {
                Role::Server => "mode='client'>\n    <reconnect enabled='yes' timeout='1'/>\n  </source>",
                Role::Client => "mode='server'/>",
            };
            let source = format!("<source type='unix' path='{path}' {end}");
            Ok(SHARED_MEMORY.to_owned() + &interface(guest, "vhostuser", &source))
        }
        PortSpec::Tap(_) | PortSpec::Stream(_) | PortSpec::Dgram(_) => {
            qemu::args(guest, "").map(|args| command_line(&args))
        }
    }
}

fn interface(guest: &Guest<'_>, kind: &str, inner: &str) -> String {
    let mtu = if guest.mtu == USUAL_MTU { String::new() } else { format!("\n  <mtu size='{}'/>", guest.mtu) };
    format!(
        "<interface type='{kind}'>\n  <mac address='{}'/>\n  {inner}\n  <model type='virtio'/>{mtu}\n</interface>\n",
        guest.mac
    )
}

fn command_line(args: &[String]) -> String {
    let mut xml = "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n".to_owned();
    for arg in args {
        // Writing to a String can't fail.
        let _ = writeln!(xml, "  <qemu:arg value='{}'/>", escaped(arg));
    }
    xml + "</qemu:commandline>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;")
}

const SHARED_MEMORY: &str = "\
<!-- The domain needs <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>. -->
";

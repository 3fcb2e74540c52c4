//! QEMU's command line. qemu(1), "Network options".

use tapio::{PortSpec, Role};

use super::{Guest, GuestError};

/// The arguments for the card.
pub(super) fn args(guest: &Guest<'_>, memory: &str) -> Result<Vec<String>, GuestError> {
    let id = format!("net-{}", guest.name);
    let mut args: Vec<String> = Vec::new();
    let netdev = match guest.spec {
        PortSpec::Tap(tap) => return Err(GuestError::TapIsTaken { device: tap.device.clone() }),
        PortSpec::Packet(packet) => {
            format!("tap,id={id},ifname={},script=no,downscript=no", value(&packet.device))
        }
        PortSpec::Stream(stream) => {
            let server = match stream.role {
                Role::Server => "off",
                Role::Client => "on",
            };
            let path = value(&stream.path.to_string_lossy());
            format!("stream,id={id},server={server},addr.type=unix,addr.path={path}")
        }
        PortSpec::Dgram(dgram) => {
            let (local, remote) = (dgram.peer.to_string_lossy(), dgram.path.to_string_lossy());
            format!(
                "dgram,id={id},local.type=unix,local.path={},remote.type=unix,remote.path={}",
                value(&local),
                value(&remote)
            )
        }
        PortSpec::VhostUser(vhost) => {
            let end = match vhost.role {
                Role::Server => "reconnect=1",
                Role::Client => "server=on,wait=off",
            };
            let path = value(&vhost.path.to_string_lossy());
            args.extend([
                "-m".to_owned(),
                memory.to_owned(),
                "-object".to_owned(),
                format!("memory-backend-memfd,id=shared-memory,size={},share=on", value(memory)),
                "-machine".to_owned(),
                "memory-backend=shared-memory".to_owned(),
                "-chardev".to_owned(),
                format!("socket,id=chr-{},path={path},{end}", guest.name),
            ]);
            format!("vhost-user,id={id},chardev=chr-{}", guest.name)
        }
    };
    let mut device = format!("virtio-net-pci,netdev={id},mac={}", guest.mac);
    if guest.mtu != USUAL_MTU {
        device += &format!(",host_mtu={}", guest.mtu);
    }
    args.extend(["-netdev".to_owned(), netdev, "-device".to_owned(), device]);
    Ok(args)
}

/// `text` as an option's value: a comma would end it.
fn value(text: &str) -> String {
    text.replace(',', ",,")
}

/// `arg` as a shell reads it.
pub(super) fn quoted(arg: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,=/:@%+".contains(&byte);
    if arg.bytes().all(plain) { arg.to_owned() } else { format!("'{}'", arg.replace('\'', r"'\''")) }
}

/// What a guest assumes of an Ethernet.
pub(super) const USUAL_MTU: u16 = 1500;

//! QEMU's command line. qemu(1), "Network options".

use super::{Guest, GuestError};
use crate::config::{self, Card, Netdev};

/// The arguments for the card.
pub(super) fn args(guest: &Guest<'_>, memory: &str) -> Result<Vec<String>, GuestError> {
    let netdev = config::netdev(guest.spec, &Card { name: guest.name, memory });
    let Some(Netdev { before: mut args, kind, options }) = netdev else {
        return Err(GuestError::TapIsTaken { device: guest.spec.device().into_owned() });
    };
    let id = format!("net-{}", guest.name);
    let netdev = format!("{kind},id={id},{options}");
    let mut device = format!("virtio-net-pci,netdev={id},mac={}", guest.mac);
    if guest.mtu != USUAL_MTU {
        device += &format!(",host_mtu={}", guest.mtu);
    }
    args.extend(["-netdev".to_owned(), netdev, "-device".to_owned(), device]);
    Ok(args)
}

/// `arg` as a shell reads it.
pub(super) fn quoted(arg: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,=/:@%+".contains(&byte);
    if arg.bytes().all(plain) { arg.to_owned() } else { format!("'{}'", arg.replace('\'', r"'\''")) }
}

/// What a guest assumes of an Ethernet.
pub(super) const USUAL_MTU: u16 = 1500;

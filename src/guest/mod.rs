//! How a guest is given to a port: QEMU's options, and libvirt's element.

mod libvirt;
mod qemu;

use std::error::Error;
use std::fmt;

use packet::MacAddr;
use packet::hash::fnv1a;
use tapio::PortSpec;

use crate::config::{Config, PortView};

/// What a guest's network card is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest<'a> {
    /// The port's name, which tells the guest's cards apart.
    name: &'a str,
    spec: &'a PortSpec,
    mtu: u16,
    mac: MacAddr,
}

impl<'a> Guest<'a> {
    /// The guest for the port that `place` names, `NETWORK/PORT`. Its address is the first of the port's `static-macs`, or
    /// else one made of the two names, so that it is always the same.
    ///
    /// # Errors
    /// There is no such port.
    pub fn of(config: &'a Config, place: &str) -> Result<Self, GuestError> {
        let port = place.split_once('/').and_then(|(network, port)| config.port(network, port));
        let PortView { name, spec, mtu, mac } = port.ok_or_else(|| GuestError::NoSuchPort {
            place: place.to_owned(),
            known: config.port_names().map(|(network, port)| format!("{network}/{port}")).collect(),
        })?;
        Ok(Self { name, spec, mtu, mac: mac.unwrap_or_else(|| mac_of(place)) })
    }

    /// QEMU's options for the card, for its command line. Where the guest's memory is shared with the switch they
    /// are also about `memory`, as `-m` takes it.
    ///
    /// # Errors
    /// QEMU can't be at such a port.
    pub fn qemu_args(&self, memory: &str) -> Result<String, GuestError> {
        let args: Vec<String> = qemu::args(self, memory)?.iter().map(|arg| qemu::quoted(arg)).collect();
        Ok(args.join(" ") + "\n")
    }

    /// What goes into the domain's XML.
    ///
    /// # Errors
    /// QEMU can't be at such a port.
    pub fn libvirt_xml(&self) -> Result<String, GuestError> {
        libvirt::xml(self)
    }
}

/// Why there is nothing to print.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GuestError {
    /// The configuration has no such port.
    NoSuchPort {
        /// What was asked for.
        place: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The switch has the end of the tap that QEMU would need.
    TapIsTaken {
        /// The device.
        device: String,
    },
}

impl fmt::Display for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchPort { place, known } if known.is_empty() => {
                write!(f, "there is no port {place:?}: the configuration has none")
            }
            Self::NoSuchPort { place, known } => {
                write!(f, "there is no port {place:?}; write one of: {}", known.join(", "))
            }
            Self::TapIsTaken { device } => write!(
                f,
                "of a port of type tap the switch itself has the end that QEMU would need; with type = \"packet\" and \
                 device = {device:?}, QEMU has the tap and the switch is on its other side"
            ),
        }
    }
}

impl Error for GuestError {}

/// An address of the range that QEMU's users take theirs from.
fn mac_of(place: &str) -> MacAddr {
    let [a, b, c, ..] = fnv1a(place.bytes()).to_be_bytes();
    MacAddr::new([0x52, 0x54, 0x00, a, b, c])
}

#[cfg(test)]
mod tests;

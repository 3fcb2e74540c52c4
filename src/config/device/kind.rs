//! What is the same for all kinds of port: what their keys say, and what a guest is told.

use std::path::PathBuf;

use packet::Ipv4Cidr;
use tapio::{Netns, PortSpec, Role};
use toml::Spanned;

use super::super::table::{Given, Maybe, Table};

/// A kind of port: what its keys are, and what a guest at it is told.
pub(super) trait Kind: Sync {
    /// The word for it, as [`tapio::Settings::kind`] has it.
    fn name(&self) -> &'static str;

    /// Reads its keys. The one for the MAC address of a tap's other side is `mac_key`.
    fn read(&self, table: &mut Table<'_, '_>, mac_key: &'static str) -> DeviceTable;

    /// What QEMU is told for a guest at such a port; `None`: it can't be there.
    fn netdev(&self, spec: &PortSpec, card: &Card<'_>) -> Option<Netdev>;
}

/// What the keys of a kind say.
pub(in super::super) struct DeviceTable {
    /// What the port needs for itself.
    pub(in super::super) needs: Needs,
    /// The address that the other side is to be given.
    pub(in super::super) peer_address: Maybe<Ipv4Cidr>,
    /// What the host has of the device, if that can be said.
    pub(in super::super) host: Option<HostKeys>,
    /// `None`: something is missing.
    pub(super) settings: Option<Settings>,
}

/// The settings of the port, where it has its device.
pub(super) type Settings = Box<dyn Fn(Place) -> PortSpec>;

/// What only one port can have.
pub(in super::super) enum Needs {
    /// A network device: its name, or else the port's, and its namespace.
    Device(Maybe<String>, Maybe<Netns>),
    /// A socket that the switch makes.
    Socket(Maybe<PathBuf>),
    Nothing,
}

/// What the host has of a device that is the switch's.
pub(in super::super) struct HostKeys {
    pub(in super::super) host_stack: Maybe<bool>,
    pub(in super::super) take_over: Maybe<bool>,
}

/// Where a port is, beside what the keys of its kind say.
pub(in super::super) struct Place {
    /// The name of its device, if it has one.
    pub(in super::super) device: String,
    pub(in super::super) mtu: Option<u16>,
    /// It shares the host's address.
    pub(in super::super) is_shared: bool,
}

/// The network card of a guest.
#[derive(Debug)]
pub struct Card<'a> {
    /// The port's name, which tells a guest's cards apart.
    pub name: &'a str,
    /// The guest's memory, as `-m` takes it.
    pub memory: &'a str,
}

/// QEMU's options for a port, without what is the same for all kinds.
#[derive(Debug)]
pub struct Netdev {
    /// Arguments that stand before.
    pub before: Vec<String>,
    /// The type of `-netdev`.
    pub kind: &'static str,
    /// Its options.
    pub options: String,
}

impl DeviceTable {
    /// The device of a port called `name`, by its own key or by the port's name, and its namespace.
    pub(in super::super) fn device<'a>(
        &'a self,
        name: &'a Spanned<String>,
    ) -> Option<(&'a Spanned<String>, Option<&'a Netns>)> {
        match &self.needs {
            Needs::Device(device, netns) => Some((device.as_ref().unwrap_or(name), netns.value())),
            Needs::Socket(_) | Needs::Nothing => None,
        }
    }

    /// The settings of the port, if nothing is missing.
    pub(in super::super) fn settings(&self, place: Place) -> Option<PortSpec> {
        self.settings.as_ref().map(|settings| settings(place))
    }

    /// Of a kind whose ports are at a socket at `path`, which the switch makes as server.
    pub(super) fn at_socket<T: Into<PortSpec>>(
        path: Maybe<PathBuf>,
        role: Role,
        settings: impl Fn(PathBuf, Role) -> T + 'static,
    ) -> Self {
        let known = path.value().cloned();
        let needs = match role {
            Role::Server => Needs::Socket(path),
            Role::Client => Needs::Nothing,
        };
        let settings =
            known.map(|path| -> Settings { Box::new(move |_| settings(path.clone(), role).into()) });
        Self { needs, peer_address: None, host: None, settings }
    }
}

pub(super) const ROLES: &[(&str, Role)] = &[("server", Role::Server), ("client", Role::Client)];

/// What to write where it is missing.
pub(super) const SOCKET: &str = "path = \"/run/tapswitch-guests/NAME.sock\"";

/// `text` as the value of an option of QEMU's: a comma would end it.
pub(super) fn quoted(text: &str) -> String {
    text.replace(',', ",,")
}

//! The keys of each type of port.

use std::path::PathBuf;

use packet::{Ipv4Cidr, MacAddr};
use tapio::{Netns, Role};
use toml::Spanned;

use super::read::{Read, Wrong, boolean, choice, text};
use super::table::{Maybe, Table};
use super::value;
use crate::mistake::suggestion;

/// What a port or uplink is made of.
pub(super) enum DeviceTable {
    Tap(TapTable),
    Packet(PacketTable),
    Stream(StreamTable),
    Dgram(DgramTable),
    VhostUser(VhostUserTable),
}

/// `type = "tap"`
pub(super) struct TapTable {
    pub(super) device: Maybe<String>,
    pub(super) netns: Maybe<Netns>,
    pub(super) mac: Maybe<MacAddr>,
    pub(super) peer_address: Maybe<Ipv4Cidr>,
    pub(super) offload: Maybe<bool>,
}

/// `type = "packet"`
pub(super) struct PacketTable {
    pub(super) device: Maybe<String>,
    pub(super) netns: Maybe<Netns>,
    pub(super) host_stack: Maybe<bool>,
    pub(super) take_over: Maybe<bool>,
}

/// `type = "stream"`
pub(super) struct StreamTable {
    pub(super) path: Maybe<PathBuf>,
    pub(super) role: Maybe<Role>,
}

/// `type = "dgram"`
pub(super) struct DgramTable {
    pub(super) path: Maybe<PathBuf>,
    pub(super) peer: Maybe<PathBuf>,
}

/// `type = "vhost-user"`
pub(super) struct VhostUserTable {
    pub(super) path: Maybe<PathBuf>,
    pub(super) role: Maybe<Role>,
    pub(super) offload: Maybe<bool>,
}

impl DeviceTable {
    /// Reads `type` and the keys that it brings along. The MAC address of a tap's other side is `mac_key`. `None` if the
    /// type is wrong: then nothing is known of the other keys.
    pub(super) fn read(table: &mut Table<'_, '_>, mac_key: &'static str) -> Option<Self> {
        let kind = table.required("type", "type = \"tap\"", text(kind))?;
        Some(match kind.get_ref() {
            Kind::Tap => Self::Tap(TapTable {
                device: table.optional("device", text(value::device)),
                netns: table.optional("netns", value::netns),
                mac: table.optional(mac_key, text(value::station)),
                peer_address: table.optional("peer-address", text(value::host_cidr)),
                offload: table.optional("offload", boolean),
            }),
            Kind::Packet => Self::Packet(PacketTable {
                device: table.optional("device", text(value::device)),
                netns: table.optional("netns", value::netns),
                host_stack: table.optional("host-stack", boolean),
                take_over: table.optional("take-over", boolean),
            }),
            Kind::Stream => Self::Stream(StreamTable {
                path: table.required("path", SOCKET, text(value::socket)),
                role: table.optional("role", choice(ROLES)),
            }),
            Kind::Dgram => Self::Dgram(DgramTable {
                path: table.required("path", SOCKET, text(value::socket)),
                peer: table.required("peer", PEER_SOCKET, text(value::socket)),
            }),
            Kind::VhostUser => Self::VhostUser(VhostUserTable {
                path: table.required("path", SOCKET, text(value::socket)),
                role: table.optional("role", choice(ROLES)),
                offload: table.optional("offload", boolean),
            }),
        })
    }

    /// The device's name, if it is a device and the file says how it is called.
    pub(super) fn device(&self) -> Option<&Spanned<String>> {
        match self {
            Self::Tap(tap) => tap.device.as_ref(),
            Self::Packet(packet) => packet.device.as_ref(),
            Self::Stream(_) | Self::Dgram(_) | Self::VhostUser(_) => None,
        }
    }

    /// The address that the other side is to be given.
    pub(super) fn peer_address(&self) -> Option<&Spanned<Ipv4Cidr>> {
        match self {
            Self::Tap(tap) => tap.peer_address.as_ref(),
            Self::Packet(_) | Self::Stream(_) | Self::Dgram(_) | Self::VhostUser(_) => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Tap,
    Packet,
    Stream,
    Dgram,
    VhostUser,
}

fn kind(text: &str) -> Read<Kind> {
    let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    match (KINDS.iter().find(|(name, _)| *name == text), text) {
        (Some(&(_, kind)), _) => Ok(kind),
        (None, "tun") => {
            let help = format!("write one of: {}", names.join(", "));
            Err(Wrong::new(format!("`{text}` is not supported yet"), help))
        }
        (None, other) => Err(Wrong::new(format!("`{other}` is no type of port"), suggestion(other, &names))),
    }
}

const KINDS: &[(&str, Kind)] = &[
    ("tap", Kind::Tap),
    ("packet", Kind::Packet),
    ("stream", Kind::Stream),
    ("dgram", Kind::Dgram),
    ("vhost-user", Kind::VhostUser),
];

const ROLES: &[(&str, Role)] = &[("server", Role::Server), ("client", Role::Client)];

/// What to write where it is missing.
const SOCKET: &str = "path = \"/run/tapswitch-guests/NAME.sock\"";
const PEER_SOCKET: &str = "peer = \"…\", the path of the other side's socket";

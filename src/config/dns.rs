//! The keys of a network's DNS forwarder.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use engine::NamePattern;
use packet::DnsName;
use toml::Spanned;

use super::read::{Read, Wrong, boolean, text};
use super::table::{Maybe, Table};

/// What a network says of its forwarder.
pub(super) struct DnsTable {
    pub(super) forwarder: Maybe<bool>,
    pub(super) upstream: Maybe<Vec<Spanned<SocketAddrV4>>>,
    pub(super) hosts: Maybe<Vec<Spanned<(DnsName, IpAddr)>>>,
    pub(super) allow_names: Maybe<Vec<Spanned<NamePattern>>>,
}

impl DnsTable {
    pub(super) fn read(table: &mut Table<'_, '_>) -> Self {
        Self {
            forwarder: table.optional("dns-forwarder", boolean),
            upstream: table.list("dns-upstream", text(upstream)),
            hosts: table.list("hosts", text(host)),
            allow_names: table.list("allow-names", text(pattern)),
        }
    }
}

/// `9.9.9.9`, or `9.9.9.9:5353`.
fn upstream(text: &str) -> Read<SocketAddrV4> {
    let plain = || Some(SocketAddrV4::new(text.parse().ok()?, DNS_PORT));
    let server = text.parse().ok().or_else(plain);
    let can_be = |address: &Ipv4Addr| {
        !(address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address.is_broadcast())
    };
    server.filter(|server| can_be(server.ip()) && server.port() != 0).ok_or_else(|| {
        let help = "write the address of a name server that the network's uplink leads to, for example \"9.9.9.9\"; the host's \
                    own resolvers are asked where the key is missing";
        Wrong::new(format!("`{text}` is not a name server's address"), help)
    })
}

/// `printer=192.168.122.50`.
fn host(text: &str) -> Read<(DnsName, IpAddr)> {
    let parsed = text.split_once('=').and_then(|(name, address)| {
        Some((DnsName::parse(name.trim())?, address.trim().parse::<IpAddr>().ok()?))
    });
    parsed.ok_or_else(|| {
        let message = format!("`{text}` is not a name with its address");
        Wrong::new(message, "write for example \"printer=192.168.122.50\"")
    })
}

/// `debian.org`, or `*.debian.org`.
fn pattern(text: &str) -> Read<NamePattern> {
    let (is_below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    let name = DnsName::parse(name);
    name.map(|name| NamePattern { name, is_below }).ok_or_else(|| {
        let help =
            "write a name, or \"*.\" and a name for all that are below it, for example \"*.debian.org\"";
        Wrong::new(format!("`{text}` is not a name"), help)
    })
}

const DNS_PORT: u16 = 53;

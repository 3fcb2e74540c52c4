//! Keys about IPv6, and the texts that their values are written in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::Ipv6Cidr;
use toml::Spanned;

use super::read::{Read, Wrong, boolean, text};
use super::table::{Maybe, Table};

/// What a network says of IPv6.
#[derive(Default)]
pub(super) struct Ipv6Table {
    pub(super) address: Maybe<Ipv6Cidr>,
    pub(super) ra: Maybe<bool>,
    /// Those of `dns` that are of this family.
    pub(super) dns: Vec<Ipv6Addr>,
}

impl Ipv6Table {
    pub(super) fn read(table: &mut Table<'_, '_>) -> Self {
        let address = table.optional("address6", text(host_cidr));
        Self { address, ra: table.optional("ra", boolean), dns: Vec::new() }
    }
}

/// What an uplink says of IPv6.
#[derive(Default)]
pub(super) struct Uplink6Table {
    pub(super) address: Maybe<Ipv6Cidr>,
    pub(super) gateway: Maybe<Ipv6Addr>,
}

impl Uplink6Table {
    pub(super) fn read(table: &mut Table<'_, '_>) -> Self {
        Self {
            address: table.optional("address6", text(uplink_address)),
            gateway: table.optional("gateway6", text(address)),
        }
    }
}

/// An address of either family, for lists that hold both.
pub(super) fn any_address(text: &str) -> Read<IpAddr> {
    text.parse().map_err(|_| {
        let help = "write one without a prefix length, for example 10.0.0.1 or fd00:1::53";
        Wrong::new(format!("`{text}` is not an IP address"), help)
    })
}

/// The IPv4 addresses of a list; the others go to `v6`. A list without IPv4 addresses still says that there are none.
pub(super) fn by_family(
    list: Maybe<Vec<Spanned<IpAddr>>>,
    v6: &mut Vec<Ipv6Addr>,
) -> Maybe<Vec<Spanned<Ipv4Addr>>> {
    let list = list?;
    let (place, mut v4) = (list.span(), Vec::new());
    for address in list.into_inner() {
        match *address.get_ref() {
            IpAddr::V4(v4_address) => v4.push(Spanned::new(address.span(), v4_address)),
            IpAddr::V6(v6_address) => v6.push(v6_address),
        }
    }
    Some(Spanned::new(place, v4))
}

fn uplink_address(text: &str) -> Read<Ipv6Cidr> {
    if matches!(text, "auto" | "dhcp" | "host") {
        let help = "write the switch's own address on the uplink, for example \"2001:db8::5/64\"";
        return Err(Wrong::new("this version needs a fixed IPv6 address of the uplink", help));
    }
    host_cidr(text)
}

/// An address that a host can have beside its link-local one, with its prefix length.
fn host_cidr(text: &str) -> Read<Ipv6Cidr> {
    if text.starts_with("delegated") {
        let help = "write the switch's own address on the network, for example \"2001:db8:1::1/64\"";
        return Err(Wrong::new("this version has no delegated prefixes", help));
    }
    let cidr: Ipv6Cidr = text.parse().map_err(|_| {
        let help = "write the switch's own address and the length, for example \"fd00:1::1/64\"";
        Wrong::new(format!("`{text}` is not an IPv6 address with prefix length"), help)
    })?;
    if !(1..=127).contains(&cidr.prefix_len()) {
        let message = format!("/{} is no network with room for two hosts", cidr.prefix_len());
        return Err(Wrong::new(message, "write a prefix length from 1 to 127; guests need /64 for SLAAC"));
    }
    address(&cidr.address().to_string())?;
    if cidr.address().is_unicast_link_local() {
        let help = "write another address, for example \"fd00:1::1/64\"; the switch has a link-local one in any case";
        return Err(Wrong::new(format!("{} is link-local", cidr.address()), help));
    }
    if cidr.prefix_len() < 127 && cidr.address() == cidr.network() {
        let first = Ipv6Addr::from_bits(cidr.network().to_bits() | 1);
        let message = format!("{} is the address of all routers of {cidr}", cidr.address());
        return Err(Wrong::new(message, format!("write for example \"{first}/{}\"", cidr.prefix_len())));
    }
    Ok(cidr)
}

/// An address alone, that a host can have.
fn address(text: &str) -> Read<Ipv6Addr> {
    let address: Ipv6Addr = text.parse().map_err(|_| {
        let help = "write one without a prefix length, for example fe80::1";
        Wrong::new(format!("`{text}` is not an IPv6 address"), help)
    })?;
    let is_inside = address.to_bits() >> 48 == 0 || address.to_ipv4_mapped().is_some();
    if address.is_multicast() || is_inside {
        return Err(Wrong::new(format!("{address} can't be a host's address"), "write a unicast address"));
    }
    Ok(address)
}

//! The texts that values are written in.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use engine::DhcpClient;
use nat_engine::PortRange;
use packet::{Ipv4Cidr, MacAddr, Protocol};
use tapio::Netns;
use toml::de::DeValue;

use super::lease_file::LeaseFile;
use super::read::{Read, Wrong, kind};

/// The first and the last address of a range, in order: `192.168.122.2-192.168.122.254`.
#[derive(Clone, Copy)]
pub(super) struct AddressRange {
    pub(super) first: Ipv4Addr,
    pub(super) last: Ipv4Addr,
}

impl AddressRange {
    pub(super) fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

/// An address that a host can have, with its prefix length.
pub(super) fn host_cidr(text: &str) -> Read<Ipv4Cidr> {
    let cidr: Ipv4Cidr = text.parse().map_err(|_| {
        Wrong::new(
            format!("`{text}` is not an address with prefix length"),
            "write the host's own address and the length, for example \"192.168.122.1/24\"",
        )
    })?;
    if !(1..=31).contains(&cidr.prefix_len()) {
        let message = format!("/{} is no network with room for two hosts", cidr.prefix_len());
        return Err(Wrong::new(message, "write a prefix length from 1 to 31, for example /24"));
    }
    let address = cidr.address();
    if address.is_multicast()
        || address.is_loopback()
        || address.octets()[0] == 0
        || address.octets()[0] >= 240
    {
        return Err(Wrong::new(format!("{address} can't be a host's address"), "write a unicast address"));
    }
    match not_a_host(cidr, address) {
        Some(what) => {
            let help = format!("write an address of a host in it, for example {}", first_host(cidr));
            Err(Wrong::new(
                format!("{address} is the {what} of {}/{}", cidr.network(), cidr.prefix_len()),
                help,
            ))
        }
        None => Ok(cidr),
    }
}

/// Why no host of `subnet` can have `address`, which is in it: `None` if one can.
pub(super) fn not_a_host(subnet: Ipv4Cidr, address: Ipv4Addr) -> Option<&'static str> {
    if subnet.is_broadcast(address) {
        Some("broadcast address")
    } else if subnet.prefix_len() < 31 && address == subnet.network() {
        Some("network address")
    } else {
        None
    }
}

/// An example for messages: the first host of `subnet`, prefix length included.
fn first_host(subnet: Ipv4Cidr) -> String {
    format!("{}/{}", Ipv4Addr::from_bits(subnet.network().to_bits() | 1), subnet.prefix_len())
}

/// An address alone.
pub(super) fn address(text: &str) -> Read<Ipv4Addr> {
    text.parse().map_err(|_| {
        Wrong::new(
            format!("`{text}` is not an IPv4 address"),
            "write one without a prefix length, for example 10.0.0.1",
        )
    })
}

/// `FIRST-LAST`.
pub(super) fn address_range(text: &str) -> Read<AddressRange> {
    let parse = || {
        let (first, last) = text.split_once('-')?;
        Some(AddressRange { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
    };
    let range = parse().ok_or_else(|| {
        let help = "write the first and the last address, for example \"192.168.122.2-192.168.122.254\"";
        Wrong::new(format!("`{text}` is not a range of addresses"), help)
    })?;
    if range.first > range.last {
        let help = format!("write \"{}-{}\"", range.last, range.first);
        return Err(Wrong::new("the range ends before it begins", help));
    }
    Ok(range)
}

/// A MAC address that one station can have.
pub(super) fn station(text: &str) -> Read<MacAddr> {
    let example = "write six octets, for example 52:54:00:12:34:56";
    let mac: MacAddr =
        text.parse().map_err(|_| Wrong::new(format!("`{text}` is not a MAC address"), example))?;
    if mac.is_station() {
        Ok(mac)
    } else {
        let what = if mac.is_group() { "a group address" } else { "no address" };
        Err(Wrong::new(
            format!("{mac} is {what}"),
            "write the address of one station: its first octet is even",
        ))
    }
}

/// `MAC=ADDRESS`.
pub(super) fn reservation(text: &str) -> Read<(DhcpClient, Ipv4Addr)> {
    let Some((client, reserved)) = text.split_once('=') else {
        let help = "write \"MAC=ADDRESS\", for example \"52:54:00:12:34:56=192.168.122.10\"";
        return Err(Wrong::new(format!("`{text}` reserves nothing"), help));
    };
    let client = match client.trim().strip_prefix("id:") {
        Some(id) => DhcpClient::Id(identifier(id)?),
        None => DhcpClient::Mac(station(client.trim())?),
    };
    Ok((client, address(reserved.trim())?))
}

/// The bytes of a client identifier: `ff00aa`, or with colons between them.
fn identifier(text: &str) -> Read<Box<[u8]>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Box<[u8]>> =
        digits.chunks(2).map(|pair| byte(pair).filter(|_| pair.len() == 2)).collect();
    bytes.filter(|bytes| (1..=255).contains(&bytes.len())).ok_or_else(|| {
        let help = "write its bytes as the client sends them in option 61, two digits each, for example \"id:ff00aa\"";
        Wrong::new(format!("`{text}` is not a client identifier"), help)
    })
}

/// `10.0.0.0/8=192.168.122.2`: a subnet, and the router that leads there.
pub(super) fn route(text: &str) -> Read<(Ipv4Cidr, Ipv4Addr)> {
    let help = "write a subnet and the router towards it, for example \"10.0.0.0/8=192.168.122.2\"";
    let Some((to, router)) = text.split_once('=') else {
        return Err(Wrong::new(format!("`{text}` is not a route"), help));
    };
    let subnet: Option<Ipv4Cidr> = to.trim().parse().ok();
    let subnet = subnet.filter(|subnet| subnet.address() == subnet.network() && subnet.prefix_len() > 0);
    let subnet = subnet.ok_or_else(|| Wrong::new(format!("`{to}` is not a subnet"), help))?;
    Ok((subnet, address(router.trim())?))
}

/// What fits a DHCP message, beside the NUL behind it.
pub(super) fn boot_file(text: &str) -> Read<String> {
    if (1..=127).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    let help = "write the file's name at the server, for example \"pxelinux.0\": 127 visible ASCII characters at most";
    Err(Wrong::new(format!("`{text}` can't be asked for"), help))
}

/// What is before `/tcp` or `/udp`, and which of the two; TCP where neither stands.
pub(super) fn protocol(text: &str) -> Option<(&str, Protocol)> {
    match text.split_once('/') {
        None => Some((text, Protocol::TCP)),
        Some((ports, "tcp")) => Some((ports, Protocol::TCP)),
        Some((ports, "udp")) => Some((ports, Protocol::UDP)),
        Some(_) => None,
    }
}

/// The number of a port.
pub(super) fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|&port| port != 0)
}

/// `FIRST-LAST`, of ports above 1023: those below are the host's.
pub(super) fn port_range(text: &str) -> Read<PortRange> {
    let parse = || {
        let (first, last) = text.split_once('-')?;
        Some((port(first.trim())?, port(last.trim())?))
    };
    let help = "write the first and the last port, for example \"40000-49151\"";
    match parse() {
        None => Err(Wrong::new(format!("`{text}` is not a range of ports"), help)),
        Some((first, last)) if first > last => {
            Err(Wrong::new("the range ends before it begins", format!("write \"{last}-{first}\"")))
        }
        Some((first, _)) if first < 1024 => Err(Wrong::new("ports below 1024 are the host's", help)),
        Some((first, last)) if last - first < MIN_HOST_PORTS => {
            Err(Wrong::new(format!("{} ports are too few", last - first + 1), help))
        }
        Some(range) => Ok(range),
    }
}

/// A guest that opens a web page takes dozens.
const MIN_HOST_PORTS: u16 = 255;

/// A domain name: labels of letters, digits and hyphens. RFC 1035, 2.3.1, and RFC 1123, 2.1.
pub(super) fn domain(text: &str) -> Read<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        let help = "write labels of letters, digits and hyphens, for example \"lan.example.org\"";
        Err(Wrong::new(format!("`{text}` is not a domain name"), help))
    }
}

/// A device name as the kernel takes it: at most 15 bytes, no slash, colon or blank. A `%` would make it a template.
pub(super) fn device(text: &str) -> Read<String> {
    let printable = |byte: u8| byte.is_ascii_graphic() && !b"/:%".contains(&byte);
    let help = "write 1 to 15 letters, digits, hyphens, underscores or dots, for example \"tap1\"";
    if text.len() > 15 {
        Err(Wrong::new(format!("`{text}` is too long for a device's name: {} bytes", text.len()), help))
    } else if text.is_empty() || text == "." || text == ".." || !text.bytes().all(printable) {
        Err(Wrong::new(format!("`{text}` can't be a device's name"), help))
    } else {
        Ok(text.to_owned())
    }
}

/// The path of a unix socket.
pub(super) fn socket(text: &str) -> Read<PathBuf> {
    let help = "write an absolute path, for example \"/run/tapswitch-guests/vm1.sock\"";
    if text.len() > 107 {
        let message = format!("the path of a socket has 107 bytes at most, this one {}", text.len());
        return Err(Wrong::new(message, help));
    }
    absolute(text).ok_or_else(|| Wrong::new(format!("{text:?} can't be the path of a socket"), help))
}

/// The path of a file.
pub(super) fn file(text: &str) -> Read<PathBuf> {
    let help = "write an absolute path, for example \"/var/lib/tapswitch/state\"";
    absolute(text).ok_or_else(|| Wrong::new(format!("{text:?} can't be the path of a file"), help))
}

/// Where leases are kept: not where connections are.
pub(super) fn lease_file(text: &str, state: Option<&Path>) -> Read<LeaseFile> {
    let help = "write an absolute path, for example \"/var/lib/tapswitch/leases\", or \"none\"";
    match absolute(text) {
        _ if text == "none" => Ok(LeaseFile::None),
        Some(path) if state == Some(&path) => {
            Err(Wrong::new(format!("{text:?} is the file of `state` already"), help))
        }
        Some(path) => Ok(LeaseFile::At(path)),
        None => Err(Wrong::new(format!("{text:?} can't be the path of a file"), help)),
    }
}

/// Absolute, because the switch may run in another folder than whoever writes the file.
fn absolute(text: &str) -> Option<PathBuf> {
    let fits = text.starts_with('/') && !text.ends_with('/') && !text.contains(char::is_control);
    fits.then(|| PathBuf::from(text))
}

/// The name of a network, port or uplink: shown in tables, so nothing unprintable and not long.
pub(super) fn name(text: &str) -> Read<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        let help = "write 1 to 64 letters, digits, hyphens, underscores or dots";
        Err(Wrong::new(format!("{text:?} can't be a name"), help))
    }
}

/// A network namespace: a name, a path, or the id of a process in it.
pub(super) fn netns(value: &DeValue<'_>) -> Read<Netns> {
    let help = "write a name as `ip netns` shows it, a path, or the id of a process in it";
    if let Some(number) = value.as_integer() {
        let pid = u32::from_str_radix(number.as_str(), number.radix()).ok();
        return process(pid, help);
    }
    match value.as_str() {
        None => Err(Wrong::new(format!("this is {}, not a network namespace", kind(value)), help)),
        Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            process(text.parse().ok(), help)
        }
        Some(text) if text.contains('/') => Ok(path(text)),
        Some(text) => name(text).map(Netns::Name).map_err(|wrong| Wrong::new(wrong.message, help)),
    }
}

fn process(pid: Option<u32>, help: &str) -> Read<Netns> {
    match pid {
        Some(pid) if (1..=PID_LIMIT).contains(&pid) => Ok(Netns::Pid(pid)),
        _ => Err(Wrong::new(format!("process ids are from 1 to {PID_LIMIT}"), help)),
    }
}

/// One namespace has one spelling, so that a device named twice in it is seen.
fn path(text: &str) -> Netns {
    let named = text.strip_prefix("/run/netns/").or_else(|| text.strip_prefix("/var/run/netns/"));
    match named.filter(|named| name(named).is_ok()) {
        Some(named) => Netns::Name(named.to_owned()),
        None => Netns::Path(PathBuf::from(text)),
    }
}

/// `PID_MAX_LIMIT` of a 64-bit Linux kernel.
const PID_LIMIT: u32 = 1 << 22;

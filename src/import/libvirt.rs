//! A network out of libvirt's XML, as `virsh net-dumpxml` prints it.

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::str::FromStr;

use packet::{Ipv4Cidr, MacAddr};
use roxmltree::{Document, Node};

use super::{Imported, quoted};
use crate::config::{Mistake, Mistakes};

/// The section of a network, made of `text`; messages call it `file`. It uses `uplink`, which is another section's.
///
/// # Errors
/// Whatever would make another network of it.
pub fn libvirt(file: &str, text: &str, uplink: Option<&str>) -> Result<Imported, Mistakes> {
    let wrong = |mistakes| Mistakes::new(file, text, mistakes);
    let document = Document::parse(text).map_err(|error| {
        let place = byte_at(text, error.pos());
        wrong(vec![Mistake::new(
            place..place,
            format!("this is no XML: {error}"),
            "write what `virsh net-dumpxml` prints",
        )])
    })?;
    let root = document.root_element();
    if !root.has_tag_name("network") {
        let message = format!("this describes a {}, not a network", root.tag_name().name());
        return Err(wrong(vec![Mistake::new(
            opening(root),
            message,
            "write what `virsh net-dumpxml` prints",
        )]));
    }
    let mut import = Import { uplink, ..Import::default() };
    import.network(root);
    if !import.mistakes.is_empty() {
        return Err(wrong(import.mistakes));
    }
    Ok(Imported { toml: format!("[network.{}]\n{}", key(&import.name), import.lines), notes: import.notes })
}

#[derive(Default)]
struct Import<'a> {
    uplink: Option<&'a str>,
    name: String,
    lines: String,
    notes: Vec<String>,
    mistakes: Vec<Mistake>,
}

impl Import<'_> {
    fn network(&mut self, root: Node<'_, '_>) {
        let child = |name| root.children().find(|node| node.has_tag_name(name));
        match child("name").and_then(|name| name.text()) {
            Some(name) => self.name = name.trim().to_owned(),
            None => self.wrong(root, "the network has no name", "write <name>…</name> in it"),
        }
        let mut addresses = root.children().filter(|node| node.has_tag_name("ip") && !is_ipv6(node));
        let ip = addresses.next();
        if let Some(second) = addresses.next() {
            self.wrong(second, "a network here has one IPv4 address", "remove one of the two");
        }
        self.forward(child("forward"), ip.is_some(), root);
        let mac = child("mac").and_then(|mac| self.value::<MacAddr>(mac, "address", "a MAC address"));
        self.set("mac", mac);
        let mtu = child("mtu").and_then(|mtu| self.value::<u16>(mtu, "size", "a number of bytes"));
        self.set_plain("mtu", mtu);
        if let Some(ip) = ip {
            self.address(ip);
            self.set("domain", child("domain").and_then(|domain| domain.attribute("name")));
        }
        for node in root.children().filter(Node::is_element) {
            match node.tag_name().name() {
                "name" | "uuid" | "forward" | "mac" | "mtu" => {}
                "domain" if ip.is_some() => {}
                "ip" if !is_ipv6(&node) => {}
                "ip" => {
                    self.notes.push("the IPv6 address is left out: there is no IPv6 gateway here".to_owned())
                }
                "bridge" => {
                    let name = node.attribute("name").unwrap_or_default();
                    self.notes.push(format!("the bridge {name} is left out: there is no kernel bridge"));
                }
                other => self.notes.push(format!("<{other}> is left out: it has no equal here")),
            }
        }
    }

    /// The mode, and the uplink where the mode has one.
    fn forward(&mut self, forward: Option<Node<'_, '_>>, has_address: bool, root: Node<'_, '_>) {
        let mode = match forward.map(|forward| (forward, forward.attribute("mode").unwrap_or("nat"))) {
            None | Some((_, "none")) if has_address => "host-only",
            None | Some((_, "none")) => "internal",
            Some((_, "nat")) => "nat",
            Some((_, "route")) => "route",
            Some((forward, mode)) => {
                let help =
                    "write a network of mode bridge, and an uplink whose device is that of this network";
                return self.wrong(forward, &format!("networks of mode {mode} have no equal here"), help);
            }
        };
        if matches!(mode, "nat" | "route") && !has_address {
            self.wrong(
                forward.unwrap_or(root),
                "this mode needs an IPv4 address",
                "write <ip …> in the network",
            );
        }
        self.set("mode", Some(mode));
        match (mode, self.uplink) {
            ("nat" | "route", Some(uplink)) => self.set("uplink", Some(uplink)),
            ("nat", None) => {
                self.lines += "uplink = \"wan\"  # an uplink is a section of its own: [uplink.wan]\n";
                self.notes.push("the uplink is called wan; name another with --uplink NAME".to_owned());
            }
            _ => {}
        }
        for node in forward.iter().flat_map(|forward| forward.children()).filter(Node::is_element) {
            let message = format!("<{}> has no equal here", node.tag_name().name());
            let help = "remove it; write `rules` in the network for addresses and ports of its NAT";
            self.wrong(node, &message, help);
        }
        if let Some(device) = forward.and_then(|forward| forward.attribute("dev")) {
            self.notes.push(format!("the device {device} is left out: the uplink has its own"));
        }
    }

    fn address(&mut self, ip: Node<'_, '_>) {
        let Some(address) = self.required::<Ipv4Addr>(ip, "address", "an IPv4 address") else { return };
        let len = match (ip.attribute("netmask"), ip.attribute("prefix")) {
            (Some(_), _) => self.required::<Ipv4Addr>(ip, "netmask", "a netmask").map(prefix_len),
            (None, Some(_)) => self.required::<u8>(ip, "prefix", "a prefix length"),
            (None, None) => Some(class_len(address)),
        };
        match len.map(|len| Ipv4Cidr::new(address, len)) {
            Some(Some(cidr)) => self.set("address", Some(cidr)),
            Some(None) => self.wrong(ip, "there is no such prefix length", "write one of 1 to 31"),
            None => {}
        }
        for node in ip.children().filter(Node::is_element) {
            match node.tag_name().name() {
                "dhcp" => self.dhcp(node),
                other => self.notes.push(format!("<{other}> is left out: it has no equal here")),
            }
        }
    }

    fn dhcp(&mut self, dhcp: Node<'_, '_>) {
        let (mut has_range, mut reserved) = (false, Vec::new());
        for node in dhcp.children().filter(Node::is_element) {
            match node.tag_name().name() {
                "range" if has_range => {
                    self.wrong(node, "a network here has one DHCP range", "remove one of the two")
                }
                "range" => {
                    has_range = true;
                    let first = self.required::<Ipv4Addr>(node, "start", "an IPv4 address");
                    let last = self.required::<Ipv4Addr>(node, "end", "an IPv4 address");
                    self.set("dhcp", first.zip(last).map(|(first, last)| format!("{first}-{last}")));
                }
                "host" => {
                    let mac = self.required::<MacAddr>(node, "mac", "a MAC address");
                    let address = self.required::<Ipv4Addr>(node, "ip", "an IPv4 address");
                    reserved
                        .extend(mac.zip(address).map(|(mac, address)| quoted(&format!("{mac}={address}"))));
                }
                other => self.notes.push(format!("<{other}> is left out: it has no equal here")),
            }
        }
        if !has_range && !reserved.is_empty() {
            self.wrong(dhcp, "DHCP here has a range, also for reserved addresses", "write <range …> in it");
        }
        self.set_plain("reserve", (!reserved.is_empty()).then(|| format!("[{}]", reserved.join(", "))));
    }

    /// The value of an attribute that must be there.
    fn required<T: FromStr>(&mut self, node: Node<'_, '_>, name: &str, what: &str) -> Option<T> {
        if node.attribute(name).is_none() {
            let message = format!("<{}> has no `{name}`", node.tag_name().name());
            self.wrong(node, &message, &format!("write {what}"));
        }
        self.value(node, name, what)
    }

    fn value<T: FromStr>(&mut self, node: Node<'_, '_>, name: &str, what: &str) -> Option<T> {
        let attribute = node.attribute_node(name)?;
        let value = attribute.value().parse().ok();
        if value.is_none() {
            let message = format!("`{}` is not {what}", attribute.value());
            self.mistakes.push(Mistake::new(attribute.range_value(), message, format!("write {what}")));
        }
        value
    }

    fn set(&mut self, key: &str, value: Option<impl Display>) {
        self.set_plain(key, value.map(|value| quoted(&value.to_string())));
    }

    fn set_plain(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.lines += &format!("{key} = {value}\n");
        }
    }

    fn wrong(&mut self, node: Node<'_, '_>, message: &str, help: &str) {
        self.mistakes.push(Mistake::new(opening(node), message, help));
    }
}

/// The tag that a node begins with, without what is in it.
fn opening(node: Node<'_, '_>) -> std::ops::Range<usize> {
    let range = node.range();
    let text = &node.document().input_text()[range.clone()];
    range.start..range.start + text.find('>').map_or(text.len(), |end| end + 1)
}

fn byte_at(text: &str, place: roxmltree::TextPos) -> usize {
    let line =
        text.split_inclusive('\n').take(place.row.saturating_sub(1) as usize).map(str::len).sum::<usize>();
    let column =
        text.get(line..).unwrap_or_default().char_indices().nth(place.col.saturating_sub(1) as usize);
    line + column.map_or(0, |(byte, _)| byte)
}

fn is_ipv6(node: &Node<'_, '_>) -> bool {
    node.attribute("family") == Some("ipv6")
}

/// Of a mask with gaps, 33: no prefix has that length.
fn prefix_len(mask: Ipv4Addr) -> u8 {
    let bits = mask.to_bits();
    if bits.leading_ones() + bits.trailing_zeros() >= 32 { bits.leading_ones() as u8 } else { 33 }
}

/// What libvirt takes where the file doesn't say: the length by the address's class, RFC 791, 3.2.
fn class_len(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

/// `name` as a key of TOML.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { quoted(name) }
}

//! A network out of libvirt's XML, as `virsh net-dumpxml` prints it: <https://libvirt.org/formatnetwork.html>.
//!
//! Every element and attribute is carried over or named: what only the guests' comfort depends on in a note, what would
//! let in or cut off somebody in an error.

mod address;
mod forward;
mod names;
mod whole;
mod xml;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use packet::MacAddr;
use roxmltree::Node;

use self::forward::Forward;
use self::xml::{EXPECTED, child, element_name, elements, opening, own_name, shown};
use super::{Imported, quoted};
use crate::mistake::{Mistake, Mistakes};

/// What is wanted.
#[derive(Clone, Copy, Default, Debug)]
pub struct LibvirtOptions<'a> {
    /// The uplink that the network is to use; "wan" if it isn't said.
    pub uplink: Option<&'a str>,
    /// The uplink and a port for a guest as well, so that it is a whole file.
    pub complete: bool,
}

/// The section of a network, made of `text`; messages call it `file`.
///
/// # Errors
/// Whatever would make another network of it.
pub fn libvirt(file: &str, text: &str, options: LibvirtOptions<'_>) -> Result<Imported, Mistakes> {
    let wrong = |mistakes| Mistakes::new(file, text, mistakes);
    let document = xml::parse(text).map_err(|mistake| wrong(vec![mistake]))?;
    let root = document.root_element();
    if own_name(root) != Some("network") {
        let message = format!("this describes a {}, not a network", element_name(root));
        return Err(wrong(vec![Mistake::new(opening(root), message, EXPECTED)]));
    }
    let mut import = Import::new(options.uplink.unwrap_or("wan"), opening(root));
    import.network(root);
    if import.mistakes.is_empty() {
        import.whole(options).map_err(wrong)
    } else {
        Err(wrong(import.mistakes))
    }
}

struct Import<'a> {
    uplink: &'a str,
    root: Range<usize>,
    name: String,
    mode: &'static str,
    /// The host's device that libvirt forwards to, or bridges.
    device: Option<forward::Device>,
    /// Lines of the network's section, each with what it was made of.
    lines: Vec<(String, Range<usize>)>,
    /// Notes, and the same in order of the alphabet, so that each is said once.
    notes: Vec<String>,
    said: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl<'a> Import<'a> {
    fn new(uplink: &'a str, root: Range<usize>) -> Self {
        Self {
            uplink,
            root,
            name: String::new(),
            mode: "internal",
            device: None,
            lines: Vec::new(),
            notes: Vec::new(),
            said: BTreeSet::new(),
            mistakes: Vec::new(),
        }
    }

    fn network(&mut self, root: Node<'_, '_>) {
        self.named(root, child(root, "name"));
        let ip = self.ipv4(root);
        let isolated = child(root, "port").is_some_and(|port| port.attribute("isolated") == Some("yes"));
        let forward = child(root, "forward");
        if let Some(forward) = Forward::new(self, root, forward, ip, isolated) {
            self.forward(&forward);
        }
        let has_address = !matches!(self.mode, "internal" | "bridge");
        self.mac(root, has_address);
        if let Some(mtu) = child(root, "mtu") {
            let size = self.required::<u16>(mtu, "size", "a number of bytes");
            self.set_plain("mtu", size, mtu);
        }
        if let Some(ip) = ip.filter(|_| has_address) {
            self.address(root, ip);
        }
        self.attributes(root);
        self.children(root, ip.filter(|_| has_address));
    }

    /// The switch's own address on the network.
    fn mac(&mut self, root: Node<'_, '_>, has_address: bool) {
        let Some(node) = child(root, "mac") else { return };
        let mac = self.required::<MacAddr>(node, "address", "a MAC address");
        self.others(node, &["address"], &[]);
        let Some(mac) = mac else { return };
        let hosts = root.descendants().filter(|node| own_name(*node) == Some("host"));
        let mut theirs = hosts.filter_map(|host| host.attribute("mac")?.parse::<MacAddr>().ok());
        if !has_address {
            self.note(format!("the MAC address {mac} is left out: the switch has none on such a network"));
        } else if theirs.any(|theirs| theirs == mac) {
            self.note(format!("the network's MAC address {mac} is left out: a host has it"));
        } else {
            self.set("mac", Some(mac), node);
        }
    }

    /// Of the network itself.
    fn attributes(&mut self, root: Node<'_, '_>) {
        if root.attribute("connections").is_some() {
            self.note("`connections` is left out: it counts who uses the network at the moment");
        }
        if let Some(passes) = root.attribute("ipv6") {
            self.note(format!("ipv6='{passes}' is left out: IPv6 passes between guests in any case"));
        }
        if root.attribute("trustGuestRxFilters").is_some() {
            self.note("`trustGuestRxFilters` is left out: what guests say about filters isn't asked for");
        }
        self.attributes_but(root, &["connections", "ipv6", "trustGuestRxFilters"]);
    }

    /// What in the network is not dealt with elsewhere.
    fn children(&mut self, root: Node<'_, '_>, ip: Option<Node<'_, '_>>) {
        let mut seen = BTreeSet::new();
        for node in elements(root) {
            let name = own_name(node).unwrap_or_default();
            let is_again =
                !matches!(name, "" | "ip" | "route" | "portgroup") && !seen.insert(name.to_owned());
            match name {
                _ if is_again => self.note(format!("a second <{name}> is left out: the first one counts")),
                "forward" => {}
                "name" => self.others(node, &[], &[]),
                "mtu" => self.others(node, &["size"], &[]),
                "mac" => {}
                "port" => self.others(node, &["isolated"], &[]),
                "domain" => self.domain_notes(node),
                "dns" => self.dns_notes(node),
                "uuid" => self.note("<uuid> is left out: a network here is known by its name"),
                "metadata" => self.left_out(node, "it is for other programs"),
                "bridge" => self.bridge_note(node),
                "ip" if ip == Some(node) => {}
                "ip" => self.ip_note(node),
                "route" => self.left_out(node, "there are no routes by guests here"),
                "portgroup" => self.left_out(node, "each port has keys of its own"),
                "bandwidth" => self.left_out(node, "guests send as fast as they can"),
                "virtualport" => self.left_out(node, "it is for other switches"),
                "vlan" => {
                    let help = "remove it; let guests send tagged frames, or take the device of the VLAN, such as \
                                eth0.42, for the uplink";
                    self.wrong(node, "ports here can't be put into a VLAN", help);
                }
                _ if node.tag_name().namespace() == Some(DNSMASQ) => {
                    self.left_out(node, "dnsmasq isn't used");
                }
                _ => self.left_out(node, "it has no equal here"),
            }
        }
    }

    fn bridge_note(&mut self, node: Node<'_, '_>) {
        if self.mode == "bridge" {
            return self.others(node, &["name"], &[]);
        }
        self.left_out(node, "there is no kernel bridge");
    }

    fn left_out(&mut self, node: Node<'_, '_>, why: &str) {
        self.note(format!("{} is left out: {why}", shown(node)));
    }

    /// Names what is in `node` beside these attributes and elements.
    fn others(&mut self, node: Node<'_, '_>, attributes: &[&str], children: &[&str]) {
        self.attributes_but(node, attributes);
        for other in elements(node) {
            if own_name(other).is_none_or(|name| !children.contains(&name)) {
                self.left_out(other, &format!("it has no equal here in <{}>", element_name(node)));
            }
        }
    }

    fn attributes_but(&mut self, node: Node<'_, '_>, known: &[&str]) {
        for attribute in node.attributes() {
            if !known.contains(&attribute.name()) || attribute.namespace().is_some() {
                let name = element_name(node);
                self.note(format!("`{}` of <{name}> is left out: it has no equal here", attribute.name()));
            }
        }
    }

    /// The value of an attribute that must be there.
    fn required<T: FromStr>(&mut self, node: Node<'_, '_>, name: &str, what: &str) -> Option<T> {
        if node.attribute(name).is_none() {
            let message = format!("<{}> has no `{name}`", element_name(node));
            self.wrong(node, &message, &format!("write {what}"));
        }
        self.value(node, name, what)
    }

    fn value<T: FromStr>(&mut self, node: Node<'_, '_>, name: &str, what: &str) -> Option<T> {
        let attribute = node.attribute_node(name)?;
        let value = attribute.value().trim().parse().ok();
        if value.is_none() {
            let message = format!("`{}` is not {what}", attribute.value());
            self.mistake(Mistake::new(attribute.range_value(), message, format!("write {what}")));
        }
        value
    }

    /// A line `key = "value"`, made of `node`.
    fn set(&mut self, key: &str, value: Option<impl Display>, node: Node<'_, '_>) {
        self.set_plain(key, value.map(|value| quoted(&value.to_string())), node);
    }

    fn set_plain(&mut self, key: &str, value: Option<impl Display>, node: Node<'_, '_>) {
        if let Some(value) = value {
            self.lines.push((format!("{key} = {value}\n"), opening(node)));
        }
    }

    fn note(&mut self, note: impl Into<String>) {
        let note = note.into().replace(char::is_control, "\u{fffd}");
        if self.notes.len() < MAX_NOTES && self.said.insert(note.clone()) {
            self.notes.push(note);
            if self.notes.len() == MAX_NOTES {
                self.notes.push("more is left out; this file has much that libvirt doesn't write".to_owned());
            }
        }
    }

    fn wrong(&mut self, node: Node<'_, '_>, message: &str, help: &str) {
        self.mistake(Mistake::new(opening(node), message, help));
    }

    fn mistake(&mut self, mistake: Mistake) {
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(mistake);
        }
    }
}

/// The namespace of the options that libvirt hands on to dnsmasq.
const DNSMASQ: &str = "http://libvirt.org/schemas/network/dnsmasq/1.0";

/// A network with everything that libvirt knows makes half as many.
const MAX_NOTES: usize = 50;

/// More than are ever shown.
const MAX_MISTAKES: usize = 1000;

//! Names: those of the network, and those that libvirt's name server knows.

use roxmltree::Node;

use super::xml::{child, elements, own_name};
use super::{Import, quoted};

impl Import<'_> {
    /// The network's name, made one that networks here can have.
    pub(super) fn named(&mut self, root: Node<'_, '_>, node: Option<Node<'_, '_>>) {
        let Some(name) = node.and_then(|node| node.text()).map(str::trim).filter(|name| !name.is_empty())
        else {
            return self.wrong(root, "the network has no name", "write <name>…</name> in it");
        };
        let plain =
            |char: char| if char.is_ascii_alphanumeric() || "-_.".contains(char) { char } else { '-' };
        let mut own: String = name.chars().map(plain).take(MAX_NAME).collect();
        if own.bytes().all(|byte| byte == b'-') {
            "network".clone_into(&mut own);
        }
        if own == self.uplink {
            own.truncate(MAX_NAME - "-net".len());
            own += "-net";
        }
        if own != name {
            let shown = quoted(&name.chars().take(2 * MAX_NAME).collect::<String>());
            let why = format!("names have 1 to {MAX_NAME} letters, digits and -_. and are not an uplink's");
            self.note(format!("the network {shown} is called {own} here: {why}"));
        }
        self.name = own;
    }

    /// Name server and domain, as DHCP tells them to guests.
    pub(super) fn dns(&mut self, root: Node<'_, '_>, ip: Node<'_, '_>) {
        if let Some(domain) = child(root, "domain") {
            let name = self.required::<String>(domain, "name", "a domain name");
            self.set("domain", name.map(|name| name.trim_end_matches('.').to_owned()), domain);
        }
        let dns = child(root, "dns");
        if let Some(dns) = dns.filter(|dns| dns.attribute("enable") == Some("no")) {
            return self.set_plain("dns", Some("[]"), dns);
        }
        let forwarders =
            dns.into_iter().flat_map(elements).filter(|node| own_name(*node) == Some("forwarder"));
        let for_all = forwarders.filter(|forwarder| !forwarder.has_attribute("domain"));
        let servers: Vec<std::net::Ipv4Addr> =
            for_all.filter_map(|node| node.attribute("addr")?.parse().ok()).take(MAX_DNS).collect();
        if servers.is_empty() {
            self.note(
                "guests are given the host's name servers: libvirt's own answers at the gateway's address",
            );
        } else {
            let list: Vec<String> = servers.iter().map(|server| quoted(&server.to_string())).collect();
            self.set_plain("dns", Some(format!("[{}]", list.join(", "))), dns.unwrap_or(ip));
        }
    }

    pub(super) fn domain_notes(&mut self, node: Node<'_, '_>) {
        if node.attribute("localOnly") == Some("yes") {
            self.note("localOnly='yes' is left out: name servers elsewhere are asked for the domain, too");
        }
        if !self.lines.iter().any(|(line, _)| line.starts_with("domain = ")) {
            let name = node.attribute("name").unwrap_or_default();
            self.note(format!("the domain {name} is left out: only DHCP would tell it"));
        }
        self.others(node, &["name", "localOnly"], &[]);
    }

    pub(super) fn dns_notes(&mut self, node: Node<'_, '_>) {
        if let Some(plain) = node.attribute("forwardPlainNames") {
            self.note(format!("forwardPlainNames='{plain}' is left out: {NO_SERVER}"));
        }
        if node.attribute("enable") == Some("no") && !self.lines.iter().any(|(line, _)| line == "dns = []\n")
        {
            self.note(format!("enable='no' of <dns> is left out: {NO_SERVER}"));
        }
        let offered = self.lines.iter().find(|(line, _)| line.starts_with("dns = "));
        let offered = offered.map(|(line, _)| line.clone()).unwrap_or_default();
        for entry in elements(node) {
            let is_offered = own_name(entry) == Some("forwarder")
                && !entry.has_attribute("domain")
                && entry.attribute("addr").is_some_and(|server| offered.contains(&quoted(server)));
            if !is_offered {
                self.left_out(entry, NO_SERVER);
            }
        }
        self.attributes_but(node, &["enable", "forwardPlainNames"]);
    }
}

pub(super) const NO_SERVER: &str = "there is no name server here";

const MAX_NAME: usize = 64;

/// As the key `dns` takes.
const MAX_DNS: usize = 8;

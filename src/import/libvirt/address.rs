//! `<ip>`: the switch's own address, and DHCP.

use std::net::Ipv4Addr;

use packet::{Ipv4Cidr, MacAddr};
use roxmltree::Node;

use super::xml::{child, elements, opening, own_name};
use super::{Import, quoted};

impl Import<'_> {
    /// The network's IPv4 address.
    pub(super) fn ipv4<'a, 'input>(&mut self, root: Node<'a, 'input>) -> Option<Node<'a, 'input>> {
        let mut all = elements(root).filter(|node| own_name(*node) == Some("ip") && !is_ipv6(*node));
        let ip = all.next();
        for second in all {
            self.wrong(second, "a network here has one IPv4 address", "remove one of the two");
        }
        ip
    }

    /// One that is left out.
    pub(super) fn ip_note(&mut self, node: Node<'_, '_>) {
        if is_ipv6(node) {
            self.left_out(node, "there is no IPv6 gateway here");
        } else {
            self.left_out(node, &format!("the switch has no address on a network of mode {}", self.mode));
        }
    }

    pub(super) fn address(&mut self, root: Node<'_, '_>, ip: Node<'_, '_>) {
        let Some(address) = self.required::<Ipv4Addr>(ip, "address", "an IPv4 address") else { return };
        let len = match (ip.attribute("netmask"), ip.attribute("prefix")) {
            (Some(_), _) => self.required::<Ipv4Addr>(ip, "netmask", "a netmask").map(prefix_len),
            (None, Some(_)) => self.required::<u8>(ip, "prefix", "a prefix length"),
            (None, None) => Some(class_len(address)),
        };
        let Some(len) = len else { return };
        let Some(cidr) = Ipv4Cidr::new(address, len).filter(|_| len > 0) else {
            return self.wrong(ip, "there is no such prefix length", "write one of 1 to 31");
        };
        self.set("address", Some(cidr), ip);
        if let Some(to) = ip.attribute("localPtr") {
            self.note(format!("localPtr='{to}' is left out: {}", super::names::NO_SERVER));
        }
        if let Some(tftp) = child(ip, "tftp") {
            self.left_out(tftp, "there is no TFTP server here");
        }
        self.others(ip, &["address", "netmask", "prefix", "family", "localPtr"], &["tftp", "dhcp"]);
        if let Some(dhcp) = child(ip, "dhcp") {
            self.dhcp(root, ip, dhcp, cidr);
        }
    }

    fn dhcp(&mut self, root: Node<'_, '_>, ip: Node<'_, '_>, dhcp: Node<'_, '_>, own: Ipv4Cidr) {
        self.others(dhcp, &[], &["range", "host", "bootp"]);
        if let Some(bootp) = child(dhcp, "bootp") {
            self.left_out(bootp, "guests aren't told what to boot");
        }
        let of_kind = |name| elements(dhcp).filter(move |node| own_name(*node) == Some(name));
        let reserved: Vec<(Node<'_, '_>, MacAddr, Ipv4Addr)> =
            of_kind("host").filter_map(|host| self.host(host)).collect();
        let ranges: Vec<(Node<'_, '_>, Leased)> =
            of_kind("range").filter_map(|node| Some((node, self.leased(node, own)?))).collect();
        let longest = ranges.iter().max_by_key(|(_, range)| range.last - range.first);
        for (_, other) in ranges.iter().filter(|(node, _)| Some(node) != longest.map(|(node, _)| node)) {
            self.note(format!("the range {} is left out: a network here has one", other.text()));
        }
        let lease = match (longest, reserved.first()) {
            (Some((node, range)), _) => {
                self.set("dhcp", Some(range.text()), *node);
                self.lease_time(*node)
            }
            // Nobody but the host that it is reserved for gets it.
            (None, Some((.., address))) => {
                self.set("dhcp", Some(format!("{address}-{address}")), dhcp);
                None
            }
            (None, None) => return,
        };
        self.set_plain("lease-time", lease, dhcp);
        for host in of_kind("host") {
            if self.lease_time(host).is_some_and(|own| Some(own) != lease) {
                self.note("lease times of single hosts are left out: all leases are equally long");
            }
        }
        self.reserve(&reserved, dhcp);
        self.dns(root, ip);
    }

    /// One line for each, so that a mistake is seen at its host.
    fn reserve(&mut self, reserved: &[(Node<'_, '_>, MacAddr, Ipv4Addr)], dhcp: Node<'_, '_>) {
        match reserved {
            [] => {}
            [(host, mac, address)] => {
                self.set_plain("reserve", Some(format!("[{}]", quoted(&format!("{mac}={address}")))), *host);
            }
            _ => {
                self.lines.push(("reserve = [\n".to_owned(), opening(dhcp)));
                for (host, mac, address) in reserved {
                    let entry = quoted(&format!("{mac}={address}"));
                    self.lines.push((format!("    {entry},\n"), opening(*host)));
                }
                self.lines.push(("]\n".to_owned(), opening(dhcp)));
            }
        }
    }

    /// The addresses of a range that can be leased.
    fn leased(&mut self, node: Node<'_, '_>, own: Ipv4Cidr) -> Option<Leased> {
        self.others(node, &["start", "end"], &["lease"]);
        let first = self.required::<Ipv4Addr>(node, "start", "an IPv4 address");
        let last = self.required::<Ipv4Addr>(node, "end", "an IPv4 address");
        let (first, last) = first.zip(last)?;
        if first > last || !own.contains(first) || !own.contains(last) {
            let message = format!("{first} to {last} is no range in {}/{}", own.network(), own.prefix_len());
            self.wrong(node, &message, "write the lower address first, both in the network");
            return None;
        }
        let (first, last, address) = (first.to_bits(), last.to_bits(), own.address().to_bits());
        let ends = if own.prefix_len() < 31 { 1 } else { 0 };
        let low = first.max(own.network().to_bits() + ends);
        let high = last.min(own.broadcast().to_bits() - ends);
        // The longer side of the switch's own address.
        let (low, high) = match (low..=high).contains(&address) {
            true if address - low > high - address => (low, address - 1),
            true => (address + 1, high),
            false => (low, high),
        };
        if low > high {
            self.note(format!("the range {} is left out: no guest can have these", text(first, last)));
            return None;
        }
        let high = high.min(low.saturating_add(MAX_LEASES - 1));
        if (low, high) != (first, last) {
            self.note(format!(
                "the range {} becomes {}: of hosts in one piece, without the switch's own, at most {MAX_LEASES}",
                text(first, last),
                text(low, high)
            ));
        }
        Some(Leased { first: low, last: high })
    }

    /// A host with the MAC and address that belong together.
    fn host<'a, 'input>(&mut self, node: Node<'a, 'input>) -> Option<(Node<'a, 'input>, MacAddr, Ipv4Addr)> {
        self.others(node, &["mac", "id", "name", "ip"], &["lease"]);
        let address = self.required::<Ipv4Addr>(node, "ip", "an IPv4 address")?;
        match (node.attribute("mac"), node.attribute("name").or(node.attribute("id"))) {
            (None, Some(host)) => {
                self.note(format!(
                    "{address} isn't reserved for {host}: reservations here are by MAC address"
                ));
                return None;
            }
            (_, Some(_)) if node.has_attribute("name") => {
                self.note(format!("the names of hosts in <dhcp> are left out: {}", super::names::NO_SERVER));
            }
            _ => {}
        }
        let mac = self.required::<MacAddr>(node, "mac", "a MAC address")?;
        Some((node, mac, address))
    }

    /// The `<lease>` within, in seconds.
    fn lease_time(&mut self, node: Node<'_, '_>) -> Option<u64> {
        let lease = child(node, "lease")?;
        self.others(lease, &["expiry", "unit"], &[]);
        let expiry = self.required::<u64>(lease, "expiry", "a number")?;
        let unit = match lease.attribute("unit").unwrap_or("minutes") {
            "seconds" => 1,
            "minutes" => 60,
            "hours" => 3600,
            other => {
                self.wrong(
                    lease,
                    &format!("`{other}` is no unit of time"),
                    "write seconds, minutes or hours",
                );
                return None;
            }
        };
        // None is for ever.
        let seconds = if expiry == 0 { u64::MAX } else { expiry.saturating_mul(unit) };
        let time = seconds.clamp(MIN_LEASE, MAX_LEASE);
        if time != seconds {
            self.note(format!("a lease is good for {time} s: from {MIN_LEASE} to {MAX_LEASE} s can be"));
        }
        Some(time)
    }
}

#[derive(Clone, Copy)]
struct Leased {
    first: u32,
    last: u32,
}

impl Leased {
    fn text(self) -> String {
        text(self.first, self.last)
    }
}

fn text(first: u32, last: u32) -> String {
    format!("{}-{}", Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last))
}

/// The subnet of an `<ip>` without mistakes.
pub(super) fn subnet(ip: Node<'_, '_>) -> Option<Ipv4Cidr> {
    let address: Ipv4Addr = ip.attribute("address")?.trim().parse().ok()?;
    let len = match (ip.attribute("netmask"), ip.attribute("prefix")) {
        (Some(mask), _) => prefix_len(mask.trim().parse().ok()?),
        (None, Some(len)) => len.trim().parse().ok()?,
        (None, None) => class_len(address),
    };
    let cidr = Ipv4Cidr::new(address, len)?;
    Ipv4Cidr::new(cidr.network(), len)
}

fn is_ipv6(node: Node<'_, '_>) -> bool {
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

/// As the keys `dhcp` and `lease-time` take them.
const MAX_LEASES: u32 = 65_536;
const MIN_LEASE: u64 = 10;
const MAX_LEASE: u64 = 31_536_000;

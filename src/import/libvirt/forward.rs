//! The way out: mode, uplink, and what NAT translates to.

use std::net::Ipv4Addr;

use roxmltree::Node;

use super::xml::{child, element_name, elements, opening, own_name};
use super::{Import, quoted};
use crate::mistake::suggestion;

/// A device of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Device {
    /// That the network is forwarded to, or a part of.
    Card(String),
    /// A bridge of the kernel's that the network is a part of.
    Bridge(String),
}

/// What is known about the way out.
pub(super) struct Forward<'a, 'input> {
    /// `<forward>`, or else the network.
    node: Node<'a, 'input>,
    ip: Option<Node<'a, 'input>>,
    is_given: bool,
    mode: &'static str,
}

impl<'a, 'input> Forward<'a, 'input> {
    /// `None` if there is no such mode here; that is told.
    pub(super) fn new(
        import: &mut Import<'_>,
        root: Node<'a, 'input>,
        forward: Option<Node<'a, 'input>>,
        ip: Option<Node<'a, 'input>>,
        isolated: bool,
    ) -> Option<Self> {
        let node = forward.unwrap_or(root);
        let words = forward.map_or("none", |forward| forward.attribute("mode").unwrap_or("nat"));
        let mode = match (words, isolated) {
            ("none", _) if ip.is_some() => "host-only",
            ("none", _) => "internal",
            ("nat", true) => "nat-isolated",
            ("nat", false) => "nat",
            ("route" | "open", _) => "route",
            ("bridge", _) => "bridge",
            (other, _) => {
                import.no_such_mode(node, other);
                return None;
            }
        };
        if isolated && mode != "nat-isolated" {
            let port = child(root, "port").unwrap_or(root);
            let help = "remove it if guests may see one another, or write <forward mode='nat'/>";
            import.wrong(port, "only networks of mode nat have isolated ports here", help);
        }
        if words == "open" {
            import.note("mode='open' becomes mode route: nothing is filtered there");
        }
        if matches!(mode, "nat" | "nat-isolated" | "route") && ip.is_none() {
            import.wrong(node, "this mode needs an IPv4 address", "write <ip …> in the network");
        }
        Some(Self { node, ip, is_given: forward.is_some(), mode })
    }
}

impl Import<'_> {
    fn no_such_mode(&mut self, node: Node<'_, '_>, mode: &str) {
        let help = match mode {
            "private" => {
                "write mode='bridge' if guests may see one another, or mode='nat' and <port isolated='yes'/>"
            }
            "vepa" => "write mode='bridge': guests reach one another without the outer switch",
            "passthrough" => "write mode='bridge': guests share the device, as many as there are",
            "hostdev" => {
                "leave such guests as they are: the device is the guest's own, and nothing is switched"
            }
            other => &suggestion(other, &["nat", "route", "open", "bridge"]),
        };
        self.wrong(node, &format!("networks of mode {mode} have no equal here"), help);
    }

    pub(super) fn forward(&mut self, forward: &Forward<'_, '_>) {
        self.mode = forward.mode;
        self.set("mode", Some(forward.mode), forward.node);
        if matches!(forward.mode, "nat" | "nat-isolated" | "route" | "bridge") {
            self.set("uplink", Some(self.uplink), forward.node);
        }
        if !forward.is_given {
            return;
        }
        self.devices(forward.node);
        if let (Some(nat), Some(ip)) = (child(forward.node, "nat"), forward.ip) {
            self.nat(nat, ip, forward.mode);
        }
        self.others(forward.node, &["mode", "dev"], &["interface", "nat"]);
    }

    /// The first device that is named; libvirt gives each guest another one of several.
    fn devices(&mut self, node: Node<'_, '_>) {
        let mut names: Vec<&str> = node.attribute("dev").into_iter().collect();
        for interface in elements(node).filter(|child| own_name(*child) == Some("interface")) {
            let is_new = |name: &&str| names.len() < MAX_DEVICES && !names.contains(name);
            names.extend(interface.attribute("dev").filter(is_new));
            if interface.has_attribute("connections") {
                self.note("`connections` is left out: it counts who uses the network at the moment");
            }
            self.others(interface, &["dev", "connections"], &[]);
        }
        let bridge = node.parent().and_then(|root| child(root, "bridge")?.attribute("name"));
        self.device = match names.split_first() {
            Some((first, others)) => {
                for other in others {
                    self.note(format!("the device {other} is left out: an uplink has one, {first}"));
                }
                self.card(first)
            }
            None if self.mode == "bridge" => bridge.map(|name| Device::Bridge(name.to_owned())),
            None => None,
        };
    }

    /// `None` for a name that devices here can't have, aliases such as eth0:1 among them.
    fn card(&mut self, name: &str) -> Option<Device> {
        if name.len() <= 15 && name != "lo" && !name.contains(['/', ':', '%', '\\']) {
            return Some(Device::Card(name.to_owned()));
        }
        self.note(format!("the device {name} is left out: an uplink's is another than lo, and its name has 15 bytes without / and :"));
        None
    }

    /// Addresses and ports that NAT translates to, as rules.
    fn nat(&mut self, nat: Node<'_, '_>, ip: Node<'_, '_>, mode: &str) {
        if nat.attribute("ipv6") == Some("yes") {
            self.note("ipv6='yes' of <nat> is left out: IPv6 isn't translated");
        }
        self.others(nat, &["ipv6"], &["address", "port"]);
        if !matches!(mode, "nat" | "nat-isolated") {
            return self.note(format!("<nat> is left out: nothing is translated in mode {mode}"));
        }
        let addresses = child(nat, "address").map(|node| self.range::<Ipv4Addr>(node, "an IPv4 address"));
        let ports = child(nat, "port").map(|node| self.range::<u16>(node, "a port"));
        let (Some(subnet), false) = (super::address::subnet(ip), is_wrong(&addresses) || is_wrong(&ports))
        else {
            return;
        };
        let (addresses, ports) = (addresses.flatten(), ports.flatten());
        if addresses.is_none() && ports.as_deref().is_none_or(|ports| ports == USUAL_PORTS) {
            if ports.is_some() {
                self.note(
                    "the ports 1024-65535 of <nat> need no rule: they are the usual ones, with a guest's own below",
                );
            }
            return;
        }
        if let Some(addresses) = &addresses {
            self.note(format!("the outside must know the way to {addresses}: by the uplink's address"));
        }
        let out = format!("-A POSTROUTING -s {subnet} -o {}", self.uplink);
        let target = |with_ports: bool| match (&addresses, ports.as_ref().filter(|_| with_ports)) {
            (Some(to), None) => format!("-j SNAT --to-source {to}"),
            (Some(to), Some(ports)) => format!("-j SNAT --to-source {to}:{ports}"),
            (None, Some(ports)) => format!("-j MASQUERADE --to-ports {ports}"),
            (None, None) => "-j MASQUERADE".to_owned(),
        };
        let mut rules = vec![
            format!("{out} -d 224.0.0.0/24 -j RETURN"),
            format!("{out} -d 255.255.255.255/32 -j RETURN"),
        ];
        if ports.is_some() {
            rules.extend(
                ["tcp", "udp"].map(|protocol| format!("{out} ! -d {subnet} -p {protocol} {}", target(true))),
            );
        }
        rules.push(format!("{out} ! -d {subnet} {}", target(false)));
        let list: String = rules.iter().map(|rule| format!("    {},\n", quoted(rule))).collect();
        self.lines.push((format!("rules = [\n{list}]\n"), opening(nat)));
    }

    /// `FIRST-LAST`, or the first alone if it is the last as well; `None` is told.
    fn range<T>(&mut self, node: Node<'_, '_>, what: &str) -> Option<String>
    where
        T: std::str::FromStr + PartialOrd + ToString,
    {
        self.others(node, &["start", "end"], &[]);
        let (first, last) = (self.required::<T>(node, "start", what), self.required::<T>(node, "end", what));
        let (first, last) = first.zip(last)?;
        if first > last {
            self.wrong(
                node,
                &format!("<{}> ends before it begins", element_name(node)),
                "write the lower one first",
            );
            return None;
        }
        let (first, last, is_one) = (first.to_string(), last.to_string(), first == last);
        Some(if is_one { first } else { format!("{first}-{last}") })
    }
}

fn is_wrong(range: &Option<Option<String>>) -> bool {
    matches!(range, Some(None))
}

/// libvirt hands a guest one of them; an uplink has one.
const MAX_DEVICES: usize = 16;

/// What libvirt takes where the network doesn't say.
const USUAL_PORTS: &str = "1024-65535";

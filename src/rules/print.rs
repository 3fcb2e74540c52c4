//! Rules back as text, as `iptables-save` writes them: what is printed says the same when read.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddrV4;

use nat_engine::{AddressRange, Balance, Condition, PortList, PortRange, Target};

use super::words::quoted;
use super::{Edit, Line, Rule, chain_name};

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let chain = chain_name(self.chain);
        match &self.edit {
            Edit::Append(rule) => write!(f, "-A {chain} {rule}"),
            Edit::Insert(number, rule) => write!(f, "-I {chain} {number} {rule}"),
            Edit::Delete(rule) => write!(f, "-D {chain} {rule}"),
            Edit::DeleteNumber(number) => write!(f, "-D {chain} {number}"),
        }
    }
}

/// From `-s` to the end of the line.
impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let matches = &self.matches;
        condition(f, "-s", &matches.source, ToString::to_string)?;
        condition(f, "-d", &matches.destination, ToString::to_string)?;
        condition(f, "-i", &self.input, |name| quoted(name))?;
        condition(f, "-o", &self.output, |name| quoted(name))?;
        condition(f, "-p", &matches.protocol, ToString::to_string)?;
        let sides = [("s", &matches.source_ports), ("d", &matches.destination_ports)];
        for (side, ports) in sides {
            match ports.as_ref().map(|ports| ports.value.0.len()) {
                None => {}
                Some(1) => condition(f, &format!("--{side}port"), ports, port_list)?,
                Some(_) => {
                    f.write_str("-m multiport ")?;
                    condition(f, &format!("--{side}ports"), ports, port_list)?;
                }
            }
        }
        if let Some(comment) = &matches.comment {
            write!(f, "-m comment --comment {} ", quoted(comment))?;
        }
        write!(f, "-j {}", target_name(&self.target))?;
        let to = translation(&self.target);
        match (&self.target, to) {
            (_, None) => Ok(()),
            (Target::Snat { .. }, Some(to)) => write!(f, " --to-source {to}"),
            (Target::Dnat { .. } | Target::Balance(_), Some(to)) => write!(f, " --to-destination {to}"),
            (Target::Netmap(_), Some(to)) => write!(f, " --to {to}"),
            (_, Some(to)) => write!(f, " --to-ports {to}"),
        }
    }
}

/// The target's name.
pub fn target_name(target: &Target) -> &'static str {
    match target {
        Target::Accept => "ACCEPT",
        Target::Return => "RETURN",
        Target::Masquerade { .. } => "MASQUERADE",
        Target::Snat { .. } => "SNAT",
        Target::Dnat { .. } => "DNAT",
        Target::Redirect { .. } => "REDIRECT",
        Target::Netmap(_) => "NETMAP",
        Target::Balance(_) => "BALANCE",
    }
}

/// What the target translates to, where it says so: addresses, ports, or both with a colon between them.
pub fn translation(target: &Target) -> Option<String> {
    match target {
        Target::Accept | Target::Return => None,
        Target::Masquerade { ports } | Target::Redirect { ports } => ports.map(new_ports),
        Target::Snat { addresses, ports } => Some(new_sockets(*addresses, *ports)),
        Target::Dnat { addresses, ports, base } => {
            let base = base.map(|base| format!("/{base}")).unwrap_or_default();
            Some(new_sockets(*addresses, *ports) + &base)
        }
        Target::Netmap(network) => Some(network.to_string()),
        Target::Balance(Balance { servers, backups }) if backups.is_empty() => Some(sockets(servers)),
        Target::Balance(Balance { servers, backups }) => {
            Some(format!("{} backup:{}", sockets(servers), sockets(backups)))
        }
    }
}

/// Ports of a condition: `80`, `1000:2000`, with commas between several.
pub fn port_list(ports: &PortList) -> String {
    let range = |&(first, last): &PortRange| match first == last {
        true => first.to_string(),
        false => format!("{first}:{last}"),
    };
    ports.0.iter().map(range).collect::<Vec<_>>().join(",")
}

fn sockets(sockets: &[SocketAddrV4]) -> String {
    sockets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn address_range(AddressRange { first, last }: AddressRange) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn new_sockets(addresses: AddressRange, ports: Option<PortRange>) -> String {
    match ports {
        Some(ports) => format!("{}:{}", address_range(addresses), new_ports(ports)),
        None => address_range(addresses),
    }
}

fn new_ports((first, last): PortRange) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn condition<T>(
    f: &mut Formatter<'_>,
    option: &str,
    condition: &Option<Condition<T>>,
    text: impl Fn(&T) -> String,
) -> fmt::Result {
    let Some(Condition { value, negated }) = condition else { return Ok(()) };
    write!(f, "{}{option} {} ", if *negated { "! " } else { "" }, text(value))
}

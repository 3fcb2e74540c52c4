//! `KEY=VALUE`: which entries of a table are meant.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use engine::report::{FdbReport, FlowView, NeighbourReport};
use packet::{Ipv4Cidr, Ipv6Cidr, MacAddr, NetworkId, PortId, Protocol};

use crate::config::Plan;
use crate::mistake::suggestion;
use crate::show::select::Filter;

/// Whether an entry is meant.
pub type Choice<T> = Box<dyn Fn(&T) -> bool>;

/// Why a filter makes no sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilterError {
    /// A key or a value can't be understood: what is wrong, and what to write.
    Wrong(String),
    /// Something isn't there.
    Missing(String),
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Wrong(text) | Self::Missing(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for FilterError {}

/// Entries of the FDB: `network`, `port`, `mac`, `vlan`.
///
/// # Errors
/// A key, a value or a name is wrong.
pub fn fdb(filter: &Filter, plan: &Plan) -> Result<Choice<FdbReport>, FilterError> {
    all(filter, &["network", "port", "mac", "vlan"], |key, value| {
        Ok(match key {
            "network" => {
                let network = network(value, plan)?;
                Box::new(move |entry: &FdbReport| entry.network == network)
            }
            "port" => {
                let ports = ports(value, plan)?;
                Box::new(move |entry: &FdbReport| ports.contains(&entry.port))
            }
            "mac" => {
                let mac = mac(value)?;
                Box::new(move |entry: &FdbReport| entry.mac == mac)
            }
            _ => {
                let vlan: u16 = value.parse().map_err(|_| wrong(key, value, "a number, such as 1"))?;
                Box::new(move |entry: &FdbReport| entry.vid.get() == vlan)
            }
        })
    })
}

/// What [`flows`] knows of.
pub const FLOW_KEYS: [&str; 6] = ["protocol", "state", "source", "destination", "address", "network"];

/// Flows: `protocol`, `state`, `source` and `destination` of the original direction, `address` at any end, `network`
/// that one of the ends is in.
///
/// # Errors
/// A key, a value or a name is wrong.
pub fn flows(filter: &Filter, plan: &Plan) -> Result<Choice<FlowView>, FilterError> {
    all(filter, &FLOW_KEYS, |key, value| {
        Ok(match key {
            "protocol" => {
                let protocol = protocol(value)?;
                Box::new(move |flow: &FlowView| flow.original.protocol() == protocol)
            }
            "state" => {
                let state = value.to_owned();
                Box::new(move |flow: &FlowView| flow.state == state)
            }
            "source" => {
                let end = End::parse(key, value)?;
                Box::new(move |flow: &FlowView| end.is(flow.original.source()))
            }
            "destination" => {
                let end = End::parse(key, value)?;
                Box::new(move |flow: &FlowView| end.is(flow.original.destination()))
            }
            "address" => End::parse(key, value)?.anywhere(),
            _ => {
                let id = network(value, plan)?;
                let interface = plan.runtime.networks.get(id.index()).and_then(|n| n.interface.as_ref());
                let missing = || FilterError::Missing(format!("network {value} has no addresses"));
                End { net: interface.ok_or_else(missing)?.address, port: None }.anywhere()
            }
        })
    })
}

/// Neighbours: `network`, `address`, `mac`.
///
/// # Errors
/// A key, a value or a name is wrong.
pub fn neighbours(filter: &Filter, plan: &Plan) -> Result<Choice<NeighbourReport>, FilterError> {
    all(filter, &["network", "address", "mac"], |key, value| {
        Ok(match key {
            "network" => {
                let network = network(value, plan)?;
                Box::new(move |entry: &NeighbourReport| entry.network == network)
            }
            "address" => {
                let net = Net::parse(key, value)?;
                Box::new(move |entry: &NeighbourReport| net.contains(entry.address))
            }
            _ => {
                let mac = mac(value)?;
                Box::new(move |entry: &NeighbourReport| entry.mac == Some(mac))
            }
        })
    })
}

/// An entry that all keys choose.
fn all<T: 'static>(
    filter: &Filter,
    keys: &[&str],
    choice: impl Fn(&str, &str) -> Result<Choice<T>, FilterError>,
) -> Result<Choice<T>, FilterError> {
    let one = |(key, value): (&String, &String)| {
        if !keys.contains(&key.as_str()) {
            let message = format!("`{key}` is no key to filter by; {}", suggestion(key, keys));
            return Err(FilterError::Wrong(message));
        }
        choice(key, value)
    };
    let choices = filter.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move |entry| choices.iter().all(|choice| choice(entry))))
}

/// An address, or some, and perhaps a port.
#[derive(Clone, Copy)]
struct End {
    net: Ipv4Cidr,
    port: Option<u16>,
}

impl End {
    fn parse(key: &str, value: &str) -> Result<Self, FilterError> {
        let wrong = || wrong(key, value, "192.168.122.10, 192.168.122.10:443 or 192.168.122.0/24");
        let (address, port) = match value.split_once(':') {
            Some((address, port)) => (address, Some(port.parse().map_err(|_| wrong())?)),
            None => (value, None),
        };
        let single = || Ipv4Cidr::new(address.parse::<Ipv4Addr>().ok()?, 32);
        let net = address.parse().ok().or_else(single).ok_or_else(wrong)?;
        Ok(Self { net, port })
    }

    fn is(self, end: SocketAddrV4) -> bool {
        self.net.contains(*end.ip()) && self.port.is_none_or(|port| port == end.port())
    }

    fn anywhere(self) -> Choice<FlowView> {
        Box::new(move |flow| {
            [flow.original, flow.reply]
                .iter()
                .any(|tuple| self.is(tuple.source()) || self.is(tuple.destination()))
        })
    }
}

/// An address, or some, of either family.
#[derive(Clone, Copy)]
enum Net {
    V4(Ipv4Cidr),
    V6(Ipv6Cidr),
}

impl Net {
    fn parse(key: &str, value: &str) -> Result<Self, FilterError> {
        if !value.contains("::") && value.matches(':').count() < 2 {
            return End::parse(key, value).map(|end| Self::V4(end.net));
        }
        let single = || Ipv6Cidr::new(value.parse().ok()?, 128);
        let net = value.parse().ok().or_else(single);
        net.map(Self::V6).ok_or_else(|| wrong(key, value, "fd00:1::10 or fd00:1::/64"))
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(net), IpAddr::V4(address)) => net.contains(address),
            (Self::V6(net), IpAddr::V6(address)) => net.contains(address),
            _ => false,
        }
    }
}

fn wrong(key: &str, value: &str, example: &str) -> FilterError {
    FilterError::Wrong(format!("`{key}` can't be `{value}`; write {example}"))
}

fn mac(value: &str) -> Result<MacAddr, FilterError> {
    value.parse().map_err(|_| wrong("mac", value, "52:54:00:12:34:56"))
}

fn protocol(value: &str) -> Result<Protocol, FilterError> {
    let known = (0..=u8::MAX).map(Protocol).find(|known| known.to_string() == value);
    known
        .or_else(|| value.parse().ok().map(Protocol))
        .ok_or_else(|| wrong("protocol", value, "tcp, udp, icmp or a number"))
}

fn network(value: &str, plan: &Plan) -> Result<NetworkId, FilterError> {
    let missing =
        || FilterError::Missing(format!("there is no network {value}; see `tapswitch show networks`"));
    plan.network_id(value).ok_or_else(missing)
}

/// `PORT`, in whatever network, or `NETWORK/PORT`.
fn ports(value: &str, plan: &Plan) -> Result<Vec<PortId>, FilterError> {
    let (place, name) = value.split_once('/').map_or((None, value), |(network, name)| (Some(network), name));
    let is_meant = |port: &&engine::PortConfig| {
        port.name == name && place.is_none_or(|place| plan.network_name(port.network) == place)
    };
    let found: Vec<PortId> = plan.runtime.ports.iter().filter(is_meant).map(|port| port.id).collect();
    if found.is_empty() {
        return Err(FilterError::Missing(format!("there is no port {value}; see `tapswitch show ports`")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use nat_engine::Tuple;

    use super::*;

    fn filter(pairs: &[(&str, &str)]) -> Filter {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn flow() -> FlowView {
        let at = |text: &str| -> SocketAddrV4 { text.parse().unwrap() };
        FlowView {
            original: Tuple::new(Protocol::TCP, at("192.168.122.10:5000"), at("203.0.113.1:443")),
            reply: Tuple::new(Protocol::TCP, at("203.0.113.1:443"), at("10.0.0.1:5000")),
            state: "established",
            ..FlowView::default()
        }
    }

    #[test]
    fn a_flow_is_chosen_by_all_keys_together() {
        let chooses = |pairs: &[_]| flows(&filter(pairs), &Plan::default()).unwrap()(&flow());
        for pairs in [
            &[][..],
            &[("protocol", "tcp"), ("state", "established")],
            &[("protocol", "6"), ("source", "192.168.122.0/24")],
            &[("destination", "203.0.113.1:443")],
            &[("address", "10.0.0.1")],
        ] {
            assert!(chooses(pairs), "{pairs:?}");
        }
        for pairs in [
            &[("protocol", "udp")][..],
            &[("protocol", "tcp"), ("source", "192.168.122.11")],
            &[("destination", "203.0.113.1:80")],
            &[("address", "10.0.0.2")],
        ] {
            assert!(!chooses(pairs), "{pairs:?}");
        }
    }

    #[test]
    fn a_neighbour_is_chosen_by_an_address_of_its_family() {
        let chooses = |value: &str, address: &str| {
            let report =
                NeighbourReport { network: NetworkId::new(0), address: address.parse().unwrap(), mac: None };
            neighbours(&filter(&[("address", value)]), &Plan::default()).unwrap()(&report)
        };
        assert!(chooses("fd00:1::/64", "fd00:1::9") && chooses("fd00:1::9", "fd00:1::9"));
        assert!(!chooses("fd00:1::/64", "fd00:2::9") && !chooses("::/0", "10.0.0.1"));
        assert!(chooses("10.0.0.0/8", "10.0.0.1") && !chooses("0.0.0.0/0", "fd00:1::9"));
        assert!(neighbours(&filter(&[("address", "fd00:1::/129")]), &Plan::default()).is_err());
    }

    #[test]
    fn a_wrong_key_value_or_name_is_told_with_what_to_write() {
        let plan = Plan::default();
        let fdb = |key, value| fdb(&filter(&[(key, value)]), &plan).err().unwrap();
        let flows = |key, value| flows(&filter(&[(key, value)]), &plan).err().unwrap();
        for (error, help) in [
            (fdb("prot", "vm1"), "write `port`"),
            (fdb("mac", "52:54"), "write 52:54:00:12:34:56"),
            (flows("address", "10.0.0.0/33"), "write 192.168.122.10"),
            (flows("source", "10.0.0.1:http"), "write 192.168.122.10"),
            (flows("protocol", "tpc"), "write tcp"),
        ] {
            assert!(matches!(&error, FilterError::Wrong(text) if text.contains(help)), "{error}");
        }
        assert!(matches!(fdb("network", "lan"), FilterError::Missing(_)));
        assert!(matches!(fdb("port", "lan/vm1"), FilterError::Missing(_)));
    }
}

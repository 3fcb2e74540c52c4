//! Ports that come and go while the switch runs. The file stays as it is: a reload returns to it.

use std::error::Error;
use std::fmt;

use engine::{NetworkConfig, PortConfig, Reach};
use packet::{Ipv4Cidr, PortId};
use tapio::{PortSpec, TapConfig};

use super::checked::Port;
use super::load;
use super::origin::Edit;
use super::plan::Plan;
use crate::mistake::Mistakes;
use crate::rules::{self, EditError, Line};

/// Why a port can't be added or deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChangeError {
    /// The port's keys have mistakes.
    Wrong(Mistakes),
    /// There is no such network.
    NoSuchNetwork {
        /// What was asked for.
        place: String,
        /// The networks that there are.
        known: Vec<String>,
    },
    /// The port is there already.
    Exists,
    /// There is no such port.
    NoSuchPort {
        /// The ports of the network.
        known: Vec<String>,
    },
    /// Something that one port only can have is another's.
    Taken {
        /// What it is.
        what: String,
        /// Whose it is.
        port: String,
    },
    /// There are as many ports as there are numbers for them.
    TooMany,
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(mistakes) => f.write_str(&mistakes.render(false)),
            Self::NoSuchNetwork { place, known } => {
                write!(
                    f,
                    "{place:?} is no port of a network; write NETWORK/PORT with one of: {}",
                    known.join(", ")
                )
            }
            Self::Exists => f.write_str("this port is there already; write another name, or delete it first"),
            Self::NoSuchPort { known } if known.is_empty() => f.write_str("this network has no ports"),
            Self::NoSuchPort { known } => {
                write!(f, "there is no such port; write one of: {}", known.join(", "))
            }
            Self::Taken { what, port } => write!(f, "{what} is port {port}'s already; write another"),
            Self::TooMany => write!(f, "there are {} ports already; delete one first", PortId::LIMIT),
        }
    }
}

impl Error for ChangeError {}

/// Why a NAT rule can't be added or deleted.
#[derive(Debug)]
pub enum RuleError {
    /// The line has mistakes.
    Wrong(Mistakes),
    /// There is no such rule, or no room for one.
    Refused(EditError),
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(mistakes) => f.write_str(&mistakes.render(false)),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl Error for RuleError {}

impl ChangeError {
    /// Whether it names what isn't there.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::NoSuchNetwork { .. } | Self::NoSuchPort { .. })
    }
}

impl Plan {
    /// This plan with one more port at `place`, `NETWORK/PORT`, which has these `keys`, lines of TOML as in the file.
    ///
    /// # Errors
    /// The keys have mistakes, or something is taken already.
    pub fn with_port(&self, place: &str, keys: &str) -> Result<Self, ChangeError> {
        let ids = (0..PortId::LIMIT as u16).filter_map(PortId::new);
        let mut free = ids.filter(|&id| self.port(id).is_none());
        self.with_port_as(place, keys, free.next())
    }

    /// As [`with_port`](Self::with_port), with this number; `None`: there is none left.
    pub(super) fn with_port_as(
        &self,
        place: &str,
        keys: &str,
        id: Option<PortId>,
    ) -> Result<Self, ChangeError> {
        let (network, name) = self.network_and_name(place)?;
        let mut ports = self.ports_of(network);
        if ports.any(|port| port.name == name) {
            return Err(ChangeError::Exists);
        }
        let mtu = self.settings.network_mtu(&network.name).and_then(|mtu| mtu.parse().ok());
        let port = load::port(name, keys, network, mtu).map_err(ChangeError::Wrong)?;
        self.check_free(network, &port)?;
        let id = id.ok_or(ChangeError::TooMany)?;
        let mut plan = self.clone();
        plan.origin.add(Edit::PortAdd { place: place.to_owned(), keys: keys.to_owned(), id: id.get() });
        plan.settings.add_port(&network.name, name, keys);
        plan.runtime.ports.push(port.runtime(id, network.id));
        plan.devices.push((id, port.device));
        plan.devices.sort_by_key(|(id, _)| *id);
        plan.runtime.ports.sort_by_key(|port| port.id);
        Ok(plan)
    }

    /// This plan without the port at `place`, `NETWORK/PORT`.
    ///
    /// # Errors
    /// There is no such port.
    pub fn without_port(&self, place: &str) -> Result<Self, ChangeError> {
        let (network, name) = self.network_and_name(place)?;
        let Some(id) = self.ports_of(network).find(|port| port.name == name).map(|port| port.id) else {
            let known = self.ports_of(network).map(|port| port.name.clone()).collect();
            return Err(ChangeError::NoSuchPort { known });
        };
        let mut plan = self.clone();
        plan.origin.add(Edit::PortDel { place: place.to_owned() });
        plan.settings.remove_port(&network.name, name);
        plan.devices.retain(|(device, _)| *device != id);
        plan.runtime.ports.retain(|port| port.id != id);
        Ok(plan)
    }

    /// This plan with a NAT rule more or less, what the line says, and the rule's number.
    ///
    /// # Errors
    /// The line has a mistake, or can't be done.
    pub fn with_rule(&self, text: &str) -> Result<(Self, Line, usize), RuleError> {
        let wrong = |mistake| RuleError::Wrong(Mistakes::new("rule", text, vec![mistake]));
        let line = rules::parse(text, &self.interfaces()).map_err(wrong)?;
        let mut plan = self.clone();
        let number = line.apply(&mut plan.runtime.rules, |name| self.network_id(name));
        let number = number.map_err(RuleError::Refused)?;
        plan.settings.add_rule_change(&line.to_string());
        plan.origin.add(Edit::Nat { line: line.numbered(number).to_string() });
        Ok((plan, line, number))
    }

    fn network_and_name<'a>(&self, place: &'a str) -> Result<(&NetworkConfig, &'a str), ChangeError> {
        let is_network =
            |network: &&NetworkConfig| !network.name.is_empty() && !matches!(network.reach, Reach::Uplink(_));
        let mut networks = self.runtime.networks.iter().filter(is_network);
        let found = place
            .split_once('/')
            .and_then(|(network, port)| Some((networks.clone().find(|known| known.name == network)?, port)));
        found.ok_or_else(|| ChangeError::NoSuchNetwork {
            place: place.to_owned(),
            known: networks.by_ref().map(|network| network.name.clone()).collect(),
        })
    }

    fn ports_of(&self, network: &NetworkConfig) -> impl Iterator<Item = &PortConfig> {
        let id = network.id;
        self.runtime.ports.iter().filter(move |port| port.network == id)
    }

    /// Nothing that `port` needs for itself is another port's.
    fn check_free(&self, network: &NetworkConfig, port: &Port) -> Result<(), ChangeError> {
        let taken =
            |what: String, other: PortId| Err(ChangeError::Taken { what, port: self.place_of(other) });
        for (id, spec) in &self.devices {
            if spec.collides(&port.device) {
                return taken(port.device.device().into_owned(), *id);
            }
        }
        for other in self.ports_of(network) {
            if let Some(mac) =
                port.settings.static_macs.iter().find(|mac| other.settings.static_macs.contains(mac))
            {
                return taken(mac.to_string(), other.id);
            }
            if let (Some(theirs), Some(ours)) =
                (self.spec(other.id).and_then(peer_address), peer_address(&port.device))
                && theirs.address() == ours.address()
            {
                return taken(ours.address().to_string(), other.id);
            }
        }
        Ok(())
    }
}

/// The address that the other side of a tap is given.
fn peer_address(spec: &PortSpec) -> Option<Ipv4Cidr> {
    spec.of::<TapConfig>()?.peer_address
}

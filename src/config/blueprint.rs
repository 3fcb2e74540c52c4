//! What a plan was made of, so that another process makes the same one: it reads no file and asks no host.
//!
//! ```text
//! text, name servers ─▶ Config ─ numbers ─▶ Plan ─ edits ─▶ Plan ─ hosts, MTUs ─▶ the same Plan
//! ```

use std::net::Ipv4Addr;
use std::sync::Arc;

use packet::{Ipv4Cidr, MacAddr, PortId};
use serde::{Deserialize, Serialize};

use super::checked::Config;
use super::plan::Plan;
use super::shared::HostAddress;

/// The text that a configuration was read from, and what it took from the host.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Source {
    /// What messages call it.
    pub(super) name: String,
    pub(super) text: String,
    /// Offered by DHCP on networks that name none.
    pub(super) name_servers: Vec<Ipv4Addr>,
}

/// The numbers of networks, and of ports by network and name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Numbers {
    pub(super) networks: Vec<(String, u16)>,
    pub(super) ports: Vec<(String, String, u16)>,
}

/// A change that is in no file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Edit {
    PortAdd {
        place: String,
        keys: String,
        id: u16,
    },
    PortDel {
        place: String,
    },
    /// With the number of the rule, whatever it was written with.
    Nat {
        line: String,
    },
}

/// How a plan came about. That is no part of what it says.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    source: Arc<Source>,
    numbers: Arc<Numbers>,
    edits: Vec<Edit>,
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

/// What another process makes the same plan of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Blueprint {
    source: Source,
    numbers: Numbers,
    edits: Vec<Edit>,
    /// What the hosts of shared uplinks have, in the plan's order.
    hosts: Vec<Option<Host>>,
    /// Of ports whose device decides.
    mtus: Vec<(u16, u16)>,
}

/// Address, prefix length, router, and MAC address.
type Host = ((Ipv4Addr, u8), Option<Ipv4Addr>, [u8; 6]);

impl Origin {
    pub(super) fn new(source: Arc<Source>, numbers: Numbers) -> Self {
        Self { source, numbers: Arc::new(numbers), edits: Vec::new() }
    }

    /// A port was added and deleted again as if it had never been.
    pub(super) fn add(&mut self, edit: Edit) {
        let is_undone = |other: &Edit| matches!((other, &edit), (Edit::PortAdd { place: a, .. }, Edit::PortDel { place: b }) if a == b);
        match self.edits.iter().rposition(is_undone) {
            Some(place) => drop(self.edits.remove(place)),
            None => self.edits.push(edit),
        }
    }
}

impl Plan {
    /// What another process makes the same plan of.
    pub fn blueprint(&self) -> Blueprint {
        let Origin { source, numbers, edits } = &self.origin;
        let host = |host: HostAddress| {
            let address = (host.address.address(), host.address.prefix_len());
            (address, host.gateway, host.mac.octets())
        };
        let own = self.devices.iter().filter(|(_, spec)| spec.has_own_mtu());
        Blueprint {
            source: Source::clone(source),
            numbers: Numbers::clone(numbers),
            edits: edits.clone(),
            hosts: self.shared.iter().map(|uplink| uplink.host.map(host)).collect(),
            mtus: own.map(|(id, _)| (id.get(), self.port_mtu(*id))).collect(),
        }
    }
}

impl Blueprint {
    /// The plan.
    ///
    /// # Errors
    /// It is none that this version understands.
    pub fn plan(self) -> Result<Plan, Box<dyn std::error::Error + Send + Sync>> {
        let Self { source, numbers, edits, hosts, mtus } = self;
        let config = Config::parse(&source.name, &source.text, &source.name_servers)?;
        let mut plan = Plan::numbered(&config, &numbers);
        for edit in &edits {
            plan = match edit {
                Edit::PortAdd { place, keys, id } => plan.with_port_as(place, keys, PortId::new(*id))?,
                Edit::PortDel { place } => plan.without_port(place)?,
                Edit::Nat { line } => plan.with_rule(line)?.0,
            };
        }
        let host = |(address, gateway, mac): Host| {
            let address = Ipv4Cidr::new(address.0, address.1)?;
            Some(HostAddress { address, gateway, mac: MacAddr::new(mac) })
        };
        let hosts: Vec<_> = hosts.into_iter().map(|found| found.and_then(host)).collect();
        plan.set_hosts(&hosts);
        for (id, mtu) in mtus.into_iter().filter_map(|(id, mtu)| Some((PortId::new(id)?, mtu))) {
            plan.runtime.set_mtu(id, mtu);
        }
        Ok(plan)
    }
}

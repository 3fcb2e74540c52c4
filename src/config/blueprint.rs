//! What a plan was made of, so that another process makes the same one: it reads no file and asks no host.
//!
//! ```text
//! text, name servers ─▶ Config ─ numbers ─▶ Plan ─ edits ─▶ Plan ─ hosts, MTUs ─▶ the same Plan
//! ```

use std::net::Ipv4Addr;

use packet::{Ipv4Cidr, MacAddr, PortId};
use serde::{Deserialize, Serialize};

use super::checked::Config;
use super::origin::{Edit, Numbers, Origin, Source};
use super::plan::Plan;
use super::shared::HostAddress;

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

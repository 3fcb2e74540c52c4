//! What several networks share: names, the addresses of the switch, the ports of an uplink.

use std::collections::HashSet;

use packet::{Ipv4Cidr, PortId};

use super::super::balance::Listen;
use super::super::file::FileConfig;
use super::super::mistake::Mistake;
use super::Check;

impl Check<'_> {
    pub(super) fn shared(&mut self) {
        self.names();
        self.devices();
        self.subnets();
        self.published_ports();
    }

    /// There are few enough networks and ports for identifiers, and for comparing each with each.
    pub(super) fn numbers(&self) -> Result<(), Vec<Mistake>> {
        let FileConfig { networks, uplinks, .. } = self.file;
        let segments = networks.len() + uplinks.len();
        let ports = networks.iter().map(|network| network.ports.len()).sum::<usize>() + uplinks.len();
        let balances = networks.iter().flat_map(|network| &network.balances);
        let servers = balances.map(|section| section.all().count()).sum();
        let limits = [
            (segments, PortId::LIMIT, "networks and uplinks"),
            (ports, PortId::LIMIT, "ports"),
            (servers, MAX_SERVERS, "servers to balance"),
        ];
        for (count, limit, what) in limits {
            if count > limit {
                let help = format!("write {limit} at most");
                return Err(vec![Mistake::new(0..0, format!("{count} {what} are too many"), help)]);
            }
        }
        Ok(())
    }

    fn names(&mut self) {
        let networks: HashSet<&str> =
            self.file.networks.iter().map(|table| table.name.get_ref().as_str()).collect();
        for name in self.file.uplinks.iter().map(|table| &table.name) {
            if networks.contains(name.get_ref().as_str()) {
                let message = format!("`{}` is a network's name too", name.get_ref());
                self.wrong(name.span(), message, "write another name for the uplink");
            }
        }
    }

    fn subnets(&mut self) {
        let file = self.file;
        let networks = file.networks.iter().map(|table| (table.name.get_ref(), &table.address));
        let uplinks = file.uplinks.iter().map(|table| (table.name.get_ref(), &table.address));
        let mut seen: Vec<(&String, Ipv4Cidr)> = Vec::new();
        for (name, address) in networks.chain(uplinks) {
            let Some(address) = address else { continue };
            let subnet = *address.get_ref();
            if let Some((other, theirs)) = seen.iter().find(|(_, theirs)| theirs.overlaps(subnet)) {
                let message = format!("{subnet} overlaps {theirs} of `{other}`");
                self.wrong(address.span(), message, "write an address of a subnet of its own");
            }
            seen.push((name, subnet));
        }
    }

    fn published_ports(&mut self) {
        let mut seen = HashSet::new();
        let uplinks = &self.file.uplinks;
        for network in &self.file.networks {
            for publish in network.publish.iter().flat_map(|list| list.get_ref()) {
                let uplink = network.uplink.as_ref().map(|uplink| uplink.get_ref().as_str());
                let port = publish.get_ref().outside_port;
                if !seen.insert((uplink, None, port, publish.get_ref().protocol)) {
                    let message = format!("port {port} of the uplink is published already");
                    self.mistakes.push(Mistake::new(publish.span(), message, "write another uplink port"));
                }
            }
            for listen in network.balances.iter().filter_map(|section| section.listen.as_ref()) {
                let name = network.uplink.as_ref().map(|uplink| uplink.get_ref().as_str());
                let &Listen { address, port, protocol } = listen.get_ref();
                let uplink = uplinks.iter().find(|uplink| Some(uplink.name.get_ref().as_str()) == name);
                let own = uplink.and_then(|uplink| Some(uplink.address.as_ref()?.get_ref().address()));
                if !seen.insert((name, address.filter(|_| address != own), port, protocol)) {
                    let message = format!("port {port} is published already");
                    self.mistakes.push(Mistake::new(listen.span(), message, "write another port"));
                }
            }
        }
    }
}

/// Each that is silent is looked for by ARP all the time; at most half of the places for that are theirs.
const MAX_SERVERS: usize = 128;

//! What several networks share: names, the addresses of the switch, the ports of an uplink.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;

use nat_engine::PortRange;
use packet::{Ipv4Cidr, PortId, Protocol};

use super::super::balance::Listen;
use super::super::file::FileConfig;
use super::super::publish::Publish;
use super::super::table::{Given, GivenList};
use super::Check;
use crate::mistake::Mistake;

impl Check<'_> {
    pub(super) fn shared(&mut self) {
        self.names();
        self.devices();
        self.subnets();
        self.prefixes();
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
        let mut taken = Taken::default();
        let uplinks = &self.file.uplinks;
        for network in &self.file.networks {
            let name = network.uplink.value().map(|uplink| uplink.as_str());
            let uplink = uplinks.iter().find(|uplink| Some(uplink.name.get_ref().as_str()) == name);
            let own = uplink.and_then(|uplink| Some(uplink.address.as_ref()?.get_ref().address()));
            let other = |address: Option<Ipv4Addr>| address.filter(|address| Some(*address) != own);
            for publish in network.publish.each() {
                let &Publish { address, outside, protocol, .. } = publish.get_ref();
                if let Some(port) = taken.take((name, other(address), protocol), outside) {
                    let what = other(address).map_or("the uplink".to_owned(), |address| address.to_string());
                    let message = format!("port {port} of {what} is published already");
                    self.mistakes.push(Mistake::new(publish.span(), message, "write another uplink port"));
                }
            }
            for listen in network.balances.iter().filter_map(|section| section.listen.as_ref()) {
                let &Listen { address, port, protocol } = listen.get_ref();
                if taken.take((name, other(address), protocol), (port, port)).is_some() {
                    let message = format!("port {port} is published already");
                    self.mistakes.push(Mistake::new(listen.span(), message, "write another port"));
                }
            }
        }
    }
}

/// Ports that are published: of each uplink, address (if it isn't the uplink's own) and protocol, the ranges by their
/// first port. They don't overlap.
#[derive(Default)]
struct Taken<'a>(HashMap<Outside<'a>, BTreeMap<u16, u16>>);

type Outside<'a> = (Option<&'a str>, Option<Ipv4Addr>, Protocol);

impl<'a> Taken<'a> {
    /// Notes a range, or says which port of it is taken already.
    fn take(&mut self, of: Outside<'a>, range: PortRange) -> Option<u16> {
        let (first, last) = range;
        let ranges = self.0.entry(of).or_default();
        let nearest = ranges.range(..=last).next_back();
        let taken = nearest.filter(|(_, end)| **end >= first).map(|(start, _)| first.max(*start));
        if taken.is_none() {
            ranges.insert(first, last);
        }
        taken
    }
}

/// Each that is silent is looked for by ARP all the time; at most half of the places for that are theirs.
const MAX_SERVERS: usize = 128;

//! Servers that share an outside port: where they are, and that two sections don't contradict each other.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddrV4;

use engine::{CheckConfig, CheckKind};
use packet::{Ipv4Cidr, Millis, Protocol};
use toml::Spanned;

use super::super::balance::BalanceTable;
use super::super::checked::{Balanced, Mode};
use super::super::file::{ModeName, NetworkTable};
use super::super::shared::host_placeholder;
use super::super::table::{Given, GivenList};
use super::Check;

impl Check<'_> {
    /// The sections of a network.
    pub(super) fn balanced(&mut self, table: &NetworkTable, mode: Mode) -> Vec<Balanced> {
        let Mode::Nat { uplink, .. } = mode else {
            for section in &table.balances {
                let help = "write mode = \"nat\" in the network, or remove the section";
                let message = "only networks of modes nat and nat-isolated balance connections";
                self.wrong(section.name.span(), message, help);
            }
            return Vec::new();
        };
        table.balances.iter().filter_map(|section| self.balance(table, section, uplink)).collect()
    }

    fn balance(&mut self, table: &NetworkTable, section: &BalanceTable, uplink: usize) -> Option<Balanced> {
        if section.servers.as_ref().is_none_or(|servers| servers.get_ref().is_empty()) {
            let help = "write servers = [\"ADDRESS:PORT\", …]";
            self.wrong(section.place(), "there is no server", help);
        }
        let mut seen = HashSet::new();
        for server in section.all() {
            self.reachable(table, server);
            if !seen.insert(*server.get_ref()) {
                let message = format!("{} is a server of this section already", server.get_ref());
                self.wrong(server.span(), message, "remove one of the two");
            }
        }
        let listen = section.listen.as_ref()?.get_ref();
        let table = &self.file.uplinks[uplink];
        let own = table.address.value().map(|address| address.address());
        let own = own.or_else(|| table.host_address.as_ref().map(|_| host_placeholder(uplink)));
        let sockets = |list: &Option<Spanned<Vec<Spanned<SocketAddrV4>>>>| list.values();
        Some(Balanced {
            name: section.name.get_ref().clone(),
            protocol: listen.protocol,
            listen: SocketAddrV4::new(listen.address.or(own)?, listen.port),
            servers: sockets(&section.servers),
            backups: sockets(&section.backup),
            check: check_of(section, listen.protocol),
        })
    }

    /// A server is on a network that connections of this one may be translated to, or beyond an uplink.
    fn reachable(&mut self, table: &NetworkTable, server: &Spanned<SocketAddrV4>) {
        let address = *server.get_ref().ip();
        let file = self.file;
        let in_it = |own: &&Spanned<Ipv4Cidr>| own.get_ref().contains(address);
        let network = file.networks.iter().find(|network| network.address.as_ref().filter(in_it).is_some());
        if let Some(network) = network {
            let is_routed = network.mode.as_ref().is_some_and(|mode| {
                matches!(mode.get_ref(), ModeName::Nat | ModeName::NatIsolated | ModeName::Route)
            });
            let uplink = |of: &NetworkTable| of.uplink.value().cloned();
            if !is_routed || uplink(network) != uplink(table) {
                let message = format!("{address} is of `{}`, which can't be reached", network.name.get_ref());
                self.wrong(server.span(), message, "write a server of a network that has the same uplink");
                return;
            }
        }
        let uplinks = file.uplinks.iter().filter_map(|uplink| uplink.address.as_ref());
        let networks = network.and_then(|network| network.address.as_ref());
        if let Some(own) = networks.into_iter().chain(uplinks).find(in_it) {
            self.neighbour_of(*own.get_ref(), server.span(), address, "the server");
        }
    }

    /// What concerns the sections of all networks.
    pub(super) fn balances(&mut self) {
        let file = self.file;
        let mut checks: HashMap<(Protocol, SocketAddrV4), (&str, Option<CheckConfig>)> = HashMap::new();
        for section in file.networks.iter().flat_map(|network| &network.balances) {
            let Some(protocol) = section.listen.value().map(|listen| listen.protocol) else {
                continue;
            };
            let check = check_of(section, protocol);
            for server in section.all() {
                let key = (protocol, *server.get_ref());
                let &mut (name, first) = checks.entry(key).or_insert((section.name.get_ref(), check));
                if first != check {
                    let message = format!("section `{name}` checks this server in another way");
                    let help = "write the same check, interval, failures and successes in both sections";
                    self.wrong(server.span(), message, help);
                }
            }
        }
    }
}

fn check_of(section: &BalanceTable, protocol: Protocol) -> Option<CheckConfig> {
    let default = if protocol == Protocol::TCP { CheckKind::Tcp } else { CheckKind::Icmp };
    let kind = section.check.as_ref().map_or(Some(default), |check| *check.get_ref())?;
    Some(CheckConfig {
        kind,
        interval: Millis::from_secs(section.interval.value_or(INTERVAL).into()),
        failures: section.failures.value_or(FAILURES) as u8,
        successes: section.successes.value_or(SUCCESSES) as u8,
    })
}

/// In seconds: a dead server is found within three of them.
const INTERVAL: u32 = 2;
/// One packet may get lost.
const FAILURES: u32 = 2;
/// One that flaps has to be there for a while.
const SUCCESSES: u32 = 2;

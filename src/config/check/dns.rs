//! Whether a network has a DNS forwarder, and what that is told.

use std::net::Ipv4Addr;

use engine::DnsConfig;
use packet::{DnsName, Ipv4Cidr};

use super::super::checked::Mode;
use super::super::file::NetworkTable;
use super::super::table::{Given, GivenList};
use super::Check;

impl Check<'_> {
    /// The forwarder of a network with the switch's `own` address.
    pub(super) fn forwarder(&mut self, table: &NetworkTable, mode: Mode) -> Option<DnsConfig> {
        let keys = &table.names;
        if !has_forwarder(table) {
            for place in
                [keys.upstream.place(), keys.hosts.place(), keys.allow_names.place()].into_iter().flatten()
            {
                let help = "write dns-forwarder = true in this network, or remove the key";
                self.wrong(place, "this key needs a DNS forwarder", help);
            }
            return None;
        }
        if let (Some(place), false) = (keys.allow_names.place(), matches!(mode, Mode::Nat { .. })) {
            let help = "write mode = \"nat\" or \"nat-isolated\", or remove the key";
            self.wrong(place, "only networks of modes nat and nat-isolated know where their hosts go", help);
        }
        if let (Some(upstream), Some(list)) = (keys.upstream.place(), keys.upstream.value())
            && list.len() > MAX_SERVERS
        {
            let help = format!("write {MAX_SERVERS} at most");
            self.wrong(upstream, "too many name servers: nobody waits until the last one is asked", help);
        }
        Some(DnsConfig {
            upstreams: keys.upstream.as_ref().map(|_| keys.upstream.values()),
            hosts: keys.hosts.values(),
            domain: table.domain.value().and_then(|domain| DnsName::parse(domain)),
            allowed: keys.allow_names.as_ref().map(|_| keys.allow_names.values()),
        })
    }

    /// Modes internal and bridge have nobody who could answer.
    pub(super) fn no_forwarder(&mut self, table: &NetworkTable, mode: &str) {
        let keys = &table.names;
        let places =
            [keys.forwarder.place(), keys.upstream.place(), keys.hosts.place(), keys.allow_names.place()];
        for place in places.into_iter().flatten() {
            let message = format!("a network of mode {mode} has no address of the switch's");
            self.wrong(place, message, "remove the key, or change `mode`");
        }
    }

    /// The name servers that DHCP offers.
    pub(super) fn offered_servers(&mut self, table: &NetworkTable, own: Ipv4Cidr) -> Vec<Ipv4Addr> {
        match &table.dns {
            None if has_forwarder(table) => vec![own.address()],
            None => self.name_servers.to_vec(),
            Some(list) => {
                if list.get_ref().len() > MAX_DNS {
                    let help = format!("write {MAX_DNS} at most; hosts try three");
                    self.wrong(list.span(), "too many name servers", help);
                }
                list.get_ref().iter().map(|server| *server.get_ref()).collect()
            }
        }
    }
}

/// Whether the switch answers for names.
pub(super) fn has_forwarder(table: &NetworkTable) -> bool {
    table.names.forwarder.value_or(table.dhcp.is_some() && table.dns.is_none())
}

/// Fits the option, RFC 2132, 3.8, and every resolver's patience.
const MAX_DNS: usize = 8;
/// Each is asked a second after the one before, and nobody waits for longer than some.
const MAX_SERVERS: usize = 6;

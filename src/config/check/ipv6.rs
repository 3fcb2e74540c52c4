//! A network's own IPv6 address, and what must fit to it.

use std::ops::Range;

use engine::{Ipv6Config, RaConfig};
use packet::Ipv6Cidr;

use super::super::checked::Mode;
use super::super::file::{NetworkTable, UplinkTable};
use super::super::table::Given;
use super::Check;

impl Check<'_> {
    /// What a network has of IPv6.
    pub(super) fn ipv6(&mut self, table: &NetworkTable, mode: Mode) -> Option<Ipv6Config> {
        let Some(address) = &table.ipv6.address else {
            if let Some(place) = table.ipv6.ra.place() {
                let help = "write address6 = \"fd00:1::1/64\" in this network, or remove the key";
                self.wrong(place, "this key needs `address6`", help);
            }
            if let (Some(dns), false) = (&table.dns, table.ipv6.dns.is_empty()) {
                let help = "write address6 = \"fd00:1::1/64\" in this network, or remove the address";
                self.wrong(dns.span(), "name servers of IPv6 need `address6`", help);
            }
            return None;
        };
        if matches!(mode, Mode::Nat { .. }) {
            let help = "write mode = \"route\" for guests that reach the world with their own IPv6 addresses, or remove the key";
            self.wrong(
                address.span(),
                "this version translates no IPv6: modes nat and nat-isolated have none",
                help,
            );
            return None;
        }
        self.mtu_fits(table.mtu.place(), table.mtu.value().copied());
        for port in &table.ports {
            self.mtu_fits(port.mtu.place(), port.mtu.value().copied());
        }
        if table.ipv6.dns.len() > MAX_DNS {
            let place = table.dns.place().unwrap_or_default();
            self.wrong(
                place,
                "too many name servers of IPv6",
                format!("write {MAX_DNS} at most; hosts try three"),
            );
        }
        let ra = table.ipv6.ra.value_or(true).then(|| RaConfig {
            is_router: mode != Mode::HostOnly,
            dns: table.ipv6.dns.clone(),
            domain: table.domain.value().cloned(),
        });
        Some(Ipv6Config { ra, ..Ipv6Config::new(*address.get_ref()) })
    }

    /// Modes internal and bridge have no address.
    pub(super) fn no_ipv6(&mut self, table: &NetworkTable, mode: &str) {
        for place in [table.ipv6.address.place(), table.ipv6.ra.place()].into_iter().flatten() {
            let message = format!("a network of mode {mode} has no address of the switch's");
            self.wrong(place, message, "remove the key, or change `mode`");
        }
    }

    /// What an uplink has of IPv6.
    pub(super) fn uplink_ipv6(&mut self, table: &UplinkTable) -> Option<Ipv6Config> {
        let Some(address) = &table.ipv6.address else {
            if let Some(place) = table.ipv6.gateway.place() {
                let help = "write address6 = \"2001:db8::5/64\" on this uplink, or remove the key";
                self.wrong(place, "this key needs `address6`", help);
            }
            return None;
        };
        self.mtu_fits(table.mtu.place(), table.mtu.value().copied());
        let own = *address.get_ref();
        if let Some(gateway) = &table.ipv6.gateway {
            let hop = *gateway.get_ref();
            if hop == own.address() {
                self.wrong(
                    gateway.span(),
                    format!("{hop} is the switch's own address"),
                    "write the router's",
                );
            } else if !hop.is_unicast_link_local() && !own.contains(hop) {
                let message = format!("the gateway {hop} is not in {}/{}", own.network(), own.prefix_len());
                self.wrong(gateway.span(), message, "write an address of it, or a link-local one");
            }
        }
        Some(Ipv6Config { gateway: table.ipv6.gateway.value().copied(), ..Ipv6Config::new(own) })
    }

    /// The keys are of an uplink on which the switch has no address of its own.
    pub(super) fn no_uplink_ipv6(&mut self, table: &UplinkTable, why: &str) {
        for place in [table.ipv6.address.place(), table.ipv6.gateway.place()].into_iter().flatten() {
            self.wrong(place, why, "remove the key");
        }
    }

    /// No two networks have one prefix. One may be a part of another's: the longest decides.
    pub(super) fn prefixes(&mut self) {
        let file = self.file;
        let networks = file.networks.iter().map(|table| (table.name.get_ref(), &table.ipv6.address));
        let uplinks = file.uplinks.iter().map(|table| (table.name.get_ref(), &table.ipv6.address));
        let mut seen: Vec<(&String, Ipv6Cidr)> = Vec::new();
        for (name, address) in networks.chain(uplinks) {
            let Some(address) = address else { continue };
            let own = *address.get_ref();
            let is_same =
                |other: Ipv6Cidr| (other.network(), other.prefix_len()) == (own.network(), own.prefix_len());
            let is_taken = |other: Ipv6Cidr| is_same(other) || other.address() == own.address();
            if let Some((other, _)) = seen.iter().find(|(_, theirs)| is_taken(*theirs)) {
                let message = format!("{own} is `{other}`'s too");
                self.wrong(address.span(), message, "write an address of a prefix of its own");
            }
            seen.push((name, own));
        }
    }

    /// Links of IPv6 take packets of 1280 bytes. RFC 8200, 5.
    fn mtu_fits(&mut self, place: Option<Range<usize>>, mtu: Option<u16>) {
        if let (Some(place), Some(mtu)) = (place, mtu.filter(|&mtu| mtu < LEAST_MTU)) {
            let message = format!("{mtu} bytes are too few for IPv6");
            self.wrong(place, message, format!("write {LEAST_MTU} or more, or remove `address6`"));
        }
    }
}

const LEAST_MTU: u16 = 1280;
/// As of IPv4.
const MAX_DNS: usize = 8;

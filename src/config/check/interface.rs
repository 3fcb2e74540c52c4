//! A network's own address, and everything that must fit to it: DHCP, published ports, the hosts' addresses.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::Range;

use engine::{DhcpClient, DhcpConfig, InterfaceConfig, InterfaceSettings};
use packet::{Ipv4Cidr, Millis};

use super::super::checked::Mode;
use super::super::file::{NetworkTable, PortTable};
use super::super::table::{Given, GivenList};
use super::super::value::{AddressRange, not_a_host};
use super::dns::has_forwarder;
use super::{Check, own_mac};

impl Check<'_> {
    pub(super) fn interface(&mut self, table: &NetworkTable, mode: Mode) -> Option<InterfaceConfig> {
        let Some(address) = &table.address else {
            let help = "write the switch's own address, for example address = \"192.168.122.1/24\"";
            self.wrong(table.name.span(), "`address` is missing", help);
            return None;
        };
        let address = *address.get_ref();
        let defaults = InterfaceSettings::default();
        Some(InterfaceConfig {
            mac: table
                .mac
                .as_ref()
                .map_or_else(|| own_mac(table.name.get_ref(), address), |mac| *mac.get_ref()),
            address,
            settings: InterfaceSettings {
                mtu: table.mtu.value_or(defaults.mtu),
                dhcp: self.dhcp(table, address, mode),
                dns: self.forwarder(table, mode),
                pcp: table.pcp.value_or(defaults.pcp),
                ipv6: self.ipv6(table, mode),
                ..defaults
            },
        })
    }

    /// Modes internal and bridge: whatever needs an own address is a mistake.
    pub(super) fn no_interface(&mut self, table: &NetworkTable, mode: Mode) {
        let mode = if mode == Mode::Internal { "internal" } else { "bridge" };
        self.no_ipv6(table, mode);
        let keys = [table.address.place(), table.mac.place(), table.dhcp.place()];
        for place in keys.into_iter().chain(dhcp_options(table)).flatten() {
            let message = format!("a network of mode {mode} has no address of the switch's");
            self.wrong(place, message, "remove the key, or change `mode`");
        }
        self.no_forwarder(table, mode);
    }

    fn dhcp(&mut self, table: &NetworkTable, own: Ipv4Cidr, mode: Mode) -> Option<DhcpConfig> {
        let Some(range) = &table.dhcp else {
            // The forwarder has a use for a domain, too.
            let [options @ .., domain] = dhcp_options(table);
            let domain = domain.filter(|_| !has_forwarder(table));
            for place in options.into_iter().chain([domain]).flatten() {
                let help = "write dhcp = \"FIRST-LAST\" in this network, or remove the key";
                self.wrong(place, "this key needs `dhcp`", help);
            }
            return None;
        };
        self.range_fits(own, range.span(), *range.get_ref());
        self.reservations(table, own);
        Some(DhcpConfig {
            first: range.get_ref().first,
            last: range.get_ref().last,
            lease_time: Millis::from_secs(table.lease_time.value_or(DEFAULT_LEASE_TIME).into()),
            router: (mode != Mode::HostOnly).then_some(own.address()),
            dns: self.offered_servers(table, own),
            domain: table.domain.value().cloned(),
            reserved: table.reserve.values(),
            ntp: table.ntp.values(),
            routes: self.routes(table, own),
            boot: table.boot.value().cloned(),
        })
    }

    fn range_fits(&mut self, own: Ipv4Cidr, place: Range<usize>, range: AddressRange) {
        let help = example_range(own);
        if !own.contains(range.first) || !own.contains(range.last) {
            self.wrong(
                place,
                format!("the range is not inside {}/{}", own.network(), own.prefix_len()),
                help,
            );
        } else if range.contains(own.address()) {
            self.wrong(place, format!("the range contains the switch's own address {}", own.address()), help);
        } else if let Some(what) = not_a_host(own, range.first).or(not_a_host(own, range.last)) {
            self.wrong(place, format!("the range contains the {what}"), help);
        } else if range.last.to_bits() - range.first.to_bits() >= MAX_LEASES {
            self.wrong(
                place,
                format!("the range has more than {MAX_LEASES} addresses"),
                "write a smaller one",
            );
        }
    }

    fn reservations(&mut self, table: &NetworkTable, own: Ipv4Cidr) {
        let (mut clients, mut addresses) = (BTreeSet::new(), HashSet::new());
        for reservation in table.reserve.each() {
            let (client, address) = reservation.get_ref();
            let address = *address;
            self.neighbour_of(own, reservation.span(), address, "the reserved address");
            if !clients.insert(client) {
                let who = match client {
                    DhcpClient::Mac(mac) => mac.to_string(),
                    DhcpClient::Id(_) => "the client with this identifier".to_owned(),
                };
                let message = format!("{who} has a reserved address already");
                self.wrong(reservation.span(), message, "remove one of the two");
            }
            if !addresses.insert(address) {
                self.wrong(
                    reservation.span(),
                    format!("{address} is reserved already"),
                    "remove one of the two",
                );
            }
        }
    }

    /// Routes that clients are told of: their routers are neighbours.
    fn routes(&mut self, table: &NetworkTable, own: Ipv4Cidr) -> Vec<(Ipv4Cidr, Ipv4Addr)> {
        if let (Some(place), true) = (table.routes.place(), table.routes.each().count() > MAX_ROUTES) {
            self.wrong(place, "too many routes for a DHCP message", format!("write {MAX_ROUTES} at most"));
        }
        if let (Some(place), true) = (table.ntp.place(), table.ntp.each().count() > MAX_NTP) {
            self.wrong(place, "too many time servers", format!("write {MAX_NTP} at most"));
        }
        for route in table.routes.each().filter(|route| route.get_ref().1 != own.address()) {
            self.neighbour_of(own, route.span(), route.get_ref().1, "the router");
        }
        table.routes.values()
    }

    pub(super) fn published(&mut self, table: &NetworkTable, mode: Mode, own: Option<&InterfaceConfig>) {
        let Some(list) = &table.publish else { return };
        match (mode, own) {
            (Mode::Nat { uplink, .. }, Some(own)) => {
                for publish in list.get_ref() {
                    let inside = publish.get_ref().inside.0;
                    self.neighbour_of(own.address, publish.span(), inside, "the inside address");
                    if let Some(outside) = publish.get_ref().address {
                        self.published_address(uplink, publish.span(), outside);
                    }
                }
            }
            _ => {
                let help = "write mode = \"nat\", or remove the key";
                self.wrong(list.span(), "only networks of modes nat and nat-isolated publish ports", help);
            }
        }
    }

    /// The uplink's own address, or one beside it that nobody else has: the switch answers for it.
    fn published_address(&mut self, uplink: usize, place: Range<usize>, outside: Ipv4Addr) {
        let uplink = &self.file.uplinks[uplink];
        let Some(own) = uplink.address.value().copied() else { return };
        if outside == own.address() {
            return;
        }
        let others = [
            (uplink.gateway.value().copied(), "the gateway's"),
            (uplink.device.peer_address.as_ref().map(|peer| peer.get_ref().address()), "the other side's"),
        ];
        match others.iter().find(|(other, _)| *other == Some(outside)) {
            Some((_, whose)) => {
                let help =
                    format!("write an address of {}/{} that nobody has", own.network(), own.prefix_len());
                self.wrong(place, format!("the outside address {outside} is {whose}"), help);
            }
            None => self.neighbour_of(own, place, outside, "the outside address"),
        }
    }

    /// Opening ports on request is for networks that are translated.
    pub(super) fn port_mapping(&mut self, table: &NetworkTable, mode: Mode) {
        if let (Some(place), false) = (table.pcp.place(), matches!(mode, Mode::Nat { .. })) {
            let help = "write mode = \"nat\", or remove the key";
            self.wrong(place, "only networks of modes nat and nat-isolated open ports on request", help);
        }
    }

    /// The addresses that are given to ports and to their other sides.
    pub(super) fn given(&mut self, table: &NetworkTable, own: Option<&InterfaceConfig>) {
        let mut owners = HashMap::new();
        for (index, port) in table.ports.iter().enumerate() {
            for (place, address) in given_addresses(port) {
                if *owners.entry(address).or_insert(index) != index {
                    let message = format!("{address} is another port's too");
                    self.wrong(place.clone(), message, "write an address nobody has");
                }
                if let Some(own) = own {
                    self.neighbour_of(own.address, place.clone(), address, "the other side");
                    self.not_leased(table, place, address);
                }
            }
        }
    }

    fn not_leased(&mut self, table: &NetworkTable, place: Range<usize>, address: Ipv4Addr) {
        let leased = table.dhcp.value().is_some_and(|range| range.contains(address));
        let mut reserved = table.reserve.each();
        if leased && !reserved.any(|reservation| reservation.get_ref().1 == address) {
            let help = "write an address outside the `dhcp` range, or reserve this one with `reserve`";
            self.wrong(place, format!("{address} may be leased to somebody else"), help);
        }
    }

    /// `address` must be one that another host of the switch's own `subnet` can have.
    pub(super) fn neighbour_of(
        &mut self,
        subnet: Ipv4Cidr,
        place: Range<usize>,
        address: Ipv4Addr,
        who: &str,
    ) {
        let help = format!("write another address of {}/{}", subnet.network(), subnet.prefix_len());
        if !subnet.contains(address) {
            let message = format!("{who} {address} is not in {}/{}", subnet.network(), subnet.prefix_len());
            self.wrong(place, message, help);
        } else if address == subnet.address() {
            self.wrong(place, format!("{address} is the switch's own address"), help);
        } else if let Some(what) = not_a_host(subnet, address) {
            self.wrong(place, format!("{address} is the {what}"), help);
        }
    }

    /// Each MAC address is at one place.
    pub(super) fn station_addresses(&mut self, table: &NetworkTable, own: Option<&InterfaceConfig>) {
        let mut seen = HashSet::new();
        for mac in table.ports.iter().flat_map(|port| &port.static_macs).flat_map(|list| list.get_ref()) {
            if own.is_some_and(|own| own.mac == *mac.get_ref()) {
                self.wrong(mac.span(), format!("{} is the switch's own address", mac.get_ref()), "remove it");
            } else if !seen.insert(*mac.get_ref()) {
                self.wrong(
                    mac.span(),
                    format!("{} is behind another port already", mac.get_ref()),
                    "remove one of the two",
                );
            }
        }
    }
}

/// What `peer-address` and `addresses` of a port say, and where.
pub(super) fn given_addresses(port: &PortTable) -> impl Iterator<Item = (Range<usize>, Ipv4Addr)> + '_ {
    let peer = port.device.peer_address.as_ref().map(|peer| (peer.span(), peer.get_ref().address()));
    let given = port.addresses.each();
    peer.into_iter().chain(given.map(|address| (address.span(), *address.get_ref())))
}

/// Where the keys are that only a DHCP server needs.
fn dhcp_options(table: &NetworkTable) -> [Option<Range<usize>>; 7] {
    // Router advertisements tell these two.
    let of_dhcp = |place: Option<Range<usize>>| place.filter(|_| table.ipv6.address.is_none());
    let (dns, domain) = (of_dhcp(table.dns.place()), of_dhcp(table.domain.place()));
    let [time, reserve, ntp] = [table.lease_time.place(), table.reserve.place(), table.ntp.place()];
    [time, reserve, ntp, table.routes.place(), table.boot.place(), dns, domain]
}

/// The longer of the two ranges beside the own address.
fn example_range(own: Ipv4Cidr) -> String {
    let hosts = if own.prefix_len() < 31 { 1 } else { 0 };
    let (low, high) = (own.network().to_bits() + hosts, own.broadcast().to_bits() - hosts);
    let address = own.address().to_bits();
    let (first, last) = if address - low > high - address { (low, address - 1) } else { (address + 1, high) };
    format!("write for example dhcp = \"{}-{}\"", Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last))
}

/// One hour, in seconds. Leases are in memory only: the shorter they are, the sooner a restarted switch knows its guests
/// again, and the addresses of guests that came and went are free. Hosts renew after half of it.
const DEFAULT_LEASE_TIME: u32 = 3600;

/// Nine bytes each at most, in an option of 255.
const MAX_ROUTES: usize = 25;
/// Clients look at a few.
const MAX_NTP: usize = 8;

/// Each lease takes memory, and any guest can ask for all of them.
const MAX_LEASES: u32 = 65_536;

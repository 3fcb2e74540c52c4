//! The file's tables and keys, each value checked by itself and with its place in the text.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::PathBuf;

use engine::{DhcpBoot, DhcpClient, Guard, NetworkConfig, NetworkSettings, PortSettings};
use nat_engine::{NatSettings, PortRange, Timeouts};
use packet::{Ipv4Cidr, MacAddr, Millis};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::balance::BalanceTable;
use super::device::{self, DeviceTable};
use super::dns::DnsTable;
use super::ipv6::{self, Ipv6Table, Uplink6Table};
use super::lease_file::LeaseFile;
use super::limits;
use super::nat_settings;
use super::poll::PollMode;
use super::publish::{Publish, publish};
use super::read::{Read, Wrong, boolean, choice, kind, number, text};
use super::slip;
use super::stp::{self, TreeTable};
use super::table::{Given, Maybe, Table};
use super::value::{self, AddressRange};
use super::vlan::VlanTable;
use crate::mistake::Mistake;

pub(super) struct FileConfig {
    pub(super) networks: Vec<NetworkTable>,
    pub(super) uplinks: Vec<UplinkTable>,
    pub(super) engine: EngineTable,
    pub(super) nat: NatSettings,
}

/// `[network.NAME]`
pub(super) struct NetworkTable {
    pub(super) name: Spanned<String>,
    pub(super) mode: Maybe<ModeName>,
    pub(super) address: Maybe<Ipv4Cidr>,
    pub(super) ipv6: Ipv6Table,
    pub(super) mac: Maybe<MacAddr>,
    pub(super) dhcp: Maybe<AddressRange>,
    pub(super) lease_time: Maybe<u32>,
    pub(super) reserve: Maybe<Vec<Spanned<(DhcpClient, Ipv4Addr)>>>,
    pub(super) ntp: Maybe<Vec<Spanned<Ipv4Addr>>>,
    pub(super) routes: Maybe<Vec<Spanned<(Ipv4Cidr, Ipv4Addr)>>>,
    pub(super) boot: Maybe<DhcpBoot>,
    pub(super) dns: Maybe<Vec<Spanned<Ipv4Addr>>>,
    pub(super) domain: Maybe<String>,
    pub(super) names: DnsTable,
    pub(super) uplink: Maybe<String>,
    pub(super) publish: Maybe<Vec<Spanned<Publish>>>,
    pub(super) rules: Maybe<Vec<Spanned<String>>>,
    pub(super) pcp: Maybe<bool>,
    pub(super) mtu: Maybe<u16>,
    pub(super) tree: TreeTable,
    /// What needs no further check.
    pub(super) settings: NetworkSettings,
    pub(super) ports: Vec<PortTable>,
    pub(super) balances: Vec<BalanceTable>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ModeName {
    Internal,
    HostOnly,
    Nat,
    NatIsolated,
    Route,
    Bridge,
}

/// `[network.NAME.port.NAME]`
pub(super) struct PortTable {
    pub(super) name: Spanned<String>,
    pub(super) device: DeviceTable,
    pub(super) mtu: Maybe<u16>,
    pub(super) static_macs: Maybe<Vec<Spanned<MacAddr>>>,
    pub(super) guard: Maybe<Guard>,
    pub(super) addresses: Maybe<Vec<Spanned<Ipv4Addr>>>,
    pub(super) vlans: VlanTable,
    /// What needs no further check.
    pub(super) settings: PortSettings,
}

/// `[uplink.NAME]`
pub(super) struct UplinkTable {
    pub(super) name: Spanned<String>,
    pub(super) device: DeviceTable,
    pub(super) mtu: Maybe<u16>,
    pub(super) vlans: VlanTable,
    /// What needs no further check.
    pub(super) settings: PortSettings,
    /// The switch's own.
    pub(super) address: Maybe<Ipv4Cidr>,
    /// The host's, instead.
    pub(super) host_address: Maybe<()>,
    pub(super) host_ports: Maybe<PortRange>,
    pub(super) gateway: Maybe<Ipv4Addr>,
    pub(super) ipv6: Uplink6Table,
    pub(super) mac: Maybe<MacAddr>,
}

/// `[engine]` and `[engine.timeouts]`
pub(super) struct EngineTable {
    pub(super) flow_limit: u32,
    pub(super) state: Option<PathBuf>,
    pub(super) leases: LeaseFile,
    pub(super) poll: PollMode,
    pub(super) timeouts: Timeouts,
}

/// Reads the text as far as each value can be judged alone.
pub(super) fn read(text: &str) -> Result<FileConfig, Vec<Mistake>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(slip::mistakes(text, &errors));
    }
    let mut mistakes = Vec::new();
    let file = file(document.get_ref(), &mut mistakes);
    if mistakes.is_empty() { Ok(file) } else { Err(mistakes) }
}

/// Reads the keys of the port `name`, and puts around it what it must fit to of the `network` that it comes to.
pub(super) fn read_port(
    name: &str,
    keys: &str,
    network: &NetworkConfig,
    mtu: Option<u16>,
) -> Result<FileConfig, Vec<Mistake>> {
    let (document, errors) = DeTable::parse_recoverable(keys);
    if !errors.is_empty() {
        return Err(slip::mistakes(keys, &errors));
    }
    let document = document.get_ref();
    let sections = document.iter().filter(|(name, _)| SECTIONS.contains(&name.get_ref().as_ref()));
    let stray = |(name, _): (&Spanned<_>, _)| {
        let message = "a port is one section: nothing else can be added with it";
        Mistake::new(name.span(), message, "write only the keys of the port")
    };
    let mut mistakes: Vec<Mistake> = sections.map(stray).collect();
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let mut file = file(&DeTable::new(), &mut mistakes);
    let mut around = self::network(nowhere(network.name.clone()), &DeTable::new(), &mut Vec::new());
    let interface = network.interface.as_ref();
    around.mode = Some(nowhere(interface.map_or(ModeName::Internal, |_| ModeName::HostOnly)));
    around.address = interface.map(|interface| nowhere(interface.address));
    around.mac = interface.map(|interface| nowhere(interface.mac));
    around.mtu = mtu.map(nowhere);
    around.ports = port(nowhere(name.to_owned()), document, &mut mistakes).into_iter().collect();
    if network.settings.isolated {
        for port in &mut around.ports {
            port.guard.get_or_insert(nowhere(Guard::ALL));
        }
    }
    file.networks.push(around);
    if mistakes.is_empty() { Ok(file) } else { Err(mistakes) }
}

/// What a file is made of, and a port isn't.
const SECTIONS: [&str; 4] = ["network", "uplink", "engine", "nat"];

/// A value that nobody wrote.
fn nowhere<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn file(document: &DeTable<'_>, mistakes: &mut Vec<Mistake>) -> FileConfig {
    let mut top = Table::new(0..0, document, mistakes);
    let networks = top.tables("network");
    let uplinks = top.tables("uplink");
    let engine = top.table("engine");
    let nat = top.table("nat");
    top.finish();
    FileConfig {
        networks: networks.into_iter().map(|(name, entries)| network(name, entries, mistakes)).collect(),
        uplinks: uplinks.into_iter().filter_map(|(name, entries)| uplink(name, entries, mistakes)).collect(),
        engine: engine_table(engine, mistakes),
        nat: nat_settings::read(nat, mistakes),
    }
}

fn network(name: Spanned<String>, entries: &DeTable<'_>, mistakes: &mut Vec<Mistake>) -> NetworkTable {
    let mut table = Table::new(name.span(), entries, mistakes);
    let ports = table.tables("port");
    let balances = table.tables("balance");
    let mut dns6 = Vec::new();
    let boot = table.table("dhcp-boot");
    let mut network = NetworkTable {
        mode: table.required("mode", "mode = \"nat\"", choice(MODES)),
        address: table.optional("address", text(value::host_cidr)),
        ipv6: Ipv6Table::read(&mut table),
        mac: table.optional("mac", text(value::station)),
        dhcp: table.optional("dhcp", text(value::address_range)),
        lease_time: table.optional("lease-time", number(10..=31_536_000, "seconds")),
        reserve: table.list("reserve", text(value::reservation)),
        ntp: table.list("ntp", text(value::address)),
        routes: table.list("routes", text(value::route)),
        boot: None,
        dns: ipv6::by_family(table.list("dns", text(ipv6::any_address)), &mut dns6),
        domain: table.optional("domain", text(value::domain)),
        names: DnsTable::read(&mut table),
        uplink: table.optional("uplink", text(|name| Ok(name.to_owned()))),
        publish: table.list("publish", text(publish)),
        rules: table.list("rules", text(|line| Ok(line.to_owned()))),
        pcp: table.optional("pcp", boolean),
        mtu: table.optional("mtu", mtu),
        tree: TreeTable::read(&mut table),
        settings: network_settings(&mut table),
        ports: Vec::new(),
        balances: Vec::new(),
        name,
    };
    table.finish();
    network.ipv6.dns = dns6;
    network.boot = boot.and_then(|(header, entries)| dhcp_boot(header, entries, mistakes));
    network.ports = ports.into_iter().filter_map(|(name, entries)| port(name, entries, mistakes)).collect();
    let section = |(name, entries)| BalanceTable::read(name, entries, mistakes);
    network.balances = balances.into_iter().map(section).collect();
    network
}

fn dhcp_boot(header: Range<usize>, entries: &DeTable<'_>, mistakes: &mut Vec<Mistake>) -> Maybe<DhcpBoot> {
    let mut table = Table::new(header.clone(), entries, mistakes);
    let file = table.required("file", "file = \"pxelinux.0\"", text(value::boot_file));
    let server =
        table.required("server", "server = \"192.168.122.1\", who has the file", text(value::address));
    table.finish();
    let boot = DhcpBoot { file: file?.into_inner(), server: server?.into_inner() };
    Some(Spanned::new(header, boot))
}

fn network_settings(table: &mut Table<'_, '_>) -> NetworkSettings {
    let defaults = NetworkSettings::default();
    let ageing = table.optional("ageing", number(10..=1_000_000, "seconds"));
    NetworkSettings {
        ageing: ageing.map_or(defaults.ageing, |time| Millis::from_secs(time.into_inner().into())),
        fdb_capacity: table
            .optional("fdb-capacity", number(16..=MACS, "addresses"))
            .value_or(defaults.fdb_capacity),
        loop_detect: table.optional("loop-detect", boolean).value_or(defaults.loop_detect),
        ..defaults
    }
}

fn port(name: Spanned<String>, entries: &DeTable<'_>, mistakes: &mut Vec<Mistake>) -> Option<PortTable> {
    let mut table = Table::new(name.span(), entries, mistakes);
    let defaults = PortSettings::default();
    let mut port = PortTable {
        device: device::read(&mut table, "mac")?,
        mtu: table.optional("mtu", mtu),
        settings: PortSettings {
            learn_limit: table.optional("learn-limit", learn_limit).value_or(defaults.learn_limit),
            isolated: table.optional("isolated", boolean).value_or(defaults.isolated),
            gro: table.optional("gro", boolean).value_or(defaults.gro),
            hairpin: table.optional("hairpin", boolean).value_or(defaults.hairpin),
            rate_in: table.optional("rate-in", text(limits::rate)).value().copied(),
            rate_out: table.optional("rate-out", text(limits::rate)).value().copied(),
            tree: stp::port(&mut table),
            ..defaults
        },
        static_macs: table.list("static-macs", text(value::station)),
        guard: table.optional("guard", guard),
        addresses: table.list("addresses", text(value::address)),
        vlans: VlanTable::read(&mut table),
        name,
    };
    let storm = table.table("storm");
    table.finish();
    port.settings.storm = limits::storm(storm, mistakes);
    Some(port)
}

fn uplink(name: Spanned<String>, entries: &DeTable<'_>, mistakes: &mut Vec<Mistake>) -> Option<UplinkTable> {
    let mut table = Table::new(name.span(), entries, mistakes);
    let device = device::read(&mut table, "peer-mac")?;
    let address = table.optional("address", text(uplink_address));
    let place = address.as_ref().map(Spanned::span).unwrap_or_default();
    let (address, host_address) = match address.map(Spanned::into_inner) {
        Some(UplinkAddress::Own(own)) => (Some(Spanned::new(place, own)), None),
        Some(UplinkAddress::Host) => (None, Some(Spanned::new(place, ()))),
        None => (None, None),
    };
    let defaults = PortSettings::default();
    let uplink = UplinkTable {
        device,
        mtu: table.optional("mtu", mtu),
        vlans: VlanTable::read(&mut table),
        settings: PortSettings {
            learn_limit: table.optional("learn-limit", learn_limit).value_or(defaults.learn_limit),
            tree: stp::port(&mut table),
            ..defaults
        },
        address,
        host_address,
        host_ports: table.optional("host-ports", text(value::port_range)),
        gateway: table.optional("gateway", text(value::address)),
        ipv6: Uplink6Table::read(&mut table),
        mac: table.optional("mac", text(value::station)),
        name,
    };
    table.finish();
    Some(uplink)
}

fn engine_table(engine: Option<(Range<usize>, &DeTable<'_>)>, mistakes: &mut Vec<Mistake>) -> EngineTable {
    let mut settings = EngineTable {
        flow_limit: DEFAULT_FLOWS,
        state: None,
        leases: LeaseFile::default(),
        poll: PollMode::default(),
        timeouts: Timeouts::default(),
    };
    let Some((header, entries)) = engine else { return settings };
    let mut table = Table::new(header, entries, mistakes);
    table.optional("workers", workers);
    if let Some(poll) = table.optional("poll", choice(POLL_MODES)) {
        settings.poll = poll.into_inner();
    }
    if let Some(flows) = table.optional("flows", number(1..=16_777_216, "flows")) {
        settings.flow_limit = flows.into_inner();
    }
    settings.state = table.optional("state", text(value::file)).map(Spanned::into_inner);
    let state = settings.state.clone();
    if let Some(leases) = table.optional("leases", text(|text| value::lease_file(text, state.as_deref()))) {
        settings.leases = leases.into_inner();
    }
    let timeouts = table.table("timeouts");
    table.finish();
    if let Some((header, entries)) = timeouts {
        let mut table = Table::new(header, entries, mistakes);
        for (key, floor, source, timeout) in idle_times(&mut settings.timeouts) {
            if let Some(time) = table.optional(key, idle_time(floor, source)) {
                *timeout = Millis::from_secs(time.into_inner().into());
            }
        }
        table.finish();
    }
    settings
}

/// Key, floor in seconds, where the floor is from, and the setting.
fn idle_times(timeouts: &mut Timeouts) -> [(&'static str, u32, &'static str, &mut Millis); 5] {
    [
        ("udp", 120, "RFC 4787 REQ-5", &mut timeouts.udp),
        ("tcp-opening", 240, "RFC 5382 REQ-5", &mut timeouts.tcp_opening),
        ("tcp-established", 7440, "RFC 5382 REQ-5", &mut timeouts.tcp_established),
        ("tcp-closing", 240, "RFC 5382 REQ-5", &mut timeouts.tcp_closing),
        ("icmp", 60, "RFC 5508 REQ-2", &mut timeouts.icmp),
    ]
}

fn idle_time(floor: u32, source: &str) -> impl Fn(&DeValue<'_>) -> Read<u32> {
    move |value| match number(0..=31_536_000, "seconds")(value)? {
        time if time >= floor => Ok(time),
        time => Err(Wrong::new(
            format!("{time} s is below the floor of {floor} s that {source} sets"),
            format!("write {floor} or more"),
        )),
    }
}

fn mtu(value: &DeValue<'_>) -> Read<u16> {
    number(68..=65_520, "bytes")(value).map(|bytes| bytes as u16)
}

/// `true`, `false`, or a list of what is checked.
fn guard(value: &DeValue<'_>) -> Read<Guard> {
    let wrong = || {
        let message = format!("this is {}, not what a guard checks", kind(value));
        Wrong::new(message, "write guard = true, or some of [\"mac\", \"ip\", \"dhcp\", \"ra\"]")
    };
    if let Some(all) = value.as_bool() {
        return Ok(if all { Guard::ALL } else { Guard::NONE });
    }
    let mut guard = Guard::NONE;
    for check in value.as_array().ok_or_else(wrong)? {
        match choice(CHECKS)(check.get_ref())? {
            Check::Mac => guard.mac = true,
            Check::Ip => guard.ip = true,
            Check::Dhcp => guard.dhcp = true,
            Check::Ra => guard.ra = true,
        }
    }
    Ok(guard)
}

/// What a guard may check.
#[derive(Clone, Copy)]
enum Check {
    Mac,
    Ip,
    Dhcp,
    Ra,
}

const CHECKS: &[(&str, Check)] =
    &[("mac", Check::Mac), ("ip", Check::Ip), ("dhcp", Check::Dhcp), ("ra", Check::Ra)];

fn learn_limit(value: &DeValue<'_>) -> Read<u32> {
    number(0..=MACS, "addresses")(value)
}

fn workers(value: &DeValue<'_>) -> Read<()> {
    match number(1..=u32::MAX, "workers")(value)? {
        1 => Ok(()),
        _ => Err(Wrong::new("this version has one worker", "write 1, or remove the key")),
    }
}

enum UplinkAddress {
    Own(Ipv4Cidr),
    Host,
}

fn uplink_address(text: &str) -> Read<UplinkAddress> {
    match text {
        "host" => Ok(UplinkAddress::Host),
        "dhcp" => Err(Wrong::new(
            "this version needs a fixed address of the uplink, or the host's",
            "write the switch's own address on the uplink, for example \"10.180.13.232/24\", or \"host\"",
        )),
        fixed => value::host_cidr(fixed).map(UplinkAddress::Own),
    }
}

const MODES: &[(&str, ModeName)] = &[
    ("internal", ModeName::Internal),
    ("host-only", ModeName::HostOnly),
    ("nat", ModeName::Nat),
    ("nat-isolated", ModeName::NatIsolated),
    ("route", ModeName::Route),
    ("bridge", ModeName::Bridge),
];

const POLL_MODES: &[(&str, PollMode)] =
    &[("event", PollMode::Event), ("adaptive", PollMode::Adaptive), ("busy", PollMode::Busy)];

/// Flows at most, if the file doesn't say. About 200 bytes each when used.
const DEFAULT_FLOWS: u32 = 65_536;

/// The most addresses that a table may be set to hold.
const MACS: u32 = 1 << 20;

//! Answers as tables for people.

mod nat;
mod table;

use crate::control::Answer;
use crate::control::report::{
    BalancedServer, Drop, FdbEntry, Flow, Lease, Listed, Mapping, Port, PortChanged, Reloaded, RuleChanged,
    Saved, Stats, Tuple,
};

use self::table::{Column, left, right, table};

/// The answer as text for a terminal, with a newline at the end.
pub fn text(answer: &Answer) -> String {
    match answer {
        Answer::Ports(ports) => table(PORTS, ports.iter().map(port)),
        Answer::Fdb(entries) => listed(FDB, entries, fdb_entry),
        Answer::Flows(flows) => listed(FLOWS, flows, flow),
        Answer::Nat(rules) => nat::text(rules),
        Answer::Servers(servers) => table(SERVERS, servers.iter().map(server)),
        Answer::Leases(leases) => listed(LEASES, leases, lease),
        Answer::Mappings(mappings) => listed(MAPPINGS, mappings, mapping),
        Answer::Drops(drops) if drops.is_empty() => "nothing was dropped\n".to_owned(),
        Answer::Drops(drops) => table(DROPS, drops.iter().map(drop_row)),
        Answer::Stats(stats) => stats_text(stats),
        Answer::Reloaded(reloaded) => reloaded_text(reloaded),
        Answer::RuleChanged(changed) => rule_changed_text(changed),
        Answer::PortChanged(changed) => port_changed_text(changed),
        Answer::Saved(Saved { file, flows }) => format!("saved {flows} connections to {file}\n"),
    }
}

/// A table, and a word about what was left out.
fn listed<T, const N: usize>(
    columns: [Column; N],
    list: &Listed<T>,
    row: impl Fn(&T) -> [String; N],
) -> String {
    let mut text = table(columns, list.entries.iter().map(row));
    let shown = list.entries.len() as u64;
    if shown < list.total {
        text += &format!("{shown} of {} shown; see more with --limit\n", list.total);
    }
    text
}

const PORTS: [Column; 13] = [
    right("id"),
    left("network"),
    left("port"),
    left("type"),
    left("link"),
    left("device"),
    left("netns"),
    right("mtu"),
    right("macs"),
    right("rx frames"),
    right("rx bytes"),
    right("tx frames"),
    right("tx bytes"),
];

fn port(port: &Port) -> [String; 13] {
    [
        port.id.to_string(),
        port.network.clone(),
        port.name.clone(),
        port.kind.clone(),
        if port.link { "up" } else { "down" }.to_owned(),
        port.device.clone(),
        port.netns.clone().unwrap_or_else(|| "-".to_owned()),
        port.mtu.to_string(),
        port.learned.to_string(),
        port.rx_frames.to_string(),
        port.rx_bytes.to_string(),
        port.tx_frames.to_string(),
        port.tx_bytes.to_string(),
    ]
}

const FDB: [Column; 5] = [left("network"), right("vlan"), left("mac"), left("port"), right("idle")];

fn fdb_entry(entry: &FdbEntry) -> [String; 5] {
    [
        entry.network.clone(),
        entry.vid.to_string(),
        entry.mac.clone(),
        entry.port.clone(),
        entry.idle_ms.map_or_else(|| "static".to_owned(), time),
    ]
}

const FLOWS: [Column; 7] = [
    left("proto"),
    left("state"),
    left("original"),
    left("reply"),
    right("packets"),
    right("bytes"),
    right("expires"),
];

fn flow(flow: &Flow) -> [String; 7] {
    let tuple = |tuple: &Tuple| format!("{} → {}", tuple.source, tuple.destination);
    [
        flow.protocol.clone(),
        flow.state.clone(),
        tuple(&flow.original),
        tuple(&flow.reply),
        format!("{} / {}", flow.original.packets, flow.reply.packets),
        format!("{} / {}", flow.original.bytes, flow.reply.bytes),
        time(flow.expires_in_ms),
    ]
}

const SERVERS: [Column; 11] = [
    left("network"),
    left("balance"),
    left("server"),
    left("role"),
    left("state"),
    right("since"),
    left("check"),
    right("checks"),
    right("failed"),
    right("flows"),
    right("admitted"),
];

fn server(server: &BalancedServer) -> [String; 11] {
    [
        server.network.clone(),
        server.balance.clone(),
        format!("{}/{}", server.server, server.protocol),
        if server.backup { "backup" } else { "server" }.to_owned(),
        server.state.clone(),
        server.since_ms.map_or_else(|| "-".to_owned(), time),
        server.check.clone().unwrap_or_else(|| "none".to_owned()),
        server.checks.to_string(),
        server.failures.to_string(),
        server.flows.to_string(),
        server.flows_admitted.to_string(),
    ]
}

const LEASES: [Column; 5] =
    [left("network"), left("address"), left("mac"), left("host name"), right("expires")];

fn lease(lease: &Lease) -> [String; 5] {
    [
        lease.network.clone(),
        lease.address.clone(),
        lease.mac.clone(),
        lease.host_name.clone().unwrap_or_else(|| "-".to_owned()),
        time(lease.expires_in_ms),
    ]
}

const MAPPINGS: [Column; 4] = [left("proto"), left("inside"), left("outside"), right("expires")];

fn mapping(mapping: &Mapping) -> [String; 4] {
    let Mapping { protocol, inside, outside, expires_in_ms } = mapping;
    [protocol.clone(), inside.clone(), outside.clone(), time(*expires_in_ms)]
}

const DROPS: [Column; 5] = [left("network"), left("port"), right("frames"), left("reason"), left("meaning")];

fn drop_row(drop: &Drop) -> [String; 5] {
    let own = || "(switch)".to_owned();
    [
        drop.network.clone().unwrap_or_else(own),
        drop.port.clone().unwrap_or_else(own),
        drop.frames.to_string(),
        drop.reason.clone(),
        drop.meaning.clone(),
    ]
}

fn stats_text(stats: &Stats) -> String {
    let rows = [
        ("networks", stats.networks),
        ("ports", stats.ports),
        ("bursts", stats.bursts),
        ("frames", stats.frames),
        ("punted to the slow path", stats.punted),
        ("sent by the switch itself", stats.injected),
        ("flows", stats.flows),
        ("flows at most", stats.flow_limit),
        ("flows admitted", stats.flows_admitted),
        ("flows timed out", stats.flows_expired),
    ];
    table([left("counter"), right("value")], rows.map(|(name, value)| [name.to_owned(), value.to_string()]))
}

fn reloaded_text(reloaded: &Reloaded) -> String {
    let Reloaded { opened, closed, reconfigured } = reloaded;
    format!("reloaded: {opened} ports opened, {closed} closed, {reconfigured} changed\n")
}

fn rule_changed_text(changed: &RuleChanged) -> String {
    let RuleChanged { chain, number, added } = changed;
    let what = if *added { "added as" } else { "deleted:" };
    format!("{what} rule {number} of {chain}, until the next reload of the configuration file\n")
}

fn port_changed_text(PortChanged { port, added }: &PortChanged) -> String {
    let what = if *added { "added" } else { "deleted" };
    format!("{what} {port}, until the next reload of the configuration file\n")
}

/// A span with its two largest units: `2h 4m`.
fn time(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests;

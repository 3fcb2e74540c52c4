//! The answers: what `show` prints and JSON has. Names stand where the worker has numbers.
//!
//! Field names are stable; docs/control.md lists them.

use std::collections::BTreeMap;
use std::path::Path;

use engine::CheckKind;
use engine::report::{
    Chain, FdbReport, FlowReport, LeaseReport, PortReport, RuleReport, ServerReport, ServerState, StatsReport,
};
use nat_engine::{Condition, ExplicitMapping, Match, NatRule};
use packet::{DropCounters, DropReason, Ipv4Cidr, Millis, NetworkId};
use serde::{Deserialize, Serialize};
use tapio::PortSpec;

use crate::config::{Action, Plan};
use crate::rules;

/// What the switch answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `show ports`.
    Ports(Vec<Port>),
    /// To `show fdb`.
    Fdb(Listed<FdbEntry>),
    /// To `show flows`.
    Flows(Listed<Flow>),
    /// To `show nat`.
    Nat(Vec<Rule>),
    /// To `show servers`.
    Servers(Vec<BalancedServer>),
    /// To `show leases`.
    Leases(Listed<Lease>),
    /// To `show mappings`.
    Mappings(Listed<Mapping>),
    /// To `show drops`.
    Drops(Vec<Drop>),
    /// To `show stats`.
    Stats(Stats),
    /// To `reload`.
    Reloaded(Reloaded),
    /// To `nat`.
    RuleChanged(RuleChanged),
    /// To `port-add` and `port-del`.
    PortChanged(PortChanged),
    /// To `nat-save`.
    Saved(Saved),
}

/// A table that may be shown in part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listed<T> {
    /// Entries that there are.
    pub total: u64,
    /// The ones shown.
    pub entries: Vec<T>,
}

/// A port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    pub id: u16,
    /// Its network, or the uplink it is.
    pub network: String,
    /// Its name.
    pub name: String,
    /// What it is made of: `tap`, `packet`, `stream`, `dgram` or `vhost-user`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether frames can pass: its device is up and has a carrier, or a peer is connected.
    pub link: bool,
    /// The network device, or the path of the socket.
    pub device: String,
    /// The network namespace of the device: a name, a path or a process id; null: the switch's own.
    pub netns: Option<String>,
    /// The largest layer-3 packet, in bytes.
    pub mtu: u16,
    /// Addresses learned on it.
    pub learned: u32,
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames received for an unknown address or a group.
    pub flooded: u64,
    /// Source addresses that there was no room for.
    pub learn_refused: u64,
    /// Frames dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// An entry of the forwarding database.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FdbEntry {
    /// The network.
    pub network: String,
    /// The VLAN.
    pub vid: u16,
    /// The address.
    pub mac: String,
    /// The port that it is behind.
    pub port: String,
    /// Milliseconds since it was last seen; null: a static entry.
    pub idle_ms: Option<u64>,
}

/// A flow. For ICMP, ports are the query's identifier.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flow {
    /// `tcp`, `udp`, `icmp`, or a number.
    pub protocol: String,
    /// Where it is in its life.
    pub state: String,
    /// Who began.
    pub original: Tuple,
    /// What the other side answers with.
    pub reply: Tuple,
    /// Milliseconds until it is forgotten.
    pub expires_in_ms: u64,
}

/// One direction of a flow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tuple {
    /// `ADDRESS:PORT`.
    pub source: String,
    /// `ADDRESS:PORT`.
    pub destination: String,
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets.
    pub bytes: u64,
}

/// A NAT rule, its conditions as iptables writes them. Null: any.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rule {
    /// `PREROUTING` or `POSTROUTING`.
    pub chain: String,
    /// First packets of flows that it decided.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The target, such as `MASQUERADE`.
    pub target: String,
    /// What it translates to: addresses, ports, or both with a colon between them.
    pub to: Option<String>,
    /// The protocol.
    pub protocol: Option<String>,
    /// Where the packet came from: a network or an uplink.
    #[serde(rename = "in")]
    pub input: Option<String>,
    /// Where it goes.
    #[serde(rename = "out")]
    pub output: Option<String>,
    /// Source addresses.
    pub source: Option<String>,
    /// Destination addresses.
    pub destination: Option<String>,
    /// Source ports.
    pub source_ports: Option<String>,
    /// Destination ports.
    pub destination_ports: Option<String>,
    /// What people say about it.
    pub comment: Option<String>,
    /// The rule as it can be written into the configuration.
    pub line: String,
}

/// A port of an uplink that a guest opened for itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mapping {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The guest and its port, `ADDRESS:PORT`.
    pub inside: String,
    /// What stands for it outside, `ADDRESS:PORT`.
    pub outside: String,
    /// Time until it ends unless the guest asks again, in milliseconds.
    pub expires_in_ms: u64,
}

/// A server that connections are spread over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BalancedServer {
    /// The network.
    pub network: String,
    /// The section of it that has the server.
    pub balance: String,
    /// `ADDRESS:PORT`.
    pub server: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Whether it serves only while none of the others lives.
    pub backup: bool,
    /// `alive`, `dead`, or `unchecked`, which counts as alive.
    pub state: String,
    /// Milliseconds since then; null: no check has ended yet.
    pub since_ms: Option<u64>,
    /// What it is asked by: `tcp` or `icmp`; null: it is not.
    pub check: Option<String>,
    /// Checks that have ended.
    pub checks: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Connections that it has.
    pub flows: u64,
    /// Connections that it was ever given.
    pub flows_admitted: u64,
}

/// A DHCP lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// The network.
    pub network: String,
    /// The address.
    pub address: String,
    /// Whose it is.
    pub mac: String,
    /// What the client calls itself.
    pub host_name: Option<String>,
    /// Milliseconds until it ends.
    pub expires_in_ms: u64,
}

/// Frames dropped for one reason at one place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Drop {
    /// The network; null: frames of the switch itself.
    pub network: Option<String>,
    /// The port; null: frames of the switch itself.
    pub port: Option<String>,
    /// The reason's name.
    pub reason: String,
    /// What it means.
    pub meaning: String,
    /// How many.
    pub frames: u64,
}

/// Counters of the whole switch.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Networks, uplinks included.
    pub networks: u64,
    /// Ports.
    pub ports: u64,
    /// Bursts processed.
    pub bursts: u64,
    /// Frames processed.
    pub frames: u64,
    /// Frames that went to the slow path.
    pub punted: u64,
    /// Frames that the switch itself sent.
    pub injected: u64,
    /// Flows in the table.
    pub flows: u64,
    /// Flows that it has room for.
    pub flow_limit: u64,
    /// Flows ever admitted.
    pub flows_admitted: u64,
    /// Flows that timed out.
    pub flows_expired: u64,
}

/// What a reload did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reloaded {
    /// Ports opened.
    pub opened: u64,
    /// Ports closed.
    pub closed: u64,
    /// Ports that stay, with other settings.
    pub reconfigured: u64,
}

/// What a line about a NAT rule did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RuleChanged {
    /// `PREROUTING` or `POSTROUTING`.
    pub chain: String,
    /// The number that the rule has, or had.
    pub number: u64,
    /// Whether the rule came; else it went.
    pub added: bool,
}

/// A port that came or went.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PortChanged {
    /// `NETWORK/PORT`.
    pub port: String,
    /// Whether it came; else it went.
    pub added: bool,
}

/// Connections that were saved.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    /// The file.
    pub file: String,
    /// How many.
    pub flows: u64,
}

/// To `show ports`.
pub fn ports(reports: &[PortReport], plan: &Plan) -> Answer {
    Answer::Ports(reports.iter().map(|report| port(report, plan)).collect())
}

fn port(report: &PortReport, plan: &Plan) -> Port {
    let spec = plan.spec(report.id);
    let counters = &report.counters;
    Port {
        id: report.id.get(),
        network: plan.network_name(report.network).to_owned(),
        name: plan.port_name(report.id).to_owned(),
        kind: spec.map_or("", PortSpec::kind).to_owned(),
        link: report.link,
        device: spec.map(|spec| spec.device().into_owned()).unwrap_or_default(),
        netns: spec.and_then(PortSpec::netns).map(ToString::to_string),
        mtu: plan.port_mtu(report.id),
        learned: report.learned,
        rx_frames: counters.rx_frames,
        rx_bytes: counters.rx_bytes,
        tx_frames: counters.tx_frames,
        tx_bytes: counters.tx_bytes,
        flooded: counters.flooded,
        learn_refused: counters.learn_refused,
        drops: counters.drops.nonzero().map(|(reason, count)| (reason.name().to_owned(), count)).collect(),
    }
}

/// To `show fdb`: at most `limit` of `reports`.
pub fn fdb(reports: impl Iterator<Item = FdbReport>, limit: usize, plan: &Plan) -> Answer {
    let entry = |report: FdbReport| FdbEntry {
        network: plan.network_name(report.network).to_owned(),
        vid: report.vid.get(),
        mac: report.mac.to_string(),
        port: plan.port_name(report.port).to_owned(),
        idle_ms: report.idle.map(|idle| idle.get()),
    };
    Answer::Fdb(listed(reports, limit, entry))
}

/// To `show flows`: `reports`, of `total` that there are.
pub fn flows(reports: &[FlowReport], total: u64) -> Answer {
    let tuple = |source: &dyn ToString, destination: &dyn ToString, packets, bytes| Tuple {
        source: source.to_string(),
        destination: destination.to_string(),
        packets,
        bytes,
    };
    let flow = |report: &FlowReport| Flow {
        protocol: report.protocol.to_string(),
        state: report.state.to_owned(),
        original: tuple(
            &report.original_source,
            &report.original_destination,
            report.packets[0],
            report.bytes[0],
        ),
        reply: tuple(&report.reply_source, &report.reply_destination, report.packets[1], report.bytes[1]),
        expires_in_ms: report.expires_in.get(),
    };
    Answer::Flows(Listed { total, entries: reports.iter().map(flow).collect() })
}

/// To `show nat`: the rules of `plan`, with the counters of `reports` where there are any.
pub fn nat(reports: &[RuleReport], plan: &Plan) -> Answer {
    let rules = &plan.runtime.rules;
    let chains = [(Chain::Prerouting, &rules.prerouting), (Chain::Postrouting, &rules.postrouting)];
    let counters: BTreeMap<(bool, usize), &RuleReport> =
        reports.iter().map(|report| ((report.chain == Chain::Prerouting, report.index), report)).collect();
    let mut answer = Vec::new();
    for (chain, rules) in chains {
        for (index, rule) in rules.iter().enumerate() {
            let counter = counters.get(&(chain == Chain::Prerouting, index));
            let (packets, bytes) = counter.map_or((0, 0), |counter| (counter.packets, counter.bytes));
            answer.push(Rule { packets, bytes, ..conditions(chain, rule, plan) });
        }
    }
    Answer::Nat(answer)
}

fn conditions(chain: Chain, rule: &NatRule, plan: &Plan) -> Rule {
    let network = |id: &NetworkId| plan.network_name(*id).to_owned();
    let Match { input, output, source, destination, protocol, source_ports, destination_ports, comment } =
        &rule.matches;
    Rule {
        chain: rules::chain_name(chain).to_owned(),
        target: rules::target_name(&rule.target).to_owned(),
        to: rules::translation(&rule.target),
        protocol: condition(protocol, ToString::to_string),
        input: condition(input, network),
        output: condition(output, network),
        source: condition(source, cidr),
        destination: condition(destination, cidr),
        source_ports: condition(source_ports, rules::port_list),
        destination_ports: condition(destination_ports, rules::port_list),
        comment: comment.clone(),
        line: format!("-A {} {}", rules::chain_name(chain), rules::Rule::of(rule, |id| network(&id))),
        ..Rule::default()
    }
}

fn condition<T>(condition: &Option<Condition<T>>, text: impl Fn(&T) -> String) -> Option<String> {
    let condition = condition.as_ref()?;
    let not = if condition.negated { "!" } else { "" };
    Some(format!("{not}{}", text(&condition.value)))
}

fn cidr(cidr: &Ipv4Cidr) -> String {
    if cidr.prefix_len() == 32 { cidr.address().to_string() } else { cidr.to_string() }
}

/// To `show servers`.
pub fn servers(reports: impl Iterator<Item = ServerReport>, plan: &Plan) -> Answer {
    let server = |report: ServerReport| {
        let config = plan.runtime.balances.get(report.balance)?;
        Some(BalancedServer {
            network: plan.network_name(config.network).to_owned(),
            balance: config.name.clone(),
            server: report.server.to_string(),
            protocol: config.protocol.to_string(),
            backup: report.is_backup,
            state: state_name(report.state).to_owned(),
            since_ms: report.since.map(|since| since.get()),
            check: config.check.map(|check| check_name(check.kind).to_owned()),
            checks: report.checks,
            failures: report.failures,
            flows: report.flows,
            flows_admitted: report.flows_admitted,
        })
    };
    Answer::Servers(reports.filter_map(server).collect())
}

const fn state_name(state: ServerState) -> &'static str {
    match state {
        ServerState::Unchecked => "unchecked",
        ServerState::Alive => "alive",
        ServerState::Dead => "dead",
    }
}

const fn check_name(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Tcp => "tcp",
        CheckKind::Icmp => "icmp",
    }
}

/// To `show leases`: at most `limit` of `reports`.
pub fn leases(reports: impl Iterator<Item = LeaseReport>, limit: usize, plan: &Plan) -> Answer {
    let lease = |report: LeaseReport| Lease {
        network: plan.network_name(report.network).to_owned(),
        address: report.address.to_string(),
        mac: report.mac.to_string(),
        host_name: report.host_name,
        expires_in_ms: report.expires_in.get(),
    };
    Answer::Leases(listed(reports, limit, lease))
}

/// To `show mappings`: at most `limit` of `mappings`.
pub fn mappings(mappings: impl Iterator<Item = ExplicitMapping>, limit: usize, now: Millis) -> Answer {
    let mapping = |mapping: ExplicitMapping| Mapping {
        protocol: mapping.protocol.to_string(),
        inside: mapping.inside.to_string(),
        outside: mapping.outside.to_string(),
        expires_in_ms: mapping.until.since(now).get(),
    };
    Answer::Mappings(listed(mappings, limit, mapping))
}

/// The first `limit` of `reports`; the others are only counted.
fn listed<R, T>(mut reports: impl Iterator<Item = R>, limit: usize, entry: impl Fn(R) -> T) -> Listed<T> {
    let entries: Vec<T> = reports.by_ref().take(limit).map(entry).collect();
    Listed { total: (entries.len() + reports.count()) as u64, entries }
}

/// To `show drops`: what each port dropped, and what happened to the switch's own frames.
pub fn drops(ports: &[PortReport], stats: &StatsReport, plan: &Plan) -> Answer {
    let mut answer = Vec::new();
    for port in ports {
        let place = (plan.network_name(port.network), plan.port_name(port.id));
        answer.extend(drops_at(Some(place), &port.counters.drops));
    }
    answer.extend(drops_at(None, &stats.own_drops));
    Answer::Drops(answer)
}

fn drops_at(place: Option<(&str, &str)>, counters: &DropCounters) -> impl Iterator<Item = Drop> {
    let drop = move |(reason, frames): (DropReason, u64)| Drop {
        network: place.map(|(network, _)| network.to_owned()),
        port: place.map(|(_, port)| port.to_owned()),
        reason: reason.name().to_owned(),
        meaning: reason.sentence().to_owned(),
        frames,
    };
    counters.nonzero().map(drop)
}

/// To `show stats`.
pub fn stats(report: &StatsReport, plan: &Plan) -> Answer {
    let networks = plan.runtime.networks.iter().filter(|network| !network.name.is_empty());
    Answer::Stats(Stats {
        networks: networks.count() as u64,
        ports: plan.runtime.ports.len() as u64,
        bursts: report.bursts,
        frames: report.frames,
        punted: report.punted,
        injected: report.injected,
        flows: report.flows,
        flow_limit: plan.runtime.flow_limit.into(),
        flows_admitted: report.flows_admitted,
        flows_expired: report.flows_expired,
    })
}

/// To `reload`, which took these actions.
pub fn reloaded(actions: &[Action]) -> Answer {
    let mut answer = Reloaded::default();
    for action in actions {
        match action {
            Action::Open(..) => answer.opened += 1,
            Action::Close(_) => answer.closed += 1,
            Action::Reconfigure(..) => answer.reconfigured += 1,
        }
    }
    Answer::Reloaded(answer)
}

/// To `port-add` and `port-del`.
pub fn port_changed(port: String, added: bool) -> Answer {
    Answer::PortChanged(PortChanged { port, added })
}

/// To `nat-save`.
pub fn saved(file: &Path, flows: u64) -> Answer {
    Answer::Saved(Saved { file: file.display().to_string(), flows })
}

/// To `nat`: what `line` did to the rule with this number.
pub fn rule_changed(line: &rules::Line, number: usize) -> Answer {
    Answer::RuleChanged(RuleChanged {
        chain: rules::chain_name(line.chain).to_owned(),
        number: number as u64,
        added: line.edit.adds(),
    })
}

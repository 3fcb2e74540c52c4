//! NAT rules, for people in the shape of `iptables -t nat -L -nv`.

use std::collections::BTreeMap;
use std::fmt::Write;

use engine::report::{Chain, RuleReport};
use nat_engine::{Condition, Match, NatRule};
use packet::{Ipv4Cidr, NetworkId};
use serde::{Deserialize, Serialize};

use super::table::{Column, Style, left, right, table, wrapped};
use crate::config::Plan;
use crate::rules;
use crate::terminal::printable;

/// A NAT rule, its conditions as iptables writes them. Null: any.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rule {
    /// `PREROUTING` or `POSTROUTING`.
    pub chain: String,
    /// Its place there, from 1.
    pub number: u64,
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

/// Both chains with their rules.
pub(super) fn text(rules: &[Rule], style: &Style) -> String {
    let mut text = String::new();
    for (n, chain) in ["PREROUTING", "POSTROUTING"].into_iter().enumerate() {
        let gap = if n == 0 { "" } else { "\n" };
        text += &format!("{gap}Chain {chain} (policy ACCEPT)\n");
        let rules = rules.iter().filter(|rule| rule.chain == chain);
        let rules: Vec<Numbered<'_>> = rules.map(|rule| Numbered { number: rule.number, rule }).collect();
        let lines: Vec<String> = rules.iter().map(|rule| rule.line(style)).collect();
        let fit = lines.iter().all(|line| line.chars().count() <= style.width);
        text += &if fit { format!("{}{}", headings(style), lines.concat()) } else { narrow(&rules, style) };
    }
    text
}

/// A rule and its place in its chain.
struct Numbered<'a> {
    number: u64,
    rule: &'a Rule,
}

impl Numbered<'_> {
    /// In iptables' columns.
    fn line(&self, style: &Style) -> String {
        let number = if style.line_numbers { format!("{:<4} ", self.number) } else { String::new() };
        format!("{number}{}\n", printable(&line(self.rule)))
    }
}

/// Columns as wide as need be, and what is beside them on lines of its own.
fn narrow(rules: &[Numbered<'_>], style: &Style) -> String {
    let columns = narrow_columns();
    let columns = if style.line_numbers { &columns[..] } else { &columns[1..] };
    let table = table(columns, rules, style);
    let mut lines = table.lines().map(|line| format!("{line}\n"));
    let mut text = lines.next().unwrap_or_default();
    for (line, Numbered { rule, .. }) in lines.by_ref().zip(rules) {
        text += &line;
        let details = printable(details(rule).trim());
        for line in wrapped(&details, style.width.saturating_sub(INDENT.len())).lines() {
            text += &format!("{INDENT}{line}\n");
        }
    }
    text + &lines.collect::<String>()
}

fn narrow_columns<'a>() -> [Column<Numbered<'a>>; 9] {
    [
        left("num", |numbered, _| numbered.number.to_string()),
        right("pkts", |numbered, _| short(numbered.rule.packets)),
        right("bytes", |numbered: &Numbered<'_>, _| short(numbered.rule.bytes)).rank(1),
        left("target", |numbered, _| numbered.rule.target.clone()),
        left("prot", |numbered, _| protocol(numbered.rule).to_owned()),
        left("in", |numbered, _| numbered.rule.input.clone().unwrap_or_else(|| "*".to_owned())),
        left("out", |numbered, _| numbered.rule.output.clone().unwrap_or_else(|| "*".to_owned())),
        left("source", |numbered, _| hanging(&numbered.rule.source).trim().to_owned()),
        left("destination", |numbered, _| hanging(&numbered.rule.destination).trim().to_owned()),
    ]
}

const INDENT: &str = "      ";

/// One rule, in iptables' columns.
fn line(rule: &Rule) -> String {
    let columns = format!(
        "{:>5} {:>5} {:<10} {:<4} --  {:<6} {:<6} {} {} ",
        short(rule.packets),
        short(rule.bytes),
        rule.target,
        protocol(rule),
        rule.input.as_deref().unwrap_or("*"),
        rule.output.as_deref().unwrap_or("*"),
        hanging(&rule.source),
        hanging(&rule.destination),
    );
    let line = columns + &details(rule);
    line.trim_end().to_owned()
}

/// What has no column.
fn details(rule: &Rule) -> String {
    let mut line = String::new();
    let protocol = protocol(rule);
    let ports = [("s", &rule.source_ports), ("d", &rule.destination_ports)];
    for (side, ports) in ports.iter().filter_map(|(side, ports)| Some((side, ports.as_ref()?))) {
        let name = format!("{side}pt");
        // Writing to a string can't fail.
        let _ = match (ports.strip_prefix('!'), ports) {
            (None, ports) if ports.contains(',') => write!(line, " multiport {side}ports {ports}"),
            (Some(ports), _) if ports.contains(',') => write!(line, " multiport {side}ports !{ports}"),
            (None, ports) if ports.contains(':') => write!(line, " {protocol} {name}s:{ports}"),
            (Some(ports), _) if ports.contains(':') => write!(line, " {protocol} {name}s:!{ports}"),
            (None, ports) => write!(line, " {protocol} {name}:{ports}"),
            (Some(ports), _) => write!(line, " {protocol} {name}:!{ports}"),
        };
    }
    if let Some(comment) = &rule.comment {
        line += &format!(" /* {comment} */");
    }
    if let Some(to) = &rule.to {
        line += &match rule.target.as_str() {
            "MASQUERADE" => format!(" masq ports: {to}"),
            "REDIRECT" => format!(" redir ports {to}"),
            _ => format!(" to:{to}"),
        };
    }
    line
}

fn protocol(rule: &Rule) -> &str {
    rule.protocol.as_deref().unwrap_or("all")
}

/// An address in its column, with room for a `!` left of it.
fn hanging(condition: &Option<String>) -> String {
    let condition = condition.as_deref().unwrap_or("0.0.0.0/0");
    match condition.strip_prefix('!') {
        Some(condition) => format!("!{condition:<19}"),
        None => format!(" {condition:<19}"),
    }
}

/// A count in five places, as iptables has them: `99999`, then `100K`, `10M`, `10G`.
fn short(count: u64) -> String {
    match count {
        0..100_000 => count.to_string(),
        100_000..10_000_000 => format!("{}K", (count + 500) / 1000),
        10_000_000..10_000_000_000 => format!("{}M", (count + 500_000) / 1_000_000),
        _ => format!("{}G", (count.saturating_add(500_000_000)) / 1_000_000_000),
    }
}

fn headings(style: &Style) -> String {
    format!("{}{HEADINGS}\n", if style.line_numbers { "num  " } else { "" })
}

const HEADINGS: &str = " pkts bytes target     prot opt in     out     source               destination";

/// To `show nat`: the rules of `plan`, with the counters of `reports` where there are any.
pub fn answer(reports: &[RuleReport], plan: &Plan) -> Vec<Rule> {
    let rules = &plan.runtime.rules;
    let chains = [(Chain::Prerouting, &rules.prerouting), (Chain::Postrouting, &rules.postrouting)];
    let counters: BTreeMap<(bool, usize), &RuleReport> =
        reports.iter().map(|report| ((report.chain == Chain::Prerouting, report.index), report)).collect();
    let mut answer = Vec::new();
    for (chain, rules) in chains {
        for (index, rule) in rules.iter().enumerate() {
            let counter = counters.get(&(chain == Chain::Prerouting, index));
            let (packets, bytes) = counter.map_or((0, 0), |counter| (counter.packets, counter.bytes));
            answer.push(Rule { number: index as u64 + 1, packets, bytes, ..conditions(chain, rule, plan) });
        }
    }
    answer
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

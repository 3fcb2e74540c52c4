//! NAT rules in the shape of `iptables -t nat -L -nv`.

use std::fmt::Write;

use crate::control::report::Rule;

/// Both chains with their rules.
pub(super) fn text(rules: &[Rule]) -> String {
    let mut text = String::new();
    for (n, chain) in ["PREROUTING", "POSTROUTING"].into_iter().enumerate() {
        let gap = if n == 0 { "" } else { "\n" };
        text += &format!("{gap}Chain {chain} (policy ACCEPT)\n{HEADINGS}\n");
        for rule in rules.iter().filter(|rule| rule.chain == chain) {
            text += &line(rule);
            text.push('\n');
        }
    }
    text
}

/// One rule, in iptables' columns.
fn line(rule: &Rule) -> String {
    let mut line = format!(
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
    line.truncate(line.trim_end().len());
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

const HEADINGS: &str = " pkts bytes target     prot opt in     out     source               destination";

//! The nat table out of what `iptables-save` prints.

use std::collections::BTreeSet;

use super::{Imported, quoted};
use crate::mistake::{Mistake, Mistakes};
use crate::rules::{self, Interfaces};

/// The key `rules` of a network, made of the section `*nat` of `text`; messages call it `file`.
///
/// # Errors
/// Every line of the section that has no equal here.
pub fn iptables(file: &str, text: &str) -> Result<Imported, Mistakes> {
    let mut import = Import::default();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        import.line(line.trim_end(), start);
        start += line.len();
    }
    if !import.has_nat {
        let help = "make one with `iptables-save -t nat`";
        import.mistakes.push(Mistake::new(0..0, "there is no section *nat in this file", help));
    }
    if !import.mistakes.is_empty() {
        return Err(Mistakes::new(file, text, import.mistakes));
    }
    let rules: String = import.rules.iter().map(|rule| format!("    {},\n", quoted(rule))).collect();
    Ok(Imported { toml: format!("rules = [\n{rules}]\n"), notes: import.notes() })
}

#[derive(Default)]
struct Import {
    /// The section that the lines are in.
    table: String,
    has_nat: bool,
    rules: Vec<String>,
    /// What `-i` and `-o` name.
    interfaces: BTreeSet<String>,
    /// Other tables that have rules.
    others: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl Import {
    /// A line that begins at the byte `start`.
    fn line(&mut self, line: &str, start: usize) {
        if let Some(table) = line.strip_prefix('*') {
            table.clone_into(&mut self.table);
            self.has_nat |= table == "nat";
        } else if line == "COMMIT" {
            self.table.clear();
        } else if line.is_empty() || line.starts_with('#') {
            // Nothing is said.
        } else if self.table != "nat" {
            if rule_of(line).is_some() {
                self.others.insert(self.table.clone());
            }
        } else if let Some(chain) = line.strip_prefix(':') {
            self.chain(chain, start + 1);
        } else if let Some((rule, skipped)) = rule_of(line) {
            self.rule(rule, start + skipped);
        } else {
            let help = "keep the file as iptables-save writes it";
            self.mistakes.push(Mistake::new(start..start + line.len(), "this is no line of a table", help));
        }
    }

    /// `NAME POLICY [PACKETS:BYTES]`.
    fn chain(&mut self, text: &str, start: usize) {
        let mut words = text.split(' ');
        let name = words.next().unwrap_or_default();
        let mistake = match (name, words.next()) {
            ("PREROUTING" | "INPUT" | "OUTPUT" | "POSTROUTING", Some("ACCEPT")) => return,
            ("PREROUTING" | "INPUT" | "OUTPUT" | "POSTROUTING", _) => {
                Mistake::new(start..start + text.len(), "the policy here is always ACCEPT", "write ACCEPT")
            }
            (name, _) => {
                let message = format!("`{name}` is a chain of somebody's own, which rules here can't have");
                let help = "write its rules into PREROUTING or POSTROUTING, and remove it";
                Mistake::new(start..start + name.len(), message, help)
            }
        };
        self.mistakes.push(mistake);
    }

    fn rule(&mut self, rule: &str, start: usize) {
        match rules::parse(rule, &Interfaces::Any) {
            Ok(line) => {
                self.interfaces.extend(line.interfaces().map(str::to_owned));
                self.rules.push(line.to_string());
            }
            Err(mistake) => {
                let span = start + mistake.span.start..start + mistake.span.end;
                self.mistakes.push(Mistake { span, ..mistake });
            }
        }
    }

    fn notes(&self) -> Vec<String> {
        let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut notes = Vec::new();
        if !self.interfaces.is_empty() {
            let names = list(&self.interfaces);
            notes.push(format!(
                "the rules name {names}: networks, uplinks or uplinks' devices must have these names"
            ));
        }
        if !self.others.is_empty() {
            notes.push(format!("rules of other tables are left out: {}", list(&self.others)));
        }
        notes
    }
}

/// The rule in a line, without the counters that may be before it; and where it begins.
fn rule_of(line: &str) -> Option<(&str, usize)> {
    let rule = match line.strip_prefix('[') {
        Some(counters) => counters.split_once("] ")?.1,
        None => line,
    };
    rule.starts_with("-A ").then_some((rule, line.len() - rule.len()))
}

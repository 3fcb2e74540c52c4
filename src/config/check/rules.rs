//! NAT rules: each line alone, and where it may stand.

use engine::report::Chain;

use super::super::checked::Mode;
use super::super::file::{FileConfig, NetworkTable};
use super::Check;
use crate::mistake::{Mistake, of_part};
use crate::rules::{self, Edit, Interfaces, Rule};

impl Check<'_> {
    /// The rules of a network, in their order; `None` if it has no such key.
    pub(super) fn rules(&mut self, table: &NetworkTable, mode: Mode) -> Option<Vec<(Chain, Rule)>> {
        let list = table.rules.as_ref()?;
        if !matches!(mode, Mode::Nat { .. }) {
            let help = "write mode = \"nat\", or remove the key";
            self.wrong(list.span(), "only networks of modes nat and nat-isolated have rules", help);
        }
        let mut rules = Vec::new();
        for line in list.get_ref() {
            match rules::parse(line.get_ref(), &self.interfaces) {
                Ok(rules::Line { chain, edit: Edit::Append(rule) }) => rules.push((chain, rule)),
                Ok(_) => {
                    let help = "write -A in each: rules are in the order of the file";
                    self.wrong(line.span(), "a file only adds rules", help);
                }
                Err(mistake) => {
                    let span = of_part(self.text, line.span(), mistake.span.clone());
                    self.mistakes.push(Mistake { span, ..mistake });
                }
            }
        }
        Some(rules)
    }

    /// There are few enough rules to compare each with each, which a reload does.
    pub(super) fn number_of_rules(&mut self) {
        let file = self.file;
        let mut rules =
            file.networks.iter().filter_map(|table| table.rules.as_ref()).flat_map(|list| list.get_ref());
        if let Some(excess) = rules.nth(rules::LIMIT) {
            let help = format!("write {} at most in all", rules::LIMIT);
            self.wrong(excess.span(), "there are too many rules", help);
        }
    }
}

/// What `-i` and `-o` may name in this file.
pub(super) fn interfaces(file: &FileConfig) -> Interfaces {
    let uplinks = file.uplinks.iter().map(|table| {
        let name = table.name.get_ref().as_str();
        (name, table.device.device(&table.name).map_or(name, |(device, _)| device.get_ref()))
    });
    Interfaces::new(file.networks.iter().map(|table| table.name.get_ref().as_str()), uplinks)
}

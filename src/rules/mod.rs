//! The language that NAT rules are written in: lines of iptables' nat table.
//!
//! ```text
//! "-A POSTROUTING -s 192.168.122.0/24 -o wan -j MASQUERADE"
//!   ──words──▶ ──parse──▶ Line { chain, Edit::Append(Rule) } ──Rule::bind──▶ NatRule
//! ```
//!
//! A [`Rule`] names networks and uplinks; the engine's [`NatRule`] has their numbers. docs/nat.md is the reference.

mod edit;
mod parse;
mod print;
mod target;
mod value;
mod words;

#[cfg(test)]
mod tests;

use engine::report::Chain;
use nat_engine::{Condition, Match, NatRule, Target};
use packet::NetworkId;

pub use edit::{EditError, of_chain};
pub use parse::parse;
pub use print::{port_list, target_name, translation};
pub(crate) use words::quoted;

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Whose rules it is about.
    pub chain: Chain,
    /// What to do with them.
    pub edit: Edit,
}

/// A change of a chain's rules. Numbers begin at 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// `-A`: a new last rule.
    Append(Rule),
    /// `-I`: a new rule that takes this number.
    Insert(usize, Rule),
    /// `-D` with a rule: the first that is equal goes.
    Delete(Rule),
    /// `-D` with a number.
    DeleteNumber(usize),
}

impl Line {
    /// What `-i` and `-o` name.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let rule = match &self.edit {
            Edit::Append(rule) | Edit::Insert(_, rule) | Edit::Delete(rule) => Some(rule),
            Edit::DeleteNumber(_) => None,
        };
        rule.into_iter()
            .flat_map(|rule| [&rule.input, &rule.output])
            .flatten()
            .map(|name| name.value.as_str())
    }
}

impl Line {
    /// The same, done to this number of rule: to the same rules, whatever is equal there.
    #[must_use]
    pub fn numbered(&self, number: usize) -> Self {
        let edit = match &self.edit {
            Edit::Append(rule) | Edit::Insert(_, rule) => Edit::Insert(number, rule.clone()),
            Edit::Delete(_) | Edit::DeleteNumber(_) => Edit::DeleteNumber(number),
        };
        Self { chain: self.chain, edit }
    }
}

impl Edit {
    /// Whether a rule comes; else one goes.
    pub const fn adds(&self) -> bool {
        matches!(self, Self::Append(_) | Self::Insert(..))
    }
}

/// A rule as it is written: with the names of networks and uplinks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// `-i`.
    input: Option<Condition<String>>,
    /// `-o`.
    output: Option<Condition<String>>,
    /// The other conditions.
    matches: Match,
    target: Target,
}

impl Rule {
    /// The rule with numbers for names; `None` if `id` doesn't know a name.
    pub fn bind(&self, id: impl Fn(&str) -> Option<NetworkId>) -> Option<NatRule> {
        let bind = |condition: &Option<Condition<String>>| match condition {
            None => Some(None),
            Some(Condition { value, negated }) => {
                id(value).map(|value| Some(Condition { value, negated: *negated }))
            }
        };
        let matches =
            Match { input: bind(&self.input)?, output: bind(&self.output)?, ..self.matches.clone() };
        Some(NatRule { matches, target: self.target.clone() })
    }

    /// The inverse of [`bind`](Self::bind).
    pub fn of(rule: &NatRule, name: impl Fn(NetworkId) -> String) -> Self {
        let named = |condition: Option<Condition<NetworkId>>| {
            condition.map(|Condition { value, negated }| Condition { value: name(value), negated })
        };
        Self {
            input: named(rule.matches.input),
            output: named(rule.matches.output),
            matches: Match { input: None, output: None, ..rule.matches.clone() },
            target: rule.target.clone(),
        }
    }
}

/// The chain's name.
pub const fn chain_name(chain: Chain) -> &'static str {
    match chain {
        Chain::Prerouting => "PREROUTING",
        Chain::Postrouting => "POSTROUTING",
    }
}

/// What `-i` and `-o` may name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Interfaces {
    /// Anything: the line comes from another machine.
    Any,
    /// Networks and uplinks, and the devices of uplinks, which lines that were written for iptables name: each with
    /// the name of the network or uplink.
    Known(Vec<(String, String)>),
}

impl Interfaces {
    /// `networks` and uplinks by their names, and `uplinks` also by their devices: pairs of name and device. A name
    /// goes before a device of the same name.
    pub fn new<'a>(
        networks: impl Iterator<Item = &'a str>,
        uplinks: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let uplinks: Vec<(&str, &str)> = uplinks.collect();
        let mut known: Vec<(String, String)> = Vec::new();
        for name in networks.chain(uplinks.iter().map(|(name, _)| *name)) {
            known.push((name.to_owned(), name.to_owned()));
        }
        let names = known.len();
        for (name, device) in uplinks {
            if known[..names].iter().all(|(known, _)| known != device) {
                known.push((device.to_owned(), name.to_owned()));
            }
        }
        Self::Known(known)
    }
}

/// Rules of all chains at most: a reload compares each with each.
pub const LIMIT: usize = 4096;

//! Changes of the running rules.

use std::error::Error;
use std::fmt;

use engine::report::Chain;
use nat_engine::{NatRule, RuleSet};
use packet::NetworkId;

use super::{Edit, LIMIT, Line, chain_name};
use crate::terminal::count;

/// Why a line can't change the rules that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EditError {
    /// The chain has fewer rules than that.
    NoSuchNumber {
        /// The chain.
        chain: Chain,
        /// Its rules.
        rules: usize,
    },
    /// No rule of the chain is equal to the one to delete.
    NoSuchRule(Chain),
    /// There is no network or uplink of that name any more.
    NoSuchNetwork,
    /// There are as many rules as there can be.
    TooMany,
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNumber { chain, rules } => {
                write!(
                    f,
                    "{} has {}; see them with `tapswitch nat list --line-numbers`",
                    chain_name(*chain),
                    count(*rules as u64, "rule")
                )
            }
            Self::NoSuchRule(chain) => write!(
                f,
                "{} has no such rule; see them with `tapswitch nat list --line-numbers`, and write the whole rule or its number",
                chain_name(*chain)
            ),
            Self::NoSuchNetwork => f.write_str("the rule names a network that is gone"),
            Self::TooMany => write!(f, "there are {LIMIT} rules already; delete one first"),
        }
    }
}

impl Error for EditError {}

impl Line {
    /// Does to `rules` what the line says; `id` knows the numbers of networks. The number of the rule that came or went.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn apply(
        &self,
        rules: &mut RuleSet,
        id: impl Fn(&str) -> Option<NetworkId>,
    ) -> Result<usize, EditError> {
        let is_full = rules.prerouting.len() + rules.postrouting.len() >= LIMIT;
        let rules = of_chain(rules, self.chain);
        let bound = |rule: &super::Rule| rule.bind(&id).ok_or(EditError::NoSuchNetwork);
        let no_such_number = EditError::NoSuchNumber { chain: self.chain, rules: rules.len() };
        match &self.edit {
            Edit::Append(_) | Edit::Insert(..) if is_full => Err(EditError::TooMany),
            Edit::Append(rule) => {
                rules.push(bound(rule)?);
                Ok(rules.len())
            }
            Edit::Insert(number, _) if *number > rules.len() + 1 => Err(no_such_number),
            Edit::Insert(number, rule) => {
                rules.insert(number - 1, bound(rule)?);
                Ok(*number)
            }
            Edit::Delete(rule) => {
                let rule = bound(rule)?;
                let place = rules.iter().position(|other| *other == rule);
                let place = place.ok_or(EditError::NoSuchRule(self.chain))?;
                rules.remove(place);
                Ok(place + 1)
            }
            Edit::DeleteNumber(number) if *number > rules.len() => Err(no_such_number),
            Edit::DeleteNumber(number) => {
                rules.remove(number - 1);
                Ok(*number)
            }
        }
    }
}

/// The rules of one chain.
pub fn of_chain(rules: &mut RuleSet, chain: Chain) -> &mut Vec<NatRule> {
    match chain {
        Chain::Prerouting => &mut rules.prerouting,
        Chain::Postrouting => &mut rules.postrouting,
    }
}

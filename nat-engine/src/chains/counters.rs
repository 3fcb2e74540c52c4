//! How often each rule decided.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use siphasher::sip::SipHasher13;

use crate::chains::rule::{NatRule, RuleSet};

/// How often a rule was the deciding one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleCounter {
    /// Flows' first packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A counter for each rule of the running configuration, in the rules' order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleCounters<'a> {
    /// Those of `rules.prerouting`.
    pub prerouting: &'a [RuleCounter],
    /// Those of `rules.postrouting`.
    pub postrouting: &'a [RuleCounter],
}

/// A counter for each rule, in the rules' order.
#[derive(Debug)]
pub(super) struct Counters {
    prerouting: Vec<RuleCounter>,
    postrouting: Vec<RuleCounter>,
}

impl Counters {
    pub(super) fn new(rules: &RuleSet) -> Self {
        Self {
            prerouting: vec![RuleCounter::default(); rules.prerouting.len()],
            postrouting: vec![RuleCounter::default(); rules.postrouting.len()],
        }
    }

    /// Rules that stay keep their counters.
    pub(super) fn reconfigure(&mut self, old: &RuleSet, new: &RuleSet) {
        self.prerouting = carry_over(&old.prerouting, &new.prerouting, &self.prerouting);
        self.postrouting = carry_over(&old.postrouting, &new.postrouting, &self.postrouting);
    }

    /// A flow whose first packet has this length was admitted; these rules, by their places in the
    /// chains, decided. A rule of an earlier configuration may be gone.
    pub(super) fn count(&mut self, prerouting: Option<usize>, postrouting: Option<usize>, len: u16) {
        let prerouting = prerouting.and_then(|rule| self.prerouting.get_mut(rule));
        let postrouting = postrouting.and_then(|rule| self.postrouting.get_mut(rule));
        for counter in prerouting.into_iter().chain(postrouting) {
            counter.packets += 1;
            counter.bytes += u64::from(len);
        }
    }

    /// How many flows a PREROUTING rule has had.
    pub(super) fn flows_of(&self, prerouting: usize) -> u64 {
        self.prerouting.get(prerouting).map_or(0, |counter| counter.packets)
    }

    pub(super) fn all(&self) -> RuleCounters<'_> {
        RuleCounters { prerouting: &self.prerouting, postrouting: &self.postrouting }
    }
}

/// The counters of `new` rules: those of an equal old rule, of several such of the next one, else from zero. Packets wait
/// meanwhile, so it takes no longer where all rules are others.
fn carry_over(old: &[NatRule], new: &[NatRule], counters: &[RuleCounter]) -> Vec<RuleCounter> {
    // Whoever writes rules is trusted: no key has to be secret.
    let mut places: HashMap<&NatRule, VecDeque<usize>, BuildHasherDefault<SipHasher13>> = HashMap::default();
    for (place, rule) in old.iter().enumerate() {
        places.entry(rule).or_default().push_back(place);
    }
    let counter = |rule: &NatRule| {
        let same = places.get_mut(rule)?;
        let found = same.pop_front()?;
        same.push_back(found);
        counters.get(found).copied()
    };
    new.iter().map(counter).map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chains::rule::{Condition, Match, PortList, Target};

    #[test]
    fn counters_stay_with_their_rules_in_any_order_and_equal_ones_keep_theirs() {
        let rule = |port| NatRule {
            matches: Match {
                destination_ports: Some(Condition::is(PortList::port(port))),
                ..Match::default()
            },
            target: Target::Accept,
        };
        let rules = |ports: &[u16]| ports.iter().map(|&port| rule(port)).collect::<Vec<_>>();
        let counters = [10, 20, 21, 30].map(|packets| RuleCounter { packets, bytes: 0 });
        let after = |ports: &[u16]| {
            let counters = carry_over(&rules(&[1, 2, 2, 3]), &rules(ports), &counters);
            counters.iter().map(|counter| counter.packets).collect::<Vec<_>>()
        };
        assert_eq!(after(&[1, 2, 2, 3]), [10, 20, 21, 30]);
        assert_eq!(after(&[0, 1, 2, 3]), [0, 10, 20, 30]);
        assert_eq!(after(&[3, 2, 2, 9, 1]), [30, 20, 21, 0, 10]);
        assert_eq!(after(&[]), []);
    }
}

//! Connection tracking and network address translation, without I/O, threads or a clock.
#![forbid(unsafe_code)]

mod rule;
mod timeouts;

pub use rule::{Candidate, Condition, Match, NatRule, PortRange, RuleSet, Target};
pub use timeouts::Timeouts;

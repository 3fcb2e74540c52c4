//! Tests of the way from the text to the plan.

mod any_text;
mod balance;
mod change;
mod docs;
mod ipv6;
mod mistakes;
mod plan;
mod publish;
mod settings;
mod slips;
mod stp;

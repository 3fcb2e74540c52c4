//! `[nat]`: what NAT does where the RFCs leave a choice.

use std::ops::Range;

use nat_engine::{Behaviour, Exhausted, NatSettings};
use packet::Millis;
use toml::Spanned;
use toml::de::DeTable;

use super::read::{boolean, choice, number};
use super::table::{Given, Table};
use crate::mistake::Mistake;

/// Reads the section; what it doesn't say is as the RFCs recommend.
pub(super) fn read(
    section: Option<(Range<usize>, &DeTable<'_>)>,
    mistakes: &mut Vec<Mistake>,
) -> NatSettings {
    let defaults = NatSettings::default();
    let Some((header, entries)) = section else { return defaults };
    let mut table = Table::new(header, entries, mistakes);
    let count = |table: &mut Table<'_, '_>, key, what| {
        table.optional(key, number(1..=16_777_216, what)).map(Spanned::into_inner)
    };
    let settings = NatSettings {
        mapping: table.optional("mapping", choice(BEHAVIOURS)).value_or(defaults.mapping),
        filtering: table.optional("filtering", choice(BEHAVIOURS)).value_or(defaults.filtering),
        port_preservation: table.optional("port-preservation", boolean).value_or(defaults.port_preservation),
        port_parity: table.optional("port-parity", boolean).value_or(defaults.port_parity),
        quarantine: table
            .optional("quarantine", number(0..=3600, "seconds"))
            .map_or(defaults.quarantine, |time| Millis::from_secs(time.into_inner().into())),
        quarantine_limit: table
            .optional("quarantine-limit", number(0..=1_048_576, "ports"))
            .value_or(defaults.quarantine_limit),
        host_flow_limit: count(&mut table, "host-flow-limit", "flows"),
        host_port_limit: count(&mut table, "host-port-limit", "ports"),
        host_mapping_rate: count(&mut table, "host-mapping-rate", "ports in a second"),
        exhausted: table.optional("exhausted", choice(EXHAUSTED)).value_or(defaults.exhausted),
    };
    table.finish();
    settings
}

const BEHAVIOURS: &[(&str, Behaviour)] = &[
    ("endpoint-independent", Behaviour::EndpointIndependent),
    ("address-dependent", Behaviour::AddressDependent),
    ("address-and-port-dependent", Behaviour::AddressAndPortDependent),
];

const EXHAUSTED: &[(&str, Exhausted)] =
    &[("prohibited", Exhausted::Prohibited), ("host-unreachable", Exhausted::HostUnreachable)];

//! `[nat]`: what NAT does where the RFCs leave a choice.

use std::ops::Range;

use nat_engine::{Behaviour, Exhausted, NatSettings};
use packet::Millis;
use toml::Spanned;
use toml::de::DeTable;

use super::read::{boolean, choice, number};
use super::table::Table;
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
        mapping: or(table.optional("mapping", choice(BEHAVIOURS)), defaults.mapping),
        filtering: or(table.optional("filtering", choice(BEHAVIOURS)), defaults.filtering),
        port_preservation: or(table.optional("port-preservation", boolean), defaults.port_preservation),
        port_parity: or(table.optional("port-parity", boolean), defaults.port_parity),
        quarantine: table
            .optional("quarantine", number(0..=3600, "seconds"))
            .map_or(defaults.quarantine, |time| Millis::from_secs(time.into_inner().into())),
        quarantine_limit: or(
            table.optional("quarantine-limit", number(0..=1_048_576, "ports")),
            defaults.quarantine_limit,
        ),
        host_flow_limit: count(&mut table, "host-flow-limit", "flows"),
        host_port_limit: count(&mut table, "host-port-limit", "ports"),
        host_mapping_rate: count(&mut table, "host-mapping-rate", "ports in a second"),
        exhausted: or(table.optional("exhausted", choice(EXHAUSTED)), defaults.exhausted),
    };
    table.finish();
    settings
}

fn or<T>(value: Option<Spanned<T>>, default: T) -> T {
    value.map_or(default, Spanned::into_inner)
}

const BEHAVIOURS: &[(&str, Behaviour)] = &[
    ("endpoint-independent", Behaviour::EndpointIndependent),
    ("address-dependent", Behaviour::AddressDependent),
    ("address-and-port-dependent", Behaviour::AddressAndPortDependent),
];

const EXHAUSTED: &[(&str, Exhausted)] =
    &[("prohibited", Exhausted::Prohibited), ("host-unreachable", Exhausted::HostUnreachable)];

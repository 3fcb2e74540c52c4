//! Ports of uplinks that guests opened for themselves.

use nat_engine::ExplicitMapping;
use packet::Millis;
use serde::{Deserialize, Serialize};

use super::list::{Listed, listed};
use super::table::{Column, Style, left, right, time};

/// A port of an uplink that a guest opened for itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Mapping {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The guest and its port, `ADDRESS:PORT`.
    pub inside: String,
    /// What stands for it outside, `ADDRESS:PORT`.
    pub outside: String,
    /// Time until it ends unless the guest asks again, in milliseconds.
    pub expires_in_ms: u64,
}

const COLUMNS: &[Column<Mapping>] = &[
    left("proto", |mapping, _| mapping.protocol.clone()),
    left("inside", |mapping, _| mapping.inside.clone()),
    left("outside", |mapping, _| mapping.outside.clone()),
    right("expires", |mapping, _| time(mapping.expires_in_ms)),
];

/// A table.
pub(super) fn text(list: &Listed<Mapping>, style: &Style) -> String {
    list.text(COLUMNS, style)
}

/// To `show mappings`: at most `limit` of `mappings`.
pub fn answer(mappings: impl Iterator<Item = ExplicitMapping>, limit: usize, now: Millis) -> Listed<Mapping> {
    let mapping = |mapping: ExplicitMapping| Mapping {
        protocol: mapping.protocol.to_string(),
        inside: mapping.inside.to_string(),
        outside: mapping.outside.to_string(),
        expires_in_ms: mapping.until.since(now).get(),
    };
    listed(mappings, limit, mapping)
}

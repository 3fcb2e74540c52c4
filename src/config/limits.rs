//! The keys that say how much a port may send and get.

use std::ops::Range;

use engine::Storm;
use packet::MAX_FRAME;
use packet::rate::Rate;
use toml::de::DeTable;

use super::read::{Read, Wrong, number};
use super::table::{Given, Table};
use crate::mistake::Mistake;

/// `storm` of a port.
pub(super) fn storm(given: Option<(Range<usize>, &DeTable<'_>)>, mistakes: &mut Vec<Mistake>) -> Storm {
    let Some((header, entries)) = given else { return Storm::default() };
    let mut table = Table::new(header, entries, mistakes);
    let mut frames = |key| {
        let count = table.optional(key, number(1..=10_000_000, "frames a second"));
        count.value().map(|&count| limit(count.into(), 1))
    };
    let storm =
        Storm { broadcast: frames("broadcast"), multicast: frames("multicast"), unknown: frames("unknown") };
    table.finish();
    storm
}

/// Bits a second, as `100Mbit`.
pub(super) fn rate(text: &str) -> Read<Rate> {
    let wrong = || {
        let help = "write a number of kbit, Mbit or Gbit from 64kbit to 1000Gbit, for example \"100Mbit\"";
        Wrong::new(format!("`{text}` is no rate in bits a second"), help)
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "kbit" => 1_000,
        "mbit" => 1_000_000,
        "gbit" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    let bits = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    let bits = bits.filter(|bits| (64_000..=1_000_000_000_000).contains(bits)).ok_or_else(wrong)?;
    // A super-frame has to fit in.
    Ok(limit(bits / 8, MAX_FRAME as u64))
}

/// So many a second, a quarter of which may come at once, or `least`.
fn limit(per_second: u64, least: u64) -> Rate {
    Rate { per_second, burst: (per_second / 4).max(least) }
}

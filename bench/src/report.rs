//! Medians, ratios and bars.

use comfy_table::{CellAlignment, Table, presets};

use crate::subject::Kind;
use crate::workload::Workload;

/// Values of one run.
#[derive(Default)]
pub struct Results(Vec<(Kind, Workload, f64)>);

/// How a subject must compare with the floor: at least (for ping: at most) this ratio of medians.
const BARS: [(Kind, Workload, f64); 11] = [
    (Kind::Switch, Workload::Tcp1, 0.95),
    (Kind::Switch, Workload::Tcp4, 0.95),
    (Kind::Switch, Workload::Frames, 0.9),
    (Kind::Switch, Workload::Ping, 1.1),
    (Kind::Switch, Workload::Connect, 0.95),
    (Kind::SwitchPacket, Workload::Tcp1, 0.8),
    (Kind::SwitchPacket, Workload::Tcp4, 0.8),
    (Kind::SwitchNat, Workload::Tcp1, 0.9),
    (Kind::SwitchNat, Workload::Tcp4, 0.9),
    (Kind::SwitchNat, Workload::Frames, 0.8),
    (Kind::SwitchNat, Workload::Connect, 0.9),
];

impl Results {
    /// Adds a value.
    pub fn add(&mut self, kind: Kind, workload: Workload, value: f64) {
        self.0.push((kind, workload, value));
    }

    /// The median of a subject's values; `None` if there are none.
    pub fn median(&self, kind: Kind, workload: Workload) -> Option<f64> {
        let mut values = self.values(kind, workload);
        values.sort_unstable_by(f64::total_cmp);
        let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
        Some((low + high) / 2.0)
    }

    /// A subject's values in the order of the rounds.
    fn values(&self, kind: Kind, workload: Workload) -> Vec<f64> {
        self.0.iter().filter(|(k, w, _)| (*k, *w) == (kind, workload)).map(|&(_, _, value)| value).collect()
    }

    /// The ratio of a subject's median to that of the floor.
    fn ratio(&self, kind: Kind, workload: Workload) -> Option<f64> {
        Some(self.median(kind, workload)? / self.median(Kind::Floor, workload)?)
    }

    /// Whether every bar that was measured is met.
    pub fn all_bars_met(&self) -> bool {
        BARS.iter().all(|&(kind, workload, bar)| {
            self.ratio(kind, workload).is_none_or(|ratio| met(workload, ratio, bar))
        })
    }

    /// A row per workload and subject.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["workload", "subject", "median", "least", "most", "of floor", "bar", ""]);
        for workload in Workload::ALL {
            for kind in Kind::ALL {
                let Some(median) = self.median(kind, workload) else { continue };
                let values = self.values(kind, workload);
                let number = |value: f64| format!("{value:.3}");
                table.add_row([
                    workload.title().to_owned(),
                    kind.name().to_owned(),
                    number(median),
                    number(values.iter().copied().fold(f64::INFINITY, f64::min)),
                    number(values.iter().copied().fold(0.0, f64::max)),
                    self.ratio(kind, workload).map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                    bar(kind, workload).map(|bar| bar_text(workload, bar)).unwrap_or_default(),
                    self.mark(kind, workload).to_owned(),
                ]);
            }
        }
        for column in table.column_iter_mut().skip(2).take(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn mark(&self, kind: Kind, workload: Workload) -> &'static str {
        match (self.ratio(kind, workload), bar(kind, workload)) {
            (Some(ratio), Some(bar)) if met(workload, ratio, bar) => "pass",
            (Some(_), Some(_)) => "FAIL",
            _ => "",
        }
    }

    /// Every value, for programs.
    pub fn json(&self) -> serde_json::Value {
        let mut rows = Vec::new();
        for workload in Workload::ALL {
            for kind in Kind::ALL {
                let values = self.values(kind, workload);
                if !values.is_empty() {
                    rows.push(serde_json::json!({
                        "workload": workload.name(),
                        "subject": kind.name(),
                        "values": values,
                        "median": self.median(kind, workload),
                        "of_floor": self.ratio(kind, workload),
                        "bar": bar(kind, workload),
                    }));
                }
            }
        }
        rows.into()
    }
}

fn bar(kind: Kind, workload: Workload) -> Option<f64> {
    BARS.iter().find(|(k, w, _)| (*k, *w) == (kind, workload)).map(|&(_, _, bar)| bar)
}

fn bar_text(workload: Workload, bar: f64) -> String {
    format!("{} {bar}", if workload.smaller_is_better() { "≤" } else { "≥" })
}

fn met(workload: Workload, ratio: f64, bar: f64) -> bool {
    if workload.smaller_is_better() { ratio <= bar } else { ratio >= bar }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_values_is_between_the_two_in_the_middle() {
        let mut results = Results::default();
        assert_eq!(results.median(Kind::Floor, Workload::Ping), None);
        for value in [9.0, 1.0, 3.0] {
            results.add(Kind::Floor, Workload::Ping, value);
        }
        assert_eq!(results.median(Kind::Floor, Workload::Ping), Some(3.0));
        results.add(Kind::Floor, Workload::Ping, 5.0);
        assert_eq!(results.median(Kind::Floor, Workload::Ping), Some(4.0));
    }

    #[test]
    fn a_longer_round_trip_and_a_lower_rate_miss_their_bars() {
        for (workload, value) in [(Workload::Ping, 1.2), (Workload::Tcp1, 0.8)] {
            let mut results = Results::default();
            results.add(Kind::Floor, workload, 1.0);
            results.add(Kind::Switch, workload, 1.0);
            assert!(results.all_bars_met());
            results.add(Kind::Switch, workload, value);
            results.add(Kind::Switch, workload, value);
            assert!(!results.all_bars_met());
        }
    }
}

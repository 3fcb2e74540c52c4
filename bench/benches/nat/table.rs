//! What was measured, as a table with bars.

use std::{fmt, fs};

use comfy_table::{CellAlignment, Table, presets};

/// What a median has to be.
#[derive(Clone, Copy)]
pub enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

/// Values by what they are of, in the order in which they came first.
#[derive(Default)]
pub struct Report(Vec<Row>);

struct Row {
    what: &'static str,
    flows: u32,
    values: Vec<f64>,
    bar: Option<Bar>,
}

impl Report {
    /// Adds a value to those of the same row.
    pub fn add(&mut self, what: &'static str, flows: u32, value: f64, bar: Option<Bar>) {
        match self.0.iter_mut().find(|row| (row.what, row.flows) == (what, flows)) {
            Some(row) => row.values.push(value),
            None => self.0.push(Row { what, flows, values: vec![value], bar }),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["", "flows", "median", "least", "most", "clocks", "bar", ""]);
        let clock = clocks_per_ns();
        let mut rows: Vec<&Row> = self.0.iter().collect();
        rows.sort_by_key(|row| (self.0.iter().position(|other| other.what == row.what), row.flows));
        for row in rows {
            let mut values = row.values.clone();
            values.sort_by(f64::total_cmp);
            let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
            let clocks =
                clock.filter(|_| row.what.contains("ns")).map(|clock| format!("{:.0}", median * clock));
            let number = |value: f64| format!("{value:.1}");
            table.add_row([
                row.what.to_owned(),
                row.flows.to_string(),
                number(median),
                number(values[0]),
                number(values[values.len() - 1]),
                clocks.unwrap_or_default(),
                row.bar.map(|bar| bar.to_string()).unwrap_or_default(),
                row.bar.map(|bar| bar.mark(median).to_owned()).unwrap_or_default(),
            ]);
        }
        for column in table.column_iter_mut().skip(1).take(5) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        match clock {
            Some(clock) => write!(f, "clocks are ticks of the time stamp counter, {clock:.3} in a ns"),
            None => write!(f, "the kernel doesn't tell how fast the time stamp counter is"),
        }
    }
}

impl Bar {
    fn mark(self, value: f64) -> &'static str {
        let is_met = match self {
            Self::AtMost(bar) => value <= bar,
            Self::AtLeast(bar) => value >= bar,
        };
        if is_met { "met" } else { "MISSED" }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bar) => write!(f, "≤ {bar}"),
            Self::AtLeast(bar) => write!(f, "≥ {bar}"),
        }
    }
}

/// On x86, where the time stamp counter drives the delay loop, that is two ticks per "bogus" instruction.
fn clocks_per_ns() -> Option<f64> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("bogomips"))?;
    Some(line.split(": ").nth(1)?.trim().parse::<f64>().ok()? / 2000.0)
}

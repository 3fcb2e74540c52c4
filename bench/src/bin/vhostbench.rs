//! `cargo xtask bench vhost`: the switch between two vhost-user front-ends, beside OVS-DPDK.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use bench::vhost::huge_pages::HugePages;
use bench::vhost::middle::Running;
use bench::vhost::testpmd::Testpmd;
use bench::vhost::{BARS, CASES, Case, Ends, Middle, generator};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};

/// Measures frames per second through tapswitch on one processor in busy poll, beside OVS-DPDK.
#[derive(Parser)]
#[command(name = "cargo xtask bench vhost")]
struct Options {
    /// How often each value is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long one measurement takes, in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    millis: u64,
    /// Only rows with this in their name, such as OVS or generated.
    #[arg(long, default_value = "")]
    only: String,
}

/// Pages for testpmd, about 400 MiB, and for OVS, about 700.
const PAGES: u64 = 600;

fn main() -> io::Result<ExitCode> {
    let options = Options::parse();
    let wanted = |case: &Case| case.name.contains(&options.only);
    let _pages = if CASES.iter().any(|case| wanted(case) && case.ends == Ends::Testpmd) {
        let without = |error| format!("nothing was measured, because DPDK needs huge pages: {error}");
        Some(HugePages::provide(PAGES).map_err(|error| io::Error::other(without(error)))?)
    } else {
        None
    };
    let mut values = CASES.map(|_| Vec::new());
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for (case, values) in CASES.into_iter().zip(&mut values).filter(|(case, _)| wanted(case)) {
            let value = measure(case, Duration::from_millis(options.millis));
            values.push(value.map_err(|error| io::Error::other(format!("{}: {error}", case.name)))?);
        }
    }
    let medians = values.each_mut().map(|values| median(values));
    println!("{}", table(&values, &medians));
    println!(
        "{} rounds of {} ms, interleaved; ratios are those of the medians",
        options.rounds, options.millis
    );
    let ratio = |case: usize, base: usize| Some(medians[case]? / medians[base]?);
    let missed = BARS.iter().any(|&(case, base, bar)| ratio(case, base).is_some_and(|ratio| ratio < bar));
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn measure(case: Case, duration: Duration) -> io::Result<f64> {
    let running = Running::start(case.middle)?;
    if case.ends == Ends::Generator {
        return generator::measure(running.sockets(), case.middle == Middle::SwitchNat, duration);
    }
    let mut testpmd = Testpmd::start(case.frame, running.sockets())?;
    // Rings, caches and flow tables fill.
    testpmd.measure(Duration::from_millis(300))?;
    testpmd.measure(duration)
}

/// Of an odd number of values the one in the middle, else the lower of the two. Sorts them.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

fn table(values: &[Vec<f64>], medians: &[Option<f64>]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["frames", "median", "least", "most", "ratio", "to", "bar", ""]);
    for (index, case) in CASES.iter().enumerate() {
        let (Some(median), [least, .., most] | [least @ most]) = (medians[index], values[index].as_slice())
        else {
            continue;
        };
        let mut row = vec![case.name.to_owned()];
        row.extend([median, *least, *most].map(|value| format!("{value:.2}")));
        if let Some(&(_, base, bar)) = BARS.iter().find(|(case, ..)| *case == index)
            && let Some(base_median) = medians[base]
        {
            let ratio = median / base_median;
            let mark = if ratio >= bar { "met" } else { "MISSED" };
            row.extend([
                format!("{ratio:.2}"),
                CASES[base].name.to_owned(),
                format!("≥ {bar}"),
                mark.to_owned(),
            ]);
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1).take(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

//! `cargo xtask bench tap`: the switch on real taps, beside the floor and the kernel.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

use bench::report::Results;
use bench::subject::{Kind, Subject};
use bench::workload::Workload;
use clap::Parser;

/// Measures tapswitch on real taps beside a raw copy loop (the floor) and the kernel's bridge and NAT.
#[derive(Parser)]
#[command(name = "cargo xtask bench tap")]
struct Options {
    /// How often each value is measured.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long one measurement takes, in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// One round of one second: whether it works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Only these workloads: tcp1, tcp4, frames, ping, connect.
    #[arg(long, value_delimiter = ',', value_parser = workload)]
    workloads: Vec<Workload>,
    /// Only these subjects: floor, tapswitch-bridge, tapswitch-packet, tapswitch-stream, tapswitch-dgram, kernel-bridge,
    /// tapswitch-nat, kernel-nat.
    #[arg(long, value_delimiter = ',', value_parser = subject)]
    subjects: Vec<Kind>,
    /// Writes every value to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn workload(name: &str) -> Result<Workload, String> {
    let known = Workload::ALL.into_iter().find(|workload| workload.name() == name);
    known.ok_or_else(|| format!("write one of {}", Workload::ALL.map(Workload::name).join(", ")))
}

fn subject(name: &str) -> Result<Kind, String> {
    let known = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    known.ok_or_else(|| format!("write one of {}", Kind::ALL.map(Kind::name).join(", ")))
}

fn main() -> io::Result<ExitCode> {
    let options = Options::parse();
    let (rounds, seconds) = if options.quick { (1, 1) } else { (options.rounds, options.seconds) };
    let workloads = all_unless_named(&Workload::ALL, options.workloads);
    let kinds = all_unless_named(&Kind::ALL, options.subjects);
    let subjects = kinds.into_iter().map(Subject::start).collect::<io::Result<Vec<_>>>()?;
    let mut results = Results::default();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for &workload in &workloads {
            for subject in &subjects {
                let value = workload.measure(subject, Duration::from_secs(seconds));
                let value = value.map_err(|error| {
                    io::Error::other(format!("{}, {}: {error}", subject.kind.name(), workload.name()))
                })?;
                results.add(subject.kind, workload, value);
            }
        }
    }
    println!("{}", results.table());
    println!("{rounds} rounds of {seconds} s, interleaved; ratios are those of the medians");
    if let Some(path) = options.json {
        fs::write(path, format!("{:#}\n", results.json()))?;
    }
    Ok(if results.all_bars_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn all_unless_named<T: Copy>(all: &[T], named: Vec<T>) -> Vec<T> {
    if named.is_empty() { all.to_vec() } else { named }
}

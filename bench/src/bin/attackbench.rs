//! `cargo xtask bench attack`: what well-behaved ports get while others attack the switch.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use bench::attack::{CONTROL, Field, GAP, Load, MEMORY, Measured, THROUGHPUT};
use clap::Parser;

/// Measures two well-behaved ports, alone and beside several that attack the switch, and the switch itself.
#[derive(Parser)]
#[command(name = "cargo xtask bench attack")]
struct Options {
    /// How long the attack takes, in seconds; the ports are alone for a third of that, and beside an attack on another switch for another.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(3..=600))]
    seconds: u64,
    /// Only these attack: dear, cut, invented, flaps, lies.
    #[arg(long, value_delimiter = ',', value_parser = load)]
    loads: Vec<Load>,
}

fn load(name: &str) -> Result<Load, String> {
    let known = Load::ALL.into_iter().find(|load| load.name() == name);
    known.ok_or_else(|| format!("write one of {}", Load::ALL.map(Load::name).join(", ")))
}

fn main() -> io::Result<ExitCode> {
    let Options { seconds, loads } = Options::parse();
    let loads = if loads.is_empty() { Load::ALL.to_vec() } else { loads };
    let field = Field::start()?;
    // What is used for the first time doesn't count.
    field.alone(Duration::from_secs(1))?;
    let alone = field.alone(Duration::from_secs(seconds / 3))?;
    print("alone", &alone);
    let apart = {
        let other = Field::start()?;
        field.apart(&other, &loads, Duration::from_secs(seconds / 3))?
    };
    print("apart", &apart);
    let beside = field.beside(&loads, Duration::from_secs(seconds))?;
    print("beside", &beside);
    let ratio = beside.throughput / alone.throughput;
    let grown = beside.resident.saturating_sub(alone.resident);
    let bars = [
        (format!("TCP beside / alone: {ratio:.2}, bar ≥ {THROUGHPUT}"), ratio >= THROUGHPUT),
        (format!("longest gap: {:?}, bar ≤ {GAP:?}", beside.gap), beside.gap <= GAP),
        (format!("memory: +{grown} KiB, bar ≤ {MEMORY} KiB"), grown <= MEMORY),
        (
            format!("slowest control answer: {:?}, bar ≤ {CONTROL:?}", beside.control),
            beside.control <= CONTROL,
        ),
    ];
    println!(
        "TCP apart / alone: {:.2}, what the same attack on another switch leaves of the machine; beside / apart: {:.2}",
        apart.throughput / alone.throughput,
        beside.throughput / apart.throughput
    );
    for (text, met) in &bars {
        println!("{} {text}", if *met { "pass" } else { "FAIL" });
    }
    if alone.gap > GAP || beside.pause > GAP {
        println!(
            "the machine is busy with other things: even who doesn't wait for the switch paused too long"
        );
    }
    Ok(if bars.iter().all(|(_, met)| *met) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(phase: &str, measured: &Measured) {
    let Measured { throughput, gap, delay, pause, waited, gaps, sent, arrived, control, resident } = measured;
    println!(
        "{phase}: TCP {throughput:.2} Gbit/s; counter {arrived} of {sent}, longest gap {gap:?}, of which its sender \
         paused {pause:?}, {gaps} over {GAP:?}, longest way {delay:?}; the switch waited {waited:?} \
         for a processor; control {control:?}; {resident} KiB"
    );
}

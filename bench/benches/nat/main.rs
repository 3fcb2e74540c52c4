//! What the connection table costs, in time and memory: `cargo bench -p bench --bench nat`, with `-- --quick` for up to 1 M
//! flows in fewer rounds.
//!
//! ```text
//! each rung of the ladder is filled ─▶ rounds: each rung in turn, packets in random order, in bursts of 64
//!                                      rounds: 64 k, 256 k, 1 M flows are admitted and expire
//! ```
//!
//! All that is compared is measured in turn, so that whatever else the machine does hits it alike.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on ends")]

mod measure;
mod table;

use std::env;
use std::time::Duration;

use cases::nat::{Tables, addresses, shuffled_sources, sources};
use packet::Millis;
use tapio::HugePages;

use measure::{Memory, processor_time, time_since};
use table::{Bar, Report};

/// As the switch has it.
#[global_allocator]
static MEMORY: HugePages = HugePages;

/// 64 k, 256 k, 1 M, 4 M and 10 M: whole numbers of outside addresses.
const LADDER: [u32; 5] = [64_512, 258_048, 1_032_192, 4_128_768, 10_063_872];
const MILLION: u32 = LADDER[2];
/// Rules that match nothing, before the one that does.
const MANY_RULES: u16 = 1000;
/// Packets between two looks at the clock.
const PACKETS: usize = 1 << 19;

fn main() {
    let quick = env::args().any(|arg| arg == "--quick");
    // `cargo test --benches` only wants to know whether it works.
    let only_tried = !env::args().any(|arg| arg == "--bench");
    let (rungs, rounds) = match (only_tried, quick) {
        (true, _) => (&LADDER[..1], 1),
        (_, true) => (&LADDER[..3], 3),
        _ => (&LADDER[..], 9),
    };
    let mut report = Report::default();
    established(rungs, rounds, &mut report);
    // Beyond a million, filling a rung once is enough to tell.
    new_and_expired(&rungs[..rungs.len().min(3)], rounds, &mut report);
    println!("{report}");
}

/// Fills each rung once, which tells its size, and then sends packets of known flows through each in turn.
fn established(rungs: &[u32], rounds: usize, report: &mut Report) {
    let mut filled = Vec::new();
    for &flows in rungs {
        let all = shuffled_sources(flows);
        let (before, start) = (Memory::now(), processor_time());
        let tables = Tables::filled(&all, 0);
        if flows > MILLION {
            report.add("new flows, M/s", flows, rate(flows, start), None);
        }
        let grown = Memory::now().since(before);
        let bar = Some(Bar::AtMost(160.0));
        report.add("bytes per flow, reserved", flows, grown.reserved / f64::from(flows), bar);
        report.add("bytes per flow, resident", flows, grown.resident / f64::from(flows), bar);
        filled.push((flows, "established, ns", tables, all));
    }
    let all = shuffled_sources(LADDER[0]);
    let with_rules = Tables::filled(&all, MANY_RULES);
    filled.push((LADDER[0], "established with 1000 rules, ns", with_rules, all));
    for _ in 0..rounds {
        for (flows, what, tables, all) in &mut filled {
            let bar = match *flows {
                flows if flows == LADDER[0] => Some(Bar::AtMost(41.0)),
                flows if flows == LADDER[3] => Some(Bar::AtMost(120.0)),
                _ => None,
            };
            report.add(what, *flows, measure::forward(tables, all, PACKETS), bar);
        }
    }
}

/// Fills tables, sends what finds no place any more, and lets all of it expire.
fn new_and_expired(rungs: &[u32], rounds: usize, report: &mut Report) {
    for _ in 0..rounds {
        for &flows in rungs {
            let all = shuffled_sources(flows);
            let start = processor_time();
            let mut tables = Tables::filled(&all, 0);
            report.add("new flows, M/s", flows, rate(flows, start), Some(Bar::AtLeast(4.0)));
            if flows == rungs[rungs.len() - 1] {
                at_the_cap(&mut tables, flows, report);
                expire(&mut tables, flows, report);
                let before = Memory::now();
                tables.admit(&all, Millis::from_secs(1000));
                report_growth("growth when filled again after that, kB", flows, before, report);
            }
        }
    }
}

/// Millions a second.
fn rate(flows: u32, start: Duration) -> f64 {
    f64::from(flows) / time_since(start).as_secs_f64() / 1e6
}

fn at_the_cap(tables: &mut Tables, flows: u32, report: &mut Report) {
    let others: Vec<_> = sources(flows..2 * flows, addresses(flows)).collect();
    let (before, start) = (Memory::now(), processor_time());
    assert_eq!(tables.refused(&others), others.len(), "the table was full");
    let ns = time_since(start).as_nanos() as f64 / f64::from(flows);
    report_growth("growth while as many are refused, kB", flows, before, report);
    report.add("refused at the cap, ns", flows, ns, None);
}

fn report_growth(what: &'static str, flows: u32, before: Memory, report: &mut Report) {
    let grown = Memory::now().since(before);
    report.add(what, flows, grown.reserved.max(grown.resident) / 1e3, Some(Bar::AtMost(0.0)));
}

fn expire(tables: &mut Tables, flows: u32, report: &mut Report) {
    let (longest, all) = measure::expire(tables, Millis::from_secs(400));
    let bar = (flows == MILLION).then_some(Bar::AtMost(1000.0));
    report.add("longest on_timeout of expiry, µs", flows, longest.as_secs_f64() * 1e6, bar);
    report.add("expiry, ns per flow", flows, all.as_nanos() as f64 / f64::from(flows), None);
}

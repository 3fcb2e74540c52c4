//! The cases, for Valgrind's callgrind to count: `cargo xtask bench instructions` runs it and reads what came of it.
//!
//! ```text
//! callgrind counts inside `counted_round` only ─▶ at each `end_of_case` it writes its count to a file of its own
//! ```
//!
//! Each case prints its name and the frames that were counted, in the order of those files.
#![forbid(unsafe_code)]

use std::hint::black_box;

use cases::dataplane::{self, CASES};
use cases::nat::{Tables, shuffled_sources};
use packet::{BURST_FRAMES, Millis};

/// Rounds before the first that is counted: whatever is looked up once has been.
const WARM_UP: u32 = 8;
const ROUNDS: u32 = 64;
/// Flows of the connection table alone.
const FLOWS: u32 = 64_512;

fn main() {
    CASES.iter().for_each(through_all_stages);
    through_nat_alone();
}

fn through_all_stages(case: &dataplane::Case) {
    let mut bench = case.bench();
    for round in 0..WARM_UP + ROUNDS {
        case.load(&mut bench, round);
        bench.send(0);
        run(round, &mut || bench.serve(0));
        case.receive(&mut bench);
    }
    end_of_case(case.name);
}

fn through_nat_alone() {
    let all = shuffled_sources(FLOWS);
    let mut tables = Tables::filled(&all, 0);
    (0..WARM_UP + ROUNDS).for_each(|round| run(round, &mut || tables.forward(&all, Millis::ZERO)));
    end_of_case("nat alone, 64 k established flows");
}

fn run(round: u32, work: &mut dyn FnMut()) {
    if round < WARM_UP { work() } else { counted_round(work) }
}

/// All that is counted. Its name is an option of callgrind.
#[inline(never)]
fn counted_round(work: &mut dyn FnMut()) {
    work();
    // The call above must not become a jump, which would leave this function before the work is done.
    black_box(());
}

/// When it is called, callgrind writes what it has counted, and starts anew. Its name is an option, too.
#[inline(never)]
fn end_of_case(name: &str) {
    println!("{name}\t{}", ROUNDS as usize * BURST_FRAMES);
}

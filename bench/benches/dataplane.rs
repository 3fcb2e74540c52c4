//! What a frame costs in the process: from one port in memory through all stages to another.
//!
//! `cargo bench -p bench --bench dataplane`; times are per burst of 64 frames, throughput per frame. The frames' way in and
//! out of the in-memory ports, a copy each, is part of it; `ports` alone shows how much.

use std::hint::black_box;

use cases::dataplane::{CASES, Case, pair, receive};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use packet::{BURST_FRAMES, Burst, NetworkId, Offload, PortCounters, TxEntry};

fn run(criterion: &mut Criterion, case: &Case) {
    let mut bench = case.bench();
    case.load(&mut bench, 0);
    let mut group = criterion.benchmark_group("dataplane");
    group.throughput(Throughput::Elements(BURST_FRAMES as u64));
    group.bench_function(case.name, |bencher| {
        bencher.iter(|| {
            bench.send(0);
            bench.serve(0);
            case.receive(&mut bench);
        });
    });
    group.finish();
}

fn ports(criterion: &mut Criterion) {
    let (mut a, mut b) = pair();
    let (mut frames, mut received, mut unused) = (Burst::new(), Burst::new(), PortCounters::default());
    (0..BURST_FRAMES).for_each(|_| assert!(frames.push(&[0; 60], Offload::NONE)));
    let all: Vec<TxEntry> = (0..BURST_FRAMES).map(TxEntry::as_is).collect();
    let mut group = criterion.benchmark_group("dataplane");
    group.throughput(Throughput::Elements(BURST_FRAMES as u64));
    group.bench_function("ports: two hops in memory, no worker", |bencher| {
        bencher.iter(|| {
            for _ in 0..2 {
                a.tx_burst(&mut frames, &all, &mut unused);
                received.restart(None, NetworkId::new(0));
                receive(&mut *b, black_box(&mut received));
            }
        });
    });
    group.finish();
}

fn dataplane(criterion: &mut Criterion) {
    ports(criterion);
    // There is no end of new flows in a loop without one: their instructions are counted instead.
    CASES.iter().filter(|case| !case.is_new).for_each(|case| run(criterion, case));
}

criterion_group!(benches, dataplane);
criterion_main!(benches);

//! What a frame costs in the process: from one port in memory through all stages to another.
//!
//! `cargo bench -p bench --bench dataplane`; times are per burst of 64 frames, throughput per frame. The frames' way in and
//! out of the in-memory ports, a copy each, is part of it; `ports` alone shows how much.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::{InterfaceConfig, NetworkConfig, PortConfig, Reach, RuntimeConfig, Worker};
use nat_engine::{Match, NatRule, Target};
use packet::builder::eth;
use packet::{BURST_FRAMES, Burst, MacAddr, Millis, NetworkId, Offload, PortCounters, PortId};
use tapio::{Port, memory_pair};

const LAN: NetworkId = NetworkId::new(0);
const WAN: NetworkId = NetworkId::new(1);
const LAN_MAC: MacAddr = MacAddr::local(0xf0);
const WAN_MAC: MacAddr = MacAddr::local(0xf1);
const ROUTER_MAC: MacAddr = MacAddr::local(0xee);
const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const NOW: Millis = Millis::from_secs(1000);

/// A worker between in-memory ports: 0 and 1 in the LAN, 2 the uplink.
struct Bench {
    worker: Worker,
    inside: Vec<Port>,
    outside: Vec<Port>,
    burst: Burst,
    unused: PortCounters,
}

impl Bench {
    fn new() -> Self {
        let mut worker = Worker::new([0x5eed, 0x5eed]);
        worker.install(config());
        let (inside, outside) = (0..3).map(|_| pair()).unzip();
        Self { worker, inside, outside, burst: Burst::new(), unused: PortCounters::default() }
    }

    /// Sends `frames` into a port from outside.
    fn send(&mut self, port: usize, frames: &mut Burst) {
        let all: Vec<u8> = (0..frames.len() as u8).collect();
        self.outside[port].tx_burst(frames, &all, &mut self.unused);
    }

    /// One round of the driver for a port.
    fn serve(&mut self, port: usize) {
        let id = PortId::new(port as u16).expect("a few ports");
        self.burst.restart(Some(id), if port == 2 { WAN } else { LAN });
        receive(&mut self.inside[port], &mut self.burst);
        let inside = &mut self.inside;
        let turn = self.worker.process(&mut self.burst, NOW);
        let turn = self.worker.transmit(turn, &mut self.burst, |to, burst, frames, counters| {
            inside[to.index()].tx_burst(burst, frames, counters);
        });
        let own = self.worker.service(turn, &mut self.burst, NOW);
        self.worker.transmit_own(own, |to, burst, frames, counters| {
            inside[to.index()].tx_burst(burst, frames, counters);
        });
    }

    /// Takes out what has arrived at a port.
    fn receive(&mut self, port: usize) -> usize {
        self.burst.restart(None, LAN);
        receive(&mut self.outside[port], &mut self.burst);
        self.burst.len()
    }

    /// Announces a station by ARP, so that bridge and gateway know it.
    fn announce(&mut self, port: usize, mac: MacAddr, ip: Ipv4Addr, gateway: Ipv4Addr) {
        let arp = eth().src(mac).dst(MacAddr::BROADCAST).arp(1, (mac, ip), (MacAddr::ZERO, gateway));
        self.send(port, &mut burst_of([arp]));
        self.serve(port);
        for port in 0..3 {
            self.receive(port);
        }
    }
}

fn config() -> RuntimeConfig {
    let network = |id: NetworkId, reach, mac, address: &str| NetworkConfig {
        id,
        name: id.get().to_string(),
        reach,
        interface: Some(InterfaceConfig {
            mac,
            address: address.parse().expect("an address"),
            mtu: 1500,
            dhcp: None,
            pcp: false,
            shared: None,
        }),
        ageing: Millis::from_secs(300),
        fdb_capacity: 8192,
        isolated: false,
    };
    let port = |id, network| PortConfig {
        id: PortId::new(id).expect("a few ports"),
        name: id.to_string(),
        network,
        mtu: 1500,
        learn_limit: 8192,
        static_macs: Vec::new(),
        guard: engine::Guard::NONE,
        addresses: Vec::new(),
    };
    let mut config = RuntimeConfig {
        networks: vec![
            network(LAN, Reach::Translated(WAN), LAN_MAC, "10.0.0.1/8"),
            network(WAN, Reach::Uplink(Some(ROUTER)), WAN_MAC, "203.0.113.5/24"),
        ],
        ports: vec![port(0, LAN), port(1, LAN), port(2, WAN)],
        flow_limit: 1 << 20,
        ..RuntimeConfig::default()
    };
    let output = Some(nat_engine::Condition::is(WAN));
    let matches = Match { output, ..Match::default() };
    config.rules.postrouting.push(NatRule { matches, target: Target::Masquerade { ports: None } });
    config
}

fn pair() -> (Port, Port) {
    let (a, b) = memory_pair(2 * BURST_FRAMES);
    (Port::Memory(a), Port::Memory(b))
}

fn receive(port: &mut Port, burst: &mut Burst) {
    port.rx_burst(burst).expect("a port in memory is never gone");
}

fn burst_of(frames: impl IntoIterator<Item = Vec<u8>>) -> Burst {
    let mut burst = Burst::new();
    frames.into_iter().for_each(|frame| assert!(burst.push(&frame, Offload::NONE)));
    burst
}

fn guest(n: u32) -> (MacAddr, Ipv4Addr) {
    (MacAddr::local(0x1_0000 + u64::from(n)), Ipv4Addr::from_bits(0x0a00_0100 + n))
}

/// 64-byte frames (60 without their checksum), each between other stations if `stations` is 64.
fn bridged(stations: u32) -> Vec<Vec<u8>> {
    let frame = |n: u32| eth().src(guest(n % stations).0).dst(guest(1000 + n % stations).0).payload(&[0; 46]);
    (0..BURST_FRAMES as u32).map(frame).collect()
}

/// 64-byte UDP packets through the gateway, each of another flow if `flows` is 64.
fn through_nat(flows: u32) -> Vec<Vec<u8>> {
    let (mac, ip) = guest(1);
    let remote = |n: u32| Ipv4Addr::from_bits(0xc633_6400 + n % flows);
    let frame = |n: u32| eth().src(mac).dst(LAN_MAC).ipv4(ip, remote(n)).udp(5000, 53).payload(&[0; 18]);
    (0..BURST_FRAMES as u32).map(frame).collect()
}

fn run(criterion: &mut Criterion, name: &str, frames: Vec<Vec<u8>>, output: usize) {
    let mut bench = Bench::new();
    for n in 0..64 {
        bench.announce(1, guest(1000 + n).0, guest(1000 + n).1, Ipv4Addr::new(10, 0, 0, 1));
    }
    bench.announce(0, guest(1).0, guest(1).1, Ipv4Addr::new(10, 0, 0, 1));
    bench.announce(2, ROUTER_MAC, ROUTER, Ipv4Addr::new(203, 0, 113, 5));
    let mut frames = burst_of(frames);
    let mut group = criterion.benchmark_group("dataplane");
    group.throughput(Throughput::Elements(BURST_FRAMES as u64));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            bench.send(0, &mut frames);
            bench.serve(0);
            assert_eq!(bench.receive(output), BURST_FRAMES);
        });
    });
    group.finish();
}

fn ports(criterion: &mut Criterion) {
    let (mut a, mut b) = pair();
    let mut frames = burst_of(bridged(1));
    let (mut received, mut unused) = (Burst::new(), PortCounters::default());
    let all: Vec<u8> = (0..BURST_FRAMES as u8).collect();
    let mut group = criterion.benchmark_group("dataplane");
    group.throughput(Throughput::Elements(BURST_FRAMES as u64));
    group.bench_function("ports: two hops in memory, no worker", |bencher| {
        bencher.iter(|| {
            for _ in 0..2 {
                a.tx_burst(&mut frames, &all, &mut unused);
                received.restart(None, LAN);
                receive(&mut b, black_box(&mut received));
            }
        });
    });
    group.finish();
}

fn dataplane(criterion: &mut Criterion) {
    ports(criterion);
    run(criterion, "bridge, one pair of stations", bridged(1), 1);
    run(criterion, "bridge, 64 pairs of stations", bridged(64), 1);
    run(criterion, "nat, one established flow", through_nat(1), 2);
    run(criterion, "nat, 64 established flows", through_nat(64), 2);
}

criterion_group!(benches, dataplane);
criterion_main!(benches);

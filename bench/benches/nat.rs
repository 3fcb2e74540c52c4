//! What a NAT call costs: packets of established flows in random order, and new flows.
//!
//! 63 flows per inside host and 64 512 per outside address, as CSIT's NAT44 suites have it. Run with
//! `cargo bench -p bench --bench nat`.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nat_engine::{Condition, Known, Match, Nat, NatConfig, NatPacket, NatRule, RuleSet, Target};
use packet::builder::eth;
use packet::{BURST_FRAMES, Ipv4Cidr, Ipv4Packet, Millis, NetworkId};

const LAN: NetworkId = NetworkId::new(0);
const WAN: NetworkId = NetworkId::new(1);
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const FLOWS_PER_HOST: u32 = 63;
/// Hosts behind one outside address: a /22.
const HOSTS_PER_ADDRESS: u32 = 1024;
const LADDER: [u32; 4] = [1_008, 64_512, 258_048, 1_032_192];

/// The inside socket of flow `n`.
fn inside(n: u32) -> (Ipv4Addr, u16) {
    let host = Ipv4Addr::new(10, 0, 0, 0).to_bits() + n / FLOWS_PER_HOST;
    // Hosts of one outside address have different ports, so that each keeps its own.
    let slot = n / FLOWS_PER_HOST % HOSTS_PER_ADDRESS * FLOWS_PER_HOST + n % FLOWS_PER_HOST;
    (Ipv4Addr::from_bits(host), 1024 + slot as u16)
}

fn nat(flows: u32) -> Nat {
    let rule = |n: u32| {
        let first = Ipv4Addr::new(10, 0, 0, 0).to_bits() + n * HOSTS_PER_ADDRESS;
        let hosts = Ipv4Cidr::new(Ipv4Addr::from_bits(first), 22);
        NatRule {
            matches: Match { source: hosts.map(Condition::is), ..Match::default() },
            target: Target::Snat {
                addresses: Ipv4Addr::from_bits(Ipv4Addr::new(203, 0, 113, 0).to_bits() + n).into(),
                ports: None,
            },
        }
    };
    let postrouting = (0..flows.div_ceil(HOSTS_PER_ADDRESS * FLOWS_PER_HOST)).map(rule).collect();
    let rules = RuleSet { prerouting: Vec::new(), postrouting };
    Nat::new(NatConfig { rules, flow_limit: flows, ..NatConfig::default() }, [1, 2])
}

/// A 64-byte frame's packet, to be given a flow's source without building it anew.
struct Template {
    bytes: Vec<u8>,
    ip: Ipv4Packet,
}

impl Template {
    fn new() -> Self {
        let frame = eth().ipv4(Ipv4Addr::new(10, 0, 0, 1), REMOTE).udp(1, 53).payload(&[0; 18]);
        let bytes = frame[14..].to_vec();
        let ip = Ipv4Packet::parse(&bytes).expect("the builder builds valid packets");
        Self { bytes, ip }
    }

    #[inline]
    fn packet(&mut self, (src, port): (Ipv4Addr, u16)) -> NatPacket<'_> {
        (self.ip.src, self.ip.src_port, self.ip.dst) = (src, port, REMOTE);
        NatPacket { bytes: &mut self.bytes, ip: &mut self.ip, partial_checksum: false }
    }
}

fn admit_all(nat: &mut Nat, flows: u32) {
    let mut template = Template::new();
    for n in 0..flows {
        let mut packet = template.packet(inside(n));
        let destination = nat.destination(packet.ip, LAN).expect("no rule refuses it");
        nat.admit_new(&mut packet, destination, LAN, WAN, Millis::ZERO).expect("there is room for each flow");
    }
}

fn established(c: &mut Criterion) {
    let mut group = c.benchmark_group("nat/established");
    group.throughput(Throughput::Elements(BURST_FRAMES as u64));
    for flows in LADDER {
        let mut nat = nat(flows);
        admit_all(&mut nat, flows);
        // A full-period generator's order: every flow, none twice in a row.
        let order: Vec<_> =
            (0..flows).map(|n| inside((u64::from(n) * 2_654_435_761 % u64::from(flows)) as u32)).collect();
        let mut template = Template::new();
        let mut next = order.iter().cycle();
        group.bench_function(BenchmarkId::new("one by one", flows), |b| {
            b.iter(|| {
                for source in next.by_ref().take(BURST_FRAMES) {
                    let known = nat.translate_known(&mut template.packet(*source), Millis::ZERO);
                    assert!(black_box(known) == Known::Translated);
                }
            });
        });
        group.bench_function(BenchmarkId::new("looking ahead", flows), |b| {
            b.iter(|| {
                let burst: [_; BURST_FRAMES] =
                    std::array::from_fn(|_| next.next().copied().unwrap_or((REMOTE, 0)));
                let mut keys = burst.map(|source| nat.key(template.packet(source).ip));
                nat.look_ahead(&mut keys, Millis::ZERO);
                for (source, key) in burst.into_iter().zip(keys) {
                    let known = nat.translate_known_at(&mut template.packet(source), key, Millis::ZERO);
                    assert!(black_box(known) == Known::Translated);
                }
            });
        });
    }
}

fn admitted(c: &mut Criterion) {
    let mut group = c.benchmark_group("nat/new");
    group.sample_size(10);
    for flows in LADDER {
        group.throughput(Throughput::Elements(u64::from(flows)));
        group.bench_function(BenchmarkId::from_parameter(flows), |b| {
            b.iter_with_large_drop(|| {
                let mut nat = nat(flows);
                admit_all(&mut nat, flows);
                nat
            });
        });
    }
}

criterion_group!(benches, established, admitted);
criterion_main!(benches);

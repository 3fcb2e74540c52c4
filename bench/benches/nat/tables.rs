//! The connection table under test, and packets for it.
//!
//! 63 flows per inside host and 64 512 per outside address, as CSIT's NAT44 suites have it.

use std::fs;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::{Duration, Instant};

use nat_engine::{
    AddressRange, Admission, Condition, FlowKey, Known, Match, Nat, NatConfig, NatPacket, NatRule, PortList,
    RuleSet, Target,
};
use packet::builder::eth;
use packet::{BURST_FRAMES, DropReason, Ipv4Cidr, Ipv4Packet, Millis, NetworkId};
use rustix::time::{ClockId, clock_gettime};

const LAN: NetworkId = NetworkId::new(0);
const WAN: NetworkId = NetworkId::new(1);
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const FLOWS_PER_HOST: u32 = 63;
/// Hosts behind one outside address: a /22.
const HOSTS_PER_ADDRESS: u32 = 1024;

/// The inside socket of a flow.
pub type Source = (Ipv4Addr, u16);

/// The sources of flows with these numbers, behind so many outside addresses.
pub fn sources(numbers: Range<u32>, addresses: u32) -> impl Iterator<Item = Source> {
    numbers.map(move |n| {
        let host = Ipv4Addr::new(10, 0, 0, 0).to_bits() + n / FLOWS_PER_HOST;
        // Neighbours have different outside addresses, and hosts of one address different ports: each keeps its own.
        let slot = n / FLOWS_PER_HOST / addresses * FLOWS_PER_HOST + n % FLOWS_PER_HOST;
        (Ipv4Addr::from_bits(host), 1024 + slot as u16)
    })
}

/// Outside addresses of so many flows.
pub fn addresses(flows: u32) -> u32 {
    flows.div_ceil(FLOWS_PER_HOST * HOSTS_PER_ADDRESS)
}

/// All sources of so many flows, in an order that looks random.
pub fn shuffled_sources(flows: u32) -> Vec<Source> {
    let mut all: Vec<_> = sources(0..flows, addresses(flows)).collect();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for last in (1..all.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        all.swap(last, (random % (last as u64 + 1)) as usize);
    }
    all
}

/// Memory of this process, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Heap and large allocations, used or not.
    pub reserved: f64,
    /// What of it is used.
    pub resident: f64,
}

impl Memory {
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let bytes = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_end_matches("kB").trim().parse::<f64>().unwrap() * 1024.0
        };
        Self { reserved: bytes("VmData:"), resident: bytes("VmRSS:") }
    }

    pub fn since(self, before: Self) -> Self {
        Self { reserved: self.reserved - before.reserved, resident: self.resident - before.resident }
    }
}

/// What this thread has had of its processor: others that run meanwhile don't count, but for what they do to the caches.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A NAT, a clock and a packet.
pub struct Tables {
    nat: Nat,
    start: Instant,
    packet: Template,
    /// Of the burst at hand, for its first packets.
    admissions: Vec<Option<Admission>>,
    /// Where in the sources the next burst starts.
    next: usize,
}

impl Tables {
    /// With a flow for each source, room for no other, and so many rules that match nothing.
    pub fn filled(all: &[Source], rules: u16) -> Self {
        let config = NatConfig {
            rules: rule_set(all.len() as u32, rules),
            flow_limit: all.len() as u32,
            ..NatConfig::default()
        };
        let (nat, packet) = (Nat::new(config, [1, 2]), Template::new());
        let admissions = Vec::with_capacity(BURST_FRAMES);
        let mut tables = Self { nat, start: Instant::now(), packet, admissions, next: 0 };
        tables.admit(all, Millis::ZERO);
        tables
    }

    pub fn admit(&mut self, all: &[Source], now: Millis) {
        all.chunks(BURST_FRAMES).for_each(|burst| assert!(self.pass(burst, now) == Ok(())));
        assert_eq!(self.nat.flow_count(), all.len());
    }

    /// Sends packets of known flows, and returns what each took, in ns.
    pub fn forward(&mut self, all: &[Source], packets: usize) -> f64 {
        let start = processor_time();
        for _ in 0..packets / BURST_FRAMES {
            // The clock goes on: once in a second, a flow moves in its list.
            let now = Millis::new(self.start.elapsed().as_millis() as u64);
            let burst = &all[self.next..self.next + BURST_FRAMES];
            assert!(self.pass(burst, now) == Ok(()));
            self.next = if self.next + 2 * BURST_FRAMES > all.len() { 0 } else { self.next + BURST_FRAMES };
        }
        assert_eq!(self.nat.admitted(), all.len() as u64);
        (processor_time() - start).as_nanos() as f64 / packets as f64
    }

    /// Sends first packets that find no place, and returns how many.
    pub fn refused(&mut self, others: &[Source]) -> usize {
        let refused = |tables: &mut Self, source| {
            tables.pass(&[source], Millis::ZERO) == Err(DropReason::FlowTableFull)
        };
        others.iter().filter(|&&source| refused(self, source)).count()
    }

    /// Lets all flows expire. The longest call, and all together.
    pub fn expire(&mut self, now: Millis) -> (Duration, Duration) {
        let (mut longest, start) = (Duration::ZERO, processor_time());
        while self.nat.flow_count() > 0 {
            let call = processor_time();
            self.nat.on_timeout(now);
            longest = longest.max(processor_time() - call);
        }
        (longest, processor_time() - start)
    }

    /// A burst, as the gateway of the engine has it.
    fn pass(&mut self, burst: &[Source], now: Millis) -> Result<(), DropReason> {
        let Self { nat, packet, admissions, .. } = self;
        let mut keys = [FlowKey::default(); BURST_FRAMES];
        for (key, &source) in keys.iter_mut().zip(burst) {
            *key = nat.key(packet.from(source).ip);
        }
        let keys = &mut keys[..burst.len()];
        let unknown = nat.look_ahead(keys, now);
        admissions.clear();
        if unknown != 0 {
            for (nth, &source) in burst.iter().enumerate() {
                let ip = packet.from(source).ip;
                let is_unknown = unknown >> nth & 1 != 0;
                admissions.push(is_unknown.then(|| prepare(nat, ip, keys[nth])).transpose()?);
            }
            nat.look_ahead_new(admissions.iter().flatten());
        }
        for (nth, &source) in burst.iter().enumerate() {
            let mut packet = packet.from(source);
            match black_box(nat.translate_known_at(&mut packet, keys[nth], now)) {
                Known::Translated => {}
                Known::Miss => {
                    let admission = match admissions.get(nth).copied().flatten() {
                        Some(admission) => admission,
                        None => prepare(nat, packet.ip, keys[nth])?,
                    };
                    nat.admit(&mut packet, admission, now)?;
                }
                Known::Drop(reason) => return Err(reason),
                Known::Later => return Err(DropReason::FragmentWithoutFirst),
            }
        }
        Ok(())
    }
}

fn prepare(nat: &Nat, ip: &Ipv4Packet, key: FlowKey) -> Result<Admission, DropReason> {
    nat.prepare(ip, key, nat.destination(ip, LAN)?, LAN, WAN)
}

/// One rule for all flows, after so many that match nothing.
fn rule_set(flows: u32, others: u16) -> RuleSet {
    let (inside, first) = (Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, 0), 8), Ipv4Addr::new(203, 0, 113, 0));
    let rule = |destination_ports, last: u32| {
        let last = Ipv4Addr::from_bits(first.to_bits() + last);
        NatRule {
            matches: Match { source: inside.map(Condition::is), destination_ports, ..Match::default() },
            target: Target::Snat { addresses: AddressRange { first, last }, ports: None },
        }
    };
    let others = (0..others).map(|n| rule(Some(Condition::is(PortList::port(10_000 + n))), 0));
    RuleSet {
        prerouting: Vec::new(),
        postrouting: others.chain([rule(None, addresses(flows) - 1)]).collect(),
    }
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
        let ip = Ipv4Packet::parse(&bytes).unwrap();
        Self { bytes, ip }
    }

    #[inline]
    fn from(&mut self, (src, port): Source) -> NatPacket<'_> {
        (self.ip.src, self.ip.src_port, self.ip.dst) = (src, port, REMOTE);
        NatPacket { bytes: &mut self.bytes, ip: &mut self.ip, partial_checksum: false }
    }
}

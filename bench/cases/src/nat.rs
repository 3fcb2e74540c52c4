//! The connection table under test, and packets for it.
//!
//! 63 flows per inside host and 64 512 per outside address, as CSIT's NAT44 suites have it.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::ops::Range;

use nat_engine::{
    AddressRange, Admission, Condition, FlowKey, Known, Match, Nat, NatConfig, NatPacket, NatRule, PortList,
    RuleSet, Target,
};
use packet::builder::eth;
use packet::{BURST_FRAMES, DropReason, Ipv4Cidr, Ipv4Packet, Millis, NetworkId};

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
#[must_use]
pub fn addresses(flows: u32) -> u32 {
    flows.div_ceil(FLOWS_PER_HOST * HOSTS_PER_ADDRESS)
}

/// All sources of so many flows, in an order that looks random.
#[must_use]
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

/// A NAT and a packet.
pub struct Tables {
    nat: Nat,
    packet: Template,
    /// Of the burst at hand, for its first packets.
    admissions: Vec<Option<Admission>>,
    /// Where in the sources the next burst starts.
    next: usize,
}

impl Tables {
    /// With a flow for each source, room for no other, and so many rules that match nothing.
    #[must_use]
    pub fn filled(all: &[Source], rules: u16) -> Self {
        let config = NatConfig {
            rules: rule_set(all.len() as u32, rules),
            flow_limit: all.len() as u32,
            ..NatConfig::default()
        };
        let (nat, packet) = (Nat::new(config, [1, 2]), Template::new());
        let admissions = Vec::with_capacity(BURST_FRAMES);
        let mut tables = Self { nat, packet, admissions, next: 0 };
        tables.admit(all, Millis::ZERO);
        tables
    }

    /// Sends the first packets of flows.
    pub fn admit(&mut self, all: &[Source], now: Millis) {
        all.chunks(BURST_FRAMES).for_each(|burst| assert!(self.pass(burst, now) == Ok(())));
        assert_eq!(self.nat.flow_count(), all.len());
    }

    /// Sends a burst of known flows, the next of `all`.
    pub fn forward(&mut self, all: &[Source], now: Millis) {
        let burst = &all[self.next..self.next + BURST_FRAMES];
        assert!(self.pass(burst, now) == Ok(()));
        self.next = if self.next + 2 * BURST_FRAMES > all.len() { 0 } else { self.next + BURST_FRAMES };
    }

    /// Flows admitted since the start.
    #[must_use]
    pub fn admitted(&self) -> u64 {
        self.nat.admitted()
    }

    /// Sends first packets that find no place, and returns how many.
    pub fn refused(&mut self, others: &[Source]) -> usize {
        let refused = |tables: &mut Self, source| {
            tables.pass(&[source], Millis::ZERO) == Err(DropReason::FlowTableFull)
        };
        others.iter().filter(|&&source| refused(self, source)).count()
    }

    /// Lets some of the flows expire that have had their time. `false` if there are none left.
    pub fn expire(&mut self, now: Millis) -> bool {
        self.nat.on_timeout(now);
        self.nat.flow_count() > 0
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
        let ip = Ipv4Packet::parse(&bytes).expect("a packet");
        Self { bytes, ip }
    }

    #[inline]
    fn from(&mut self, (src, port): Source) -> NatPacket<'_> {
        (self.ip.src, self.ip.src_port, self.ip.dst) = (src, port, REMOTE);
        NatPacket { bytes: &mut self.bytes, ip: &mut self.ip, partial_checksum: false }
    }
}

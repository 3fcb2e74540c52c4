//! The NAT as its caller sees it.

use std::net::Ipv4Addr;

use packet::{DropReason, Ipv4Packet, Millis, NetworkId};

use crate::{RuleSet, Timeouts, Tuple};

/// A packet as its caller parsed it.
#[derive(Debug)]
pub struct NatPacket<'a> {
    /// From the IPv4 header on; `ip.total_len` bytes or more (padding).
    pub bytes: &'a mut [u8],
    /// What [`Ipv4Packet::parse`] read from `bytes`; follows every rewrite.
    pub ip: Ipv4Packet,
    /// The layer-4 checksum is still to be completed and holds the pseudo-header's sum only:
    /// [`packet::Offload::is_partial_at`].
    pub partial_checksum: bool,
}

/// What a [`Nat`] is told from outside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NatConfig {
    /// The rules.
    pub rules: RuleSet,
    /// Idle times of flows.
    pub timeouts: Timeouts,
    /// Flows at most; a new one beyond that is refused.
    pub flow_limit: u32,
    /// The switch's own address on each network, by [`NetworkId::index`]: what MASQUERADE takes on the way out.
    pub addresses: Vec<Option<Ipv4Addr>>,
}

/// What [`Nat::translate_known`] made of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// It belongs to a flow and has been rewritten.
    Translated,
    /// It belongs to no flow; untouched.
    Miss,
    /// It must not go on.
    Drop(DropReason),
}

/// Where a flow's first packet is to go after PREROUTING. To be handed on to [`Nat::admit_new`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The address to route by.
    pub address: Ipv4Addr,
    /// The port; an ICMP echo's identifier stays as it is.
    pub(crate) port: u16,
    /// The deciding rule's place in the chain.
    pub(crate) rule: Option<usize>,
    /// Whether that is elsewhere than where the packet was sent to.
    pub translated: bool,
}

/// A flow, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowView {
    /// The direction of the flow's first packet, as its packets arrive.
    pub original: Tuple,
    /// The other direction, as its packets arrive.
    pub reply: Tuple,
    /// Where the flow is in its life, such as `established`.
    pub state: &'static str,
    /// Time until it is forgotten if nothing comes.
    pub expires_in: Millis,
    /// Packets in original and reply direction.
    pub packets: [u64; 2],
    /// Bytes of IP packets in original and reply direction.
    pub bytes: [u64; 2],
}

/// How often a rule was the deciding one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleCounter {
    /// Flows' first packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A counter for each rule of the running configuration, in the rules' order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleCounters<'a> {
    /// Those of `rules.prerouting`.
    pub prerouting: &'a [RuleCounter],
    /// Those of `rules.postrouting`.
    pub postrouting: &'a [RuleCounter],
}

/// Flows, mappings and rules of one worker.
#[derive(Debug)]
pub struct Nat {
    config: NatConfig,
}

impl Nat {
    /// A NAT without flows. `seed` keys the hash and the choice of ports: it must be random and secret.
    pub fn new(config: NatConfig, _seed: [u64; 2]) -> Self {
        Self { config }
    }

    /// Replaces rules, timeouts and addresses. Flows that exist keep their translation.
    pub fn reconfigure(&mut self, config: NatConfig) {
        self.config = config;
    }

    /// Rewrites a packet of a known flow in place: the hit path. Allocates nothing; budget 25 ns and the memory's latency.
    pub fn translate_known(&mut self, _packet: &mut NatPacket<'_>, _now: Millis) -> Known {
        Known::Miss
    }

    /// PREROUTING for a flow's first packet: where it wants to go. Stores nothing.
    pub fn destination(&self, packet: &NatPacket<'_>, _input: NetworkId) -> Destination {
        Destination { address: packet.ip.dst, port: 0, rule: None, translated: false }
    }

    /// POSTROUTING for a flow's first packet, which the caller routed from `input` to `output`: picks the translation,
    /// stores the flow and rewrites the packet.
    ///
    /// # Errors
    /// `FlowTableFull`, `NatNoPorts`, `NatNoAddress`, `NatProtocolUnsupported`, `TcpNoSyn`, `NatUnsolicited` (an echo
    /// reply that nobody asked for), `IcmpErrorUnmatched`, `FragmentWithoutFirst`. Nothing is stored then, and the
    /// packet is untouched.
    pub fn admit_new(
        &mut self,
        _packet: &mut NatPacket<'_>,
        _destination: Destination,
        _input: NetworkId,
        _output: NetworkId,
        _now: Millis,
    ) -> Result<(), DropReason> {
        Err(DropReason::FlowTableFull)
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do; a moment that has passed means at once.
    pub fn next_timeout(&self) -> Option<Millis> {
        None
    }

    /// Forgets flows that were idle for too long, a bounded number at a time.
    pub fn on_timeout(&mut self, _now: Millis) {}

    /// All flows.
    pub fn flows(&self, _now: Millis) -> impl Iterator<Item = FlowView> + '_ {
        std::iter::empty()
    }

    /// How often each rule decided.
    pub fn rule_counters(&self) -> RuleCounters<'_> {
        RuleCounters { prerouting: &[], postrouting: &[] }
    }

    /// Flows in the table.
    pub fn flow_count(&self) -> usize {
        0
    }

    /// Flows ever admitted.
    pub fn admitted(&self) -> u64 {
        0
    }

    /// Flows that timed out.
    pub fn expired(&self) -> u64 {
        0
    }
}

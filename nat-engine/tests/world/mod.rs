//! A guest network behind an uplink, as the gateway would run it:
//!
//! ```text
//! GUEST .10, GUEST2 .11 ── LAN 192.168.122.0/24 ── NAT ── WAN, own address PUBLIC ── REMOTE, REMOTE2
//! ```
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part; tests may unwrap")]

use std::net::Ipv4Addr;

use nat_engine::{
    Condition, FlowView, Known, Match, Nat, NatConfig, NatPacket, NatRule, PortList, RuleSet, Target,
};
use packet::builder::{covered, eth};
use packet::checksum::{Sum, of};
use packet::wire::Ipv4Header;
use packet::{DropReason, Fragment, Ipv4Cidr, Ipv4Packet, Millis, NetworkId, Protocol};

pub const LAN: NetworkId = NetworkId::new(0);
pub const WAN: NetworkId = NetworkId::new(1);
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 1);
pub const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 10);
pub const GUEST2: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 11);
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
pub const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const REMOTE2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;
pub const FIN: u8 = 0x01;
pub const RST: u8 = 0x04;

pub struct World {
    pub nat: Nat,
    pub now: Millis,
    pub partial_checksum: bool,
}

/// The LAN masqueraded towards elsewhere, and `PUBLIC:8080/tcp` published as `GUEST:80`.
pub fn config() -> NatConfig {
    NatConfig {
        rules: RuleSet {
            prerouting: vec![dnat(PUBLIC, Protocol::TCP, 8080, GUEST, Some(80))],
            postrouting: vec![NatRule {
                matches: Match {
                    source: net("192.168.122.0/24"),
                    destination: net("192.168.122.0/24").map(|net| Condition::not(net.value)),
                    ..Match::default()
                },
                target: Target::Masquerade { ports: None },
            }],
        },
        flow_limit: 1000,
        addresses: vec![Some(GATEWAY), Some(PUBLIC)],
        uplinks: vec![Some(WAN), None],
        ..NatConfig::default()
    }
}

#[allow(clippy::unnecessary_wraps, reason = "conditions of a match are optional")]
pub fn net(text: &str) -> Option<Condition<Ipv4Cidr>> {
    Some(Condition::is(text.parse().unwrap()))
}

pub fn dnat(
    to: Ipv4Addr,
    protocol: Protocol,
    port: u16,
    inside: Ipv4Addr,
    inside_port: Option<u16>,
) -> NatRule {
    NatRule {
        matches: Match {
            destination: Ipv4Cidr::new(to, 32).map(Condition::is),
            protocol: Some(Condition::is(protocol)),
            destination_ports: Some(Condition::is(PortList::port(port))),
            ..Match::default()
        },
        target: Target::Dnat {
            addresses: inside.into(),
            ports: inside_port.map(|port| (port, port)),
            base: None,
        },
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: NatConfig) -> Self {
        let (nat, now) = (Nat::new(config, [11, 22]), Millis::from_secs(1000));
        Self { nat, now, partial_checksum: false }
    }

    /// A frame from a guest; returns what leaves.
    pub fn guest_sends(&mut self, frame: &[u8]) -> Result<Vec<u8>, DropReason> {
        self.pass(frame, LAN)
    }

    /// A frame from the uplink; returns what leaves.
    pub fn remote_sends(&mut self, frame: &[u8]) -> Result<Vec<u8>, DropReason> {
        self.pass(frame, WAN)
    }

    /// What the gateway does with a frame. Holds for every packet: what is refused is untouched and changes nothing;
    /// what passes has a right checksum if it had one, and the parsed packet follows the bytes.
    pub fn pass(&mut self, frame: &[u8], input: NetworkId) -> Result<Vec<u8>, DropReason> {
        let mut frame = frame.to_vec();
        let before = frame.clone();
        let (_, bytes) = frame.split_at_mut(14);
        let mut ip = Ipv4Packet::parse(bytes)?;
        let counts = self.counts();
        let mut packet = NatPacket { bytes, ip: &mut ip, partial_checksum: self.partial_checksum };
        let result = match self.nat.translate_known(&mut packet, self.now) {
            Known::Translated => Ok(()),
            Known::Drop(reason) => Err(reason),
            Known::Later => Err(DropReason::FragmentWithoutFirst),
            Known::Miss => {
                assert_eq!(packet.bytes, &before[14..]);
                self.first(&mut packet, input)
            }
        };
        let after = ip;
        if let Err(reason) = result {
            assert_eq!((frame, self.counts()), (before, counts));
            return Err(reason);
        }
        assert_eq!(Ipv4Packet::parse(&frame[14..]), Ok(after));
        if !self.partial_checksum {
            assert_eq!(checksum_right(&frame[14..]), checksum_right(&before[14..]));
        }
        Ok(frame)
    }

    fn first(&mut self, packet: &mut NatPacket<'_>, input: NetworkId) -> Result<(), DropReason> {
        let destination = self.nat.destination(packet.ip, input)?;
        let output = match destination.address {
            PUBLIC | GATEWAY => return Err(DropReason::NatUnsolicited),
            address if net("192.168.122.0/24").is_some_and(|net| net.value.contains(address)) => LAN,
            _ => WAN,
        };
        self.nat.admit_new(packet, destination, input, output, self.now)
    }

    pub fn wait(&mut self, millis: u64) {
        self.now = self.now + Millis::new(millis);
        self.nat.on_timeout(self.now);
    }

    /// The only flow there is.
    pub fn flow(&self) -> FlowView {
        let flows: Vec<_> = self.nat.flows(self.now).collect();
        assert_eq!(flows.len(), 1, "{flows:#?}");
        flows[0]
    }

    /// Flows in the table, ever admitted, expired.
    pub fn counts(&self) -> (usize, u64, u64) {
        assert_eq!(self.nat.flow_count(), self.nat.flows(self.now).count());
        (self.nat.flow_count(), self.nat.admitted(), self.nat.expired())
    }
}

/// Source and destination of a frame, ports and identifiers included.
pub fn ends(frame: &[u8]) -> (Ipv4Addr, u16, Ipv4Addr, u16) {
    let ip = Ipv4Packet::parse(&frame[14..]).unwrap();
    (ip.src, ip.src_port, ip.dst, ip.dst_port)
}

/// The identification of a frame's packet.
pub fn id(frame: &[u8]) -> u16 {
    Ipv4Packet::parse_header(&frame[14..]).unwrap().id
}

/// A packet with exactly this behind its IP header. The builder would complete headers of a protocol that it knows.
pub fn raw(src: Ipv4Addr, dst: Ipv4Addr, protocol: Protocol, id: u16, flags: u16, chunk: &[u8]) -> Vec<u8> {
    let header = |ip: &mut Ipv4Header| {
        ip.id.set(id);
        ip.flags_fragment.set(flags);
    };
    let mut frame = eth().ipv4(src, dst).ip(header).payload(chunk);
    frame[14 + 9] = protocol.0;
    frame[14 + 10..14 + 12].fill(0);
    let checksum = of(&frame[14..34]);
    frame[14 + 10..14 + 12].copy_from_slice(&checksum.to_be_bytes());
    frame
}

/// Recomputes the checksum of layer 4 from nothing. True where there is none.
pub fn checksum_right(packet: &[u8]) -> bool {
    let ip = Ipv4Packet::parse_header(packet).unwrap();
    let l4 = &packet[usize::from(ip.header_len)..usize::from(ip.total_len)];
    let pseudo = Sum::pseudo_header_v4(ip.src, ip.dst, ip.protocol.0, l4.len() as u16);
    match ip.protocol {
        _ if ip.fragment != Fragment::Whole => true,
        Protocol::UDP if l4[6..8] == [0, 0] => true,
        protocol if protocol.has_ports() => {
            pseudo.add(Sum::of(&l4[..covered(protocol, l4)])).fold() == 0xffff
        }
        Protocol::ICMP => of(l4) == 0,
        _ => true,
    }
}

/// Failures are kept as ordinary tests, not as seeds.
pub fn properties() -> proptest::test_runner::Config {
    proptest::test_runner::Config { failure_persistence: None, ..Default::default() }
}

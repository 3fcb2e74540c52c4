//! A worker with ports whose sent frames are caught.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use engine::report::{Cursor, FdbReport, Learned, LeaseReport, PortReport};
use engine::{
    DhcpConfig, InterfaceConfig, InterfaceSettings, NetworkConfig, NetworkSettings, PortConfig, PortSettings,
    PortState, Reach, RuntimeConfig, Worker,
};
use nat_engine::{Condition, Match, NatRule, PortList, Target};
use packet::builder::{FrameBuilder, eth};
use packet::checksum::Sum;
use packet::wire::{FromBytes, IcmpHeader};
use packet::{
    Burst, Ipv4Packet, MacAddr, Millis, NetworkId, Offload, PortId, Protocol, TxEntry, VNET_HDR_LEN,
};

pub const LAN: NetworkId = NetworkId::new(0);
pub const WAN: NetworkId = NetworkId::new(1);
pub const LAN_MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0xff, 0]);
pub const WAN_MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0xff, 1]);
pub const LAN_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 1);
pub const WAN_IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
/// The router and the server outside.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const OUTSIDE_MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0xee, 1]);
/// The uplink's port; ports 0 to 3 are guests'.
pub const UPLINK: u16 = 4;

pub fn port(id: u16) -> PortId {
    PortId::new(id).unwrap()
}

pub fn guest_mac(n: u16) -> MacAddr {
    MacAddr::local(0x10 + u64::from(n))
}

pub fn guest_ip(n: u16) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 122, 10 + n as u8)
}

/// Four guests on a NAT network, and an uplink; port 8888 of the uplink is published to guest 1's port 8080.
pub fn nat_config() -> RuntimeConfig {
    let interface = |mac, address: &str| InterfaceConfig {
        mac,
        address: address.parse().unwrap(),
        settings: InterfaceSettings::default(),
    };
    let network = |id: NetworkId, name: &str, reach, interface| NetworkConfig {
        id,
        name: name.to_owned(),
        reach,
        interface: Some(interface),
        settings: NetworkSettings::default(),
    };
    let mut lan = interface(LAN_MAC, "192.168.122.1/24");
    lan.settings.pcp = true;
    lan.settings.dhcp = Some(DhcpConfig {
        first: guest_ip(0),
        last: guest_ip(100),
        lease_time: Millis::from_secs(3600),
        router: Some(LAN_IP),
        dns: vec![],
        domain: None,
        reserved: vec![],
        ntp: vec![],
        routes: vec![],
        boot: None,
    });
    let mut config = RuntimeConfig {
        networks: vec![
            network(LAN, "lan", Reach::Translated(WAN), lan),
            network(WAN, "wan", Reach::Uplink(Some(OUTSIDE)), interface(WAN_MAC, "203.0.113.5/24")),
        ],
        ports: (0..=UPLINK).map(|id| port_config(id, if id == UPLINK { WAN } else { LAN })).collect(),
        flow_limit: 1 << 16,
        ..RuntimeConfig::default()
    };
    let inside = "192.168.122.0/24".parse().unwrap();
    config.rules.postrouting.push(NatRule {
        matches: Match {
            source: Some(Condition::is(inside)),
            destination: Some(Condition::not(inside)),
            output: Some(Condition::is(WAN)),
            ..Match::default()
        },
        target: Target::Masquerade { ports: None },
    });
    config.rules.prerouting.push(NatRule {
        matches: Match {
            destination: Some(Condition::is("203.0.113.5/32".parse().unwrap())),
            protocol: Some(Condition::is(Protocol::TCP)),
            destination_ports: Some(Condition::is(PortList::port(8888))),
            ..Match::default()
        },
        target: Target::Dnat { addresses: guest_ip(1).into(), ports: Some((8080, 8080)), base: None },
    });
    config
}

pub fn port_config(id: u16, network: NetworkId) -> PortConfig {
    PortConfig {
        id: port(id),
        name: format!("port{id}"),
        network,
        settings: PortSettings { learn_limit: 256, ..PortSettings::default() },
    }
}

/// What came out, by port.
pub type Sent = BTreeMap<u16, Vec<Vec<u8>>>;

/// A worker, a clock and a burst.
pub struct Bench {
    pub worker: Worker,
    pub now: Millis,
    burst: Burst,
}

impl Bench {
    pub fn new(config: RuntimeConfig) -> Self {
        Self::with_seed(config, [1, 2])
    }

    pub fn with_seed(config: RuntimeConfig, seed: [u64; 2]) -> Self {
        let mut worker = Worker::new(seed);
        worker.install(config);
        Self { worker, now: Millis::from_secs(1000), burst: Burst::new() }
    }

    /// The NAT network, where the guests and the router outside are known already.
    pub fn nat() -> Self {
        let mut bench = Self::new(nat_config());
        for n in 0..4 {
            bench.send(n, &[arp_request(guest_mac(n), guest_ip(n), LAN_IP)]);
        }
        bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)]);
        bench
    }

    /// Frames come in on a port, in one burst; returns all that goes out.
    pub fn send(&mut self, from: u16, frames: &[Vec<u8>]) -> Sent {
        let frames: Vec<_> = frames.iter().map(|frame| (frame.clone(), Offload::NONE)).collect();
        self.send_offloaded(from, &frames)
    }

    pub fn send_offloaded(&mut self, from: u16, frames: &[(Vec<u8>, Offload)]) -> Sent {
        let network = self.worker.network_of(port(from)).unwrap();
        self.burst.restart(Some(port(from)), network);
        for (frame, offload) in frames {
            assert!(self.burst.push(frame, *offload));
        }
        let mut sent = Sent::new();
        let mut catch = |port: PortId, burst: &mut Burst, frames: &[TxEntry]| {
            sent.entry(port.get()).or_default().extend(as_sent(burst, frames));
        };
        let turn = self.worker.process(&mut self.burst, self.now);
        let turn =
            self.worker.transmit(turn, &mut self.burst, |port, burst, frames, _| catch(port, burst, frames));
        let own = self.worker.service(turn, &mut self.burst, self.now);
        self.worker.transmit_own(own, |port, burst, frames, _| catch(port, burst, frames));
        sent
    }

    /// Time passes; returns what the worker sends of its own accord.
    pub fn wait(&mut self, time: Millis) -> Sent {
        let until = self.now + time;
        let mut sent = Sent::new();
        while let Some(at) = self.worker.next_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            let own = self.worker.on_timeout(self.now);
            self.worker.transmit_own(own, |port, burst, frames, _| {
                sent.entry(port.get()).or_default().extend(as_sent(burst, frames));
            });
        }
        self.now = until;
        sent
    }

    /// What the worker tells of its ports.
    pub fn ports(&self) -> Vec<PortReport> {
        let (mut cursor, mut learned) = (Cursor::default(), Learned::default());
        while self.worker.count_learned(&mut cursor, &mut learned, self.now) {}
        self.worker.ports(&learned)
    }

    /// What is in the forwarding databases.
    pub fn fdb(&self) -> Vec<FdbReport> {
        let (mut cursor, mut all) = (Cursor::default(), Vec::new());
        while let Some(part) = self.worker.fdb_part(&mut cursor, self.now) {
            all.extend(part);
        }
        all
    }

    /// The leases.
    pub fn leases(&self) -> Vec<LeaseReport> {
        let (mut cursor, mut all) = (Cursor::default(), Vec::new());
        while let Some(part) = self.worker.leases_part(&mut cursor, self.now) {
            all.extend(part);
        }
        all
    }

    /// What a port may do.
    pub fn port_state(&self, of: u16) -> PortState {
        let ports = self.worker.ports(&Learned::default());
        ports.iter().find(|report| report.id == port(of)).unwrap().state
    }

    /// The drops of a port, by name.
    pub fn drops(&self, of: u16) -> Vec<(&'static str, u64)> {
        let ports = self.worker.ports(&Learned::default());
        let report = ports.iter().find(|report| report.id == port(of)).unwrap();
        report.counters.drops.nonzero().map(|(reason, count)| (reason.name(), count)).collect()
    }
}

/// The frames of a port's list, as the port sends them.
fn as_sent(burst: &mut Burst, list: &[TxEntry]) -> Vec<Vec<u8>> {
    let copy = |&entry: &TxEntry| {
        let headroom = burst.retag(entry, VNET_HDR_LEN);
        let bytes = burst.outgoing(entry, headroom).1[VNET_HDR_LEN..].to_vec();
        burst.restore(entry);
        bytes
    };
    list.iter().map(copy).collect()
}

pub fn arp_request(mac: MacAddr, ip: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    eth().src(mac).dst(MacAddr::BROADCAST).arp(1, (mac, ip), (MacAddr::ZERO, target))
}

pub fn arp_reply(mac: MacAddr, ip: Ipv4Addr, to: (MacAddr, Ipv4Addr)) -> Vec<u8> {
    eth().src(mac).dst(to.0).arp(2, (mac, ip), to)
}

/// A host in the world.
pub const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

/// From guest `n` to its gateway's MAC.
pub fn from_guest(n: u16) -> FrameBuilder {
    eth().src(guest_mac(n)).dst(LAN_MAC)
}

/// From the world to the uplink's MAC.
pub fn from_outside() -> FrameBuilder {
    eth().src(OUTSIDE_MAC).dst(WAN_MAC)
}

/// The only frame, sent by the only port that sent any.
pub fn only(sent: Sent) -> (u16, Vec<u8>) {
    let mut all: Vec<_> =
        sent.into_iter().flat_map(|(port, frames)| frames.into_iter().map(move |f| (port, f))).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// The IPv4 packet in a frame. Its layer-4 checksum must be right.
pub fn ip_of(frame: &[u8]) -> Ipv4Packet {
    let ip = Ipv4Packet::parse(&frame[14..]).unwrap();
    let l4 = &frame[14 + usize::from(ip.header_len)..14 + usize::from(ip.total_len)];
    let pseudo = match ip.protocol {
        Protocol::ICMP => Sum::ZERO,
        protocol => Sum::pseudo_header_v4(ip.src, ip.dst, protocol.0, l4.len() as u16),
    };
    assert_eq!(pseudo.add(Sum::of(l4)).checksum(), 0, "layer-4 checksum of {ip:?}");
    ip
}

/// Type and code of the ICMP message in a frame.
pub fn icmp_of(frame: &[u8]) -> (u8, u8) {
    assert_eq!(ip_of(frame).protocol, Protocol::ICMP);
    let (icmp, _) = IcmpHeader::ref_from_prefix(&frame[34..]).unwrap();
    (icmp.kind, icmp.code)
}

//! Frames from one port in memory through all stages of a worker to others.

use std::net::Ipv4Addr;

use engine::{
    InterfaceConfig, InterfaceSettings, NetworkConfig, NetworkSettings, PortConfig, PortSettings, Reach,
    RuntimeConfig, Worker,
};
use nat_engine::{Match, NatRule, Target};
use packet::builder::eth;
use packet::{BURST_FRAMES, Burst, MacAddr, Millis, NetworkId, Offload, PortCounters, PortId, TxEntry};
use tapio::Queue;
use tapio::testing::memory_pair;

const LAN: NetworkId = NetworkId::new(0);
const WAN: NetworkId = NetworkId::new(1);
const LAN_MAC: MacAddr = MacAddr::local(0xf0);
const WAN_MAC: MacAddr = MacAddr::local(0xf1);
const ROUTER_MAC: MacAddr = MacAddr::local(0xee);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const NOW: Millis = Millis::from_secs(1000);

/// Bursts of 64 frames, all from port 0.
pub struct Case {
    /// For people, and for the recorded figures.
    pub name: &'static str,
    /// How many ports the LAN has. The port after them is the uplink.
    lan_ports: usize,
    /// What becomes of what leaves the LAN.
    reach: Reach,
    /// The frames of a round.
    frames: fn(round: u32) -> Vec<Vec<u8>>,
    /// Each round's frames are the first ones of flows of their own.
    pub is_new: bool,
    arrives: Arrives,
}

/// Where a case's frames arrive.
#[derive(Clone, Copy)]
enum Arrives {
    /// At port 1.
    Station,
    /// At all ports of the LAN but the first.
    Everywhere,
    /// At the uplink.
    Uplink,
}

const BRIDGE: Case = Case {
    name: "bridge, one pair of stations",
    lan_ports: 2,
    reach: Reach::Translated(WAN),
    frames: |_| bridged(1),
    is_new: false,
    arrives: Arrives::Station,
};

const NAT: Case = Case {
    name: "nat, one established flow",
    frames: |_| through_gateway(0, 1),
    arrives: Arrives::Uplink,
    ..BRIDGE
};

/// All cases.
pub const CASES: [Case; 7] = [
    BRIDGE,
    Case { name: "bridge, 64 pairs of stations", frames: |_| bridged(64), ..BRIDGE },
    Case {
        name: "bridge, flooded to 8 ports",
        lan_ports: 9,
        frames: |_| to(guest(5000).0),
        arrives: Arrives::Everywhere,
        ..BRIDGE
    },
    NAT,
    Case { name: "nat, 64 established flows", frames: |_| through_gateway(0, 64), ..NAT },
    Case {
        name: "nat, new flows",
        frames: |round| through_gateway(round * BURST_FRAMES as u32, BURST_FRAMES as u32),
        is_new: true,
        ..NAT
    },
    Case { name: "routed, not translated", reach: Reach::Routed(Some(WAN)), ..NAT },
];

impl Case {
    /// The worker of this case, which knows all stations.
    #[must_use]
    pub fn bench(&self) -> Bench {
        let mut bench = Bench::new(self.lan_ports, self.reach);
        for n in 0..64 {
            bench.announce(1, guest(1000 + n), GATEWAY);
        }
        bench.announce(0, guest(1), GATEWAY);
        bench.announce(self.lan_ports, (ROUTER_MAC, ROUTER), OUTSIDE);
        bench
    }

    /// Makes the frames of a round, which are sent next.
    pub fn load(&self, bench: &mut Bench, round: u32) {
        bench.load(&(self.frames)(round));
    }

    /// Takes out what has arrived, which must be everything.
    pub fn receive(&self, bench: &mut Bench) {
        let ports = match self.arrives {
            Arrives::Station => 1..2,
            Arrives::Everywhere => 1..self.lan_ports,
            Arrives::Uplink => self.lan_ports..self.lan_ports + 1,
        };
        ports.for_each(|port| assert_eq!(bench.receive(port), BURST_FRAMES, "{}", self.name));
    }
}

/// A worker between ports in memory.
pub struct Bench {
    worker: Worker,
    inside: Vec<Box<dyn Queue>>,
    outside: Vec<Box<dyn Queue>>,
    /// What is sent next.
    frames: Burst,
    burst: Burst,
    unused: PortCounters,
}

impl Bench {
    fn new(lan_ports: usize, reach: Reach) -> Self {
        let mut worker = Worker::new([0x5eed, 0x5eed]);
        worker.install(config(lan_ports as u16, reach));
        let (inside, outside) = (0..=lan_ports).map(|_| pair()).unzip();
        let (frames, burst) = (Burst::new(), Burst::new());
        Self { worker, inside, outside, frames, burst, unused: PortCounters::default() }
    }

    fn load(&mut self, frames: &[Vec<u8>]) {
        self.frames.restart(None, LAN);
        frames.iter().for_each(|frame| assert!(self.frames.push(frame, Offload::NONE)));
    }

    /// Sends what has been loaded into a port from outside.
    pub fn send(&mut self, port: usize) {
        let all: Vec<TxEntry> = (0..self.frames.len()).map(TxEntry::as_is).collect();
        self.outside[port].tx_burst(&mut self.frames, &all, &mut self.unused);
    }

    /// One round of the driver for a port.
    pub fn serve(&mut self, port: usize) {
        let id = PortId::new(port as u16).expect("a few ports");
        self.burst.restart(Some(id), if port + 1 == self.inside.len() { WAN } else { LAN });
        receive(&mut *self.inside[port], &mut self.burst);
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
        receive(&mut *self.outside[port], &mut self.burst);
        self.burst.len()
    }

    /// Announces a station by ARP, so that bridge and gateway know it.
    fn announce(&mut self, port: usize, (mac, ip): (MacAddr, Ipv4Addr), gateway: Ipv4Addr) {
        let arp = eth().src(mac).dst(MacAddr::BROADCAST).arp(1, (mac, ip), (MacAddr::ZERO, gateway));
        self.load(&[arp]);
        self.send(port);
        self.serve(port);
        for port in 0..self.inside.len() {
            self.receive(port);
        }
    }
}

/// Networks `LAN` and `WAN`, its uplink.
fn config(lan_ports: u16, reach: Reach) -> RuntimeConfig {
    let network = |id: NetworkId, reach, mac, address: &str| NetworkConfig {
        id,
        name: id.get().to_string(),
        reach,
        interface: Some(InterfaceConfig {
            mac,
            address: address.parse().expect("an address"),
            settings: InterfaceSettings::default(),
        }),
        settings: NetworkSettings::default(),
    };
    let port = |id: u16| PortConfig {
        id: PortId::new(id).expect("a few ports"),
        name: id.to_string(),
        network: if id == lan_ports { WAN } else { LAN },
        settings: PortSettings::default(),
    };
    let mut config = RuntimeConfig {
        networks: vec![
            network(LAN, reach, LAN_MAC, "10.0.0.1/8"),
            network(WAN, Reach::Uplink(Some(ROUTER)), WAN_MAC, "203.0.113.5/24"),
        ],
        ports: (0..=lan_ports).map(port).collect(),
        flow_limit: 1 << 20,
        ..RuntimeConfig::default()
    };
    if let Reach::Translated(_) = reach {
        let output = Some(nat_engine::Condition::is(WAN));
        let matches = Match { output, ..Match::default() };
        config.rules.postrouting.push(NatRule { matches, target: Target::Masquerade { ports: None } });
    }
    config
}

/// Two joined ports, with room for two bursts each.
#[must_use]
pub fn pair() -> (Box<dyn Queue>, Box<dyn Queue>) {
    let (a, b) = memory_pair(2 * BURST_FRAMES);
    (Box::new(a), Box::new(b))
}

/// What has arrived at a port.
pub fn receive(port: &mut dyn Queue, burst: &mut Burst) {
    port.rx_burst(burst).expect("a port in memory is never gone");
}

fn guest(n: u32) -> (MacAddr, Ipv4Addr) {
    (MacAddr::local(0x1_0000 + u64::from(n)), Ipv4Addr::from_bits(0x0a00_0100 + n))
}

/// 64-byte frames (60 without their checksum), each between other stations if `stations` is 64.
fn bridged(stations: u32) -> Vec<Vec<u8>> {
    let frame = |n: u32| eth().src(guest(n % stations).0).dst(guest(1000 + n % stations).0).payload(&[0; 46]);
    (0..BURST_FRAMES as u32).map(frame).collect()
}

/// Such frames from one station to another.
fn to(dst: MacAddr) -> Vec<Vec<u8>> {
    (0..BURST_FRAMES).map(|_| eth().src(guest(1).0).dst(dst).payload(&[0; 46])).collect()
}

/// 64-byte UDP packets for the gateway, to so many remote hosts, from this one on.
fn through_gateway(first: u32, remotes: u32) -> Vec<Vec<u8>> {
    let (mac, ip) = guest(1);
    let remote = |n: u32| Ipv4Addr::from_bits(0xc633_6400 + first + n % remotes);
    let frame = |n: u32| eth().src(mac).dst(LAN_MAC).ipv4(ip, remote(n)).udp(5000, 53).payload(&[0; 18]);
    (0..BURST_FRAMES as u32).map(frame).collect()
}

//! Frames, and time, through a worker with a NAT network and an uplink.
//!
//! Input: steps of `port:8 wait:8 len:16` and `len` bytes, a frame; with [`OFFLOADED`] in `port`, a `virtio_net_hdr` and a
//! frame. The worker is told of an own address by MAC
//! 02:00:00:00:ff:00 (network) and 02:00:00:00:ff:01 (uplink).

use std::net::{Ipv4Addr, SocketAddrV4};

use engine::{
    BalanceConfig, CheckConfig, CheckKind, DhcpConfig, InterfaceConfig, InterfaceSettings, Ipv6Config,
    NetworkConfig, NetworkSettings, PortConfig, PortSettings, RaConfig, Reach, RuntimeConfig, Worker,
};
use nat_engine::{Balance, Condition, Match, NatRule, PortList, Target};
use packet::checksum::Sum;
use packet::offload::{Segments, complete_checksum};
use packet::{
    Burst, Gso, Ipv4Cidr, MacAddr, Millis, NetworkId, Offload, PortId, Protocol, VNET_HDR_LEN, Verdict,
    checksum,
};

const LAN: NetworkId = NetworkId::new(0);
const WAN: NetworkId = NetworkId::new(1);
const PORTS: u16 = 3;
/// Marks a frame that comes with a `virtio_net_hdr`.
const OFFLOADED: u8 = 0x80;
/// What a super-frame has at most.
const SEGMENTS: usize = 2048;

/// Panics if something is wrong.
pub fn run(data: &[u8]) {
    let mut worker = Worker::new([1, 2]);
    worker.install(config());
    let (mut rest, mut now, mut burst) = (data, Millis::from_secs(1), Burst::new());
    while let Some((&[port, wait, l0, l1], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let (frame, behind) = behind.split_at(behind.len().min(len));
        rest = behind;
        now = now + Millis::new(u64::from(wait) * 100);
        catch_up(&mut worker, now);
        let Some((offload, frame)) = offload_of(port, frame) else { continue };
        let Some(port) = PortId::new(u16::from(port & !OFFLOADED) % PORTS) else { continue };
        let Some(network) = worker.network_of(port) else { continue };
        burst.restart(Some(port), network);
        burst.push(&with_right_checksum(frame), offload);
        let turn = worker.process(&mut burst, now);
        let turn = worker.transmit(turn, &mut burst, |_, burst, list, _| {
            list.iter().for_each(|entry| leave(burst, entry.frame()));
        });
        let own = worker.service(turn, &mut burst, now);
        worker.transmit_own(own, |_, burst, list, _| {
            list.iter().for_each(|entry| leave(burst, entry.frame()));
        });
        assert!(burst.metas().iter().all(|meta| meta.verdict != Verdict::Undecided));
    }
}

/// What the sender left to its card, as a port reads it, and the frame; `None` if the port would drop it.
fn offload_of(port: u8, bytes: &[u8]) -> Option<(Offload, &[u8])> {
    if port & OFFLOADED == 0 {
        return Some((Offload::NONE, bytes));
    }
    let (header, frame) = bytes.split_first_chunk::<VNET_HDR_LEN>()?;
    Some((Offload::decode(header, frame.len()).ok()?, frame))
}

/// A frame leaves by a port that takes no offload: what the card owes is done, and in a routed packet changes nothing but
/// the checksum of its own layer 4.
fn leave(burst: &Burst, index: usize) {
    let (bytes, meta) = (burst.bytes(index), &burst.metas()[index]);
    assert!(!bytes.is_empty());
    if let Ok(mut segments) = Segments::new(bytes, meta) {
        let mut out = vec![0; bytes.len()];
        let count = std::iter::from_fn(|| segments.next_into(&mut out)).count();
        assert!(count <= SEGMENTS, "{count}");
    } else if meta.offload.needs_checksum && meta.offload.gso == Gso::None {
        let mut completed = bytes.to_vec();
        complete_checksum(&mut completed, &mut meta.offload.clone());
        let own = if bytes.get(23) == Some(&Protocol::TCP.0) { 16 } else { 6 };
        let at = 14 + usize::from(bytes[14] & 0xf) * 4 + own;
        let changed = (0..bytes.len()).filter(|&place| bytes[place] != completed[place]);
        assert!(!meta.routed || changed.into_iter().all(|place| (at..at + 2).contains(&place)));
    }
}

/// What is due may bring something else that is due, but that must end: the driver would spin.
fn catch_up(worker: &mut Worker, now: Millis) {
    for _ in 0..16 {
        let own = worker.on_timeout(now);
        worker.transmit_own(own, |_, _, _, _| {});
    }
    assert!(worker.next_timeout().is_none_or(|at| at > now));
}

/// Most of what a guest can get wrong is behind a right header checksum, or that of ICMPv6.
fn with_right_checksum(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if let Some(header) = frame.get_mut(14..34)
        && header[0] == 0x45
    {
        header[10..12].fill(0);
        let sum = checksum::of(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    if let Some((header, message)) = frame.get_mut(14..).and_then(|packet| packet.split_at_mut_checked(40))
        && (header[0], header[6]) == (0x60, Protocol::ICMPV6.0)
        && message.len() == usize::from(u16::from_be_bytes([header[4], header[5]]))
        && message.len() >= 4
    {
        message[2..4].fill(0);
        let addresses = (header[8..24].try_into(), header[24..40].try_into());
        if let (Ok(src), Ok(dst)) = addresses {
            let pseudo = Sum::pseudo_header_v6(src, dst, Protocol::ICMPV6.0, message.len() as u32);
            let sum = pseudo.add(Sum::of(message)).checksum();
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
    }
    frame
}

/// An address of IPv6, and what guests are told.
fn ipv6(address: &str) -> Option<Ipv6Config> {
    let ra = RaConfig { is_router: true, ..RaConfig::default() };
    Some(Ipv6Config { ra: Some(ra), ..Ipv6Config::new(address.parse().ok()?) })
}

fn config() -> RuntimeConfig {
    let lan = InterfaceConfig {
        settings: InterfaceSettings {
            dhcp: Some(DhcpConfig {
                first: Ipv4Addr::new(10, 0, 0, 10),
                last: Ipv4Addr::new(10, 0, 0, 12),
                lease_time: Millis::from_secs(60),
                router: Some(Ipv4Addr::new(10, 0, 0, 1)),
                dns: vec![],
                domain: None,
                reserved: vec![],
                ntp: vec![],
                routes: vec![],
                boot: None,
            }),
            pcp: true,
            ipv6: ipv6("fd00::1/64"),
            ..InterfaceSettings::default()
        },
        ..interface(0, Ipv4Addr::new(10, 0, 0, 1))
    };
    let wan = interface(1, Ipv4Addr::new(203, 0, 113, 7));
    let gateway = Some(Ipv4Addr::new(203, 0, 113, 1));
    let mut config = RuntimeConfig {
        networks: vec![
            network(LAN, "lan", Reach::Translated(WAN), lan),
            network(WAN, "wan", Reach::Uplink(gateway), wan),
        ],
        ports: (0..PORTS).filter_map(PortId::new).map(port).collect(),
        flow_limit: 16,
        ..RuntimeConfig::default()
    };
    let outwards = Match { output: Some(Condition::is(WAN)), ..Match::default() };
    config.rules.postrouting.push(NatRule { matches: outwards, target: Target::Masquerade { ports: None } });
    config.balances = vec![balance(Protocol::TCP, CheckKind::Tcp), balance(Protocol::UDP, CheckKind::Icmp)];
    for BalanceConfig { balance, protocol, .. } in &config.balances {
        let protocol = Some(Condition::is(*protocol));
        let destination = Ipv4Cidr::new(Ipv4Addr::new(203, 0, 113, 7), 32).map(Condition::is);
        let destination_ports = Some(Condition::is(PortList::port(53)));
        let matches = Match { destination, protocol, destination_ports, ..Match::default() };
        config.rules.prerouting.push(NatRule { matches, target: Target::Balance(balance.clone()) });
    }
    config
}

/// A server in the network and one beyond the uplink.
fn balance(protocol: Protocol, kind: CheckKind) -> BalanceConfig {
    let server = |address: [u8; 4]| SocketAddrV4::new(address.into(), 53);
    BalanceConfig {
        name: "dns".to_owned(),
        network: LAN,
        protocol,
        balance: Balance { servers: vec![server([10, 0, 0, 10])], backups: vec![server([8, 8, 8, 8])] },
        check: Some(CheckConfig { kind, interval: Millis::from_secs(1), failures: 2, successes: 1 }),
    }
}

fn interface(number: u8, address: Ipv4Addr) -> InterfaceConfig {
    InterfaceConfig {
        mac: MacAddr::new([2, 0, 0, 0, 0xff, number]),
        address: Ipv4Cidr::new(address, 24).expect("24 is a prefix length"),
        settings: InterfaceSettings { pcp: true, ..InterfaceSettings::default() },
    }
}

fn network(id: NetworkId, name: &str, reach: Reach, interface: InterfaceConfig) -> NetworkConfig {
    NetworkConfig {
        id,
        name: name.to_owned(),
        reach,
        interface: Some(interface),
        settings: NetworkSettings { fdb_capacity: 16, ..NetworkSettings::default() },
    }
}

/// Two guests' ports, and the uplink's.
fn port(id: PortId) -> PortConfig {
    PortConfig {
        id,
        name: format!("port{id}"),
        network: if id.get() + 1 == PORTS { WAN } else { LAN },
        settings: PortSettings { learn_limit: 8, ..PortSettings::default() },
    }
}

//! Ports that are wired to each other: the storm ends, by one port, and the port opens again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use common::*;
use engine::report::LoopChange;
use engine::{NetworkConfig, NetworkSettings, Reach, RuntimeConfig};
use packet::builder::eth;
use packet::{MacAddr, Millis};

/// One network without a gateway, ports 0 to 3.
fn internal() -> RuntimeConfig {
    RuntimeConfig {
        networks: vec![NetworkConfig {
            id: LAN,
            name: "lan".into(),
            reach: Reach::Closed,
            interface: None,
            settings: NetworkSettings::default(),
        }],
        ports: (0..4).map(|id| port_config(id, LAN)).collect(),
        ..RuntimeConfig::default()
    }
}

fn broadcast(from: u16) -> Vec<u8> {
    eth().src(guest_mac(from)).dst(MacAddr::BROADCAST).payload(b"hello")
}

/// A worker, and ports that are wired to each other: what goes out there comes in here.
struct Wired {
    bench: Bench,
    wires: Vec<(u16, u16)>,
}

impl Wired {
    fn new(config: RuntimeConfig, wires: &[(u16, u16)]) -> Self {
        let both = wires.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
        Self { bench: Bench::new(config), wires: both.collect() }
    }

    /// Sends a frame and what comes of it, and returns how many frames other ports were sent; a storm ends after `limit`.
    fn send(&mut self, from: u16, frame: Vec<u8>, limit: usize) -> usize {
        let sent = self.bench.send(from, &[frame]);
        self.settle(sent, limit)
    }

    fn settle(&mut self, sent: Sent, limit: usize) -> usize {
        let (mut queue, mut taken, mut hops) = (Vec::from_iter(sent), 0, 0);
        while let Some((out, frames)) = (!queue.is_empty()).then(|| queue.remove(0)) {
            hops += frames.len();
            if taken > limit || hops > 20_000 {
                return usize::MAX;
            }
            match self.wires.iter().find(|wire| wire.0 == out) {
                Some(&(_, back)) => queue.extend(self.bench.send(back, &frames)),
                None => taken += frames.len(),
            }
        }
        taken
    }

    fn wait(&mut self, time: Millis) -> usize {
        let until = self.bench.now + time;
        let mut taken = 0;
        while self.bench.now < until {
            let sent = self.bench.wait(Millis::new(10));
            taken = self.settle(sent, 1000).saturating_add(taken);
        }
        taken
    }

    fn changes(&mut self) -> Vec<(u16, Option<u16>)> {
        let next = |bench: &mut Bench| bench.worker.next_loop_change();
        let changes = std::iter::from_fn(|| next(&mut self.bench));
        changes.map(|LoopChange { port, other }| (port.get(), other.map(packet::PortId::get))).collect()
    }
}

#[test]
fn two_ports_on_one_wire_end_in_one_closed_port_and_no_storm() {
    let mut wired = Wired::new(internal(), &[(1, 2)]);
    let taken = wired.send(0, broadcast(0), 1000);
    assert!(taken < 100, "{taken} frames reached the others");
    assert_eq!(wired.changes(), [(2, Some(1))]);
    assert!(wired.bench.drops(2).iter().any(|&(reason, count)| reason == "loop_damped" && count > 0));
    // It stays so, with a probe a second, and others go on as if there were no loop.
    assert_eq!(wired.wait(Millis::from_secs(60)), 0);
    assert_eq!(wired.send(0, broadcast(0), 1000), 1);
    assert_eq!(wired.changes(), []);
    // The wire is cut.
    wired.wires.clear();
    wired.wait(Millis::from_secs(8));
    assert_eq!(wired.changes(), [(2, None)]);
    assert_eq!(wired.send(0, broadcast(0), 1000), 3);
    // And there again: it is closed for longer.
    wired.wires = vec![(1, 2), (2, 1)];
    assert!(wired.send(0, broadcast(0), 1000) < 100);
    assert_eq!(wired.changes(), [(2, Some(1))]);
    wired.wires.clear();
    wired.wait(Millis::from_secs(5));
    assert_eq!(wired.changes(), []);
    wired.wait(Millis::from_secs(10));
    assert_eq!(wired.changes(), [(2, None)]);
}

#[test]
fn a_loop_of_three_ports_leaves_one_open() {
    let mut wired = Wired::new(internal(), &[(1, 2), (2, 3), (3, 1)]);
    wired.wires = vec![(1, 2), (2, 3), (3, 1)];
    assert!(wired.send(0, broadcast(0), 1000) < 100);
    wired.wait(Millis::from_secs(2));
    let closed: Vec<u16> = wired.changes().iter().map(|change| change.0).collect();
    assert_eq!(closed.iter().filter(|&&port| port != 0).count(), closed.len());
    assert!(wired.send(0, broadcast(0), 1000) < 5);
}

#[test]
fn the_switchs_own_frames_that_come_back_are_noticed() {
    let mut wired = Wired::new(nat_config(), &[(2, 3)]);
    // The gateway asks for a guest's address.
    let syn = eth().src(OUTSIDE_MAC).dst(WAN_MAC).ipv4(OUTSIDE, WAN_IP).tcp(9, 8888, 2).payload(b"");
    wired.send(UPLINK, syn, 1000);
    wired.wait(Millis::from_secs(2));
    assert_eq!(wired.changes(), [(3, Some(2))]);
}

#[test]
fn stations_that_move_fast_close_no_port() {
    let mut bench = Bench::new(internal());
    for n in 0..1000 {
        bench.send(n % 3, &[broadcast(0)]);
    }
    assert_eq!(bench.worker.next_loop_change(), None);
    bench.wait(Millis::from_secs(10));
    assert_eq!((0..3).map(|of| bench.drops(of)).collect::<Vec<_>>(), vec![vec![]; 3]);
    assert_eq!(bench.worker.next_timeout(), None, "the suspicion is over");
}

#[test]
fn a_guest_that_sends_a_probe_back_closes_only_its_own_port() {
    let mut bench = Bench::new(nat_config());
    let own = eth().src(LAN_MAC).dst(MacAddr::BROADCAST).payload(b"x");
    let probe = bench.send(3, &[own])[&3][0].clone();
    // Nobody else has seen it; other numbers are nobody's.
    let mut other = probe.clone();
    other[24] ^= 1;
    assert!(bench.send(0, &[other]).is_empty());
    assert_eq!(bench.worker.next_loop_change(), None);
    bench.send(3, &[probe]);
    assert_eq!(bench.worker.next_loop_change(), Some(LoopChange { port: port(3), other: Some(port(3)) }));
}

#[test]
fn a_probe_of_another_network_is_flooded_like_any_group() {
    let mut config = internal();
    config.networks.push(NetworkConfig { id: WAN, name: "other".into(), ..config.networks[0].clone() });
    config.ports.push(port_config(4, LAN));
    config.ports[2].network = WAN;
    config.ports[3].network = WAN;
    // Two networks with two wires between them are one loop.
    let mut wired = Wired::new(config, &[(0, 2), (1, 3)]);
    let mut closed = std::collections::BTreeSet::new();
    for _ in 0..10 {
        assert!(wired.send(4, broadcast(9), 1000) < 100);
        wired.wait(Millis::from_secs(60));
        for (port, other) in wired.changes() {
            let _ = if other.is_some() { closed.insert(port) } else { closed.remove(&port) };
        }
    }
    // Both may have closed a port before they heard of the other's; in the end one is closed.
    assert_eq!(closed.len(), 1, "{closed:?}");
}

#[test]
fn a_storm_in_which_nobody_moves_is_noticed_by_its_floods() {
    let mut wired = Wired::new(internal(), &[(1, 2)]);
    // In one direction only: the station is on the wire itself.
    let taken = wired.send(1, broadcast(7), 100_000);
    assert!((2 * 4096..2 * 4096 + 100).contains(&taken), "{taken}");
    assert_eq!(wired.changes(), [(2, Some(1))]);
}

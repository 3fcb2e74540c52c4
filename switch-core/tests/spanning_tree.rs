//! Networks of many bridges, simulated: whatever is wired to whatever, what is left in the end is one tree, the one that a
//! naive computation finds; and no frame goes round while it forms.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use packet::{MacAddr, Millis, PortId};
use proptest::prelude::*;
use switch_core::stp::{BridgeId, Edge, Role, SpanningTree, StpMode, Traffic, TreePort, TreeSettings};

/// A bridge, and one of its ports.
type End = (usize, u16);

/// What bridges are wired to.
#[derive(Clone, Debug)]
struct Topology {
    bridges: usize,
    /// Which ends are on one wire: two, or more on a hub.
    wires: Vec<Vec<usize>>,
    priorities: Vec<u16>,
    costs: Vec<u32>,
}

struct Network {
    bridges: Vec<SpanningTree>,
    wires: Vec<Vec<End>>,
    /// Messages on their way: when, to where, and what.
    flying: VecDeque<(Millis, End, Vec<u8>)>,
    now: Millis,
    /// Milliseconds in which a frame would have gone round.
    looping: Millis,
}

const DELAY: Millis = Millis::new(1);

impl Network {
    fn new(topology: &Topology, mode: impl Fn(usize) -> StpMode) -> Self {
        let bridge = |at: usize| {
            let settings = TreeSettings {
                mode: mode(at),
                priority: topology.priorities[at % topology.priorities.len()],
                hello: 1,
                max_age: 20,
                forward_delay: 15,
            };
            SpanningTree::new(address(at), settings)
        };
        let mut bridges: Vec<SpanningTree> = (0..topology.bridges).map(bridge).collect();
        let mut wires = Vec::new();
        let mut next = vec![0; topology.bridges];
        let mut costs = topology.costs.iter().cycle();
        for wire in &topology.wires {
            let mut ends = Vec::new();
            for at in wire {
                let number = next[*at];
                next[*at] += 1;
                let settings = TreePort { point_to_point: wire.len() == 2, ..TreePort::default() };
                bridges[*at].set_port(port(number), settings, *costs.next().unwrap(), true);
                ends.push((*at, number));
            }
            wires.push(ends);
        }
        Self { bridges, wires, flying: VecDeque::new(), now: Millis::from_secs(100), looping: Millis::ZERO }
    }

    /// Time passes, until `until`.
    fn run(&mut self, until: Millis) {
        loop {
            let due = self.bridges.iter().filter_map(SpanningTree::next_timeout).min();
            let arrival = self.flying.front().map(|(at, ..)| *at);
            let Some(next) = [due, arrival].into_iter().flatten().min().filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            let before = self.now;
            self.now = self.now.max(next);
            if self.loops() > 0 {
                self.looping = self.looping + self.now.since(before);
            }
            let arrived = self.flying.iter().take_while(|(at, ..)| *at <= self.now).count();
            for (_, (bridge, number), bytes) in self.flying.drain(..arrived).collect::<Vec<_>>() {
                // What is too old is refused.
                let _ = self.bridges[bridge].receive(port(number), &bytes, self.now);
                self.collect(bridge);
            }
            for at in 0..self.bridges.len() {
                if self.bridges[at].next_timeout().is_some_and(|due| due <= self.now) {
                    self.bridges[at].on_timeout(self.now);
                }
                self.collect(at);
            }
        }
    }

    fn collect(&mut self, at: usize) {
        while let Some((id, bpdu)) = self.bridges[at].next_message() {
            let (bytes, len) = bpdu.write();
            let from = (at, id.get());
            let Some(wire) = self.wires.iter().find(|wire| wire.contains(&from)) else { continue };
            for to in wire.iter().filter(|end| **end != from) {
                self.flying.push_back((self.now + DELAY, *to, bytes[..len].to_vec()));
            }
        }
        while self.bridges[at].next_change().is_some() {}
        while self.bridges[at].next_flush().is_some() {}
    }

    /// Cuts a wire: all its ends notice.
    fn cut(&mut self, wire: usize) {
        for (at, number) in self.wires.remove(wire) {
            self.bridges[at].set_port(port(number), TreePort::default(), 1, false);
        }
    }

    fn forwards(&self, (at, number): End) -> bool {
        self.bridges[at].traffic(port(number)) == Some(Traffic::Forwarding)
    }

    /// Wires that close a ring of ports that forward.
    fn loops(&self) -> usize {
        let mut groups: Vec<usize> = (0..self.bridges.len() + self.wires.len()).collect();
        let mut rings = 0;
        for (wire, ends) in self.wires.iter().enumerate() {
            for end in ends.iter().filter(|end| self.forwards(**end)) {
                let (a, b) = (groups[end.0], groups[self.bridges.len() + wire]);
                if a == b {
                    rings += 1;
                }
                groups.iter_mut().filter(|group| **group == a).for_each(|group| *group = b);
            }
        }
        rings
    }

    fn roles(&self) -> BTreeMap<End, Role> {
        let ports = |(at, bridge): (usize, &SpanningTree)| {
            bridge.ports().map(|port| ((at, port.id.get()), port.role)).collect::<Vec<_>>()
        };
        let on_wire: BTreeSet<End> = self.wires.iter().flatten().copied().collect();
        let all = self.bridges.iter().enumerate().flat_map(ports);
        all.filter(|(end, _)| on_wire.contains(end)).collect()
    }

    /// What roles ports have to have, found by asking everybody again and again.
    fn naive(&self) -> BTreeMap<End, Role> {
        let id = |at: usize| self.bridges[at].report().id;
        let number = |(at, number): End| {
            self.bridges[at]
                .ports()
                .find(|port| port.id.get() == number)
                .map(|port| (port.number, port.cost))
                .unwrap()
        };
        // Root, cost, the bridge and port that tell of it, and the own port.
        type Best = (BridgeId, u32, BridgeId, u16, u16, Option<End>);
        let mut best: Vec<Best> = (0..self.bridges.len()).map(|at| (id(at), 0, id(at), 0, 0, None)).collect();
        let designated = |best: &[Best], wire: &[End]| -> End {
            *wire.iter().min_by_key(|end| (best[end.0].0, best[end.0].1, id(end.0), number(**end).0)).unwrap()
        };
        for _ in 0..2 * self.bridges.len() + 2 {
            let before = best.clone();
            for (at, best) in best.iter_mut().enumerate() {
                let mut found: Best = (id(at), 0, id(at), 0, 0, None);
                for wire in &self.wires {
                    let speaker = designated(&before, wire);
                    for end in wire.iter().filter(|end| end.0 == at && speaker.0 != at) {
                        let (own, cost) = number(*end);
                        let (root, far, ..) = before[speaker.0];
                        let way: Best = (root, far + cost, id(speaker.0), number(speaker).0, own, Some(*end));
                        if (way.0, way.1, way.2, way.3, way.4) < (found.0, found.1, found.2, found.3, found.4)
                        {
                            found = way;
                        }
                    }
                }
                *best = found;
            }
        }
        let mut roles = BTreeMap::new();
        for wire in &self.wires {
            let speaker = designated(&best, wire);
            for end in wire {
                let role = match *end {
                    end if end == speaker => Role::Designated,
                    end if best[end.0].5 == Some(end) => Role::Root,
                    (at, _) if at == speaker.0 => Role::Backup,
                    _ => Role::Alternate,
                };
                roles.insert(*end, role);
            }
        }
        roles
    }

    /// The tree is the naive one, and all that may forward does.
    fn check(&self) {
        assert_eq!(self.roles(), self.naive());
        for (end, role) in self.roles() {
            let forwards = matches!(role, Role::Root | Role::Designated);
            assert_eq!(self.forwards(end), forwards, "{end:?} is {role:?}");
        }
    }
}

fn port(number: u16) -> PortId {
    PortId::new(number).unwrap()
}

/// Later bridges have lower addresses, so that roots move while bridges come.
fn address(at: usize) -> MacAddr {
    MacAddr::local(0x1000 - at as u64)
}

fn topologies() -> impl Strategy<Value = Topology> {
    let wires = (2..12_usize).prop_flat_map(|bridges| {
        let wire = prop_oneof![
            8 => prop::collection::vec(0..bridges, 2),
            1 => prop::collection::vec(0..bridges, 3..5),
        ];
        (Just(bridges), prop::collection::vec(wire, 1..20))
    });
    let priorities = prop::collection::vec(prop::sample::select(vec![0, 4096, 32_768]), 1..4);
    let costs = prop::collection::vec(prop::sample::select(vec![1, 2000, 20_000, 200_000]), 1..5);
    (wires, priorities, costs).prop_map(|((bridges, wires), priorities, costs)| Topology {
        bridges,
        wires,
        priorities,
        costs,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn rapid_networks_converge_to_the_naive_tree_also_after_cuts(
        topology in topologies(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut network = Network::new(&topology, |_| StpMode::Rstp);
        network.run(network.now + Millis::from_secs(60));
        network.check();
        prop_assert_eq!(network.looping, Millis::ZERO);
        for cut in cuts {
            if network.wires.is_empty() { break }
            network.cut(cut.index(network.wires.len()));
            network.run(network.now + Millis::from_secs(60));
            // Who has lost the root may hear of it from others that haven't: that ends with its age at the latest.
            prop_assert!(network.looping < Millis::from_secs(20));
            network.looping = Millis::ZERO;
            network.check();
        }
    }

    #[test]
    fn networks_of_old_and_new_bridges_converge_too(
        topology in topologies(),
        old in prop::collection::vec(any::<bool>(), 12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let mode = |at: usize| if old[at] { StpMode::Stp } else { StpMode::Rstp };
        let mut network = Network::new(&topology, mode);
        network.run(network.now + Millis::from_secs(200));
        network.check();
        prop_assert_eq!(network.looping, Millis::ZERO);
        for cut in cuts {
            if network.wires.is_empty() { break }
            network.cut(cut.index(network.wires.len()));
            network.run(network.now + Millis::from_secs(200));
            network.check();
        }
    }
}

fn ring(bridges: usize) -> Topology {
    let wires = (0..bridges).map(|at| vec![at, (at + 1) % bridges]).collect();
    Topology { bridges, wires, priorities: vec![32_768], costs: vec![2000] }
}

#[test]
fn a_cut_ring_of_rapid_bridges_is_whole_again_within_fifty_milliseconds() {
    for bridges in 2..20 {
        let mut network = Network::new(&ring(bridges), |_| StpMode::Rstp);
        network.run(network.now + Millis::from_secs(30));
        network.check();
        for wire in 0..bridges {
            let mut network = Network::new(&ring(bridges), |_| StpMode::Rstp);
            network.run(network.now + Millis::from_secs(30));
            network.cut(wire);
            network.run(network.now + Millis::new(50));
            network.check();
        }
    }
}

#[test]
fn two_fresh_rapid_bridges_agree_at_once() {
    let mut network = Network::new(&ring(2), |_| StpMode::Rstp);
    network.run(network.now + Millis::new(50));
    network.check();
}

#[test]
fn stp_forwards_after_twice_the_forward_delay_and_so_after_a_cut() {
    let mut network = Network::new(&ring(3), |_| StpMode::Stp);
    network.run(network.now + Millis::from_secs(31));
    network.check();
    network.cut(0);
    network.run(network.now + Millis::from_secs(31));
    network.check();
}

#[test]
fn bridges_with_two_links_between_them_never_loop_though_the_root_is_lost_behind_them() {
    let wires = [[4, 2], [4, 2], [3, 0], [0, 0], [4, 3], [0, 5]].map(|wire| wire.to_vec()).to_vec();
    let topology = Topology { bridges: 6, wires, priorities: vec![0], costs: vec![1] };
    let mut network = Network::new(&topology, |_| StpMode::Rstp);
    network.run(network.now + Millis::from_secs(60));
    network.cut(2);
    network.run(network.now + Millis::new(50));
    network.check();
    assert_eq!(network.looping, Millis::ZERO);
}

#[test]
fn a_port_that_hears_itself_stays_closed_until_it_no_longer_does() {
    let mut bridge =
        SpanningTree::new(address(0), TreeSettings { mode: StpMode::Rstp, ..TreeSettings::default() });
    bridge.set_port(port(0), TreePort { edge: Edge::Yes, ..TreePort::default() }, 1, true);
    let mut now = Millis::from_secs(1);
    let mut wait = |bridge: &mut SpanningTree, time: Millis, is_looped: bool| {
        let until = now + time;
        while let Some(due) = bridge.next_timeout().filter(|due| *due <= until) {
            now = now.max(due);
            bridge.on_timeout(now);
            while let Some((id, bpdu)) = bridge.next_message() {
                let (bytes, len) = bpdu.write();
                if is_looped {
                    bridge.receive(id, &bytes[..len], now).unwrap();
                }
            }
        }
        now = until;
        bridge.traffic(port(0)).unwrap()
    };
    assert_eq!(wait(&mut bridge, Millis::from_secs(10), false), Traffic::Forwarding);
    assert_eq!(wait(&mut bridge, Millis::from_secs(120), true), Traffic::Discarding);
    assert_eq!(wait(&mut bridge, Millis::from_secs(60), false), Traffic::Forwarding);
}

#[test]
fn a_guarded_port_never_leads_to_a_better_root_and_a_costlier_one_only_if_it_must() {
    let wires = vec![vec![0, 1], vec![0, 1]];
    let topology = Topology { bridges: 2, wires, priorities: vec![32_768], costs: vec![10] };
    let mut network = Network::new(&topology, |_| StpMode::Rstp);
    // Bridge 1 is the root.
    let guarded = TreePort { root_guard: true, ..TreePort::default() };
    network.bridges[0].set_port(port(0), guarded, 10, true);
    network.run(network.now + Millis::from_secs(10));
    let roles = network.roles();
    assert_eq!((roles[&(0, 0)], roles[&(0, 1)]), (Role::Alternate, Role::Root));
    network.bridges[0].set_port(port(0), TreePort::default(), 10, true);
    network.run(network.now + Millis::from_secs(10));
    network.check();
    assert_eq!(network.roles()[&(0, 0)], Role::Root);
    network.bridges[0].set_port(port(0), TreePort::default(), 11, true);
    network.run(network.now + Millis::from_secs(10));
    network.check();
    assert_eq!(network.roles()[&(0, 1)], Role::Root);
}

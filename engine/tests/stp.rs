//! Switches that are wired to each other twice: there is no storm, from the first frame on, and a cut link is replaced.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use common::*;
use engine::report::{TreeChange, TreeReport};
use engine::stp::{Edge, Role, StpMode, Traffic, TreePort, TreeSettings};
use engine::{NetworkConfig, NetworkSettings, PortState, Reach, RuntimeConfig};
use packet::builder::eth;
use packet::{EtherType, MacAddr, Millis};

/// A network without a gateway, with a guest at port 0 and links at ports 1 and 2.
fn linked(mode: StpMode) -> RuntimeConfig {
    let tree = TreeSettings { mode, ..TreeSettings::default() };
    let mut config = RuntimeConfig {
        networks: vec![NetworkConfig {
            id: LAN,
            name: "lan".into(),
            reach: Reach::Closed,
            interface: None,
            settings: NetworkSettings { tree, ..NetworkSettings::default() },
        }],
        ports: (0..3).map(|id| port_config(id, LAN)).collect(),
        ..RuntimeConfig::default()
    };
    config.ports[0].settings.tree = TreePort { edge: Edge::Yes, ..TreePort::default() };
    config
}

fn broadcast(from: u16) -> Vec<u8> {
    eth().src(guest_mac(from)).dst(MacAddr::BROADCAST).payload(b"hello")
}

/// Two switches; ports of one number are wired, but for those with the number 0.
struct Pair {
    switches: [Bench; 2],
    cut: Vec<u16>,
    /// Frames that guests were sent: of the switch, and the bytes.
    taken: Vec<(usize, Vec<u8>)>,
    hops: usize,
}

impl Pair {
    fn new(mode: StpMode) -> Self {
        // Each has random numbers of its own.
        let switch = |seed| Bench::with_seed(linked(mode), [seed, 2]);
        Self { switches: [switch(1), switch(7)], cut: vec![], taken: vec![], hops: 0 }
    }

    fn deliver(&mut self, from: usize, sent: Sent) {
        let mut queue = vec![(from, sent)];
        while let Some((from, sent)) = (!queue.is_empty()).then(|| queue.remove(0)) {
            for (port, frames) in sent {
                self.hops += frames.len();
                assert!(self.hops < 10_000, "a storm");
                if port == 0 {
                    self.taken.extend(frames.into_iter().map(|frame| (from, frame)));
                } else if !self.cut.contains(&port) {
                    queue.push((1 - from, self.switches[1 - from].send(port, &frames)));
                }
            }
        }
    }

    fn send(&mut self, at: usize, frame: Vec<u8>) {
        let sent = self.switches[at].send(0, &[frame]);
        self.deliver(at, sent);
    }

    fn wait(&mut self, time: Millis) {
        for _ in 0..time.get() {
            for at in 0..2 {
                let sent = self.switches[at].wait(Millis::new(1));
                self.deliver(at, sent);
            }
        }
        self.hops = 0;
    }

    /// How often a frame from a guest of one gets to that of the other.
    fn passes(&mut self) -> usize {
        self.taken.clear();
        self.send(0, broadcast(9));
        self.taken.iter().filter(|(at, frame)| *at == 1 && *frame == broadcast(9)).count()
    }

    fn cut(&mut self, port_id: u16) {
        self.cut.push(port_id);
        self.switches.iter_mut().for_each(|switch| switch.worker.set_link(port(port_id), false));
    }
}

#[test]
fn two_switches_with_two_links_have_no_storm_from_the_first_frame_on() {
    for mode in [StpMode::Stp, StpMode::Rstp] {
        let mut pair = Pair::new(mode);
        for _ in 0..1000 {
            pair.send(0, broadcast(9));
            pair.send(1, broadcast(8));
            pair.wait(Millis::new(40));
        }
        assert_eq!(pair.passes(), 1, "{mode:?}");
    }
}

#[test]
fn a_cut_link_is_replaced_at_once_and_stations_are_found_behind_the_other() {
    let mut pair = Pair::new(StpMode::Rstp);
    pair.wait(Millis::from_secs(5));
    assert_eq!(pair.passes(), 1);
    pair.send(1, broadcast(8));
    let state = |pair: &Pair, id: u16| {
        let both = pair.switches.iter().map(|switch| switch.port_state(id));
        both.collect::<Vec<_>>()
    };
    assert_eq!(state(&pair, 1), [PortState::Forwarding; 2]);
    assert!(state(&pair, 2).contains(&PortState::Blocked));
    pair.cut(1);
    pair.wait(Millis::new(5));
    assert_eq!(state(&pair, 2), [PortState::Forwarding; 2]);
    // To one station, not flooded in vain to where it was.
    pair.taken.clear();
    pair.send(0, eth().src(guest_mac(9)).dst(guest_mac(8)).payload(b"x"));
    assert_eq!(pair.taken.len(), 1);
}

#[test]
fn stp_replaces_a_cut_link_after_twice_the_forward_delay() {
    let mut pair = Pair::new(StpMode::Stp);
    pair.wait(Millis::from_secs(31));
    assert_eq!(pair.passes(), 1);
    pair.cut(1);
    pair.wait(Millis::from_secs(31));
    assert_eq!(pair.passes(), 1);
}

#[test]
fn a_guarded_port_that_hears_a_bpdu_is_shut_until_its_link_comes_again() {
    for mode in [StpMode::Off, StpMode::Rstp] {
        let mut config = linked(mode);
        config.ports[0].settings.tree.bpdu_guard = true;
        let mut bench = Bench::new(config);
        bench.wait(Millis::from_secs(10));
        assert_eq!(bench.send(0, &[broadcast(0)]).len(), 2, "{mode:?}");
        while bench.worker.next_tree_change().is_some() {}
        bench.send(0, &[bpdu(&[0, 0, 0, 0x80])]);
        assert_eq!(bench.worker.next_tree_change(), Some(TreeChange::Shut(port(0))));
        bench.wait(Millis::from_secs(100));
        assert!(bench.send(0, &[broadcast(0), bpdu(&[0, 0, 0, 0x80])]).is_empty());
        assert_eq!(bench.drops(0), [("bpdu_guard", 3)]);
        assert_eq!(bench.port_state(0), PortState::Shut);
        bench.worker.set_link(port(0), false);
        bench.worker.set_link(port(0), true);
        bench.wait(Millis::from_secs(1));
        assert_eq!(bench.send(0, &[broadcast(0)]).len(), 2, "{mode:?}");
    }
}

/// A frame with these bytes behind the header of logical link control.
fn bpdu(bytes: &[u8]) -> Vec<u8> {
    let payload = [&[0x42, 0x42, 3], bytes].concat();
    let length = EtherType(payload.len() as u16);
    eth()
        .src(guest_mac(0))
        .dst(MacAddr::BRIDGES)
        .ether_type(length)
        .payload(&[&payload[..], &[0; 40]].concat())
}

#[test]
fn what_is_no_bpdu_is_counted_and_changes_nothing() {
    let mut bench = Bench::new(linked(StpMode::Rstp));
    bench.wait(Millis::from_secs(10));
    let own = bench.worker.trees(bench.now).next().unwrap().bridge;
    let cut = |frame: Vec<u8>| frame[..20].to_vec();
    let other_llc =
        eth().dst(MacAddr::BRIDGES).ether_type(EtherType(7)).payload(&[0xaa, 0xaa, 3, 0, 0, 0, 0x80]);
    let no_llc =
        eth().dst(MacAddr::BRIDGES).ether_type(EtherType(0x88cc)).payload(&[0x42, 0x42, 3, 0, 0, 0, 0x80]);
    let tagged =
        eth().dst(MacAddr::BRIDGES).vlan(5).ether_type(EtherType(7)).payload(&[0x42, 0x42, 3, 0, 0, 0, 0x80]);
    let beside = eth()
        .dst(MacAddr::new([1, 0x80, 0xc2, 0, 0, 8]))
        .ether_type(EtherType(7))
        .payload(&[0x42, 0x42, 3, 0, 0, 0, 0x80]);
    bench.send(1, &[cut(bpdu(&[0, 0, 2, 2, 0x3c])), other_llc, no_llc, tagged, beside]);
    assert_eq!(bench.drops(1), [("bridge_reserved", 5)]);
    bench.send(1, &[bpdu(&[0, 0, 2, 2, 0x3c]), bpdu(&[0, 0, 2, 7]), bpdu(&[1, 0, 0, 0x80]), bpdu(&[])]);
    assert_eq!(bench.drops(1), [("bridge_reserved", 5), ("bad_bpdu", 4)]);
    assert_eq!(bench.worker.trees(bench.now).next().unwrap().bridge, own);
    // Whoever sends more than any bridge is not heard.
    let many = vec![bpdu(&[0, 0, 0, 0x80]); 64];
    bench.send(1, &many);
    let late = bench.drops(1).into_iter().find(|(name, _)| *name == "bpdu_rate").unwrap().1;
    assert!((34..64).contains(&late), "{late}");
}

#[test]
fn without_a_tree_bpdus_end_at_the_switch_as_they_always_did() {
    let mut bench = Bench::new(linked(StpMode::Off));
    assert!(bench.send(1, &[bpdu(&[0, 0, 0, 0x80])]).is_empty());
    assert_eq!(bench.drops(1), [("bridge_reserved", 1)]);
    assert_eq!((bench.worker.trees(bench.now).count(), bench.worker.next_timeout()), (0, None));
}

#[test]
fn a_reload_turns_the_tree_on_and_off_and_keeps_what_stays() {
    let mut pair = Pair::new(StpMode::Rstp);
    pair.wait(Millis::from_secs(5));
    let roles = |pair: &Pair| {
        let trees = pair.switches.iter().map(|switch| switch.worker.trees(switch.now).next());
        let places = |tree: TreeReport| tree.ports.iter().map(|port| (port.role, port.traffic)).collect();
        let ports = trees.map(|tree| tree.map(places));
        ports.collect::<Vec<Option<Vec<(Role, Traffic)>>>>()
    };
    let before = roles(&pair);
    pair.switches.iter_mut().for_each(|switch| switch.worker.install(linked(StpMode::Rstp)));
    assert_eq!(roles(&pair), before);
    pair.wait(Millis::from_secs(5));
    assert_eq!((roles(&pair), pair.passes()), (before, 1));
    pair.cut.push(2);
    pair.switches.iter_mut().for_each(|switch| switch.worker.install(linked(StpMode::Off)));
    assert_eq!((roles(&pair), pair.passes()), (vec![None, None], 1));
    pair.cut.clear();
    pair.switches.iter_mut().for_each(|switch| switch.worker.install(linked(StpMode::Rstp)));
    pair.wait(Millis::from_secs(5));
    assert_eq!(pair.passes(), 1);
}

#[test]
fn the_cost_of_a_way_is_by_its_speed_unless_it_is_set() {
    let mut config = linked(StpMode::Rstp);
    config.ports[2].settings.tree.path_cost = Some(77);
    let mut bench = Bench::new(config);
    bench.worker.set_speed(port(1), Some(1000));
    let costs = |bench: &Bench| {
        let tree = bench.worker.trees(bench.now).next().unwrap();
        tree.ports.iter().map(|port| port.cost).collect::<Vec<_>>()
    };
    assert_eq!(costs(&bench), [2000, 20_000, 77]);
    bench.worker.set_speed(port(1), None);
    assert_eq!(costs(&bench), [2000, 2000, 77]);
}

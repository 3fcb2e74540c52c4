//! The worker as a bridge: behaviour, edges of the burst, and a naive model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use std::collections::HashMap;

use common::{Bench, LAN, LAN_MAC, Sent, guest_mac, nat_config, port, port_config};
use engine::report::FdbReport;
use engine::{NetworkConfig, NetworkSettings, Reach, RuntimeConfig};
use packet::builder::eth;
use packet::{EtherType, MacAddr, Millis};
use proptest::prelude::*;

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

fn frame(from: u16, to: MacAddr) -> Vec<u8> {
    eth().src(guest_mac(from)).dst(to).payload(b"hello")
}

fn ports_of(sent: &Sent) -> Vec<u16> {
    sent.keys().copied().collect()
}

#[test]
fn unknown_destination_floods_then_the_reply_is_forwarded() {
    let mut bench = Bench::new(internal());
    assert_eq!(ports_of(&bench.send(0, &[frame(0, guest_mac(1))])), [1, 2, 3]);
    assert_eq!(ports_of(&bench.send(1, &[frame(1, guest_mac(0))])), [0]);
    assert_eq!(ports_of(&bench.send(0, &[frame(0, guest_mac(1))])), [1]);
}

#[test]
fn a_station_that_moves_is_followed() {
    let mut bench = Bench::new(internal());
    bench.send(0, &[frame(0, MacAddr::BROADCAST)]);
    bench.send(2, &[frame(0, MacAddr::BROADCAST)]);
    assert_eq!(ports_of(&bench.send(1, &[frame(1, guest_mac(0))])), [2]);
}

#[test]
fn frames_to_the_port_they_came_from_go_nowhere() {
    let mut bench = Bench::new(internal());
    bench.send(0, &[frame(0, MacAddr::BROADCAST)]);
    assert!(bench.send(0, &[frame(1, guest_mac(0))]).is_empty());
    assert_eq!(bench.drops(0), [("same_port", 1)]);
}

#[test]
fn bridge_reserved_groups_are_not_forwarded_and_other_groups_flood() {
    let mut bench = Bench::new(internal());
    let reserved = |last| MacAddr::new([1, 0x80, 0xc2, 0, 0, last]);
    for last in 0..16 {
        assert!(bench.send(0, &[frame(0, reserved(last))]).is_empty());
    }
    assert_eq!(bench.drops(0), [("bridge_reserved", 16)]);
    assert_eq!(bench.worker.stats().punted, 16, "the host looks at them");
    assert_eq!(ports_of(&bench.send(0, &[frame(0, reserved(16))])), [1, 2, 3]);
}

#[test]
fn vlans_keep_stations_apart_and_tags_pass_unharmed() {
    let mut bench = Bench::new(internal());
    let tagged = |vid| {
        eth().src(guest_mac(0)).dst(guest_mac(1)).vlan(vid).ether_type(EtherType::IPV4).payload(&[0xff])
    };
    let answer = |vid| eth().src(guest_mac(1)).dst(guest_mac(0)).vlan(vid).payload(b"x");
    let sent = bench.send(0, &[tagged(7)]);
    assert_eq!(sent[&1], [tagged(7)]);
    assert_eq!(ports_of(&bench.send(1, &[answer(7)])), [0]);
    assert_eq!(ports_of(&bench.send(1, &[answer(8)])), [0, 2, 3]);
}

#[test]
fn a_port_that_goes_down_is_flushed_and_gets_nothing() {
    let mut bench = Bench::new(internal());
    bench.send(0, &[frame(0, MacAddr::BROADCAST)]);
    bench.worker.set_link(port(0), false);
    assert_eq!(ports_of(&bench.send(1, &[frame(1, guest_mac(0))])), [2, 3]);
    assert!(bench.send(0, &[frame(0, guest_mac(1))]).is_empty());
    assert_eq!(bench.drops(0), [("port_not_forwarding", 1)]);
    bench.worker.set_link(port(0), true);
    assert_eq!(ports_of(&bench.send(1, &[frame(1, guest_mac(0))])), [0, 2, 3]);
}

#[test]
fn a_static_station_stays_where_it_is() {
    let mut config = internal();
    config.ports[3].settings.static_macs.push(guest_mac(9));
    let mut bench = Bench::new(config);
    bench.send(0, &[frame(9, MacAddr::BROADCAST)]);
    assert_eq!(ports_of(&bench.send(1, &[frame(1, guest_mac(9))])), [3]);
}

#[test]
fn a_reload_moves_only_the_static_stations_that_changed() {
    let place_of = |bench: &Bench, n| {
        let of = |entry: &FdbReport| entry.mac == guest_mac(n);
        bench
            .fdb()
            .iter()
            .filter(|entry| of(entry))
            .map(|entry| (entry.port.get(), entry.idle.is_none()))
            .collect::<Vec<_>>()
    };
    let mut config = internal();
    config.ports[3].settings.static_macs = vec![guest_mac(9), guest_mac(10)];
    let mut bench = Bench::new(config.clone());
    config.ports[3].settings.static_macs = vec![guest_mac(9)];
    config.ports[2].settings.static_macs = vec![guest_mac(11)];
    bench.worker.install(config.clone());
    assert_eq!([9, 10, 11].map(|n| place_of(&bench, n)), [vec![(3, true)], vec![], vec![(2, true)]]);
    config.ports[1].settings.static_macs = vec![guest_mac(9)];
    config.ports.remove(3);
    bench.worker.install(config);
    assert_eq!([9, 10, 11].map(|n| place_of(&bench, n)), [vec![(1, true)], vec![], vec![(2, true)]]);
    // A link that comes and goes changes nothing of it.
    bench.worker.set_link(port(1), false);
    assert_eq!(place_of(&bench, 9), [(1, true)]);
    assert!(bench.send(0, &[frame(0, guest_mac(9))]).is_empty());
    bench.worker.set_link(port(1), true);
    assert_eq!(ports_of(&bench.send(0, &[frame(0, guest_mac(9))])), [1]);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn a_link_that_flaps_costs_nobody_a_walk_through_the_tables() {
    let mut config = internal();
    config.networks[0].settings.fdb_capacity = 1 << 20;
    let mut bench = Bench::new(config);
    bench.send(1, &[frame(1, MacAddr::BROADCAST)]);
    let start = std::time::Instant::now();
    for flap in 0..20_000 {
        bench.worker.set_link(port(0), flap % 2 != 0);
    }
    // A walk takes milliseconds.
    assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(ports_of(&bench.send(0, &[frame(0, guest_mac(1))])), [1]);
}

#[test]
fn isolated_ports_reach_the_switch_but_not_each_other() {
    let mut config = nat_config();
    config.networks[0].settings.isolated = true;
    let mut bench = Bench::new(config);
    let ask = common::arp_request(guest_mac(0), common::guest_ip(0), common::LAN_IP);
    assert_eq!(ports_of(&bench.send(0, &[ask])), [0]);
    assert!(bench.send(1, &[frame(1, guest_mac(0))]).is_empty());
    assert_eq!(bench.drops(1), [("port_isolated", 1)]);
}

#[test]
fn a_flood_that_found_nobody_to_take_it_is_no_drop() {
    let mut bench = Bench::new(internal());
    (1..4).for_each(|other| bench.worker.set_link(port(other), false));
    assert!(bench.send(0, &[frame(0, MacAddr::BROADCAST), frame(0, guest_mac(1))]).is_empty());
    assert_eq!(bench.drops(0), []);
    let mut alone = internal();
    alone.ports.truncate(1);
    let mut bench = Bench::new(alone);
    assert!(bench.send(0, &[frame(0, MacAddr::BROADCAST)]).is_empty());
    assert_eq!(bench.drops(0), []);
}

#[test]
fn a_flood_that_somebody_was_there_to_take_is_a_drop() {
    let mut config = internal();
    config.ports[2].settings.mtu = 100;
    let mut bench = Bench::new(config);
    [1, 3].into_iter().for_each(|other| bench.worker.set_link(port(other), false));
    let long = eth().src(guest_mac(0)).dst(MacAddr::BROADCAST).payload(&[0; 101]);
    assert!(bench.send(0, &[long]).is_empty());
    assert_eq!(bench.drops(0), [("mtu_exceeded", 1)]);

    let mut config = nat_config();
    config.networks[0].settings.isolated = true;
    let mut bench = Bench::new(config);
    assert!(bench.send(0, &[frame(0, MacAddr::BROADCAST)]).is_empty());
    assert_eq!(bench.drops(0), [("port_isolated", 1)]);
    (1..4).for_each(|other| bench.worker.set_link(port(other), false));
    assert!(bench.send(0, &[frame(0, MacAddr::BROADCAST)]).is_empty());
    assert_eq!(bench.drops(0), [("port_isolated", 1)], "nobody else is there any more");
}

#[test]
fn what_the_gateway_forwards_to_nobody_is_a_drop() {
    let mut bench = Bench::nat();
    bench.worker.set_link(port(common::UPLINK), false);
    let far = std::net::Ipv4Addr::new(198, 51, 100, 9);
    let out = eth().src(guest_mac(0)).dst(LAN_MAC).ipv4(common::guest_ip(0), far).udp(1, 2).payload(b"x");
    assert!(bench.send(0, &[out]).is_empty());
    assert_eq!(bench.drops(0), [("no_egress_port", 1)]);
}

#[test]
fn a_frame_that_pretends_to_be_the_switch_is_dropped() {
    let mut bench = Bench::new(nat_config());
    let sent = bench.send(0, &[eth().src(LAN_MAC).dst(MacAddr::BROADCAST).payload(b"x")]);
    // Whether it was a loop, a probe shall tell; nothing else comes of it.
    assert_eq!((ports_of(&sent), sent[&0].len(), &sent[&0][0][12..14]), (vec![0], 1, &[0x90, 0][..]));
    assert_eq!(bench.drops(0), [("own_source_mac", 1)]);
}

#[test]
fn a_frame_larger_than_the_ports_mtu_is_dropped() {
    let mut bench = Bench::new(internal());
    let with = |len| eth().src(guest_mac(0)).dst(guest_mac(1)).payload(&vec![0; len]);
    bench.send(1, &[frame(1, MacAddr::BROADCAST)]);
    assert_eq!(ports_of(&bench.send(0, &[with(1500)])), [1]);
    assert!(bench.send(0, &[with(1501)]).is_empty());
    assert_eq!(bench.drops(0), [("mtu_exceeded", 1)]);
}

#[test]
fn bursts_of_any_size_come_out_whole_and_in_order() {
    for count in [0, 1, 63, 64] {
        let mut bench = Bench::new(internal());
        let mut frames: Vec<_> =
            (0..count).map(|n: u8| eth().src(guest_mac(0)).dst(guest_mac(1)).payload(&[n; 40])).collect();
        assert_eq!(bench.send(0, &frames).get(&2), (count > 0).then_some(&frames));
        // The last one bad.
        if let Some(last) = frames.last_mut() {
            last.truncate(13);
            frames.pop();
            let mut with_bad = frames.clone();
            with_bad.push(vec![0; 13]);
            assert_eq!(bench.send(0, &with_bad).get(&2), (count > 1).then_some(&frames));
            assert_eq!(bench.drops(0), [("frame_too_short", 1)]);
        }
    }
}

#[test]
fn a_reload_keeps_what_was_learned_and_counted() {
    let mut bench = Bench::new(internal());
    bench.send(0, &[frame(0, MacAddr::BROADCAST)]);
    let mut config = internal();
    config.ports.remove(2);
    bench.worker.install(config);
    assert_eq!(ports_of(&bench.send(1, &[frame(1, guest_mac(0))])), [0]);
    assert_eq!(ports_of(&bench.send(1, &[frame(1, MacAddr::BROADCAST)])), [0, 3]);
    assert_eq!(bench.ports()[0].counters.rx_frames, 1);
}

#[test]
fn a_reload_with_another_fdb_capacity_keeps_what_was_learned() {
    let mut bench = Bench::new(internal());
    for n in 0..200 {
        bench.send(0, &[frame(n, MacAddr::BROADCAST)]);
    }
    for (capacity, known) in [(4096, 200..=200), (64, 48..=64), (4096, 48..=64)] {
        let mut config = internal();
        config.networks[0].settings.fdb_capacity = capacity;
        bench.worker.install(config);
        let learned = bench.ports()[0].learned;
        assert!(known.contains(&learned), "{learned} of capacity {capacity}");
    }
}

/// A bridge as one would write it first: a map from address to port and time.
#[derive(Default)]
struct NaiveBridge {
    fdb: HashMap<MacAddr, (u16, Millis)>,
}

impl NaiveBridge {
    fn outputs(&mut self, from: u16, src: MacAddr, dst: MacAddr, now: Millis) -> Vec<u16> {
        self.fdb.insert(src, (from, now));
        let others = || (0..4).filter(|&port| port != from).collect();
        if dst.is_bridge_reserved() {
            return vec![];
        }
        match self.fdb.get(&dst) {
            _ if dst.is_group() => others(),
            Some(&(port, seen)) if now.since(seen) < Millis::from_secs(300) => {
                if port == from {
                    vec![]
                } else {
                    vec![port]
                }
            }
            _ => others(),
        }
    }
}

fn address() -> impl Strategy<Value = MacAddr> {
    prop_oneof![
        8 => (0_u16..8).prop_map(guest_mac),
        1 => Just(MacAddr::BROADCAST),
        1 => Just(MacAddr::new([1, 0, 0x5e, 0, 0, 1])),
        1 => Just(MacAddr::new([1, 0x80, 0xc2, 0, 0, 3])),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_naive_bridge(
        bursts in proptest::collection::vec(
            (0_u16..4, proptest::collection::vec(((0_u16..8).prop_map(guest_mac), address()), 1..64), 0_u64..200), 1..20,
        ),
    ) {
        let mut bench = Bench::new(internal());
        let mut model = NaiveBridge::default();
        for (from, pairs, wait) in bursts {
            bench.wait(Millis::from_secs(wait));
            // Stages run over the whole burst: all of its sources are learned before any destination is looked up.
            for &(src, _) in &pairs {
                model.fdb.insert(src, (from, bench.now));
            }
            let mut expected = Sent::new();
            let mut frames = Vec::new();
            for (index, &(src, dst)) in pairs.iter().enumerate() {
                let frame = eth().src(src).dst(dst).payload(&[index as u8]);
                for output in model.outputs(from, src, dst, bench.now) {
                    expected.entry(output).or_default().push(frame.clone());
                }
                frames.push(frame);
            }
            prop_assert_eq!(bench.send(from, &frames), expected);
        }
    }

    #[test]
    fn any_bytes_are_survived_and_accounted_for(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..64), from in 0_u16..5,
    ) {
        let mut bench = Bench::nat();
        let before = bench.ports()[usize::from(from)].counters.rx_frames;
        bench.send(from, &frames);
        prop_assert_eq!(
            bench.ports()[usize::from(from)].counters.rx_frames, before + frames.len() as u64
        );
    }
}

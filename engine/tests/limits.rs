//! How much a port may send, get and have flooded.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod common;

use common::{Bench, arp_request, from_guest, guest_ip, guest_mac, ip_of, nat_config};
use engine::{RuntimeConfig, Storm};
use packet::builder::eth;
use packet::rate::Rate;
use packet::{MacAddr, Millis};

fn rate(per_second: u64, burst: u64) -> Option<Rate> {
    Some(Rate { per_second, burst })
}

/// The network of `common`, where the stations are known and port 0 may have so much flooded.
fn stormy(storm: Storm) -> Bench {
    let mut bench = Bench::nat();
    let mut config = nat_config();
    config.ports[0].settings.storm = storm;
    bench.worker.install(config);
    bench
}

/// How many of a burst from port 0 come to port 1.
fn arriving(bench: &mut Bench, dst: MacAddr, count: usize) -> usize {
    let frame = eth().src(guest_mac(0)).dst(dst).payload(&[0; 100]);
    bench.send(0, &vec![frame; count]).remove(&1).map_or(0, |frames| frames.len())
}

#[test]
fn each_kind_of_flooded_frame_has_its_own_limit_and_known_stations_have_none() {
    let storm = Storm { broadcast: rate(1000, 50), multicast: rate(1000, 40), unknown: rate(1000, 30) };
    let mut bench = stormy(storm);
    let multicast = MacAddr::new([1, 0, 0x5e, 1, 2, 3]);
    for (dst, allowed) in
        [(MacAddr::BROADCAST, 50), (multicast, 40), (MacAddr::local(0x7777), 30), (guest_mac(1), 64)]
    {
        assert_eq!(arriving(&mut bench, dst, 64), allowed, "{dst}");
    }
    assert_eq!(bench.drops(0), [("storm", 14 + 24 + 34)]);
    bench.now = bench.now + Millis::new(10);
    assert_eq!(arriving(&mut bench, MacAddr::BROADCAST, 64), 10);
    assert_eq!(bench.drops(1), [], "other ports flood as they like");
}

#[test]
fn what_is_too_much_is_not_looked_at_by_the_switch_either() {
    let mut bench = stormy(Storm { broadcast: rate(1, 1), ..Storm::default() });
    let question = arp_request(guest_mac(0), guest_ip(0), common::LAN_IP);
    assert!(bench.send(0, std::slice::from_ref(&question)).contains_key(&0), "answered");
    assert!(bench.send(0, &[question]).is_empty());
}

fn limited(change: impl FnOnce(&mut RuntimeConfig)) -> Bench {
    let mut bench = Bench::nat();
    let mut config = nat_config();
    change(&mut config);
    bench.worker.install(config);
    bench
}

#[test]
fn a_port_sends_no_more_than_its_rate_and_nothing_is_learned_of_the_rest() {
    let mut bench = limited(|config| config.ports[0].settings.rate_in = rate(114_000, 1140));
    assert_eq!(arriving(&mut bench, guest_mac(1), 64), 10);
    let stranger = eth().src(MacAddr::local(0x999)).dst(guest_mac(1)).payload(&[0; 100]);
    assert!(bench.send(0, &[stranger]).is_empty());
    assert!(bench.fdb().iter().all(|entry| entry.mac != MacAddr::local(0x999)));
    assert_eq!(bench.drops(0), [("rate_exceeded", 55)]);
    bench.now = bench.now + Millis::new(5);
    assert_eq!(arriving(&mut bench, guest_mac(1), 64), 5);
}

#[test]
fn a_port_gets_no_more_than_its_rate_of_whatever_kind_and_others_get_all() {
    let mut bench = limited(|config| config.ports[1].settings.rate_out = rate(114_000, 1140));
    let flooded = eth().src(guest_mac(0)).dst(MacAddr::BROADCAST).payload(&[0; 100]);
    let sent = bench.send(0, &vec![flooded; 64]);
    assert_eq!([1, 2, 3].map(|port| sent[&port].len()), [10, 64, 64]);
    assert_eq!((bench.drops(1), bench.drops(0)), (vec![("rate_exceeded", 54)], vec![]));
    // An answer of the switch itself.
    let ping = from_guest(1).ipv4(guest_ip(1), common::LAN_IP).icmp_echo(1, 1).payload(&[0; 100]);
    assert!(bench.send(1, std::slice::from_ref(&ping)).is_empty());
    bench.now = bench.now + Millis::new(20);
    let answered = bench.send(1, &[ping]);
    assert_eq!(ip_of(&answered[&1][0]).dst, guest_ip(1));
}

#[test]
fn a_reload_with_the_same_limit_gives_nothing_anew_and_without_it_everything_passes() {
    let mut config = nat_config();
    config.ports[0].settings.rate_in = rate(1, 1140);
    let mut bench = limited(|config| config.ports[0].settings.rate_in = rate(1, 1140));
    assert_eq!(arriving(&mut bench, guest_mac(1), 64), 10);
    bench.worker.install(config.clone());
    assert_eq!(arriving(&mut bench, guest_mac(1), 64), 0);
    config.ports[0].settings.rate_in = None;
    bench.worker.install(config);
    assert_eq!(arriving(&mut bench, guest_mac(1), 64), 64);
}

//! What the switch says of its own accord, and to whoever asks: its addresses, its groups, its prefixes.

use std::net::Ipv6Addr;

use packet::builder::eth;
use packet::{ALL_NODES, ALL_ROUTERS, MacAddr, Millis, Protocol, icmp6, solicited_node};

use crate::lab::*;
use engine::Reach;

#[test]
fn rfc4862_5_4_own_addresses_are_asked_for_and_announced() {
    let mut bench = Bench::new(config());
    let sent = bench.wait(Millis::ZERO).remove(&UPLINK).unwrap();
    let joins = sent.iter().position(|frame| icmp(frame).0 == icmp6::LISTENER_REPORT).unwrap();
    let probes: Vec<_> = sent.iter().enumerate().filter(|(_, frame)| icmp(frame).0 == 135).collect();
    assert_eq!(probes.len(), 2, "of the link-local address and the other");
    for (place, frame) in probes {
        assert!(place > joins && read(frame).src.is_unspecified());
    }
    // Until it is known to be its own, nothing is answered there.
    let question = solicitation(OUTSIDE_MAC, v6(ROUTER_6), v6(WAN_6));
    assert_eq!(bench.send(UPLINK, std::slice::from_ref(&question)).get(&UPLINK), None);
    let sent = bench.wait(Millis::from_secs(1)).remove(&UPLINK).unwrap();
    let announced: Vec<_> = sent.iter().filter(|frame| icmp(frame).0 == 136).collect();
    assert_eq!((announced.len(), icmp(announced[0]).2), (2, 0xa000_0000));
    assert_eq!(bench.send(UPLINK, &[question])[&UPLINK].len(), 1);
}

#[test]
fn rfc4862_5_4_5_an_address_that_somebody_else_has_on_an_uplink_is_not_used() {
    let mut bench = Bench::new(config());
    bench.wait(Millis::ZERO);
    let all = (MacAddr::of_group6(ALL_NODES), ALL_NODES);
    bench.send(UPLINK, &[advertisement(OUTSIDE_MAC, v6(WAN_6), all, 0x2000_0000)]);
    assert_eq!(bench.drops(UPLINK), [("ndp_conflict", 1)]);
    bench.wait(Millis::from_secs(30));
    let question = solicitation(OUTSIDE_MAC, v6(ROUTER_6), v6(WAN_6));
    assert_eq!(bench.send(UPLINK, std::slice::from_ref(&question)).get(&UPLINK), None);
    let sent = bench.wait(Millis::from_secs(40)).remove(&UPLINK).unwrap();
    assert_eq!(sent.iter().filter(|frame| icmp(frame).0 == 135).count(), 1, "then it is tried again");
    assert_eq!(bench.send(UPLINK, &[question])[&UPLINK].len(), 1);
}

#[test]
fn rfc3810_groups_are_reported_at_the_start_and_when_asked_for() {
    let mut bench = Bench::new(config());
    let reports = |sent: Sent| -> Vec<Vec<u8>> {
        let frames = sent.get(&0).cloned().unwrap_or_default();
        frames.into_iter().filter(|frame| icmp(frame).0 == icmp6::LISTENER_REPORT).collect()
    };
    let first = reports(bench.wait(Millis::from_secs(10)));
    assert_eq!(first.len(), 2, "robustness");
    let report = &first[0];
    let ip = read(report);
    assert_eq!((ip.src, ip.dst, ip.hop_limit), (LAN_MAC.link_local6(), v6("ff02::16"), 1));
    assert_eq!(&report[54..62], [58, 0, 5, 2, 0, 0, 1, 0], "router alert");
    let groups: Vec<Ipv6Addr> = ip.payload(&report[14..])[8..]
        .chunks(20)
        .map(|record| <[u8; 16]>::try_from(&record[4..]).unwrap().into())
        .collect();
    for group in [ALL_ROUTERS, solicited_node(v6(LAN_6)), solicited_node(LAN_MAC.link_local6())] {
        assert!(groups.contains(&group), "{group} of {groups:?}");
    }
    let query = |hops, len: usize| {
        let router = guest_mac(0).link_local6();
        let frame = eth().src(guest_mac(0)).dst(MacAddr::of_group6(ALL_NODES)).ipv6(router, ALL_NODES);
        let frame = frame.hop_limit(hops).extension(Protocol::HOP_BY_HOP, &[0, 0, 5, 2, 0, 0, 1, 0]);
        frame.icmp6(130, 0, 1000 << 16).payload(&vec![0; len])
    };
    bench.send(0, &[query(1, 20)]);
    assert_eq!(reports(bench.wait(Millis::from_secs(2))).len(), 1);
    bench.send(0, &[query(2, 20), query(1, 17)]);
    assert_eq!(reports(bench.wait(Millis::from_secs(2))).len(), 0);
    assert_eq!(bench.drops(0), [("bad_ndp", 2)]);
}

#[test]
fn advertisements_come_at_the_start_periodically_and_when_asked_for() {
    let mut bench = Bench::new(config());
    let is_ra = |frame: &&Vec<u8>| icmp(frame).0 == icmp6::ROUTER_ADVERTISEMENT;
    let sent = bench.wait(Millis::ZERO);
    let ra = sent[&0].iter().find(is_ra).unwrap();
    let ip = read(ra);
    assert_eq!((ip.src, ip.dst, ip.hop_limit), (LAN_MAC.link_local6(), ALL_NODES, 255));
    assert_eq!(&ip.payload(&ra[14..])[4..8], [64, 0, 7, 8], "1800 s, neither managed nor other");
    let options = options(ra);
    let kinds: Vec<u8> = options.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [1, 5, 3, 25, 31]);
    assert_eq!(options[0].1, LAN_MAC.octets());
    assert_eq!(options[1].1, [0, 0, 0, 0, 5, 220]);
    assert_eq!(options[2].1[..2], [64, 0xc0], "on-link, and for addresses");
    assert_eq!(options[2].1[14..], v6("fd00:1::").octets());
    assert_eq!(options[3].1[6..], v6("fd00:1::53").octets());
    assert_eq!(options[4].1[6..], *b"\x03lan\0\0\0\0");
    assert_eq!(sent[&UPLINK].iter().filter(is_ra).count(), 0);
    let count = |sent: &Sent| sent.get(&0).map_or(0, |frames| frames.iter().filter(is_ra).count());
    assert_eq!(count(&bench.wait(Millis::from_secs(33))), 2, "three at first");
    let later = count(&bench.wait(Millis::from_secs(3600)));
    assert!((6..=18).contains(&later), "{later}");
    for source in [Ipv6Addr::UNSPECIFIED, guest_mac(0).link_local6()] {
        let frame = eth().src(guest_mac(0)).dst(MacAddr::of_group6(ALL_ROUTERS));
        let rs = frame.ipv6(source, ALL_ROUTERS).hop_limit(255).icmp6(133, 0, 0).payload(b"");
        let sent = bench.send(0, &[rs]);
        let answer = sent[&0].iter().find(is_ra).unwrap();
        let to = if source.is_unspecified() { ALL_NODES } else { source };
        assert_eq!((read(answer).dst, count(&sent), sent[&1].len()), (to, 1, 1), "nobody else hears it");
    }
}

#[test]
fn a_network_that_is_closed_has_no_router_but_a_prefix() {
    let mut closed = config();
    closed.networks[0].reach = Reach::Closed;
    let settings = closed.networks[0].interface.as_mut().unwrap().settings.ipv6.as_mut().unwrap();
    settings.ra.as_mut().unwrap().is_router = false;
    let mut bench = Bench::new(closed);
    let sent = bench.wait(Millis::ZERO);
    let ra = sent[&0].iter().find(|frame| icmp(frame).0 == 134).unwrap();
    assert_eq!(read(ra).payload(&ra[14..])[6..8], [0, 0]);
    assert!(options(ra).iter().any(|(kind, _)| *kind == 3));
    let answer = bench.send(0, &[solicitation(guest_mac(0), guest_6(0), v6(LAN_6))]).remove(&0).unwrap();
    assert_eq!(icmp(answer.last().unwrap()).2, 0x6000_0000, "no router");
    assert_eq!(icmp(&only(bench.send(0, &[guest(0, v6(FAR_6)).udp(1, 2).payload(b"")])).1), (1, 1, 0));
}

#[test]
fn a_prefix_that_a_reload_takes_away_is_taken_back() {
    let mut bench = bench();
    let mut other = config();
    let settings = other.networks[0].interface.as_mut().unwrap().settings.ipv6.as_mut().unwrap();
    settings.address = "fd00:9::1/64".parse().unwrap();
    bench.worker.install(other);
    let last = |sent: Sent| {
        let ras: Vec<_> = sent[&0].iter().filter(|frame| icmp(frame).0 == 134).cloned().collect();
        ras.iter()
            .map(|ra| (read(ra).payload(&ra[14..])[6..8].to_vec(), options(ra)[2].1.clone()))
            .collect::<Vec<_>>()
    };
    let said = last(bench.wait(Millis::ZERO));
    let of = |prefix: &str| said.iter().find(|(_, option)| option[14..] == v6(prefix).octets()).unwrap();
    assert_eq!(of("fd00:1::").1[2..10], [0; 8], "no lifetimes");
    assert_ne!(of("fd00:9::").1[2..10], [0; 8]);
    let mut none = config();
    none.networks[0].interface.as_mut().unwrap().settings.ipv6 = None;
    bench.worker.install(none);
    let said = last(bench.wait(Millis::ZERO));
    assert_eq!((said.len(), &said[0].0[..]), (1, &[0, 0][..]), "it is no router any more");
}

#[test]
fn the_end_is_told() {
    let mut bench = bench();
    let own = bench.worker.farewell(bench.now);
    let mut told = 0;
    bench.worker.transmit_own(own, |port, burst, frames, _| {
        let ra = burst.bytes(frames[0].frame());
        assert_eq!(icmp(ra).0, 134);
        assert_eq!(read(ra).payload(&ra[14..])[6..8], [0, 0]);
        assert!(port.get() < UPLINK);
        told += 1;
    });
    assert_eq!(told, 4);
}

//! Flows are found by both their tuples, whatever families these are of, and expire in the order of their last use.

use super::*;
use packet::{Protocol, V6};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

fn flow(port: u16) -> Flow {
    let at = |last, port| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), port);
    let original = Tuple::new(Protocol::UDP, at(1, port), at(2, 53));
    Flow::new(original, original.reversed())
}

fn insert(table: &mut FlowTable, flow: Flow) -> Id {
    let keys = Direction::BOTH.map(|direction| table.key(flow.tuple(direction)));
    table.insert(flow, keys, FlowMappings::default(), None, Millis::ZERO)
}

fn ports(table: &FlowTable) -> Vec<u16> {
    table.iter().map(|flow| flow.tuple(Direction::Original).source_port()).collect()
}

#[test]
fn flows_are_found_by_both_tuples_until_removed() {
    let mut table = FlowTable::new([1, 2]);
    let ids: Vec<_> = (0..1000).map(|port| insert(&mut table, flow(port))).collect();
    let tuple = |port| flow(port as u16).tuple(Direction::Original);
    let find = |table: &FlowTable, tuple| table.find(tuple, table.key(tuple));
    for (port, &id) in ids.iter().enumerate() {
        assert_eq!(find(&table, tuple(port)), Some((id, Direction::Original)));
        assert_eq!(find(&table, tuple(port).reversed()), Some((id, Direction::Reply)));
    }
    for (port, id) in ids.into_iter().enumerate() {
        table.remove(id);
        assert_eq!((find(&table, tuple(port)), find(&table, tuple(port).reversed())), (None, None));
    }
    assert_eq!((table.len(), table.iter().count(), table.index.numbers().count()), (0, 0, 0));
}

#[test]
fn use_moves_a_flow_to_the_end_of_the_line_once_a_second() {
    let mut table = FlowTable::new([1, 2]);
    let [a, b, c] = [1, 2, 3].map(|port| insert(&mut table, flow(port)));
    assert!(!table.get(b).moves(TimeoutClass::Udp, seconds(Millis::new(999))));
    assert!(table.get(b).moves(TimeoutClass::Udp, seconds(Millis::new(1000))));
    table.refresh(b, TimeoutClass::Udp, Millis::new(1000));
    assert_eq!(ports(&table), [1, 3, 2]);
    table.refresh(a, TimeoutClass::TcpClosing, Millis::new(1000));
    assert_eq!(ports(&table), [3, 2, 1]);
    let timeouts = Timeouts::default();
    assert_eq!(table.next_to_expire(&timeouts), Some((a, Millis::from_secs(1 + 240 + 1))));
    table.remove(a);
    assert_eq!(table.next_to_expire(&timeouts), Some((c, Millis::from_secs(300 + 1))));
}

#[test]
fn a_flow_counts_on_when_its_own_counters_are_full() {
    let mut table = FlowTable::new([1, 2]);
    let [a, b] = [1, 2].map(|port| insert(&mut table, flow(port)));
    let much = Passed { packets: 1 << 40, bytes: (1 << 50) + 7 };
    table.restore_passed(a, [much, Passed::default()]);
    table.restore_passed(b, [Passed { packets: 3, bytes: (1 << 35) - 1 }, much]);
    assert!(table.get(a).is_unanswered() && !table.get(b).is_unanswered());
    for id in [a, b] {
        table.get_mut(id).count(Direction::Original, 1000);
        table.refresh(id, TimeoutClass::Udp, Millis::new(1000));
    }
    let one_more = Passed { packets: (1 << 40) + 1, bytes: (1 << 50) + 1007 };
    assert_eq!(table.passed(a), [one_more, Passed::default()]);
    assert_eq!(table.passed(b), [Passed { packets: 4, bytes: (1 << 35) + 999 }, much]);
    assert_eq!(table.get(b).counts[0].get(), Passed { packets: 1, bytes: 0 }, "there is room again");
    // Nothing of it is left for who comes next.
    table.remove(a);
    let next = insert(&mut table, flow(3));
    assert_eq!((next, table.passed(next)), (a, [Passed::default(); 2]));
}

fn v4(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, last), port)
}

fn v6(last: u16, port: u16) -> SocketAddrV6 {
    SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last), port, 0, 0)
}

fn add<A: To<B>, B: Family>(table: &mut FlowTable<A, B>, original: Tuple<A>, reply: Tuple<B>) -> Id {
    let keys = [table.key(original), table.key(reply)];
    table.insert(Flow::new(original, reply), keys, FlowMappings::default(), None, Millis::ZERO)
}

/// A flow that nothing was heard of for its time ends; the last one leaves nothing behind.
fn expire<A: To<B>, B: Family>(table: &mut FlowTable<A, B>, timeouts: &Timeouts, last: Millis) {
    while let Some((id, deadline)) = table.next_to_expire(timeouts) {
        assert!(deadline <= last);
        assert!(table.remove(id).is_some());
    }
    assert_eq!((table.len(), table.index.numbers().count()), (0, 0));
}

#[test]
fn flows_of_ipv6_are_found_from_both_sides_until_they_expire() {
    let mut table: FlowTable<V6> = FlowTable::new([1, 2]);
    let original = |port| Tuple::new(Protocol::TCP, v6(1, port), v6(2, 443));
    let reply = |port| Tuple::new(Protocol::TCP, v6(2, 443), v6(9, port));
    let ids: Vec<Id> = (1..=1000).map(|port| add(&mut table, original(port), reply(port))).collect();
    for (port, &id) in (1..=1000).zip(&ids) {
        let mut keys = [original(port), reply(port)].map(|tuple| table.key(tuple));
        assert_eq!(table.look_ahead(&mut keys, Millis::ZERO), 0);
        assert_eq!(table.find(original(port), keys[0]), Some((id, Direction::Original)));
        assert_eq!(table.find(reply(port), keys[1]), Some((id, Direction::Reply)));
        assert_eq!(table.get(id).translated(Direction::Original), reply(port).reversed());
        let other = original(port).reversed();
        assert_eq!(table.find(other, table.key(other)), None);
    }
    let timeouts = Timeouts::default();
    let last = timeouts.tcp_opening + REFRESH_INTERVAL;
    assert_eq!(table.next_timeout(&timeouts), Some(Millis::ZERO + last));
    expire(&mut table, &timeouts, Millis::ZERO + last);
    assert_eq!(table.find(original(1), table.key(original(1))), None);
}

#[test]
fn a_flow_between_families_is_found_from_both_sides_until_it_expires() {
    let mut table: FlowTable<V6, V4> = FlowTable::new([1, 2]);
    let original = Tuple::new(Protocol::UDP, v6(1, 5000), v6(2, 53));
    let reply = Tuple::new(Protocol::UDP, v4(2, 53), v4(9, 6000));
    let echo = Tuple::new(Protocol::ICMPV6, v6(1, 7), v6(2, 0));
    let answer = Tuple::new(Protocol::ICMP, v4(2, 0), v4(9, 8));
    let (udp, ping) = (add(&mut table, original, reply), add(&mut table, echo, answer));
    assert_eq!(table.find_original(original, table.key(original)), Some(udp));
    assert_eq!(table.find_reply(reply, table.key(reply)), Some(udp));
    // Each family has an ICMP of its own.
    assert_eq!(table.find_original(echo, table.key(echo)), Some(ping));
    assert_eq!(table.find_reply(answer, table.key(answer)), Some(ping));
    assert_eq!(table.find_reply(reply.reversed(), table.key(reply.reversed())), None);
    table.refresh(udp, TimeoutClass::Udp, Millis::from_secs(5));
    let timeouts = Timeouts::default();
    assert_eq!(table.next_to_expire(&timeouts), Some((ping, Millis::from_secs(60 + 1))));
    expire(&mut table, &timeouts, Millis::from_secs(5 + 300 + 1));
    assert_eq!(table.find_original(original, table.key(original)), None);
    assert_eq!(table.find_reply(answer, table.key(answer)), None);
}

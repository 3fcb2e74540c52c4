//! State that is carried over: what was saved goes on, and what is damaged is refused as a whole.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use std::net::{Ipv4Addr, SocketAddrV4};

use nat_engine::{
    Behaviour, ExplicitMapping, FlowView, Imported, MappingRefused, MappingRequest, Nat, NatConfig,
    NatSettings, STATE_START, StateError,
};
use packet::builder::eth;
use packet::{Millis, Protocol};
use proptest::prelude::*;
use siphasher::sip::SipHasher13;
use world::*;

fn views(world: &World) -> Vec<String> {
    let key = |flow: &FlowView| format!("{flow:?}");
    let mut views: Vec<_> = world.nat.flows(world.now).map(|flow| key(&flow)).collect();
    views.sort();
    views
}

/// Another process with this configuration, whose clock says something else.
fn successor(config: NatConfig) -> World {
    World { nat: Nat::new(config, [77, 88]), now: Millis::from_secs(50_000), partial_checksum: false }
}

fn take_over(after: &mut World, before: &World, age: u64) -> Imported {
    let state = before.nat.export(before.now);
    assert_eq!(Nat::state_len(&state[..STATE_START]), Ok(state.len() as u64));
    after.nat.import(&state, Millis::new(age), after.now).unwrap()
}

/// A connection, a hairpinned flow, a flow from outside, a published port, a ping; idle for different times.
fn busy() -> World {
    let mut world = World::new();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b"")).unwrap();
    world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, SYN | ACK).payload(b"")).unwrap();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).tcp(5000, 80, ACK).payload(b"")).unwrap();
    world.guest_sends(&eth().ipv4(GUEST2, REMOTE).udp(5000, 53).payload(b"")).unwrap();
    world.wait(20_000);
    world.guest_sends(&eth().ipv4(GUEST, PUBLIC).udp(6000, 5000).payload(b"")).unwrap();
    world.remote_sends(&eth().ipv4(REMOTE, PUBLIC).udp(99, 5000).payload(b"")).unwrap();
    world.wait(20_000);
    world.remote_sends(&eth().ipv4(REMOTE2, PUBLIC).tcp(7000, 8080, SYN).payload(b"")).unwrap();
    world.guest_sends(&eth().ipv4(GUEST, REMOTE).icmp_echo(9, 1).payload(b"")).unwrap();
    world
}

#[test]
fn flows_that_are_copied_while_they_change_are_each_there_once_as_they_were_last() {
    let mut before = World::new();
    let open = |world: &mut World, from: u16| {
        let ask = eth().ipv4(GUEST, REMOTE).udp(from, 53).payload(b"");
        ends(&world.guest_sends(&ask).unwrap()).1
    };
    let ports = 5000..5010;
    for port in ports.clone() {
        open(&mut before, port);
    }
    let mut snapshot = before.nat.snapshot();
    before.nat.copy_flows(0..5, before.now, &mut snapshot);
    // All of them end; the last ones come first again, and another guest takes a port of the first ones.
    before.nat.flush(0..10, |_| true, before.now);
    before.wait(600_000);
    let taken = eth().ipv4(GUEST2, REMOTE).udp(5000, 53).payload(b"");
    assert_eq!(ends(&before.guest_sends(&taken).unwrap()).1, 5000);
    for port in ports.rev().take(9) {
        open(&mut before, port);
    }
    before.nat.copy_flows(5..before.nat.flow_places(), before.now, &mut snapshot);

    let state = snapshot.into_bytes();
    let mut after = successor(config());
    let imported = after.nat.import(&state, Millis::ZERO, after.now).unwrap();
    assert_eq!(imported.flows, after.nat.flow_count());
    let all = views(&after);
    let later: Vec<_> =
        before.nat.flows_in(5..10, before.now).map(|flow| (flow.original, flow.reply)).collect();
    assert!(imported.flows > later.len() && all.len() == imported.flows);
    let there =
        |flow: &FlowView, pair: &(nat_engine::Tuple, nat_engine::Tuple)| (flow.original, flow.reply) == *pair;
    assert!(later.iter().all(|pair| after.nat.flows(after.now).any(|flow| there(&flow, pair))));
}

#[test]
fn an_established_connection_goes_on_in_the_next_process() {
    let before = busy();
    let mut after = successor(config());
    assert_eq!(take_over(&mut after, &before, 0), Imported { flows: 6, left_out: 0 });
    assert_eq!(views(&after), views(&before));
    let data = eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, ACK).payload(b"more");
    assert_eq!(ends(&after.remote_sends(&data).unwrap()), (REMOTE, 80, GUEST, 5000));
    // Mappings go on too: port 5000 is GUEST2's, who may be reached by whom it knows.
    let other = after.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"")).unwrap();
    assert_ne!(ends(&other).1, 5000);
    let same = after.guest_sends(&eth().ipv4(GUEST2, REMOTE2).udp(5000, 53).payload(b"")).unwrap();
    assert_eq!(ends(&same).1, 5000);
    assert!(after.remote_sends(&eth().ipv4(REMOTE, PUBLIC).udp(7, 5000).payload(b"")).is_ok());
    after.wait(8_000_000);
    after.wait(0);
    assert_eq!((after.counts().0, after.nat.next_timeout()), (0, None));
}

#[test]
fn mappings_that_depend_on_the_remote_are_carried_over() {
    let settings = NatSettings { mapping: Behaviour::AddressAndPortDependent, ..NatSettings::default() };
    let config = NatConfig { settings, ..config() };
    let mut before = World::with(config.clone());
    let to = |port| eth().ipv4(GUEST, REMOTE).udp(5000, port).payload(b"");
    let ports = [1, 2].map(|port| ends(&before.guest_sends(&to(port)).unwrap()).1);
    let mut after = successor(config);
    take_over(&mut after, &before, 0);
    assert_eq!([1, 2].map(|port| ends(&after.guest_sends(&to(port)).unwrap()).1), ports);
}

#[test]
fn what_was_asked_for_goes_on_with_its_owner_and_its_time() {
    let mut before = World::new();
    let request = |owner, seconds| MappingRequest {
        protocol: Protocol::UDP,
        inside: SocketAddrV4::new(GUEST, 4000),
        wanted: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 4444),
        exactly: false,
        owner: [owner; 12],
        lifetime: Millis::from_secs(seconds),
    };
    let given = before.nat.map(&request(1, 600), LAN, WAN, before.now).unwrap();
    assert_eq!(given.outside.port(), 4444);
    before.wait(100_000);
    let mut after = successor(config());
    take_over(&mut after, &before, 50_000);
    let mappings: Vec<_> = after.nat.explicit_mappings().collect();
    let until = after.now + Millis::from_secs(600 - 150);
    assert_eq!(mappings, [ExplicitMapping { until, ..given }]);
    let asks = eth().ipv4(REMOTE, PUBLIC).udp(9, 4444).payload(b"");
    assert_eq!(ends(&after.remote_sends(&asks).unwrap()), (REMOTE, 9, GUEST, 4000));
    let refused = after.nat.map(&request(2, 600), LAN, WAN, after.now);
    assert_eq!(refused, Err(MappingRefused::NotOwner(Millis::from_secs(450))));
    assert!(after.nat.map(&request(1, 600), LAN, WAN, after.now).is_ok());
    after.nat.unmap(Protocol::UDP, request(1, 0).inside, [1; 12], after.now).unwrap();
    assert_eq!(after.nat.explicit_mappings().count(), 0);
    // Nobody asked for it again in time.
    let mut late = successor(config());
    take_over(&mut late, &before, 500_000);
    assert_eq!((late.nat.explicit_mappings().count(), late.nat.next_timeout()), (0, None));
}

#[test]
fn ports_that_rested_rest_on_and_no_longer() {
    let mut before = World::new();
    let ask = |from| eth().ipv4(from, REMOTE).udp(5000, 53).payload(b"");
    assert_eq!(ends(&before.guest_sends(&ask(GUEST)).unwrap()).1, 5000);
    before.nat.flush(0..1, |_| true, before.now);
    let rest = NatSettings::default().quarantine.get();
    before.wait(rest / 2);
    let mut after = successor(config());
    take_over(&mut after, &before, rest / 4);
    assert_ne!(ends(&after.guest_sends(&ask(GUEST2)).unwrap()).1, 5000);
    let mut later = successor(config());
    take_over(&mut later, &before, rest / 4);
    later.wait(rest / 2);
    assert_eq!(ends(&later.guest_sends(&ask(GUEST2)).unwrap()).1, 5000);
}

#[test]
fn an_empty_nat_is_carried_over_too() {
    let mut world = World::new();
    assert_eq!(take_over(&mut world, &World::new(), 0), Imported { flows: 0, left_out: 0 });
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_changes_nothing() {
    let state = busy().nat.export(Millis::from_secs(1040));
    let mut newer = state.clone();
    newer[9] = 9;
    let mut world = World::new();
    assert_eq!(world.nat.import(b"", Millis::ZERO, world.now), Err(StateError::Foreign));
    assert_eq!(world.nat.import(b"some other file", Millis::ZERO, world.now), Err(StateError::Foreign));
    assert_eq!(world.nat.import(&newer, Millis::ZERO, world.now), Err(StateError::Version(9)));
    let longer = [&state[..], &[0]].concat();
    assert_eq!(world.nat.import(&longer, Millis::ZERO, world.now), Err(StateError::Damaged));
    assert_eq!(views(&world), views(&World::new()));
    let mut used = busy();
    assert_eq!(used.nat.import(&state, Millis::ZERO, used.now), Err(StateError::NotEmpty));
}

/// Without requests and resting ports, of which there are none here.
#[test]
fn what_was_saved_in_the_second_format_goes_on() {
    let before = busy();
    let mut state = before.nat.export(before.now);
    state[9] = 2;
    state.drain(20..STATE_START);
    let mut after = successor(config());
    let imported = after.nat.import(&with_checksum(state), Millis::ZERO, after.now);
    assert_eq!(imported, Ok(Imported { flows: 6, left_out: 0 }));
    assert_eq!(views(&after), views(&before));
}

/// As format 1 had them, one of them of TCP with data in both directions: the guest is at 0x12345680, the remote host at
/// 0xfedd0006. What that format kept of these is their upper halves.
#[test]
fn what_was_saved_in_the_first_format_goes_on_and_learns_where_it_is() {
    let old = include_bytes!("saved/format-1");
    let take_over = || {
        let mut world = successor(config());
        assert_eq!(Nat::state_len(&old[..STATE_START]), Ok(old.len() as u64));
        let imported = world.nat.import(old, Millis::ZERO, world.now);
        assert_eq!(imported, Ok(Imported { flows: 4, left_out: 0 }));
        world
    };
    let view = |flow: FlowView| (flow.original.to_string(), flow.state, flow.packets, flow.bytes);
    let mut views: Vec<_> = take_over().nat.flows(Millis::from_secs(50_000)).map(view).collect();
    views.sort();
    let original = |tuple: &str| tuple.to_owned();
    assert_eq!(
        views,
        [
            (original("icmp 192.168.122.10:9 > 198.51.100.1:0"), "unreplied", [1, 0], [28, 0]),
            (original("tcp 192.168.122.10:5000 > 198.51.100.1:80"), "established", [4, 2], [168, 86]),
            (original("tcp 198.51.100.2:7000 > 203.0.113.7:8080"), "syn-sent", [1, 0], [40, 0]),
            (original("udp 192.168.122.11:5000 > 198.51.100.1:53"), "replied", [1, 1], [28, 34]),
        ]
    );
    let state_after = |segments: &[(u8, u32, u32)]| {
        let mut world = take_over();
        for &(flags, seq, ack) in segments {
            let segment = eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, flags).numbers(seq, ack).payload(b"");
            world.remote_sends(&segment).unwrap();
        }
        let from_guest = |flow: &FlowView| flow.original.source_port() == 5000 && flow.state != "replied";
        world.nat.flows(world.now).find(from_guest).unwrap().state
    };
    let data = (ACK, 0xfedd_0006, 0x1234_5680);
    assert_eq!(state_after(&[(RST, 0xfedd_0006, 0)]), "established", "not before it is known");
    assert_eq!(state_after(&[data, (RST, 0xfedd_0006, 0)]), "reset");
    assert_eq!(state_after(&[data, (RST, 0xfedd_0005, 0)]), "established");
    assert_eq!(state_after(&[(ACK, 0xfedd_0006, 77), (RST, 0xfedd_0006, 0)]), "established");
    assert_eq!(state_after(&[(ACK, 77, 0x1234_5680), (RST, 77, 0)]), "established");
    assert_eq!(state_after(&[(FIN | ACK, 77, 77)]), "established");
    assert_eq!(state_after(&[(FIN | ACK, 0xfedd_0006, 0x1234_5680)]), "half-closed");
}

#[test]
fn flows_of_every_protocol_are_carried_over() {
    let mut before = World::new();
    for frame in [
        eth().ipv4(GUEST, REMOTE).tcp(5000, 80, SYN).payload(b""),
        eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b""),
        eth().ipv4(GUEST, REMOTE).icmp_echo(9, 1).payload(b""),
        eth().ipv4(GUEST, REMOTE).udp_lite(5000, 53, 8).payload(b""),
        eth().ipv4(GUEST, REMOTE).dccp(5000, 53, 0, 0).payload(b"serv"),
        raw(GUEST, GUEST2, Protocol(47), 1, 0, b"nothing is translated"),
    ] {
        before.guest_sends(&frame).unwrap();
    }
    let mut after = successor(config());
    assert_eq!(take_over(&mut after, &before, 0), Imported { flows: 6, left_out: 0 });
    assert_eq!(views(&after), views(&before));
}

#[test]
fn the_time_between_two_processes_counts_as_idle_time() {
    let before = busy();
    let left = |world: &World| world.nat.flows(world.now).map(|flow| flow.expires_in.get()).max().unwrap();
    // The echo may be idle for a minute, the half-open connection for four, the datagrams for five less what they were.
    for (age, flows) in
        [(0, 6), (59_000, 6), (61_000, 5), (241_000, 4), (259_000, 4), (281_000, 1), (7_402_000, 0)]
    {
        let mut after = successor(config());
        assert_eq!(take_over(&mut after, &before, age), Imported { flows, left_out: 6 - flows }, "{age}");
        assert_eq!(after.counts().0, flows);
        assert!(flows == 0 || left(&after) == left(&before) - age);
    }
}

#[test]
fn of_more_flows_than_the_limit_allows_those_used_last_go_on() {
    let before = busy();
    let mut after = successor(NatConfig { flow_limit: 2, ..config() });
    assert_eq!(take_over(&mut after, &before, 0), Imported { flows: 2, left_out: 4 });
    let protocols = after.nat.flows(after.now).map(|flow| flow.original.protocol().to_string());
    assert_eq!(protocols.collect::<Vec<_>>(), ["tcp", "icmp"]);
    // Nothing is left of the others: their ports are free.
    let mut roomy = successor(config());
    take_over(&mut roomy, &after, 0);
    let out = roomy.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"")).unwrap();
    assert_eq!(ends(&out).1, 5000);
}

#[test]
fn flows_of_an_own_address_that_is_gone_are_left_out() {
    let before = busy();
    let mut addresses = config().addresses;
    let renumbered = addresses.iter_mut().find(|address| **address == Some(PUBLIC)).unwrap();
    *renumbered = Some(REMOTE2);
    let mut after = successor(NatConfig { addresses, ..config() });
    assert_eq!(take_over(&mut after, &before, 0), Imported { flows: 0, left_out: 6 });
}

#[test]
fn cut_short_anywhere_it_is_refused() {
    let state = busy().nat.export(Millis::from_secs(1040));
    for len in 0..state.len() {
        assert!(World::new().nat.import(&state[..len], Millis::ZERO, Millis::ZERO).is_err());
    }
}

fn with_checksum(mut state: Vec<u8>) -> Vec<u8> {
    let body = state.len() - 8;
    let sum = SipHasher13::new().hash(&state[..body]);
    state[body..].copy_from_slice(&sum.to_be_bytes());
    state
}

proptest! {
    #![proptest_config(properties())]

    #[test]
    fn any_change_of_its_bytes_is_noticed(at: prop::sample::Index, bit in 0..8_u32) {
        let mut state = busy().nat.export(Millis::from_secs(1040));
        let at = at.index(state.len());
        state[at] ^= 1 << bit;
        prop_assert!(World::new().nat.import(&state, Millis::ZERO, Millis::ZERO).is_err());
    }

    #[test]
    fn forged_state_is_refused_or_makes_sense(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), now: u32) {
        let mut state = busy().nat.export(Millis::from_secs(1040));
        for (at, byte) in changes {
            let at = 10 + at.index(state.len() - 18);
            state[at] = byte;
        }
        let mut world = World::new();
        world.now = Millis::new(now.into());
        if world.nat.import(&with_checksum(state), Millis::ZERO, world.now).is_ok() {
            let again = world.nat.export(world.now);
            let mut other = successor(config());
            other.nat.import(&again, Millis::ZERO, other.now).unwrap();
            world.guest_sends(&eth().ipv4(GUEST, REMOTE).udp(5000, 53).payload(b"")).unwrap();
            world.wait(10_000_000_000);
            prop_assert_eq!(world.counts().0, 0);
        } else {
            prop_assert_eq!(world.counts(), (0, 0, 0));
        }
    }

    #[test]
    fn bytes_are_refused(bytes: Vec<u8>) {
        for (format, counts) in [(b"\0\x01", 10), (b"\0\x02", 10), (b"\0\x03", 18)] {
            let state = [&b"tapswNAT"[..], format, &bytes, &[0; 8]].concat();
            let read = World::new().nat.import(&with_checksum(state), Millis::ZERO, Millis::ZERO);
            prop_assert!(read.is_err() || bytes == vec![0; counts]);
        }
    }
}

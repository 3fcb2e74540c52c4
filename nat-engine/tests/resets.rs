//! Only a reset that is exactly where its receiver expects it ends a connection. RFC 5961.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use nat_engine::{FlowView, Nat};
use packet::Millis;
use packet::builder::eth;
use proptest::prelude::*;
use proptest::sample::select;
use world::*;

/// A segment of one of the sides.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// From the guest, or from the remote host.
    outward: bool,
    flags: u8,
    seq: u32,
    ack: u32,
    len: usize,
}

fn out(flags: u8, seq: u32, ack: u32, len: usize) -> Segment {
    Segment { outward: true, flags, seq, ack, len }
}

fn back(flags: u8, seq: u32, ack: u32, len: usize) -> Segment {
    Segment { outward: false, flags, seq, ack, len }
}

/// What there is to say of a flow but its counters.
type Life = (&'static str, Millis);

fn life(world: &World) -> Life {
    let FlowView { state, expires_in, .. } = world.flow();
    (state, expires_in)
}

/// Passes, whatever it is; returns what has become of the flow.
fn pass(world: &mut World, segment: Segment) -> Life {
    let Segment { outward, flags, seq, ack, len } = segment;
    let payload = vec![0; len];
    let left = if outward {
        let ip = eth().ipv4(GUEST, REMOTE).tcp(5000, 80, flags).numbers(seq, ack);
        world.guest_sends(&ip.payload(&payload))
    } else {
        let ip = eth().ipv4(REMOTE, PUBLIC).tcp(80, 5000, flags).numbers(seq, ack);
        world.remote_sends(&ip.payload(&payload))
    };
    let expected = if outward { (PUBLIC, 5000, REMOTE, 80) } else { (REMOTE, 80, GUEST, 5000) };
    assert_eq!(left.map(|frame| ends(&frame)), Ok(expected));
    life(world)
}

/// The guest has sent up to 1000, the remote host up to 5000.
const HANDSHAKE: [Segment; 3] = [
    Segment { outward: true, flags: SYN, seq: 999, ack: 0, len: 0 },
    Segment { outward: false, flags: SYN | ACK, seq: 4999, ack: 1000, len: 0 },
    Segment { outward: true, flags: ACK, seq: 1000, ack: 5000, len: 0 },
];

fn after(segments: &[Segment]) -> World {
    let mut world = World::new();
    for &segment in segments {
        pass(&mut world, segment);
    }
    world
}

fn established() -> World {
    let world = after(&HANDSHAKE);
    assert_eq!(world.flow().state, "established");
    world
}

#[test]
fn rfc5961_s3_a_reset_in_the_window_that_is_not_exact_passes_and_changes_nothing() {
    let mut world = established();
    pass(&mut world, out(ACK, 1000, 5000, 300));
    world.wait(1_000_000);
    let before = life(&world);
    for flags in [RST, RST | ACK, RST | FIN | ACK, RST | SYN] {
        for off in [1_u32, 2, 300, 65_535, 1 << 20, 64 << 20, 1 << 31, u32::MAX, u32::MAX - 99] {
            for ack in [0, 1000, 1300] {
                assert_eq!(pass(&mut world, back(flags, 5000_u32.wrapping_add(off), ack, 0)), before);
            }
            if off != 300 {
                assert_eq!(pass(&mut world, out(flags, 1000_u32.wrapping_add(off), 5000, 0)), before);
            }
        }
    }
    assert_eq!(pass(&mut world, back(RST, 5000, 0, 0)).0, "reset");
}

#[test]
fn rfc5961_s3_an_exact_reset_ends_the_connection_wherever_its_data_is() {
    let data = out(ACK, 1000, 5000, 300);
    let acknowledged = back(ACK, 5000, 1100, 0);
    for (segments, reset) in [
        (&[][..], back(RST, 5000, 0, 0)),
        (&[], back(RST | ACK, 5000, 1000, 0)),
        (&[], out(RST | ACK, 1000, 5000, 0)),
        // With data under way: at its end, or where the other side has told it to be.
        (&[data], out(RST | ACK, 1300, 5000, 0)),
        (&[data], out(RST, 1000, 0, 0)),
        (&[data, acknowledged], out(RST | ACK, 1300, 5000, 0)),
        (&[data, acknowledged], out(RST, 1100, 0, 0)),
        (&[data, acknowledged], back(RST | ACK, 5000, 1100, 0)),
        // Sent again, and in pieces.
        (&[data, data, out(ACK, 1000, 5000, 50)], out(RST | ACK, 1300, 5000, 0)),
        // Data that was lost on its way here, before and behind what came.
        (&[out(ACK, 1300, 5000, 100)], out(RST | ACK, 1400, 5000, 0)),
        (&[out(ACK, 1300, 5000, 100), data, back(ACK, 5000, 1400, 0)], out(RST | ACK, 1400, 5000, 0)),
        (&[back(ACK, 5000, 1300, 0)], out(RST | ACK, 1300, 5000, 0)),
        // After a FIN, by who closed and by who had more to say.
        (&[out(FIN | ACK, 1000, 5000, 0)], out(RST | ACK, 1001, 5000, 0)),
        (&[out(FIN | ACK, 1000, 5000, 0), back(ACK, 5000, 1000, 9)], out(RST, 1000, 0, 0)),
        (&[out(FIN | ACK, 1000, 5000, 5), back(ACK, 5000, 1006, 9)], back(RST, 5009, 0, 0)),
    ] {
        let mut world = established();
        segments.iter().for_each(|&segment| _ = pass(&mut world, segment));
        assert_eq!(pass(&mut world, reset), ("reset", Millis::from_secs(241)), "{segments:?} {reset:?}");
    }
}

#[test]
fn numbers_wrap() {
    let mut world = after(&[
        out(SYN, u32::MAX - 100, 0, 0),
        back(SYN | ACK, u32::MAX, u32::MAX - 99, 0),
        out(ACK, u32::MAX - 99, 0, 0),
        out(ACK, u32::MAX - 99, 0, 1000),
    ]);
    assert_eq!(pass(&mut world, out(RST, u32::MAX, 0, 0)).0, "established");
    assert_eq!(pass(&mut world, back(ACK, 0, 900, 0)).0, "established");
    assert_eq!(pass(&mut world, out(RST, 900, 0, 0)).0, "reset");
    // What goes on was alive after all.
    assert_eq!(pass(&mut world, back(ACK, 0, 900, 0)).0, "established");
    assert_eq!(pass(&mut world, back(RST, 0, 0, 0)).0, "reset");
}

#[test]
fn a_refused_connection_is_reset_by_who_knows_its_syn() {
    for (reset, state) in [
        (back(RST | ACK, 0, 1000, 0), "reset"),
        (back(RST | ACK, 0, 1001, 0), "syn-sent"),
        (back(RST, 0, 0, 0), "syn-sent"),
        (back(RST, 1000, 0, 0), "syn-sent"),
    ] {
        let mut world = after(&HANDSHAKE[..1]);
        assert_eq!(pass(&mut world, reset).0, state, "{reset:?}");
    }
    // The guest doesn't remember having asked.
    let mut world = after(&HANDSHAKE[..2]);
    assert_eq!(pass(&mut world, out(RST, 1001, 0, 0)).0, "syn-received");
    assert_eq!(pass(&mut world, out(RST, 1000, 0, 0)).0, "reset");
    // Data that comes with the SYN may be left for later: TCP Fast Open.
    let mut world = after(&[out(SYN, 999, 0, 500)]);
    assert_eq!(pass(&mut world, back(RST | ACK, 0, 1000, 0)).0, "reset");
    assert_eq!(after(&[out(SYN, 999, 0, 500), back(SYN | ACK, 4999, 1000, 0)]).flow().state, "syn-received");
}

#[test]
fn the_handshake_decides_whose_numbers_count_and_no_forged_syn_does() {
    let [syn, answer, last] = HANDSHAKE;
    let [forged, forged_back] = [out(SYN, 70_000, 0, 0), back(SYN, 80_000, 0, 0)];
    let forged_answer = back(SYN | ACK, 90_000, 70_001, 0);
    for (segments, are_known) in [
        (&[syn, forged, answer, last][..], true),
        (&[syn, answer, forged, last], true),
        (&[syn, answer, last, forged], true),
        (&[syn, forged_back, answer, last], true),
        (&[syn, forged_back, back(ACK, 80_001, 7, 50), answer, last], true),
        (&[syn, answer, last, forged_back, forged_answer], true),
        (&[syn, forged_answer, answer, last], true),
        // With both sides' numbers forged before the handshake is complete, none are believed.
        (&[syn, forged, forged_answer, answer, last], false),
        (&[syn, answer, forged, forged_answer, last], false),
    ] {
        let mut world = after(segments);
        for seq in [70_000, 70_001, 80_000, 80_001, 80_051, 90_000, 90_001, 7] {
            assert_eq!(pass(&mut world, out(RST, seq, 0, 0)).0, "established", "{segments:?} {seq}");
            assert_eq!(pass(&mut world, back(RST, seq, 0, 0)).0, "established", "{segments:?} {seq}");
        }
        let state = if are_known { "reset" } else { "established" };
        assert_eq!(pass(&mut world, back(RST, 5000, 0, 0)).0, state, "{segments:?}");
    }
}

#[test]
fn who_forges_data_or_acknowledgements_first_knows_no_more_than_before() {
    for forged in [
        back(ACK, 70_000, 80_000, 100),
        back(ACK, 5001, 1001, 100),
        back(FIN | ACK, 70_000, 80_000, 100),
        out(ACK, 70_000, 80_000, 100),
        out(FIN | ACK, 999, 4999, 100),
        out(0, 1000, 5000, 100),
    ] {
        let mut world = established();
        assert_eq!(pass(&mut world, forged).0, "established");
        let guesses = [forged.seq, forged.ack, forged.seq + 100, forged.seq + 101, forged.ack + 1];
        for seq in guesses.into_iter().filter(|seq| ![1000, 5000].contains(seq)) {
            assert_eq!(pass(&mut world, out(RST, seq, 5000, 0)).0, "established", "{forged:?} {seq}");
            assert_eq!(pass(&mut world, back(RST, seq, 1000, 0)).0, "established", "{forged:?} {seq}");
        }
        assert_eq!(pass(&mut world, out(RST, 1000, 0, 0)).0, "reset");
    }
}

#[test]
fn a_client_that_tries_again_from_the_same_port_is_followed() {
    let [_, answer, last] = HANDSHAKE;
    let mut world = after(&[out(SYN, 70_000, 0, 0), HANDSHAKE[0], answer, last]);
    assert_eq!(pass(&mut world, out(RST | ACK, 1000, 5000, 0)).0, "reset");
    // It was restarted: its SYN is challenged, and resets what there was.
    let mut world = after(&HANDSHAKE);
    assert_eq!(pass(&mut world, out(SYN, 70_000, 0, 0)).0, "established");
    pass(&mut world, back(ACK, 5000, 1000, 0));
    assert_eq!(pass(&mut world, out(RST, 1000, 0, 0)).0, "reset");
    for segment in [out(SYN, 70_000, 0, 0), back(SYN | ACK, 9, 70_001, 0), out(ACK, 70_001, 10, 0)] {
        pass(&mut world, segment);
    }
    assert_eq!(pass(&mut world, back(RST, 5000, 0, 0)).0, "established");
    assert_eq!(pass(&mut world, back(RST, 10, 0, 0)).0, "reset");
}

#[test]
fn simultaneous_open_leads_to_known_numbers() {
    let mut world = after(&[
        out(SYN, 999, 0, 0),
        back(SYN, 4999, 0, 0),
        out(SYN | ACK, 999, 5000, 0),
        back(SYN | ACK, 4999, 1000, 0),
        out(ACK, 1000, 5000, 0),
    ]);
    assert_eq!(pass(&mut world, back(RST, 5001, 0, 0)).0, "established");
    assert_eq!(pass(&mut world, back(RST, 5000, 0, 0)).0, "reset");
}

#[test]
fn the_next_process_knows_the_numbers_too() {
    let before = after(&[&HANDSHAKE[..], &[out(ACK, 1000, 5000, 300), back(ACK, 5000, 1100, 0)]].concat());
    let state = before.nat.export(before.now);
    for (reset, state_after) in [
        (out(RST, 1300, 0, 0), "reset"),
        (out(RST, 1100, 0, 0), "reset"),
        (out(RST, 1000, 0, 0), "established"),
        (back(RST, 5000, 0, 0), "reset"),
        (back(RST, 4999, 0, 0), "established"),
    ] {
        let mut world = World { nat: Nat::new(config(), [7, 8]), ..World::new() };
        world.nat.import(&state, Millis::ZERO, world.now).unwrap();
        assert_eq!(pass(&mut world, reset).0, state_after, "{reset:?}");
    }
}

/// A host as it sees the connection, and what of it has passed the NAT.
#[derive(Clone, Copy)]
struct Host {
    next: u32,
    expects: u32,
}

/// What happens next: who acts, whether what it sends is lost behind the NAT, and how much that is.
#[derive(Clone, Debug)]
enum Step {
    Sends {
        guest: bool,
        len: u32,
        lost: bool,
    },
    /// The guest's, on its way to the NAT; it sends them again later.
    LostBefore {
        len: u32,
    },
    Forged(Segment),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let flags = select(vec![ACK, ACK | 8, FIN | ACK, RST, RST | ACK, SYN, SYN | ACK, SYN | RST, 0]);
    let forged = (any::<bool>(), flags, any::<u32>(), any::<u32>(), 0..1400_usize)
        .prop_map(|(outward, flags, seq, ack, len)| Step::Forged(Segment { outward, flags, seq, ack, len }));
    prop_oneof![
        4 => (any::<bool>(), 0..3000_u32, any::<bool>()).prop_map(|(guest, len, lost)| Step::Sends { guest, len, lost }),
        1 => (1..3000_u32).prop_map(|len| Step::LostBefore { len }),
        4 => forged,
        1 => Just(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(properties())]

    /// Two hosts exchange data, some of which is lost, and somebody who knows all but their numbers tries to end that.
    #[test]
    fn only_the_hosts_themselves_end_their_connection(
        start: [u32; 2], steps in prop::collection::vec(step(), 0..40), guest_aborts: bool,
    ) {
        let [x, y] = start;
        let mut world = after(&[
            out(SYN, x, 0, 0),
            back(SYN | ACK, y, x.wrapping_add(1), 0),
            out(ACK, x.wrapping_add(1), y.wrapping_add(1), 0),
        ]);
        let (a, b) = (x.wrapping_add(1), y.wrapping_add(1));
        let mut hosts = [Host { next: a, expects: b }, Host { next: b, expects: a }];
        let segment = |hosts: &[Host; 2], guest: bool, flags, seq, len| {
            let ack = hosts[usize::from(!guest)].expects;
            Segment { outward: guest, flags, seq, ack, len }
        };
        for step in steps {
            match step {
                Step::Sends { guest, len, lost } => {
                    let at = usize::from(!guest);
                    let (seq, to) = (hosts[at].next, hosts[1 - at].expects);
                    pass(&mut world, segment(&hosts, guest, ACK, seq, len as usize));
                    hosts[at].next = seq.wrapping_add(len);
                    if !lost {
                        // What had been lost comes with it, as if sent again.
                        pass(&mut world, segment(&hosts, guest, ACK, to, seq.wrapping_sub(to) as usize % 60_000));
                        hosts[1 - at].expects = hosts[at].next;
                        pass(&mut world, segment(&hosts, !guest, ACK, hosts[1 - at].next, 0));
                    }
                }
                Step::LostBefore { len } => hosts[0].next = hosts[0].next.wrapping_add(len),
                Step::Forged(forged) => {
                    let before = life(&world);
                    let after = pass(&mut world, forged);
                    prop_assert_eq!(after.0, "established");
                    prop_assert!(after.1 >= before.1);
                }
                Step::Wait => world.wait(10_000),
            }
        }
        prop_assert_eq!(world.flow().state, "established");
        let at = usize::from(!guest_aborts);
        let reset = segment(&hosts, guest_aborts, RST | ACK, hosts[at].next, 0);
        if pass(&mut world, reset).0 != "reset" {
            // It is not what the other host expects either, which says so, and is told once more.
            let expects = hosts[1 - at].expects;
            prop_assert!(hosts[at].next != expects);
            pass(&mut world, segment(&hosts, !guest_aborts, ACK, hosts[1 - at].next, 0));
            prop_assert_eq!(pass(&mut world, segment(&hosts, guest_aborts, RST, expects, 0)).0, "reset");
        }
    }
}

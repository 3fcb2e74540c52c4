//! Who tells whom of what, and who doesn't.

use crate::guest::{BASE, EVENT_IDX};
use crate::lab::{Lab, frames, plain};

const HEADER: [u8; 12] = [0; 12];

#[test]
fn a_kick_is_an_event_and_the_port_asks_for_it_only_when_idle() {
    for event_index in [false, true] {
        let features = if event_index { BASE | EVENT_IDX } else { BASE };
        let (mut lab, mut guest) = Lab::with_guest(features, 2);
        lab.event_within(0);
        let frames = frames(100);
        for frame in &frames {
            let old = guest.rings[1].available;
            guest.send(1, &HEADER, frame);
            assert!(guest.wants_kick(1, old, event_index), "idle, so the port wants to know");
            assert!(!lab.event_within(0));
            guest.kick(1);
            assert!(lab.event_within(1000));
            lab.run();
        }
        assert_eq!(lab.take(), frames);
        // While it is busy it doesn't ask: a burst is taken, but the rest not yet.
        for frame in &frames {
            guest.send(1, &HEADER, frame);
        }
        lab.port.rx_burst(&mut lab.burst).unwrap();
        let old = guest.rings[1].available;
        guest.send(1, &HEADER, &frames[0]);
        assert!(!guest.wants_kick(1, old, event_index));
        lab.run();
        let old = guest.rings[1].available;
        guest.send(1, &HEADER, &frames[0]);
        assert!(guest.wants_kick(1, old, event_index));
    }
}

#[test]
fn a_port_that_is_polled_never_asks() {
    for event_index in [false, true] {
        let features = if event_index { BASE | EVENT_IDX } else { BASE };
        let (mut lab, mut guest) = Lab::with_guest(features, 2);
        assert!(lab.port.set_polled(true));
        for frame in frames(100) {
            lab.run();
            let old = guest.rings[1].available;
            guest.send(1, &HEADER, &frame);
            assert!(!guest.wants_kick(1, old, event_index) || (event_index && old == 0));
        }
        assert!(lab.port.set_polled(false));
        lab.run();
        assert_eq!(lab.take().len(), 100);
        let old = guest.rings[1].available;
        guest.send(1, &HEADER, &frames(1)[0]);
        assert!(guest.wants_kick(1, old, event_index));
    }
}

#[test]
fn buffers_for_receiving_are_never_asked_for() {
    for event_index in [false, true] {
        let features = if event_index { BASE | EVENT_IDX } else { BASE };
        let (mut lab, mut guest) = Lab::with_guest(features, 2);
        guest.fill(0, 1);
        for frame in frames(20) {
            lab.run();
            let old = guest.rings[0].available;
            guest.fill(0, 1);
            assert!(!guest.wants_kick(0, old, event_index));
            lab.send(&plain(&[frame]));
        }
    }
}

#[test]
fn a_burst_calls_the_guest_once_if_it_wants_to_be_called() {
    let (mut lab, mut guest) = Lab::usual();
    guest.fill(0, 200);
    lab.send(&plain(&frames(64)));
    assert_eq!(guest.calls(0), 1);
    guest.set_no_interrupt(0, true);
    lab.send(&plain(&frames(64)));
    assert_eq!(guest.calls(0), 0);
    frames(64).iter().for_each(|frame| guest.send(1, &HEADER, frame));
    lab.run();
    assert_eq!(guest.calls(1), 1);
    // Nothing happened: nobody is called.
    lab.run();
    lab.send(&[]);
    assert_eq!((guest.calls(0), guest.calls(1)), (0, 0));
}

#[test]
fn with_event_indices_the_guest_is_called_when_its_index_is_passed() {
    let (mut lab, mut guest) = Lab::with_guest(BASE | EVENT_IDX, 2);
    guest.fill(0, 200);
    let mut called = |event: u16, count| {
        guest.set_used_event(0, event);
        lab.send(&plain(&frames(count)));
        guest.calls(0)
    };
    assert_eq!(called(0, 1), 1);
    assert_eq!(called(10, 9), 0);
    assert_eq!(called(10, 1), 1);
    assert_eq!(called(10, 20), 0);
    assert_eq!(called(40, 30), 1);
    assert_eq!(called(40, 1), 0);
}

#[test]
fn a_new_call_descriptor_takes_the_place_of_the_old() {
    use std::os::fd::AsFd;
    let (mut lab, mut guest) = Lab::usual();
    guest.fill(0, 10);
    let other = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
    guest.ask(crate::guest::SET_VRING_CALL, &0_u64.to_le_bytes(), &[other.as_fd()]);
    lab.run();
    lab.send(&plain(&frames(1)));
    assert_eq!(guest.calls(0), 0);
    guest.rings[0].call = other;
    assert_eq!(guest.calls(0), 1);
    // No descriptor at all: the guest polls.
    guest.ask(crate::guest::SET_VRING_CALL, &0x100_u64.to_le_bytes(), &[]);
    lab.run();
    assert_eq!(lab.send(&plain(&frames(1))).tx_frames, 1);
    assert_eq!(guest.calls(0), 0);
}

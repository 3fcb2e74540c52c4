//! Front-ends that come, go, stop their rings and plug memory.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use packet::DropReason;
use rustix::fs::{MemfdFlags, memfd_create};
use tapio::{LinkLoss, Role};

use crate::guest::*;
use crate::lab::{Lab, frames, plain, wait_until};

const HEADER: [u8; 12] = [0; 12];

#[test]
fn the_link_is_up_while_a_ring_runs() {
    let mut lab = Lab::new();
    assert!(!lab.port.link_up());
    assert_eq!(lab.send(&plain(&frames(2))).drops.of(DropReason::TxLinkDown), 2);
    let mut guest = Guest::connect(&lab.path);
    lab.run();
    assert!(!lab.port.link_up());
    guest.start(BASE, 2);
    lab.run();
    assert!(lab.port.link_up());
    guest.ask(GET_VRING_BASE, &pair(0, 0), &[]);
    guest.ask(GET_VRING_BASE, &pair(1, 0), &[]);
    lab.run();
    assert_eq!(lab.loss.take(), Some(LinkLoss::DriverStopped));
    assert!(!lab.port.link_up());
    drop(guest);
    lab.run();
    assert_eq!(lab.loss, Some(LinkLoss::Closed));
}

#[test]
fn a_stopped_ring_goes_on_where_it_was() {
    let (mut lab, mut guest) = Lab::usual();
    guest.fill(0, 20);
    frames(7).iter().for_each(|frame| guest.send(1, &HEADER, frame));
    lab.run();
    lab.send(&plain(&frames(5)));
    for (ring, base) in [(0, 5), (1, 7)] {
        guest.ask(GET_VRING_BASE, &pair(ring, 0), &[]);
        lab.run();
        assert_eq!(guest.reply(GET_VRING_BASE), u64::from(ring) | base << 32);
    }
    assert_eq!(lab.send(&plain(&frames(1))).drops.of(DropReason::TxLinkDown), 1);
    guest.send(1, &HEADER, b"not seen while the ring is stopped, but afterwards");
    lab.run();
    assert_eq!(lab.take().len(), 7);
    guest.start_ring(0);
    guest.start_ring(1);
    lab.run();
    assert_eq!(lab.take().len(), 1);
    assert_eq!(lab.send(&plain(&frames(1))).tx_frames, 1);
    assert_eq!(guest.used_index(0), 6);
}

#[test]
fn a_ring_that_is_not_enabled_gives_nothing_and_loses_what_it_is_given() {
    let (mut lab, mut guest) = Lab::usual();
    guest.fill(0, 20);
    guest.enable(0, false);
    guest.enable(1, false);
    lab.run();
    frames(100).iter().for_each(|frame| guest.send(1, &HEADER, frame));
    lab.run();
    assert_eq!((lab.take().len(), guest.used_index(1)), (0, 100));
    assert_eq!(lab.send(&plain(&frames(1))).drops.of(DropReason::TxLinkDown), 1);
    guest.enable(0, true);
    guest.enable(1, true);
    guest.send(1, &HEADER, &frames(1)[0]);
    lab.run();
    assert_eq!(lab.take(), frames(1));
}

#[test]
fn without_protocol_features_rings_need_not_be_enabled() {
    let (mut lab, mut guest) = Lab::with_guest(BASE & !PROTOCOL_FEATURES, 2);
    guest.send(1, &HEADER, &frames(1)[0]);
    lab.run();
    assert_eq!(lab.take(), frames(1));
}

#[test]
fn guests_come_and_go_without_leaving_descriptors_or_mappings() {
    let mut lab = Lab::new();
    let count = || {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
            let target = std::fs::read_link(entry.as_ref().unwrap().path());
            target.is_ok_and(|target| target.to_string_lossy().contains("guests-that-come-and-go"))
        });
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        (fds.count(), maps.matches("guests-that-come-and-go").count())
    };
    for n in 0..2000 {
        let mut guest = Guest::connect(&lab.path);
        guest.memory = File::from(memfd_create("guests-that-come-and-go", MemfdFlags::CLOEXEC).unwrap());
        guest.memory.set_len(MEMORY).unwrap();
        match n % 4 {
            // Gone with half a message on the way, descriptors included.
            0 => {
                let table = message(
                    SET_MEM_TABLE,
                    1,
                    &[pair(1, 0).to_vec(), region(GUEST, MEMORY, USER, 0)].concat(),
                );
                guest.send_bytes(&table[..20], &[guest.memory.as_fd()]).unwrap();
            }
            1 => guest.start(BASE, 8),
            2 => {
                guest.start(BASE, 2);
                lab.run();
                wait_until(|| count() == (1, 1));
                guest.send(1, &HEADER, &frames(1)[0]);
            }
            _ => {
                guest.start(BASE, 1);
                guest.ask(RESET_DEVICE, &[], &[]);
            }
        }
        lab.run();
        drop(guest);
        lab.run();
        assert_eq!(lab.loss.take(), Some(LinkLoss::Closed));
    }
    wait_until(|| count() == (0, 0));
    let (_lab, _guest) = Lab::usual();
}

#[test]
fn a_guest_that_waits_while_another_is_served_comes_next() {
    let (mut lab, guest) = Lab::usual();
    let mut second = Guest::connect(&lab.path);
    second.start(BASE, 2);
    lab.run();
    drop(guest);
    lab.run();
    assert_eq!(lab.loss.take(), Some(LinkLoss::Closed));
    lab.run();
    assert!(lab.port.link_up());
    second.send(1, &HEADER, &frames(1)[0]);
    lab.run();
    assert_eq!(lab.take(), frames(1));
}

#[test]
fn as_client_the_port_connects_when_somebody_listens_and_again_when_they_return() {
    let mut lab = Lab::with(Role::Client, true);
    assert!(!lab.port.link_up());
    for _ in 0..3 {
        let listener = UnixListener::bind(&lab.path).unwrap();
        assert!(!lab.port.link_up());
        let mut guest = Guest::over(listener.accept().unwrap().0);
        guest.start(BASE, 2);
        lab.run();
        assert!(lab.port.link_up());
        guest.send(1, &HEADER, &frames(1)[0]);
        lab.run();
        assert_eq!(lab.take(), frames(1));
        drop((listener, guest));
        std::fs::remove_file(&lab.path).unwrap();
        lab.run();
        assert_eq!(lab.loss.take(), Some(LinkLoss::Closed));
    }
}

#[test]
fn memory_is_plugged_and_unplugged_while_rings_run() {
    let (mut lab, mut guest) = Lab::usual();
    let more = File::from(memfd_create("more", MemfdFlags::CLOEXEC).unwrap());
    more.set_len(2 << 20).unwrap();
    let address = GUEST + (1 << 30);
    // In the file, the region starts in the middle of a page.
    let plugged = single_region(address, 1 << 20, USER + (1 << 30), 4096 + 512);
    guest.ask_with(ADD_MEM_REG, 1 | NEED_REPLY, &plugged, &[more.as_fd()]);
    lab.run();
    assert_eq!(guest.reply(ADD_MEM_REG), 0);
    let frame = frames(1).remove(0);
    std::os::unix::fs::FileExt::write_all_at(&more, &[HEADER.as_slice(), &frame].concat(), 4096 + 512)
        .unwrap();
    let describe = |guest: &mut Guest| {
        guest.describe(1, 0, (address, 12 + frame.len() as u32), 0, 0);
        guest.offer(1, 0);
    };
    describe(&mut guest);
    lab.run();
    assert_eq!(lab.take(), std::slice::from_ref(&frame));
    guest.ask_with(REM_MEM_REG, 1 | NEED_REPLY, &plugged, &[more.as_fd()]);
    lab.run();
    assert_eq!(guest.reply(REM_MEM_REG), 0);
    assert_eq!(lab.loss, None);
    describe(&mut guest);
    lab.run();
    assert!(lab.loss.unwrap().to_string().contains("outside the shared memory"), "{:?}", lab.loss);
}

#[test]
fn a_region_added_twice_is_removed_with_the_second_removal() {
    let (mut lab, mut guest) = Lab::usual();
    let same = single_region(GUEST, MEMORY, USER, 0);
    guest.ask(ADD_MEM_REG, &same, &[guest.memory.as_fd()]);
    guest.ask(REM_MEM_REG, &same, &[]);
    guest.send(1, &HEADER, &frames(1)[0]);
    lab.run();
    assert_eq!((lab.take(), lab.loss), (frames(1), None));
    guest.ask(REM_MEM_REG, &same, &[]);
    lab.run();
    assert!(lab.loss.unwrap().to_string().contains("ring 0 is outside the shared memory"), "{:?}", lab.loss);
}

#[test]
fn a_new_memory_table_moves_rings_that_run() {
    let (mut lab, mut guest) = Lab::usual();
    guest.send(1, &HEADER, &frames(2)[0]);
    lab.run();
    // The same content in another file: what is written to the old one is no longer seen.
    let copy = File::from(memfd_create("copy", MemfdFlags::CLOEXEC).unwrap());
    let content = guest.read(GUEST, MEMORY as usize);
    std::os::unix::fs::FileExt::write_all_at(&copy, &content, 0).unwrap();
    guest.memory = copy;
    guest.share_memory();
    lab.run();
    guest.send(1, &HEADER, &frames(2)[1]);
    lab.run();
    assert_eq!(lab.take(), frames(2));
}

#[test]
fn a_buffer_may_lie_across_two_regions() {
    let mut lab = Lab::new();
    let mut guest = Guest::connect(&lab.path);
    guest.start(BASE, 0);
    let half = MEMORY / 2;
    let regions = [
        pair(2, 0).to_vec(),
        region(GUEST, half, USER, 0),
        region(GUEST + half, half, USER + (1 << 40), half),
    ];
    guest.ask(SET_MEM_TABLE, &regions.concat(), &[guest.memory.as_fd(), guest.memory.as_fd()]);
    for ring in [0, 1] {
        guest.start_ring(ring);
        guest.enable(ring, true);
    }
    lab.run();
    let at = GUEST + half - 30;
    let frame = frames(1).remove(0);
    guest.write(at, &[HEADER.as_slice(), &frame].concat());
    guest.describe(1, 0, (at, 12 + frame.len() as u32), 0, 0);
    guest.offer(1, 0);
    lab.run();
    assert_eq!(lab.take(), std::slice::from_ref(&frame));
    guest.describe(0, 0, (at, 1000), WRITE, 0);
    guest.offer(0, 0);
    let other = vec![0x55; 200];
    assert_eq!(lab.send(&plain(std::slice::from_ref(&other))).tx_frames, 1);
    assert_eq!(guest.read(at + 12, 200), other);
}

#[test]
fn memory_that_is_cut_short_costs_the_guest_its_port_and_nothing_else() {
    let (mut lab, mut guest) = Lab::usual();
    let (mut other_lab, mut other) = Lab::usual();
    guest.send(1, &HEADER, &frames(1)[0]);
    guest.fill(0, 10);
    guest.memory.set_len(0).unwrap();
    // Whatever is read now is zero; the next call finds out.
    lab.run();
    lab.run();
    assert!(lab.loss.unwrap().to_string().contains("shared memory disappeared"), "{:?}", lab.loss);
    assert!(guest.is_disconnected());
    other.send(1, &HEADER, &frames(1)[0]);
    other_lab.run();
    assert_eq!(other_lab.take(), frames(1));
    // The same while sending.
    let (mut lab, mut guest) = Lab::usual();
    guest.fill(0, 10);
    lab.run();
    guest.memory.set_len(0).unwrap();
    lab.send(&plain(&frames(3)));
    lab.send(&plain(&frames(3)));
    lab.run();
    assert!(lab.loss.unwrap().to_string().contains("shared memory disappeared"), "{:?}", lab.loss);
}

#[test]
fn after_a_reset_everything_is_agreed_on_anew() {
    let (mut lab, mut guest) = Lab::usual();
    guest.ask(RESET_DEVICE, &[], &[]);
    lab.run();
    assert_eq!(lab.loss.take(), Some(LinkLoss::DriverStopped));
    let features = (BASE & !MRG_RXBUF) | EVENT_IDX;
    guest.ask(SET_FEATURES, &features.to_le_bytes(), &[]);
    for ring in [0, 1] {
        guest.start_ring(ring);
        guest.enable(ring, true);
    }
    guest.send(1, &HEADER, &frames(1)[0]);
    lab.run();
    assert_eq!(lab.take(), frames(1));
}

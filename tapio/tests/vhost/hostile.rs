//! Front-ends that send what makes others wait, or more than there is.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{read, write};

use crate::guest::*;
use crate::lab::{Lab, frames, plain, wait_until};
use crate::waiting::{Fuse, Lingering, at_once};

const HEADER: [u8; 12] = [0; 12];

/// Whether a guest that behaves is served by a port.
#[track_caller]
fn others_are_served() {
    let (mut lab, mut guest) = Lab::usual();
    guest.send(1, &HEADER, &frames(1)[0]);
    lab.run();
    assert_eq!(lab.take(), frames(1));
}

/// Messages in each of which a descriptor can travel.
fn carriers() -> Vec<Vec<u8>> {
    let table = [pair(1, 0).to_vec(), region(0, 4096, 0, 0)].concat();
    let half = message(SET_FEATURES, 1, &[0; 8])[..9].to_vec();
    vec![
        message(SET_MEM_TABLE, 1, &table),
        message(ADD_MEM_REG, 1, &single_region(0, 4096, 0, 0)),
        message(SET_VRING_CALL, 1, &[0; 8]),
        message(SET_VRING_KICK, 1, &[0; 8]),
        message(14, 1, &[0; 8]),
        message(REM_MEM_REG, 1, &single_region(0, 4096, 0, 0)),
        message(SET_FEATURES, 1, &[0; 8]),
        message(99, 1, &[]),
        half,
    ]
}

#[test]
fn descriptors_whose_last_close_waits_keep_nobody_waiting() {
    for (number, bytes) in carriers().iter().enumerate() {
        let (mut lab, guest) = Lab::usual();
        // Of two, one lies in the socket unread when the first has ended the connection.
        let _others = [(); 2].map(|()| {
            Lingering::new().give(|fd| {
                guest.send_bytes(bytes, &[fd]).unwrap();
            })
        });
        at_once(&format!("message {number}"), || lab.run());
        drop(guest);
        at_once(&format!("the end after message {number}"), || lab.run());
        at_once("closing the port", || drop(lab));
    }
    others_are_served();
}

#[test]
fn descriptors_of_who_was_never_let_in_keep_nobody_waiting() {
    let (lab, _served) = Lab::usual();
    let waits = Guest::connect(&lab.path);
    let bytes = message(SET_VRING_CALL, 1, &[0; 8]);
    let _other = Lingering::new().give(|fd| {
        waits.send_bytes(&bytes, &[fd]).unwrap();
    });
    drop(waits);
    at_once("closing the port", || drop(lab));
}

#[test]
fn a_port_whose_guests_leave_much_that_waits_takes_no_more_of_them_until_it_is_closed() {
    let mut lab = Lab::new();
    let bytes = message(SET_VRING_CALL, 1, &[0; 8]);
    let guest = Guest::connect(&lab.path);
    let other = Lingering::new().give(|fd| {
        guest.send_bytes(&bytes, &[fd]).unwrap();
    });
    lab.run();
    assert!(lab.loss.take().is_some());
    // What the next one sends waits behind it.
    let second = Guest::connect(&lab.path);
    second.send_bytes(&bytes, &vec![second.memory.as_fd(); 250]).unwrap();
    wait_until(|| {
        lab.run();
        lab.loss.take().is_some()
    });
    let mut third = Guest::connect(&lab.path);
    third.start(BASE, 2);
    // Longer than who broke the protocol has to wait.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        at_once("a look", || assert!(!lab.port.link_up()));
        std::thread::sleep(Duration::from_millis(10));
    }
    others_are_served();
    // The other side gives up.
    rustix::net::sockopt::set_socket_linger(&other, Some(Duration::ZERO)).unwrap();
    drop(other);
    wait_until(|| {
        lab.run();
        lab.port.link_up()
    });
    third.send(1, &HEADER, &frames(1)[0]);
    lab.run();
    assert_eq!((lab.take(), lab.loss), (frames(1), None));
}

#[test]
fn a_file_of_a_dead_file_system_is_no_memory_and_keeps_nobody_waiting() {
    for bytes in carriers() {
        let (mut lab, guest) = Lab::usual();
        let fuse = Fuse::new();
        guest.send_bytes(&bytes, &[fuse.file.as_fd()]).unwrap();
        at_once("a message with a file of FUSE", || lab.run());
        if bytes[0] == SET_MEM_TABLE as u8 || bytes[0] == ADD_MEM_REG as u8 {
            let loss = lab.loss.unwrap().to_string();
            assert!(loss.contains("tmpfs and hugetlbfs; give QEMU memory-backend-memfd,share=on"), "{loss}");
        }
        at_once("closing the port", || drop(lab));
    }
    others_are_served();
}

#[test]
fn a_file_on_a_disk_is_no_memory() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-memory");
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path).unwrap();
    file.set_len(MEMORY).unwrap();
    std::fs::remove_file(&path).unwrap();
    let on_tmpfs = rustix::fs::fstatfs(&file).unwrap().f_type == 0x0102_1994;
    let mut lab = Lab::new();
    let mut guest = Guest::connect(&lab.path);
    guest.memory = file;
    guest.start(BASE, 2);
    lab.run();
    // Where tests are built in memory, it is one.
    assert_eq!(lab.port.link_up(), on_tmpfs);
    if !on_tmpfs {
        assert!(lab.loss.unwrap().to_string().contains("a file on a disk"), "{:?}", lab.loss);
    }
}

#[test]
fn a_file_in_dev_shm_is_memory() {
    let path = format!("/dev/shm/tapio-{}", std::process::id());
    let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.set_len(MEMORY).unwrap();
    let mut lab = Lab::new();
    let mut guest = Guest::connect(&lab.path);
    guest.memory = file;
    guest.start(BASE, 2);
    guest.send(1, &HEADER, &frames(1)[0]);
    lab.run();
    assert_eq!((lab.take(), lab.loss), (frames(1), None));
}

#[test]
fn memory_that_can_be_sealed_can_not_be_cut_short() {
    let mut lab = Lab::new();
    let mut guest = Guest::connect(&lab.path);
    guest.memory =
        File::from(memfd_create("sealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap());
    guest.memory.set_len(MEMORY).unwrap();
    guest.start(BASE, 2);
    lab.run();
    assert!(lab.port.link_up());
    wait_until(|| {
        rustix::fs::fcntl_get_seals(&guest.memory).unwrap().contains(rustix::fs::SealFlags::SHRINK)
    });
    assert!(guest.memory.set_len(0).is_err());
}

#[test]
fn a_call_descriptor_that_blocks_and_is_full_keeps_nobody_waiting() {
    let (mut lab, mut guest) = Lab::usual();
    guest.fill(0, 200);
    let call = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    for ring in [0_u64, 1] {
        guest.ask(SET_VRING_CALL, &ring.to_le_bytes(), &[call.as_fd()]);
    }
    lab.run();
    // Whatever the port has done to it: the file is the front-end's as well.
    rustix::fs::fcntl_setfl(&call, rustix::fs::OFlags::RDWR).unwrap();
    write(&call, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    let drain = call.try_clone().unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(crate::waiting::LONG);
        read(&drain, &mut [0; 8])
    });
    at_once("sending to it", || {
        for _ in 0..3 {
            assert_eq!(lab.send(&plain(&frames(10))).tx_frames, 10);
        }
    });
    at_once("receiving from it", || {
        frames(10).iter().for_each(|frame| guest.send(1, &HEADER, frame));
        lab.run();
    });
    assert_eq!((lab.take(), lab.loss), (frames(10), None));
}

#[test]
fn kicks_and_calls_are_eventfds_and_nothing_else() {
    let (pipe, _end) = std::io::pipe().unwrap();
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
    let named = std::env::temp_dir().join("anon_inode:[eventfd]");
    let file = File::create(&named).unwrap();
    let others: [BorrowedFd<'_>; 3] = [pipe.as_fd(), epoll.as_fd(), file.as_fd()];
    for fd in others {
        for request in [SET_VRING_KICK, SET_VRING_CALL] {
            let (mut lab, guest) = Lab::usual();
            guest.ask(request, &[0; 8], &[fd]);
            lab.run();
            assert!(lab.loss.unwrap().to_string().contains("not an eventfd"));
        }
    }
    std::fs::remove_file(named).unwrap();
}

#[test]
fn guests_with_terabytes_and_many_regions_leave_the_others_theirs() {
    let mut greedy = Vec::new();
    let mut refused = 0;
    let memory = File::from(memfd_create("terabytes", MemfdFlags::CLOEXEC).unwrap());
    memory.set_len(4 << 40).unwrap();
    for number in 0..160 {
        let mut lab = Lab::new();
        let guest = Guest::connect(&lab.path);
        if number < 40 {
            guest.ask(ADD_MEM_REG, &single_region(0, 4 << 40, 0, 0), &[memory.as_fd()]);
        } else {
            for region in 0..64 {
                let at = single_region(region << 40, 4096, region << 40, 0);
                guest.ask(ADD_MEM_REG, &at, &[memory.as_fd()]);
                lab.run();
            }
        }
        lab.run();
        if let Some(loss) = lab.loss {
            assert!(loss.to_string().contains("of which each"), "{loss}");
            refused += 1;
        }
        greedy.push((lab, guest));
    }
    assert!(refused > 30, "{refused}");
    others_are_served();
    drop(greedy);
}

//! Messages that are late, cut up, or nonsense.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::guest::*;
use crate::lab::{Lab, frames};

#[test]
fn messages_that_arrive_byte_by_byte_are_understood() {
    let mut lab = Lab::new();
    let guest = Guest::connect(&lab.path);
    let table = message(SET_MEM_TABLE, 1, &[pair(1, 0).to_vec(), region(GUEST, MEMORY, USER, 0)].concat());
    for (n, byte) in table.iter().enumerate() {
        // The descriptor may come with any of them.
        let memory = [guest.memory.as_fd()];
        guest.send_bytes(&[*byte], if n == 20 { &memory } else { &[] }).unwrap();
        lab.run();
    }
    let mut guest = Guest { size: 256, ..guest };
    for byte in message(GET_QUEUE_NUM, 1, &[]) {
        guest.send_bytes(&[byte], &[]).unwrap();
        lab.run();
    }
    assert_eq!(guest.reply(GET_QUEUE_NUM), 16);
    assert_eq!(lab.loss, None);
}

#[test]
fn half_a_message_keeps_nobody_waiting() {
    let mut lab = Lab::new();
    let guest = Guest::connect(&lab.path);
    guest.send_bytes(&message(SET_FEATURES, 1, &[0; 8])[..15], &[]).unwrap();
    let start = Instant::now();
    lab.run();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(lab.loss, None);
}

#[test]
fn many_messages_at_once_are_all_answered() {
    let mut lab = Lab::new();
    let mut guest = Guest::connect(&lab.path);
    let asked = message(GET_QUEUE_NUM, 1, &[]).repeat(100);
    guest.send_bytes(&asked, &[]).unwrap();
    lab.run();
    (0..100).for_each(|_| assert_eq!(guest.reply(GET_QUEUE_NUM), 16));
}

#[test]
fn a_request_that_wants_to_be_confirmed_is() {
    let (mut lab, mut guest) = Lab::usual();
    guest.ask_with(SET_OWNER, 1 | NEED_REPLY, &[], &[]);
    guest.ask_with(GET_QUEUE_NUM, 1 | NEED_REPLY, &[], &[]);
    lab.run();
    assert_eq!(guest.reply(SET_OWNER), 0);
    assert_eq!(guest.reply(GET_QUEUE_NUM), 16);
}

/// Sends `bytes` to a port whose guest works, and returns why the guest lost it.
fn loss_after(bytes: &[u8], fds: usize) -> String {
    let (mut lab, mut guest) = Lab::usual();
    let memory = vec![guest.memory.as_fd(); fds];
    guest.send_bytes(bytes, &memory).unwrap();
    lab.run();
    assert!(guest.is_disconnected());
    assert!(!lab.port.link_up(), "a second has not passed");
    lab.loss.expect("the connection is lost").to_string()
}

#[test]
fn nonsense_costs_the_connection_and_says_why() {
    let eight = [0; 8];
    let table = |regions: &[Vec<u8>]| {
        message(SET_MEM_TABLE, 1, &[pair(regions.len() as u32, 0).to_vec(), regions.concat()].concat())
    };
    let whole = || region(GUEST, MEMORY, USER, 0);
    let cases: &[(Vec<u8>, usize, &str)] = &[
        (message(1, 2, &[]), 0, "not of version 1"),
        (message(1, 5, &[]), 0, "not of version 1"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 0, "not of version 1"),
        (message(26, 1, &[]), 0, "request 26, which was not agreed on"),
        (message(u32::MAX, 1, &[]), 0, "request 4294967295"),
        ([SET_FEATURES, 1, 100_000].map(u32::to_le_bytes).concat(), 0, "a size of 100000 bytes"),
        (message(SET_FEATURES, 1, &[0; 7]), 0, "request 2 with a size of 7 bytes"),
        (message(SET_VRING_ADDR, 1, &eight), 0, "request 9 with a size of 8 bytes"),
        (message(SET_MEM_TABLE, 1, &[]), 0, "request 5 with a size of 0 bytes"),
        (message(SET_MEM_TABLE, 1, &pair(9, 0)), 0, "request 5 with a size"),
        (message(SET_MEM_TABLE, 1, &pair(u32::MAX, 0)), 0, "request 5 with a size"),
        (message(SET_MEM_TABLE, 1, &pair(2, 0)), 2, "request 5 with a size"),
        (table(&[whole()]), 0, "request 5 with 0 file descriptors"),
        (table(&[whole()]), 2, "request 5 with 2 file descriptors"),
        (message(SET_FEATURES, 1, &BASE.to_le_bytes()), 1, "request 2 with 1 file descriptors"),
        (message(SET_FEATURES, 1, &BASE.to_le_bytes()), 9, "more file descriptors"),
        (message(SET_FEATURES, 1, &BASE.to_le_bytes()), 60, "more file descriptors"),
        (message(SET_FEATURES, 1, &u64::MAX.to_le_bytes()), 0, "features that were not offered"),
        (message(SET_PROTOCOL_FEATURES, 1, &u64::MAX.to_le_bytes()), 0, "features that were not offered"),
        (message(SET_VRING_NUM, 1, &pair(32, 256)), 0, "ring 32, which does not exist"),
        (message(SET_VRING_NUM, 1, &pair(u32::MAX, 256)), 0, "ring 4294967295, which does not exist"),
        (message(SET_VRING_NUM, 1, &pair(2, 100)), 0, "a ring of 100 entries"),
        (message(SET_VRING_NUM, 1, &pair(2, 0)), 0, "a ring of 0 entries"),
        (message(SET_VRING_NUM, 1, &pair(2, 65_536)), 0, "a ring of 65536 entries"),
        (message(SET_VRING_NUM, 1, &pair(1, 256)), 0, "ring 1 was changed while it ran"),
        (message(SET_VRING_KICK, 1, &eight), 0, "request 12 with 0 file descriptors"),
        (message(SET_VRING_KICK, 1, &eight), 2, "request 12 with 1 file descriptors"),
        (
            message(SET_VRING_KICK, 1, &0x102_u64.to_le_bytes()),
            0,
            "ring 2 comes without a descriptor for kicks",
        ),
        (message(SET_VRING_KICK, 1, &eight), 1, "not an eventfd"),
        (message(SET_VRING_CALL, 1, &eight), 1, "not an eventfd"),
        (message(SET_VRING_CALL, 1, &0x1ff_u64.to_le_bytes()), 0, "ring 255, which does not exist"),
        (message(ADD_MEM_REG, 1, &single_region(GUEST, 4096, USER, 0)), 1, "regions that overlap"),
        (message(ADD_MEM_REG, 1, &single_region(0, MEMORY + 1, 0, 0)), 1, "longer than its file"),
        (message(ADD_MEM_REG, 1, &single_region(0, 4096, 0, MEMORY - 4095)), 1, "longer than its file"),
        (message(ADD_MEM_REG, 1, &single_region(0, 4096, 0, u64::MAX - 4095)), 1, "longer than its file"),
        (message(ADD_MEM_REG, 1, &single_region(0, 0, 0, 0)), 1, "cannot be mapped"),
        (message(ADD_MEM_REG, 1, &single_region(0, u64::MAX, 0, 0)), 1, "a memory region of"),
        (message(ADD_MEM_REG, 1, &single_region(u64::MAX - 10, 12, 0, 0)), 1, "a memory region of"),
        (message(ADD_MEM_REG, 1, &single_region(0, 8192, u64::MAX - 4096, 0)), 1, "a memory region of"),
        (message(ADD_MEM_REG, 1, &single_region(0, 4096, 0, 0)), 0, "request 37 with 0 file descriptors"),
        (message(REM_MEM_REG, 1, &single_region(GUEST, 4096, USER, 0)), 0, "that is not there"),
        (
            message(REM_MEM_REG, 1, &single_region(GUEST, MEMORY, USER, 0)),
            0,
            "ring 0 is outside the shared memory",
        ),
        (table(&[whole(), region(GUEST + MEMORY - 1, 4096, USER, 0)]), 2, "regions that overlap"),
        (table(&[region(0, MEMORY, 0, 0)]), 1, "ring 0 is outside the shared memory"),
        (message(SET_VRING_ADDR, 1, &ring_address(0, USER + 1, USER, USER)), 0, "ring 0 is outside"),
        (message(SET_VRING_ADDR, 1, &ring_address(0, USER, USER + 2, USER)), 0, "ring 0 is outside"),
        (message(SET_VRING_ADDR, 1, &ring_address(0, USER, USER, USER + 1)), 0, "ring 0 is outside"),
        (
            message(SET_VRING_ADDR, 1, &ring_address(0, USER + MEMORY - 4000, USER, USER)),
            0,
            "ring 0 is outside",
        ),
        (message(SET_VRING_ADDR, 1, &ring_address(0, u64::MAX - 15, USER, USER)), 0, "ring 0 is outside"),
        (message(SET_VRING_ADDR, 1, &ring_address(0, GUEST, GUEST, GUEST)), 0, "ring 0 is outside"),
    ];
    for (bytes, fds, expected) in cases {
        let loss = loss_after(bytes, *fds);
        assert!(loss.contains(expected), "{loss:?} should say {expected:?}");
    }
}

#[test]
fn a_descriptor_that_is_no_memory_is_refused() {
    for path in ["/dev/zero", "/proc/self/maps", "/"] {
        let mut lab = Lab::new();
        let guest = Guest::connect(&lab.path);
        let file = std::fs::File::open(path).unwrap();
        guest.ask(ADD_MEM_REG, &single_region(0, 4096, 0, 0), &[file.as_fd()]);
        lab.run();
        let loss = lab.loss.expect(path).to_string();
        assert!(loss.contains("memory-backend-memfd,share=on"), "{path}: {loss}");
    }
}

#[test]
fn a_front_end_that_reads_no_replies_is_dropped() {
    let mut lab = Lab::new();
    let guest = Guest::connect(&lab.path);
    guest.socket.set_nonblocking(true).unwrap();
    for _ in 0..100_000 {
        if guest.send_bytes(&message(GET_QUEUE_NUM, 1, &[]).repeat(100), &[]).is_err() {
            lab.run();
        }
        if let Some(loss) = lab.loss {
            return assert!(loss.to_string().contains("replies are not read"), "{loss}");
        }
    }
    panic!("the replies went somewhere");
}

#[test]
fn who_broke_the_protocol_waits_for_a_second() {
    let mut lab = Lab::new();
    let guest = Guest::connect(&lab.path);
    guest.ask(99, &[], &[]);
    lab.run();
    assert!(lab.loss.take().is_some());
    let start = Instant::now();
    let mut guest = Guest::connect(&lab.path);
    guest.start(BASE, 2);
    while !lab.port.link_up() {
        lab.run();
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(start.elapsed() > Duration::from_millis(900));
    guest.send(1, &[0; 12], &frames(1)[0]);
    lab.run();
    assert_eq!(lab.take(), frames(1));
}

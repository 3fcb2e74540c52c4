//! A guest that lies in its rings loses its port, and says nothing to anybody else's.

use crate::guest::*;
use crate::lab::{Lab, frames, plain};

/// Has the guest do something on its transmit ring, and returns why it lost its port.
fn loss_of_sender(lie: impl Fn(&mut Guest)) -> String {
    let (mut lab, mut guest) = Lab::usual();
    guest.send(1, &[0; 12], &frames(1)[0]);
    lab.run();
    assert_eq!(lab.take(), frames(1));
    lie(&mut guest);
    lab.run();
    assert!(guest.is_disconnected());
    lab.loss.expect("a lie").to_string()
}

/// The same on its receive ring: the lie is found when there is a frame for it.
fn loss_of_receiver(lie: impl Fn(&mut Guest)) -> String {
    let (mut lab, mut guest) = Lab::usual();
    guest.fill(0, 1);
    assert_eq!(lab.send(&plain(&frames(1))).tx_frames, 1);
    lie(&mut guest);
    let counters = lab.send(&plain(&frames(3)));
    assert_eq!(counters.tx_frames + counters.drops.total(), 3);
    assert!(counters.drops.of(packet::DropReason::TxLinkDown) > 0);
    lab.run();
    assert!(guest.is_disconnected());
    lab.loss.expect("a lie").to_string()
}

#[test]
fn every_lie_is_found_on_both_rings() {
    type Lie = (&'static str, fn(&mut Guest, u16, u16));
    let lies: &[Lie] = &[
        ("more buffers are available than the ring has", |guest, ring, _| {
            guest.set_available_index(ring, 1 + 257);
        }),
        ("more buffers are available than the ring has", |guest, ring, _| guest.set_available_index(ring, 0)),
        ("a buffer starts at descriptor 256", |guest, ring, _| guest.offer(ring, 256)),
        ("a buffer starts at descriptor 65535", |guest, ring, _| guest.offer(ring, u16::MAX)),
        ("outside the shared memory", |guest, ring, flags| {
            guest.describe(ring, 5, (0, 2000), flags, 0);
            guest.offer(ring, 5);
        }),
        ("outside the shared memory", |guest, ring, flags| {
            guest.describe(ring, 5, (GUEST + MEMORY - 20, 2000), flags, 0);
            guest.offer(ring, 5);
        }),
        ("outside the shared memory", |guest, ring, flags| {
            guest.describe(ring, 5, (u64::MAX - 20, 2000), flags, 0);
            guest.offer(ring, 5);
        }),
        ("outside the shared memory", |guest, ring, flags| {
            guest.describe(ring, 5, (GUEST - 20, 2000), flags, 0);
            guest.offer(ring, 5);
        }),
        ("outside the shared memory", |guest, ring, flags| {
            guest.describe(ring, 5, (USER, 2000), flags, 0);
            guest.offer(ring, 5);
        }),
        ("does not end", |guest, ring, flags| {
            guest.describe(ring, 5, (Guest::buffer(ring, 5), 1), flags | NEXT, 6);
            guest.describe(ring, 6, (Guest::buffer(ring, 6), 1), flags | NEXT, 5);
            guest.offer(ring, 5);
        }),
        ("does not end", |guest, ring, flags| {
            guest.describe(ring, 5, (Guest::buffer(ring, 5), 0), flags | NEXT, 5);
            guest.offer(ring, 5);
        }),
        ("successor is 256, outside its table", |guest, ring, flags| {
            guest.describe(ring, 5, (Guest::buffer(ring, 5), 1), flags | NEXT, 256);
            guest.offer(ring, 5);
        }),
        ("4 GiB or more", |guest, ring, flags| {
            for index in 5..8 {
                let buffer = (Guest::buffer(ring, index), u32::MAX / 2);
                guest.describe(ring, index, buffer, flags | NEXT, index + 1);
            }
            guest.offer(ring, 5);
        }),
        ("readable where", |guest, ring, flags| {
            guest.describe(ring, 5, (Guest::buffer(ring, 5), 2000), flags ^ WRITE, 0);
            guest.offer(ring, 5);
        }),
        ("readable where", |guest, ring, flags| {
            guest.describe(ring, 5, (Guest::buffer(ring, 5), 20), flags | NEXT, 6);
            guest.describe(ring, 6, (Guest::buffer(ring, 6), 2000), flags ^ WRITE, 0);
            guest.offer(ring, 5);
        }),
        ("an indirect table of a wrong size", |guest, ring, flags| {
            guest.describe(ring, 5, (Guest::buffer(ring, 5), 0), flags | INDIRECT, 0);
            guest.offer(ring, 5);
        }),
        ("an indirect table of a wrong size", |guest, ring, flags| {
            guest.describe(ring, 5, (Guest::buffer(ring, 5), 17), flags | INDIRECT, 0);
            guest.offer(ring, 5);
        }),
        ("an indirect table of a wrong size", |guest, ring, flags| {
            guest.describe(ring, 5, (Guest::buffer(ring, 5), 32), flags | INDIRECT | NEXT, 0);
            guest.offer(ring, 5);
        }),
        ("an indirect table of a wrong size", |guest, ring, flags| {
            guest.describe(ring, 5, (GUEST + MEMORY - 16, 32), flags | INDIRECT, 0);
            guest.offer(ring, 5);
        }),
        ("an indirect table within an indirect table", |guest, ring, flags| {
            let table = Guest::buffer(ring, 9);
            guest.write(table, &descriptor(table, 16, INDIRECT, 0));
            guest.describe(ring, 5, (table, 16), flags | INDIRECT, 0);
            guest.offer(ring, 5);
        }),
        ("does not end", |guest, ring, flags| {
            let table = Guest::buffer(ring, 9);
            guest.write(table, &descriptor(table, 0, flags | NEXT, 0));
            guest.describe(ring, 5, (table, 2048), flags | INDIRECT, 0);
            guest.offer(ring, 5);
        }),
        ("does not end", |guest, ring, flags| {
            // As large as can be, so that only the bound on pieces stops it.
            let table = GUEST + (5 << 20);
            let tables: Vec<u8> =
                (1..=65_536_u32).flat_map(|n| descriptor(table, 0, flags | NEXT, n as u16)).collect();
            guest.write(table, &tables);
            guest.describe(ring, 5, (table, tables.len() as u32), flags | INDIRECT, 0);
            guest.offer(ring, 5);
        }),
        ("successor is 2, outside its table", |guest, ring, flags| {
            let table = Guest::buffer(ring, 9);
            guest.write(table, &descriptor(Guest::buffer(ring, 5), 1, flags | NEXT, 2));
            guest.describe(ring, 5, (table, 32), flags | INDIRECT, 0);
            guest.offer(ring, 5);
        }),
    ];
    for (expected, lie) in lies {
        let loss = loss_of_sender(|guest| lie(guest, 1, 0));
        assert!(loss.contains(expected), "sender: {loss:?} should say {expected:?}");
        let loss = loss_of_receiver(|guest| lie(guest, 0, WRITE));
        assert!(loss.contains(expected), "receiver: {loss:?} should say {expected:?}");
    }
}

#[test]
fn receive_buffers_without_room_stop_nobody() {
    let (mut lab, mut guest) = Lab::usual();
    // Every buffer is empty, or a byte long.
    for index in 0..256 {
        guest.describe(0, index, (Guest::buffer(0, index), u32::from(index % 2)), WRITE, 0);
        guest.offer(0, index);
    }
    let counters = lab.send(&plain(&frames(64)));
    assert_eq!((counters.tx_frames, counters.drops.total()), (1, 63));
    assert_eq!(lab.loss, None);
}

#[test]
fn random_memory_is_survived() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..300 {
        let features = if random() % 2 == 0 { BASE } else { BASE | EVENT_IDX };
        let (mut lab, mut guest) = Lab::with_guest(features, 2);
        for ring in [0, 1] {
            for index in 0..256 {
                // Mostly sensible, so that it is not found out at the first look.
                let address = match random() % 16 {
                    0 => random(),
                    1 => GUEST + MEMORY - random() % 5000,
                    _ => GUEST + random() % MEMORY,
                };
                let flags = match random() % 4 {
                    0 => random() as u16 & 7,
                    _ => {
                        if ring == 0 {
                            WRITE
                        } else {
                            0
                        }
                    }
                };
                let len = if random() % 16 == 0 { random() as u32 } else { random() as u32 % 3000 };
                guest.describe(ring, index, (address, len), flags, random() as u16 % 260);
                guest.offer(ring, random() as u16 % 256);
            }
        }
        lab.run();
        lab.send(&plain(&frames(64)));
        lab.run();
    }
}

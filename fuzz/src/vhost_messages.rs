//! Messages of a front-end to a vhost-user port.
//!
//! Input: steps of `request:8 flags:8 descriptors:8 extra:8 len:8` and `len` bytes of payload, each a message. Of
//! `descriptors`, the low half says how many come along, and the high half of which kind. `extra` is added to the length
//! that the message states.

use std::os::fd::{AsFd, BorrowedFd};

use crate::guest::Guest;
use crate::vhost_port::Lab;

/// Panics if something is wrong.
pub fn run(data: &[u8]) {
    let mut lab = Lab::new();
    let guest = Guest::connect(lab.path());
    let mut rest = data;
    while let Some((&[request, flags, descriptors, extra, len], behind)) = rest.split_first_chunk() {
        let (payload, behind) = behind.split_at(behind.len().min(usize::from(len)));
        rest = behind;
        let stated = payload.len() as u32 + u32::from(extra);
        let head = [u32::from(request), u32::from(flags), stated].map(u32::to_le_bytes).concat();
        let fds = vec![descriptor(&guest, descriptors >> 4); usize::from(descriptors & 15)];
        if guest.send_bytes(&[head.as_slice(), payload].concat(), &fds).is_err() {
            return;
        }
        lab.run();
    }
}

fn descriptor(guest: &Guest, kind: u8) -> BorrowedFd<'_> {
    match kind % 4 {
        0 => guest.memory.as_fd(),
        1 => guest.rings[0].kick.as_fd(),
        2 => guest.rings[1].call.as_fd(),
        _ => guest.socket.as_fd(),
    }
}

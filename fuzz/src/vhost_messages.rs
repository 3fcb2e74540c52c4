//! Messages of a front-end to a vhost-user port.
//!
//! Input: steps of `request:8 flags:8 descriptors:8 extra:8 len:8` and `len` bytes of payload, each a message. Of
//! `descriptors`, the low half says how many come along, and the high half of which kind: what belongs there, and what would
//! make whoever writes to it, maps or closes it wait. `extra` is added to the length that the message states.

use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use crate::guest::Guest;
use crate::vhost_port::Lab;

/// Panics if something is wrong.
pub fn run(data: &[u8]) {
    let mut lab = Lab::new();
    let guest = Guest::connect(lab.path());
    let hostile = Hostile::new();
    let mut rest = data;
    while let Some((&[request, flags, descriptors, extra, len], behind)) = rest.split_first_chunk() {
        let (payload, behind) = behind.split_at(behind.len().min(usize::from(len)));
        rest = behind;
        let stated = payload.len() as u32 + u32::from(extra);
        let head = [u32::from(request), u32::from(flags), stated].map(u32::to_le_bytes).concat();
        let fds = vec![hostile.descriptor(&guest, descriptors >> 4); usize::from(descriptors & 15)];
        if guest.send_bytes(&[head.as_slice(), payload].concat(), &fds).is_err() {
            return;
        }
        let start = Instant::now();
        lab.run();
        assert!(start.elapsed() < WAIT / 2, "somebody made the port wait");
    }
}

/// Descriptors that a port must do nothing with that waits.
struct Hostile {
    /// Full, and it blocks.
    eventfd: OwnedFd,
    /// Of no file system that has memory.
    file: File,
    /// The other end is written to by nobody.
    pipe: PipeReader,
    _end: PipeWriter,
}

impl Hostile {
    fn new() -> Self {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC).expect("there are descriptors");
        rustix::io::write(&eventfd, &(u64::MAX - 1).to_ne_bytes()).expect("it is empty");
        let (pipe, end) = std::io::pipe().expect("there are descriptors");
        let file = File::open("/proc/self/maps").expect("/proc is there");
        Self { eventfd, file, pipe, _end: end }
    }

    fn descriptor<'a>(&'a self, guest: &'a Guest, kind: u8) -> BorrowedFd<'a> {
        match kind % 8 {
            0 => guest.memory.as_fd(),
            1 => guest.rings[0].kick.as_fd(),
            2 => guest.rings[1].call.as_fd(),
            3 => guest.socket.as_fd(),
            4 | 5 => self.eventfd.as_fd(),
            6 => self.file.as_fd(),
            _ => self.pipe.as_fd(),
        }
    }
}

/// As long as a test would wait that hangs.
const WAIT: Duration = Duration::from_secs(4);

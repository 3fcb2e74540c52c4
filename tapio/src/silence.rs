//! Keeps the host's own stack off a device that is the switch's.
//!
//! ```text
//! device ─▶ packet sockets (the switch) ─▶ TCX ingress: drop ─✗─ the host's stack
//! device ◀─ TCX egress: from the switch's socket? ◀─ the switch
//!                           else drop ─✗─ the host's stack
//! ```
//!
//! Without this the host would answer ARP for any address it has, and send router solicitations to guests. The kernel
//! detaches the programs when the last descriptor of their links is closed, also after kill -9.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::sockopt::socket_cookie;

use crate::LinkIndex;
use crate::bpf::{self, DROP, If, NEXT, Program, R0, R1, R2, SCHED_CLS, TCX_EGRESS, TCX_INGRESS};

/// The host's stack hears and says nothing on a device, as long as this lives.
#[derive(Debug)]
pub(crate) struct Silence {
    _ingress: OwnedFd,
    _egress: OwnedFd,
}

impl Silence {
    /// Silences the host on the device `index` of the calling thread's namespace, but for `socket`.
    pub(crate) fn on(index: LinkIndex, socket: &impl AsFd) -> io::Result<Self> {
        let cookie = socket_cookie(socket)?;
        Ok(Self {
            _ingress: bpf::attach(&deaf()?, index, TCX_INGRESS)?,
            _egress: bpf::attach(&dumb_but_for(cookie)?, index, TCX_EGRESS)?,
        })
    }
}

fn deaf() -> io::Result<OwnedFd> {
    let mut program = Program::default();
    program.end(DROP);
    program.into_kernel(SCHED_CLS)
}

fn dumb_but_for(cookie: u64) -> io::Result<OwnedFd> {
    let mut program = Program::default();
    let ours = program.label();
    program.call(GET_SOCKET_COOKIE);
    program.set(R1, (cookie >> 32) as i32);
    program.shift_left(R1, 32);
    program.set(R2, cookie as i32);
    program.shift_left(R2, 32);
    program.shift_right(R2, 32);
    program.add_register(R1, R2);
    program.jump_if_register(R0, If::Equal, R1, ours);
    program.end(DROP);
    program.place(ours);
    program.end(NEXT);
    program.into_kernel(SCHED_CLS)
}

/// `bpf_get_socket_cookie`
const GET_SOCKET_COOKIE: i32 = 46;

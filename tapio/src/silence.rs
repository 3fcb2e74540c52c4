//! Keeps the host's own stack off a device that is the switch's: two eBPF programs, made and attached by hand. bpf(2).
//!
//! ```text
//! device ─▶ packet sockets (the switch) ─▶ TCX ingress: drop ─✗─ the host's stack
//! device ◀─ packet sockets, past the queueing discipline
//!        ◀─ TCX egress: drop ─✗─ the host's stack
//! ```
//!
//! Without this the host would answer ARP for any address it has, and send router solicitations to guests. The kernel
//! detaches the programs when the last descriptor of their links is closed, also after kill -9. TCX needs Linux 6.6.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::LinkIndex;

/// The host's stack hears and says nothing on a device, as long as this lives.
#[derive(Debug)]
pub(crate) struct Silence {
    _ingress: OwnedFd,
    _egress: OwnedFd,
}

impl Silence {
    /// Silences the host on the device `index` of the calling thread's namespace.
    pub(crate) fn on(index: LinkIndex) -> io::Result<Self> {
        let program = load()?;
        Ok(Self {
            _ingress: attach(&program, index, BPF_TCX_INGRESS)?,
            _egress: attach(&program, index, BPF_TCX_EGRESS)?,
        })
    }
}

/// Loads `return TC_ACT_SHOT`.
fn load() -> io::Result<OwnedFd> {
    let program: [u64; 2] = [instruction(MOV64_IMMEDIATE, TC_ACT_SHOT), instruction(EXIT, 0)];
    let license = c"Apache-2.0";
    let request = ProgramLoad {
        kind: BPF_PROG_TYPE_SCHED_CLS,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
    };
    // SAFETY: both addresses are of values that outlive the call, with as many instructions as are announced and a
    // license that ends with zero; the kernel only reads them.
    unsafe { bpf(BPF_PROG_LOAD, &request) }
}

/// Attaches `program` to the device as a link, which ends with its descriptor.
fn attach(program: &OwnedFd, index: LinkIndex, at: u32) -> io::Result<OwnedFd> {
    let request = LinkCreate {
        program: program.as_raw_fd().cast_unsigned(),
        target: index.get(),
        attach_type: at,
        flags: 0,
    };
    // SAFETY: the request has no addresses.
    unsafe { bpf(BPF_LINK_CREATE, &request) }
}

/// One instruction: opcode, destination register 0, no source, offset 0, immediate.
const fn instruction(opcode: u8, immediate: i32) -> u64 {
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    u64::from_ne_bytes([opcode, 0, 0, 0, i0, i1, i2, i3])
}

/// bpf(2) with a command that returns a descriptor. The kernel takes what is missing of its structure as zero.
///
/// # Safety
/// `request` must be what `command` takes, and the addresses in it valid for the call.
unsafe fn bpf<T>(command: libc::c_int, request: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `request`; the rest is the caller's to see to.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(request), size_of::<T>()) };
    match i32::try_from(result) {
        // SAFETY: the kernel has just opened this descriptor for us, close-on-exec, and nobody else knows it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The beginning of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
}

/// The beginning of `union bpf_attr` for BPF_LINK_CREATE.
#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

// <linux/bpf.h>, <linux/bpf_common.h>, <linux/pkt_cls.h>
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
/// `BPF_ALU64 | BPF_MOV | BPF_K`
const MOV64_IMMEDIATE: u8 = 0xb7;
/// `BPF_JMP | BPF_EXIT`
const EXIT: u8 = 0x95;
const TC_ACT_SHOT: i32 = 2;

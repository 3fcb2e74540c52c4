//! Small eBPF programs, made, loaded and attached by hand. bpf(2), the kernel's bpf/standardization/instruction-set.rst.
//!
//! ```text
//! instruction: opcode:8 destination:4 source:4 offset:16 immediate:32
//! r0 result · r1–r5 arguments, lost in a call · r6–r9 kept · r10 end of the stack
//! ```

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::sys::netdevice::LinkIndex;

/// A register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reg(u8);

pub(crate) const R0: Reg = Reg(0);
pub(crate) const R1: Reg = Reg(1);
pub(crate) const R2: Reg = Reg(2);
pub(crate) const R3: Reg = Reg(3);
pub(crate) const R4: Reg = Reg(4);
pub(crate) const R5: Reg = Reg(5);
pub(crate) const R6: Reg = Reg(6);
pub(crate) const R7: Reg = Reg(7);
pub(crate) const R8: Reg = Reg(8);
pub(crate) const R9: Reg = Reg(9);
pub(crate) const STACK: Reg = Reg(10);

/// A place in a program that jumps lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label(usize);

/// When a jump is taken; comparisons are of 64 bits without sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum If {
    Equal = 0x10,
    Greater = 0x20,
    BitsSet = 0x40,
    NotEqual = 0x50,
}

/// Bytes that are loaded at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
}

/// A program under construction.
#[derive(Debug, Default)]
pub(crate) struct Program {
    code: Vec<u64>,
    /// Jumps, and where to.
    jumps: Vec<(usize, Label)>,
    places: Vec<usize>,
}

impl Program {
    /// A label that is still to be placed.
    pub(crate) fn label(&mut self) -> Label {
        self.places.push(0);
        Label(self.places.len() - 1)
    }

    /// `label` is here.
    pub(crate) fn place(&mut self, label: Label) {
        self.places[label.0] = self.code.len();
    }

    pub(crate) fn set(&mut self, to: Reg, value: i32) {
        self.push(ALU64 | MOV, to, R0, 0, value);
    }

    pub(crate) fn copy(&mut self, to: Reg, from: Reg) {
        self.push(ALU64 | MOV | FROM_REGISTER, to, from, 0, 0);
    }

    pub(crate) fn add(&mut self, to: Reg, value: i32) {
        self.push(ALU64 | ADD, to, R0, 0, value);
    }

    pub(crate) fn add_register(&mut self, to: Reg, from: Reg) {
        self.push(ALU64 | ADD | FROM_REGISTER, to, from, 0, 0);
    }

    pub(crate) fn and(&mut self, to: Reg, value: i32) {
        self.push(ALU64 | AND, to, R0, 0, value);
    }

    pub(crate) fn shift_left(&mut self, to: Reg, bits: i32) {
        self.push(ALU64 | SHIFT_LEFT, to, R0, 0, bits);
    }

    pub(crate) fn shift_right(&mut self, to: Reg, bits: i32) {
        self.push(ALU64 | SHIFT_RIGHT, to, R0, 0, bits);
    }

    pub(crate) fn shift_right_by(&mut self, to: Reg, bits: Reg) {
        self.push(ALU64 | SHIFT_RIGHT | FROM_REGISTER, to, bits, 0, 0);
    }

    /// The lower 16 bits, which are in network order.
    pub(crate) fn half_to_host(&mut self, to: Reg) {
        self.push(HALF_TO_BIG_ENDIAN, to, R0, 0, 16);
    }

    pub(crate) fn load(&mut self, size: Size, to: Reg, from: Reg, offset: i16) {
        self.push(LOAD | size as u8, to, from, offset, 0);
    }

    /// The address of the only element of `map`.
    pub(crate) fn map_value(&mut self, to: Reg, map: &OwnedFd) {
        self.push(LOAD_64, to, MAP_VALUE, 0, map.as_raw_fd());
        self.code.push(0);
    }

    pub(crate) fn jump(&mut self, to: Label) {
        self.jump_with(JUMP, R0, R0, 0, to);
    }

    pub(crate) fn jump_if(&mut self, left: Reg, when: If, right: i32, to: Label) {
        self.jump_with(JUMP | when as u8, left, R0, right, to);
    }

    pub(crate) fn jump_if_register(&mut self, left: Reg, when: If, right: Reg, to: Label) {
        self.jump_with(JUMP | when as u8 | FROM_REGISTER, left, right, 0, to);
    }

    /// Calls one of the kernel's helpers.
    pub(crate) fn call(&mut self, helper: i32) {
        self.push(CALL, R0, R0, 0, helper);
    }

    /// Ends with this result.
    pub(crate) fn end(&mut self, result: i32) {
        self.set(R0, result);
        self.push(EXIT, R0, R0, 0, 0);
    }

    fn jump_with(&mut self, opcode: u8, left: Reg, right: Reg, value: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(opcode, left, right, 0, value);
    }

    fn push(&mut self, opcode: u8, to: Reg, from: Reg, offset: i16, immediate: i32) {
        let ([o0, o1], [i0, i1, i2, i3]) = (offset.to_ne_bytes(), immediate.to_ne_bytes());
        // The two registers share a byte, whose halves are in the machine's order, as everything else.
        let registers = if cfg!(target_endian = "little") { to.0 | from.0 << 4 } else { to.0 << 4 | from.0 };
        self.code.push(u64::from_ne_bytes([opcode, registers, o0, o1, i0, i1, i2, i3]));
    }

    /// Loads the program.
    ///
    /// # Errors
    /// The process lacks CAP_BPF, or for `SCHED_CLS` CAP_NET_ADMIN, or the kernel finds fault with the program.
    pub(crate) fn into_kernel(mut self, kind: u32) -> io::Result<OwnedFd> {
        for &(at, to) in &self.jumps {
            let distance = self.places[to.0].wrapping_sub(at + 1) as i16;
            let mut bytes = self.code[at].to_ne_bytes();
            bytes[2..4].copy_from_slice(&distance.to_ne_bytes());
            self.code[at] = u64::from_ne_bytes(bytes);
        }
        let license = c"Apache-2.0";
        let request = ProgramLoad {
            kind,
            instruction_count: self.code.len() as u32,
            instructions: self.code.as_ptr() as u64,
            license: license.as_ptr() as u64,
        };
        // SAFETY: both addresses are of values that outlive the call, with as many instructions as are announced and a
        // license that ends with zero; the kernel only reads them.
        unsafe { bpf(BPF_PROG_LOAD, &request) }
    }
}

/// Attaches `program` to the device as a link, which ends with its descriptor. TCX needs Linux 6.6.
pub(crate) fn attach(program: &OwnedFd, index: LinkIndex, at: u32) -> io::Result<OwnedFd> {
    let request = LinkCreate {
        program: program.as_raw_fd().cast_unsigned(),
        target: index.get(),
        attach_type: at,
        flags: 0,
    };
    // SAFETY: the request has no addresses.
    unsafe { bpf(BPF_LINK_CREATE, &request) }
}

/// SO_ATTACH_BPF: `socket` receives only what `program` lets through. socket(7).
pub(crate) fn filter(socket: &impl AsFd, program: &OwnedFd) -> io::Result<()> {
    let (fd, len) = (program.as_raw_fd(), size_of::<libc::c_int>() as libc::socklen_t);
    let (socket, option) = (socket.as_fd().as_raw_fd(), libc::SO_ATTACH_BPF);
    // SAFETY: the kernel reads `len` bytes of `fd`, which is a number, during the call.
    let result = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const fd).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A map with one element of `bytes` bytes, all zero, that can be mapped into memory.
pub(crate) fn array(bytes: usize) -> io::Result<OwnedFd> {
    let request = MapCreate {
        kind: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: bytes as u32,
        max_entries: 1,
        flags: BPF_F_MMAPABLE,
    };
    // SAFETY: the request has no addresses.
    unsafe { bpf(BPF_MAP_CREATE, &request) }
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

/// The beginning of `union bpf_attr` for BPF_MAP_CREATE.
#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
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
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_F_MMAPABLE: u32 = 1 << 10;
/// A program that says what becomes of a packet socket's frames.
pub(crate) const SOCKET_FILTER: u32 = 1;
/// A program of the traffic control hooks.
pub(crate) const SCHED_CLS: u32 = 3;
pub(crate) const TCX_INGRESS: u32 = 46;
pub(crate) const TCX_EGRESS: u32 = 47;
/// The result of a program that has no opinion: whatever else is attached decides. `TCX_NEXT`.
pub(crate) const NEXT: i32 = -1;
/// The result of a program that drops the frame. `TCX_DROP`.
pub(crate) const DROP: i32 = 2;

const ALU64: u8 = 0x07;
const JUMP: u8 = 0x05;
const LOAD: u8 = 0x61;
const LOAD_64: u8 = 0x18;
const FROM_REGISTER: u8 = 0x08;
const ADD: u8 = 0x00;
const AND: u8 = 0x50;
const SHIFT_LEFT: u8 = 0x60;
const SHIFT_RIGHT: u8 = 0x70;
const MOV: u8 = 0xb0;
const HALF_TO_BIG_ENDIAN: u8 = 0xdc;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// `BPF_PSEUDO_MAP_VALUE`, in the place of the source register.
const MAP_VALUE: Reg = Reg(2);

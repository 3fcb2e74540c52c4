//! One IPv4 address for the host and the switch: which of its ports are the switch's, told to the kernel by two programs.
//!
//! ```text
//! device ─┬─▶ socket filter: ARP, and what may be the switch's ──▶ packet socket ─▶ the switch
//!         └─▶ TCX ingress: the switch's alone? ─yes─✗  ─no─▶ the host's stack
//!
//! TCP, UDP to a published port   the switch's, but for connections of the host's own from that port
//! TCP, UDP to a leased port      the switch's, but for sockets of the host's own
//! ICMP, fragments                both have a look: who has no use for one is silent
//! all else                       the host's
//! ```
//!
//! Published are ports that lead to a guest; leased are those that NAT has in use for one. Both are bits in memory that the
//! programs share with this process: nothing is asked of the kernel for a new connection. The kernel detaches the programs
//! when the process ends, however it ends.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use packet::Protocol;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::sys::bpf::{
    self, DROP, If, Label, NEXT, Program, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, SCHED_CLS, SOCKET_FILTER,
    STACK, Size, TCX_INGRESS,
};
use crate::sys::netdevice::LinkIndex;

/// The switch's part of the host's address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SharedAddress {
    /// The address; `None` as long as the host has none.
    pub address: Option<Ipv4Addr>,
    /// TCP and UDP ports, both ends included, that lead to guests, whatever the host does with them.
    pub published: Vec<(Protocol, (u16, u16))>,
}

/// What the programs know, and the process that loads them.
#[derive(Debug)]
pub(crate) struct Share {
    map: OwnedFd,
    bits: Bits,
}

/// The bits that programs and processes share.
#[derive(Debug)]
pub(crate) struct Bits(NonNull<u8>);

// SAFETY: the memory is the kernel's, and only looked at and changed by atomics.
unsafe impl Send for Bits {}
// SAFETY: as above.
unsafe impl Sync for Bits {}

/// Keeps the switch's part from the host's stack, as long as this lives.
#[derive(Debug)]
pub(crate) struct Fence {
    _ingress: OwnedFd,
}

impl Share {
    /// Nothing is the switch's yet.
    pub(crate) fn new() -> io::Result<Self> {
        let map = bpf::array(BYTES)?;
        let bits = Bits::map(&map)?;
        Ok(Self { map, bits })
    }

    /// The bits, for another process to [map](Bits::map).
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub(crate) fn bits(&self) -> io::Result<OwnedFd> {
        self.map.try_clone()
    }

    /// Sets address and published ports. Leases are of an address: with another one there are none.
    pub(crate) fn set(&self, shared: &SharedAddress) {
        let address = u32::from_ne_bytes(shared.address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        // SAFETY: the address is inside the mapping, at its aligned beginning. The kernel reads it too, which an atomic allows.
        let stored = unsafe { AtomicU32::from_ptr(self.bits.0.cast().as_ptr()) };
        let is_other = stored.swap(address, Ordering::Relaxed) != address;
        let mut published = vec![0; 2 * BITMAP];
        for &(protocol, (low, high)) in &shared.published {
            if let Some(start) = bitmap(protocol).filter(|&start| start < published.len()) {
                (low..=high).for_each(|port| published[start + usize::from(port / 8)] |= 1 << (port % 8));
            }
        }
        (PUBLISHED..)
            .zip(published)
            .for_each(|(place, bits)| self.bits.byte(place).store(bits, Ordering::Relaxed));
        if is_other {
            (LEASED..BYTES).for_each(|place| self.bits.byte(place).store(0, Ordering::Relaxed));
        }
    }

    /// Has `socket` receive only what may be the switch's.
    pub(crate) fn filter(&self, socket: &impl AsFd) -> io::Result<()> {
        let mut program = Program::default();
        let [whole, nothing, ours] = [(); 3].map(|()| program.label());
        program.copy(R6, R1);
        program.load(Size::Word, R2, R6, PROTOCOL);
        program.jump_if(R2, If::Equal, ARP, whole);
        self.classify(&mut program, &Ways { icmp: whole, fragment: (0x3fff, whole), ours, others: nothing });
        program.place(ours);
        program.place(whole);
        program.end(-1);
        program.place(nothing);
        program.end(0);
        bpf::filter(socket, &program.into_kernel(SOCKET_FILTER)?)
    }

    /// Keeps what is the switch's alone from the host, on the device `index` of the calling thread's namespace.
    pub(crate) fn fence(&self, index: LinkIndex) -> io::Result<Fence> {
        let mut program = Program::default();
        let [host, ours, udp, drop] = [(); 4].map(|()| program.label());
        program.copy(R6, R1);
        self.classify(&mut program, &Ways { icmp: host, fragment: (0x1fff, host), ours, others: host });
        program.place(ours);
        program.jump_if(R7, If::Equal, UDP, udp);
        program.jump_if(R7, If::NotEqual, TCP, drop);
        tcp_socket(&mut program, host, drop);
        program.place(udp);
        udp_socket(&mut program, host, drop);
        program.place(drop);
        program.end(DROP);
        program.place(host);
        program.end(NEXT);
        Ok(Fence { _ingress: bpf::attach(&program.into_kernel(SCHED_CLS)?, index, TCX_INGRESS)? })
    }

    /// Sorts the frame whose context is in r6. At `ours`, r7 is the protocol, r9 is 1 if the port is published and 0 if it
    /// is leased, and addresses and ports are at the end of the stack, as a `bpf_sock_tuple`.
    fn classify(&self, program: &mut Program, ways: &Ways) {
        let &Ways { icmp, fragment: (mask, fragment), ours, others } = ways;
        program.load(Size::Word, R2, R6, VLAN_PRESENT);
        program.jump_if(R2, If::NotEqual, 0, others);
        program.load(Size::Word, R2, R6, PROTOCOL);
        program.jump_if(R2, If::NotEqual, IPV4, others);
        copy_bytes(program, ETHERNET, IP_AT, IP_LEN, others);
        program.map_value(R9, &self.map);
        program.load(Size::Word, R2, R9, ADDRESS as i16);
        program.load(Size::Word, R3, STACK, IP_AT + 16);
        program.jump_if_register(R2, If::NotEqual, R3, others);
        program.load(Size::Byte, R7, STACK, IP_AT + 9);
        program.jump_if(R7, If::Equal, Protocol::ICMP.0.into(), icmp);
        program.load(Size::Half, R2, STACK, IP_AT + 6);
        program.half_to_host(R2);
        program.jump_if(R2, If::BitsSet, mask, fragment);
        // The ports behind the header, whose length is in words of 32 bits.
        program.load(Size::Byte, R2, STACK, IP_AT);
        program.and(R2, 15);
        program.shift_left(R2, 2);
        program.add(R2, ETHERNET);
        copy_bytes_at(program, PORTS_AT, 4, others);
        program.load(Size::Half, R8, STACK, PORTS_AT + 2);
        program.half_to_host(R8);
        look_up(program, ours, others);
    }
}

impl Bits {
    /// Maps them.
    pub(crate) fn map(map: &impl AsFd) -> io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the kernel chooses a free range of addresses, so nothing that exists is replaced.
        let start = unsafe { mmap(ptr::null_mut(), BYTES, protection, flags, map, 0) }?;
        NonNull::new(start.cast()).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// The port is leased, or no longer is.
    pub(crate) fn lease(&self, protocol: Protocol, port: u16, is_leased: bool) {
        let Some(start) = bitmap(protocol) else { return };
        let (byte, bit) = (self.byte(LEASED + start + usize::from(port / 8)), 1 << (port % 8));
        if is_leased {
            byte.fetch_or(bit, Ordering::Relaxed)
        } else {
            byte.fetch_and(!bit, Ordering::Relaxed)
        };
    }

    fn byte(&self, place: usize) -> &AtomicU8 {
        assert!(place < BYTES, "every place is one of a bitmap's");
        // SAFETY: it is inside the mapping.
        let byte = unsafe { self.0.add(place) };
        // SAFETY: the mapping lives as long as `self`. The kernel reads it too, which an atomic allows.
        unsafe { AtomicU8::from_ptr(byte.as_ptr()) }
    }
}

impl Drop for Bits {
    fn drop(&mut self) {
        // SAFETY: it is what `map` has mapped, and nothing refers to it any more.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), BYTES) };
    }
}

/// Where frames go.
struct Ways {
    icmp: Label,
    /// Which bits of the header's flags and offset say that it is one.
    fragment: (i32, Label),
    ours: Label,
    others: Label,
}

/// Copies bytes of the frame from `from` on to the stack; to `missing` if it is shorter.
fn copy_bytes(program: &mut Program, from: i32, to: i16, len: i32, missing: Label) {
    program.set(R2, from);
    copy_bytes_at(program, to, len, missing);
}

/// The same from where r2 says.
fn copy_bytes_at(program: &mut Program, to: i16, len: i32, missing: Label) {
    program.copy(R1, R6);
    program.copy(R3, STACK);
    program.add(R3, to.into());
    program.set(R4, len);
    program.call(SKB_LOAD_BYTES);
    program.jump_if(R0, If::NotEqual, 0, missing);
}

/// Looks the port in r8 of the protocol in r7 up in the bitmaps, which r9 points to.
fn look_up(program: &mut Program, ours: Label, others: Label) {
    let [known, leased] = [(); 2].map(|()| program.label());
    for (protocol, start) in BITMAPS {
        program.set(R5, start as i32);
        program.jump_if(R7, If::Equal, protocol.0.into(), known);
    }
    program.jump(others);
    program.place(known);
    program.copy(R2, R8);
    program.shift_right(R2, 3);
    // For the kernel, which wants to see that it stays inside.
    program.and(R2, BITMAP as i32 - 1);
    program.add_register(R2, R5);
    program.add_register(R2, R9);
    program.copy(R4, R8);
    program.and(R4, 7);
    program.jump_if(R5, If::Greater, BITMAP as i32, leased);
    test_bit(program, PUBLISHED as i16);
    program.set(R9, 1);
    program.jump_if(R3, If::NotEqual, 0, ours);
    program.place(leased);
    test_bit(program, LEASED as i16);
    program.set(R9, 0);
    program.jump_if(R3, If::NotEqual, 0, ours);
    program.jump(others);
}

/// r3 is the bit that r4 counts, of the byte `offset` behind r2.
fn test_bit(program: &mut Program, offset: i16) {
    program.load(Size::Byte, R3, R2, offset);
    program.shift_right_by(R3, R4);
    program.and(R3, 1);
}

/// A segment for one of the switch's ports. A connection of the host's, whatever port it has, is the host's; one that is to
/// begin is if the host listens, unless the port is published.
fn tcp_socket(program: &mut Program, host: Label, drop: Label) {
    find_socket(program, SKC_LOOKUP_TCP, drop);
    program.jump_if(R8, If::NotEqual, TCP_LISTEN, host);
    program.jump_if(R9, If::NotEqual, 0, drop);
    program.load(Size::Byte, R2, STACK, IP_AT);
    program.and(R2, 15);
    program.shift_left(R2, 2);
    program.add(R2, ETHERNET + TCP_FLAGS);
    copy_bytes_at(program, IP_AT, 1, drop);
    program.load(Size::Byte, R2, STACK, IP_AT);
    program.and(R2, SYN | ACK | RST);
    program.jump_if(R2, If::Equal, SYN, host);
    program.jump(drop);
}

/// A datagram for one of the switch's ports. One for a socket of the host's is the host's; of a published port, only if it
/// is for one that is connected to the sender.
fn udp_socket(program: &mut Program, host: Label, drop: Label) {
    find_socket(program, SK_LOOKUP_UDP, drop);
    program.jump_if(R8, If::NotEqual, TCP_CLOSE, host);
    program.jump_if(R9, If::NotEqual, 0, drop);
    program.jump(host);
}

/// r8 is the state of the host's socket that the packet is for; to `nobody` if there is none.
fn find_socket(program: &mut Program, helper: i32, nobody: Label) {
    program.copy(R1, R6);
    program.copy(R2, STACK);
    program.add(R2, TUPLE_AT.into());
    program.set(R3, 12);
    // The device's namespace.
    program.set(R4, -1);
    program.set(R5, 0);
    program.call(helper);
    program.jump_if(R0, If::Equal, 0, nobody);
    program.load(Size::Word, R8, R0, SOCKET_STATE);
    program.copy(R1, R0);
    program.call(SK_RELEASE);
}

fn bitmap(protocol: Protocol) -> Option<usize> {
    BITMAPS.iter().find(|(other, _)| *other == protocol).map(|&(_, start)| start)
}

/// Which bitmap is whose, among those of published and of leased ports alike. Only the first two are published.
const BITMAPS: [(Protocol, usize); 4] = [
    (Protocol::TCP, 0),
    (Protocol::UDP, BITMAP),
    (Protocol::DCCP, 2 * BITMAP),
    (Protocol::UDP_LITE, 3 * BITMAP),
];
const BITMAP: usize = 1 << 13;
/// In the map: the address, at its beginning, two bitmaps of published ports, four of leased ones.
const ADDRESS: usize = 0;
const PUBLISHED: usize = 8;
const LEASED: usize = PUBLISHED + 2 * BITMAP;
const BYTES: usize = LEASED + 4 * BITMAP;

/// On the stack: an IPv4 header without options, then the ports. From its addresses on it is a `bpf_sock_tuple`.
const IP_AT: i16 = PORTS_AT - IP_LEN as i16;
const PORTS_AT: i16 = -4;
const TUPLE_AT: i16 = PORTS_AT - 8;
const IP_LEN: i32 = 20;
const ETHERNET: i32 = 14;
/// Where a TCP header has its flags.
const TCP_FLAGS: i32 = 13;
const SYN: i32 = 2;
const RST: i32 = 4;
const ACK: i32 = 16;
const TCP: i32 = Protocol::TCP.0 as i32;
const UDP: i32 = Protocol::UDP.0 as i32;
/// In network order, as the context has them.
const IPV4: i32 = 0x0800_u16.to_be() as i32;
const ARP: i32 = 0x0806_u16.to_be() as i32;

// <linux/bpf.h>: places in `struct __sk_buff` and `struct bpf_sock`, and helpers.
const PROTOCOL: i16 = 16;
const VLAN_PRESENT: i16 = 20;
const SOCKET_STATE: i16 = 72;
const SKB_LOAD_BYTES: i32 = 26;
const SK_LOOKUP_UDP: i32 = 85;
const SK_RELEASE: i32 = 86;
const SKC_LOOKUP_TCP: i32 = 99;
/// States of sockets: `BPF_TCP_CLOSE`, which an unconnected UDP socket is in, and `BPF_TCP_LISTEN`.
const TCP_CLOSE: i32 = 7;
const TCP_LISTEN: i32 = 10;

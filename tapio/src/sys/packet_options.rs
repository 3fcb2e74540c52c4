//! The system calls of packet sockets. One system call, one function. packet(7), <linux/if_packet.h>.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

use crate::sys::netdevice::LinkIndex;

/// What receiving told of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Received {
    /// Bytes in the buffer, the `virtio_net_hdr` included.
    pub(crate) len: usize,
    /// The frame was longer than the buffer.
    pub(crate) is_cut: bool,
    /// The VLAN tag that was taken off, as it stood in the frame.
    pub(crate) tag: Option<[u8; 4]>,
}

/// recvmsg(2): receives a frame behind its `virtio_net_hdr` into `buffer`.
pub(crate) fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control { _align: [], bytes: [0; CONTROL_LEN] };
    // SAFETY: msghdr is made of numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_LEN;
    // SAFETY: the message's buffers are `buffer` and `control`, with their lengths, and outlive the call.
    let result = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, 0) };
    let len = usize::try_from(result).map_err(|_| last_error())?;
    let told = control.bytes.get(..message.msg_controllen).unwrap_or_default();
    Ok(Received { len, is_cut: message.msg_flags & libc::MSG_TRUNC != 0, tag: vlan_tag(told) })
}

/// The tag that a `tpacket_auxdata` tells of: the only control message that was asked for.
///
/// ```text
/// cmsghdr: len:64 level:32 type:32
/// auxdata: status:32 len:32 snaplen:32 mac:16 net:16 vlan_tci:16 vlan_tpid:16
/// ```
fn vlan_tag(control: &[u8]) -> Option<[u8; 4]> {
    let data = control.get(CMSG_HEADER_LEN..)?;
    let half = |at: usize| data.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
    Tag { status: u32::from_ne_bytes(*data.first_chunk()?), tci: half(16)?, tpid: half(18)? }.bytes()
}

/// What the kernel tells of the VLAN tag that it took off a frame.
#[derive(Clone, Copy)]
pub(crate) struct Tag {
    pub(crate) status: u32,
    pub(crate) tci: u16,
    pub(crate) tpid: u16,
}

impl Tag {
    /// The tag as it stood in the frame, if it had one.
    pub(crate) const fn bytes(self) -> Option<[u8; 4]> {
        if self.status & libc::TP_STATUS_VLAN_VALID == 0 {
            return None;
        }
        let has_tpid = self.status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
        let tpid = if has_tpid { self.tpid } else { libc::ETH_P_8021Q as u16 };
        let ([p0, p1], [t0, t1]) = (tpid.to_be_bytes(), self.tci.to_be_bytes());
        Some([p0, p1, t0, t1])
    }
}

/// A control buffer, aligned as the kernel's `cmsghdr`.
struct Control {
    _align: [libc::cmsghdr; 0],
    bytes: [u8; CONTROL_LEN],
}

/// Switches on an option of SOL_PACKET.
pub(crate) fn enable(socket: &impl AsFd, option: libc::c_int) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, option, &1_i32)
}

/// PACKET_RX_RING: received frames go to memory, which is to be mapped, in `slots` slots of `slot` bytes. Those that are
/// too long for that wait in the socket's queue.
pub(crate) fn set_ring(socket: &impl AsFd, slot: usize, slots: usize, block: usize) -> io::Result<()> {
    let version = libc::tpacket_versions::TPACKET_V2 as libc::c_int;
    set(socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
    enable(socket, libc::PACKET_COPY_THRESH)?;
    let request = libc::tpacket_req {
        tp_block_size: block as libc::c_uint,
        tp_block_nr: (slot * slots / block) as libc::c_uint,
        tp_frame_size: slot as libc::c_uint,
        tp_frame_nr: slots as libc::c_uint,
    };
    set(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)
}

/// SO_RCVBUF and SO_SNDBUF, beyond the system's limit where this process may.
pub(crate) fn set_queues(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    for (forced, limited) in
        [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        set(socket, libc::SOL_SOCKET, forced, &bytes)
            .or_else(|_| set(socket, libc::SOL_SOCKET, limited, &bytes))?;
    }
    Ok(())
}

/// PACKET_STATISTICS: frames dropped since the last call because there was no room for them.
pub(crate) fn take_drops(socket: &impl AsFd) -> u32 {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut len = size_of_val(&statistics) as libc::socklen_t;
    let (fd, level, option) = (socket.as_fd().as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS);
    // SAFETY: the kernel writes at most `len` bytes to `statistics`, and the length to `len`. It can't fail with a packet
    // socket, and would leave zeros.
    unsafe { libc::getsockopt(fd, level, option, (&raw mut statistics).cast(), &raw mut len) };
    statistics.tp_drops
}

/// PACKET_ADD_MEMBERSHIP: the device takes frames for any address as long as `socket` lives.
pub(crate) fn be_promiscuous(socket: &impl AsFd, index: LinkIndex) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: index.get().cast_signed(),
        mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// bind(2): `socket` sends on the device `index`, and receives what is of `protocol` there.
pub(crate) fn bind(socket: &impl AsFd, index: LinkIndex, protocol: u16) -> io::Result<()> {
    // SAFETY: sockaddr_ll is made of numbers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index.get().cast_signed();
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `address`, all of which are initialised, during the call.
    let result = unsafe { libc::bind(socket.as_fd().as_raw_fd(), (&raw const address).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// setsockopt(2).
fn set<T: Copy>(socket: &impl AsFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let (value, len) = (std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: the kernel reads at most `len` bytes of `value` during the call.
    let result = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, value, len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Length of the `virtio_net_hdr`: the one without `num_buffers`. The longer one that can be had from Linux 6.6 on is
/// written two bytes off its place in a ring.
pub(crate) const HEADER_LEN: usize = 10;
const CMSG_HEADER_LEN: usize = size_of::<libc::cmsghdr>();
/// Room for one `tpacket_auxdata` of 20 bytes, padded.
const CONTROL_LEN: usize = CMSG_HEADER_LEN + 24;

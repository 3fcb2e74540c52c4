//! Sending on a packet socket. The kernel cuts a super-frame for a device that can't send it as it is.

use std::os::fd::OwnedFd;

use packet::{Burst, DropReason};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::sys::packet_options::HEADER_LEN;

/// Sends a frame of `burst`, behind its `virtio_net_hdr`, for which the headroom is overwritten.
#[inline]
pub(crate) fn send(socket: &OwnedFd, burst: &mut Burst, index: usize) -> Result<(), DropReason> {
    let header = burst.metas()[index].offload.encode();
    let bytes = burst.with_headroom(index, HEADER_LEN);
    bytes[..HEADER_LEN].copy_from_slice(&header[..HEADER_LEN]);
    match rustix::net::send(socket, &*bytes, SendFlags::NOSIGNAL) {
        Ok(_) => Ok(()),
        Err(Errno::AGAIN | Errno::NOBUFS) => Err(DropReason::TxQueueFull),
        Err(Errno::NETDOWN | Errno::NXIO | Errno::NODEV) => Err(DropReason::TxLinkDown),
        Err(_) => Err(DropReason::TxRefused),
    }
}

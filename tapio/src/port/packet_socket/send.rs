//! Sending on a packet socket. The kernel cuts a super-frame for a device that can't send it as it is.

use std::os::fd::OwnedFd;

use packet::{DropReason, Offload, VNET_HDR_LEN};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::sys::packet_options::HEADER_LEN;

/// Sends the frame behind its `virtio_net_hdr`, for which there is room before it.
#[inline]
pub(super) fn send(socket: &OwnedFd, offload: Offload, bytes: &mut [u8]) -> Result<(), DropReason> {
    let bytes = &mut bytes[VNET_HDR_LEN - HEADER_LEN..];
    bytes[..HEADER_LEN].copy_from_slice(&offload.encode()[..HEADER_LEN]);
    match rustix::net::send(socket, &*bytes, SendFlags::NOSIGNAL) {
        Ok(_) => Ok(()),
        Err(Errno::AGAIN | Errno::NOBUFS) => Err(DropReason::TxQueueFull),
        Err(Errno::NETDOWN | Errno::NXIO | Errno::NODEV) => Err(DropReason::TxLinkDown),
        Err(_) => Err(DropReason::TxRefused),
    }
}

//! Network devices by their numbers. One system call, one function. netdevice(7), socket(7).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::ifreq;
use rustix::ioctl::{Opcode, Updater, ioctl};

/// The kernel's number of a link in its namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkIndex(u32);

impl LinkIndex {
    pub(crate) const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Whether frames pass the device `index` of the namespace of `socket`, which is any socket. Never waits for who changes
/// links meanwhile, as rtnetlink(7) does, whose lock some hold for tens of milliseconds.
///
/// # Errors
/// It is gone.
pub(crate) fn is_running(socket: &impl AsFd, index: LinkIndex) -> io::Result<bool> {
    let request = ask::<{ libc::SIOCGIFFLAGS as Opcode }>(socket, index)?;
    // SAFETY: SIOCGIFFLAGS has set the flags. Any bit pattern is a number.
    let flags = libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags });
    Ok(flags & libc::IFF_UP != 0 && flags & libc::IFF_RUNNING != 0)
}

/// The MTU of the device `index`. Never waits, either.
///
/// # Errors
/// It is gone.
pub(crate) fn mtu(socket: &impl AsFd, index: LinkIndex) -> io::Result<u32> {
    let request = ask::<{ libc::SIOCGIFMTU as Opcode }>(socket, index)?;
    // SAFETY: SIOCGIFMTU has set the MTU. Any bit pattern is a number.
    Ok(unsafe { request.ifr_ifru.ifru_mtu }.cast_unsigned())
}

/// `OPCODE` must be one of netdevice(7) that only asks.
fn ask<const OPCODE: Opcode>(socket: &impl AsFd, index: LinkIndex) -> io::Result<ifreq> {
    let mut request = request("")?;
    request.ifr_ifru.ifru_ifindex = index.get().cast_signed();
    // SAFETY: SIOCGIFNAME reads and writes one `ifreq`.
    let call = unsafe { Updater::<{ libc::SIOCGIFNAME as Opcode }, ifreq>::new(&mut request) };
    // SAFETY: `call` is what SIOCGIFNAME takes, and `request` outlives it.
    unsafe { ioctl(socket, call) }?;
    // SAFETY: all that ask read and write one `ifreq`.
    let call = unsafe { Updater::<OPCODE, ifreq>::new(&mut request) };
    // SAFETY: `call` is what OPCODE takes, and `request` outlives it.
    unsafe { ioctl(socket, call) }?;
    Ok(request)
}

/// An `ifreq` about `device`, otherwise zero.
pub(crate) fn request(device: &str) -> rustix::io::Result<ifreq> {
    // SAFETY: `ifreq` is made of numbers and pointers, for which zero is a value.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    if device.len() >= request.ifr_name.len() {
        return Err(rustix::io::Errno::NAMETOOLONG);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// SO_BINDTODEVICE: `socket` sends and receives on `device` only, whatever the routes say. socket(7).
///
/// # Errors
/// There is no such device, or the process lacks CAP_NET_RAW.
pub fn bind_to_device(socket: &impl AsFd, device: &str) -> io::Result<()> {
    let (socket, len) = (socket.as_fd().as_raw_fd(), device.len() as libc::socklen_t);
    let (level, option) = (libc::SOL_SOCKET, libc::SO_BINDTODEVICE);
    // SAFETY: the kernel reads at most `len` bytes of `device` during the call.
    let result = unsafe { libc::setsockopt(socket, level, option, device.as_ptr().cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::{Links, NetnsHandle};

    #[test]
    fn a_bound_socket_uses_its_device_only() {
        let bound = || {
            Links::open().unwrap().set_up("lo").unwrap();
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            assert!(bind_to_device(&socket, "nothing0").is_err());
            bind_to_device(&socket, "lo").unwrap();
            // Without a route, and without the binding, this address is unreachable.
            socket.set_broadcast(true).unwrap();
            socket.send_to(b"x", "255.255.255.255:9").unwrap();
        };
        NetnsHandle::anonymous().unwrap().enter(bound).unwrap();
    }
}

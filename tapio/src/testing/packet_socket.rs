//! What tests and benchmarks need of the system beside ports.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socket_with};

use crate::device::link::Links;
use crate::sys::packet_options;

/// Sends frames, as they are, out of a network device. packet(7).
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// A socket on `device`, which must be in the calling thread's network namespace. It works from any thread.
    ///
    /// # Errors
    /// There is no such device, or the process lacks CAP_NET_RAW.
    pub fn open(device: &str) -> io::Result<Self> {
        let index = Links::open()?.find(device)?.index;
        // Protocol 0: nothing is to be received.
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        // The queueing discipline would cost more than the rest.
        packet_options::enable(&socket, libc::PACKET_QDISC_BYPASS)?;
        packet_options::bind(&socket, index, 0)?;
        Ok(Self(socket))
    }

    /// Sends `frame`.
    ///
    /// # Errors
    /// The device is down or gone, its queue is full, or the frame is shorter than an Ethernet header or longer than
    /// the MTU.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        Ok(rustix::net::send(&self.0, frame, SendFlags::empty()).map(drop)?)
    }

    /// Sends `frame` `count` times as fast as the device takes it, and returns how often the device took it.
    ///
    /// # Errors
    /// The device is down or gone, or the frame is longer than its MTU.
    pub fn send_many(&self, frame: &[u8], count: usize) -> io::Result<usize> {
        let (mut tried, mut sent) = (0, 0);
        while tried < count {
            match send_batch(&self.0, frame, (count - tried).min(BATCH)) {
                Ok(taken) => (tried, sent) = (tried + taken, sent + taken),
                // The device's queue is full, and the kernel has dropped one frame.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => tried += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }
}

/// sendmmsg(2): `count` (at most [`BATCH`]) copies of `frame`. Returns how many went before the first that failed.
fn send_batch(socket: &OwnedFd, frame: &[u8], count: usize) -> io::Result<usize> {
    let mut vector = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
    // SAFETY: mmsghdr is made of numbers and pointers, for which zero is a value.
    let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
    message.msg_hdr.msg_iov = &raw mut vector;
    message.msg_hdr.msg_iovlen = 1;
    let mut messages = [message; BATCH];
    let count = count.min(BATCH) as libc::c_uint;
    // SAFETY: there are at least `count` messages; each points to `vector`, and that to `frame`, which the kernel
    // only reads; both outlive the call.
    let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
    checked(result)
}

fn checked(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

const BATCH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetnsHandle;

    #[test]
    fn what_the_device_took_is_counted() {
        let open = || {
            Links::open().unwrap().set_up("lo").unwrap();
            PacketSocket::open("lo").unwrap()
        };
        let namespace = NetnsHandle::anonymous().unwrap();
        let socket = namespace.enter(open).unwrap();
        assert_eq!(socket.send_many(&[0; 60], 200).unwrap(), 200);
        socket.send(&[0; 60]).unwrap();
        let lo = namespace.enter(|| Links::open().unwrap().find("lo").unwrap()).unwrap();
        assert_eq!(lo.tx_packets, 201);
        assert!(socket.send_many(&[0; 100_000], 1).is_err());
    }
}

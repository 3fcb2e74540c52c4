//! A tun: IP packets without Ethernet, for programs that route or translate them. Not a port of the switch.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;

use crate::sys::tap_ioctl;

/// The userspace end of a tun; the network device goes when it is dropped.
#[derive(Debug)]
pub struct Tun(OwnedFd);

impl Tun {
    /// Creates the tun `device` in the calling thread's network namespace. To be brought up and addressed by
    /// [`Links`](crate::Links).
    ///
    /// # Errors
    /// The process lacks CAP_NET_ADMIN, or the name is taken or no name.
    pub fn open(device: &str) -> io::Result<Self> {
        let tun = tap_ioctl::open_tun()?;
        tap_ioctl::attach(&tun, device, tap_ioctl::TUN)?;
        Ok(Self(tun))
    }

    /// Receives one packet into `buffer` and returns its length; `None` if there is none now. A longer packet is cut.
    ///
    /// # Errors
    /// The device is gone.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::read(&self.0, buffer) {
            Ok(len) => Ok(Some(len)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends one IP packet.
    ///
    /// # Errors
    /// The device is down or gone, or this is no IP packet.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        rustix::io::write(&self.0, packet)?;
        Ok(())
    }

    /// Asks for edge-triggered events under `token`: after one, receive until there is nothing.
    ///
    /// # Errors
    /// The system's limit on watched descriptors is reached.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(registry, token, Interest::READABLE)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

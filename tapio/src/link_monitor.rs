//! Tells when links of a namespace change: rtnetlink's link group. rtnetlink(7).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// Events about the links of the namespace in which this was opened.
#[derive(Debug)]
pub(crate) struct LinkMonitor(OwnedFd);

impl LinkMonitor {
    /// Listens from now on, in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol number: NETLINK_ROUTE is 0.
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&fd, &SocketAddrNetlink::new(0, libc::RTMGRP_LINK as u32))?;
        Ok(Self(fd))
    }

    /// An edge-triggered event under `token` when a link changes.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(registry, token, Interest::READABLE)
    }

    /// Takes [`register`](Self::register) back.
    pub(crate) fn deregister(&self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }

    /// Whether anything has changed since the last call. What exactly is asked of [`Links`](crate::Links): messages
    /// may have been lost.
    pub(crate) fn changed(&self) -> bool {
        let mut message = [0; 64];
        let mut changed = false;
        loop {
            match recv(&self.0, &mut message[..], RecvFlags::TRUNC) {
                Ok(_) | Err(Errno::NOBUFS) => changed = true,
                Err(Errno::INTR) => {}
                Err(_) => return changed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Links, NetnsHandle};

    #[test]
    fn a_link_that_comes_up_is_told_once() {
        let netns = NetnsHandle::anonymous().unwrap();
        netns
            .enter(|| {
                let monitor = LinkMonitor::open().unwrap();
                assert!(!monitor.changed());
                Links::open().unwrap().set_up("lo").unwrap();
                assert!(monitor.changed());
                assert!(!monitor.changed());
            })
            .unwrap();
    }
}

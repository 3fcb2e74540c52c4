//! Tells which links of a namespace change: rtnetlink's link group. rtnetlink(7).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use crate::device::netlink::{Message, attributes, messages};
use crate::device::netns::{Netns, NetnsHandle, NetnsId};

/// Events about the links of one namespace. One serves all ports there: each link's change is told to each monitor.
#[derive(Debug)]
pub struct LinkMonitor {
    socket: OwnedFd,
    netns: Option<NetnsId>,
    buffer: Vec<u8>,
}

/// What has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkEvent {
    /// The link of that name: up or down, there or gone. What exactly is asked of the port.
    Changed(String),
    /// Addresses or routes: which is to be looked up.
    Addresses,
    /// More than the kernel keeps: any link may have changed.
    Overflow,
}

impl LinkMonitor {
    /// Listens from now on in `netns`; `None`: the calling thread's namespace.
    ///
    /// # Errors
    /// There is no such namespace, or it can't be entered.
    pub fn open(netns: Option<&Netns>) -> io::Result<Self> {
        match netns {
            Some(netns) => netns.open()?.enter(Self::open_here)?,
            None => Self::open_here(),
        }
    }

    fn open_here() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol number: NETLINK_ROUTE is 0.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        let netns = NetnsHandle::current().and_then(|netns| netns.id()).ok();
        Ok(Self { socket, netns, buffer: vec![0; 32 * 1024] })
    }

    /// Where it listens; `None` if /proc doesn't tell.
    pub fn netns(&self) -> Option<NetnsId> {
        self.netns
    }

    /// Asks for an edge-triggered event under `token` when [`events`](Self::events) has something.
    ///
    /// # Errors
    /// The system's limit on watched descriptors is reached.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        SourceFd(&self.socket.as_raw_fd()).register(registry, token, Interest::READABLE)
    }

    /// All that has changed since the last call.
    pub fn events(&mut self) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        loop {
            match recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((len, _)) => {
                    events.extend(messages(&self.buffer[..len]).filter_map(|message| changed(&message)));
                }
                Err(Errno::NOBUFS) => events.push(LinkEvent::Overflow),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        events.dedup();
        events
    }
}

/// What a message is about; that of a link has an `ifinfomsg`, then attributes.
fn changed(message: &Message<'_>) -> Option<LinkEvent> {
    if !matches!(u16::try_from(message.kind), Ok(libc::RTM_NEWLINK | libc::RTM_DELLINK)) {
        return Some(LinkEvent::Addresses);
    }
    let mut attributes = attributes(message.body.get(IFINFOMSG_LEN..)?);
    let (_, name) = attributes.find(|&(kind, _)| kind == libc::IFLA_IFNAME)?;
    let name = name.split(|&byte| byte == 0).next()?;
    Some(LinkEvent::Changed(String::from_utf8_lossy(name).into_owned()))
}

const GROUPS: u32 = (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV4_ROUTE) as u32;
const IFINFOMSG_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Links, NetnsHandle};

    #[test]
    fn a_link_that_comes_up_is_told_once_by_its_name() {
        let netns = NetnsHandle::anonymous().unwrap();
        let mut monitor = LinkMonitor::open(Some(&netns.netns())).unwrap();
        assert_eq!(monitor.events(), []);
        netns.enter(|| Links::open().unwrap().set_up("lo").unwrap()).unwrap();
        let events = monitor.events();
        // With it come its address, and the routes there.
        let links: Vec<_> = events.iter().filter(|event| **event != LinkEvent::Addresses).collect();
        assert_eq!(links, [&LinkEvent::Changed("lo".to_owned())]);
        assert!(links.len() < events.len());
        assert_eq!(monitor.events(), []);
    }
}

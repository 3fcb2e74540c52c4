//! That a device is one switch's: a listening unix socket in the device's namespace, whose abstract name is the device's
//! number there. It ends with the process. unix(7).
//!
//! A word among friends, not a lock: a name that another user has taken keeps nobody off a device.

use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::geteuid;

use crate::sys::netdevice::LinkIndex;

/// The claim to a device. Dropped, another switch may have it.
#[derive(Debug)]
pub(crate) struct Claim {
    _socket: OwnedFd,
}

impl Claim {
    /// Claims a device of the calling thread's namespace. `None`: another port of this process has it, which is about to
    /// leave it to this one, or there can be no claim.
    ///
    /// # Errors
    /// Another switch has it: that process, if it is to be seen from here.
    pub(crate) fn to(device: LinkIndex) -> Result<Option<Self>, Option<u32>> {
        let name = format!("tapswitch-device-{}", device.get());
        let Ok(address) = SocketAddrUnix::new_abstract_name(name.as_bytes()) else { return Ok(None) };
        let Ok(socket) = new_socket() else { return Ok(None) };
        match bind(&socket, &address).and_then(|()| listen(&socket, WAITING)) {
            Ok(()) => Ok(Some(Self { _socket: socket })),
            Err(Errno::ADDRINUSE) => holder(&address).map_or(Ok(None), Err),
            Err(_) => Ok(None),
        }
    }
}

/// The other switch that has this name: `None` if nobody has who counts.
fn holder(address: &SocketAddrUnix) -> Option<Option<u32>> {
    let socket = new_socket().ok()?;
    match connect(&socket, address) {
        Ok(()) => {}
        // So many have asked already: a switch that waits for the device asks once a second, for days.
        Err(Errno::AGAIN) => return Some(None),
        Err(_) => return None,
    }
    let Some(holder) = credentials(&socket) else { return Some(None) };
    let counts = [0, geteuid().as_raw()].contains(&holder.uid);
    let pid = u32::try_from(holder.pid).ok().filter(|&pid| pid != 0);
    (counts && pid != Some(std::process::id())).then_some(pid)
}

/// SO_PEERCRED: whoever listened; a process that isn't to be seen from here has the number 0, which rustix has no word for.
fn credentials(socket: &OwnedFd) -> Option<libc::ucred> {
    // SAFETY: ucred is made of numbers, for which zero is a value.
    let mut found: libc::ucred = unsafe { mem::zeroed() };
    let mut len = size_of_val(&found) as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: the kernel writes at most `len` bytes into `found`, and the length; both live.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut found).cast(), &raw mut len) };
    (result == 0).then_some(found)
}

fn new_socket() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
}

/// Who asks is never answered, and waits until the claim ends.
const WAITING: i32 = 4096;

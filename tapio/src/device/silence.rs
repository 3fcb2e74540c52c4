//! Keeps the host's own stack off a device that is the switch's.
//!
//! ```text
//! device ─▶ packet sockets (the switch) ─▶ ingress: drop ─✗─ the host's stack
//! device ◀─ egress: from the switch's socket? ◀─ the switch
//!                   else drop ─✗─ the host's stack
//! ```
//!
//! Without this the host would answer ARP for any address it has, and send router solicitations to guests. Where the host
//! had no use of the device, it stays silent also when the switch is killed: the programs are filters of the device then,
//! and their name says how the device was found, for the switch that comes next. Where it had, and the switch took the
//! device over, they are TCX links, which the kernel detaches with the process: nobody is to be cut off for good.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::net::sockopt::socket_cookie;

use crate::device::clsact::{Clsact, Hook};
use crate::device::link::Link;
use crate::sys::bpf::{self, DROP, If, NEXT, Program, R0, R1, R2, SCHED_CLS, TCX_EGRESS, TCX_INGRESS};
use crate::sys::netdevice::LinkIndex;

/// The host's stack hears and says nothing on a device, as long as this lives.
#[derive(Debug)]
pub(crate) enum Silence {
    /// And as long as the process does.
    Linked { _ingress: OwnedFd, _egress: OwnedFd },
    /// Or until somebody gives the device back, if the process is killed.
    Kept(Kept),
}

impl Silence {
    /// Silences the host on the device `index` of the calling thread's namespace, but for `socket`.
    pub(crate) fn on(index: LinkIndex, socket: &impl AsFd) -> io::Result<Self> {
        Ok(Self::Linked {
            _ingress: bpf::attach(&deaf()?, index, TCX_INGRESS)?,
            _egress: bpf::attach(&dumb_but_for(socket)?, index, TCX_EGRESS)?,
        })
    }

    /// The same beyond the end of the process; the next one learns how the device was `before`, and its `mtu` if that
    /// is changed.
    ///
    /// # Errors
    /// As [`on`](Self::on), and where the system has no such filters.
    pub(crate) fn kept_on(
        before: &Link,
        mtu: Option<u32>,
        remains: &Remains,
        socket: &impl AsFd,
    ) -> io::Result<Self> {
        let clsact = Clsact::of(before.index)?;
        let made_clsact = clsact.make()? || remains.made_clsact();
        let record = Record { socket: inode(socket)?, up: before.up, mtu, made_clsact };
        // From here on it is removed when something fails.
        let kept = Kept { clsact, record, is_disarmed: false };
        kept.clsact.attach(Hook::Ingress, &deaf()?, &kept.record.to_name())?;
        kept.clsact.attach(Hook::Egress, &dumb_but_for(socket)?, NAME)?;
        Ok(Self::Kept(kept))
    }

    /// The next one learns this `mtu` of before, if it is changed now.
    pub(crate) fn note_mtu(&mut self, mtu: Option<u32>) -> io::Result<()> {
        match self {
            Self::Kept(kept) if kept.record.mtu != mtu => {
                let record = Record { mtu, ..kept.record.clone() };
                kept.clsact.attach(Hook::Ingress, &deaf()?, &record.to_name())?;
                kept.record = record;
                Ok(())
            }
            Self::Kept(_) | Self::Linked { .. } => Ok(()),
        }
    }

    /// What the device keeps stays when this is dropped. Links end with their last descriptor, whoever has it.
    pub(crate) fn disarm(&mut self) {
        if let Self::Kept(kept) = self {
            kept.is_disarmed = true;
        }
    }
}

/// Programs that the device keeps.
#[derive(Debug)]
pub(crate) struct Kept {
    clsact: Clsact,
    record: Record,
    /// They are somebody else's to remove.
    is_disarmed: bool,
}

impl Drop for Kept {
    /// Errors are of no use here: then the device is gone.
    fn drop(&mut self) {
        if self.is_disarmed {
            return;
        }
        let _ = self.clsact.detach(Hook::Egress);
        // The record goes last.
        let _ = self.clsact.detach(Hook::Ingress);
        if self.record.made_clsact {
            let _ = self.clsact.remove_if_empty();
        }
    }
}

/// What there is on a device of switches before this one.
#[derive(Debug)]
pub(crate) enum Remains {
    Nothing,
    /// One has the device now: another process, or the port that is to go when this one has come.
    InUse,
    /// One was killed.
    Left(LeftBehind),
}

/// The host's silence, and how the device was found.
#[derive(Debug)]
pub(crate) struct LeftBehind {
    clsact: Clsact,
    record: Record,
}

impl Remains {
    /// On the device `index` of the calling thread's namespace.
    pub(crate) fn on(index: LinkIndex) -> Self {
        let Ok(clsact) = Clsact::of(index) else { return Self::Nothing };
        match clsact.name(Hook::Ingress).as_deref().and_then(Record::from_name) {
            None => Self::Nothing,
            Some(record) if is_alive(record.socket) => Self::InUse,
            Some(record) => Self::Left(LeftBehind { clsact, record }),
        }
    }

    /// How the device was before all of them, and whether its MTU is theirs.
    pub(crate) fn before(&self, now: Link) -> (Link, bool) {
        match self {
            Self::Left(LeftBehind { record, .. }) => {
                (Link { up: record.up, mtu: record.mtu.unwrap_or(now.mtu), ..now }, record.mtu.is_some())
            }
            Self::Nothing | Self::InUse => (now, false),
        }
    }

    /// The host hears and speaks again.
    pub(crate) fn remove(self) {
        if let Self::Left(LeftBehind { clsact, record }) = self {
            drop(Kept { clsact, record, is_disarmed: false });
        }
    }

    fn made_clsact(&self) -> bool {
        matches!(self, Self::Left(LeftBehind { record: Record { made_clsact: true, .. }, .. }))
    }
}

/// How a device was found, as a program's name.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Record {
    /// The inode of the socket that has the device.
    socket: u64,
    up: bool,
    /// If it was changed.
    mtu: Option<u32>,
    made_clsact: bool,
}

impl Record {
    fn to_name(&self) -> String {
        let up = if self.up { "up" } else { "down" };
        let clsact = if self.made_clsact { "clsact" } else { "-" };
        let mtu = self.mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string());
        format!("{NAME} {} {up} {mtu} {clsact}", self.socket)
    }

    fn from_name(name: &str) -> Option<Self> {
        let [NAME, socket, up, mtu, clsact] = name.split(' ').collect::<Vec<_>>()[..] else { return None };
        Some(Self {
            socket: socket.parse().ok()?,
            up: up == "up",
            mtu: if mtu == "-" { None } else { Some(mtu.parse().ok()?) },
            made_clsact: clsact == "clsact",
        })
    }
}

fn inode(socket: &impl AsFd) -> io::Result<u64> {
    Ok(File::from(socket.as_fd().try_clone_to_owned()?).metadata()?.ino())
}

/// Whether a packet socket of the calling thread's namespace has this inode. packet(7), proc(5).
fn is_alive(inode: u64) -> bool {
    let sockets = fs::read_to_string("/proc/thread-self/net/packet").unwrap_or_default();
    let mut inodes = sockets.lines().filter_map(|line| line.split_whitespace().nth(8)?.parse::<u64>().ok());
    inodes.any(|other| other == inode)
}

fn deaf() -> io::Result<OwnedFd> {
    let mut program = Program::default();
    program.end(DROP);
    program.into_kernel(SCHED_CLS)
}

fn dumb_but_for(socket: &impl AsFd) -> io::Result<OwnedFd> {
    let cookie = socket_cookie(socket)?;
    let mut program = Program::default();
    let ours = program.label();
    program.call(GET_SOCKET_COOKIE);
    program.set(R1, (cookie >> 32) as i32);
    program.shift_left(R1, 32);
    program.set(R2, cookie as i32);
    program.shift_left(R2, 32);
    program.shift_right(R2, 32);
    program.add_register(R1, R2);
    program.jump_if_register(R0, If::Equal, R1, ours);
    program.end(DROP);
    program.place(ours);
    program.end(NEXT);
    program.into_kernel(SCHED_CLS)
}

/// `bpf_get_socket_cookie`
const GET_SOCKET_COOKIE: i32 = 46;
/// What the filters are called, as `tc filter show dev DEVICE ingress` tells.
const NAME: &str = "tapswitch";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_from_a_name_and_other_names_are_none() {
        let killed = Record { socket: 4711, up: false, mtu: Some(1400), made_clsact: true };
        let other = Record { socket: 4711, up: true, mtu: None, made_clsact: false };
        for (record, name) in [(killed, "tapswitch 4711 down 1400 clsact"), (other, "tapswitch 4711 up - -")]
        {
            assert_eq!(record.to_name(), name);
            assert_eq!(Record::from_name(name), Some(record));
        }
        for name in ["", "tapswitch", "other 1 up 1500 -", "tapswitch x up 1500 -", "tapswitch 1 up 1500 - -"]
        {
            assert_eq!(Record::from_name(name), None, "{name}");
        }
    }
}

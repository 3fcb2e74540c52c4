//! Programs on a device that stay there when the process that attached them has ended. tc(8), tc-bpf(8).
//!
//! ```text
//! device ── queueing discipline clsact ─┬─ ingress ─ filter PREFERENCE HANDLE: program, name
//!                                       └─ egress ── filter PREFERENCE HANDLE: program, name
//! ```
//!
//! They run after packet sockets have had their copy, and after what TCX has. They go with the device, or when somebody
//! deletes them: `tc qdisc del dev DEVICE clsact`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::device::netlink::{Request, Socket, attributes};
use crate::sys::netdevice::LinkIndex;

/// The filters of one device.
#[derive(Debug)]
pub(crate) struct Clsact {
    socket: Socket,
    index: LinkIndex,
}

/// Where a program is attached: what its frames are, to the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Hook {
    Ingress = 0xffff_fff2,
    Egress = 0xffff_fff3,
}

impl Clsact {
    /// Of the device `index` in the calling thread's namespace.
    pub(crate) fn of(index: LinkIndex) -> io::Result<Self> {
        Ok(Self { socket: Socket::open()?, index })
    }

    /// Makes the discipline if there is none. Whether it did.
    ///
    /// # Errors
    /// There is one of the kind `ingress`, which has no egress, or the kernel has none of them.
    pub(crate) fn make(&self) -> io::Result<bool> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        match self.socket.call(self.discipline(libc::RTM_NEWQDISC, flags)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.socket.call(self.discipline(libc::RTM_GETQDISC, 0)).map(|_| false)
            }
            made => made.map(|_| true),
        }
    }

    /// Attaches `program`, in place of the one that was there.
    pub(crate) fn attach(&self, hook: Hook, program: &OwnedFd, name: &str) -> io::Result<()> {
        let options = [
            (TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes()[..]),
            (TCA_BPF_NAME, &[name.as_bytes(), &[0]].concat()),
            (TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes()),
        ];
        let request = self.filter(libc::RTM_NEWTFILTER, libc::NLM_F_CREATE, hook);
        self.socket.call(request.nested(libc::TCA_OPTIONS, &options)).map(drop)
    }

    /// The name of the program that is attached; `None`: there is none.
    pub(crate) fn name(&self, hook: Hook) -> Option<String> {
        let answer = self.socket.call(self.filter(libc::RTM_GETTFILTER, 0, hook)).ok()?;
        let (_, options) =
            attributes(answer.get(HEADER_LEN..)?).find(|&(kind, _)| kind == libc::TCA_OPTIONS)?;
        let (_, name) = attributes(options).find(|&(kind, _)| kind == TCA_BPF_NAME)?;
        Some(String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned())
    }

    pub(crate) fn detach(&self, hook: Hook) -> io::Result<()> {
        self.socket.call(self.filter(libc::RTM_DELTFILTER, 0, hook)).map(drop)
    }

    /// Removes the discipline, if nobody has a filter there.
    pub(crate) fn remove_if_empty(&self) -> io::Result<()> {
        for hook in [Hook::Ingress, Hook::Egress] {
            let all = Request::new(libc::RTM_GETTFILTER, libc::NLM_F_DUMP, &self.header(0, hook as u32, 0));
            if !self.socket.dump(all)?.is_empty() {
                return Ok(());
            }
        }
        self.socket.call(self.discipline(libc::RTM_DELQDISC, 0)).map(drop)
    }

    fn discipline(&self, kind: u16, flags: i32) -> Request {
        let header = self.header(CLSACT & 0xffff_0000, CLSACT, 0);
        Request::new(kind, flags, &header).attribute(libc::TCA_KIND, b"clsact\0")
    }

    fn filter(&self, kind: u16, flags: i32, hook: Hook) -> Request {
        let protocol = u32::from((libc::ETH_P_ALL as u16).to_be());
        let header = self.header(HANDLE, hook as u32, PREFERENCE << 16 | protocol);
        Request::new(kind, flags, &header).attribute(libc::TCA_KIND, b"bpf\0")
    }

    /// struct tcmsg: family, pad:24, index:32, handle:32, parent:32, info:32
    fn header(&self, handle: u32, parent: u32, info: u32) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        for (field, number) in header[4..].chunks_exact_mut(4).zip([self.index.get(), handle, parent, info]) {
            field.copy_from_slice(&number.to_ne_bytes());
        }
        header
    }
}

const HEADER_LEN: usize = 20;
/// TC_H_CLSACT
const CLSACT: u32 = 0xffff_fff1;
/// Before those that tc numbers itself, which it does from 49152 down; after those of people who chose 1.
const PREFERENCE: u32 = 7;
/// Nobody else's: "tsw" and a number.
const HANDLE: u32 = 0x7473_7701;
// <linux/pkt_cls.h>
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

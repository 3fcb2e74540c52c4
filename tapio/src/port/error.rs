//! Why a port can't be had: what was tried, on which device, what the system said, and what to do.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::io::Errno;

/// A port could not be opened or changed. The message says what to do where that is known.
#[derive(Debug)]
pub struct PortError {
    operation: Operation,
    device: String,
    source: io::Error,
}

/// What was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    CheckName,
    OpenNetns(String),
    EnterNetns(String),
    OpenTun,
    Attach,
    OpenNetlink,
    SetHeaderSize,
    SetOffload,
    ConfigureLink,
    SetAddress,
    Move,
    HandOver,
    Watch,
    Listen,
    FindDevice,
    /// It has no Ethernet frames.
    TakeLayer3,
    /// Another switch has it: this process, if that is known.
    Claim(Option<u32>),
    SilenceHost,
    /// The host has this on the device.
    TakeOver(String),
    ShareAddress,
    OpenPacketSocket,
}

impl PortError {
    /// Turns an error of `operation` on `device` into a `PortError`; for `map_err`.
    pub(crate) fn when<E: Into<io::Error>>(operation: Operation, device: &str) -> impl FnOnce(E) -> Self {
        move |source| Self { operation, device: device.to_owned(), source: source.into() }
    }

    /// The port of `device` can't be watched for frames.
    pub fn watch(device: &str, error: io::Error) -> Self {
        Self::when(Operation::Watch, device)(error)
    }

    /// What the operating system said.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// The port's socket can't be had now, which may be somebody else's doing.
    pub fn is_about_socket(&self) -> bool {
        self.operation == Operation::Listen
    }

    /// There is no namespace of that name.
    pub fn is_about_missing_netns(&self) -> bool {
        matches!(self.operation, Operation::OpenNetns(_)) && self.kind() == io::ErrorKind::NotFound
    }

    /// For devices and namespaces.
    fn device_advice(&self) -> Option<&'static str> {
        let errno = Errno::from_io_error(&self.source);
        let denied = matches!(errno, Some(Errno::PERM | Errno::ACCESS));
        Some(match (&self.operation, errno) {
            (Operation::CheckName, _) => {
                "a name has 1 to 15 characters, none of them a space, a slash, a colon or a percent sign"
            }
            (Operation::OpenNetns(_), Some(Errno::NOENT)) => {
                "no such namespace or process: create it first, for example with `ip netns add`"
            }
            (Operation::EnterNetns(_), Some(Errno::INVAL)) => "this is not a network namespace",
            (Operation::OpenNetns(_) | Operation::EnterNetns(_), _) if denied => {
                "the process needs CAP_SYS_ADMIN"
            }
            (Operation::OpenTun, Some(Errno::NOENT | Errno::NODEV | Errno::NXIO)) => {
                "the kernel module tun is missing: run `modprobe tun`"
            }
            (Operation::OpenTun, Some(Errno::ACCESS)) => "run as root, or let this user open the file",
            (Operation::Attach, Some(Errno::BUSY)) => {
                "another program has the device open; a tap serves one program at a time"
            }
            (Operation::Attach, Some(Errno::INVAL)) => {
                "a device of this name exists and is not a tap, or is a multi-queue tap"
            }
            (Operation::ConfigureLink, Some(Errno::INVAL | Errno::RANGE)) => {
                "the device can't have this MTU; a tap takes 68 to 65521"
            }
            (Operation::ConfigureLink, Some(Errno::ADDRNOTAVAIL)) => {
                "the MAC address must be a station's: not a group address and not zero"
            }
            (Operation::Move, _) => "close the port and open it again",
            (_, Some(Errno::BADFD | Errno::NODEV)) => "the device is gone",
            _ if denied => "the process needs CAP_NET_ADMIN",
            _ => return None,
        })
    }

    /// For sockets: those of a packet port, and those at a path.
    fn socket_advice(&self) -> Option<&'static str> {
        let errno = Errno::from_io_error(&self.source);
        let denied = matches!(errno, Some(Errno::PERM | Errno::ACCESS));
        Some(match (&self.operation, errno) {
            (Operation::Listen, Some(Errno::NAMETOOLONG)) => "a socket's path has 107 bytes at most",
            (Operation::Listen, _) if self.kind() == io::ErrorKind::AlreadyExists => {
                "something else than a socket is there: remove it, or write another path"
            }
            (Operation::Listen, _) if self.kind() == io::ErrorKind::AddrInUse => {
                "another process has a socket there: end it, or write another path"
            }
            (Operation::Listen, _) if denied => "the process must be allowed to write into the folder",
            (Operation::SilenceHost, Some(Errno::INVAL)) => {
                "this needs Linux 6.6; with host-stack = true the host goes on using the device"
            }
            (Operation::SilenceHost, _) if denied => {
                "the process needs CAP_BPF and CAP_NET_ADMIN; with host-stack = true the host goes on using the device"
            }
            (Operation::TakeLayer3, _) => {
                "a port is made of a device with MAC addresses: a tap, a veth, a network card; a tun or a tunnel has none"
            }
            (Operation::Claim(_), _) => {
                "a device is one switch's: end the other one, or write another device"
            }
            (Operation::TakeOver(_), _) => {
                "with host-stack = true the host goes on using the device, with take-over = true it is cut off"
            }
            (Operation::ShareAddress, Some(Errno::INVAL)) => "this needs Linux 6.6",
            (Operation::ShareAddress, _) if denied => "the process needs CAP_BPF and CAP_NET_ADMIN",
            (Operation::OpenPacketSocket, _) if denied => "the process needs CAP_NET_RAW and CAP_NET_ADMIN",
            _ => return None,
        })
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = &self.device;
        match &self.operation {
            Operation::CheckName => write!(f, "cannot name a tap {device:?}")?,
            Operation::OpenNetns(netns) => write!(f, "cannot open network namespace {netns} for {device}")?,
            Operation::EnterNetns(netns) => write!(f, "cannot enter network namespace {netns} for {device}")?,
            Operation::OpenTun => write!(f, "cannot open /dev/net/tun for {device}")?,
            Operation::Attach => write!(f, "cannot create or attach to tap {device}")?,
            Operation::OpenNetlink => write!(f, "cannot open a netlink socket for {device}")?,
            Operation::SetHeaderSize => write!(f, "cannot set the header size of {device}")?,
            Operation::SetOffload => write!(f, "cannot set the offloads of {device}")?,
            Operation::ConfigureLink => write!(f, "cannot set MAC, MTU or state of {device}")?,
            Operation::SetAddress => write!(f, "cannot change the address of {device}")?,
            Operation::FindDevice => write!(f, "cannot find {device}")?,
            Operation::TakeLayer3 => write!(f, "cannot take {device}: it carries no Ethernet frames")?,
            Operation::Claim(None) => write!(f, "cannot take {device}: another switch has it")?,
            Operation::Claim(Some(pid)) => {
                write!(f, "cannot take {device}: another switch, process {pid}, has it")?;
            }
            Operation::SilenceHost => write!(f, "cannot keep the host's own stack off {device}")?,
            Operation::TakeOver(what) => write!(f, "cannot take {device}: the host has {what} there")?,
            Operation::ShareAddress => write!(f, "cannot share the host's address on {device}")?,
            Operation::OpenPacketSocket => write!(f, "cannot open a packet socket on {device}")?,
            Operation::Listen => write!(f, "cannot make the socket {device}")?,
            Operation::Watch => write!(f, "cannot watch {device} for frames")?,
            Operation::HandOver => write!(f, "cannot hand over the frames of {device}")?,
            Operation::Move => write!(f, "cannot turn the port into {device}")?,
        }
        write!(f, ": {}", self.source)?;
        self.socket_advice().or_else(|| self.device_advice()).map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

impl Error for PortError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_operation_device_cause_and_what_to_do() {
        let error = PortError::when(Operation::OpenTun, "tap1")(Errno::PERM);
        assert_eq!(
            error.to_string(),
            "cannot open /dev/net/tun for tap1: Operation not permitted (os error 1); the process needs CAP_NET_ADMIN"
        );
        let error = PortError::when(Operation::Attach, "tap1")(Errno::BUSY);
        assert!(error.to_string().contains("another program has the device open"));
    }
}

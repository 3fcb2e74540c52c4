//! Network namespaces: named, found, entered. namespaces(7), setns(2).
//!
//! setns(2) moves one thread. [`NetnsHandle::enter`] gives it a thread of its own, so that nobody else's thread can
//! be left in the wrong namespace. What is opened there (a tap, a socket) belongs to that namespace and works from
//! anywhere.

use std::convert::Infallible;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Where a network namespace is to be found.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Netns {
    /// /run/netns/NAME, as `ip netns add NAME` makes it.
    Name(String),
    /// A file that stands for the namespace.
    Path(PathBuf),
    /// The namespace that this process is in.
    Pid(u32),
}

/// Which namespace it is, however it is found. The kernel gives the number of one that has ended to another: it tells two
/// apart as long as somebody holds the one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetnsId {
    device: u64,
    inode: u64,
}

impl NetnsId {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The namespace that `netns` leads to now; `None`: the calling thread's.
    ///
    /// # Errors
    /// There is no such name, path or process, or this process may not look at it.
    pub fn find(netns: Option<&Netns>) -> io::Result<Self> {
        let path = netns.map_or_else(|| Ok(PathBuf::from(OWN)), Netns::path)?;
        Ok(Self::of(&fs::metadata(path)?))
    }
}

/// An open network namespace: it exists at least as long as this handle.
#[derive(Debug)]
pub struct NetnsHandle(OwnedFd);

impl Netns {
    /// Opens the namespace.
    ///
    /// # Errors
    /// There is no such name, path or process, or this process may not look at it.
    pub fn open(&self) -> io::Result<NetnsHandle> {
        // A path may be anything; opening a FIFO must not wait for a writer.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(self.path()?)?;
        Ok(NetnsHandle(file.into()))
    }

    /// The file that stands for it.
    fn path(&self) -> io::Result<PathBuf> {
        Ok(match self {
            Self::Name(name) if name.is_empty() || name.contains('/') || name.starts_with('.') => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            Self::Name(name) => PathBuf::from("/run/netns").join(name),
            Self::Path(path) => path.clone(),
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        })
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => path.display().fmt(f),
            Self::Pid(pid) => pid.fmt(f),
        }
    }
}

/// Digits are a process id, something with a slash is a path, everything else is a name.
impl FromStr for Netns {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            Ok(pid) => Self::Pid(pid),
            Err(_) if text.contains('/') => Self::Path(text.into()),
            Err(_) => Self::Name(text.to_owned()),
        })
    }
}

impl NetnsHandle {
    /// The calling thread's namespace.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn current() -> io::Result<Self> {
        Ok(Self(File::open(OWN)?.into()))
    }

    /// Which namespace it is.
    ///
    /// # Errors
    /// None that is known of.
    pub fn id(&self) -> io::Result<NetnsId> {
        Ok(NetnsId::of(&File::from(self.0.try_clone()?).metadata()?))
    }

    /// A new, empty namespace without a name. It ends with the last handle, socket or process in it.
    ///
    /// # Errors
    /// The process lacks CAP_SYS_ADMIN, or a limit is reached.
    pub fn anonymous() -> io::Result<Self> {
        on_own_thread(|| {
            // SAFETY: NEWNET concerns neither memory nor the table of file descriptors, and only this thread.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            Self::current()
        })?
    }

    /// Runs `f` inside the namespace, on a thread of its own. Processes that `f` starts are in the namespace too.
    ///
    /// # Errors
    /// The process lacks CAP_SYS_ADMIN, or the handle is not a network namespace. `f` has not run then.
    pub fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> io::Result<R> {
        on_own_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(f())
        })?
    }

    /// How another part of this process, or another process of the same user, finds the namespace as long as this
    /// handle lives.
    pub fn netns(&self) -> Netns {
        let (pid, fd) = (std::process::id(), self.0.as_raw_fd());
        Netns::Path(format!("/proc/{pid}/fd/{fd}").into())
    }
}

impl AsFd for NetnsHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The calling thread's namespace.
const OWN: &str = "/proc/thread-self/ns/net";

fn on_own_thread<R: Send>(f: impl FnOnce() -> R + Send) -> io::Result<R> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, f)?;
        thread.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(handle: &NetnsHandle) -> NetnsId {
        handle.id().unwrap()
    }

    #[test]
    fn entering_a_namespace_leaves_the_callers_thread_where_it_is() {
        let before = id(&NetnsHandle::current().unwrap());
        let other = NetnsHandle::anonymous().unwrap();
        let inside = other.enter(|| id(&NetnsHandle::current().unwrap())).unwrap();
        assert_eq!(inside, id(&other));
        assert_ne!(inside, before);
        assert_eq!(id(&NetnsHandle::current().unwrap()), before);
    }

    #[test]
    fn an_anonymous_namespace_is_found_by_the_path_of_its_handle() {
        let handle = NetnsHandle::anonymous().unwrap();
        assert_eq!(id(&handle.netns().open().unwrap()), id(&handle));
    }

    #[test]
    fn a_process_id_means_that_processes_namespace() {
        let here = Netns::Pid(std::process::id()).open().unwrap();
        assert_eq!(id(&here), id(&NetnsHandle::current().unwrap()));
    }

    #[test]
    fn one_namespace_is_the_same_by_whatever_way_it_is_found() {
        let (one, other) = (NetnsHandle::anonymous().unwrap(), NetnsHandle::anonymous().unwrap());
        assert_eq!(NetnsId::find(Some(&one.netns())).unwrap(), id(&one));
        assert_ne!(id(&one), id(&other));
        assert_eq!(
            NetnsId::find(None).unwrap(),
            NetnsId::find(Some(&Netns::Pid(std::process::id()))).unwrap()
        );
        assert_eq!(
            NetnsId::find(Some(&Netns::Name("..".into()))).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[test]
    fn what_is_no_network_namespace_is_refused() {
        for bad in ["no-such-name-in-tapio-tests", "/no/such/path", "..", "", "4294967295"] {
            assert!(bad.parse::<Netns>().unwrap().open().is_err(), "{bad}");
        }
        let file = Netns::Path("/dev/null".into()).open().unwrap();
        assert!(file.enter(|| ()).is_err());
    }

    #[test]
    fn text_says_which_kind_is_meant_and_comes_back() {
        for (text, netns) in [
            ("vm1", Netns::Name("vm1".into())),
            ("/run/netns/vm1", Netns::Path("/run/netns/vm1".into())),
            ("4711", Netns::Pid(4711)),
        ] {
            assert_eq!(text.parse(), Ok(netns.clone()));
            assert_eq!(netns.to_string(), text);
        }
    }
}

//! Unix sockets at a path: bound with the right rights, found, and gone when the port is. unix(7).
//!
//! Others may write to the folder that a socket is in, so nothing here follows a link there, nor changes the rights of what
//! is at the path.

use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, OFlags, fchmod, fstat, openat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags,
    SocketType, accept_with, bind, connect, listen, recv, recvmsg, socket_with,
};
use rustix::process::umask;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::sys::closer::{Closer, Given};
use crate::sys::folders::Folders;

/// A socket bound to a path, which is removed with it, and with the folders that were made for it.
#[derive(Debug)]
pub struct BoundSocket {
    socket: Given,
    path: PathBuf,
    /// Device and inode, to remove no other socket at the path.
    identity: (u64, u64),
    /// Where it is as long as another one is to have its path.
    aside: Option<PathBuf>,
    /// The path is somebody else's to remove.
    is_disarmed: bool,
}

/// Connections that wait to be taken, or refused.
pub(crate) const BACKLOG: i32 = 8;

impl BoundSocket {
    /// Binds a non-blocking socket to `path`, whose folder is made if need be. What a process that no longer lives left
    /// there is replaced. The socket is its owner's and its group's: [`MODE`].
    ///
    /// # Errors
    /// `AddrInUse` if another process has bound it, `AlreadyExists` if something else than a socket is there.
    pub(crate) fn bind(path: &Path, kind: SocketType, passed: Passed) -> io::Result<Self> {
        Self::bind_as(path, kind, MODE, &passed)
    }

    /// [`bind`](Self::bind) for streams that others begin.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn listen(path: &Path, passed: Passed) -> io::Result<Self> {
        let socket = Self::bind(path, SocketType::STREAM, passed)?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    }

    /// The same for its owner alone, and nobody can send descriptors.
    ///
    /// # Errors
    /// As above.
    pub fn bind_private(path: &Path, kind: SocketType) -> io::Result<Self> {
        Self::bind_as(path, kind, 0o600, &Passed::Refused)
    }

    fn bind_as(path: &Path, kind: SocketType, mode: u32, passed: &Passed) -> io::Result<Self> {
        let mut folders = Folders::lock();
        Self::bind_in(&mut folders, path, kind, mode, passed).inspect_err(|_| folders.leave(path))
    }

    fn bind_in(
        folders: &mut Folders,
        path: &Path,
        kind: SocketType,
        mode: u32,
        passed: &Passed,
    ) -> io::Result<Self> {
        folders.make_for(path)?;
        make_room(path, kind)?;
        let socket = new_socket(kind, passed)?;
        bind_with_mode(&socket, &SocketAddrUnix::new(path)?, Mode::from_raw_mode(mode))?;
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
            aside: None,
            is_disarmed: false,
        })
    }

    /// A copy of the socket, to be used wherever, also beyond the end of its path.
    pub(crate) fn socket(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// The path stays when this is dropped: whoever has the socket goes on with it.
    pub(crate) fn disarm(&mut self) {
        self.is_disarmed = true;
    }

    /// Where it is, or will be again.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves its path to another socket; those who are connected stay so.
    pub(crate) fn step_aside(&mut self) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(format!(".{}", std::process::id()));
        let aside = PathBuf::from(aside);
        fs::rename(&self.path, &aside)?;
        self.aside = Some(aside);
        Ok(())
    }

    /// Takes its path again.
    pub(crate) fn step_back(&mut self) -> io::Result<()> {
        self.aside.take().map_or(Ok(()), |aside| fs::rename(aside, &self.path))
    }
}

impl AsFd for BoundSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl BoundSocket {
    /// Takes the socket from its path, and empty folders that were made for it. What is there in its place by now stays.
    pub fn unlink(&self) {
        let path = self.aside.as_ref().unwrap_or(&self.path);
        if fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(path);
        }
        Folders::lock().leave(path);
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        if !self.is_disarmed {
            self.unlink();
        }
    }
}

/// What becomes of descriptors that somebody sends beside the bytes. Nobody must make us close them where it hurts.
#[derive(Clone, Debug)]
pub(crate) enum Passed {
    /// The kernel doesn't take them: SO_PASSRIGHTS of Linux 6.16.
    Refused,
    /// They are received, and what is not wanted is closed on this thread. So are the sockets, in which some may lie.
    Received(Closer),
}

impl Passed {
    /// For a port that needs none.
    pub(crate) fn unwanted() -> io::Result<Self> {
        let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        if refuse_descriptors(&probe) { Ok(Self::Refused) } else { Closer::start().map(Self::Received) }
    }

    /// Receives, and lets go of descriptors that come along. As recv(2), for the length.
    pub(crate) fn recv(
        &self,
        socket: &impl AsFd,
        buffer: &mut [u8],
        flags: RecvFlags,
    ) -> Result<usize, Errno> {
        match self {
            Self::Refused => recv(socket, buffer, flags).map(|(_, len)| len),
            // Whoever sent so many is not heard until they are closed.
            Self::Received(closer) if closer.waiting() > UNCLOSED => Err(Errno::AGAIN),
            Self::Received(closer) => recv_and_close(socket, buffer, flags, closer),
        }
    }

    /// As it was when the socket was made, in another process maybe.
    pub(crate) fn unwanted_by(refuses: bool) -> io::Result<Self> {
        if refuses { Ok(Self::Refused) } else { Closer::start().map(Self::Received) }
    }

    /// Whether the kernel refuses them.
    pub(crate) fn refuses(&self) -> bool {
        matches!(self, Self::Refused)
    }

    /// A socket by which some may come.
    pub(crate) fn keep(&self, fd: OwnedFd) -> Given {
        match self {
            Self::Refused => Given::new(fd, (), None),
            Self::Received(closer) => Given::new(fd, (), Some(closer)),
        }
    }
}

/// All of the descriptors must be received: the kernel closes the others at once, and here.
fn recv_and_close(
    socket: &impl AsFd,
    buffer: &mut [u8],
    flags: RecvFlags,
    closer: &Closer,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SCM_MAX_FD))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            closer.later(fds.collect::<Vec<OwnedFd>>());
        }
    }
    Ok(received.bytes)
}

/// A connection that waits at `listener`, non-blocking.
pub(crate) fn accept(listener: &impl AsFd, passed: &Passed) -> io::Result<Given> {
    Ok(passed.keep(accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?))
}

/// The same, for another process to use.
pub(crate) fn connect_for_another(path: &Path, kind: SocketType, passed: &Passed) -> io::Result<OwnedFd> {
    connect_to(path, kind, passed)?.as_fd().try_clone_to_owned()
}

/// A non-blocking socket that is connected to the one at `path`, not to one that a link there points to: looking where it
/// leads may take as long as whoever made it likes.
pub(crate) fn connect_to(path: &Path, kind: SocketType, passed: &Passed) -> io::Result<Given> {
    let found = openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::Socket {
        return Err(Errno::CONNREFUSED.into());
    }
    let socket = new_socket(kind, passed)?;
    connect(&socket, &SocketAddrUnix::new(format!("/proc/self/fd/{}", found.as_raw_fd()))?)?;
    Ok(socket)
}

/// Binds `socket`, whose file has these rights from its first moment on: there is no later one at which whoever may write to
/// the folder could have put something else in its place. The file gets the rights that the socket has, less the umask;
/// that is the whole process's, but for a thread that has asked for its own.
fn bind_with_mode(socket: &Given, address: &SocketAddrUnix, mode: Mode) -> io::Result<()> {
    fchmod(socket, mode)?;
    let bind_it = || {
        // SAFETY: the thread's working directory, root and umask become its own. No descriptor is concerned.
        if unsafe { unshare_unsafe(UnshareFlags::FS) }.is_ok() {
            umask(Mode::empty());
        }
        // In a sandbox that forbids it, the umask may take rights away, and gives none.
        bind(socket, address)
    };
    thread::scope(|scope| {
        let binder = thread::Builder::new().name("bind".into()).spawn_scoped(scope, bind_it)?;
        Ok(binder.join().expect("it makes three system calls, and panics in none")?)
    })
}

/// Sees to it that nobody who lives is at `path`.
fn make_room(path: &Path, kind: SocketType) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match connect_to(path, kind, &Passed::Refused) {
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::CONNREFUSED) => fs::remove_file(path),
            // Its queue is full, or it is of another kind: it lives.
            Some(Errno::AGAIN | Errno::PROTOTYPE) => Err(io::ErrorKind::AddrInUse.into()),
            _ => Err(error),
        },
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn new_socket(kind: SocketType, passed: &Passed) -> rustix::io::Result<Given> {
    let fd = socket_with(AddressFamily::UNIX, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    if matches!(passed, Passed::Refused) {
        // Before anybody can send: connections inherit it from the listener. Where it fails, nothing is received.
        refuse_descriptors(&fd);
    }
    Ok(passed.keep(fd))
}

/// Has the kernel refuse to send descriptors to `socket`; `false` if it is too old for that.
fn refuse_descriptors(socket: &impl AsFd) -> bool {
    let (socket, off) = (socket.as_fd().as_raw_fd(), 0_i32);
    let len = size_of_val(&off) as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `off`, which lives.
    unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, SO_PASSRIGHTS, (&raw const off).cast(), len) == 0 }
}

/// The user that the switch runs as, and the group: that of the folder, where the folder has the set-group-ID bit.
pub(crate) const MODE: u32 = 0o660;
/// Linux 6.16, asm-generic/socket.h; not in libc yet.
const SO_PASSRIGHTS: i32 = 83;
/// Descriptors of a message that the kernel takes at most. unix(7).
pub(crate) const SCM_MAX_FD: usize = 253;
/// Messages with descriptors that wait to be closed at most.
const UNCLOSED: usize = 4;

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::os::unix::net::UnixStream;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    #[test]
    fn where_the_kernel_takes_descriptors_all_are_received_and_closed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (probe, sent) = UnixStream::pair().unwrap();
        let fds = vec![sent.as_fd(); SCM_MAX_FD];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SCM_MAX_FD))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(&theirs, &[IoSlice::new(b"frame")], &mut ancillary, SendFlags::empty()).unwrap();
        drop(sent);
        let passed = Passed::Received(Closer::start().unwrap());
        let mut buffer = [0; 16];
        assert_eq!(passed.recv(&ours, &mut buffer, RecvFlags::empty()), Ok(5));
        assert_eq!(&buffer[..5], b"frame");
        // The end of the other side: all copies of it are closed.
        assert_eq!(recv(&probe, &mut buffer[..], RecvFlags::empty()).map(|(_, len)| len), Ok(0));
    }
}

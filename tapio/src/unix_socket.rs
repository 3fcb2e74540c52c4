//! Unix sockets at a path: bound with the right rights, found, and gone when the port is. unix(7).

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, socket_with};

/// A socket bound to a path, which is removed with it.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    fd: OwnedFd,
    path: PathBuf,
    /// Device and inode, to remove no other socket at the path.
    identity: (u64, u64),
}

impl BoundSocket {
    /// Binds a non-blocking socket to `path`, whose folder is made if need be. What a process that no longer lives left
    /// there is replaced. The socket is its owner's and its group's: [`MODE`].
    ///
    /// # Errors
    /// `AddrInUse` if another process has bound it, `AlreadyExists` if something else than a socket is there.
    pub(crate) fn bind(path: &Path, kind: SocketType) -> io::Result<Self> {
        make_room(path, kind)?;
        let fd = new_socket(kind)?;
        // The file is made with these rights less the umask's, so that at no time anybody else can open it.
        fchmod(&fd, Mode::from_raw_mode(MODE))?;
        bind(&fd, &SocketAddrUnix::new(path)?)?;
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { fd, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
    }
}

impl AsFd for BoundSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A non-blocking socket that is connected to the one at `path`.
pub(crate) fn connect_to(path: &Path, kind: SocketType) -> io::Result<OwnedFd> {
    let fd = new_socket(kind)?;
    connect(&fd, &SocketAddrUnix::new(path)?)?;
    Ok(fd)
}

/// Makes the folder, and sees to it that nobody who lives is at `path`.
fn make_room(path: &Path, kind: SocketType) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match connect_to(path, kind) {
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::CONNREFUSED) => fs::remove_file(path),
            // Its queue is full, or it is of another kind: it lives.
            Some(Errno::AGAIN | Errno::PROTOTYPE) => Err(io::ErrorKind::AddrInUse.into()),
            _ => Err(error),
        },
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn new_socket(kind: SocketType) -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
}

/// The user that the switch runs as, and the group: that of the folder, where the folder has the set-group-ID bit.
pub(crate) const MODE: u32 = 0o660;

//! Descriptors that make whoever handles them wait.
#![allow(dead_code, reason = "not every test needs all of them")]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long these descriptors can make somebody wait.
pub const LONG: Duration = Duration::from_secs(8);

/// Does something that must not wait for anybody.
#[track_caller]
pub fn at_once<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = act();
    assert!(start.elapsed() < LONG / 4, "{what} took {:?}", start.elapsed());
    result
}

/// A TCP socket whose last close waits until the other side has taken what was sent, and it takes nothing.
pub struct Lingering {
    socket: OwnedFd,
    _other: TcpStream,
}

impl Lingering {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        while socket.write(&[0; 65_536]).is_ok() {}
        socket.set_nonblocking(false).unwrap();
        rustix::net::sockopt::set_socket_linger(&socket, Some(LONG)).unwrap();
        Self { socket: socket.into(), _other: other }
    }

    /// Sends it by `send`, which must leave its last copy to the receiver.
    #[allow(clippy::used_underscore_binding, reason = "nobody else reads it")]
    pub fn give(self, send: impl FnOnce(BorrowedFd<'_>)) -> TcpStream {
        send(self.socket.as_fd());
        self._other
    }
}

/// A file system in user space whose only file, once it is open, answers nothing any more: neither questions about it nor
/// its flush. linux/fuse.h.
pub struct Fuse {
    pub file: File,
    _device: Arc<File>,
    silent: Arc<AtomicBool>,
}

impl Fuse {
    /// Seen by nobody but through its file.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tapio-fuse-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let (device, silent) = (Arc::new(device), Arc::new(AtomicBool::new(false)));
        let (at, served, quiet) = (folder.clone(), device.clone(), silent.clone());
        // In a mount namespace that ends with the thread, but for the open file.
        let file = thread::spawn(move || open_within(&at, served, quiet)).join().unwrap();
        fs::remove_dir(&folder).unwrap();
        silent.store(true, Ordering::Relaxed);
        Self { file, _device: device, silent }
    }
}

impl Drop for Fuse {
    /// Lets those go on who wait, lest a test that fails hangs.
    fn drop(&mut self) {
        self.silent.store(false, Ordering::Relaxed);
    }
}

fn open_within(folder: &Path, device: Arc<File>, silent: Arc<AtomicBool>) -> File {
    // SAFETY: this thread ends soon, and its mounts are nobody else's.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    mount(None, Path::new("/"), libc::MS_REC | libc::MS_PRIVATE, "");
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
    mount(Some(c"fuse"), folder, libc::MS_NOSUID, &options);
    thread::spawn(move || serve(&device, &silent));
    let path: PathBuf = folder.join("memory");
    File::options().read(true).write(true).open(path).unwrap()
}

fn mount(kind: Option<&std::ffi::CStr>, at: &Path, flags: libc::c_ulong, options: &str) {
    let at = std::ffi::CString::new(at.to_str().unwrap()).unwrap();
    let options = std::ffi::CString::new(options).unwrap();
    let name = kind.unwrap_or(c"none").as_ptr();
    let kind = kind.map_or(std::ptr::null(), std::ffi::CStr::as_ptr);
    // SAFETY: all are strings that end with a zero and live.
    let result = unsafe { libc::mount(name, at.as_ptr(), kind, flags, options.as_ptr().cast()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Answers until it is to be silent; what comes then waits for [`LONG`] or the end of the test.
fn serve(mut device: &File, silent: &AtomicBool) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(len) = device.read(&mut buffer) {
        let word = |at: usize| u32::from_le_bytes(buffer[at..at + 4].try_into().unwrap());
        let (opcode, unique) = (word(4), buffer[8..16].to_vec());
        assert!(len >= 40);
        let body = match opcode {
            INIT => [[7, 31, 0, 0, 0, 4096, 1, 0].map(u32::to_le_bytes).concat(), vec![0; 32]].concat(),
            LOOKUP => [[2_u64, 0, 3600, 3600, 0].map(u64::to_le_bytes).concat(), attributes()].concat(),
            GETATTR => [[3600_u64, 0].map(u64::to_le_bytes).concat(), attributes()].concat(),
            OPEN => vec![0; 16],
            FORGET => continue,
            _ => Vec::new(),
        };
        let start = Instant::now();
        while silent.load(Ordering::Relaxed) && start.elapsed() < LONG {
            thread::sleep(Duration::from_millis(10));
        }
        let len = (16 + body.len()) as u32;
        let reply = [&len.to_le_bytes()[..], &[0; 4], &unique, &body].concat();
        // Whoever asked may have gone.
        let _ = device.write(&reply);
    }
}

/// Of a file of 1 GiB.
fn attributes() -> Vec<u8> {
    let times_and_size = [2_u64, 1 << 30, 0, 0, 0, 0].map(u64::to_le_bytes).concat();
    let mode_and_links = [0_u32, 0, 0, 0o100_666, 1, 0, 0, 0, 4096, 0].map(u32::to_le_bytes).concat();
    [times_and_size, mode_and_links].concat()
}

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const INIT: u32 = 26;

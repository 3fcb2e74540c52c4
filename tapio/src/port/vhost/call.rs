//! Tells a guest, through its eventfd, that there are used buffers.
//!
//! Not by write(2): that waits while the counter is full, unless the file is non-blocking, and whoever else holds the file
//! can take O_NONBLOCK off it and fill the counter. Within the kernel nobody waits for an eventfd, so the kernel is asked
//! to signal it: io_submit(2) with a read that has nothing to read, whose completion the eventfd is told of. The counter
//! stays full then, and the guest was told often enough. It is one system call, as the write would be, once per burst whose
//! guest wants to be told.
//!
//! What wakes up inside of that call is the guest's doing: a hundred thousand instances of epoll take 13 ms, in which the
//! kernel does nothing else. So a guest whose calls are dear is told by the port's own thread, and all such guests share
//! a fifth of a processor.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::io::Errno;

use crate::port::vhost::keeper::{GuestFd, Keeper};
use crate::port::vhost::price::Price;

/// The eventfd of a ring.
#[derive(Debug)]
pub(super) struct Call {
    eventfd: GuestFd,
    /// The port's thread is to signal it.
    is_waiting: AtomicBool,
}

impl Call {
    pub(super) fn new(eventfd: GuestFd) -> Arc<Self> {
        Arc::new(Self { eventfd, is_waiting: AtomicBool::new(false) })
    }

    /// Tells the guest. Where that is dear, or the kernel can't be asked to, the port's own thread does, and waits if it
    /// must.
    pub(super) fn tell(self: &Arc<Self>, keeper: &Keeper) {
        match signaller() {
            Some(signaller) if !keeper.price.is_high() => {
                keeper.price.pay(|| signaller.signal(self.eventfd.as_fd()));
            }
            _ if self.is_waiting.swap(true, Ordering::SeqCst) => {}
            _ => keeper.closer.later(ToldWhenDropped { call: self.clone(), price: keeper.price.clone() }),
        }
    }
}

/// Opens what calls are made with, for a process that can't open anything later.
pub(crate) fn prepare() {
    // Without it, guests are told in another way.
    let _ = signaller();
}

/// Whether `fd` is an eventfd. In a sandbox there is no /proc that would say so. A kernel without aio(7) has to: a name of a
/// file starts with a slash, whoever made it, and this one doesn't.
pub(super) fn is_eventfd(fd: BorrowedFd<'_>) -> bool {
    match signaller() {
        Some(signaller) => signaller.takes(fd),
        None => fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
            .is_ok_and(|kind| kind.as_os_str() == "anon_inode:[eventfd]"),
    }
}

fn signaller() -> Option<&'static Signaller> {
    static SIGNALLER: OnceLock<Option<Signaller>> = OnceLock::new();
    SIGNALLER.get_or_init(|| Signaller::new().ok()).as_ref()
}

/// The kernel's queue for asynchronous input and output. aio(7).
#[derive(Debug)]
struct Signaller {
    context: AioContext,
    /// /dev/null.
    nothing: OwnedFd,
}

impl Signaller {
    fn new() -> io::Result<Self> {
        let nothing = File::open("/dev/null")?.into();
        let mut context = 0;
        // SAFETY: the kernel writes the new context to `context`, which lives.
        let result = unsafe { libc::syscall(libc::SYS_io_setup, QUEUE, &raw mut context) };
        if result == 0 { Ok(Self { context, nothing }) } else { Err(io::Error::last_os_error()) }
    }

    fn signal(&self, eventfd: BorrowedFd<'_>) {
        // It can't be refused but for lack of room.
        let _ = self.ask(OPCODE_READ, eventfd);
    }

    /// Whether the kernel can signal `fd`: a write to what is open for reading alone fails when that is known, and signals
    /// nothing.
    fn takes(&self, fd: BorrowedFd<'_>) -> bool {
        self.ask(OPCODE_WRITE, fd) == Err(Errno::BADF)
    }

    fn ask(&self, opcode: u16, eventfd: BorrowedFd<'_>) -> Result<(), Errno> {
        // Full of completions that nobody has looked at, once in a while; several threads may find so at once.
        for _ in 0..TRIES {
            match self.submit(opcode, eventfd) {
                Err(Errno::AGAIN) => self.forget_completions(),
                answer => return answer,
            }
        }
        Err(Errno::AGAIN)
    }

    fn submit(&self, opcode: u16, eventfd: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut request = Request {
            key: 0,
            opcode,
            file: self.nothing.as_raw_fd().cast_unsigned(),
            flags: FLAG_EVENTFD,
            eventfd: eventfd.as_raw_fd().cast_unsigned(),
            ..Request::default()
        };
        let mut list = &raw mut request;
        // SAFETY: one request, which the kernel copies before it returns. It moves no bytes, so it has no buffer.
        let submitted = unsafe { libc::syscall(libc::SYS_io_submit, self.context, 1_i64, &raw mut list) };
        if submitted == 1 {
            return Ok(());
        }
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::AGAIN))
    }

    #[cold]
    fn forget_completions(&self) {
        let mut events = [[0_u64; 4]; QUEUE as usize];
        let mut no_time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let (least, most) = (0_i64, QUEUE);
        // SAFETY: there is room for `most` events of 32 bytes each, and the kernel writes nothing else.
        unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.context,
                least,
                most,
                events.as_mut_ptr(),
                &raw mut no_time,
            )
        };
    }
}

/// `struct iocb` of linux/aio_abi.h on a little-endian machine.
#[repr(C)]
#[derive(Default)]
struct Request {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    eventfd: u32,
}

const _: () = assert!(size_of::<Request>() == 64);

/// What the port's thread does.
struct ToldWhenDropped {
    call: Arc<Call>,
    price: Arc<Price>,
}

impl Drop for ToldWhenDropped {
    fn drop(&mut self) {
        // What comes from now on is told again.
        self.call.is_waiting.store(false, Ordering::SeqCst);
        let eventfd = self.call.eventfd.as_fd();
        match signaller() {
            Some(signaller) => self.price.pay_slowly(|| signaller.signal(eventfd)),
            None => _ = rustix::io::write(eventfd, &1_u64.to_ne_bytes()),
        }
    }
}

type AioContext = libc::c_ulong;

/// IOCB_CMD_PREAD.
const OPCODE_READ: u16 = 0;
/// IOCB_CMD_PWRITE.
const OPCODE_WRITE: u16 = 1;
/// IOCB_FLAG_RESFD.
const FLAG_EVENTFD: u32 = 1;
/// Completions that fit. The system has room for `fs.aio-max-nr`, 65 536, of all processes.
const QUEUE: i64 = 64;
const TRIES: usize = 4;

#[cfg(test)]
mod tests {
    use rustix::event::{EventfdFlags, epoll, eventfd};
    use rustix::io::{read, write};

    use super::*;

    fn count(eventfd: &OwnedFd) -> u64 {
        let mut count = [0; 8];
        read(eventfd, &mut count).unwrap();
        u64::from_ne_bytes(count)
    }

    #[test]
    fn every_signal_is_counted() {
        let (signaller, eventfd) =
            (Signaller::new().unwrap(), eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap());
        (0..1000).for_each(|_| signaller.signal(eventfd.as_fd()));
        assert_eq!(count(&eventfd), 1000);
    }

    #[test]
    fn an_eventfd_is_told_from_all_else_and_not_signalled_by_that() {
        let signaller = Signaller::new().unwrap();
        let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        assert!((0..1000).all(|_| signaller.takes(eventfd.as_fd())));
        assert_eq!(read(&eventfd, &mut [0; 8]), Err(Errno::AGAIN));
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let others = [socket.into(), epoll, File::open("/dev/null").unwrap().into()];
        assert!(others.iter().all(|other| !signaller.takes(other.as_fd())));
    }

    #[test]
    fn a_full_counter_that_blocks_writers_keeps_nobody_waiting() {
        let (signaller, eventfd) = (Signaller::new().unwrap(), eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        write(&eventfd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        (0..200).for_each(|_| signaller.signal(eventfd.as_fd()));
        assert!(count(&eventfd) >= u64::MAX - 1);
    }
}

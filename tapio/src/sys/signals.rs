//! SIGTERM, SIGINT and SIGHUP as events of the driver's loop instead of interruptions. signalfd(2).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

/// What the process was asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGTERM: end.
    Terminate,
    /// SIGINT: end, says the terminal.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Hangup,
}

/// The signals sent to this process from now on. Children started with `std::process` get them as usual.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Takes the signals over. To be called before other threads are started: one that doesn't inherit the mask would
    /// still be interrupted.
    ///
    /// # Errors
    /// The limit on open files is reached.
    pub fn new() -> io::Result<Self> {
        let set = set_of(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP]);
        block(&set)?;
        signalfd(&set).map(Self)
    }

    /// Asks for an event under `token` when [`next`](Self::next) has something.
    ///
    /// # Errors
    /// The system's limit on watched descriptors is reached.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(registry, token, Interest::READABLE)
    }

    /// The next signal; `None` if there is none now. Events are edge-triggered: ask until `None`.
    #[allow(clippy::should_implement_trait, reason = "an iterator that ends and goes on would mislead")]
    pub fn next(&mut self) -> Option<Signal> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        while rustix::io::read(&self.0, &mut info).is_ok() {
            // The number comes first.
            let &[a, b, c, d, ..] = &info;
            match i32::from_ne_bytes([a, b, c, d]) {
                libc::SIGTERM => return Some(Signal::Terminate),
                libc::SIGINT => return Some(Signal::Interrupt),
                libc::SIGHUP => return Some(Signal::Hangup),
                _ => {}
            }
        }
        None
    }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised by sigemptyset, which can't fail with a valid pointer.
    let mut set = unsafe { set.assume_init() };
    for &signal in signals {
        // SAFETY: the set is initialised; a signal number that doesn't exist would be refused.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

/// pthread_sigmask(3): keeps the signals from interrupting this thread and those that it starts.
fn block(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is initialised, and the old mask isn't asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set, ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn signalfd(set: &libc::sigset_t) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised; -1 asks for a new descriptor.
    match unsafe { libc::signalfd(-1, set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: signalfd has just made the descriptor, and nobody else knows it.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::time::Duration;

    fn raise(signal: i32) {
        // SAFETY: raise(3) sends a signal to this thread, which has it blocked.
        assert_eq!(unsafe { libc::raise(signal) }, 0);
    }

    #[test]
    fn signals_are_events_and_come_one_by_one() {
        let mut signals = Signals::new().unwrap();
        let mut poll = Poll::new().unwrap();
        signals.register(poll.registry(), Token(7)).unwrap();
        assert_eq!(signals.next(), None);
        raise(libc::SIGHUP);
        raise(libc::SIGTERM);
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert_eq!(events.iter().next().unwrap().token(), Token(7));
        let mut seen = [signals.next().unwrap(), signals.next().unwrap()];
        seen.sort_by_key(|signal| *signal as u8);
        assert_eq!(seen, [Signal::Terminate, Signal::Hangup]);
        assert_eq!(signals.next(), None);
    }
}

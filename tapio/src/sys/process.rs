//! What the core may not ask for itself: time and randomness; and processes that end with this one.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use packet::Millis;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, set_parent_process_death_signal,
};
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, clock_gettime};

/// The monotonic clock, from its creation on.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now, at [`START`](Self::START).
    #[allow(clippy::disallowed_methods, reason = "this is the place where time comes from")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// What the clock shows at first: more than a year, so that what a process before has last used months ago, as the
    /// longest timeouts allow, was used at a moment that this clock knows.
    pub const START: Millis = Millis::from_secs(366 * 86_400);

    /// Time since the start, and [`START`](Self::START). About 20 ns: once per wake-up, not per frame.
    pub fn now(&self) -> Millis {
        Self::at(self.nanos())
    }

    /// What [`now`](Self::now) was when [`nanos`](Self::nanos) was this.
    pub fn at(nanos: u64) -> Millis {
        Self::START + Millis::new(nanos / 1_000_000)
    }

    /// Nanoseconds since the start, to measure what something takes. As dear as [`now`](Self::now).
    pub fn nanos(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The processor's time that this thread has used, in nanoseconds. A system call.
pub fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Tells when a process ends: an event when it does, never one for another process that gets its number. pidfd_open(2),
/// Linux 5.3.
#[derive(Debug)]
pub struct ProcessWatch {
    _process: OwnedFd,
}

impl ProcessWatch {
    /// Asks for an event under `token` when the process `pid` ends.
    ///
    /// # Errors
    /// There is no such process, or the kernel can't tell.
    pub fn new(pid: u32, registry: &Registry, token: Token) -> io::Result<Self> {
        let pid = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        SourceFd(&process.as_raw_fd()).register(registry, token, Interest::READABLE)?;
        Ok(Self { _process: process })
    }
}

/// Has the kernel kill the process that `command` starts when the calling thread ends, however it does. prctl(2),
/// PR_SET_PDEATHSIG.
pub fn end_with_this_thread(command: &mut Command) -> &mut Command {
    let parent = getpid();
    let before_exec = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended just before.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    };
    // SAFETY: between fork and exec, this makes two system calls and allocates nothing.
    unsafe { command.pre_exec(before_exec) }
}

/// `N` bytes (at most 256) from the kernel's random number generator, to seed hash keys and port choice.
///
/// # Errors
/// The kernel is older than 3.17, or a sandbox forbids getrandom(2).
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    const { assert!(N <= 256, "longer requests may come back short") };
    let mut bytes = [0; N];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_starts_after_a_year_and_moves() {
        let clock = Clock::start();
        std::thread::sleep(std::time::Duration::from_millis(5));
        let passed = clock.now().since(Clock::START);
        assert!(passed >= Millis::new(5) && passed < Millis::from_secs(60));
    }

    #[test]
    fn two_seeds_differ() {
        assert_ne!(random_bytes::<16>().unwrap(), random_bytes::<16>().unwrap());
    }
}

//! What a process gives up before it looks at anything that others send.
//!
//! ```text
//! confine ─┬─ rights   capabilities, securebits, another user, no_new_privs, no access by other processes
//!          ├─ files    an empty root of its own, and no path in landlock
//!          └─ calls    the system calls that it makes, and no other: seccomp
//! ```
//!
//! What was opened before stays open: the sandbox is about what there is to be had beside it. Each part stands for itself,
//! so a kernel that lacks one leaves the others.
//!
//! A call that is not listed ends the process by SIGSYS, whose siginfo has the call's number and its place. Some calls, which
//! libraries make of their own accord and do without, such as opening /proc/self/maps to say where a panic was, are answered
//! as if the kernel had none.

mod calls;
mod files;
mod filter;
mod rights;

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::RawFd;

use rustix::process::{parent_process_death_signal, set_parent_process_death_signal};
use rustix::thread::set_no_new_privs;

pub use self::calls::system_calls;
pub use self::rights::User;
use crate::port::vhost;

/// What is left to a process that confines itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sandbox {
    /// Whom it becomes; `None`: it stays who it is, without any right that root has.
    pub user: Option<User>,
    /// The socket by which it talks to whoever started it. Only there may it send descriptors, and it can't be closed.
    pub channel: Option<RawFd>,
    /// Without them, files and system calls are as far away as they are for anybody: for debuggers.
    pub is_open: bool,
}

/// A part of the sandbox that couldn't be had. The others are there.
#[derive(Debug)]
#[non_exhaustive]
pub enum Gap {
    /// The kernel can't keep files away by rules.
    Landlock(&'static str),
    /// There is no empty folder to be the root.
    Root(io::Error),
    /// Capabilities could be had again by a program that gives them; there is none in the sandbox.
    Bounds(io::Error),
    /// It is still who it was.
    User(io::Error),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Landlock(what) => write!(f, "landlock: {what}"),
            Self::Root(error) => write!(f, "no empty root folder: {error}; needs CAP_SYS_ADMIN"),
            Self::Bounds(error) => {
                write!(f, "the bounds of capabilities stay: {error}; needs CAP_SETPCAP")
            }
            Self::User(error) => write!(f, "no other user: {error}; needs CAP_SETUID and CAP_SETGID"),
        }
    }
}

/// Why a process could not be confined: it must not go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfineError {
    /// What is given up is given up by one thread.
    Threads,
    /// The kernel has refused this.
    Refused(&'static str, io::Error),
}

impl fmt::Display for ConfineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads => f.write_str("a process with several threads can't be confined"),
            Self::Refused(what, error) => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for ConfineError {}

impl ConfineError {
    fn when<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Refused(what, error.into())
    }
}

/// Gives up what `sandbox` doesn't leave, for this process and what it starts, for good. To be called before the first thread
/// is started, and after everything is open.
///
/// # Errors
/// The process has several threads, or a part couldn't be had without which there is no sandbox: system calls, capabilities,
/// no_new_privs. Then some of it may be gone already.
pub fn confine(sandbox: &Sandbox) -> Result<Vec<Gap>, ConfineError> {
    if fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
        return Err(ConfineError::Threads);
    }
    // What would be opened only when it is needed.
    vhost::prepare_calls();
    let mut gaps = Vec::new();
    // Whoever changes its rights is no longer killed with its parent.
    let signal =
        parent_process_death_signal().map_err(ConfineError::when("ask for the signal at the end"))?;
    if !sandbox.is_open {
        gaps.extend(files::leave().err().map(Gap::Root));
    }
    gaps.extend(rights::bound().err().map(Gap::Bounds));
    if let Some(user) = sandbox.user {
        gaps.extend(rights::become_user(user).err().map(Gap::User));
    }
    rights::drop_all().map_err(ConfineError::when("give up capabilities"))?;
    set_no_new_privs(true).map_err(ConfineError::when("give up new privileges"))?;
    set_parent_process_death_signal(signal).map_err(ConfineError::when("end with the parent"))?;
    if !sandbox.is_open {
        gaps.extend(files::forbid().err().map(Gap::Landlock));
        filter::install(sandbox.channel).map_err(ConfineError::when("limit system calls"))?;
    }
    Ok(gaps)
}

#[cfg(test)]
mod tests;

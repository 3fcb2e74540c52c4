//! No files. mount_namespaces(7), pivot_root(2), landlock(7).
//!
//! The empty root is for kernels without landlock, and for what landlock doesn't watch: connecting to a unix socket by its
//! path, and looking whether a path is there.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{chdir, pivot_root};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Goes over to a root folder that is empty and can't be written to. What is open stays so.
pub(super) fn leave() -> io::Result<()> {
    // SAFETY: no descriptor is concerned, and there is one thread.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWIPC) }?;
    // Others see nothing of what is mounted here.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    mount("tmpfs", PLACE, "tmpfs", flags, c"nr_inodes=1,nr_blocks=1,mode=0555")?;
    chdir(PLACE)?;
    // The old root ends up above the new one, from where it is taken away.
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(chdir("/")?)
}

/// No file can be opened, made or changed by its path, no port of the host used, and no process beyond this one signalled.
/// What is lacking, if the kernel doesn't know all of it.
pub(super) fn forbid() -> Result<(), &'static str> {
    match rule() {
        Ok(RulesetStatus::FullyEnforced) => Ok(()),
        Ok(RulesetStatus::PartiallyEnforced) => {
            Err("this kernel knows a part of it; from Linux 6.12 on it knows what is asked for")
        }
        Ok(RulesetStatus::NotEnforced) | Err(_) => Err("this kernel has none, or it is off; Linux 5.13"),
    }
}

/// Everything is forbidden, and there is no rule that allows any of it.
fn rule() -> Result<RulesetStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?;
    Ok(ruleset.create()?.restrict_self()?.ruleset)
}

/// A folder that every system has. What is in it is out of sight as soon as the root is another one.
const PLACE: &str = "/proc";
/// Linux 6.12: files, devices, TCP, abstract sockets, signals.
const KNOWN: ABI = ABI::V6;

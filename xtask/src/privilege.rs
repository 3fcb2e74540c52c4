//! How we get to make network namespaces and taps: as root, or as root of a user namespace.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::{fs, io};

/// By what right namespaces are made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// We are root.
    Root,
    /// We are not, but may make a user namespace in which we are.
    UserNamespace,
}

/// New user, network and mount namespaces, with a `/run/netns` of their own for `ip netns`.
const UNSHARE: [&str; 3] = ["--user", "--map-root-user", "--net"];
const SETUP: &str =
    "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up && exec \"$0\" \"$@\"";

/// Where taps come from. What a user may do with a tap is a matter of the namespace it is in.
const TUN: &str = "/dev/net/tun";

/// Finds out which; the error says what would be needed.
pub fn find() -> io::Result<Privilege> {
    if fs::metadata("/proc/self")?.uid() == 0 {
        return Ok(Privilege::Root);
    }
    let tried = in_user_namespace("true").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if tried.is_ok_and(|status| status.success()) {
        if let Err(error) = fs::File::options().read(true).write(true).open(TUN) {
            let advice = "run this as root, or let all users open it, as most systems do: chmod 666";
            return Err(io::Error::new(error.kind(), format!("cannot open {TUN}: {error}; {advice} {TUN}")));
        }
        println!("xtask: not root, using a user namespace");
        return Ok(Privilege::UserNamespace);
    }
    Err(io::Error::other(
        "taps and network namespaces need root, or a kernel that lets users make user namespaces \
         (sysctl user.max_user_namespaces above 0 and, where they exist, kernel.unprivileged_userns_clone=1 and \
         kernel.apparmor_restrict_unprivileged_userns=0). Run this as root, or allow them",
    ))
}

/// `program` as root of fresh namespaces; arguments may be added.
pub fn in_user_namespace(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(UNSHARE).args(["--mount", "sh", "-c", SETUP, program]);
    command
}

//! What lets an ordinary user make network devices. user_namespaces(7).

use std::fs;
use std::io;

use rustix::process::{getgid, getuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Makes an ordinary user root in a user namespace and a network namespace of its own, where taps may be made. To be
/// called before any thread is started. user_namespaces(7).
///
/// # Errors
/// The process has several threads, or the system forbids user namespaces to users.
pub fn enter_user_namespace() -> io::Result<()> {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    // SAFETY: neither flag concerns memory or the table of file descriptors.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn in_a_user_namespace_one_is_root_and_may_make_taps() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "id -u && ip tuntap add t0 mode tap && ip -o link show t0"]);
        // SAFETY: the child has one thread, and what it runs before exec is system calls and one small allocation,
        // which glibc allows after fork.
        unsafe { shell.pre_exec(enter_user_namespace) };
        let output = shell.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.starts_with("0\n") && text.contains("t0"), "{output:?}");
    }
}

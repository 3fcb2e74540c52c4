//! The system calls that a confined process makes: this table is the filter, and the list in docs/security.md.
//!
//! None of them opens anything, makes a socket or a process, or reaches another process. What is called for each burst
//! stands without a test of its arguments where that can be: the kernel then answers from a bit map, without running the
//! filter.

use std::ffi::{c_int, c_long};

/// A system call, and when it may be made.
pub(super) struct Call {
    pub number: c_long,
    name: &'static str,
    /// One of these must hold, of each all tests. Without any, it may always be made.
    pub only: &'static [&'static [Test]],
    /// The same in words.
    words: &'static str,
    what_for: &'static str,
}

/// What an argument must be. They are counted from 0.
#[derive(Clone, Copy)]
pub(super) enum Test {
    /// This `int`.
    Int(u8, c_int),
    /// A word of which no other bits are set.
    Within(u8, u64),
    /// This `int`, without regard to these bits.
    IntBut(u8, c_int, c_int),
    /// Exactly this word.
    Word(u8, u64),
    /// The process itself.
    Itself(u8),
    /// The socket by which it talks to whoever started it.
    Channel(u8),
    /// Any descriptor but that one.
    NotChannel(u8),
}

use Test::{Channel, Int, IntBut, Itself, NotChannel, Within, Word};

/// What is made, by what it is for.
pub(super) const LISTED: &[Call] = &[
    call(libc::SYS_read, "read", "frames of taps; events of the poller"),
    call(libc::SYS_write, "write", "frames to taps; wake-ups; the log"),
    call(libc::SYS_recvfrom, "recvfrom", "frames of sockets"),
    call(libc::SYS_recvmsg, "recvmsg", "frames of packet sockets; messages with descriptors"),
    call(libc::SYS_sendto, "sendto", "frames to sockets").only(&[&[Word(4, 0)]], "to no other address"),
    call(libc::SYS_sendmsg, "sendmsg", "reports to the keeper").only(&[&[Channel(0)]], "to the keeper"),
    call(libc::SYS_accept4, "accept4", "guests at listening sockets").only(
        &[&[Word(1, 0), Int(3, libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)]],
        "SOCK_NONBLOCK, SOCK_CLOEXEC",
    ),
    call(libc::SYS_shutdown, "shutdown", "guests that are let go"),
    call(libc::SYS_getsockopt, "getsockopt", "how many frames a packet socket has missed").only(
        &[
            &[Int(1, libc::SOL_PACKET), Int(2, libc::PACKET_STATISTICS)],
            &[Int(1, libc::SOL_SOCKET), Int(2, libc::SO_ERROR)],
        ],
        "PACKET_STATISTICS, SO_ERROR",
    ),
    call(libc::SYS_ioctl, "ioctl", "whether a device is still there").only(
        &[&[Int(1, libc::SIOCGIFNAME as c_int)], &[Int(1, libc::SIOCGIFFLAGS as c_int)]],
        "SIOCGIFNAME, SIOCGIFFLAGS",
    ),
    call(libc::SYS_io_submit, "io_submit", "telling guests of used buffers"),
    call(libc::SYS_io_getevents, "io_getevents", "the same"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_epoll_wait, "epoll_wait", "waiting"),
    call(libc::SYS_epoll_pwait, "epoll_pwait", "waiting"),
    call(libc::SYS_epoll_ctl, "epoll_ctl", "descriptors that come and go"),
    call(libc::SYS_fcntl, "fcntl", "copies of descriptors; guests' memory that can't be cut short").only(
        &[
            &[Int(1, libc::F_GETFD)],
            &[Int(1, libc::F_GETFL)],
            &[Int(1, libc::F_DUPFD_CLOEXEC)],
            &[Int(1, libc::F_GET_SEALS)],
            &[Int(1, libc::F_ADD_SEALS), Word(2, libc::F_SEAL_SHRINK as u64)],
        ],
        "F_GETFD, F_GETFL, F_DUPFD_CLOEXEC, F_GET_SEALS, F_ADD_SEALS with F_SEAL_SHRINK",
    ),
    call(libc::SYS_fstat, "fstat", "what a guest has sent"),
    call(libc::SYS_close, "close", "descriptors").only(&[&[NotChannel(0)]], "not the keeper's"),
    call(libc::SYS_mmap, "mmap", "memory, rings, guests' memory").only(&[&[Within(2, DATA)]], WITHOUT_EXEC),
    call(libc::SYS_mprotect, "mprotect", "memory").only(&[&[Within(2, DATA)]], WITHOUT_EXEC),
    call(libc::SYS_munmap, "munmap", "memory"),
    call(libc::SYS_mremap, "mremap", "memory"),
    call(libc::SYS_brk, "brk", "memory"),
    call(libc::SYS_madvise, "madvise", "memory").only(
        &[&[Int(2, libc::MADV_DONTNEED)], &[Int(2, libc::MADV_FREE)], &[Int(2, libc::MADV_HUGEPAGE)]],
        "MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE",
    ),
    call(libc::SYS_clock_gettime, "clock_gettime", "time"),
    call(libc::SYS_clock_nanosleep, "clock_nanosleep", "time"),
    call(libc::SYS_getrandom, "getrandom", "keys of hashes"),
    call(libc::SYS_futex, "futex", "threads").only(
        &[
            &[IntBut(1, libc::FUTEX_WAIT, ANY_CLOCK)],
            &[IntBut(1, libc::FUTEX_WAKE, ANY_CLOCK)],
            &[IntBut(1, libc::FUTEX_WAIT_BITSET, ANY_CLOCK)],
            &[IntBut(1, libc::FUTEX_WAKE_BITSET, ANY_CLOCK)],
        ],
        "FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET",
    ),
    call(libc::SYS_clone, "clone", "threads").only(&[&[Word(0, THREAD)]], "of threads of this process"),
    call(libc::SYS_set_robust_list, "set_robust_list", "threads"),
    call(libc::SYS_rseq, "rseq", "threads"),
    call(libc::SYS_sched_yield, "sched_yield", "threads"),
    call(libc::SYS_sched_getaffinity, "sched_getaffinity", "threads"),
    call(libc::SYS_sigaltstack, "sigaltstack", "threads"),
    call(libc::SYS_gettid, "gettid", "threads"),
    call(libc::SYS_getpid, "getpid", "threads"),
    call(libc::SYS_prctl, "prctl", "names of threads and their memory")
        .only(&[&[Int(0, libc::PR_SET_NAME)], &[Int(0, libc::PR_SET_VMA)]], "PR_SET_NAME, PR_SET_VMA"),
    call(libc::SYS_exit, "exit", "threads"),
    call(libc::SYS_exit_group, "exit_group", "the end"),
    call(libc::SYS_rt_sigaction, "rt_sigaction", "guests' memory that is cut short; the end"),
    call(libc::SYS_rt_sigprocmask, "rt_sigprocmask", "the same"),
    call(libc::SYS_rt_sigreturn, "rt_sigreturn", "the same"),
    call(libc::SYS_tgkill, "tgkill", "its own end").only(&[&[Itself(0)]], "of this process"),
    call(libc::SYS_restart_syscall, "restart_syscall", "going on after SIGCONT"),
];

/// What libraries try and do without. All are answered ENOSYS: nothing is opened.
pub(super) const REFUSED: &[Call] = &[
    // Its flags are in memory, where no filter sees them; without it, clone is called.
    call(libc::SYS_clone3, "clone3", "threads: clone is called then"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_open, "open", "places of a panic, settings of the allocator"),
    call(libc::SYS_openat, "openat", "places of a panic, settings of the allocator"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_readlink, "readlink", "places of a panic"),
    call(libc::SYS_readlinkat, "readlinkat", "places of a panic"),
    call(libc::SYS_newfstatat, "newfstatat", "places of a panic"),
    call(libc::SYS_statx, "statx", "places of a panic"),
    call(libc::SYS_getcwd, "getcwd", "places of a panic"),
    call(libc::SYS_sysinfo, "sysinfo", "settings of the allocator"),
];

const fn call(number: c_long, name: &'static str, what_for: &'static str) -> Call {
    Call { number, name, only: &[], words: "", what_for }
}

impl Call {
    const fn only(self, only: &'static [&'static [Test]], words: &'static str) -> Self {
        Self { only, words, ..self }
    }
}

/// The system calls that a [confined](super::confine) process may make, as docs/security.md has them.
pub fn system_calls() -> String {
    let row = |call: &Call| format!("| {} | {} | {} |\n", call.name, call.words, call.what_for);
    let listed: String = LISTED.iter().map(row).collect();
    let refused: Vec<&str> = REFUSED.iter().map(|call| call.name).collect();
    let refused = refused.join(", ");
    format!(
        "| system call | only | for |\n|---|---|---|\n{listed}\nLibraries try these, and do without; they are answered \
         as if the kernel had none:\n{refused}.\n"
    )
}

const DATA: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
const WITHOUT_EXEC: &str = "without PROT_EXEC";
const ANY_CLOCK: c_int = libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME;
/// As pthread_create(3) has them.
const THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID) as u64;

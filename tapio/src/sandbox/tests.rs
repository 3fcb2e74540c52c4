//! Processes that confine themselves, and then try.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, test_kill_process, waitpid};

use super::calls::{Call, LISTED, REFUSED};
use super::*;
use crate::enter_user_namespace;

/// A process of one thread that runs `work`: its end. What `work` returns is its exit code.
struct Forked(Pid);

impl Forked {
    fn start(work: impl FnOnce() -> i32) -> Self {
        // SAFETY: the child has one thread, and allocates, which glibc allows after fork; other locks it takes are its own.
        match unsafe { libc::fork() } {
            0 => {
                let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED);
                // SAFETY: it doesn't return to the tests of the process that it is a copy of.
                unsafe { libc::_exit(code) }
            }
            child => Self(Pid::from_raw(child).expect("there is room for a process")),
        }
    }

    fn end(self) -> WaitStatus {
        waitpid(Some(self.0), WaitOptions::empty()).unwrap().unwrap().1
    }
}

fn run(work: impl FnOnce() -> i32) -> Option<i32> {
    Forked::start(work).end().exit_status()
}

/// All that there is; gaps are the machine's affair.
fn confined() -> Vec<Gap> {
    confine(&Sandbox::default()).unwrap()
}

/// Makes the call `number` with each argument the same, and says what came of it in one byte.
fn try_call(number: i64, argument: i64, report: &UnixStream) -> i32 {
    let report = report.as_raw_fd();
    // What else there is takes longer, and stops no call.
    set_no_new_privs(true).unwrap();
    filter::install(None).unwrap();
    // SAFETY: nothing of this process is needed after the call but the descriptor.
    let result = unsafe { libc::syscall(number, argument, argument, argument, argument, argument, argument) };
    let refused = result == -1 && Errno::from_io_error(&io::Error::last_os_error()) == Some(Errno::NOSYS);
    let byte = [u8::from(refused)];
    // SAFETY: the byte lives.
    unsafe { libc::write(report, byte.as_ptr().cast(), 1) };
    0
}

/// What came of one call in a process of its own.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    /// SIGSYS.
    Stopped,
    /// ENOSYS.
    Refused,
    /// Anything else: the kernel has looked at it.
    Made,
}

fn outcome(number: i64, argument: i64) -> Outcome {
    let (mut report, reported) = UnixStream::pair().unwrap();
    let child = Forked::start(|| try_call(number, argument, &reported));
    drop(reported);
    let mut byte = [0];
    let came = report.read_exact(&mut byte).is_ok();
    let status = child.end();
    match (status.terminating_signal(), came) {
        (Some(libc::SIGSYS), false) => Outcome::Stopped,
        (_, true) if byte == [1] => Outcome::Refused,
        _ => Outcome::Made,
    }
}

#[test]
fn of_all_system_calls_only_those_listed_are_made() {
    let has = |calls: &[Call], number: i64| calls.iter().any(|call| call.number == number);
    // Those of the machine, with room for some that are new; and a few of the x32 kind.
    let numbers = (0..NUMBERS).filter(|number| !PROBES.contains(number));
    for number in numbers.chain((0..60).map(|number| X32 | number)) {
        for argument in [-1, 0] {
            let outcome = outcome(number, argument);
            let expected: &[Outcome] = match () {
                () if has(REFUSED, number) => &[Outcome::Refused],
                // Its arguments may be none that are let through.
                () if has(LISTED, number) => &[Outcome::Made, Outcome::Stopped],
                () => &[Outcome::Stopped],
            };
            assert!(expected.contains(&outcome), "call {number} with {argument}: {outcome:?}");
        }
    }
}

#[test]
fn what_the_process_that_moves_frames_does_can_be_done() {
    let (mut here, there) = UnixStream::pair().unwrap();
    let done = run(|| {
        let sandbox = Sandbox { channel: Some(there.as_raw_fd()), ..Sandbox::default() };
        confine(&sandbox).unwrap();
        // The allocator of a thread, which looks at the system's settings when it gives memory back.
        let work = || {
            let blocks: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 1 << 20]).collect();
            thread::sleep(Duration::from_millis(1));
            let mut one = vec![1_u8; 1 << 20];
            one.resize(64 << 20, 2);
            blocks.len() + usize::from(one[1 << 20])
        };
        let threads: Vec<_> = (0..8).map(|_| thread::spawn(work)).collect();
        let sum: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        (&there).write_all(&[u8::from(sum == 8 * 66)]).unwrap();
        send_copy(&there);
        // What a panic tells is told, without the places.
        i32::from(catch_unwind(|| panic!("a bug")).is_ok())
    });
    let mut byte = [0];
    here.read_exact(&mut byte).unwrap();
    assert_eq!((done, byte), (Some(0), [1]));
}

/// Sends a descriptor, as only the channel may.
fn send_copy(socket: &UnixStream) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [socket.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    let sent = sendmsg(socket, &[io::IoSlice::new(b"x")], &mut ancillary, SendFlags::NOSIGNAL);
    assert_eq!(sent, Ok(1));
}

/// Whether this ends the process that does it in a sandbox with `channel`.
fn is_stopped(channel: Option<RawFd>, work: impl FnOnce()) -> bool {
    let child = Forked::start(|| {
        confine(&Sandbox { channel, ..Sandbox::default() }).unwrap();
        work();
        0
    });
    child.end().terminating_signal() == Some(libc::SIGSYS)
}

#[test]
fn arguments_are_looked_at() {
    let (one, other) = UnixStream::pair().unwrap();
    let channel = Some(one.as_raw_fd());
    let call = |number, arguments: [i64; 6]| {
        let [a, b, c, d, e, f] = arguments;
        // SAFETY: none of these is made with an address of this process.
        unsafe { libc::syscall(number, a, b, c, d, e, f) };
    };
    assert!(!is_stopped(channel, || send_copy(&one)));
    assert!(is_stopped(channel, || send_copy(&other)));
    assert!(is_stopped(None, || send_copy(&one)));
    assert!(is_stopped(channel, || call(libc::SYS_close, [one.as_raw_fd().into(), 0, 0, 0, 0, 0])));
    assert!(!is_stopped(channel, || call(libc::SYS_close, [other.as_raw_fd().into(), 0, 0, 0, 0, 0])));
    // An address to send to, memory to be executed, a process, another process.
    assert!(is_stopped(channel, || call(libc::SYS_sendto, [0, 0, 0, 0, 1, 16])));
    let anonymous = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    assert!(!is_stopped(channel, || call(libc::SYS_mmap, [0, 4096, 3, anonymous, -1, 0])));
    assert!(is_stopped(channel, || call(libc::SYS_mmap, [0, 4096, 7, anonymous, -1, 0])));
    assert!(is_stopped(channel, || call(libc::SYS_mprotect, [0, 0, 5, 0, 0, 0])));
    assert!(is_stopped(channel, || call(libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0, 0, 0, 0])));
    assert!(is_stopped(channel, || call(libc::SYS_tgkill, [1, 1, 0, 0, 0, 0])));
    assert!(is_stopped(channel, || call(libc::SYS_fcntl, [0, libc::F_SETFL.into(), 0, 0, 0, 0])));
    assert!(is_stopped(channel, || call(libc::SYS_ioctl, [0, libc::FIONBIO as i64, 0, 0, 0, 0])));
}

#[test]
fn without_the_filter_files_sockets_and_processes_are_out_of_reach_all_the_same() {
    let (name, parent) = (format!("tapio-sandbox-{}", std::process::id()), std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let waiting = UnixDatagram::bind_addr(&address).unwrap();
    let outcome = run(|| {
        files::leave().unwrap();
        assert!(fs::read_dir("/").unwrap().next().is_none());
        rights::drop_all().unwrap();
        set_no_new_privs(true).unwrap();
        let Ok(()) = files::forbid() else { return OLD_KERNEL };
        assert_eq!(File::open("/").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(File::create("/new").is_err());
        assert!(TcpListener::bind("127.0.0.1:0").is_err());
        let socket = UnixDatagram::unbound().unwrap();
        assert!(socket.send_to_addr(b"x", &address).is_err());
        let parent = Pid::from_raw(parent.cast_signed()).unwrap();
        assert_eq!(test_kill_process(parent), Err(Errno::PERM));
        0
    });
    drop(waiting);
    assert!(matches!(outcome, Some(0 | OLD_KERNEL)), "{outcome:?}");
}

/// What /proc/PID/status has of a process that has confined itself so.
fn status_of(sandbox: Sandbox, before: impl FnOnce()) -> String {
    let (mut ready, is_ready) = UnixStream::pair().unwrap();
    let child = Forked::start(|| {
        before();
        confine(&sandbox).unwrap();
        (&is_ready).write_all(&[0]).unwrap();
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    });
    ready.read_exact(&mut [0]).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.0.as_raw_pid())).unwrap();
    kill_process(child.0, Signal::KILL).unwrap();
    child.end();
    status
}

fn assert_no_right_is_left(status: &str) {
    let none = "0000000000000000";
    let capabilities = ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| format!("Cap{set}:\t{none}"));
    let others = ["NoNewPrivs:\t1", "Seccomp:\t2"].map(String::from);
    let lines: Vec<&str> = status.lines().collect();
    for line in capabilities.iter().chain(&others) {
        assert!(lines.contains(&line.as_str()), "no {line} in\n{status}");
    }
}

#[test]
fn nothing_is_left_of_roots_rights_and_the_process_is_another_user() {
    let nobody = User::named("nobody");
    let status = status_of(Sandbox { user: nobody, ..Sandbox::default() }, || {});
    assert_no_right_is_left(&status);
    if nobody.is_some() {
        let nobody = "Uid:\t65534\t65534\t65534\t65534";
        assert!(status.contains(nobody) && status.contains("Groups:\t \n"), "{status}");
    }
}

#[test]
fn in_a_user_namespace_it_is_the_same() {
    let status = status_of(Sandbox::default(), || enter_user_namespace().unwrap());
    assert_no_right_is_left(&status);
}

#[test]
fn for_a_debugger_files_and_calls_are_open_and_rights_are_gone_all_the_same() {
    let outcome = run(|| {
        let gaps = confine(&Sandbox { is_open: true, ..Sandbox::default() }).unwrap();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        i32::from(!(gaps.is_empty() && status.contains("CapPrm:\t0000000000000000")))
    });
    assert_eq!(outcome, Some(0));
}

#[test]
fn several_threads_are_not_confined() {
    let outcome = run(|| {
        let (_here, there) = UnixStream::pair().unwrap();
        thread::spawn(move || (&there).read_exact(&mut [0]));
        i32::from(!matches!(confine(&Sandbox::default()), Err(ConfineError::Threads)))
    });
    assert_eq!(outcome, Some(0));
}

#[test]
fn it_still_ends_with_its_parent() {
    let (mut gone, is_gone) = UnixStream::pair().unwrap();
    let parent = Forked::start(move || {
        let (mut ready, is_ready) = UnixStream::pair().unwrap();
        Forked::start(move || {
            set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
            confined();
            (&is_ready).write_all(&[0]).unwrap();
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        });
        ready.read_exact(&mut [0]).unwrap();
        drop(is_gone);
        0
    });
    parent.end();
    gone.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(gone.read(&mut [0]).unwrap(), 0, "nobody has the other end any more");
}

/// Of a child whose work has panicked.
const PANICKED: i32 = 101;
/// Of a child on a kernel that doesn't know all that is asked of landlock.
const OLD_KERNEL: i32 = 77;
/// The kernel lets its own probes make them past all filters (x86-64, Linux 6.14). Whoever else does gets an error or a signal.
const PROBES: [i64; 2] = [335, 336];
/// Beyond the last system call of today's kernels.
const NUMBERS: i64 = 600;
/// Bit 30 of a number: the call is one of another kind of process, on the same processor.
const X32: i64 = 1 << 30;

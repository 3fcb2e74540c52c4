//! Where leases are kept, and the thread that keeps them.

use std::sync::atomic::{AtomicU32, Ordering};

use mio::{Poll, Token};
use packet::MacAddr;

use super::*;

/// A folder that goes with the test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("tapswitch-leases-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A lease that ends in so many seconds, or is gone.
fn change(host: u8, expires_in: Option<u64>) -> (Key, Option<Kept>) {
    let lease = Lease::new("lan".into(), ip(host), MacAddr::local(1), &[1], None);
    let kept = expires_in.map(|seconds| Kept(lease, Instant::now() + Duration::from_secs(seconds)));
    (("lan".into(), ip(host)), kept)
}

/// The addresses in the file.
fn kept(path: &Path) -> Vec<Ipv4Addr> {
    file::read(path).unwrap().unwrap().into_iter().map(|lease| lease.address).collect()
}

fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

struct Thread {
    _poll: Poll,
    keeper: Keeper,
}

impl Thread {
    fn start(path: &Path) -> Self {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        Self { keeper: Keeper::start(path.to_owned(), lock(path).unwrap(), waker).unwrap(), _poll: poll }
    }

    /// Hands over a batch and waits until it is dealt with.
    fn keep(&self, revision: u64, is_all: bool, leases: Vec<(Key, Option<Kept>)>) {
        self.keeper.batches.send(Batch { revision, is_all, leases }).unwrap();
        assert_eq!(self.keeper.kept.recv_timeout(Duration::from_secs(20)), Ok(revision));
    }
}

#[test]
fn changes_are_on_the_disk_when_that_is_said_and_what_has_ended_is_left_out() {
    let folder = Folder::new();
    let path = folder.path("new/leases");
    let thread = Thread::start(&path);
    let later = 3600;
    thread.keep(1, true, vec![change(2, Some(later)), change(3, Some(later))]);
    assert_eq!(kept(&path), [ip(2), ip(3)]);
    let expires = file::read(&path).unwrap().unwrap()[0].expires - seconds_since_1970();
    assert!((3500..=3600).contains(&expires), "{expires}");
    thread.keep(2, false, vec![change(4, Some(later)), change(2, None), change(9, None)]);
    assert_eq!(kept(&path), [ip(3), ip(4)]);
    thread.keep(3, false, vec![change(3, Some(0))]);
    assert_eq!(kept(&path), [ip(4)]);
    thread.keep(4, true, vec![change(7, Some(later))]);
    assert_eq!(kept(&path), [ip(7)]);
    let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(names, 2, "the file and its lock");
}

#[test]
fn a_disk_that_refuses_costs_no_answer_and_is_tried_again() {
    let folder = Folder::new();
    let path = folder.path("leases");
    let thread = Thread::start(&path);
    let later = 3600;
    fs::create_dir(&path).unwrap();
    thread.keep(1, true, vec![change(2, Some(later))]);
    assert!(path.is_dir());
    fs::remove_dir(&path).unwrap();
    thread.keep(2, false, vec![change(3, Some(later))]);
    assert_eq!(kept(&path), [ip(2), ip(3)]);
}

#[test]
fn two_processes_do_not_keep_their_leases_in_one_file() {
    let folder = Folder::new();
    let path = folder.path("leases");
    let first = lock(&path).unwrap();
    assert_eq!(lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(first);
    lock(&path).unwrap();
}

#[test]
fn leases_are_beside_the_state_or_in_the_folder_that_there_is() {
    let config = Path::new("/etc/tapswitch/office.toml");
    let file = |state: Option<&str>, systemd: Option<&str>| {
        default_file(state.map(Path::new), config, systemd.map(OsString::from))
    };
    assert_eq!(file(Some("/x/state"), Some("/y")), Some("/x/state.leases".into()));
    assert_eq!(file(None, Some("/var/lib/one:/var/lib/two")), Some("/var/lib/one/office.leases".into()));
    let usual = Path::new(STATE_FOLDER).is_dir().then(|| "/var/lib/tapswitch/office.leases".into());
    for nowhere in [None, Some(""), Some("relative")] {
        assert_eq!(file(None, nowhere), usual);
    }
}

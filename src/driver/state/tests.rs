//! The file, whatever is in its way.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use nat_engine::NatConfig;

use super::*;

/// The limit on flows.
const FLOWS: u32 = 1 << 18;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tapswitch-state-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// What `read` says to these bytes.
    fn refusal(&self, bytes: &[u8]) -> String {
        fs::write(self.state(), bytes).unwrap();
        read(&self.state(), FLOWS).unwrap_err().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn empty() -> Vec<u8> {
    Nat::new(NatConfig::default(), [1, 2]).export(Millis::ZERO)
}

#[test]
fn what_was_written_is_read_and_nobody_else_can_read_it() {
    let folder = Folder::new();
    let path = folder.0.join("new/folder/state");
    assert!(read(&path, FLOWS).unwrap().is_none());
    for _ in 0..2 {
        // One that a crash left, and readable by all.
        let _ = fs::write(folder.0.join("new/folder/state.new"), "half");
        write(&path, &empty()).unwrap();
        let (state, age) = read(&path, FLOWS).unwrap().unwrap();
        assert!(state == empty() && age < Millis::from_secs(60));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}

#[test]
fn a_failure_leaves_the_older_file_and_nothing_else() {
    let folder = Folder::new();
    write(&folder.state(), &empty()).unwrap();
    fs::create_dir(folder.0.join("state.new")).unwrap();
    assert!(write(&folder.state(), b"newer").is_err());
    assert_eq!(fs::read(folder.state()).unwrap(), empty());
    fs::remove_dir(folder.0.join("state.new")).unwrap();
    fs::create_dir(folder.0.join("taken")).unwrap();
    assert!(write(&folder.0.join("taken"), b"newer").is_err());
    let mut names: Vec<_> =
        fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["state", "taken"]);
}

#[test]
fn the_file_tells_how_old_it_is() {
    let folder = Folder::new();
    write(&folder.state(), &empty()).unwrap();
    let age = |at: SystemTime| {
        File::open(folder.state()).unwrap().set_modified(at).unwrap();
        read(&folder.state(), FLOWS).unwrap().unwrap().1.as_secs()
    };
    let hour = Duration::from_hours(1);
    assert!((3600..3660).contains(&age(SystemTime::now() - hour)));
    assert_eq!(age(SystemTime::now() + hour), 0);
    assert!(age(SystemTime::UNIX_EPOCH) > 1_600_000_000);
}

#[test]
fn no_more_is_read_than_a_state_has() {
    let folder = Folder::new();
    let mut lying = empty();
    lying[12..20].fill(0xff);
    assert_eq!(folder.refusal(&lying), "the saved state is damaged");
    assert_eq!(folder.refusal(&[empty(), vec![0]].concat()), "the saved state is damaged");
    assert_eq!(folder.refusal(b""), "this is no saved NAT state");
    // As long as 4 billion flows and as many mappings would be.
    fs::write(folder.state(), &lying).unwrap();
    let len = Nat::state_len(&lying).unwrap();
    File::options().write(true).open(folder.state()).unwrap().set_len(len - 1).unwrap();
    assert_eq!(read(&folder.state(), FLOWS).unwrap_err().to_string(), "the saved state is damaged");
    for no_file in ["/dev/zero", "/"] {
        assert_eq!(read(Path::new(no_file), FLOWS).unwrap_err().to_string(), "this is no saved NAT state");
    }
}

#[test]
fn a_link_or_a_pipe_in_the_files_place_is_not_followed_and_not_waited_for() {
    let folder = Folder::new();
    let (path, elsewhere) = (folder.state(), folder.0.join("elsewhere"));
    write(&elsewhere, &empty()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert!(read(&path, FLOWS).is_err());
    // Saving puts a file in the link's place, and leaves what it points to alone.
    let before = fs::metadata(&elsewhere).unwrap().modified().unwrap();
    let new = folder.0.join("state.new");
    let _ = fs::remove_file(&new);
    std::os::unix::fs::symlink(&elsewhere, new).unwrap();
    write(&path, &empty()).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::metadata(&elsewhere).unwrap().modified().unwrap(), before);
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(read(&path, FLOWS).is_err());
}

#[test]
fn a_sparse_file_as_long_as_it_says_is_refused_before_it_is_read() {
    let folder = Folder::new();
    let mut lying = empty();
    // No mappings, and 20 million flows: 1.3 GiB.
    lying[16..20].copy_from_slice(&20_000_000_u32.to_be_bytes());
    fs::write(folder.state(), &lying).unwrap();
    let len = Nat::state_len(&lying).unwrap();
    assert!(len > 1_300 << 20);
    File::options().write(true).open(folder.state()).unwrap().set_len(len).unwrap();
    let said = read(&folder.state(), FLOWS).unwrap_err().to_string();
    assert!(said.starts_with("it is too long for 262144 flows") && !said.contains('\n'), "{said}");
}

//! Leases outlast the process, and are told to the log.
//!
//! ```text
//! worker ─ changes ─▶ Keeper ─ one batch at a time ─▶ thread "leases": all leases, as a file ─▶ disk
//!    ▲                   ▲                                                                       │
//!    └─ ACKs may leave ──┴──────────────────────── revision, waker ──────────────────────────────┘
//! ```
//!
//! The thread has the whole table; the loop that moves frames only hands over what has changed. What changes while a batch
//! is being written goes into the next one, so the disk sets the pace. The file has a line for each lease and nothing else.

mod file;
mod log;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::report::{LeaseChanges, LeaseEvent, LeaseRecord};
use mio::Waker;
use packet::Millis;
use tracing::{error, info, warn};

use self::file::Lease;
pub(super) use self::log::LeaseLog;
use super::{Driver, state};
use crate::config::LeaseFile;

/// Who keeps the leases, if anybody does.
#[derive(Default)]
pub(super) struct Leases {
    /// Where they are to be kept; `None`: nowhere.
    path: Option<PathBuf>,
    keeper: Option<Keeper>,
}

/// The thread that writes, as the loop sees it.
struct Keeper {
    batches: SyncSender<Batch>,
    /// Revisions that are on the disk, or can't be.
    kept: Receiver<u64>,
    is_busy: bool,
    /// When the next batch may go: a client that gets and gives back addresses all the time must not wear out the disk.
    earliest: Millis,
    thread: JoinHandle<()>,
}

/// What has changed.
struct Batch {
    revision: u64,
    /// Whether these are all leases that there are.
    is_all: bool,
    leases: Vec<(Key, Option<Kept>)>,
}

/// A lease, and when it ends: the file is told by the system's clock as it is when the file is written.
struct Kept(Lease, Instant);

/// Network and address.
type Key = (String, Ipv4Addr);

impl Leases {
    /// When a batch may go, if one waits.
    pub(super) fn next_timeout(&self, changed: Option<Millis>) -> Option<Millis> {
        let keeper = self.keeper.as_ref().filter(|keeper| !keeper.is_busy)?;
        changed.map(|at| at.max(keeper.earliest))
    }
}

impl Driver {
    /// Keeps leases where the plan says, if it has a DHCP server. Those that another process has left there are taken
    /// over.
    pub(super) fn follow_lease_file(&mut self) {
        let mut interfaces =
            self.plan.runtime.networks.iter().filter_map(|network| network.interface.as_ref());
        let path = match &self.plan.leases {
            _ if interfaces.all(|interface| interface.settings.dhcp.is_none()) => None,
            LeaseFile::None => None,
            LeaseFile::At(path) => Some(path.clone()),
            LeaseFile::Default => {
                default_file(self.plan.state.as_deref(), &self.config, env::var_os("STATE_DIRECTORY"))
            }
        };
        if path == self.leases.path {
            return;
        }
        // The thread of another file ends with its last batch.
        self.leases = Leases { path, keeper: None };
        let Some(path) = &self.leases.path else { return self.worker.keep_leases(false) };
        let file = path.display();
        match lock(path) {
            Ok(lock) => {
                let path = path.clone();
                self.load_leases(&path);
                self.leases.keeper = Keeper::start(path, lock, Arc::clone(&self.waker));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                warn!(
                    "leases are in memory only: another process keeps its own in {file}; name another file as `leases`"
                );
            }
            Err(error) => warn!("leases are in memory only: {file} can't be had: {error}"),
        }
        self.worker.keep_leases(self.leases.keeper.is_some());
    }

    /// Hands over what has changed, takes note of what is kept, and logs what has happened.
    pub(super) fn tend_leases(&mut self, now: Millis) {
        if let Some(first) = self.worker.next_lease_event() {
            self.pause(|driver| driver.tell_lease_events(first, now));
        }
        self.lease_log.tell_of_others(now);
        let Some(keeper) = &mut self.leases.keeper else { return };
        if keeper.is_busy {
            match keeper.kept.try_recv() {
                Ok(revision) => {
                    keeper.is_busy = false;
                    self.worker.leases_kept(revision);
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    error!("leases are in memory only: the thread that keeps them has ended");
                    self.leases.keeper = None;
                    return self.worker.keep_leases(false);
                }
            }
        }
        if self.leases.next_timeout(self.worker.leases_changed()).is_some_and(|at| at <= now) {
            self.pause(|driver| driver.hand_over_leases(now));
        }
    }

    /// This one, and more.
    fn tell_lease_events(&mut self, first: LeaseEvent, now: Millis) {
        let mut next = Some(first);
        while let Some(event) = next {
            self.lease_log.tell(&event, self.plan.network_name(event.network), now);
            next = self.worker.next_lease_event();
        }
    }

    /// Leaves the leases to the next process.
    pub(super) fn finish_leases(&mut self) {
        if self.worker.leases_changed().is_some() {
            self.hand_over_leases(self.clock.now());
        }
        if let Some(Keeper { batches, thread, .. }) = self.leases.keeper.take() {
            drop(batches);
            // What it failed in, it has told.
            let _ = thread.join();
        }
    }

    fn hand_over_leases(&mut self, now: Millis) {
        let LeaseChanges { revision, is_all, leases } = self.worker.take_lease_changes(now);
        let time = Instant::now();
        let leases = leases.into_iter().map(|((network, address), record)| {
            let network = self.plan.network_name(network).to_owned();
            let kept = record.map(|record| Kept::new(record, network.clone(), time));
            ((network, address), kept)
        });
        let batch = Batch { revision, is_all, leases: leases.collect() };
        if let Some(keeper) = &mut self.leases.keeper {
            // One batch has room while no other is on its way; a thread that has ended is noticed by its other channel.
            let _ = keeper.batches.send(batch);
            (keeper.is_busy, keeper.earliest) = (true, now + PAUSE);
        }
    }

    /// Takes over the leases that the process before has left, if there are any.
    fn load_leases(&mut self, path: &Path) {
        let file = path.display();
        let leases = match file::read(path) {
            Ok(None) => return info!(%file, "no leases were kept yet"),
            Ok(Some(leases)) => leases,
            Err(error) => {
                let refused = with_suffix(path, ".refused");
                // So that whoever named the wrong file has lost nothing.
                let aside =
                    fs::metadata(path).is_ok_and(|it| it.is_file()) && fs::rename(path, &refused).is_ok();
                let kept = if aside { format!("; it is {} now", refused.display()) } else { String::new() };
                return error!("starting without the leases in {file}: {error}{kept}");
            }
        };
        let (now, wall) = (self.clock.now(), seconds_since_1970());
        let (mut restored, all) = (0, leases.len());
        for lease in leases {
            let (Some(network), Some((mac, client))) = (self.plan.network_id(&lease.network), lease.client())
            else {
                continue;
            };
            let expires_in = Millis::from_secs(lease.expires.saturating_sub(wall).min(LONGEST));
            let host_name = lease.host_name.map(String::into_boxed_str);
            let record = LeaseRecord { network, address: lease.address, mac, client, host_name, expires_in };
            restored += usize::from(self.worker.restore_lease(record, now));
        }
        info!(%file, leases = restored, left_out = all - restored, "kept leases go on");
    }
}

impl Kept {
    fn new(record: LeaseRecord, network: String, time: Instant) -> Self {
        let LeaseRecord { address, mac, client, host_name, expires_in, .. } = record;
        let ends = time.checked_add(Duration::from_millis(expires_in.get())).unwrap_or(time);
        Self(Lease::new(network, address, mac, &client, host_name.map(String::from)), ends)
    }
}

impl Keeper {
    /// `None`: there is no thread to spare; that is logged.
    fn start(path: PathBuf, lock: File, waker: Arc<Waker>) -> Option<Self> {
        let (batches, receiver) = sync_channel(1);
        let (sender, kept) = channel();
        let job = move || {
            keep(&path, &receiver, &sender, &waker);
            drop(lock);
        };
        match Builder::new().name("leases".into()).spawn(job) {
            Ok(thread) => Some(Self { batches, kept, is_busy: false, earliest: Millis::ZERO, thread }),
            Err(error) => {
                error!("leases are in memory only: there is no thread to keep them: {error}");
                None
            }
        }
    }
}

/// Writes until there is nobody any more who could send something to write.
fn keep(path: &Path, batches: &Receiver<Batch>, kept: &Sender<u64>, waker: &Waker) {
    let mut table: BTreeMap<Key, Kept> = BTreeMap::new();
    let mut failing = false;
    loop {
        match if failing { batches.recv_timeout(RETRY) } else { batches.recv().map_err(Into::into) } {
            Ok(Batch { revision, is_all, leases }) => {
                if is_all {
                    table.clear();
                }
                for (key, kept) in leases {
                    match kept {
                        Some(kept) => drop(table.insert(key, kept)),
                        None => drop(table.remove(&key)),
                    }
                }
                failing = write(path, &mut table, failing);
                // Without a listener there is nobody to be told.
                let _ = kept.send(revision);
                let _ = waker.wake();
            }
            Err(RecvTimeoutError::Timeout) => failing = write(path, &mut table, failing),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Writes the leases that have not ended. Whether that failed, which is told once.
fn write(path: &Path, table: &mut BTreeMap<Key, Kept>, was_failing: bool) -> bool {
    let (time, wall) = (Instant::now(), seconds_since_1970());
    table.retain(|_, Kept(_, ends)| *ends > time);
    for Kept(lease, ends) in table.values_mut() {
        let left = ends.saturating_duration_since(time);
        lease.expires = wall + left.as_secs() + u64::from(left.subsec_nanos() > 0);
    }
    let written = file::to_bytes(table.values().map(|Kept(lease, _)| lease)).map_err(io::Error::from);
    let file = path.display();
    match written.and_then(|bytes| state::write(path, &bytes)) {
        Ok(()) if was_failing => info!(%file, leases = table.len(), "leases are kept again"),
        Ok(()) => {}
        Err(error) if !was_failing => error!("cannot keep leases in {file}: {error}; trying again"),
        Err(_) => return true,
    }
    false
}

/// Beside `state`, or in the folder that is there for what outlasts the process: systemd's, or the usual one.
fn default_file(state: Option<&Path>, config: &Path, systemd: Option<OsString>) -> Option<PathBuf> {
    if let Some(state) = state {
        return Some(with_suffix(state, ".leases"));
    }
    // systemd lists several folders with colons between.
    let systemd = systemd.and_then(|folders| env::split_paths(&folders).find(|folder| folder.is_absolute()));
    let folder = systemd.or_else(|| Some(PathBuf::from(STATE_FOLDER)).filter(|folder| folder.is_dir()))?;
    Some(folder.join(with_suffix(Path::new(config.file_stem()?), ".leases")))
}

/// As long as the file returned is open, no other process keeps leases at `path`.
fn lock(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        fs::create_dir_all(folder)?;
    }
    let lock = with_suffix(path, ".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock)?;
    file.try_lock()?;
    Ok(file)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from([path.as_os_str(), suffix.as_ref()].into_iter().collect::<OsString>())
}

/// By the system's clock: it is the only one that goes on while there is no process.
fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Where a system has a folder for what outlasts the process.
const STATE_FOLDER: &str = "/var/lib/tapswitch";
/// Between two batches.
const PAUSE: Millis = Millis::new(50);
/// Between two tries, after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// No lease is good for longer, in seconds; the system's clock may have been wrong.
const LONGEST: u64 = u32::MAX as u64;

#[cfg(test)]
mod tests;

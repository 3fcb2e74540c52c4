//! The file in which connections outlast their process.
//!
//! ```text
//! Worker::export_flows ─▶ PATH.new ─ on the disk, then renamed ─▶ PATH ─▶ Worker::import_flows
//!                                                                 its time of change tells the age
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::thread::{Builder, JoinHandle};

use nat_engine::{Imported, Nat, STATE_START, Snapshot, StateError};
use packet::Millis;
use rustix::fs::OFlags;
use tracing::{error, info};

use super::Driver;
use super::walk::Purpose;
use crate::control::{RequestError, Response, Told};
use crate::show::Answer;
use crate::show::changed::Saved;

/// Why connections could not be saved.
#[derive(Debug)]
enum SaveError {
    /// The configuration names no file.
    NoFile,
    /// The last time that they were to be saved is not over.
    Busy,
    /// The operating system refused.
    Io { path: PathBuf, error: io::Error },
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str(
                "the configuration names no file for connections; write state = \"/var/lib/tapswitch/state\" in \
                 [engine], and reload",
            ),
            Self::Busy => f.write_str("connections are being saved already; try again"),
            Self::Io { path, error } => write!(f, "cannot save connections to {}: {error}", path.display()),
        }
    }
}

impl Error for SaveError {}

/// Why saved connections were not taken over.
#[derive(Debug)]
enum LoadError {
    Io(io::Error),
    Refused(StateError),
    /// Longer than so many flows, the most that there may be, can make it.
    TooLong {
        flows: u32,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Refused(error) => error.fmt(f),
            Self::TooLong { flows } => write!(
                f,
                "it is too long for {flows} flows, the most that [engine] allows; raise flows there, or remove the file"
            ),
        }
    }
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<StateError> for LoadError {
    fn from(error: StateError) -> Self {
        Self::Refused(error)
    }
}

/// The thread that writes while packets flow: a disk may take seconds.
#[derive(Default)]
pub(super) struct Saving(Option<JoinHandle<()>>);

impl Saving {
    fn is_busy(&self) -> bool {
        self.0.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    fn wait(&mut self) {
        if let Some(thread) = self.0.take() {
            // What it failed in, it has told.
            let _ = thread.join();
        }
    }
}

impl Driver {
    /// Takes over the connections that the process before has left, if there are any.
    pub(super) fn load_connections(&mut self) {
        let Some(path) = &self.plan.state else { return };
        let file = path.display();
        let loaded = match read(path, self.plan.runtime.flow_limit) {
            Ok(None) => return info!(%file, "no connections were saved yet"),
            Ok(Some((state, age))) => {
                self.worker.import_flows(&state, age, self.clock.now()).map_err(LoadError::from)
            }
            Err(error) => Err(error),
        };
        match loaded {
            Ok(Imported { flows, left_out }) => info!(%file, flows, left_out, "saved connections go on"),
            Err(error) => error!("starting without the connections in {file}: {error}"),
        }
    }

    /// Leaves the connections to the next process.
    pub(super) fn save_connections(&mut self) {
        self.saving.wait();
        let Some(path) = &self.plan.state else { return };
        // Errors are logged, and all that can still be done is to end.
        let _ = save(path, &self.worker.export_flows(self.clock.now()), self.worker.stats().flows);
    }

    /// Saves the connections as they are about now: they are copied a part at a time, and written by a thread that answers
    /// when it is done.
    pub(super) fn save_while_running(&mut self, reply: SyncSender<Response>) {
        let path = match &self.plan.state {
            None => Err(SaveError::NoFile),
            Some(_) if self.saving.is_busy() || self.is_copying() => Err(SaveError::Busy),
            Some(path) => Ok(path.clone()),
        };
        match path {
            Ok(path) => {
                let snapshot = self.worker.flow_snapshot();
                self.walk(Purpose::Save { path, snapshot }, reply);
            }
            Err(error) => answer(&reply, Err(error)),
        }
    }

    /// All flows are in the snapshot.
    pub(super) fn write_connections(
        &mut self,
        path: PathBuf,
        snapshot: Snapshot,
        reply: SyncSender<Response>,
    ) {
        let job = move || {
            let flows = snapshot.len() as u64;
            let saved = save(&path, &snapshot.into_bytes(), flows);
            answer(&reply, saved.map(|()| Answer::Saved(Saved { file: path.display().to_string(), flows })));
        };
        // Without a thread to spare, the client hears that there is no answer.
        self.saving = Saving(Builder::new().name("saving".into()).spawn(job).ok());
    }
}

fn answer(reply: &SyncSender<Response>, saved: Result<Answer, SaveError>) {
    // Whoever asked may have gone.
    let _ = reply.try_send(saved.map(Told::from).map_err(|error| RequestError::Failed(Box::new(error))));
}

fn save(path: &Path, state: &[u8], flows: u64) -> Result<(), SaveError> {
    match write(path, state) {
        Ok(()) => {
            info!(file = %path.display(), flows, "connections saved");
            Ok(())
        }
        Err(error) => {
            let error = SaveError::Io { path: path.to_owned(), error };
            error!("{error}");
            Err(error)
        }
    }
}

/// The file appears as a whole, in place of an older one, and only its owner can read it.
pub(super) fn write(path: &Path, state: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        fs::create_dir_all(folder)?;
    }
    let new = PathBuf::from([path.as_os_str(), ".new".as_ref()].into_iter().collect::<OsString>());
    let written = write_new(&new, state).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
        return written;
    }
    // The file's new name is on the disk when its folder is.
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn write_new(path: &Path, state: &[u8]) -> io::Result<()> {
    // A crash may have left one.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(state)?;
    file.sync_all()
}

/// What is in the file, and how old it is; `None` if there is no file. No more is read than a state has that a switch with
/// room for `flows`, or somewhat more, has saved.
fn read(path: &Path, flows: u32) -> Result<Option<(Vec<u8>, Millis)>, LoadError> {
    // No link is followed, and nothing waited for: others may write to the folder.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let (metadata, mut state) = (file.metadata()?, Vec::new());
    if !metadata.is_file() {
        return Err(StateError::Foreign.into());
    }
    (&file).take(STATE_START as u64).read_to_end(&mut state)?;
    let len = Nat::state_len(&state)?;
    if metadata.len() != len {
        return Err(StateError::Damaged.into());
    }
    if len > LOWERED * (u64::from(flows) + LEAST) * FLOW {
        return Err(LoadError::TooLong { flows });
    }
    (&file).take(len - STATE_START as u64).read_to_end(&mut state)?;
    // Where the system's time went back meanwhile, nothing is known.
    let age = metadata.modified()?.elapsed().unwrap_or_default();
    Ok(Some((state, Millis::new(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))))
}

/// Bytes that a flow takes in the file, with a mapping of its own; it takes less.
const FLOW: u64 = 128;
/// Whoever lowers the limit on flows to no less than a quarter keeps those that were used last.
const LOWERED: u64 = 4;
/// So many flows are read whatever the limit is.
const LEAST: u64 = 1000;

#[cfg(test)]
mod tests;

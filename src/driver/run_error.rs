//! How running the switch fails.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::PlacedError;

/// Why the switch did not start, or had to end.
#[derive(Debug)]
pub enum RunError {
    /// A port can't be had.
    Port(PlacedError),
    /// The control socket can't be had.
    Control {
        /// Where it was to be.
        path: PathBuf,
        /// What was in the way.
        error: io::Error,
    },
    /// A system call of the loop itself failed.
    Io(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(error) => error.fmt(f),
            Self::Control { path, error } => {
                write!(f, "cannot listen for control requests at {}: {error}", path.display())
            }
            Self::Io(error) => write!(f, "the event loop failed: {error}"),
        }
    }
}

impl Error for RunError {}

impl From<PlacedError> for RunError {
    fn from(error: PlacedError) -> Self {
        Self::Port(error)
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

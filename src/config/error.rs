//! Why there is no configuration.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::mistake::Mistakes;

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file can't be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// It is a pipe, a device or a socket.
    NoFile {
        /// What was to be read.
        path: PathBuf,
    },
    /// The file is longer than any configuration.
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes at most.
        limit: u64,
    },
    /// The file has mistakes.
    Wrong(Mistakes),
}

impl ConfigError {
    /// The text for people, with colours if `styled`.
    pub fn render(&self, styled: bool) -> String {
        match self {
            Self::Wrong(mistakes) => mistakes.render(styled),
            other => format!("error: {other}"),
        }
    }
}

impl From<Mistakes> for ConfigError {
    fn from(mistakes: Mistakes) -> Self {
        Self::Wrong(mistakes)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => {
                let help = match error.kind() {
                    io::ErrorKind::NotFound => "; write it, or name another file",
                    io::ErrorKind::PermissionDenied => "; let the user who runs this read it, or be root",
                    io::ErrorKind::IsADirectory => "; name a file in it",
                    _ => "",
                };
                write!(f, "cannot read {}: {error}{help}", path.display())
            }
            Self::NoFile { path } => write!(
                f,
                "{} is no file, but a pipe, a device or a socket; name a file, as it is read again at each reload",
                path.display()
            ),
            Self::TooLong { path, limit } => {
                write!(f, "{} is longer than {limit} bytes; name another file", path.display())
            }
            Self::Wrong(mistakes) => mistakes.fmt(f),
        }
    }
}

impl Error for ConfigError {}

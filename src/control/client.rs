//! The client's side of the control socket, for `show` and `reload`.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ErrorKind, Reply, Request};
use crate::show::Answer;

/// Why a client has no answer.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody can be reached at the path.
    Unreachable {
        /// The path.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// The connection broke, or the answer makes no sense.
    Broken(io::Error),
    /// The switch refused.
    Refused {
        /// What it says.
        error: String,
        /// Whose fault it is.
        kind: ErrorKind,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { path, error } if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "cannot open {}: {error}; run as the user that the switch runs as", path.display())
            }
            Self::Unreachable { path, error } => write!(
                f,
                "cannot reach a switch at {}: {error}; start one with `tapswitch run`, or name its socket with \
                 --control PATH",
                path.display()
            ),
            Self::Broken(error) => write!(f, "the switch broke off: {error}"),
            Self::Refused { error, .. } => f.write_str(error),
        }
    }
}

impl Error for ClientError {}

/// Asks the switch whose control socket is at `path`, and waits for the answer.
pub fn request(path: &Path, request: Request) -> Result<Answer, ClientError> {
    let stream = UnixStream::connect(path)
        .map_err(|error| ClientError::Unreachable { path: path.to_owned(), error })?;
    match exchange(&stream, request).map_err(ClientError::Broken)? {
        Reply::Answer(answer) => Ok(answer),
        Reply::Error { error, kind } => Err(ClientError::Refused { error, kind }),
    }
}

fn exchange(mut stream: &UnixStream, request: Request) -> io::Result<Reply> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    line.clear();
    BufReader::new(stream).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Longer than the switch itself waits for an answer.
const PATIENCE: Duration = Duration::from_secs(70);

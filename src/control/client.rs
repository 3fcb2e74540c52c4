//! The client's side of the control socket, for `show` and `reload`.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ErrorKind, Reply, Request, What};
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
    /// Nothing came for so long.
    Silent {
        /// The path.
        path: PathBuf,
        /// The process that listens there, where the system tells.
        pid: Option<i32>,
        /// How long.
        waited: Duration,
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
            Self::Silent { path, pid, waited } => {
                let process = pid.map(|pid| format!(", process {pid},")).unwrap_or_default();
                write!(
                    f,
                    "the switch at {}{process} has not answered for {} s; it is busy, or stopped (then `kill -CONT` \
                     lets it go on)",
                    path.display(),
                    waited.as_secs()
                )
            }
            Self::Broken(error) => write!(f, "the switch broke off: {error}"),
            Self::Refused { error, .. } => f.write_str(error),
        }
    }
}

impl Error for ClientError {}

/// Asks the switch whose control socket is at `path`, and waits for the answer. What takes a switch long is only asked of
/// one that answers.
pub fn request(path: &Path, request: Request) -> Result<Answer, ClientError> {
    let stream = UnixStream::connect(path)
        .map_err(|error| ClientError::Unreachable { path: path.to_owned(), error })?;
    let ask = |request: &Request, patience: Duration| {
        exchange(&stream, request, patience).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::Silent { path: path.to_owned(), pid: peer(&stream), waited: patience }
            }
            _ => ClientError::Broken(error),
        })
    };
    let mut patience = PATIENCE;
    if request.may_take_long() {
        ask(&Request::show(What::Stats, 0), PATIENCE)?;
        patience = LONG_PATIENCE;
    }
    match ask(&request, patience)? {
        Reply::Answer(answer) => Ok(answer),
        Reply::Error { error, kind } => Err(ClientError::Refused { error, kind }),
    }
}

fn exchange(mut stream: &UnixStream, request: &Request, patience: Duration) -> io::Result<Reply> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    line.clear();
    BufReader::new(stream).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}

/// unix(7), SO_PEERCRED: who listened.
fn peer(stream: &UnixStream) -> Option<i32> {
    let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
    Some(peer.pid.as_raw_nonzero().get())
}

/// A switch that runs answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than the switch itself waits for an answer.
const LONG_PATIENCE: Duration = Duration::from_secs(70);

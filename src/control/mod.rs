//! The control socket: how a running switch is asked and told.
//!
//! ```text
//! client ─ one JSON object per line ─▶ server thread ─ Command ─▶ driver (woken), between two bursts
//!        ◀──── one line per request ──              ◀─ Response ─
//! ```
//!
//! The server's threads read, write and wait; the driver's thread only answers. docs/control.md has the format.

mod client;
pub mod filter;
mod server;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use serde::{Deserialize, Serialize};

use crate::config::{ChangeError, ConfigError};
use crate::mistake::Mistakes;
use crate::show::Answer;
use crate::show::changed::Flushable;
use crate::show::select::{Filter, SelectError, Selection};

pub use client::{ClientError, request};
pub use server::Server;

/// Where the socket is, if nobody says otherwise.
pub const DEFAULT_PATH: &str = "/run/tapswitch/control.sock";

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Tell about the state.
    Show {
        /// About which part.
        what: What,
        /// Entries of a table at most. Default 1000, cut to [`MAX_LIMIT`]: an answer is in memory as a whole.
        #[serde(default = "default_limit")]
        limit: usize,
        /// The column to sort by; `-COLUMN`: the largest first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sort: Option<String>,
        /// Which rows; nothing: all.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        filter: Filter,
    },
    /// Read the configuration again, and become what it says.
    Reload,
    /// Add a port, until the next reload.
    PortAdd {
        /// `NETWORK/PORT`.
        port: String,
        /// Its keys: lines of TOML, as in the file.
        keys: String,
    },
    /// Delete a port, until the next reload.
    PortDel {
        /// `NETWORK/PORT`.
        port: String,
    },
    /// Add or delete a NAT rule, until the next reload.
    Nat {
        /// `-A`, `-I` or `-D`, as iptables' nat table has it.
        line: String,
    },
    /// Forget entries of a table.
    Flush {
        /// Which table.
        what: Flushable,
        /// Which entries; nothing: all.
        #[serde(default)]
        filter: Filter,
    },
    /// Write the connections to the file that the configuration names, while packets flow.
    NatSave,
}

impl Request {
    /// The first `limit` entries of `what`, as they come.
    pub const fn show(what: What, limit: usize) -> Self {
        Self::Show { what, limit, sort: None, filter: Filter::new() }
    }

    /// Whether a switch that runs well may need seconds: it opens devices, or writes a file.
    const fn may_take_long(&self) -> bool {
        match self {
            Self::Reload
            | Self::PortAdd { .. }
            | Self::PortDel { .. }
            | Self::NatSave
            | Self::Flush { .. } => true,
            Self::Show { .. } | Self::Nat { .. } => false,
        }
    }
}

/// The parts of the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Networks, their addresses and limits, and the switch itself.
    Networks,
    /// Uplinks, and who uses them.
    Uplinks,
    /// Networks, ports and uplinks as a picture.
    Map,
    /// Ports and their counters.
    Ports,
    /// Which address is behind which port.
    Fdb,
    /// VLANs, and which ports carry them.
    Vlans,
    /// Next hops and their MAC addresses.
    Neighbours,
    /// Connections that NAT and the gateway know.
    Flows,
    /// NAT rules with counters, as `iptables -t nat -L -nv` shows them.
    Nat,
    /// Servers that connections are spread over, and whether they are alive.
    Servers,
    /// Addresses leased by DHCP.
    Leases,
    /// Names of `hosts`, and where names have led hosts of networks with `allow-names`.
    Names,
    /// Ports of uplinks that guests opened for themselves.
    Mappings,
    /// Why frames were dropped.
    Drops,
    /// Counters of the whole switch.
    Stats,
    /// Spanning trees: roots, and what ports are in them.
    Stp,
}

/// What the driver says to a request.
pub type Response<T = Told> = Result<T, RequestError>;

/// An answer, or what one is made of: that takes its time, and is done on the client's thread.
pub struct Told(Box<dyn FnOnce() -> Response<Answer> + Send>);

impl Told {
    /// `answer` is called where the answer is needed.
    pub fn by(answer: impl FnOnce() -> Answer + Send + 'static) -> Self {
        Self(Box::new(|| Ok(answer())))
    }

    /// Only what `selection` wants, and the first `limit` of that.
    #[must_use]
    pub fn select(self, selection: Selection, limit: usize) -> Self {
        if selection.is_all() {
            return self;
        }
        let select =
            move |answer: Answer| answer.select(&selection, limit).map_err(RequestError::WrongColumn);
        Self(Box::new(move || self.answer().and_then(select)))
    }

    fn answer(self) -> Response<Answer> {
        (self.0)()
    }
}

impl From<Answer> for Told {
    fn from(answer: Answer) -> Self {
        Self::by(|| answer)
    }
}

/// A request on its way to the driver.
#[derive(Debug)]
pub struct Command {
    /// What is asked for.
    pub request: Request,
    /// Where the answer goes. Has room for it; whoever waited may be gone, which is no mistake.
    pub reply: SyncSender<Response>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum RequestError {
    /// The line is no request.
    Malformed(serde_json::Error),
    /// The line is longer than a request can be.
    TooLong,
    /// The line did not arrive in time.
    TooSlow,
    /// The driver has ended, or is busy for longer than a client should wait.
    NoAnswer,
    /// The configuration to reload has mistakes; nothing changed.
    WrongConfig(ConfigError),
    /// The rule has a mistake; nothing changed.
    WrongRule(Mistakes),
    /// The port can't be added or deleted; nothing changed.
    WrongPort(ChangeError),
    /// The filter makes no sense, or names what isn't there; nothing changed.
    WrongFilter(filter::FilterError),
    /// What is to be shown has no such column.
    WrongColumn(SelectError),
    /// The configuration to reload would close every port; nothing changed.
    NothingLeft {
        /// The file.
        path: PathBuf,
        /// How many ports there are.
        ports: usize,
    },
    /// What was asked for could not be brought about.
    Failed(Box<dyn Error + Send + Sync>),
}

impl RequestError {
    /// The part of the error that programs act on.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed(_) | Self::TooLong | Self::TooSlow => ErrorKind::Request,
            Self::WrongConfig(_) | Self::NothingLeft { .. } | Self::WrongRule(_) => ErrorKind::Config,
            Self::WrongPort(error) if error.is_missing() => ErrorKind::Failed,
            Self::WrongFilter(filter::FilterError::Missing(_)) => ErrorKind::Failed,
            Self::WrongPort(_) | Self::WrongFilter(_) | Self::WrongColumn(_) => ErrorKind::Config,
            Self::NoAnswer | Self::Failed(_) => ErrorKind::Failed,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(
                f,
                "not a request: {error}; write one JSON object per line, such as {{\"request\":\"show\",\"what\":\"ports\"}}"
            ),
            Self::TooLong => f.write_str("the line is longer than 64 KiB; write one JSON object per line"),
            Self::TooSlow => f.write_str("the line did not end in time; write whole lines"),
            Self::NoAnswer => f.write_str("the switch is stopping or too busy to answer; try again"),
            Self::WrongConfig(error) => {
                write!(f, "nothing changed, the configuration is wrong:\n{}", error.render(false))
            }
            Self::NothingLeft { path, ports } => write!(
                f,
                "error: nothing changed: {} has no network, and {ports} ports are open; write a section [network.NAME], \
                 or end the switch to close them all",
                path.display()
            ),
            Self::WrongPort(error) => write!(f, "{error}"),
            Self::WrongFilter(error) => write!(f, "{error}"),
            Self::WrongColumn(error) => write!(f, "{error}"),
            Self::WrongRule(mistakes) => f.write_str(&mistakes.render(false)),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl Error for RequestError {}

/// Whose fault an error is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request makes no sense.
    Request,
    /// The configuration, the rule or the port has mistakes.
    Config,
    /// The switch could not do it.
    Failed,
}

/// An answer's line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Reply {
    Error { error: String, kind: ErrorKind },
    Answer(Answer),
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        match response.and_then(Told::answer) {
            Ok(answer) => Self::Answer(answer),
            Err(error) => Self::Error { kind: error.kind(), error: error.to_string() },
        }
    }
}

/// Entries that an answer has at most: about 30 MB of flows.
pub const MAX_LIMIT: usize = 100_000;

/// The bytes that a request's line has at most.
const MAX_LINE: usize = 64 * 1024;

/// Entries of a table that are shown if nobody says otherwise.
pub const DEFAULT_LIMIT: usize = 1000;

const fn default_limit() -> usize {
    DEFAULT_LIMIT
}

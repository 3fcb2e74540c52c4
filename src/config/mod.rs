//! The configuration: from the text of a file to what the worker and the devices are given.
//!
//! ```text
//! text ──table──▶ file (typed, each value knows its place) ──check──▶ Config ──Plan::new──▶ Plan ──diff──▶ Actions
//! ```
//!
//! All mistakes of a file are collected and shown at once, each with its line, column and what to write instead.

mod balance;
mod blueprint;
mod change;
mod check;
mod checked;
mod device;
mod dns;
mod error;
mod file;
mod follow;
mod host;
mod ipv6;
mod lease_file;
mod limits;
mod load;
mod nat_settings;
mod note;
mod origin;
mod plan;
mod poll;
mod publish;
mod read;
mod settings;
mod shared;
mod slip;
mod stp;
mod table;
mod text;
mod value;
mod vlan;

#[cfg(test)]
mod tests;

pub use blueprint::Blueprint;
pub use change::{ChangeError, RuleError};
pub use checked::{Config, PortView};
pub use device::{Card, Netdev, netdev};
pub use error::ConfigError;
pub use lease_file::LeaseFile;
pub use origin::{Origin, Source};
pub use plan::{Action, Plan};
pub use poll::PollMode;
pub use settings::{Change, Kind, Outcome, Settings, Value};
pub use shared::{HostAddress, SharedUplink};
pub(crate) use text::read as read_text;

/// Where `run` looks for the configuration.
pub const DEFAULT_PATH: &str = "/etc/tapswitch/tapswitch.toml";

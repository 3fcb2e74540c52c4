//! `tapswitch port`.

use clap::Subcommand;

use super::{Control, Failure, tell};
use crate::control::Request;

#[derive(Subcommand, Debug)]
pub(super) enum Port {
    /// Add a port
    Add {
        /// The port
        #[arg(value_name = "NETWORK/PORT")]
        port: String,
        /// Its keys as in the configuration file, such as type=packet device=tap1
        #[arg(value_name = "KEY=VALUE", required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        control: Control,
    },
    /// Delete a port
    Del {
        /// The port
        #[arg(value_name = "NETWORK/PORT")]
        port: String,
        #[command(flatten)]
        control: Control,
    },
}

impl Port {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add { port, keys, control } => {
                let keys: Result<Vec<String>, Failure> = keys.iter().map(|key| toml_line(key)).collect();
                tell(&control, Request::PortAdd { port, keys: keys?.concat() })
            }
            Self::Del { port, control } => tell(&control, Request::PortDel { port }),
        }
    }
}

/// `KEY=VALUE` as a line of the configuration file.
fn toml_line(key: &str) -> Result<String, Failure> {
    let Some((key, value)) = key.split_once('=') else {
        return Err(Failure::wrong(format!("{key:?} says nothing; write KEY=VALUE, such as type=packet")));
    };
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let value = match key {
        "mtu" | "learn-limit" | "offload" | "host-stack" | "take-over" => value.to_owned(),
        "static-macs" => format!("[{}]", value.split(',').map(quoted).collect::<Vec<_>>().join(", ")),
        _ => quoted(value),
    };
    Ok(format!("{} = {value}\n", quoted(key)))
}

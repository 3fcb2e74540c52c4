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
    let is_bare = matches!(value, "true" | "false") || value.parse::<u64>().is_ok();
    let value = match key {
        // They may be named by a number.
        "device" | "netns" => quoted(value),
        _ if is_bare => value.to_owned(),
        "static-macs" | "addresses" | "guard" => {
            format!("[{}]", value.split(',').map(quoted).collect::<Vec<_>>().join(", "))
        }
        _ => quoted(value),
    };
    Ok(format!("{} = {value}\n", quoted(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_their_keys_want_them() {
        for (key, line) in [
            ("type=tap", "\"type\" = \"tap\"\n"),
            ("device=7", "\"device\" = \"7\"\n"),
            ("mtu=9000", "\"mtu\" = 9000\n"),
            ("offload=false", "\"offload\" = false\n"),
            ("guard=true", "\"guard\" = true\n"),
            ("guard=mac,ip", "\"guard\" = [\"mac\", \"ip\"]\n"),
            ("addresses=10.0.0.2", "\"addresses\" = [\"10.0.0.2\"]\n"),
            ("static-macs=02:00:00:00:00:01", "\"static-macs\" = [\"02:00:00:00:00:01\"]\n"),
        ] {
            assert_eq!(toml_line(key).ok().as_deref(), Some(line));
        }
    }
}

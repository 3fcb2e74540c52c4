//! Configuration out of the files of what tapswitch takes the place of. What can't be taken over is a mistake in the
//! file, or named in a note; nothing is passed over in silence.

mod iptables;
mod libvirt;

#[cfg(test)]
mod tests;

pub use iptables::iptables;
pub use libvirt::{LibvirtOptions, libvirt};

/// A part of a configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// The text.
    pub toml: String,
    /// What whoever asked for it should know.
    pub notes: Vec<String>,
}

/// `text` as TOML writes a text value.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

//! What a file says, key by key, and what differs between two of them: for people who want to know what a reload did.
//!
//! Values are as they stand in the file, so a key that is written with its default value where it was missing is a
//! difference, and every key that there will ever be counts.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The keys of each section, without those of its sections.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings(BTreeMap<Section, BTreeMap<String, Value>>);

/// What a key says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A text, a number, true or false.
    One(String),
    /// A list.
    Many(Vec<String>),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Section {
    Whole(String),
    Network(String),
    Uplink(String),
    Port(String, String),
}

impl Settings {
    /// What `text`, which has no mistakes, says.
    pub(super) fn read(text: &str) -> Self {
        let mut settings = Self::default();
        for (name, value) in table(text) {
            match (name.as_str(), value) {
                ("network", toml::Value::Table(networks)) => settings.networks(networks),
                ("uplink", toml::Value::Table(uplinks)) => {
                    for (name, keys) in uplinks {
                        settings.keys(Section::Uplink(name), "", keys);
                    }
                }
                (_, keys) => settings.keys(Section::Whole(name), "", keys),
            }
        }
        settings
    }

    fn networks(&mut self, networks: toml::Table) {
        for (network, keys) in networks {
            let toml::Value::Table(mut keys) = keys else { continue };
            if let Some(toml::Value::Table(ports)) = keys.remove("port") {
                for (port, keys) in ports {
                    self.keys(Section::Port(network.clone(), port), "", keys);
                }
            }
            self.keys(Section::Network(network), "", keys.into());
        }
    }

    /// The keys of a section; those of a table in it have its name in front.
    fn keys(&mut self, section: Section, prefix: &str, value: toml::Value) {
        let toml::Value::Table(keys) = value else { return };
        for (name, value) in keys {
            let name = format!("{prefix}{name}");
            if value.is_table() {
                self.keys(section.clone(), &format!("{name}."), value);
            } else {
                self.0.entry(section.clone()).or_default().insert(name, Value::of(value));
            }
        }
    }

    /// The name servers that `network` offers where the file names none are those of the host.
    pub(super) fn set_name_servers(&mut self, network: &str, servers: Vec<String>) {
        let keys = self.0.entry(Section::Network(network.to_owned())).or_default();
        keys.entry("dns".to_owned()).or_insert(Value::Many(servers));
    }

    /// The `mtu` that the ports of `network` have, where they have none of their own.
    pub(super) fn network_mtu(&self, network: &str) -> Option<&str> {
        match self.0.get(&Section::Network(network.to_owned()))?.get("mtu")? {
            Value::One(mtu) => Some(mtu),
            Value::Many(_) => None,
        }
    }

    /// There is a port more, with these lines of TOML.
    pub(super) fn add_port(&mut self, network: &str, port: &str, keys: &str) {
        self.keys(Section::Port(network.to_owned(), port.to_owned()), "", table(keys).into());
    }

    /// There is a port less.
    pub(super) fn remove_port(&mut self, network: &str, port: &str) {
        self.0.remove(&Section::Port(network.to_owned(), port.to_owned()));
    }

    /// The rules were changed by `line`, which is in no file.
    pub fn add_rule_change(&mut self, line: &str) {
        let keys = self.0.entry(Section::Whole("nat".to_owned())).or_default();
        let lines = keys.entry("rules at run time".to_owned()).or_insert_with(|| Value::Many(Vec::new()));
        if let Value::Many(lines) = lines {
            lines.push(line.to_owned());
        }
    }

    /// What differs from `old`: sections that came or went, and keys of those that stayed.
    pub fn changes_since(&self, old: &Self) -> Vec<Change> {
        let none = BTreeMap::new();
        let mut changes = Vec::new();
        let sections: std::collections::BTreeSet<&Section> = old.0.keys().chain(self.0.keys()).collect();
        for section in sections {
            let whole = match (old.0.get(section), self.0.get(section)) {
                _ if matches!(section, Section::Whole(_)) => None,
                (None, Some(_)) => Some(Outcome::Added),
                (Some(_), None) => Some(Outcome::Removed),
                _ => None,
            };
            match whole {
                Some(change) => changes.push(section.changed(change)),
                None => {
                    let keys = |settings: &Self| settings.0.get(section).unwrap_or(&none).clone();
                    changes.extend(differing(section, &keys(old), &keys(self)));
                }
            }
        }
        changes
    }
}

fn differing(section: &Section, old: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>) -> Vec<Change> {
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differs = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    let change = |name: &String| {
        let (from, to) = (old.get(name).cloned(), new.get(name).cloned());
        let change = match (&from, &to) {
            (None, _) => Outcome::Added,
            (_, None) => Outcome::Removed,
            _ => Outcome::Changed,
        };
        Change { kind: Kind::Setting, what: format!("{}/{name}", section.place()), change, from, to }
    };
    differs.map(change).collect()
}

impl Section {
    fn place(&self) -> String {
        match self {
            Self::Whole(name) | Self::Network(name) | Self::Uplink(name) => name.clone(),
            Self::Port(network, port) => format!("{network}/{port}"),
        }
    }

    fn changed(&self, change: Outcome) -> Change {
        let kind = match self {
            Self::Whole(_) => Kind::Setting,
            Self::Network(_) => Kind::Network,
            Self::Uplink(_) => Kind::Uplink,
            Self::Port(..) => Kind::Port,
        };
        Change { kind, what: self.place(), change, from: None, to: None }
    }
}

impl Value {
    fn of(value: toml::Value) -> Self {
        let plain = |value: toml::Value| match value {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        match value {
            toml::Value::Array(list) => Self::Many(list.into_iter().map(plain).collect()),
            other => Self::One(plain(other)),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(text) => f.write_str(text),
            Self::Many(list) => write!(f, "[{}]", list.join(", ")),
        }
    }
}

/// A difference between two configurations.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// What came, went or changed.
    pub kind: Kind,
    /// Its name: `NETWORK`, `UPLINK` or `NETWORK/PORT`; a setting's has the key behind it, as in `lan/publish`.
    pub what: String,
    /// What happened to it.
    pub change: Outcome,
    /// A setting's value before, if it had one.
    pub from: Option<Value>,
    /// A setting's value now, if it has one.
    pub to: Option<Value>,
}

/// What can come, go or change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A network.
    Network,
    /// An uplink.
    Uplink,
    /// A port.
    Port,
    /// A key of something that stays.
    Setting,
}

/// What happens to something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was not there before.
    Added,
    /// It is there no more.
    Removed,
    /// It is another one.
    Changed,
}

/// One line: `lan/d: added`, `lan/dhcp: A → B`, `lan/publish: added X, removed Y`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Network => "network ",
            Kind::Uplink => "uplink ",
            Kind::Port | Kind::Setting => "",
        };
        write!(f, "{kind}{}: ", self.what)?;
        match (&self.from, &self.to) {
            (Some(Value::Many(old)), Some(Value::Many(new))) => lists(f, old, new),
            (Some(old), Some(new)) => write!(f, "{old} → {new}"),
            (Some(old), None) => write!(f, "removed {old}"),
            (None, Some(new)) => write!(f, "added {new}"),
            (None, None) => f.write_str(match self.change {
                Outcome::Added => "added",
                Outcome::Removed => "removed",
                Outcome::Changed => "changed",
            }),
        }
    }
}

fn lists(f: &mut fmt::Formatter<'_>, old: &[String], new: &[String]) -> fmt::Result {
    let only = |here: &[String], there: &[String]| -> Vec<String> {
        here.iter().filter(|entry| !there.contains(entry)).cloned().collect()
    };
    let sides = [("added", only(new, old)), ("removed", only(old, new))];
    let mut sides = sides.iter().filter(|(_, entries)| !entries.is_empty()).peekable();
    if sides.peek().is_none() {
        return f.write_str("in another order");
    }
    while let Some((word, entries)) = sides.next() {
        let end = if sides.peek().is_some() { "; " } else { "" };
        write!(f, "{word} {}{end}", entries.join(", "))?;
    }
    Ok(())
}

/// The text as a table; what is no TOML is empty.
fn table(text: &str) -> toml::Table {
    text.parse().unwrap_or_default()
}

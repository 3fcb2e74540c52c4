//! What `--log` says: `LEVEL`, or `MODULE=LEVEL`, with commas between several.

use std::fmt;

use tracing_subscriber::EnvFilter;

use crate::mistake::suggestion;

/// The filter that `text` means; nothing: [`DEFAULT`].
///
/// # Errors
/// A word is neither a level nor a module of ours. The filter's own parser would take it for a module, and silence
/// everything else.
pub(super) fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let mut directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    directives.try_for_each(|directive| match directive.split_once('=') {
        Some((module, level)) => check_module(text, module).and_then(|()| check_level(text, level)),
        None if directive.contains("::") || MODULES.contains(&directive) => check_module(text, directive),
        None => check_level(text, directive),
    })?;
    let filter = if text.trim().is_empty() { DEFAULT } else { text };
    EnvFilter::try_new(filter).map_err(|error| LogError {
        text: text.to_owned(),
        message: error.to_string(),
        help: suggestion("", &LEVELS),
    })
}

/// A filter that makes no sense.
#[derive(Debug)]
pub(super) struct LogError {
    text: String,
    message: String,
    help: String,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, message, help } = self;
        write!(f, "--log {text}: {message}; {help}")
    }
}

fn check_level(text: &str, level: &str) -> Result<(), LogError> {
    let lower = level.to_ascii_lowercase();
    if LEVELS.contains(&lower.as_str()) {
        return Ok(());
    }
    let message = format!("`{level}` is no level");
    let alike = LEVELS
        .into_iter()
        .find(|known| lower.starts_with(known) || (lower.len() > 1 && known.starts_with(&lower)));
    let help = suggestion(alike.unwrap_or(&lower), &LEVELS);
    Err(LogError { text: text.to_owned(), message, help })
}

fn check_module(text: &str, module: &str) -> Result<(), LogError> {
    let known = |path: &str| MODULES.contains(&path);
    let mut parts = module.split("::");
    let (name, inner) = (parts.next().unwrap_or_default(), parts.next());
    if inner.map_or_else(|| known(name), |inner| known(&format!("{name}::{inner}"))) {
        return Ok(());
    }
    let message = format!("there is no module `{module}`");
    Err(LogError { text: text.to_owned(), message, help: suggestion(module, &MODULES) })
}

const DEFAULT: &str = "info";

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// The modules that log, and ours all the same.
const MODULES: [&str; 15] = [
    "tapswitch",
    "tapswitch::cli",
    "tapswitch::config",
    "tapswitch::control",
    "tapswitch::demo",
    "tapswitch::driver",
    "tapswitch::guest",
    "tapswitch::import",
    "tapswitch::log",
    "tapswitch::mistake",
    "tapswitch::resolver",
    "tapswitch::rules",
    "tapswitch::service",
    "tapswitch::show",
    "tapswitch::terminal",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_level_is_an_error_with_a_suggestion() {
        for (text, help) in [
            ("inof", "write `info`"),
            ("warning", "write `warn`"),
            ("loud", "write one of: error, warn, info, debug, trace, off"),
            ("warn,tapswitch::driver=debgu", "write `debug`"),
            ("tapswitch::drvier=debug", "write `tapswitch::driver`"),
            ("tapswich=debug", "write `tapswitch`"),
            ("info,tapswitch::driver::links=lots", "write one of"),
        ] {
            let error = filter(text).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(help), "{text}: {error}");
        }
    }

    #[test]
    fn levels_alone_and_by_module_are_taken() {
        for text in
            ["", "info", "OFF", "warn,tapswitch::driver=debug", "tapswitch::driver::links=trace", "tapswitch"]
        {
            assert!(filter(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn every_module_is_known() {
        let modules = include_str!("../lib.rs").lines();
        let modules = modules.filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
        for module in modules {
            let path = format!("tapswitch::{}", module.trim_end_matches(';'));
            assert!(MODULES.contains(&path.as_str()), "{path}");
        }
    }
}

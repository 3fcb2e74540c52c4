//! The documentation and what it is about.

use super::super::{Config, device};
use super::mistakes::BASE;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");
const EXAMPLE: &str = include_str!("../../../docs/tapswitch.toml");

/// These are no keys.
const SECTIONS: [&str; 3] = ["port", "balance", "timeouts"];

#[test]
fn the_example_has_no_mistakes() {
    let config =
        Config::parse("tapswitch.toml", EXAMPLE, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let said = format!("ok: {} networks, {} ports", config.network_count(), config.port_count());
    assert!(REFERENCE.contains(&said), "{said}");
}

#[test]
fn every_key_is_in_the_reference() {
    for section in ["[network.default]\n", "port.vm1]\n", "[uplink.wan]\n", "[engine]\n", "workers = 1\n"] {
        let mistake = if section.starts_with('w') { "timeouts.qqqqq = 1\n" } else { "qqqqq = 1\n" };
        keys_are_in_the_reference(&BASE.replace(section, &format!("{section}{mistake}")));
    }
    keys_are_in_the_reference(&BASE.replace("port.vm1]\n", "port.vm1]\nstorm.qqqqq = 1\n"));
    keys_are_in_the_reference(&format!("{BASE}[nat]\nqqqqq = 1\n"));
    keys_are_in_the_reference(&format!("{BASE}[network.default.balance.web]\nqqqqq = 1\n"));
    for kind in device::names() {
        assert!(REFERENCE.contains(&format!("### `type = \"{kind}\"`")), "{kind} has a page");
        let port = format!("port.vm1]\ntype = '{kind}'\nqqqqq = 1\n");
        keys_are_in_the_reference(&BASE.replace("port.vm1]\ntype = 'tap'\n", &port));
    }
}

/// `text` has an unknown key in a section: the known ones are those of the message.
fn keys_are_in_the_reference(text: &str) {
    let mistakes = Config::parse("t", text, &[]).unwrap_err();
    let mut keys = mistakes.list().iter().filter_map(|mistake| mistake.help.strip_prefix("write one of: "));
    for key in keys.next().unwrap().split(", ").filter(|key| !SECTIONS.contains(key)) {
        assert!(REFERENCE.contains(&format!("`{key}`")), "{key}");
    }
}

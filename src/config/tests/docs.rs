//! The documentation and what it is about.

use super::super::Config;
use super::mistakes::BASE;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");
const EXAMPLE: &str = include_str!("../../../docs/tapswitch.toml");

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
        let text = BASE.replace(section, &format!("{section}{mistake}"));
        let said = Config::parse("t", &text, &[]).unwrap_err().list()[0].help.clone();
        let keys = said.strip_prefix("write one of: ").unwrap();
        for key in keys.split(", ").filter(|key| *key != "port" && *key != "timeouts") {
            assert!(REFERENCE.contains(&format!("`{key}`")), "{key}");
        }
    }
}

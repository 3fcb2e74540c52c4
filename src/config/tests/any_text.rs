//! Whatever the file holds: a configuration or an explanation comes out, never a panic.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::{Config, Plan};
use super::mistakes::BASE;

/// What any text leads to is either a plan, or mistakes that can be shown.
fn survives(text: &str) {
    match Config::parse("any", text, &[]) {
        Ok(config) => assert_eq!(Plan::new(&config, None).devices.len(), config.port_count()),
        Err(mistakes) => {
            assert!(!mistakes.list().is_empty());
            assert!(!mistakes.render(false).is_empty() && !mistakes.render(true).is_empty());
            assert!(!mistakes.to_string().is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_a_configuration_or_a_mistake(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn any_damage_to_a_good_file_is_a_configuration_or_a_mistake(
        edits in vec((0..BASE.len(), 0usize..20, select(SCRAPS)), 1..6),
    ) {
        let mut text = BASE.to_owned();
        for (place, len, scrap) in edits {
            let start = text.floor_char_boundary(place.min(text.len()));
            let end = text.floor_char_boundary((start + len).min(text.len()));
            text.replace_range(start..end, scrap);
        }
        survives(&text);
    }

    #[test]
    fn any_order_of_sections_and_keys_is_a_configuration_or_a_mistake(lines in vec(select(LINES), 0..30)) {
        survives(&lines.join("\n"));
    }
}

const SCRAPS: &[&str] = &[
    "",
    "\n",
    "'",
    "\"",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    ".",
    ",",
    "/",
    "-",
    "0",
    "9999999999",
    "é",
    "\u{0}",
    "#",
    "true",
    "1e9",
    "'''",
    "network",
    "port",
    "[uplink.b]\n",
    "= [1, 'x', {}]",
    "1979-05-27",
    "192.168.122.255/31",
];

const LINES: &[&str] = &[
    "[network.default.balance.web]",
    "listen = '80/tcp'",
    "servers = ['192.168.122.10:80', '10.0.0.9:80']",
    "backup = ['192.168.122.1:80']",
    "check = 'icmp'",
    "[network.a]",
    "[network.b]",
    "[network.a.port.p]",
    "[network.a.port.q]",
    "[network.b.port.p]",
    "[uplink.u]",
    "[uplink.a]",
    "[nat]",
    "mapping = 'address-dependent'",
    "quarantine = 0",
    "rules = []",
    "rules = [\"-A PREROUTING \\u00e9 \\\"x\\\\ -j\", '''\n-A  é''', 'é']",
    "rules = ['-A POSTROUTING -o u -j MASQUERADE', '-A PREROUTING -i a -j NETMAP --to 10.0.0.0/8']",
    "[engine]",
    "[engine.timeouts]",
    "type = 'tap'",
    "type = 'packet'",
    "type = 'stream'",
    "type = 'dgram'",
    "type = 'vhost-user'",
    "path = '/run/a'",
    "peer = '/run/a'",
    "role = 'client'",
    "host-stack = true",
    "take-over = true",
    "mode = 'internal'",
    "mode = 'host-only'",
    "mode = 'nat'",
    "mode = 'route'",
    "mode = 'bridge'",
    "uplink = 'u'",
    "address = '10.0.0.1/31'",
    "address = '10.0.0.1/1'",
    "address = '10.1.0.1/24'",
    "dhcp = '10.0.0.0-10.0.0.0'",
    "dhcp = '10.1.0.2-10.1.0.9'",
    "peer-address = '10.1.0.5/24'",
    "publish = ['80:10.1.0.2:80', '80:10.0.0.0:80/udp']",
    "reserve = ['02:00:00:00:00:01=10.1.0.5']",
    "gateway = '10.1.0.9'",
    "netns = 77",
    "device = 'd'",
    "mtu = 9000",
    "udp = 300",
    "flows = 1",
];

//! What differs between two configurations, in words.

use super::super::{Config, Plan};

const FILE: &str = "
[network.lan]
mode = 'nat'
address = '192.168.122.1/24'
dhcp = '192.168.122.100-192.168.122.199'
uplink = 'wan'
publish = ['80:192.168.122.10:80/tcp', '81:192.168.122.10:81/tcp']
[network.lan.port.a]
type = 'tap'
[network.lan.port.b]
type = 'stream'
path = '/run/b'
[network.other]
mode = 'internal'
[uplink.wan]
type = 'tap'
address = '10.0.0.2/24'
[engine.timeouts]
udp = 300
";

fn plan(text: &str) -> Plan {
    Plan::new(&Config::parse("t", text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}")), None)
}

/// The lines for a change of the file by these replacements.
#[track_caller]
fn lines(replacements: &[(&str, &str)]) -> Vec<String> {
    let text = replacements.iter().fold(FILE.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replace(old, new)
    });
    let changes = plan(&text).settings.changes_since(&plan(FILE).settings);
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn the_same_file_differs_in_nothing() {
    assert_eq!(lines(&[]), Vec::<String>::new());
    assert_eq!(
        lines(&[("[network.other]\nmode = 'internal'", "[network]\nother = { mode = \"internal\" } # so")]),
        Vec::<String>::new()
    );
}

#[test]
fn every_difference_is_a_line_with_its_network_port_or_setting() {
    assert_eq!(lines(&[("lan.port.b", "lan.port.d")]), ["lan/b: removed", "lan/d: added"]);
    assert_eq!(
        lines(&[("network.other", "network.more")]),
        ["network more: added", "network other: removed"]
    );
    assert_eq!(
        lines(&[(".199", ".150")]),
        ["lan/dhcp: 192.168.122.100-192.168.122.199 → 192.168.122.100-192.168.122.150"]
    );
    assert_eq!(lines(&[("port.a]", "port.a]\nmtu = 9000")]), ["lan/a/mtu: added 9000"]);
    assert_eq!(lines(&[("path = '/run/b'", "path = '/run/c'")]), ["lan/b/path: /run/b → /run/c"]);
    assert_eq!(lines(&[("udp = 300", "udp = 200")]), ["engine/timeouts.udp: 300 → 200"]);
    assert_eq!(lines(&[("[engine.timeouts]\nudp = 300", "")]), ["engine/timeouts.udp: removed 300"]);
    assert_eq!(lines(&[("10.0.0.2/24", "10.0.0.3/24")]), ["wan/address: 10.0.0.2/24 → 10.0.0.3/24"]);
    assert_eq!(lines(&[("mode = 'internal'", "mode = 'internal'\nmtu = 1400")]), ["other/mtu: added 1400"]);
}

#[test]
fn of_a_list_only_what_came_and_went_is_told() {
    assert_eq!(
        lines(&[("'81:192.168.122.10:81/tcp'", "'82:192.168.122.10:82/tcp'")]),
        ["lan/publish: added 82:192.168.122.10:82/tcp; removed 81:192.168.122.10:81/tcp"]
    );
    let swapped = "publish = ['81:192.168.122.10:81/tcp', '80:192.168.122.10:80/tcp']";
    assert_eq!(
        lines(&[("publish = ['80:192.168.122.10:80/tcp', '81:192.168.122.10:81/tcp']", swapped)]),
        ["lan/publish: in another order"]
    );
    let rule = "-A POSTROUTING -o wan -j MASQUERADE";
    assert_eq!(
        lines(&[("uplink = 'wan'", &format!("uplink = 'wan'\nrules = ['{rule}']"))]),
        [format!("lan/rules: added [{rule}]")]
    );
}

#[test]
fn what_was_changed_at_run_time_differs_from_the_file() {
    let file = plan(FILE);
    let running = file.with_port("lan/c", "type = 'packet'\ndevice = 'tap7'").unwrap();
    let mut running = running.without_port("lan/a").unwrap();
    running.settings.add_rule_change("-A PREROUTING -j ACCEPT");
    let lines: Vec<String> =
        file.settings.changes_since(&running.settings).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["nat/rules at run time: removed [-A PREROUTING -j ACCEPT]", "lan/a: added", "lan/c: removed"]
    );
}

#[test]
fn name_servers_of_the_host_that_changed_are_told() {
    let with = |servers: &[std::net::Ipv4Addr]| {
        let text = FILE.replacen("dhcp =", "dns-forwarder = false\ndhcp =", 1);
        Plan::new(&Config::parse("t", &text, servers).unwrap_or_else(|mistakes| panic!("{mistakes}")), None)
    };
    let (old, new) = (with(&[[9, 9, 9, 9].into()]), with(&[[1, 1, 1, 1].into()]));
    let changes = new.settings.changes_since(&old.settings);
    assert_eq!(
        changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["lan/dns: added 1.1.1.1; removed 9.9.9.9"]
    );
}

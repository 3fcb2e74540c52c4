//! `publish`, as docker's `-p`: single ports, ranges, shifted ones, and addresses beside the uplink's.

use engine::report::Chain;

use super::super::{Config, Plan};
use super::mistakes::BASE;
use crate::rules::{Edit, Line, Rule};

fn text(publish: &str) -> String {
    BASE.replace("uplink = 'wan'", &format!("uplink = 'wan'\npublish = [{publish}]"))
}

/// The rules that come of it, as iptables writes them.
fn rules(publish: &str) -> Vec<String> {
    let config =
        Config::parse("t", &text(publish), &[]).unwrap_or_else(|mistakes| panic!("{publish}: {mistakes}"));
    let plan = Plan::new(&config, None);
    let line = |rule| {
        let rule = Rule::of(rule, |id| plan.network_name(id).to_owned());
        Line { chain: Chain::Prerouting, edit: Edit::Append(rule) }.to_string()
    };
    plan.runtime.rules.prerouting.iter().map(line).collect()
}

fn said(publish: &str) -> String {
    let said = Config::parse("t", &text(publish), &[]).expect_err(publish).to_string();
    said.strip_prefix("t:6:").unwrap_or(&said).to_owned()
}

#[test]
fn a_published_range_is_one_rule_that_keeps_or_shifts_each_port() {
    let kept = "-A PREROUTING -d 10.0.0.2/32 -p tcp --dport 8000:8010 -j DNAT --to-destination 192.168.122.10:8000-8010";
    assert_eq!(rules("'8000-8010:192.168.122.10:8000-8010'"), [kept]);
    assert_eq!(rules("'8000-8010:192.168.122.10:8000-8010/tcp'"), [kept]);
    assert_eq!(rules("'8000-8010:192.168.122.10:8000-8010/TCP'"), [kept]);
    let shifted = "-A PREROUTING -d 10.0.0.2/32 -p udp --dport 8000:8010 -j DNAT --to-destination 192.168.122.10:9000-9010/8000";
    assert_eq!(rules("'8000-8010:192.168.122.10:9000-9010/udp'"), [shifted]);
    let one = "-A PREROUTING -d 10.0.0.2/32 -p tcp --dport 80 -j DNAT --to-destination 192.168.122.10:8080";
    assert_eq!(rules("'80-80:192.168.122.10:8080-8080'"), [one]);
}

#[test]
fn an_address_beside_the_uplinks_is_answered_for_outside_and_reached_from_inside() {
    let rule = "-d 10.0.0.5/32 %-p tcp --dport 8080 -j DNAT --to-destination 192.168.122.10:80";
    let rule = |input| format!("-A PREROUTING {}", rule.replace('%', input));
    assert_eq!(rules("'10.0.0.5:8080:192.168.122.10:80'"), [rule("-i wan "), rule("")]);
    let own = "-A PREROUTING -d 10.0.0.2/32 -p tcp --dport 8080 -j DNAT --to-destination 192.168.122.10:80";
    assert_eq!(rules("'10.0.0.2:8080:192.168.122.10:80'"), [own]);
    assert_eq!(rules("'0.0.0.0:8080:192.168.122.10:80'"), [own]);
    // One port of two addresses, and of two protocols.
    assert_eq!(
        rules("'80:192.168.122.10:80', '10.0.0.5:80:192.168.122.11:80', '80:192.168.122.10:80/udp'").len(),
        4
    );
}

#[test]
fn what_is_wrong_with_a_published_port_is_told() {
    for (publish, expected) in WRONG {
        assert_eq!(said(publish), *expected, "{publish}");
    }
}

#[test]
fn ranges_that_meet_are_seen_whatever_their_order() {
    let ok = |publish: &str| Config::parse("t", &text(publish), &[]).is_ok();
    let range = |first, last| format!("'{first}-{last}:192.168.122.10:{first}-{last}'");
    for (a, b, fits) in [
        ((10, 20), (21, 30), true),
        ((21, 30), (10, 20), true),
        ((10, 20), (20, 30), false),
        ((20, 30), (10, 20), false),
        ((10, 30), (15, 16), false),
        ((15, 16), (10, 30), false),
        ((10, 10), (10, 10), false),
        ((65_535, 65_535), (1, 1), true),
    ] {
        assert_eq!(ok(&format!("{}, {}", range(a.0, a.1), range(b.0, b.1))), fits, "{a:?} {b:?}");
    }
}

#[rustfmt::skip]
const WRONG: &[(&str, &str)] = &[
    ("'8000-8010:192.168.122.10:80'", "12: ports outside: 11, inside: 1; write two ranges of the same length, or two entries"),
    ("'80:192.168.122.10:8000-8010'", "12: ports outside: 1, inside: 11; write two ranges of the same length, or two entries"),
    ("'8010-8000:192.168.122.10:8000-8010'", "12: `8010-8000` ends before it begins; write 8000-8010"),
    ("'1-65535:192.168.122.10:1-65535'", "12: `1-65535` has 65535 ports; write 16384 at most, so that enough are left for guests to go out by"),
    ("'8080:80'", "12: the guest's address is missing; write it between the two ports, for example \"8080:192.168.122.10:80\""),
    ("'80'", "12: `80` doesn't say what to publish; write \"PORT:GUEST_ADDRESS:GUEST_PORT/tcp\", or /udp, for example \"8888:192.168.122.10:8080/tcp\"; before it ADDRESS: for another address than the uplink's"),
    ("'70000:192.168.122.10:80'", "12: `70000` is not a port; write a number from 1 to 65535, or FIRST-LAST"),
    ("'80-:192.168.122.10:80'", "12: `` is not a port; write a number from 1 to 65535, or FIRST-LAST"),
    ("'+80:192.168.122.10:80'", "12: `+80` is not a port; write a number from 1 to 65535, or FIRST-LAST"),
    ("'80–81:192.168.122.10:80-81'", "12: `80–81` is not a port; write a plain hyphen in place of `–`"),
    ("'10.0.0.5:80:192.168.122.10:80/icmp'", "12: ports of `icmp` can't be published; write /tcp or /udp at the end, or nothing for tcp"),
    ("'10.0.1.5:80:192.168.122.10:80'", "12: the outside address 10.0.1.5 is not in 10.0.0.0/24; write another address of 10.0.0.0/24"),
    ("'10.0.0.255:80:192.168.122.10:80'", "12: 10.0.0.255 is the broadcast address; write another address of 10.0.0.0/24"),
    ("'10.0.0.1:80:192.168.122.10:80'", "12: the outside address 10.0.0.1 is the gateway's; write an address of 10.0.0.0/24 that nobody has"),
    ("'80-90:192.168.122.10:80-90', '85:192.168.122.11:85'", "42: port 85 of the uplink is published already; write another uplink port"),
    ("'10.0.0.5:80:192.168.122.10:80', '10.0.0.5:80:192.168.122.11:80'", "45: port 80 of 10.0.0.5 is published already; write another uplink port"),
    ("'80:192.168.122.10:80', '10.0.0.2:80:192.168.122.11:80'", "36: port 80 of the uplink is published already; write another uplink port"),
];

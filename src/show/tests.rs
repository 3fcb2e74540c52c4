use super::networks::Network;
use super::table::time;
use super::*;

fn rules() -> Vec<Rule> {
    let masquerade = Rule {
        chain: "POSTROUTING".into(),
        number: 1,
        packets: 123_456,
        bytes: 7,
        target: "MASQUERADE".into(),
        output: Some("wan".into()),
        source: Some("192.168.122.0/24".into()),
        destination: Some("!192.168.122.0/24".into()),
        ..Rule::default()
    };
    let publish = Rule {
        chain: "PREROUTING".into(),
        number: 1,
        target: "DNAT".into(),
        to: Some("192.168.122.10:8080".into()),
        protocol: Some("tcp".into()),
        destination: Some("10.180.13.232".into()),
        destination_ports: Some("8888".into()),
        ..Rule::default()
    };
    vec![publish, masquerade]
}

#[test]
fn nat_rules_have_the_shape_that_iptables_gives_them() {
    let expected = "\
Chain PREROUTING (policy ACCEPT)
 pkts bytes target     prot opt in     out     source               destination
    0     0 DNAT       tcp  --  *      *       0.0.0.0/0            10.180.13.232        tcp dpt:8888 to:192.168.122.10:8080

Chain POSTROUTING (policy ACCEPT)
 pkts bytes target     prot opt in     out     source               destination
 123K     7 MASQUERADE all  --  *      wan     192.168.122.0/24    !192.168.122.0/24
";
    assert_eq!(text(&Answer::Nat(rules()), &Style::WIDE), expected);
}

#[test]
fn a_table_cut_short_says_so() {
    let entry = FdbEntry {
        network: "default".into(),
        vid: 1,
        mac: "52:54:00:12:34:56".into(),
        port: "vm1".into(),
        idle_ms: None,
    };
    let text = text(&Answer::Fdb(Listed { total: 3, entries: vec![entry] }), &Style::WIDE);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>(),
        ["default", "1", "52:54:00:12:34:56", "vm1", "static"]
    );
    assert_eq!(lines[2], "1 of 3 shown; see more with --limit");
}

#[test]
fn what_a_guest_calls_itself_cannot_control_the_terminal() {
    let lease = Lease {
        network: "default".into(),
        address: "192.168.122.5".into(),
        mac: "52:54:00:12:34:56".into(),
        host_name: Some("\u{1b}[2Jevil\nname".into()),
        expires_in_ms: 3_540_000,
    };
    let text = text(&Answer::Leases(Listed { total: 1, entries: vec![lease] }), &Style::WIDE);
    assert!(!text.contains('\u{1b}') && text.lines().count() == 2, "{text:?}");
    assert!(text.contains("59m 0s"));
}

#[test]
fn every_answer_with_nothing_in_it_has_a_text() {
    let answers = [
        Answer::Networks(Networks::default()),
        Answer::Uplinks(Vec::new()),
        Answer::Map(Map::default()),
        Answer::Neighbours(Listed { total: 0, entries: Vec::new() }),
        Answer::Ports(Vec::new()),
        Answer::Fdb(Listed { total: 0, entries: Vec::new() }),
        Answer::Flows(Listed { total: 0, entries: Vec::new() }),
        Answer::Nat(Vec::new()),
        Answer::Leases(Listed { total: 0, entries: Vec::new() }),
        Answer::Mappings(Listed { total: 0, entries: Vec::new() }),
        Answer::Servers(Vec::new()),
        Answer::Drops(Vec::new()),
        Answer::Stats(Stats::default()),
        Answer::Reloaded(Reloaded::default()),
        Answer::RuleChanged(RuleChanged::default()),
    ];
    for answer in answers {
        assert!(text(&answer, &Style::WIDE).ends_with('\n'), "{answer:?}");
    }
}

#[test]
fn time_shows_its_two_largest_units() {
    let shown = [0, 59_999, 60_000, 3_599_000, 7_440_000, 90_000_000].map(time);
    assert_eq!(shown, ["0s", "59s", "1m 0s", "59m 59s", "2h 4m", "1d 1h"]);
}

fn narrow(width: usize) -> Style {
    Style { width, ..Style::WIDE }
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// As wide as it gets.
fn port() -> Port {
    Port {
        id: 1023,
        network: "default".into(),
        name: "webserver1".into(),
        kind: "vhost-user".into(),
        link: true,
        state: "forwarding".into(),
        device: "/run/tapswitch-guests/webserver1.sock".into(),
        netns: Some("/run/netns/webserver1".into()),
        mtu: 65535,
        vlans: "10, trunk 20,30-39".into(),
        learned: 1024,
        rx_frames: 123_456_789_012,
        rx_bytes: 3_400_000_000,
        tx_frames: 123_456_789_012,
        tx_bytes: u64::MAX,
        flooded: 0,
        learn_refused: 0,
        drops: [].into(),
    }
}

#[test]
fn a_table_of_ports_fits_80_columns_and_says_what_it_left_out() {
    let ports = Answer::Ports(vec![port()]);
    let shown = text(&ports, &narrow(80));
    assert!(widest(&shown) <= 80, "{shown}");
    for kept in ["network", "webserver1", "vhost-user", "up", "3.4 GB", "18 EB", "--wide"] {
        assert!(shown.contains(kept), "{kept} of {shown}");
    }
    assert!(shown.contains("no room for id, vlans, netns, mtu, device"), "{shown}");
    let wide = text(&ports, &Style::WIDE);
    assert!(wide.contains("/run/netns/webserver1") && wide.lines().count() == 2, "{wide}");
}

#[test]
fn bytes_are_exact_for_those_who_ask() {
    let exact = text(&Answer::Ports(vec![port()]), &Style { exact_bytes: true, ..Style::WIDE });
    assert!(exact.contains("3400000000") && !exact.contains("GB"), "{exact}");
}

#[test]
fn a_flow_without_room_has_a_line_for_each_direction() {
    let tuple = |source: &str, destination: &str| flows::Tuple {
        source: source.into(),
        destination: destination.into(),
        packets: 10,
        bytes: 1234,
    };
    let flow = Flow {
        protocol: "tcp".into(),
        original: tuple("192.168.122.110:50110", "203.0.113.113:50443"),
        reply: tuple("203.0.113.113:50443", "198.51.100.200:40110"),
        expires_in_ms: 431_999_000,
        ..Flow::default()
    };
    let flows = Answer::Flows(Listed { total: 2, entries: vec![flow] });
    let shown = text(&flows, &narrow(80));
    assert!(widest(&shown) <= 80, "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[1].starts_with("tcp") && lines[1].contains("192.168.122.110:50110 → 203.0.113.113:50443"));
    assert!(lines[2].starts_with(' ') && lines[2].contains("203.0.113.113:50443 → 198.51.100.200:40110"));
    assert!(lines.last().is_some_and(|line| line.starts_with("1 of 2 shown")), "{shown}");
    assert_eq!(text(&flows, &Style::WIDE).lines().count(), 3);
}

#[test]
fn meanings_and_names_go_on_in_the_next_line() {
    let drop = Drop {
        network: Some("default".into()),
        port: Some("vm1".into()),
        reason: "no_egress_port".into(),
        meaning:
            "Words that are many, and of which no line of eighty characters has all, wherever it begins."
                .into(),
        frames: 7,
    };
    let lease = Lease {
        network: "default".into(),
        address: "192.168.122.5".into(),
        mac: "52:54:00:12:34:56".into(),
        host_name: Some("x".repeat(255)),
        expires_in_ms: 1000,
    };
    for answer in [Answer::Drops(vec![drop]), Answer::Leases(Listed { total: 1, entries: vec![lease] })] {
        let shown = text(&answer, &narrow(80));
        assert!(widest(&shown) <= 80 && shown.lines().count() > 2, "{shown}");
    }
}

#[test]
fn nat_rules_have_numbers_and_fit_a_terminal() {
    let numbered = Style { line_numbers: true, ..Style::WIDE };
    let shown = text(&Answer::Nat(rules()), &numbered);
    assert!(
        shown.contains("\nnum   pkts bytes target") && shown.contains("\n1        0     0 DNAT"),
        "{shown}"
    );
    let shown = text(&Answer::Nat(rules()), &Style { width: 80, ..numbered });
    assert!(widest(&shown) <= 80, "{shown}");
    assert!(shown.contains("\n      tcp dpt:8888 to:192.168.122.10:8080\n"), "{shown}");
}

#[test]
fn the_map_draws_networks_with_their_ports_and_uplinks() {
    let network = Network {
        name: "lan".into(),
        mode: "nat".into(),
        address: Some("192.168.122.1/24".into()),
        uplink: Some("wan".into()),
        ..Network::default()
    };
    let uplink = Uplink {
        name: "wan".into(),
        kind: "packet".into(),
        device: "eth0".into(),
        netns: None,
        link: false,
        address: Some("10.0.0.2/24".into()),
        address6: Some("2001:db8::5/64".into()),
        mac: None,
        mtu: 1500,
        gateway: Some("10.0.0.1".into()),
        gateway6: None,
        networks: vec!["lan".into()],
    };
    let at = |network: &str, name: &str, kind: &str, device: &str, link| Port {
        network: network.into(),
        name: name.into(),
        kind: kind.into(),
        device: device.into(),
        netns: None,
        link,
        ..port()
    };
    let ports = vec![
        at("lan", "a", "tap", "tap0", true),
        at("lan", "vm2", "stream", "/run/\u{1b}.sock", false),
        at("wan", "wan", "packet", "eth0", false),
    ];
    let expected = "\
network lan: nat, 192.168.122.1/24
├─ a    up    tap tap0
├─ vm2  down  stream /run/\u{fffd}.sock
╰─▶ uplink wan

uplink wan: 10.0.0.2/24, gateway 10.0.0.1
╰─ wan  down  packet eth0
";
    let map = Answer::Map(Map { networks: vec![network], uplinks: vec![uplink], ports });
    assert_eq!(text(&map, &Style::WIDE), expected);
    let shown = text(&map, &narrow(20));
    assert!(shown.contains("├─ a    up    tap t…\n"), "{shown}");
}

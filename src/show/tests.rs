use super::table::time;
use super::*;

fn rules() -> Vec<Rule> {
    let masquerade = Rule {
        chain: "POSTROUTING".into(),
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
    assert_eq!(text(&Answer::Nat(rules())), expected);
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
    let text = text(&Answer::Fdb(Listed { total: 3, entries: vec![entry] }));
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
    let text = text(&Answer::Leases(Listed { total: 1, entries: vec![lease] }));
    assert!(!text.contains('\u{1b}') && text.lines().count() == 2, "{text:?}");
    assert!(text.contains("59m 0s"));
}

#[test]
fn every_answer_with_nothing_in_it_has_a_text() {
    let answers = [
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
        assert!(text(&answer).ends_with('\n'), "{answer:?}");
    }
}

#[test]
fn time_shows_its_two_largest_units() {
    let shown = [0, 59_999, 60_000, 3_599_000, 7_440_000, 90_000_000].map(time);
    assert_eq!(shown, ["0s", "59s", "1m 0s", "59m 59s", "2h 4m", "1d 1h"]);
}

//! Sections `balance`: what they lead to, and what is said about wrong ones.

use std::net::SocketAddrV4;

use engine::{BalanceConfig, CheckConfig, CheckKind};
use nat_engine::{Balance, Target};
use packet::{Millis, Protocol};

use super::super::{Config, Plan};
use super::mistakes::BASE;

/// The base with these sections at its end, from line 21 on.
fn parse(sections: &str) -> Result<Plan, String> {
    let config = Config::parse("t", &format!("{BASE}\n{sections}"), &[]);
    config.map(|config| Plan::new(&config, None)).map_err(|mistakes| mistakes.to_string())
}

fn at(address: &str) -> SocketAddrV4 {
    address.parse().unwrap()
}

const WEB: &str = "\
[network.default.balance.web]
listen = '80/tcp'
servers = ['192.168.122.10:8080', '192.168.122.11:8080']
backup = ['198.51.100.1:80']
";

#[test]
fn a_section_becomes_a_rule_behind_what_is_published_and_before_the_rules() {
    let keys = "publish = ['8888:192.168.122.7:80']\nrules = ['-A PREROUTING -p udp -j ACCEPT']\n";
    let text = format!("{}\n{WEB}", BASE.replace("uplink = 'wan'\n", &format!("uplink = 'wan'\n{keys}")));
    let plan = Plan::new(&Config::parse("t", &text, &[]).unwrap(), None);
    let [publish, rule, accept] = &plan.runtime.rules.prerouting[..] else { panic!() };
    assert!(matches!((&publish.target, &accept.target), (Target::Dnat { .. }, Target::Accept)));
    let balance = Balance {
        servers: vec![at("192.168.122.10:8080"), at("192.168.122.11:8080")],
        backups: vec![at("198.51.100.1:80")],
    };
    assert_eq!(rule.target, Target::Balance(balance.clone()));
    assert_eq!(rule.matches.destination.unwrap().value.to_string(), "10.0.0.2/32");
    assert!(rule.matches.destination_ports.as_ref().unwrap().value.contains(80));
    assert_eq!((&rule.matches.comment, rule.matches.input), (&Some("web".to_owned()), None));
    let check =
        CheckConfig { kind: CheckKind::Tcp, interval: Millis::from_secs(2), failures: 2, successes: 2 };
    let network = plan.network_id("default").unwrap();
    let protocol = Protocol::TCP;
    let expected = BalanceConfig { name: "web".into(), network, protocol, balance, check: Some(check) };
    assert_eq!(plan.runtime.balances, [expected]);
}

#[test]
fn checks_are_as_the_section_says_or_fit_the_protocol() {
    let check = |keys: &str, listen: &str| {
        let section = WEB.replace("80/tcp", listen) + keys;
        parse(&section).unwrap().runtime.balances[0].check
    };
    assert_eq!(check("", "53/udp").unwrap().kind, CheckKind::Icmp);
    assert_eq!(check("check = 'tcp'", "53/udp").unwrap().kind, CheckKind::Tcp);
    assert_eq!(check("check = 'none'", "80"), None);
    let set = check("check = 'icmp'\ninterval = 5\nfailures = 1\nsuccesses = 7\n", "80").unwrap();
    let expected =
        CheckConfig { kind: CheckKind::Icmp, interval: Millis::from_secs(5), failures: 1, successes: 7 };
    assert_eq!(set, expected);
}

#[test]
fn another_address_than_the_uplinks_may_be_balanced() {
    let plan = parse(&WEB.replace("80/tcp", "10.0.0.3:53/udp")).unwrap();
    let matches = &plan.runtime.rules.prerouting[0].matches;
    assert_eq!(matches.destination.unwrap().value.to_string(), "10.0.0.3/32");
    assert_eq!(matches.protocol.unwrap().value, Protocol::UDP);
}

#[test]
fn mistakes_are_pointed_at() {
    for (from, to, expected) in MISTAKES {
        assert!(WEB.contains(from), "{from}");
        let said = parse(&WEB.replacen(from, to, 1)).unwrap_err();
        let said: Vec<&str> = said.lines().map(|line| line.strip_prefix("t:").unwrap()).collect();
        assert_eq!(said, *expected, "{from} → {to}");
    }
}

#[test]
fn sections_of_networks_that_nobody_outside_reaches_are_mistakes() {
    let lan = "[network.lan]\nmode = 'host-only'\naddress = '10.9.0.1/24'\n";
    let section = WEB.replace("default", "lan");
    let said = parse(&format!("{lan}{section}")).unwrap_err();
    let expected = "t:24:22: only networks of modes nat and nat-isolated balance connections; write mode = \"nat\" in \
                    the network, or remove the section";
    assert_eq!(said.trim_end(), expected);
    let said = parse(&format!("{lan}{}", WEB.replace("198.51.100.1", "10.9.0.7"))).unwrap_err();
    let expected = "t:27:11: 10.9.0.7 is of `lan`, which can't be reached; write a server of a network that has the \
                    same uplink";
    assert_eq!(said.trim_end(), expected);
}

#[test]
fn a_server_has_one_check() {
    let second = WEB.replace("web", "other").replace("80/tcp", "81/tcp");
    assert!(parse(&format!("{WEB}{second}")).is_ok());
    assert!(parse(&format!("{WEB}{}check = 'none'\n", second.replace("81/tcp", "81/udp"))).is_ok());
    let said = parse(&format!("{WEB}{second}interval = 3\n")).unwrap_err();
    let first = "t:27:12: section `other` checks this server in another way; write the same check, interval, failures \
                 and successes in both sections";
    // Sections are read in the order of their names.
    assert!(said.lines().any(|line| line.ends_with(&first[7..])) && said.lines().count() == 3, "{said}");
}

#[test]
fn there_are_only_so_many_servers() {
    let section = |count: usize| {
        let servers = (1..=count).map(|n| format!("'192.168.122.10:{n}'")).collect::<Vec<_>>();
        format!("[network.default.balance.web]\nlisten = '80'\nservers = [{}]\n", servers.join(","))
    };
    assert!(parse(&section(128)).is_ok());
    let said = parse(&section(129)).unwrap_err();
    assert_eq!(said.trim_end(), "t:1:1: 129 servers to balance are too many; write 128 at most");
}

/// A replacement in [`WEB`], which begins at line 21, and the messages that it leads to.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &[&str])] = &[
    ("listen = '80/tcp'", "", &[r#"21:26: `listen` is missing; write listen = "80/tcp""#]),
    ("80/tcp", "80/sctp", &[r#"22:10: `80/sctp` doesn't say where to listen; write "PORT/tcp", or /udp, for a port of the uplink's address, or "ADDRESS:PORT/tcp""#]),
    ("80/tcp", "224.0.0.1:80/tcp", &[r#"22:10: `224.0.0.1:80/tcp` doesn't say where to listen; write "PORT/tcp", or /udp, for a port of the uplink's address, or "ADDRESS:PORT/tcp""#]),
    ("192.168.122.10:8080", "192.168.122.10", &[r#"23:12: `192.168.122.10` is no server; write "ADDRESS:PORT", for example "192.168.122.10:8080""#]),
    ("192.168.122.11:8080", "192.168.122.11:0", &[r#"23:35: `192.168.122.11:0` is no server; write "ADDRESS:PORT", for example "192.168.122.10:8080""#]),
    ("servers = ['192.168.122.10:8080', '192.168.122.11:8080']", "", &[r#"21:26: there is no server; write servers = ["ADDRESS:PORT", …]"#]),
    ("'192.168.122.10:8080', '192.168.122.11:8080'", "", &[r#"23:11: there is no server; write servers = ["ADDRESS:PORT", …]"#]),
    ("198.51.100.1:80", "192.168.122.10:8080", &["24:11: 192.168.122.10:8080 is a server of this section already; remove one of the two"]),
    ("192.168.122.10:8080", "192.168.122.1:8080", &["23:12: 192.168.122.1 is the switch's own address; write another address of 192.168.122.0/24"]),
    ("198.51.100.1:80", "10.0.0.255:80", &["24:11: 10.0.0.255 is the broadcast address; write another address of 10.0.0.0/24"]),
    ("backup", "check = 'http'\nbackup", &["24:9: `http` is not one of the choices; write one of: tcp, icmp, none"]),
    ("backup", "interval = 0\nbackup", &["24:12: `0` is out of range; write a number of seconds from 1 to 3600, without quotes"]),
    ("backup", "failures = 0\nbackup", &["24:12: `0` is out of range; write a number of checks from 1 to 100, without quotes"]),
    ("backup", "backups", &["24:1: unknown key `backups`; write `backup`"]),
    ("[network", "[network.default.balance.a]\nlisten = '10.0.0.2:80'\nservers = ['192.168.122.12:80']\n[network", &["25:10: port 80 is published already; write another port"]),
];

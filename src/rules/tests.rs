//! Lines as users have them, every kind of mistake, and any text.

use std::net::Ipv4Addr;

use nat_engine::{AddressRange, NatRule, PortList, RuleSet};
use packet::{Ipv4Cidr, Protocol};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn interfaces() -> Interfaces {
    Interfaces::new(
        ["default", "lab"].into_iter(),
        [("wan", "eth0"), ("dsl", "ppp0"), ("x", "lab")].into_iter(),
    )
}

/// What is printed for a line.
fn printed(line: &str) -> String {
    match parse(line, &interfaces()) {
        Ok(line) => line.to_string(),
        Err(mistake) => panic!("{line}: {mistake:?}"),
    }
}

#[test]
fn lines_of_everyday_recipes_are_read_as_written() {
    for line in EVERYDAY {
        assert_eq!(printed(line), *line);
    }
}

#[test]
fn what_can_be_written_in_several_ways_is_printed_in_one() {
    for (line, expected) in VARIANTS {
        assert_eq!(printed(line), *expected, "{line}");
        assert_eq!(printed(expected), *expected);
    }
}

#[test]
fn the_word_that_is_wrong_is_pointed_at() {
    for (line, place, message) in MISTAKES {
        let mistake = parse(line, &interfaces()).expect_err(line);
        let shown = &line[mistake.span.clone()];
        assert_eq!(
            (shown, format!("{}; {}", mistake.message, mistake.help).as_str()),
            (*place, *message),
            "{line}"
        );
    }
}

#[test]
fn a_rule_holds_for_the_packets_that_iptables_has_it_for() {
    let line = "-A PREROUTING ! -s 10.0.0.0/8 -i wan -p tcp -m multiport --dports 80,8000:8010 -j DNAT --to-destination 192.168.3.10-192.168.3.12:8080-8081";
    let Ok(Line { edit: Edit::Append(rule), .. }) = parse(line, &interfaces()) else { panic!() };
    let bound = rule.bind(|name| (name == "wan").then_some(NetworkId::new(7))).unwrap();
    let expected = NatRule {
        matches: Match {
            input: Some(Condition::is(NetworkId::new(7))),
            source: Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, 0), 8).map(Condition::not),
            protocol: Some(Condition::is(Protocol::TCP)),
            destination_ports: Some(Condition::is(PortList(vec![(80, 80), (8000, 8010)]))),
            ..Match::default()
        },
        target: Target::Dnat {
            addresses: AddressRange {
                first: Ipv4Addr::new(192, 168, 3, 10),
                last: Ipv4Addr::new(192, 168, 3, 12),
            },
            ports: Some((8080, 8081)),
            base: None,
        },
    };
    assert_eq!(bound, expected);
    assert_eq!(Rule::of(&bound, |_| "wan".to_owned()), rule);
    assert_eq!(rule.bind(|_| None), None);
}

#[test]
fn rules_come_and_go_by_number_and_by_what_they_say() {
    let mut rules = RuleSet::default();
    let mut apply = |line: &str| {
        let changed = parse(line, &interfaces()).unwrap().apply(&mut rules, |name| {
            ["default", "lab", "wan"]
                .iter()
                .position(|known| *known == name)
                .map(|id| NetworkId::new(id as u16))
        });
        let sources =
            rules.postrouting.iter().map(|rule| rule.matches.source.unwrap().value.address().octets()[3]);
        (changed, sources.collect::<Vec<u8>>())
    };
    let chain = Chain::Postrouting;
    assert_eq!(apply("-A POSTROUTING -s 0.0.0.1 -o wan -j MASQUERADE"), (Ok(1), vec![1]));
    assert_eq!(apply("-A POSTROUTING -s 0.0.0.2 -j ACCEPT"), (Ok(2), vec![1, 2]));
    assert_eq!(apply("-I POSTROUTING -s 0.0.0.3 -j ACCEPT"), (Ok(1), vec![3, 1, 2]));
    assert_eq!(apply("-I POSTROUTING 4 -s 0.0.0.4 -j ACCEPT"), (Ok(4), vec![3, 1, 2, 4]));
    assert_eq!(
        apply("-I POSTROUTING 6 -s 0.0.0.5 -j ACCEPT"),
        (Err(EditError::NoSuchNumber { chain, rules: 4 }), vec![3, 1, 2, 4])
    );
    assert_eq!(apply("-D POSTROUTING -o eth0 -s 0.0.0.1 -j MASQUERADE"), (Ok(2), vec![3, 2, 4]));
    assert_eq!(apply("-D POSTROUTING -s 0.0.0.1 -j MASQUERADE").0, Err(EditError::NoSuchRule(chain)));
    assert_eq!(apply("-D POSTROUTING 3"), (Ok(3), vec![3, 2]));
    assert_eq!(apply("-D POSTROUTING 3").0, Err(EditError::NoSuchNumber { chain, rules: 2 }));
    assert_eq!(
        apply("-A POSTROUTING -s 0.0.0.9 -o dsl -j ACCEPT"),
        (Err(EditError::NoSuchNetwork), vec![3, 2])
    );
}

#[test]
fn there_are_only_so_many_rules() {
    let line = parse("-A PREROUTING -j ACCEPT", &interfaces()).unwrap();
    let mut rules = RuleSet::default();
    for number in 1..=LIMIT {
        assert_eq!(line.apply(&mut rules, |_| None), Ok(number));
    }
    assert_eq!(line.apply(&mut rules, |_| None), Err(EditError::TooMany));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_printed_says_the_same_when_read(line in any_line()) {
        let text = line.to_string();
        prop_assert_eq!(parse(&text, &interfaces()), Ok(line), "{}", text);
    }

    #[test]
    fn any_text_is_a_line_or_a_mistake_in_it(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn any_words_are_a_line_or_a_mistake_in_them(words in vec(select(WORDS), 0..20), chain in any::<bool>()) {
        let start = if chain { "-A POSTROUTING " } else { "" };
        survives(&format!("{start}{}", words.join(" ")));
    }
}

fn survives(text: &str) {
    match parse(text, &interfaces()) {
        Ok(line) => assert_eq!(parse(&line.to_string(), &interfaces()), Ok(line)),
        Err(mistake) => {
            assert!(text.get(mistake.span.clone()).is_some(), "{mistake:?}");
            assert!(!mistake.message.is_empty() && !mistake.help.is_empty());
        }
    }
}

fn negatable<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Condition<T>>> {
    option::of((value, any::<bool>()).prop_map(|(value, negated)| Condition { value, negated }))
}

fn cidr() -> impl Strategy<Value = Ipv4Cidr> {
    (any::<Ipv4Addr>(), 0..=32u8).prop_map(|(address, len)| {
        let cidr = Ipv4Cidr::new(address, len).unwrap();
        Ipv4Cidr::new(cidr.network(), len).unwrap()
    })
}

fn range<T: Ord + Copy + std::fmt::Debug>(
    end: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = (T, T)> {
    (end.clone(), end).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn any_target(chain: Chain, has_ports: bool) -> impl Strategy<Value = Target> {
    let host = (1u32..0xe000_0000).prop_map(Ipv4Addr::from_bits);
    let addresses = range(host).prop_map(|(first, last)| AddressRange { first, last });
    let ports = option::of(range(1..=u16::MAX)).prop_map(move |ports| ports.filter(|_| has_ports));
    (0..6, addresses, ports, cidr()).prop_map(move |(kind, addresses, ports, network)| match (kind, chain) {
        (0, _) => Target::Accept,
        (1, _) => Target::Return,
        (2, _) => Target::Netmap(network),
        (3, Chain::Postrouting) => Target::Masquerade { ports },
        (_, Chain::Postrouting) => Target::Snat { addresses, ports },
        (3, Chain::Prerouting) => Target::Redirect { ports },
        (kind, Chain::Prerouting) => {
            let base =
                ports.filter(|(first, last)| kind == 4 && first != last).map(|(first, _)| first / 2 + 1);
            Target::Dnat { addresses, ports, base }
        }
    })
}

fn any_rule(chain: Chain, protocol: Option<Condition<Protocol>>) -> impl Strategy<Value = Rule> {
    let has_ports = protocol.is_some_and(|protocol| !protocol.negated && protocol.value.has_ports());
    let ports = || {
        let list = vec(range(any::<u16>()), 1..=7).prop_map(PortList);
        negatable(list).prop_map(move |ports| ports.filter(|_| has_ports))
    };
    let name = || negatable(select(vec!["default".to_owned(), "lab".to_owned(), "wan".to_owned()]));
    let comment = option::of("[^\\p{Cc}]{0,40}");
    (negatable(cidr()), negatable(cidr()), name(), ports(), ports(), comment, any_target(chain, has_ports))
        .prop_map(move |(source, destination, name, source_ports, destination_ports, comment, target)| {
            let (input, output) = match chain {
                Chain::Prerouting => (name, None),
                Chain::Postrouting => (None, name),
            };
            let matches = Match {
                source,
                destination,
                protocol,
                source_ports,
                destination_ports,
                comment,
                ..Match::default()
            };
            Rule { input, output, matches, target }
        })
}

fn any_line() -> impl Strategy<Value = Line> {
    let protocol = negatable(select(vec![1u8, 6, 17, 17, 6, 47, 255])).prop_map(|protocol| {
        protocol.map(|Condition { value, negated }| Condition { value: Protocol(value), negated })
    });
    let chain = select(vec![Chain::Prerouting, Chain::Postrouting]);
    (chain, protocol, 0..4, 1..9999usize).prop_flat_map(|(chain, protocol, edit, number)| {
        any_rule(chain, protocol).prop_map(move |rule| {
            let edit = match edit {
                0 => Edit::Append(rule),
                1 => Edit::Insert(number, rule),
                2 => Edit::Delete(rule),
                _ => Edit::DeleteNumber(number),
            };
            Line { chain, edit }
        })
    })
}

const EVERYDAY: &[&str] = &[
    "-A POSTROUTING -s 192.168.142.0/24 -o wan -j MASQUERADE",
    "-A POSTROUTING -s 192.168.3.0/24 -o wan -j SNAT --to-source 192.168.2.2",
    "-A PREROUTING -d 10.16.104.67/32 -i wan -p tcp --dport 80 -j DNAT --to-destination 192.168.3.10",
    "-A PREROUTING -d 10.16.104.67/32 -i wan -p tcp --dport 80 -j DNAT --to-destination 192.168.3.10:10080",
    "-A POSTROUTING -s 192.168.122.0/24 -d 224.0.0.0/24 -j RETURN",
    "-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -p udp -j MASQUERADE --to-ports 1024-65535",
    "-A POSTROUTING -s 10.0.0.0/8 -j SNAT --to-source 10.180.13.10-10.180.13.20",
    "-A POSTROUTING -s 10.0.0.0/24 -j NETMAP --to 10.1.0.0/24",
    "-A PREROUTING -i default -p tcp --dport 80 -j REDIRECT --to-ports 3128",
    "-I PREROUTING 3 ! -i wan -p udp -m multiport ! --sports 1:2,7 --dport 53 -m comment --comment \"it's \\\"me\\\" \\\\\" -j ACCEPT",
    "-A PREROUTING -m comment --comment \"!\" -j ACCEPT",
    "-D POSTROUTING 2",
    "-A PREROUTING -i wan -p tcp --dport 8000:8010 -j DNAT --to-destination 192.168.122.10:9000-9010/8000",
];

const VARIANTS: &[(&str, &str)] = &[
    ("-t nat -A POSTROUTING -o eth0 -s 192.168.142.0/24 -j MASQUERADE", EVERYDAY[0]),
    (
        "  --table nat --append POSTROUTING --out-interface eth0 --source 192.168.142.7/255.255.255.0 --jump MASQUERADE ",
        EVERYDAY[0],
    ),
    ("-A POSTROUTING -s 192.168.3.0/24 -o eth0 -j SNAT --to 192.168.2.2-192.168.2.2", EVERYDAY[1]),
    (
        "-A PREROUTING -i eth0 -d 10.16.104.67 -p tcp --dport 80 -j DNAT --to-destination 192.168.3.10",
        EVERYDAY[2],
    ),
    (
        "-A PREROUTING -i eth0 --dst 10.16.104.67 --protocol 6 -m tcp --destination-port 80:80 -j DNAT --to 192.168.3.10:10080",
        EVERYDAY[3],
    ),
    ("-A PREROUTING -i lab -p all -j ACCEPT", "-A PREROUTING -i lab -j ACCEPT"),
    (
        "-I PREROUTING -p UDP --sport :1024 --dport 1024: -j ACCEPT",
        "-I PREROUTING 1 -p udp --sport 0:1024 --dport 1024:65535 -j ACCEPT",
    ),
    (
        "-A PREROUTING -m comment --comment 'a \"b\" \\' -j ACCEPT",
        "-A PREROUTING -m comment --comment \"a \\\"b\\\" \\\\\" -j ACCEPT",
    ),
    (
        "--delete PREROUTING --in-interface lab --match tcp -p tcp -j RETURN",
        "-D PREROUTING -i lab -p tcp -j RETURN",
    ),
];

/// A line, what is pointed at, and what is said.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str)] = &[
    ("-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.9:80/8000", "10.0.0.9:80/8000", "`/8000` doesn't say which port becomes the first of a range; write ADDRESS:FIRST-LAST/PORT"),
    ("-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.9/8", "10.0.0.9/8", "`/8` doesn't say which port becomes the first of a range; write ADDRESS:FIRST-LAST/PORT"),
    ("-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.9:1-2/x", "10.0.0.9:1-2/x", "`x` is not a port; write a number up to 65535, or a range FIRST:LAST"),
    ("", "", "the line has no rule; write `-A POSTROUTING` or `-A PREROUTING` first"),
    ("iptables -t nat -A POSTROUTING", "iptables", "the line begins after `iptables -t nat`; write `-A POSTROUTING` or `-A PREROUTING` first"),
    ("-t filter -A INPUT -j DROP", "filter", "there is no table `filter` here; write nat"),
    ("-F", "-F", "`-F` doesn't begin a rule; write `-A POSTROUTING` or `-A PREROUTING` first"),
    ("-A", "-A", "`-A` has no value; write `-A POSTROUTING`"),
    ("-A OUTPUT -j ACCEPT", "OUTPUT", "OUTPUT is for the host's own traffic, of which the switch has none; write PREROUTING or POSTROUTING, or remove the rule"),
    ("-A DOCKER -j ACCEPT", "DOCKER", "there is no chain `DOCKER`; write PREROUTING or POSTROUTING; rules of a chain of one's own go there too"),
    ("-A POSTROUTING 3 -j ACCEPT", "3", "`-A` takes no number: it adds the last rule; write `-I` for a rule in between"),
    ("-D POSTROUTING 3 -j ACCEPT", "-j", "nothing follows a rule's number; remove the rest of the line"),
    ("-D POSTROUTING 0", "0", "`0` is no rule's number; write 1 for the first rule"),
    ("-A POSTROUTING", "", "the rule has no target; write for example `-j MASQUERADE` at its end"),
    ("-A POSTROUTING -s ! 10.0.0.0/8 -j ACCEPT", "!", "`!` stands before `-s`; write `! -s ADDRESS`"),
    ("-A POSTROUTING -j ACCEPT !", "!", "`!` stands before an option; write for example `! -d ADDRESS`"),
    ("-A POSTROUTING ! -j ACCEPT", "!", "`-j` can't be negated; remove the `!`"),
    ("-A POSTROUTING -s 10.0.0.256 -j ACCEPT", "10.0.0.256", "`10.0.0.256` is not an IPv4 address or network; write an address, or a network such as 192.168.122.0/24"),
    ("-A POSTROUTING -s 10.0.0.0/33 -j ACCEPT", "10.0.0.0/33", "`10.0.0.0/33` has no prefix length or mask after its `/`; write an address, or a network such as 192.168.122.0/24"),
    ("-A POSTROUTING -s 10.0.0.0/255.0.255.0 -j ACCEPT", "10.0.0.0/255.0.255.0", "`10.0.0.0/255.0.255.0` has no prefix length or mask after its `/`; write an address, or a network such as 192.168.122.0/24"),
    ("-A POSTROUTING -s 10.0.0.1,10.0.0.2 -j ACCEPT", "10.0.0.1,10.0.0.2", "a rule has one network here; write a rule for each"),
    ("-A POSTROUTING -s 10.0.0.1 -s 10.0.0.2 -j ACCEPT", "-s", "the rule says this already; remove one of the two, or write two rules"),
    ("-A POSTROUTING -o wlan -j ACCEPT", "wlan", "there is no network or uplink `wlan`; write `wan`"),
    ("-A POSTROUTING -o eth+ -j ACCEPT", "eth+", "there is no network or uplink `eth+`; write `eth0`"),
    ("-A POSTROUTING -i wan -j ACCEPT", "-i", "POSTROUTING rules look at where a packet goes; write `-s` or `-o`"),
    ("-A PREROUTING -o wan -j ACCEPT", "-o", "PREROUTING comes before routing: nobody knows yet where the packet goes; write `-d` or `-i`"),
    ("-A PREROUTING -p sctp -j ACCEPT", "sctp", "`sctp` is not a protocol; write tcp, udp, icmp, dccp, udplite, all, or a number up to 255"),
    ("-A PREROUTING ! -p all -j ACCEPT", "all", "no packet has none of all protocols; write one protocol"),
    ("-A PREROUTING --dport 80 -j ACCEPT", "--dport", "only TCP, UDP, DCCP and UDP-Lite have ports; write `-p tcp` or `-p udp` too"),
    ("-A PREROUTING ! -p tcp --dport 80 -j ACCEPT", "--dport", "only TCP, UDP, DCCP and UDP-Lite have ports; write `-p tcp` or `-p udp` too"),
    ("-A PREROUTING -p tcp --dport http -j ACCEPT", "http", "`http` is not a port; write a number up to 65535, or a range FIRST:LAST"),
    ("-A PREROUTING -p tcp --dport 80:70 -j ACCEPT", "80:70", "the range ends before it begins; write 70:80"),
    ("-A PREROUTING -p tcp --dport 65536 -j ACCEPT", "65536", "`65536` is not a port; write a number up to 65535, or a range FIRST:LAST"),
    ("-A PREROUTING -p tcp --dports 80,81 -j ACCEPT", "--dports", "`--dports` is an option of the match `multiport`; write `-m multiport` before it"),
    ("-A PREROUTING -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16 -j ACCEPT", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16", "too many ports; write 15 at most, a range counts as two, and another rule for the others"),
    ("-A PREROUTING -p tcp -m multiport --ports 80 -j ACCEPT", "--ports", "`--ports`, of either side, is not supported; write two rules, one with --sports and one with --dports"),
    ("-A PREROUTING -p udp -m tcp --dport 80 -j ACCEPT", "tcp", "the match needs its protocol; write `-p tcp`, or remove `-m tcp`"),
    ("-A PREROUTING -m state --state NEW -j ACCEPT", "state", "there is no match `state`; write one of: tcp, udp, icmp, dccp, udplite, multiport, comment"),
    ("-A PREROUTING --comment x -j ACCEPT", "--comment", "`--comment` is an option of the match `comment`; write `-m comment` before it"),
    ("-A PREROUTING -m comment --comment \"x -j ACCEPT", "\"x -j ACCEPT", "the quote doesn't end; write \" at the end"),
    ("-A PREROUTING -j DROP", "DROP", "there is no target `DROP`; write one of: SNAT, MASQUERADE, DNAT, REDIRECT, NETMAP, RETURN, ACCEPT"),
    ("-A PREROUTING -j masquerade", "masquerade", "there is no target `masquerade`; write one of: SNAT, MASQUERADE, DNAT, REDIRECT, NETMAP, RETURN, ACCEPT"),
    ("-A PREROUTING -j MASQUERADE", "MASQUERADE", "MASQUERADE changes the source, which is for POSTROUTING; write -A POSTROUTING, or another target"),
    ("-A POSTROUTING -j DNAT --to-destination 10.0.0.1", "DNAT", "DNAT changes the destination, which is for PREROUTING; write -A PREROUTING, or another target"),
    ("-A POSTROUTING -j SNAT", "SNAT", "SNAT doesn't say to what; write `-j SNAT --to-source ADDRESS`"),
    ("-A POSTROUTING -j SNAT --to-destination 10.0.0.1", "--to-destination", "`--to-destination` is no option of SNAT; write `--to-source`"),
    ("-A POSTROUTING -j SNAT --to-source 224.0.0.1", "224.0.0.1", "`224.0.0.1` is not the address of a host; write ADDRESS, ADDRESS-LAST, or either with :PORT or :PORT-LAST behind it"),
    ("-A POSTROUTING -j SNAT --to-source 10.0.0.9-10.0.0.1", "10.0.0.9-10.0.0.1", "the range ends before it begins; write 10.0.0.1-10.0.0.9"),
    ("-A POSTROUTING -j SNAT --to-source 10.0.0.1:80", "10.0.0.1:80", "only TCP, UDP, DCCP and UDP-Lite have ports; write `-p tcp` or `-p udp` too, or no port"),
    ("-A POSTROUTING -p tcp -j SNAT --to-source 10.0.0.1:0", "10.0.0.1:0", "`0` is not a range of new ports; write FIRST-LAST, from 1 to 65535"),
    ("-A POSTROUTING -p tcp -j MASQUERADE --to-ports 1024:2000", "1024:2000", "`1024:2000` is not a port; write a number up to 65535, or a range FIRST-LAST"),
    ("-A POSTROUTING -j MASQUERADE --random", "--random", "`--random` can't be chosen; remove it: a source port is kept where it is free, or else one that nobody can guess, and an inside address keeps its outside address"),
    ("-A POSTROUTING -j ACCEPT --to-ports 80", "--to-ports", "`--to-ports` is no option of ACCEPT; remove it"),
    ("-A POSTROUTING -j MASQUERADE --log", "--log", "`--log` is not understood; write `--to`"),
    ("-A POSTROUTING é -j MASQUERADE", "é", "`é` is not understood; write one of: -s, -d, -i, -o, -p, --sport, --dport, -m, --sports, --dports, --comment, -j, --to-source, --to-destination, --to-ports, --to"),
];

const WORDS: &[&str] = &[
    "-A",
    "-I",
    "-D",
    "POSTROUTING",
    "PREROUTING",
    "-s",
    "-d",
    "-i",
    "-o",
    "-p",
    "-m",
    "-j",
    "!",
    "tcp",
    "udp",
    "all",
    "10.0.0.1",
    "10.0.0.0/8",
    "10.0.0.1-10.0.0.9:80",
    "wan",
    "eth0",
    "--sport",
    "--dport",
    "--dports",
    "80",
    "1:2",
    "1,2:3",
    "multiport",
    "comment",
    "--comment",
    "\"",
    "'a b'",
    "\\",
    "é",
    "SNAT",
    "DNAT",
    "MASQUERADE",
    "REDIRECT",
    "NETMAP",
    "ACCEPT",
    "--to",
    "--to-source",
    "--to-destination",
    "--to-ports",
    "1024-65535",
    "-",
    ":",
    ",",
];

//! The DNS forwarder, seen from the ports.
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod common;

use std::net::{Ipv4Addr, SocketAddrV4};

use common::*;
use engine::{DnsConfig, NamePattern, RuntimeConfig};
use packet::builder::eth;
use packet::wire::TcpHeader;
use packet::{DnsName, L4, Millis};
use proptest::prelude::*;

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const NO_SUCH_NAME: u16 = 3;
const SERVER_FAILURE: u16 = 2;
const REFUSED: u16 = 5;
const WEB: [u8; 4] = [198, 51, 100, 80];

fn name(text: &str) -> DnsName {
    DnsName::parse(text).unwrap()
}

fn dns() -> DnsConfig {
    DnsConfig { upstreams: Some(vec![SocketAddrV4::new(OUTSIDE, 53)]), ..DnsConfig::default() }
}

fn config(dns: DnsConfig) -> RuntimeConfig {
    let mut config = nat_config();
    config.networks[0].interface.as_mut().unwrap().settings.dns = Some(dns);
    config
}

fn lab(dns: DnsConfig) -> Bench {
    let mut bench = Bench::nat();
    bench.worker.install(config(dns));
    for n in 0..4 {
        bench.send(n, &[arp_request(guest_mac(n), guest_ip(n), LAN_IP)]);
    }
    bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, OUTSIDE, WAN_IP)]);
    bench
}

fn question(id: u16, text: &str, kind: u16) -> Vec<u8> {
    let mut message = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    message.extend_from_slice(name(text).bytes());
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

fn from(n: u16, message: &[u8]) -> Vec<u8> {
    from_guest(n).ipv4(guest_ip(n), LAN_IP).udp(5000, 53).payload(message)
}

/// A record of the name that is the question's, or of another.
fn record(owner: Option<&str>, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let owner = owner.map_or(vec![0xc0, 12], |owner| name(owner).bytes().to_vec());
    let length = (data.len() as u16).to_be_bytes();
    [&owner[..], &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length, data].concat()
}

/// What came to a server: its port, and the message.
fn asked(sent: &Sent) -> (u16, Vec<u8>) {
    let frames = sent.get(&UPLINK).unwrap_or_else(|| panic!("nobody was asked: {sent:?}"));
    let ip = ip_of(frames.last().unwrap());
    assert_eq!((ip.src, ip.dst, ip.dst_port), (WAN_IP, OUTSIDE, 53));
    (ip.src_port, frames.last().unwrap()[42..].to_vec())
}

/// An answer to `question`, with this outcome and these records as answers and authorities.
fn answer(question: &[u8], code: u16, answers: &[Vec<u8>], authorities: &[Vec<u8>]) -> Vec<u8> {
    let (_, end) = DnsName::read(question, 12).unwrap();
    let flags = (0x8180 | code).to_be_bytes();
    let counts = [1, answers.len() as u8, authorities.len() as u8];
    let head = [question[0], question[1], flags[0], flags[1], 0, counts[0], 0, counts[1], 0, counts[2], 0, 0];
    [&head[..], &question[12..end + 4], &answers.concat(), &authorities.concat()].concat()
}

fn reply(port: u16, message: &[u8]) -> Vec<u8> {
    from_outside().ipv4(OUTSIDE, WAN_IP).udp(53, port).payload(message)
}

/// The message that guest `n` got, if any.
fn told(sent: &Sent, n: u16) -> Option<Vec<u8>> {
    let frame = sent.get(&n)?.last()?;
    let ip = ip_of(frame);
    assert_eq!((ip.l4, ip.src, ip.src_port, ip.dst_port), (L4::Udp, LAN_IP, 53, 5000));
    Some(frame[42..].to_vec())
}

fn code(message: &[u8]) -> u16 {
    u16::from(message[3] & 0xf)
}

/// The last record's time to live, where its data are an address.
fn ttl(message: &[u8]) -> u32 {
    let at = message.len() - 10;
    u32::from_be_bytes(message[at..at + 4].try_into().unwrap())
}

/// Guest `n` asks, and the server answers with these records.
fn resolve(bench: &mut Bench, n: u16, text: &str, answers: &[Vec<u8>]) -> Vec<u8> {
    let sent = bench.send(n, &[from(n, &question(7, text, A))]);
    let (port, message) = asked(&sent);
    let sent = bench.send(UPLINK, &[reply(port, &answer(&message, 0, answers, &[]))]);
    told(&sent, n).unwrap()
}

#[test]
fn an_answer_is_kept_for_its_time_and_tells_what_is_left_of_it() {
    let mut bench = lab(dns());
    let first = resolve(&mut bench, 0, "Web.Example", &[record(None, A, 100, &WEB)]);
    assert_eq!((first[..2].to_vec(), code(&first), ttl(&first)), (vec![0, 7], 0, 100));
    assert!(first.windows(12).any(|part| part == b"\x03Web\x07Example"), "as it was asked for");
    bench.wait(Millis::from_secs(40));
    let sent = bench.send(1, &[from(1, &question(9, "WEB.example", A))]);
    let second = told(&sent, 1).unwrap();
    assert_eq!((second[..2].to_vec(), ttl(&second), sent.get(&UPLINK)), (vec![0, 9], 60, None));
    bench.wait(Millis::from_secs(60));
    asked(&bench.send(1, &[from(1, &question(9, "web.example", A))]));
}

#[test]
fn rfc5452_only_the_answer_to_the_question_from_whom_was_asked_is_one() {
    let mut bench = lab(dns());
    let (port, message) = asked(&bench.send(0, &[from(0, &question(7, "a-long-name.example", A))]));
    let right = answer(&message, 0, &[record(None, A, 100, &WEB)], &[]);
    let mut other_id = right.clone();
    other_id[0] ^= 1;
    let mut other_name = right.clone();
    other_name[13] ^= 3;
    let elsewhere = from_outside().ipv4(FAR, WAN_IP).udp(53, port).payload(&right);
    let no_answer = from_outside().ipv4(OUTSIDE, WAN_IP).udp(53, port).payload(&message);
    let wrong =
        [reply(port, &other_id), reply(port, &other_name), reply(port ^ 1, &right), elsewhere, no_answer];
    for frame in wrong {
        assert_eq!(told(&bench.send(UPLINK, &[frame]), 0), None);
    }
    assert!(told(&bench.send(UPLINK, &[reply(port, &right)]), 0).is_some());
    assert_eq!(told(&bench.send(UPLINK, &[reply(port, &right)]), 0), None, "once");
}

#[test]
fn ports_identifiers_and_the_case_of_letters_are_random() {
    let mut bench = lab(dns());
    let asked: Vec<_> = (0..8)
        .map(|n| asked(&bench.send(0, &[from(0, &question(7, &format!("n{n}.some-long-name.example"), A))])))
        .collect();
    let distinct = |of: fn(&u16, &[u8]) -> Vec<u8>| {
        let mut all: Vec<_> = asked.iter().map(|(port, message)| of(port, message)).collect();
        all.sort();
        all.dedup();
        all.len()
    };
    assert_eq!(distinct(|port, _| port.to_be_bytes().to_vec()), 8);
    assert!(distinct(|_, message| message[..2].to_vec()) >= 7);
    assert_eq!(distinct(|_, message| message[16..40].to_vec()), 8);
}

#[test]
fn a_server_that_loses_the_case_of_letters_is_asked_by_tcp() {
    let mut bench = lab(dns());
    let (port, message) = asked(&bench.send(0, &[from(0, &question(7, "a-long-name.example", A))]));
    let mut lost = answer(&message, 0, &[record(None, A, 100, &WEB)], &[]);
    lost[12..33].make_ascii_lowercase();
    let sent = bench.send(UPLINK, &[reply(port, &lost)]);
    let ip = ip_of(sent[&UPLINK].last().unwrap());
    assert_eq!((ip.l4, ip.dst, ip.dst_port, ip.tcp_flags), (L4::Tcp, OUTSIDE, 53, TcpHeader::SYN));
    assert_eq!(told(&sent, 0), None);
}

#[test]
fn who_asks_the_same_waits_for_the_same_answer() {
    let mut bench = lab(dns());
    let (port, message) = asked(&bench.send(0, &[from(0, &question(7, "web.example", A))]));
    let sent = bench.send(1, &[from(1, &question(8, "web.example", A))]);
    assert_eq!(sent.get(&UPLINK), None);
    let sent = bench.send(UPLINK, &[reply(port, &answer(&message, 0, &[record(None, A, 0, &WEB)], &[]))]);
    assert_eq!((told(&sent, 0).unwrap()[1], told(&sent, 1).unwrap()[1]), (7, 8));
    // With a time to live of 0 it was for these alone.
    asked(&bench.send(1, &[from(1, &question(8, "web.example", A))]));
}

#[test]
fn rfc2308_that_there_is_no_such_name_is_kept_as_long_as_the_zone_says() {
    let mut bench = lab(dns());
    let (port, message) = asked(&bench.send(0, &[from(0, &question(7, "no.example", A))]));
    let minimum = [&[0, 0][..], &[0; 16], &30u32.to_be_bytes()].concat();
    let soa = record(Some("example"), SOA, 300, &minimum);
    let sent = bench.send(UPLINK, &[reply(port, &answer(&message, NO_SUCH_NAME, &[], &[soa]))]);
    assert_eq!(code(&told(&sent, 0).unwrap()), NO_SUCH_NAME);
    bench.wait(Millis::from_secs(29));
    let sent = bench.send(0, &[from(0, &question(7, "no.example", A))]);
    assert_eq!((code(&told(&sent, 0).unwrap()), sent.get(&UPLINK)), (NO_SUCH_NAME, None));
    bench.wait(Millis::from_secs(1));
    let (port, message) = asked(&bench.send(0, &[from(0, &question(7, "no.example", A))]));
    // One that doesn't say how long isn't kept.
    bench.send(UPLINK, &[reply(port, &answer(&message, NO_SUCH_NAME, &[], &[]))]);
    asked(&bench.send(0, &[from(0, &question(7, "no.example", A))]));
}

#[test]
fn rfc8767_a_stale_answer_is_better_than_none() {
    let mut bench = lab(dns());
    resolve(&mut bench, 0, "web.example", &[record(None, A, 10, &WEB)]);
    bench.wait(Millis::from_secs(20));
    asked(&bench.send(0, &[from(0, &question(7, "web.example", A))]));
    let sent = bench.wait(Millis::from_secs(2));
    let stale = told(&sent, 0).expect("a server that is silent for 1.8 seconds");
    assert_eq!((code(&stale), ttl(&stale)), (0, 30));
    bench.wait(Millis::from_secs(8));
    let sent = bench.send(1, &[from(1, &question(8, "web.example", A))]);
    assert!(told(&sent, 1).is_some() && !sent.contains_key(&UPLINK), "it is left alone for a while");
    bench.wait(Millis::from_secs(86_400));
    asked(&bench.send(1, &[from(1, &question(8, "web.example", A))]));
    let sent = bench.wait(Millis::from_secs(10));
    assert_eq!(code(&told(&sent, 1).unwrap()), SERVER_FAILURE, "too old");
}

#[test]
fn the_next_server_is_asked_at_once_when_one_refuses() {
    let second = Ipv4Addr::new(203, 0, 113, 9);
    let upstreams = Some(vec![SocketAddrV4::new(OUTSIDE, 53), SocketAddrV4::new(second, 5353)]);
    let mut bench = lab(DnsConfig { upstreams, ..dns() });
    bench.send(UPLINK, &[arp_request(OUTSIDE_MAC, second, WAN_IP)]);
    let (port, message) = asked(&bench.send(0, &[from(0, &question(7, "web.example", A))]));
    let sent = bench.send(UPLINK, &[reply(port, &answer(&message, REFUSED, &[], &[]))]);
    let frame = sent[&UPLINK].last().unwrap().clone();
    let ip = ip_of(&frame);
    assert_eq!((ip.dst, ip.dst_port), (second, 5353));
    let refused = answer(&frame[42..], SERVER_FAILURE, &[], &[]);
    let refused = from_outside().ipv4(second, WAN_IP).udp(5353, ip.src_port).payload(&refused);
    assert_eq!(code(&told(&bench.send(UPLINK, &[refused]), 0).unwrap()), SERVER_FAILURE);
}

#[test]
fn a_port_that_asks_too_much_leaves_room_for_others() {
    let mut bench = lab(dns());
    for round in 0..20 {
        let questions = (0..60).map(|n| from(0, &question(n, &format!("n{round}-{n}.example"), A)));
        bench.send(0, &questions.collect::<Vec<_>>());
    }
    assert!(bench.drops(0).iter().any(|(name, _)| *name == "dns_busy"), "{:?}", bench.drops(0));
    asked(&bench.send(1, &[from(1, &question(7, "web.example", A))]));
    let sent = bench.wait(Millis::from_secs(20));
    assert!(sent[&0].len() > 10, "who was asked for is told that nobody answered");
}

#[test]
fn without_an_uplink_only_what_the_switch_knows_is_told() {
    let mut config = config(DnsConfig {
        upstreams: None,
        hosts: vec![(name("printer"), guest_ip(3).into())],
        domain: Some(name("lan")),
        ..dns()
    });
    config.networks[0].reach = engine::Reach::Closed;
    (config.rules.prerouting, config.rules.postrouting) = (vec![], vec![]);
    let mut bench = Bench::new(config);
    let sent = bench.send(0, &[from(0, &question(7, "printer.lan", A))]);
    assert!(told(&sent, 0).unwrap().ends_with(&guest_ip(3).octets()));
    let sent = bench.send(0, &[from(0, &question(7, "web.example", A))]);
    assert_eq!(code(&told(&sent, 0).unwrap()), REFUSED);
}

fn allowing(patterns: &[(&str, bool)]) -> Bench {
    let allowed = patterns.iter().map(|&(text, is_below)| NamePattern { name: name(text), is_below });
    lab(DnsConfig { allowed: Some(allowed.collect()), ..dns() })
}

fn goes(bench: &mut Bench, n: u16, to: [u8; 4]) -> bool {
    let port = 6000 + bench.now.get() as u16;
    let frame = from_guest(n).ipv4(guest_ip(n), to.into()).udp(port, 4000).payload(b"x");
    bench.send(n, &[frame]).contains_key(&UPLINK)
}

#[test]
fn egress_follows_names_and_ends_with_them() {
    let mut bench = allowing(&[("debian.org", true), ("web.example", false)]);
    assert!(!goes(&mut bench, 0, WEB));
    resolve(&mut bench, 0, "deb.debian.org", &[record(None, A, 10, &WEB)]);
    assert!(goes(&mut bench, 0, WEB) && !goes(&mut bench, 0, [198, 51, 100, 81]));
    bench.wait(Millis::from_secs(13));
    assert!(!goes(&mut bench, 0, WEB), "no new connection after that");
    for text in ["debian.org", "evildebian.org", "a.web.example"] {
        let sent = bench.send(0, &[from(0, &question(7, text, A))]);
        assert_eq!((code(&told(&sent, 0).unwrap()), sent.get(&UPLINK)), (REFUSED, None), "{text}");
    }
    let refusals = std::iter::from_fn(|| bench.worker.next_dns_refusal()).collect::<Vec<_>>();
    let named = refusals.iter().filter_map(|refusal| refusal.name.as_ref()).map(ToString::to_string);
    assert!(named.collect::<Vec<_>>().contains(&"evildebian.org".to_owned()), "{refusals:?}");
}

#[test]
fn only_the_chain_from_the_name_asked_for_leads_anywhere() {
    let mut bench = allowing(&[("web.example", false)]);
    let other = [198, 51, 100, 99];
    let alias = name("cdn.example");
    let answers = [
        record(Some("stray.example"), A, 100, &other),
        record(None, CNAME, 100, alias.bytes()),
        record(Some("cdn.example"), A, 100, &WEB),
    ];
    resolve(&mut bench, 0, "web.example", &answers);
    assert!(goes(&mut bench, 0, WEB) && !goes(&mut bench, 0, other));
}

#[test]
fn aliases_in_a_circle_lead_nowhere() {
    let mut bench = allowing(&[("web.example", false)]);
    let (a, b) = (name("web.example"), name("b.example"));
    let answers = [record(None, CNAME, 9, b.bytes()), record(Some("b.example"), CNAME, 9, a.bytes())];
    resolve(&mut bench, 0, "web.example", &answers);
    assert!(!goes(&mut bench, 0, WEB));
}

#[test]
fn an_allowed_name_leads_to_no_address_that_isnt_the_internets() {
    let foreign = [
        [10, 0, 0, 1],
        [127, 0, 0, 1],
        [169, 254, 1, 1],
        [100, 64, 0, 1],
        [192, 168, 122, 12],
        WAN_IP.octets(),
    ];
    for address in foreign {
        let mut bench = allowing(&[("web.example", false)]);
        let answer = resolve(&mut bench, 0, "web.example", &[record(None, A, 100, &address)]);
        assert_eq!(code(&answer), REFUSED, "{address:?}");
        // One good address doesn't help a bad one.
        let answers = [record(None, A, 100, &WEB), record(None, A, 100, &address)];
        let mut bench = allowing(&[("web.example", false)]);
        assert_eq!(code(&resolve(&mut bench, 0, "web.example", &answers)), REFUSED);
        assert!(!goes(&mut bench, 0, WEB));
    }
}

#[test]
fn who_is_refused_is_told_and_counted() {
    let mut bench = allowing(&[("web.example", false)]);
    let frame = from_guest(0).ipv4(guest_ip(0), FAR).tcp(4000, 443, TcpHeader::SYN).payload(b"");
    assert_eq!(icmp_of(&only(bench.send(0, &[frame])).1), (3, 13));
    assert_eq!(bench.drops(0), [("name_not_allowed", 1)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever guests and servers say, nothing panics, and who asks for something real gets an answer.
    #[test]
    fn junk_from_either_side_harms_nobody(
        junk in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)), 1..20),
        flips in proptest::collection::vec((0usize..90, any::<u8>()), 0..6),
    ) {
        let mut bench = allowing(&[("example", true)]);
        let (port, message) = asked(&bench.send(0, &[from(0, &question(7, "a.example", A))]));
        let right = answer(&message, 0, &[record(None, A, 100, &WEB)], &[]);
        for (from_server, bytes) in junk {
            if from_server {
                bench.send(UPLINK, &[reply(port, &[&message[..12], &bytes].concat())]);
            } else {
                bench.send(1, &[from(1, &bytes)]);
                bench.send(1, &[from(1, &[&question(7, "b.example", A)[..12], &bytes].concat())]);
            }
        }
        let mut bent = right.clone();
        for (at, value) in flips {
            if let Some(byte) = bent.get_mut(at) {
                *byte = value;
            }
        }
        bench.send(UPLINK, &[reply(port, &bent)]);
        bench.wait(Millis::from_secs(20));
        let tagged = eth().src(guest_mac(0)).dst(LAN_MAC).ipv4(guest_ip(0), LAN_IP).udp(5000, 53);
        let sent = bench.send(0, &[tagged.payload(&question(7, "c.example", A))]);
        let (port, message) = asked(&sent);
        let right = answer(&message, 0, &[record(None, A, 100, &WEB)], &[]);
        prop_assert!(told(&bench.send(UPLINK, &[reply(port, &right)]), 0).is_some());
    }
}

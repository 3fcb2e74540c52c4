use super::*;
use nat_engine::{Match, NatConfig, NatRule, RuleSet, Target};
use proptest::prelude::*;

const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 10);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

fn nat() -> Nat {
    let masquerade = NatRule { matches: Match::default(), target: Target::Masquerade { ports: None } };
    let rules = RuleSet { prerouting: vec![], postrouting: vec![masquerade] };
    let addresses = vec![None, Some(PUBLIC)];
    Nat::new(NatConfig { rules, addresses, flow_limit: 100, ..NatConfig::default() }, [1, 2])
}

fn ask(nat: &mut Nat, message: &[u8]) -> Result<Vec<u8>, DropReason> {
    let client = Client { address: GUEST, input: NetworkId::new(0), output: NetworkId::new(1) };
    answer(message, client, nat, Millis::from_secs(7), Millis::from_secs(1000))
}

fn header(opcode: u8, lifetime: u32, client: Ipv4Addr) -> Vec<u8> {
    [&[2, opcode, 0, 0][..], &lifetime.to_be_bytes(), &client.to_ipv6_mapped().octets()].concat()
}

/// MAP of UDP, with options behind it.
fn map(port: u16, lifetime: u32, wanted: u16, options: &[u8]) -> Vec<u8> {
    let any = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets();
    let ports = [port.to_be_bytes(), wanted.to_be_bytes()].concat();
    [&header(1, lifetime, GUEST), &[5; 12][..], &[17, 0, 0, 0], &ports, &any, options].concat()
}

/// Result and lifetime of an answer.
fn said(answer: &[u8]) -> (u8, u32) {
    assert_eq!((answer[0], answer[1] & 0x80, answer.len() % 4), (2, 0x80, 0));
    assert_eq!((&answer[8..12], &answer[12..24]), (&7_u32.to_be_bytes()[..], &[0; 12][..]));
    (answer[3], u32::from_be_bytes([answer[4], answer[5], answer[6], answer[7]]))
}

#[test]
fn rfc6887_s11_map_assigns_what_it_says_for_a_time_within_bounds() {
    let mut nat = nat();
    for (asked, got) in [(1, 120), (600, 600), (u32::MAX, 86_400)] {
        let answer = ask(&mut nat, &map(5000, asked, 6000, &[])).unwrap();
        assert_eq!((said(&answer), answer.len()), ((0, got), 60));
        assert_eq!(answer[40..44], [5000_u16.to_be_bytes(), 6000_u16.to_be_bytes()].concat());
        assert_eq!(answer[44..], PUBLIC.to_ipv6_mapped().octets());
    }
    assert_eq!(said(&ask(&mut nat, &map(5000, 0, 0, &[])).unwrap()), (0, 0));
    assert_eq!(nat.explicit_mappings().count(), 0);
}

#[test]
fn rfc6887_s7_what_is_wrong_is_told() {
    let mut nat = nat();
    let mut told = |message: &[u8]| said(&ask(&mut nat, message).unwrap()).0;
    let good = map(5000, 600, 0, &[]);
    assert_eq!(told(&header(0, 0, GUEST)), 0);
    assert_eq!(told(&[&[9][..], &good[1..]].concat()), 1);
    assert_eq!(told(&good[..59]), 3);
    assert_eq!(told(&good[..56]), 3);
    assert_eq!(told(&[&good[..], &[0; 1100]].concat()), 3);
    assert_eq!(told(&header(2, 600, GUEST)), 4);
    assert_eq!(told(&header(1, 600, PUBLIC)), 12);
    assert_eq!(told(&map(0, 600, 0, &[])), 9);
    // THIRD_PARTY; an option that may be passed over; one that is cut short; PREFER_FAILURE with a body.
    assert_eq!(told(&map(5000, 600, 0, &[&[1, 0, 0, 16][..], &[0; 16]].concat())), 5);
    assert_eq!(told(&map(5000, 600, 0, &[200, 0, 0, 1, 7, 0, 0, 0])), 0);
    assert_eq!(told(&map(5001, 600, 0, &[200, 0, 0, 9, 7, 0, 0, 0])), 6);
    assert_eq!(told(&map(5001, 600, 0, &[2, 0, 0, 4, 7, 0, 0, 0])), 6);
    // Port 5000 is taken, by itself.
    assert_eq!(told(&map(5000, 600, 7000, &[2, 0, 0, 0])), 0);
    assert_eq!(told(&map(5002, 600, 5000, &[2, 0, 0, 0])), 11);
    for silent in [&[][..], &[2], &[2, 0x81, 0, 0], &[0, 0x80], &[0, 1, 0, 0]] {
        assert_eq!(ask(&mut nat, silent), Err(DropReason::BadPcp), "{silent:?}");
    }
}

#[test]
fn rfc6886_s3_address_and_mapping() {
    let mut nat = nat();
    assert_eq!(ask(&mut nat, &[0, 0]).unwrap(), [&[0, 128, 0, 0, 0, 0, 0, 7][..], &PUBLIC.octets()].concat());
    let request = [0, 1, 0, 0, 0x13, 0x88, 0x17, 0x70, 0, 0, 2, 0x58];
    let answer = [0, 129, 0, 0, 0, 0, 0, 7, 0x13, 0x88, 0x17, 0x70, 0, 0, 2, 0x58];
    assert_eq!(ask(&mut nat, &request).unwrap(), answer);
    let end = [0, 1, 0, 0, 0x13, 0x88, 0, 0, 0, 0, 0, 0];
    assert_eq!(ask(&mut nat, &end).unwrap(), [0, 129, 0, 0, 0, 0, 0, 7, 0x13, 0x88, 0, 0, 0, 0, 0, 0]);
    assert_eq!(nat.explicit_mappings().count(), 0);
}

proptest! {
    #[test]
    fn no_message_panics_and_every_answer_is_one(version in 0_u8..3, opcode in 0_u8..4, rest: Vec<u8>, honest: bool) {
        let mut message = [&[version, opcode][..], &rest].concat();
        if honest && message.len() >= 24 {
            message[8..24].copy_from_slice(&GUEST.to_ipv6_mapped().octets());
        }
        if let Ok(answer) = ask(&mut nat(), &message) {
            prop_assert_eq!(answer[1] & 0x80, 0x80);
            prop_assert!(answer.len() <= 1100);
        }
    }
}

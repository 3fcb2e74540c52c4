use packet::builder::eth;
use packet::{NetworkId, Offload, Verdict, parse};

use super::*;

const A: MacAddr = MacAddr::local(1);
const B: MacAddr = MacAddr::local(2);
const GATEWAY: MacAddr = MacAddr::local(9);
const LEASED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const GIVEN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 12);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);

fn port(id: u16) -> PortId {
    PortId::new(id).unwrap()
}

struct Fixture(Guards);

impl Fixture {
    fn new(checks: Guard) -> Self {
        let mut guards = Guards::default();
        let guard = PortGuard { checks, addresses: vec![GIVEN], ..PortGuard::default() };
        guards.set(port(1), Some(guard));
        guards.set(port(2), Some(PortGuard { checks, ..PortGuard::default() }));
        Self(guards)
    }

    /// What becomes of a frame from a port; [`LEASED`] is leased to [`A`].
    fn judge(&mut self, id: u16, frame: &[u8]) -> Result<(), DropReason> {
        let mut burst = Burst::new();
        burst.restart(Some(port(id)), NetworkId::new(0));
        assert!(burst.push(frame, Offload::NONE));
        parse(&mut burst);
        self.0.check(&mut burst, |address| (address == LEASED).then_some(A), |mac, _| mac == GATEWAY);
        match burst.metas()[0].verdict {
            Verdict::Drop(reason) => Err(reason),
            _ => Ok(()),
        }
    }
}

fn udp(mac: MacAddr, from: Ipv4Addr) -> Vec<u8> {
    eth().src(mac).dst(GATEWAY).ipv4(from, OTHER).udp(1000, 2000).payload(b"x")
}

fn dhcp(mac: MacAddr, source: Ipv4Addr, ports: (u16, u16), chaddr: MacAddr, relay: [u8; 4]) -> Vec<u8> {
    let mut message = [0; 240];
    message[0] = if ports.1 == 67 { 1 } else { 2 };
    message[24..28].copy_from_slice(&relay);
    message[28..34].copy_from_slice(&chaddr.octets());
    let frame = eth().src(mac).dst(MacAddr::BROADCAST).ipv4(source, Ipv4Addr::BROADCAST);
    frame.udp(ports.0, ports.1).payload(&message)
}

fn arp(mac: MacAddr, sender: (MacAddr, Ipv4Addr)) -> Vec<u8> {
    eth().src(mac).dst(MacAddr::BROADCAST).arp(1, sender, (MacAddr::ZERO, OTHER))
}

/// An IPv6 packet behind these next headers.
fn ipv6(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, rest.len() as u8, next, 255];
    packet.extend([0xfe; 32]);
    packet.extend(rest);
    eth().src(A).dst(GATEWAY).ether_type(EtherType::IPV6).payload(&packet)
}

#[test]
fn a_station_has_what_is_leased_to_it_and_what_its_port_is_given() {
    let mut guards = Fixture::new(Guard::ALL);
    for (address, expected) in [(LEASED, Ok(())), (GIVEN, Ok(())), (OTHER, Err(DropReason::GuardAddress))] {
        assert_eq!(guards.judge(1, &udp(A, address)), expected);
        assert_eq!(guards.judge(1, &arp(A, (A, address))), expected);
    }
    // The lease is A's, and what is given to port 1 is not port 2's.
    for address in [LEASED, GIVEN, OTHER] {
        assert_eq!(guards.judge(2, &udp(B, address)), Err(DropReason::GuardAddress));
        assert_eq!(guards.judge(2, &arp(B, (B, address))), Err(DropReason::GuardAddress));
    }
    assert_eq!(guards.judge(2, &arp(B, (B, Ipv4Addr::UNSPECIFIED))), Ok(()), "a probe");
    assert_eq!(guards.judge(2, &arp(B, (A, Ipv4Addr::UNSPECIFIED))), Err(DropReason::GuardAddress));
}

#[test]
fn the_first_mac_is_the_ports_until_its_link_goes_down() {
    let mut guards = Fixture::new(Guard { mac: true, ..Guard::NONE });
    assert_eq!(guards.judge(1, &udp(A, OTHER)), Ok(()));
    assert_eq!(guards.judge(1, &udp(B, OTHER)), Err(DropReason::GuardMac));
    assert_eq!(guards.judge(2, &udp(A, OTHER)), Err(DropReason::GuardMac), "another port's");
    assert_eq!(guards.judge(2, &udp(GATEWAY, OTHER)), Err(DropReason::GuardMac), "static elsewhere");
    assert_eq!(guards.judge(2, &udp(B, OTHER)), Ok(()));
    assert_eq!((guards.0.port_of(A), guards.0.port_of(B)), (Some(port(1)), Some(port(2))));
    guards.0.forget(port(1));
    assert_eq!(guards.judge(1, &udp(B, OTHER)), Err(DropReason::GuardMac), "still the other's");
    assert_eq!(guards.judge(1, &udp(MacAddr::local(3), OTHER)), Ok(()));
}

#[test]
fn where_nobody_gives_addresses_the_first_one_is_the_ports() {
    let mut guards = Fixture::new(Guard::ALL);
    guards.0.set(port(2), Some(PortGuard { checks: Guard::ALL, first_come: true, ..PortGuard::default() }));
    for taken in [GIVEN, LEASED] {
        assert_eq!(guards.judge(2, &udp(B, taken)), Err(DropReason::GuardAddress));
    }
    assert_eq!(guards.judge(2, &udp(B, OTHER)), Ok(()));
    assert_eq!(guards.judge(2, &udp(B, Ipv4Addr::new(10, 0, 0, 98))), Err(DropReason::GuardAddress));
    assert_eq!(guards.judge(2, &udp(B, OTHER)), Ok(()));
}

#[test]
fn clients_of_dhcp_speak_for_themselves_and_servers_not_at_all() {
    let mut guards = Fixture::new(Guard::ALL);
    let nobody = Ipv4Addr::UNSPECIFIED;
    assert_eq!(guards.judge(1, &dhcp(A, nobody, (68, 67), A, [0; 4])), Ok(()));
    let refused = Err(DropReason::GuardDhcp);
    assert_eq!(guards.judge(1, &dhcp(A, nobody, (68, 67), B, [0; 4])), refused, "another's chaddr");
    assert_eq!(guards.judge(1, &dhcp(A, LEASED, (68, 67), B, [0; 4])), refused, "another's release");
    assert_eq!(guards.judge(1, &dhcp(A, nobody, (68, 67), A, [10, 0, 0, 1])), refused, "a relay agent");
    assert_eq!(guards.judge(1, &dhcp(A, LEASED, (67, 68), B, [0; 4])), refused, "an offer");
    assert_eq!(guards.judge(1, &dhcp(A, LEASED, (67, 67), A, [10, 0, 0, 1])), refused);
    assert_eq!(guards.judge(1, &udp(A, nobody)), Err(DropReason::GuardAddress), "not DHCP");
}

#[test]
fn router_advertisements_are_found_behind_extension_headers() {
    let mut guards = Fixture::new(Guard::ALL);
    let (advertisement, solicitation) = ([134, 0, 0, 0], [133, 0, 0, 0]);
    assert_eq!(guards.judge(1, &ipv6(58, &advertisement)), Err(DropReason::GuardRa));
    assert_eq!(guards.judge(1, &ipv6(58, &solicitation)), Ok(()));
    let behind = |kind: [u8; 4]| [&[58, 0, 0, 0, 0, 0, 0, 0], kind.as_slice()].concat();
    for header in [0, 43, 44, 60] {
        assert_eq!(
            guards.judge(1, &ipv6(header, &behind(advertisement))),
            Err(DropReason::GuardRa),
            "{header}"
        );
        assert_eq!(guards.judge(1, &ipv6(header, &behind(solicitation))), Ok(()), "{header}");
    }
    // RFC 7113: what hides its headers in a later fragment, or behind more than a host sends.
    assert_eq!(guards.judge(1, &ipv6(44, &[60, 0, 0, 1, 0, 0, 0, 0])), Err(DropReason::GuardRa));
    let chain: Vec<u8> = [0, 0, 0, 0, 0, 0, 0, 0].repeat(20);
    assert_eq!(guards.judge(1, &ipv6(0, &chain)), Err(DropReason::GuardRa));
    let server = [2, 35, 2, 34, 0, 8, 0, 0];
    assert_eq!(guards.judge(1, &ipv6(17, &server)), Err(DropReason::GuardDhcp));
}

#[test]
fn a_checksum_is_not_written_over_the_addresses_of_a_frame_with_two_tags() {
    let mut guards = Fixture::new(Guard::ALL);
    let frame = eth().src(A).dst(GATEWAY).vlan(1).vlan(2).ipv4(LEASED, OTHER).udp(1000, 2000).payload(b"x");
    let mut judge = |csum_start| {
        let offload = Offload { needs_checksum: true, csum_start, csum_offset: 0, ..Offload::NONE };
        let mut burst = Burst::new();
        burst.restart(Some(port(1)), NetworkId::new(0));
        assert!(burst.push(&frame, offload));
        parse(&mut burst);
        guards.0.check(&mut burst, |address| (address == LEASED).then_some(A), |_, _| false);
        burst.metas()[0].verdict
    };
    assert_eq!(judge(34), Verdict::Drop(DropReason::BadOffload));
    assert_eq!(judge(42), Verdict::Undecided);
}

#[test]
fn frames_that_end_early_pass_or_fail_but_do_no_harm() {
    let mut guards = Fixture::new(Guard::ALL);
    for whole in [
        udp(A, LEASED),
        arp(A, (A, LEASED)),
        dhcp(A, LEASED, (68, 67), A, [0; 4]),
        ipv6(0, &[58, 0, 0, 0, 0, 0, 0, 0, 134, 0, 0, 0]),
    ] {
        for len in 0..whole.len() {
            let _ = guards.judge(1, &whole[..len]);
        }
    }
}

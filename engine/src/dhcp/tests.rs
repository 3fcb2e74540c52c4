//! What clients see, by messages built and read independently of the server's own code.

use proptest::prelude::*;
use smoltcp::wire::{DhcpPacket, DhcpRepr};

use super::*;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const BROADCAST: (MacAddr, Ipv4Addr) = (MacAddr::BROADCAST, Ipv4Addr::BROADCAST);

#[test]
fn a_client_discovers_requests_and_is_leased_an_address_with_the_settings() {
    let mut server = server(2, 9);
    let offer = server.answer(&mac(1).discover());
    assert_eq!((offer.kind, offer.address), (DhcpMessageType::Offer, ip(2)));
    assert_eq!(offer.to, (mac(1), ip(2)));
    assert!(server.leased().is_empty(), "an offer is no lease");

    let ack = server.answer(&mac(1).select(ip(2)).option(12, b"guest-1"));
    assert_eq!((ack.kind, ack.address), (DhcpMessageType::Ack, ip(2)));
    assert_eq!(ack.option(1), [255, 255, 255, 0]);
    assert_eq!(ack.option(3), SERVER.octets());
    assert_eq!(ack.option(6), [[1, 1, 1, 1], [8, 8, 8, 8]].concat());
    assert_eq!(ack.option(15), b"lan");
    assert_eq!(ack.option(26), 1400u16.to_be_bytes());
    assert_eq!(ack.option(28), [10, 0, 0, 255]);
    assert_eq!(ack.option(51), 3600u32.to_be_bytes());
    assert_eq!(ack.option(54), SERVER.octets());
    assert_eq!(ack.option(58), 1800u32.to_be_bytes());
    assert_eq!(ack.option(59), 3150u32.to_be_bytes());
    let report = server.dhcp.leases(NetworkId::new(3), Millis::from_secs(600)).next().unwrap();
    assert_eq!(
        report,
        LeaseReport {
            network: NetworkId::new(3),
            address: ip(2),
            mac: mac(1),
            host_name: Some("guest-1".to_owned()),
            expires_in: Millis::from_secs(3000),
        }
    );
}

#[test]
fn the_broadcast_flag_asks_for_a_broadcast_answer() {
    let mut server = server(2, 9);
    assert_eq!(server.answer(&mac(1).discover().broadcast()).to, BROADCAST);
    assert_eq!(server.answer(&mac(1).renew(ip(2)).broadcast()).to, (mac(1), ip(2)), "ciaddr goes before");
}

#[test]
fn a_client_is_offered_its_reserved_address_then_its_own_then_what_it_asks_for() {
    let mut server = server(2, 9);
    server.dhcp.config.reserved = vec![(mac(7), ip(200))];
    server.dhcp.reconfigure(server.dhcp.config.clone(), server.dhcp.interface, 1500);
    assert_eq!(server.answer(&mac(7).discover().requested(ip(5))).address, ip(200));
    assert_eq!(server.answer(&mac(1).discover().requested(ip(5))).address, ip(5));
    assert_eq!(server.answer(&mac(1).discover().requested(ip(6))).address, ip(5), "still held for it");
    assert_eq!(server.answer(&mac(2).discover().requested(ip(5))).address, ip(2), "held for another");
    assert_eq!(server.answer(&mac(3).discover().requested(ip(200))).address, ip(3), "reserved for another");
    assert_eq!(server.answer(&mac(4).discover().requested(SERVER)).address, ip(4), "the switch's own");
}

#[test]
fn an_ended_lease_is_remembered_for_its_client_while_other_addresses_are_left() {
    let mut server = server(2, 4);
    server.lease(mac(1), ip(2));
    server.now = Millis::from_secs(4000);
    assert!(server.leased().is_empty());
    assert_eq!(server.answer(&mac(2).discover()).address, ip(3));
    assert_eq!(server.answer(&mac(1).discover()).address, ip(2));
}

#[test]
fn when_no_unused_address_is_left_the_one_that_ended_longest_ago_goes_first() {
    let mut server = server(2, 4);
    for (n, host) in [(1, 3), (2, 4), (3, 2)] {
        server.now = Millis::from_secs(n);
        server.lease(mac(n), ip(host));
    }
    assert_eq!(server.refusal(&mac(9).discover()), DropReason::DhcpRangeFull);
    server.now = Millis::from_secs(3603);
    assert_eq!(server.answer(&mac(9).discover()).address, ip(3));
    assert_eq!(server.answer(&mac(10).discover()).address, ip(4));
}

#[test]
fn an_offer_is_held_for_a_minute() {
    let mut server = server(2, 2);
    server.answer(&mac(1).discover());
    server.now = Millis::new(59_999);
    assert_eq!(server.refusal(&mac(2).discover()), DropReason::DhcpRangeFull);
    assert_eq!(server.answer(&mac(2).reboot(ip(2))).kind, DhcpMessageType::Nak);
    server.now = Millis::from_secs(60);
    assert_eq!(server.answer(&mac(2).discover()).address, ip(2));
}

#[test]
fn a_client_that_chose_another_server_gives_its_offer_back() {
    let mut server = server(2, 2);
    server.answer(&mac(1).discover());
    let elsewhere = mac(1).message(DhcpMessageType::Request).requested(ip(77)).server(ip(99));
    assert_eq!(server.refusal(&elsewhere), DropReason::DhcpNotForUs);
    assert_eq!(server.answer(&mac(2).discover()).address, ip(2));
}

#[test]
fn after_a_restart_a_client_keeps_the_address_it_had() {
    for remembered in [mac(1).reboot(ip(7)), mac(1).renew(ip(7)), mac(1).select(ip(7))] {
        let mut server = server(2, 9);
        let ack = server.answer(&remembered);
        assert_eq!((ack.kind, ack.address), (DhcpMessageType::Ack, ip(7)));
        assert_eq!(server.leased(), [ip(7)]);
    }
}

#[test]
fn an_address_that_cannot_be_the_clients_is_refused_by_broadcast() {
    let mut server = server(2, 9);
    server.lease(mac(1), ip(2));
    let wrong = [ip(2), ip(77), Ipv4Addr::new(192, 168, 0, 2), SERVER, Ipv4Addr::BROADCAST];
    for address in wrong {
        for request in [mac(2).reboot(address), mac(2).select(address), mac(2).renew(address)] {
            let nak = server.answer(&request);
            assert_eq!((nak.kind, nak.to), (DhcpMessageType::Nak, BROADCAST), "{address}");
            assert_eq!(nak.option(54), SERVER.octets());
        }
    }
    assert_eq!(server.leased(), [ip(2)]);
}

#[test]
fn renewing_extends_the_lease_and_is_answered_to_the_address() {
    let mut server = server(2, 9);
    server.lease(mac(1), ip(4));
    server.now = Millis::from_secs(1800);
    let ack = server.answer(&mac(1).renew(ip(4)));
    assert_eq!((ack.kind, ack.to), (DhcpMessageType::Ack, (mac(1), ip(4))));
    server.now = Millis::from_secs(1800 + 3599);
    assert_eq!(server.leased(), [ip(4)]);
}

#[test]
fn a_client_that_moves_gives_up_the_address_it_had() {
    let mut server = server(2, 9);
    server.lease(mac(1), ip(4));
    server.lease(mac(1), ip(5));
    assert_eq!(server.leased(), [ip(5)]);
}

#[test]
fn a_declined_address_is_set_aside_for_ten_minutes() {
    let mut server = server(2, 2);
    server.lease(mac(1), ip(2));
    server.silence(&mac(1).message(DhcpMessageType::Decline).requested(ip(2)).server(SERVER));
    assert!(server.leased().is_empty());
    assert_eq!(server.refusal(&mac(1).discover()), DropReason::DhcpRangeFull);
    assert_eq!(server.answer(&mac(1).reboot(ip(2))).kind, DhcpMessageType::Nak);
    server.now = Millis::from_secs(600);
    assert_eq!(server.answer(&mac(2).discover()).address, ip(2));
}

#[test]
fn a_released_address_is_free_but_its_client_gets_it_again() {
    let mut server = server(2, 9);
    server.lease(mac(1), ip(5));
    server.silence(&mac(1).message(DhcpMessageType::Release).in_use(ip(5)).server(SERVER));
    assert!(server.leased().is_empty());
    assert_eq!(server.answer(&mac(1).discover()).address, ip(5));
}

#[test]
fn only_its_holder_can_decline_or_release_an_address() {
    let mut server = server(2, 9);
    server.lease(mac(1), ip(5));
    for message in [
        mac(2).message(DhcpMessageType::Decline).requested(ip(5)).server(SERVER),
        mac(2).message(DhcpMessageType::Release).in_use(ip(5)).server(SERVER),
        mac(1).message(DhcpMessageType::Release).in_use(ip(5)).server(ip(99)),
    ] {
        assert_eq!(server.refusal(&message), DropReason::DhcpNotForUs);
    }
    assert_eq!(server.leased(), [ip(5)]);
}

#[test]
fn inform_is_answered_with_settings_and_no_lease() {
    let mut server = server(2, 9);
    let ack = server.answer(&mac(1).message(DhcpMessageType::Inform).in_use(ip(50)));
    assert_eq!((ack.kind, ack.address), (DhcpMessageType::Ack, Ipv4Addr::UNSPECIFIED));
    assert_eq!(ack.to, (mac(1), ip(50)));
    assert_eq!(ack.option(3), SERVER.octets());
    assert!(ack.option(51).is_empty());
    let stranger = mac(1).message(DhcpMessageType::Inform).in_use(Ipv4Addr::new(8, 8, 8, 8));
    assert_eq!(server.refusal(&stranger), DropReason::DhcpNotForUs);
}

#[test]
fn clients_are_told_apart_by_identifier_and_else_by_mac() {
    let mut server = server(2, 9);
    let first = server.answer(&mac(1).discover().option(61, b"one"));
    assert_eq!((first.address, first.option(61)), (ip(2), b"one".to_vec()));
    assert_eq!(server.answer(&mac(1).discover().option(61, b"two")).address, ip(3));
    assert_eq!(server.answer(&mac(2).discover().option(61, b"one")).address, ip(2), "moved to another card");
    // The identifier that most clients make of their MAC is the same client as one that sends none.
    assert_eq!(server.answer(&mac(4).discover()).address, ip(4));
    let of_mac = [&[1], mac(4).octets().as_slice()].concat();
    assert_eq!(server.answer(&mac(4).discover().option(61, &of_mac)).address, ip(4));
}

#[test]
fn reconfiguring_keeps_the_leases_that_the_new_range_allows() {
    let mut server = server(2, 9);
    server.lease(mac(1), ip(3));
    server.lease(mac(2), ip(8));
    let config = DhcpConfig { first: ip(5), last: ip(20), ..server.dhcp.config.clone() };
    server.dhcp.reconfigure(config, server.dhcp.interface, 1500);
    assert_eq!(server.leased(), [ip(8)]);
    assert_eq!(server.answer(&mac(1).renew(ip(3))).kind, DhcpMessageType::Nak);
    assert_eq!(server.answer(&mac(1).discover()).address, ip(5));
}

#[test]
fn a_new_reservation_moves_its_client_at_the_next_renewal() {
    let mut server = server(2, 9);
    server.lease(mac(1), ip(3));
    let config = DhcpConfig { reserved: vec![(mac(1), ip(9))], ..server.dhcp.config.clone() };
    server.dhcp.reconfigure(config, server.dhcp.interface, 1500);
    assert_eq!(server.answer(&mac(1).renew(ip(3))).kind, DhcpMessageType::Nak);
    assert_eq!(server.answer(&mac(1).discover()).address, ip(9));
}

#[test]
fn what_is_no_client_message_for_this_server_is_not_answered() {
    let mut server = server(2, 9);
    let relayed = mac(1).discover().byte(24, 10);
    let reply = mac(1).discover().byte(0, 2);
    let bootp = ClientMessage::new(mac(1));
    for message in [relayed, reply, bootp, mac(1).message(DhcpMessageType::Offer)] {
        assert_eq!(server.refusal(&message), DropReason::DhcpNotForUs);
    }
}

#[test]
fn malformed_messages_are_named_so() {
    let mut server = server(2, 9);
    let zero_mac = ClientMessage::new(MacAddr::ZERO).option(53, &[1]);
    let token_ring = mac(1).discover().byte(1, 6);
    let long_mac = mac(1).discover().byte(2, 16);
    let no_magic = mac(1).discover().byte(236, 0);
    let short_address = mac(1).discover().option(50, &[10, 0, 0]);
    let no_identifier = mac(1).discover().option(61, b"");
    let no_address = mac(1).message(DhcpMessageType::Request);
    for message in [zero_mac, token_ring, long_mac, no_magic, short_address, no_identifier, no_address] {
        assert_eq!(server.refusal(&message), DropReason::BadDhcp);
    }
}

#[test]
fn a_message_cut_anywhere_is_refused_or_still_asks_for_the_same_address() {
    let whole = mac(1).select(ip(2)).option(12, b"guest").bytes;
    for len in 0..whole.len() {
        let mut server = server(2, 9);
        // A cut between two options can't be seen: what is left is another valid message.
        match server.dhcp.handle(&whole[..len], Millis::ZERO) {
            Ok(reply) => assert_eq!(Answer::read(&reply.unwrap()).address, ip(2), "cut at {len}"),
            Err(reason) => {
                assert!(matches!(reason, DropReason::BadDhcp | DropReason::DhcpNotForUs), "cut at {len}");
                assert!(server.leased().is_empty());
            }
        }
    }
}

#[test]
fn a_host_name_with_anything_but_letters_digits_dots_and_dashes_is_not_shown() {
    for (name, shown) in [(&b"a-1.b"[..], Some("a-1.b")), (b"\x1b[2J", None), (b"\xff", None), (b"", None)] {
        let mut server = server(2, 9);
        server.answer(&mac(1).select(ip(2)).option(12, name));
        let report = server.dhcp.leases(NetworkId::new(0), Millis::ZERO).next().unwrap();
        assert_eq!(report.host_name.as_deref(), shown);
    }
}

#[test]
fn an_answer_is_no_longer_than_the_client_takes_and_no_shorter_than_bootp() {
    let mut server = server(2, 9);
    let bare = server.dhcp.handle(&mac(1).discover().bytes, Millis::ZERO).unwrap().unwrap();
    assert!((300..=548).contains(&bare.payload.len()));
    server.dhcp.config.domain = Some("x".repeat(255));
    server.dhcp.config.dns = vec![ip(3); 100];
    let narrow = server.dhcp.handle(&mac(1).discover().bytes, Millis::ZERO).unwrap().unwrap();
    assert!(narrow.payload.len() <= 548);
    assert!(Answer::read(&narrow).option(15).is_empty(), "the last option did not fit");
    let wide = mac(1).discover().option(57, &1400u16.to_be_bytes());
    assert_eq!(server.answer(&wide).option(15).len(), 255);
}

#[test]
fn a_range_of_65536_addresses_is_leased_to_the_last_one_quickly() {
    let interface = Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, 1), 8).unwrap();
    let (first, last) = (Ipv4Addr::new(10, 1, 0, 0), Ipv4Addr::new(10, 1, 255, 255));
    let mut dhcp = DhcpServer::new(DhcpConfig { first, last, ..config(2, 9) }, interface, 1500);
    for n in 0..65_536 {
        let offer = dhcp.handle(&mac(n).discover().bytes, Millis::ZERO).unwrap().unwrap();
        assert_eq!(offer.destination_ip.to_bits(), first.to_bits() + n as u32);
    }
    let one_more = dhcp.handle(&mac(65_536).discover().bytes, Millis::ZERO);
    assert_eq!(one_more, Err(DropReason::DhcpRangeFull));
    let later = dhcp.handle(&mac(65_536).discover().bytes, Millis::from_secs(60)).unwrap().unwrap();
    assert_eq!(later.destination_ip, first);
}

proptest! {
    #[test]
    fn no_bytes_can_make_it_panic(message in prop::collection::vec(any::<u8>(), 0..600), now: u64) {
        let mut server = server(2, 9);
        let _ = server.dhcp.handle(&message, Millis::new(now));
    }

    #[test]
    fn no_options_can_make_it_panic(options in prop::collection::vec(any::<u8>(), 0..300), now: u64) {
        let mut server = server(2, 9);
        let message = [&ClientMessage::new(mac(1)).bytes[..240], &options].concat();
        let _ = server.dhcp.handle(&message, Millis::new(now));
    }

    #[test]
    fn whatever_clients_do_no_address_has_two_holders_and_none_is_outside_the_range(
        steps in prop::collection::vec((0u64..6, 0u8..7, 0u8..12, 0u64..2000), 1..200),
    ) {
        let mut server = server(2, 6);
        let mut holders = BTreeMap::new();
        for (client, kind, host, pause) in steps {
            server.now = server.now + Millis::from_secs(pause);
            holders.retain(|_, (_, until)| server.now < *until);
            let (mac, address) = (mac(client), ip(host));
            let message = match kind {
                0 => mac.discover().requested(address),
                1 => mac.select(address),
                2 => mac.reboot(address),
                3 => mac.renew(address),
                4 => mac.message(DhcpMessageType::Decline).requested(address).server(SERVER),
                5 => mac.message(DhcpMessageType::Release).in_use(address).server(SERVER),
                _ => mac.message(DhcpMessageType::Inform).in_use(address),
            };
            let Ok(reply) = server.dhcp.handle(&message.bytes, server.now) else { continue };
            if matches!(kind, 4 | 5) {
                holders.remove(&address);
            }
            let Some(answer) = reply.map(|reply| Answer::read(&reply)) else { continue };
            if answer.kind == DhcpMessageType::Ack && kind != 6 {
                prop_assert!((ip(2)..=ip(6)).contains(&answer.address));
                holders.retain(|_, (holder, _)| *holder != mac);
                let until = server.now + Millis::from_secs(3600);
                let before = holders.insert(answer.address, (mac, until));
                prop_assert!(before.is_none(), "{} had it", before.unwrap().0);
            }
            let expected: Vec<_> = holders.keys().copied().collect();
            prop_assert_eq!(server.leased(), expected);
        }
    }
}

/// The server with the clock of its test.
struct TestServer {
    dhcp: DhcpServer,
    now: Millis,
}

fn config(first: u8, last: u8) -> DhcpConfig {
    DhcpConfig {
        first: ip(first),
        last: ip(last),
        lease_time: Millis::from_secs(3600),
        router: Some(SERVER),
        dns: vec![Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8)],
        domain: Some("lan".to_owned()),
        reserved: Vec::new(),
    }
}

fn server(first: u8, last: u8) -> TestServer {
    let interface = Ipv4Cidr::new(SERVER, 24).unwrap();
    TestServer { dhcp: DhcpServer::new(config(first, last), interface, 1400), now: Millis::ZERO }
}

fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

fn mac(n: u64) -> MacAddr {
    MacAddr::local(n)
}

impl TestServer {
    fn answer(&mut self, message: &ClientMessage) -> Answer {
        let reply = self.dhcp.handle(&message.bytes, self.now).unwrap().unwrap();
        Answer::read(&reply)
    }

    fn refusal(&mut self, message: &ClientMessage) -> DropReason {
        self.dhcp.handle(&message.bytes, self.now).unwrap_err()
    }

    fn silence(&mut self, message: &ClientMessage) {
        assert_eq!(self.dhcp.handle(&message.bytes, self.now), Ok(None));
    }

    fn lease(&mut self, mac: MacAddr, address: Ipv4Addr) {
        assert_eq!(self.answer(&mac.select(address)).kind, DhcpMessageType::Ack);
    }

    fn leased(&self) -> Vec<Ipv4Addr> {
        self.dhcp.leases(NetworkId::new(0), self.now).map(|lease| lease.address).collect()
    }
}

/// An answer as smoltcp reads it.
struct Answer {
    kind: DhcpMessageType,
    address: Ipv4Addr,
    to: (MacAddr, Ipv4Addr),
    payload: Vec<u8>,
}

impl Answer {
    fn read(reply: &DhcpReply) -> Self {
        let payload = reply.payload.clone();
        let packet = DhcpPacket::new_checked(&payload[..]).unwrap();
        Self {
            // smoltcp refuses client identifiers that aren't made of a MAC address, so the type is read by hand.
            kind: DhcpRepr::parse(&packet).map_or_else(|_| payload[242].into(), |repr| repr.message_type),
            address: packet.your_ip(),
            to: (reply.destination_mac, reply.destination_ip),
            payload,
        }
    }

    fn option(&self, kind: u8) -> Vec<u8> {
        let packet = DhcpPacket::new_checked(&self.payload[..]).unwrap();
        let option = packet.options().find(|option| option.kind == kind);
        option.map(|option| option.data.to_vec()).unwrap_or_default()
    }
}

/// A client's message under construction.
struct ClientMessage {
    bytes: Vec<u8>,
}

trait Sends {
    fn message(self, kind: DhcpMessageType) -> ClientMessage;
    fn discover(self) -> ClientMessage;
    fn select(self, address: Ipv4Addr) -> ClientMessage;
    fn reboot(self, address: Ipv4Addr) -> ClientMessage;
    fn renew(self, address: Ipv4Addr) -> ClientMessage;
}

impl Sends for MacAddr {
    fn message(self, kind: DhcpMessageType) -> ClientMessage {
        ClientMessage::new(self).option(53, &[kind.into()])
    }

    fn discover(self) -> ClientMessage {
        self.message(DhcpMessageType::Discover)
    }

    fn select(self, address: Ipv4Addr) -> ClientMessage {
        self.reboot(address).server(SERVER)
    }

    fn reboot(self, address: Ipv4Addr) -> ClientMessage {
        self.message(DhcpMessageType::Request).requested(address)
    }

    fn renew(self, address: Ipv4Addr) -> ClientMessage {
        self.message(DhcpMessageType::Request).in_use(address)
    }
}

impl ClientMessage {
    fn new(mac: MacAddr) -> Self {
        let mut bytes = vec![0; 240];
        bytes[..8].copy_from_slice(&[1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
        bytes[28..34].copy_from_slice(&mac.octets());
        bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
        bytes.push(255);
        Self { bytes }
    }

    fn byte(mut self, at: usize, value: u8) -> Self {
        self.bytes[at] = value;
        self
    }

    fn option(mut self, kind: u8, data: &[u8]) -> Self {
        self.bytes.pop();
        self.bytes.extend([kind, data.len() as u8]);
        self.bytes.extend_from_slice(data);
        self.bytes.push(255);
        self
    }

    fn requested(self, address: Ipv4Addr) -> Self {
        self.option(50, &address.octets())
    }

    fn server(self, address: Ipv4Addr) -> Self {
        self.option(54, &address.octets())
    }

    fn in_use(mut self, address: Ipv4Addr) -> Self {
        self.bytes[12..16].copy_from_slice(&address.octets());
        self
    }

    fn broadcast(self) -> Self {
        self.byte(10, 0x80)
    }
}

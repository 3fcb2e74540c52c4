//! What clients see, by messages built and read independently of the server's own code.

use crate::report::LeaseReport;
use crate::runtime_config::DhcpBoot;
use proptest::prelude::*;
use smoltcp::wire::{DhcpPacket, DhcpRepr};

use super::*;

mod leased;
mod offers;
mod shares;

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
    let later = server.now + Millis::from_secs(600);
    let (address, held) = server.dhcp.leases.iter().next().unwrap();
    let report = held.report(NetworkId::new(3), address, later);
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
    let config =
        DhcpConfig { reserved: vec![(DhcpClient::Mac(mac(7)), ip(200))], ..server.dhcp.config.clone() };
    server.dhcp.reconfigure(config, server.dhcp.interface, 1500);
    assert_eq!(server.answer(&mac(7).discover().requested(ip(5))).address, ip(200));
    assert_eq!(server.answer(&mac(1).discover().requested(ip(5))).address, ip(5));
    assert_eq!(server.answer(&mac(1).discover().requested(ip(6))).address, ip(5), "still held for it");
    assert_eq!(server.answer(&mac(2).discover().requested(ip(5))).address, ip(2), "held for another");
    assert_eq!(server.answer(&mac(3).discover().requested(ip(200))).address, ip(3), "reserved for another");
    assert_eq!(server.answer(&mac(4).discover().requested(SERVER)).address, ip(4), "the switch's own");
}

#[test]
fn a_reservation_by_identifier_goes_before_one_by_mac() {
    for is_guarded in [false, true] {
        let mut server = server(2, 9);
        server.is_guarded = is_guarded;
        let id = DhcpClient::Id([0xff, 0, 0xaa].into());
        let reserved = vec![(DhcpClient::Mac(mac(1)), ip(200)), (id, ip(201))];
        let config = DhcpConfig { reserved, ..server.dhcp.config.clone() };
        server.dhcp.reconfigure(config, server.dhcp.interface, 1500);
        let with_id = |message: ClientMessage| message.option(61, &[0xff, 0, 0xaa]);
        let offer = server.answer(&with_id(mac(1).discover()));
        assert_eq!((offer.address, offer.option(61)), (ip(201), vec![0xff, 0, 0xaa]));
        assert_eq!(server.answer(&mac(1).discover()).address, ip(200));
        // The same client behind another network card.
        let ack = server.answer(&with_id(mac(2).select(ip(201))));
        assert_eq!((ack.kind, ack.address), (DhcpMessageType::Ack, ip(201)));
        assert_eq!(server.answer(&mac(3).reboot(ip(201))).kind, DhcpMessageType::Nak, "reserved for another");
    }
}

#[test]
fn time_servers_routes_and_what_to_boot_from_are_offered() {
    let mut server = server(2, 9);
    let boot = Some(DhcpBoot { file: "pxelinux.0".to_owned(), server: ip(7) });
    let routes = vec![("10.9.0.0/16".parse().unwrap(), ip(8)), ("10.8.7.6/32".parse().unwrap(), ip(9))];
    let config = DhcpConfig { ntp: vec![ip(5), ip(6)], routes, boot, ..server.dhcp.config.clone() };
    server.dhcp.reconfigure(config, server.dhcp.interface, 1500);
    let offer = server.answer(&mac(1).discover());
    assert_eq!(offer.option(42), [ip(5).octets(), ip(6).octets()].concat());
    let far = [&[16, 10, 9], &ip(8).octets()[..]].concat();
    let host = [&[32, 10, 8, 7, 6], &ip(9).octets()[..]].concat();
    let default = [&[0], &SERVER.octets()[..]].concat();
    assert_eq!(offer.option(121), [far, host, default].concat());
    assert_eq!((offer.option(66), offer.option(67)), (b"10.0.0.7".to_vec(), b"pxelinux.0".to_vec()));
    let packet = DhcpPacket::new_checked(&offer.payload[..]).unwrap();
    assert_eq!(packet.server_ip(), ip(7));
    assert_eq!(offer.payload[108..119], *b"pxelinux.0\0");
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
fn a_message_cut_anywhere_is_refused_or_still_asks_for_the_same_address() {
    let whole = mac(1).select(ip(2)).option(12, b"guest").bytes;
    for len in 0..whole.len() {
        let mut server = server(2, 9);
        // A cut between two options can't be seen: what is left is another valid message.
        match server.step(&ClientMessage { bytes: whole[..len].to_vec() }) {
            Ok(step) => assert_eq!(step, DhcpStep::Ask(ip(2)), "cut at {len}"),
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
        let (_, held) = server.dhcp.leases.iter().next().unwrap();
        assert_eq!(held.host_name.as_deref(), shown);
    }
}

#[test]
fn an_answer_is_no_longer_than_the_client_takes_and_no_shorter_than_bootp() {
    let mut server = server(2, 9);
    let bare = server.reply(&mac(1).discover());
    assert!((300..=548).contains(&bare.payload.len()));
    server.dhcp.config.domain = Some("x".repeat(255));
    server.dhcp.config.dns = vec![ip(3); 100];
    let narrow = server.reply(&mac(1).discover());
    assert!(narrow.payload.len() <= 548);
    assert!(Answer::read(&narrow).option(15).is_empty(), "the last option did not fit");
    let wide = mac(1).discover().option(57, &1400u16.to_be_bytes());
    assert_eq!(server.answer(&wide).option(15).len(), 255);
}

#[test]
fn a_range_of_65536_addresses_is_leased_to_the_last_one_quickly() {
    let mut server = large_server();
    let first = server.dhcp.config.first;
    for n in 0..65_536 {
        server.now = Millis::ZERO;
        let offer = server.answer(&mac(n).discover());
        assert_eq!(offer.address.to_bits(), first.to_bits() + n as u32);
        server.lease(mac(n), offer.address);
    }
    assert_eq!(server.refusal(&mac(65_536).discover()), DropReason::DhcpRangeFull);
    server.now = Millis::from_secs(3601);
    assert_eq!(server.answer(&mac(65_536).discover()).address, first);
}

proptest! {
    #[test]
    fn no_bytes_can_make_it_panic(message in prop::collection::vec(any::<u8>(), 0..600), now: u64) {
        let mut server = server(2, 9);
        server.now = Millis::new(now);
        let _ = server.step(&ClientMessage { bytes: message });
    }

    #[test]
    fn no_options_can_make_it_panic(options in prop::collection::vec(any::<u8>(), 0..300), now: u64) {
        let mut server = server(2, 9);
        let message = [&ClientMessage::new(mac(1)).bytes[..240], &options].concat();
        server.now = Millis::new(now);
        let _ = server.step(&ClientMessage { bytes: message });
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
            let before = server.now;
            let Ok(reply) = server.outcome(&message) else { continue };
            // A probe takes its time.
            if server.now != before {
                holders.retain(|_, (_, until)| server.now < *until);
            }
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
            for later in [0, 5, 3000].map(Millis::from_secs) {
                let now = server.now + later;
                let pool = server.dhcp.pool(NetworkId::new(0), now);
                let live = server.dhcp.leases.iter().filter(|(_, held)| held.is_live(now)).count();
                let leased = server.dhcp.leased(now).count();
                prop_assert_eq!((pool.free, pool.leased), ((5 - live) as u32, leased as u32));
            }
        }
    }
}

/// The server with the clock of its test.
struct TestServer {
    dhcp: DhcpServer,
    now: Millis,
    /// The port of the switch that clients are behind.
    port: Option<PortId>,
    /// Whether that port is guarded.
    is_guarded: bool,
    /// The ARP table, and the port where all of it was heard.
    seen_at: Option<PortId>,
    seen: BTreeMap<Ipv4Addr, (MacAddr, Millis)>,
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
        ntp: Vec::new(),
        routes: Vec::new(),
        boot: None,
    }
}

fn server(first: u8, last: u8) -> TestServer {
    server_at(first, last, 0)
}

fn server_at(first: u8, last: u8, seconds: u64) -> TestServer {
    let interface = Ipv4Cidr::new(SERVER, 24).unwrap();
    let dhcp = DhcpServer::new(config(first, last), interface, 1400);
    TestServer {
        dhcp,
        now: Millis::from_secs(seconds),
        port: None,
        is_guarded: false,
        seen_at: None,
        seen: BTreeMap::new(),
    }
}

/// With as many addresses as a range may have.
fn large_server() -> TestServer {
    let interface = Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, 1), 8).unwrap();
    let (first, last) = (Ipv4Addr::new(10, 1, 0, 0), Ipv4Addr::new(10, 1, 255, 255));
    let mut server = server(2, 9);
    server.dhcp = DhcpServer::new(DhcpConfig { first, last, ..config(2, 9) }, interface, 1500);
    server
}

fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

fn mac(n: u64) -> MacAddr {
    MacAddr::local(n)
}

impl TestServer {
    /// The answer, after a probe that nobody answers if there has to be one.
    fn answer(&mut self, message: &ClientMessage) -> Answer {
        Answer::read(&self.reply(message))
    }

    fn reply(&mut self, message: &ClientMessage) -> DhcpReply {
        self.outcome(message).unwrap().unwrap()
    }

    fn refusal(&mut self, message: &ClientMessage) -> DropReason {
        self.outcome(message).unwrap_err()
    }

    fn silence(&mut self, message: &ClientMessage) {
        assert_eq!(self.outcome(message), Ok(None));
    }

    fn outcome(&mut self, message: &ClientMessage) -> Result<Option<DhcpReply>, DropReason> {
        let mut step = self.step(message)?;
        loop {
            match step {
                DhcpStep::Done => return Ok(None),
                DhcpStep::Send(reply) => return Ok(Some(reply)),
                DhcpStep::Ask(_) => self.now = self.dhcp.next_timeout().unwrap(),
            }
            step = self.on_timeout().unwrap()?;
        }
    }

    fn step(&mut self, message: &ClientMessage) -> Result<DhcpStep, DropReason> {
        self.step_from(mac(999), message)
    }

    fn step_from(&mut self, from: MacAddr, message: &ClientMessage) -> Result<DhcpStep, DropReason> {
        self.with_view(|dhcp, view| dhcp.handle(&message.bytes, from, view))
    }

    fn on_arp(&mut self, address: Ipv4Addr, mac: MacAddr) -> Result<DhcpStep, DropReason> {
        self.with_view(|dhcp, view| dhcp.on_arp(address, mac, view))
    }

    fn on_timeout(&mut self) -> Option<Result<DhcpStep, DropReason>> {
        self.with_view(super::DhcpServer::on_timeout)
    }

    /// Nobody answers any probe; what the clients then hear.
    fn probe_all(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(at) = self.dhcp.next_timeout() {
            self.now = self.now.max(at);
            if let Some(Ok(DhcpStep::Send(reply))) = self.on_timeout() {
                answers.push(Answer::read(&reply));
            }
        }
        answers
    }

    fn with_view<T>(&mut self, ask: impl FnOnce(&mut DhcpServer, View<'_>) -> T) -> T {
        let port = self.seen_at;
        let seen = |address| self.seen.get(&address).map(|&(mac, at)| Sighting { mac, port, at });
        ask(&mut self.dhcp, View { now: self.now, is_guarded: self.is_guarded, port: self.port, seen: &seen })
    }

    fn lease(&mut self, mac: MacAddr, address: Ipv4Addr) {
        assert_eq!(self.answer(&mac.select(address)).kind, DhcpMessageType::Ack);
    }

    fn leased(&self) -> Vec<Ipv4Addr> {
        self.dhcp.leased(self.now).collect()
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
            to: match reply.to {
                DhcpReceiver::Client { mac, ip, .. } => (mac, ip),
                DhcpReceiver::Relay(ip) => (MacAddr::ZERO, ip),
            },
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

    fn relay(mut self, address: Ipv4Addr) -> Self {
        self.bytes[24..28].copy_from_slice(&address.octets());
        self
    }

    fn broadcast(self) -> Self {
        self.byte(10, 0x80)
    }
}

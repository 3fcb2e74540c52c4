//! DHCP through the worker: probes on the wire, the ARP table, relay agents, and leases that are kept elsewhere.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod common;

use std::net::Ipv4Addr;

use engine::report::{LeaseChanges, LeaseEventKind, LeaseRecord};
use packet::builder::eth;
use packet::{MacAddr, Millis};

use common::{Bench, LAN, LAN_IP, LAN_MAC, Sent, arp_reply, arp_request, guest_ip, guest_mac};

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const RELEASE: u8 = 7;

/// A client's message; `requested` is option 50.
fn message(client: MacAddr, kind: u8, requested: Option<Ipv4Addr>) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[28..34].copy_from_slice(&client.octets());
    message[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    message.extend_from_slice(&[53, 1, kind]);
    if let Some(address) = requested {
        message.extend_from_slice(&[50, 4]);
        message.extend_from_slice(&address.octets());
    }
    message.push(255);
    message
}

fn broadcast(client: MacAddr, message: &[u8]) -> Vec<u8> {
    let frame = eth().src(client).dst(MacAddr::BROADCAST);
    frame.ipv4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST).udp(68, 67).payload(message)
}

fn discover(client: MacAddr) -> Vec<u8> {
    broadcast(client, &message(client, DISCOVER, None))
}

fn request(client: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    broadcast(client, &message(client, REQUEST, Some(address)))
}

/// The addresses that the switch asks for on a port.
fn asked(sent: &Sent, port: u16) -> Vec<Ipv4Addr> {
    let frames = sent.get(&port).into_iter().flatten();
    let is_question = |frame: &&Vec<u8>| frame[12..14] == [8, 6] && frame[6..12] == LAN_MAC.octets();
    frames.filter(is_question).map(|frame| <[u8; 4]>::try_from(&frame[38..42]).unwrap().into()).collect()
}

/// Kind and address of the DHCP answers on a port.
fn answers(sent: &Sent, port: u16) -> Vec<(u8, Ipv4Addr)> {
    let frames = sent.get(&port).into_iter().flatten();
    let is_answer = |frame: &&Vec<u8>| frame[12..14] == [8, 0] && frame[34..36] == [0, 67];
    let read = |frame: &Vec<u8>| (frame[284], <[u8; 4]>::try_from(&frame[58..62]).unwrap().into());
    frames.filter(is_answer).map(read).collect()
}

const PROBE: Millis = Millis::new(400);

#[test]
fn a_new_client_gets_no_address_that_the_arp_table_knows_or_that_answers_a_probe() {
    let mut bench = Bench::nat();
    let client = MacAddr::local(0x77);
    // The first four addresses of the range are in the ARP table.
    let sent = bench.send(3, &[discover(client)]);
    assert_eq!((asked(&sent, 1), answers(&sent, 3)), (vec![guest_ip(4)], vec![]));
    let user = MacAddr::local(0x99);
    let sent = bench.send(1, &[arp_reply(user, guest_ip(4), (LAN_MAC, LAN_IP))]);
    assert_eq!(asked(&sent, 1), [guest_ip(5)]);
    assert_eq!(asked(&bench.wait(Millis::new(200)), 1), [guest_ip(5)], "once more");
    assert_eq!(answers(&bench.wait(Millis::new(200)), 3), [(OFFER, guest_ip(5))]);
    let kinds: Vec<_> = std::iter::from_fn(|| bench.worker.next_lease_event())
        .map(|event| (event.kind, event.address, event.mac))
        .collect();
    let in_use = |n| (LeaseEventKind::InUse, guest_ip(n), guest_mac(n));
    let found = (LeaseEventKind::InUse, guest_ip(4), user);
    assert_eq!(kinds, [in_use(0), in_use(1), in_use(2), in_use(3), found]);
}

#[test]
fn a_host_that_answers_a_ping_and_no_arp_keeps_its_address() {
    let mut bench = Bench::nat();
    let (client, user) = (MacAddr::local(0x77), MacAddr::local(0x99));
    let sent = bench.send(3, &[discover(client)]);
    let ping = sent[&1].iter().find(|frame| frame[23] == 1 && frame[12..14] == [8, 0]).unwrap();
    assert_eq!((&ping[..6], &ping[30..34]), (&[0xff; 6][..], &guest_ip(4).octets()[..]));
    assert_eq!(ping[34..36], [8, 0], "an echo request");
    let reply =
        eth().src(user).dst(LAN_MAC).ipv4(guest_ip(4), LAN_IP).icmp_echo_reply(67, 1).payload(&[0; 8]);
    assert_eq!(asked(&bench.send(1, &[reply]), 1), [guest_ip(5)]);
}

#[test]
fn a_client_that_has_a_lease_is_answered_at_once() {
    let mut bench = Bench::nat();
    let client = MacAddr::local(0x77);
    bench.send(3, &[request(client, guest_ip(9))]);
    assert_eq!(answers(&bench.wait(PROBE), 3), [(ACK, guest_ip(9))]);
    assert_eq!(answers(&bench.send(3, &[request(client, guest_ip(9))]), 3), [(ACK, guest_ip(9))]);
    assert_eq!(answers(&bench.send(3, &[discover(client)]), 3), [(OFFER, guest_ip(9))]);
    assert_eq!(bench.worker.next_timeout(), None);
}

#[test]
fn a_relay_agent_is_answered_at_its_address_and_port_67() {
    let mut bench = Bench::nat();
    let (client, agent) = (MacAddr::local(0x77), guest_mac(2));
    let relayed = |address: Ipv4Addr, source: Ipv4Addr| {
        let mut message = message(client, DISCOVER, None);
        message[3] = 1;
        message[24..28].copy_from_slice(&address.octets());
        message.truncate(message.len() - 1);
        message.extend_from_slice(&[82, 4, 1, 2, 7, 7, 255]);
        let frame = eth().src(agent).dst(LAN_MAC).ipv4(source, LAN_IP);
        frame.udp(67, 67).payload(&message)
    };
    bench.send(2, &[relayed(guest_ip(2), guest_ip(2))]);
    let sent = bench.wait(PROBE);
    assert_eq!(answers(&sent, 2), [(OFFER, guest_ip(4))]);
    let frame = sent[&2].last().unwrap();
    assert_eq!((&frame[..6], &frame[30..34]), (&agent.octets()[..], &guest_ip(2).octets()[..]));
    assert_eq!(frame[34..38], [0, 67, 0, 67]);
    assert_eq!((frame[42 + 3], &frame[42 + 24..42 + 28]), (0, &guest_ip(2).octets()[..]));
    assert!(frame.windows(7).any(|bytes| bytes == [82, 4, 1, 2, 7, 7, 255]));
    // An agent need not be asked for, unless it has sent from another of its addresses.
    let unknown = Ipv4Addr::new(192, 168, 122, 200);
    assert_eq!(answers(&bench.send(2, &[relayed(unknown, unknown)]), 2), [(OFFER, guest_ip(4))]);
    let unknown = Ipv4Addr::new(192, 168, 122, 201);
    assert_eq!(answers(&bench.send(2, &[relayed(unknown, guest_ip(2))]), 2), []);
    assert_eq!(asked(&bench.wait(Millis::ZERO), 2), [unknown]);
    let sent = bench.send(2, &[arp_reply(agent, unknown, (LAN_MAC, LAN_IP))]);
    assert_eq!(answers(&sent, 2), [(OFFER, guest_ip(4))]);
    let mut foreign = relayed(guest_ip(2), guest_ip(2));
    foreign[42 + 24..42 + 28].copy_from_slice(&[10, 0, 0, 1]);
    foreign[40..42].fill(0);
    bench.send(2, &[foreign]);
    assert_eq!(bench.drops(2), [("dhcp_foreign_relay", 1)]);
}

#[test]
fn a_client_is_told_of_its_lease_when_it_is_kept() {
    let mut bench = Bench::nat();
    bench.worker.keep_leases(true);
    let all = bench.worker.take_lease_changes(bench.now);
    assert!(all.is_all && all.leases.is_empty());
    bench.worker.leases_kept(all.revision);
    let client = MacAddr::local(0x77);
    bench.send(3, &[discover(client)]);
    assert_eq!(answers(&bench.wait(PROBE), 3), [(OFFER, guest_ip(4))]);
    assert_eq!(bench.worker.leases_changed(), None, "an offer is no lease");
    for _ in 0..3 {
        assert_eq!(answers(&bench.send(3, &[request(client, guest_ip(4))]), 3), []);
    }
    assert_eq!(bench.worker.leases_changed(), Some(bench.now));
    let LeaseChanges { revision, is_all, leases } = bench.worker.take_lease_changes(bench.now);
    let record = LeaseRecord {
        network: LAN,
        address: guest_ip(4),
        mac: client,
        client: [&[1], &client.octets()[..]].concat().into(),
        host_name: None,
        expires_in: Millis::from_secs(3600),
    };
    assert_eq!((is_all, &leases[..]), (false, &[((LAN, guest_ip(4)), Some(record.clone()))][..]));
    assert_eq!(answers(&bench.wait(Millis::new(100)), 3), []);
    bench.worker.leases_kept(revision);
    assert_eq!(answers(&bench.wait(Millis::ZERO), 3), [(ACK, guest_ip(4))], "once");
    // A renewal doesn't wait, and may be kept a moment later.
    assert_eq!(answers(&bench.send(3, &[request(client, guest_ip(4))]), 3), [(ACK, guest_ip(4))]);
    assert_eq!(bench.worker.leases_changed(), Some(bench.now + Millis::new(500)));
    let mut release = message(client, RELEASE, None);
    release[12..16].copy_from_slice(&guest_ip(4).octets());
    bench.send(3, &[eth().src(client).dst(LAN_MAC).ipv4(guest_ip(4), LAN_IP).udp(68, 67).payload(&release)]);
    let changes = bench.worker.take_lease_changes(bench.now);
    assert_eq!(changes.leases, [((LAN, guest_ip(4)), None)]);
    assert!(bench.worker.restore_lease(LeaseRecord { address: guest_ip(7), ..record }, bench.now));
    assert_eq!(bench.leases().len(), 1);
}

#[test]
fn a_client_whose_lease_cannot_be_kept_in_time_is_told_after_two_seconds() {
    let mut bench = Bench::nat();
    bench.worker.keep_leases(true);
    let client = MacAddr::local(0x77);
    bench.send(3, &[request(client, guest_ip(9))]);
    assert_eq!(answers(&bench.wait(PROBE), 3), []);
    assert_eq!(answers(&bench.wait(Millis::new(1999)), 3), []);
    assert_eq!(answers(&bench.wait(Millis::new(1)), 3), [(ACK, guest_ip(9))]);
    bench.send(3, &[request(MacAddr::local(0x78), guest_ip(10))]);
    bench.wait(PROBE);
    bench.worker.keep_leases(false);
    assert_eq!(answers(&bench.wait(Millis::ZERO), 3), [(ACK, guest_ip(10))], "nobody keeps it any more");
    assert_eq!(bench.worker.leases_changed(), None);
}

#[test]
fn answers_that_have_waited_for_many_clients_all_get_out() {
    let mut bench = Bench::nat();
    bench.worker.keep_leases(true);
    let clients: Vec<MacAddr> = (0..80).map(|n| MacAddr::local(0x1000 + n)).collect();
    for (n, &client) in clients.iter().enumerate() {
        bench.send(3, &[request(client, guest_ip(n as u16 + 5))]);
    }
    bench.wait(PROBE);
    let revision = bench.worker.take_lease_changes(bench.now).revision;
    bench.worker.leases_kept(revision);
    assert_eq!(answers(&bench.wait(Millis::ZERO), 3).len(), 80);
    assert!(bench.worker.stats().own_drops.nonzero().next().is_none());
}

#[test]
fn a_network_that_goes_takes_its_leases_out_of_what_is_kept() {
    let mut bench = Bench::nat();
    bench.worker.keep_leases(true);
    bench.send(3, &[request(MacAddr::local(0x77), guest_ip(9))]);
    bench.wait(PROBE);
    bench.worker.take_lease_changes(bench.now);
    bench.worker.install(common::nat_config());
    assert_eq!(bench.worker.leases_changed(), None, "nothing is lost");
    let mut config = common::nat_config();
    config.networks[0].interface.as_mut().unwrap().settings.dhcp = None;
    bench.worker.install(config);
    let changes = bench.worker.take_lease_changes(bench.now);
    assert!(changes.is_all && changes.leases.is_empty());
}

#[test]
fn arp_of_strangers_changes_no_lease() {
    let mut bench = Bench::nat();
    let client = MacAddr::local(0x77);
    bench.send(3, &[request(client, guest_ip(9))]);
    bench.wait(PROBE);
    while bench.worker.next_lease_event().is_some() {}
    for _ in 0..2 {
        bench.send(1, &[arp_request(MacAddr::local(0x99), guest_ip(9), LAN_IP)]);
    }
    assert_eq!(answers(&bench.send(3, &[request(client, guest_ip(9))]), 3), [(ACK, guest_ip(9))]);
    let events: Vec<_> = std::iter::from_fn(|| bench.worker.next_lease_event()).collect();
    let told: Vec<_> = events.iter().map(|event| (event.kind, event.mac)).collect();
    assert_eq!(told, [(LeaseEventKind::Disputed, MacAddr::local(0x99))]);
}

#[test]
fn packets_for_an_address_go_to_the_client_that_it_is_leased_to_now() {
    let mut bench = Bench::nat();
    let (before, after) = (MacAddr::local(0x77), MacAddr::local(0x78));
    for client in [before, after] {
        bench.send(3, &[request(client, guest_ip(9))]);
        assert_eq!(answers(&bench.wait(PROBE), 3), [(ACK, guest_ip(9))]);
        bench.send(3, &[arp_request(client, guest_ip(9), LAN_IP)]);
        let known: Vec<_> = bench.worker.neighbours().filter(|known| known.address == guest_ip(9)).collect();
        assert_eq!(known[0].mac, Some(client));
        let mut release = message(client, RELEASE, None);
        release[12..16].copy_from_slice(&guest_ip(9).octets());
        let frame = eth().src(client).dst(LAN_MAC).ipv4(guest_ip(9), LAN_IP);
        bench.send(3, &[frame.udp(68, 67).payload(&release)]);
    }
}

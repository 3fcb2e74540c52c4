//! What clients see, by messages built and read independently of the server's own code.

use proptest::prelude::*;
use smoltcp::wire::{DhcpPacket, DhcpRepr};

use super::*;

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
    let report = server.dhcp.leases(NetworkId::new(3), later).next().unwrap();
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
fn an_offer_that_is_not_taken_is_held_while_other_addresses_are_left() {
    let mut server = server(2, 3);
    assert_eq!(server.answer(&mac(1).discover()).address, ip(2));
    assert_eq!(server.answer(&mac(2).reboot(ip(2))).kind, DhcpMessageType::Nak);
    assert_eq!(server.answer(&mac(2).discover()).address, ip(3));
    assert_eq!(server.answer(&mac(1).select(ip(2))).kind, DhcpMessageType::Ack);
    assert_eq!(server.answer(&mac(2).select(ip(3))).kind, DhcpMessageType::Ack);
    assert_eq!(server.refusal(&mac(3).discover()), DropReason::DhcpRangeFull);
}

#[test]
fn twenty_invented_clients_keep_no_real_one_from_a_range_of_twenty() {
    let mut server = server(2, 21);
    for n in 0..20 {
        let offer = server.answer(&mac(100 + n).discover());
        assert_eq!(offer.address, ip(2 + n as u8));
    }
    // The oldest offer that nobody took goes first, at once: nobody answered for the address a moment ago.
    let before = server.now;
    let offer = server.answer(&mac(1).discover());
    assert_eq!((offer.kind, offer.address, server.now), (DhcpMessageType::Offer, ip(2), before));
    // Offered to yet another one, it is whose request comes first.
    for n in 0..20 {
        server.answer(&mac(200 + n).discover());
    }
    assert_eq!(server.answer(&mac(1).select(ip(2))).kind, DhcpMessageType::Ack);
    assert_eq!(server.answer(&mac(219).select(ip(2))).kind, DhcpMessageType::Nak);
    // Leases are nobody else's.
    for n in 0..100 {
        assert_ne!(server.answer(&mac(300 + n).discover()).address, ip(2));
    }
}

#[test]
fn while_all_addresses_are_being_probed_the_oldest_probe_is_for_the_next_client() {
    let mut server = server(2, 3);
    assert_eq!(server.step(&mac(1).discover()), Ok(DhcpStep::Ask(ip(2))));
    server.now = Millis::new(100);
    assert_eq!(server.step(&mac(2).discover()), Ok(DhcpStep::Ask(ip(3))));
    assert_eq!(server.step(&mac(3).discover()), Ok(DhcpStep::Done), "it waits for the same probe");
    let answers = server.probe_all();
    let receivers: Vec<_> = answers.iter().map(|answer| (answer.to.0, answer.address)).collect();
    assert_eq!(receivers, [(mac(3), ip(2)), (mac(2), ip(3))]);
    assert_eq!(server.now, Millis::new(500));
}

#[test]
fn an_address_is_asked_for_twice_before_it_is_offered_and_the_offer_comes_once() {
    let mut server = server(2, 9);
    assert_eq!(server.step(&mac(1).discover()), Ok(DhcpStep::Ask(ip(2))));
    server.now = Millis::new(100);
    assert_eq!(server.step(&mac(1).discover().byte(4, 0x11)), Ok(DhcpStep::Done), "it repeats itself");
    assert_eq!(server.dhcp.next_timeout(), Some(Millis::new(200)));
    server.now = Millis::new(200);
    assert_eq!(server.on_timeout(), Some(Ok(DhcpStep::Ask(ip(2)))));
    assert_eq!(server.on_timeout(), None);
    server.now = Millis::new(400);
    let Some(Ok(DhcpStep::Send(offer))) = server.on_timeout() else { panic!("no offer") };
    assert_eq!(
        (Answer::read(&offer).address, offer.payload[4]),
        (ip(2), 0x11),
        "the last message is answered"
    );
    assert_eq!((server.on_timeout(), server.dhcp.next_timeout()), (None, None));
}

#[test]
fn an_address_that_answers_a_probe_is_set_aside_and_the_next_one_is_probed() {
    let mut server = server(2, 9);
    assert_eq!(server.step(&mac(1).discover()), Ok(DhcpStep::Ask(ip(2))));
    assert_eq!(server.on_arp(ip(2), mac(1)), Ok(DhcpStep::Done), "the client itself may answer");
    assert_eq!(server.on_arp(ip(2), mac(7)), Ok(DhcpStep::Ask(ip(3))));
    let answers = server.probe_all();
    assert_eq!((answers.len(), answers[0].address), (1, ip(3)));
    let changes = server.dhcp.take_changes();
    let told: Vec<_> = changes.iter().map(|change| (change.kind, change.address, change.mac)).collect();
    assert_eq!(told, [(LeaseEventKind::InUse, ip(2), mac(7))]);
    assert_eq!(server.answer(&mac(2).discover().requested(ip(2))).address, ip(4));
    // Whoever uses it may have it.
    assert_eq!(server.answer(&mac(7).renew(ip(2))).kind, DhcpMessageType::Ack);
}

#[test]
fn an_address_that_somebody_is_seen_to_use_after_it_was_offered_is_refused() {
    let mut server = server(2, 9);
    server.answer(&mac(1).discover());
    assert_eq!(server.on_arp(ip(2), mac(7)), Ok(DhcpStep::Done));
    assert_eq!(server.answer(&mac(1).select(ip(2))).kind, DhcpMessageType::Nak);
    assert_eq!(server.answer(&mac(1).discover()).address, ip(3));
}

#[test]
fn a_lease_that_another_station_claims_stays_and_that_is_told_once() {
    let mut server = server(2, 9);
    server.lease(mac(1), ip(2));
    server.dhcp.take_changes();
    for _ in 0..3 {
        assert_eq!(server.on_arp(ip(2), mac(7)), Ok(DhcpStep::Done));
        server.seen.insert(ip(2), (mac(7), server.now));
        assert_eq!(server.answer(&mac(1).renew(ip(2))).kind, DhcpMessageType::Ack);
    }
    let changes = server.dhcp.take_changes();
    let told = changes.iter().filter(|change| change.kind == LeaseEventKind::Disputed).count();
    assert_eq!((told, server.leased()), (1, vec![ip(2)]));
}

#[test]
fn an_address_that_the_arp_table_has_seen_at_somebody_else_is_not_free() {
    let mut server = server(2, 4);
    server.seen.insert(ip(2), (mac(7), Millis::ZERO));
    assert_eq!(server.answer(&mac(1).discover()).address, ip(3));
    assert_eq!(server.answer(&mac(2).reboot(ip(2))).kind, DhcpMessageType::Nak);
    assert_eq!(server.answer(&mac(2).discover().requested(ip(2))).address, ip(4));
    assert_eq!(server.answer(&mac(7).reboot(ip(2))).kind, DhcpMessageType::Ack, "its own");
    // Ten minutes later it is as good as any other.
    let mut server = server_at(2, 2, 700);
    server.seen.insert(ip(2), (mac(7), Millis::from_secs(50)));
    assert_eq!(server.answer(&mac(1).discover()).address, ip(2));
}

#[test]
fn an_address_seen_at_a_client_whose_lease_ended_since_is_free() {
    let mut server = server(2, 2);
    server.lease(mac(1), ip(2));
    server.seen.insert(ip(2), (mac(1), server.now));
    server.silence(&mac(1).message(DhcpMessageType::Release).in_use(ip(2)).server(SERVER));
    assert_eq!(server.answer(&mac(2).discover()).address, ip(2));
}

#[test]
fn a_declined_address_that_the_arp_table_knows_the_user_of_stays_that_users() {
    let mut server = server(2, 9);
    server.lease(mac(1), ip(2));
    server.seen.insert(ip(2), (mac(7), server.now));
    server.silence(&mac(1).message(DhcpMessageType::Decline).requested(ip(2)).server(SERVER));
    assert_eq!(server.answer(&mac(1).reboot(ip(2))).kind, DhcpMessageType::Nak);
    assert_eq!(server.answer(&mac(7).renew(ip(2))).kind, DhcpMessageType::Ack);
}

#[test]
fn known_clients_are_answered_without_a_probe() {
    let mut server = server(2, 9);
    server.lease(mac(1), ip(4));
    for message in [mac(1).discover(), mac(1).select(ip(4)), mac(1).reboot(ip(4)), mac(1).renew(ip(4))] {
        assert!(matches!(server.step(&message), Ok(DhcpStep::Send(_))));
    }
}

#[test]
fn of_a_lease_that_is_unknown_the_address_is_probed_before_it_is_confirmed() {
    for remembered in [mac(1).reboot(ip(7)), mac(1).renew(ip(7)), mac(1).select(ip(7))] {
        let mut server = server(2, 9);
        assert_eq!(server.step(&remembered), Ok(DhcpStep::Ask(ip(7))));
        let Ok(DhcpStep::Send(nak)) = server.on_arp(ip(7), mac(5)) else { panic!("no answer") };
        assert_eq!(Answer::read(&nak).kind, DhcpMessageType::Nak);
        assert!(server.leased().is_empty());
    }
}

#[test]
fn probes_are_bounded_and_what_was_probed_goes_to_the_next_client_at_once() {
    let mut server = large_server();
    let asked =
        (0..1000).filter(|&n| matches!(server.step(&mac(n).discover()), Ok(DhcpStep::Ask(_)))).count();
    assert_eq!(asked, 256);
    let unknown = Ipv4Addr::new(10, 1, 200, 0);
    assert_eq!(server.step(&mac(5000).reboot(unknown)), Err(DropReason::DhcpBusy));
    assert_eq!(server.probe_all().len(), 256);
    for n in 2000..3000 {
        server.step(&mac(n).discover()).unwrap();
    }
    assert!(matches!(server.step(&mac(1).discover()), Ok(DhcpStep::Send(_))));
}

#[test]
fn a_relayed_message_is_answered_to_the_relay_agent_with_its_option_last() {
    let mut server = server(2, 9);
    let information = [&[1, 4][..], b"vlan", &[2, 2], b"r1"].concat();
    let relayed = |message: ClientMessage| message.byte(3, 1).relay(ip(250)).option(82, &information);
    let offer = server.reply(&relayed(mac(1).discover()));
    assert_eq!(offer.to, DhcpReceiver::Relay(ip(250)));
    assert_eq!(offer.payload[24..28], ip(250).octets());
    let ack = server.reply(&relayed(mac(1).select(ip(2))));
    let nak = server.reply(&relayed(mac(2).select(ip(2))));
    let renewed = server.reply(&relayed(mac(1).renew(ip(2))));
    let told = server.reply(&relayed(mac(3).message(DhcpMessageType::Inform).in_use(ip(60))));
    for reply in [&offer, &ack, &nak, &renewed, &told] {
        assert_eq!(reply.to, DhcpReceiver::Relay(ip(250)));
        assert_eq!((&reply.payload[24..28], reply.payload[3]), (&ip(250).octets()[..], 0));
        assert_eq!(Answer::read(reply).option(82), information);
        let end = reply.payload.iter().rposition(|&byte| byte == 255).unwrap();
        assert_eq!(&reply.payload[end - information.len()..end], information);
    }
    assert_eq!(Answer::read(&nak).kind, DhcpMessageType::Nak);
    assert_eq!(
        (nak.payload[10], ack.payload[10]),
        (0x80, 0),
        "RFC 2131, 4.3.2: the client is to be broadcast to"
    );
}

#[test]
fn a_relay_agents_option_goes_back_whole_where_room_is_short() {
    let mut server = server(2, 9);
    server.dhcp.config.domain = Some("x".repeat(200));
    let offer = server.reply(&mac(1).discover().relay(ip(250)).option(82, &[7; 255]));
    assert!(offer.payload.len() <= 548);
    assert_eq!(Answer::read(&offer).option(82), [7; 255]);
    assert_eq!(Answer::read(&offer).option(1), [255, 255, 255, 0]);
}

#[test]
fn a_relay_agent_of_another_subnet_is_not_served() {
    let mut server = server(2, 9);
    let others = [Ipv4Addr::new(10, 0, 1, 1), SERVER, ip(0), ip(255), Ipv4Addr::new(224, 0, 0, 1)];
    for relay in others {
        assert_eq!(server.refusal(&mac(1).discover().relay(relay)), DropReason::DhcpForeignRelay);
    }
}

#[test]
fn a_relay_agent_that_answers_arp_for_its_clients_takes_no_address() {
    let mut server = server(2, 9);
    let agent = mac(77);
    assert_eq!(server.step_from(agent, &mac(1).discover().relay(ip(250))), Ok(DhcpStep::Ask(ip(2))));
    assert_eq!(server.on_arp(ip(2), agent), Ok(DhcpStep::Done));
    assert_eq!(server.probe_all()[0].address, ip(2));
}

#[test]
fn kept_leases_are_taken_back_and_those_that_ended_are_remembered() {
    let mut before = server(2, 9);
    before.answer(&mac(1).select(ip(4)).option(61, b"one").option(12, b"guest-1"));
    before.lease(mac(2), ip(5));
    let record = |address| before.dhcp.record(NetworkId::new(0), address, before.now).unwrap();
    let (first, second) = (record(ip(4)), record(ip(5)));
    assert_eq!(before.dhcp.record(NetworkId::new(0), ip(6), before.now), None);
    let mut after = server(2, 9);
    let ended = LeaseRecord { expires_in: Millis::ZERO, ..second.clone() };
    let for_ever = LeaseRecord { expires_in: Millis::new(u64::MAX), ..first.clone() };
    assert!(after.dhcp.restore(for_ever, after.now) && after.dhcp.restore(ended, after.now));
    assert!(!after.dhcp.restore(first.clone(), after.now), "it is there already");
    assert!(!after.dhcp.restore(LeaseRecord { address: ip(77), ..first.clone() }, after.now));
    assert_eq!(after.leased(), [ip(4)]);
    let whole_time = LeaseRecord { expires_in: Millis::from_secs(3600), ..first };
    assert_eq!(after.dhcp.record(NetworkId::new(0), ip(4), after.now).unwrap(), whole_time);
    assert_eq!(after.answer(&mac(3).discover().requested(ip(4))).address, ip(2));
    let known = mac(1).reboot(ip(4)).option(61, b"one");
    assert!(matches!(after.step(&known), Ok(DhcpStep::Send(_))), "without a probe");
    assert_eq!(after.answer(&mac(2).discover()).address, ip(5));
}

#[test]
fn changes_of_leases_are_told_and_renewals_are_not_new() {
    use LeaseEventKind::{Declined, Leased, Moved, Released, Renewed};
    let mut server = server(2, 9);
    server.answer(&mac(1).discover());
    assert_eq!(server.dhcp.take_changes(), [], "an offer is no lease");
    server.answer(&mac(1).select(ip(2)).option(12, b"one"));
    server.answer(&mac(1).renew(ip(2)).option(12, b"one"));
    server.answer(&mac(1).select(ip(3)));
    server.silence(&mac(1).message(DhcpMessageType::Release).in_use(ip(3)).server(SERVER));
    server.lease(mac(2), ip(4));
    server.silence(&mac(2).message(DhcpMessageType::Decline).requested(ip(4)).server(SERVER));
    let changes = server.dhcp.take_changes();
    let told: Vec<_> = changes.iter().map(|change| (change.kind, change.address)).collect();
    let expected = [
        (Leased, ip(2)),
        (Renewed, ip(2)),
        (Moved, ip(2)),
        (Leased, ip(3)),
        (Released, ip(3)),
        (Leased, ip(4)),
        (Declined, ip(4)),
    ];
    assert_eq!(told, expected);
    assert_eq!((changes[0].mac, changes[0].host_name.as_deref()), (mac(1), Some("one")));
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
    server.now = server.now + Millis::from_secs(600);
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
    let reply = mac(1).discover().byte(0, 2);
    let bootp = ClientMessage::new(mac(1));
    for message in [reply, bootp, mac(1).message(DhcpMessageType::Offer)] {
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
        let report = server.dhcp.leases(NetworkId::new(0), server.now).next().unwrap();
        assert_eq!(report.host_name.as_deref(), shown);
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
        self.with_view(|dhcp, view| dhcp.on_timeout(view))
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

//! Offers, and the probes and relay agents on the way to them.

use super::*;

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
    let ended = LeaseRecord { expires_in: Millis::ZERO, ..second };
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

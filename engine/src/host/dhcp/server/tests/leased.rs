//! What becomes of leases.

use super::*;

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
    let config =
        DhcpConfig { reserved: vec![(DhcpClient::Mac(mac(1)), ip(9))], ..server.dhcp.config.clone() };
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

//! Addresses are shared by port of the switch, whatever clients claim to be.

use super::*;

/// How many of 200 invented clients behind this port get a lease.
fn take_all(server: &mut TestServer, port: u16) -> usize {
    server.port = PortId::new(port);
    let mut takes = |n: u64| {
        let client = mac(u64::from(port) * 1000 + n);
        let Ok(Some(offer)) = server.outcome(&client.discover()) else { return false };
        server.lease(client, Answer::read(&offer).address);
        true
    };
    (0..200).filter(|&n| takes(n)).count()
}

#[test]
fn a_port_that_invents_clients_gets_four_fifths_of_the_addresses_and_others_find_some() {
    let mut server = server(2, 101);
    assert_eq!(take_all(&mut server, 1), 80);
    assert_eq!(server.refusal(&mac(1).discover()), DropReason::DhcpShareUsed);
    assert_eq!(server.refusal(&mac(1).reboot(ip(100))), DropReason::DhcpShareUsed);
    assert_eq!(take_all(&mut server, 2), 16);
    // Whoever has an address keeps it, also where others have taken some since.
    server.port = PortId::new(1);
    let (address, client) = server.dhcp.leases.iter().next().unwrap();
    assert_eq!(server.answer(&client.mac.renew(address)).kind, DhcpMessageType::Ack);
    assert_eq!(take_all(&mut server, 3), 4);
    // What ended is nobody's.
    server.now = server.now + Millis::from_secs(3700);
    assert_eq!(take_all(&mut server, 4), 80);
}

#[test]
fn a_port_that_declines_what_it_gets_sets_no_more_than_its_share_aside() {
    let mut server = server(2, 21);
    server.port = PortId::new(1);
    let mut declines = |n: u64| {
        let Ok(Some(offer)) = server.outcome(&mac(100 + n).discover()) else { return false };
        let address = Answer::read(&offer).address;
        server.lease(mac(100 + n), address);
        let decline = mac(100 + n).message(DhcpMessageType::Decline).requested(address).server(SERVER);
        server.outcome(&decline) == Ok(None)
    };
    assert_eq!((0..200).filter(|&n| declines(n)).count(), 16);
    server.port = PortId::new(2);
    let offer = server.answer(&mac(1).discover());
    server.lease(mac(1), offer.address);
}

#[test]
fn a_port_that_answers_for_every_address_is_believed_as_far_as_its_share_goes() {
    let mut server = server(2, 21);
    let mut set_aside = 0;
    loop {
        server.port = PortId::new(2);
        let Ok(DhcpStep::Ask(mut address)) = server.step(&mac(1).discover()) else { panic!("it is probed") };
        server.port = PortId::new(1);
        while let Ok(DhcpStep::Ask(next)) = server.on_arp(address, mac(1000 + set_aside)) {
            (address, set_aside) = (next, set_aside + 1);
        }
        if let [answer] = &server.probe_all()[..] {
            assert_eq!((answer.kind, answer.to.0), (DhcpMessageType::Offer, mac(1)));
            break;
        }
    }
    assert!((12..=16).contains(&set_aside), "{set_aside}");
    // Nor does what the ARP table has from there keep others from the rest.
    server.seen = (2..=21).map(|host| (ip(host), (mac(2000), server.now))).collect();
    (server.seen_at, server.port) = (PortId::new(1), PortId::new(2));
    assert!(server.outcome(&mac(2).discover()).is_ok());
}

#[test]
fn a_port_that_floods_discovers_leaves_others_their_offers_and_places_for_probes() {
    let mut server = server(2, 21);
    for n in 0..1000 {
        server.port = PortId::new(1);
        let _ = server.step(&mac(100 + n).discover());
        if n == 500 {
            server.port = PortId::new(2);
            assert!(matches!(server.step(&mac(1).discover()), Ok(DhcpStep::Ask(_))));
        }
    }
    let to_it = server.probe_all().into_iter().filter(|answer| answer.to.0 == mac(1)).count();
    assert_eq!(to_it, 1, "its probe goes on");

    let mut server = large_server();
    server.port = PortId::new(1);
    let mut asked = |n: u64| matches!(server.step(&mac(10_000 + n).discover()), Ok(DhcpStep::Ask(_)));
    assert_eq!((0..1000).filter(|&n| asked(n)).count(), 205, "of 256");
    server.port = PortId::new(2);
    assert!(matches!(server.step(&mac(1).discover()), Ok(DhcpStep::Ask(_))));
    server.port = PortId::new(1);
    for n in 1000..2000 {
        assert_eq!(server.step(&mac(n).discover()), Ok(DhcpStep::Done), "in place of another of its own");
    }
    let to_it = server.probe_all().into_iter().filter(|answer| answer.to.0 == mac(1)).count();
    assert_eq!(to_it, 1, "its probe goes on");
}

#[test]
fn a_kept_lease_is_no_ports_until_its_client_is_heard_and_reserved_addresses_are_no_matter_of_shares() {
    let mut server = server(2, 11);
    let reserved = (0..5).map(|n| (DhcpClient::Mac(mac(700 + n)), ip(7 + n as u8))).collect();
    let config = DhcpConfig { reserved, ..server.dhcp.config.clone() };
    server.dhcp.reconfigure(config, server.dhcp.interface, 1500);
    let record = |n: u64| LeaseRecord {
        network: NetworkId::new(0),
        address: ip(2 + n as u8),
        mac: mac(n),
        client: [&[1], mac(n).octets().as_slice()].concat().into(),
        host_name: None,
        expires_in: Millis::from_secs(1000),
    };
    // All of the five shared ones are kept from before; each client goes on with its own.
    assert!((0..5).all(|n| server.dhcp.restore(record(n), server.now)));
    server.port = PortId::new(1);
    for n in 0..5 {
        assert_eq!(server.answer(&mac(n).renew(ip(2 + n as u8))).kind, DhcpMessageType::Ack);
    }
    assert_eq!(server.refusal(&mac(50).discover()), DropReason::DhcpRangeFull);
    for n in 0..5 {
        let offer = server.answer(&mac(700 + n).discover());
        server.lease(mac(700 + n), offer.address);
    }
    // The port is another's: what the last one held doesn't count for it.
    server.dhcp.forget_ports(&[PortId::new(1).unwrap()].into());
    server.silence(&mac(0).message(DhcpMessageType::Release).in_use(ip(2)).server(SERVER));
    let offer = server.answer(&mac(50).discover());
    assert_eq!((offer.kind, offer.address), (DhcpMessageType::Offer, ip(2)));
}

#[test]
fn what_waited_for_a_probe_is_answered_as_a_message_of_its_own_port() {
    let mut server = server(2, 9);
    (server.port, server.is_guarded) = (PortId::new(1), true);
    let select = mac(1).select(ip(5)).option(61, b"somebody else's");
    assert_eq!(server.step(&select), Ok(DhcpStep::Ask(ip(5))));
    (server.port, server.is_guarded) = (None, false);
    assert_eq!(server.probe_all()[0].kind, DhcpMessageType::Ack);
    let of_port = server.dhcp.leases.of(ip(5)).unwrap().port;
    assert_eq!(of_port, PortId::new(1));
}

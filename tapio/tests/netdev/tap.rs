//! The device: made, found, changed, lost.

use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use packet::builder::eth;
use packet::{DropReason, MacAddr, Offload, OffloadSet};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use tapio::testing::PacketSocket;
use tapio::{LinkChange, Netns, PortSpec, Rx, TapConfig};

use crate::lab::{Host, drain, empty_burst, open, send};

const MAC: MacAddr = MacAddr::local(0x77);

#[test]
fn a_device_that_the_port_makes_is_as_configured_and_goes_with_the_port() {
    let host = Host::new();
    let peer_address = "192.0.2.1/24".parse().ok();
    let config = TapConfig { mac: Some(MAC), mtu: Some(9000), peer_address, ..host.tap() };
    let mut port = open(&config).unwrap();
    let link = host.links().find("t0").unwrap();
    assert_eq!((link.mac, link.mtu, link.running), (MAC, 9000, true));
    assert!(port.link_up());
    assert_eq!(port.offloads(), OffloadSet::ALL);
    assert!(host.run("ip -4 addr show t0").unwrap().contains("192.0.2.1/24 brd 192.0.2.255"));
    drop(port);
    assert!(host.links().find("t0").is_err());
}

#[test]
fn a_persistent_device_is_used_and_given_back_as_it_was() {
    let host = Host::new();
    host.run("ip tuntap add t0 mode tap && ip link set t0 mtu 1400 && ip addr add 192.0.2.9/24 dev t0")
        .unwrap();
    let before = host.links().find("t0").unwrap();
    let peer_address = "192.0.2.1/24".parse().ok();
    let config = TapConfig { mac: Some(MAC), mtu: Some(9000), peer_address, ..host.tap() };
    let mut port = open(&config).unwrap();
    assert!(port.link_up());
    assert_eq!(port.offloads(), OffloadSet::ALL);
    drop(port);
    let after = host.links().find("t0").unwrap();
    assert_eq!((after.mac, after.mtu, after.up), (before.mac, 1400, false));
    let addresses = host.run("ip -4 addr show t0").unwrap();
    assert!(addresses.contains("192.0.2.9/24") && !addresses.contains("192.0.2.1/24"), "{addresses}");
    drop(open(&config).unwrap());
}

#[test]
fn an_address_that_the_device_already_has_stays_with_it() {
    let host = Host::new();
    host.run("ip tuntap add t0 mode tap && ip addr add 192.0.2.1/24 dev t0").unwrap();
    let config = TapConfig { peer_address: "192.0.2.1/24".parse().ok(), ..host.tap() };
    drop(open(&config).unwrap());
    assert!(host.run("ip -4 addr show t0").unwrap().contains("192.0.2.1/24"));
}

#[test]
fn a_user_may_open_a_tap_of_theirs_that_root_has_set_up() {
    const NO_CAPABILITIES: CapabilitySets = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    let host = Host::new();
    host.run("ip tuntap add t0 mode tap user 0 && ip tuntap add t1 mode tap user 0").unwrap();
    host.run("ip link set t0 up").unwrap();
    let open = || {
        // Capabilities are a thread's own; without them, root is a user like others.
        set_capabilities(None, NO_CAPABILITIES).unwrap();
        let open = |device: &str| open(&TapConfig { device: device.into(), ..TapConfig::default() });
        assert!(open("t0").unwrap().link_up());
        open("t1").unwrap_err().to_string()
    };
    let down = host.0.enter(open).unwrap();
    assert!(down.contains("t1") && down.contains("CAP_NET_ADMIN"), "{down}");
    assert!(host.links().find("t0").unwrap().up);
}

#[test]
fn errors_name_the_device_and_say_what_to_do() {
    let host = Host::new();
    let error = |config: &TapConfig| open(config).unwrap_err().to_string();
    let _taken = open(&host.tap()).unwrap();
    let busy = error(&host.tap());
    assert!(busy.contains("t0") && busy.contains("another program has the device open"), "{busy}");
    let no_tap = error(&TapConfig { device: "lo".into(), ..host.tap() });
    assert!(no_tap.contains("lo") && no_tap.contains("is not a tap"), "{no_tap}");
    let nowhere = Netns::Name("tapio-no-such".into());
    let nowhere = error(&TapConfig { netns: Some(nowhere), ..host.tap() });
    assert!(nowhere.contains("tapio-no-such") && nowhere.contains("ip netns add"), "{nowhere}");
    let null = error(&TapConfig { netns: Some(Netns::Path("/dev/null".into())), ..host.tap() });
    assert!(null.contains("not a network namespace"), "{null}");
    let group = error(&TapConfig { device: "t1".into(), mac: Some(MacAddr::BROADCAST), ..host.tap() });
    assert!(group.contains("t1") && group.contains("MAC"), "{group}");
    let mtu = error(&TapConfig { device: "t1".into(), mtu: Some(u16::MAX), ..host.tap() });
    assert!(mtu.contains("65521"), "{mtu}");
    for device in ["", ".", "a/b", "a b", "tap%d", "sixteen-letters-"] {
        let name = error(&TapConfig { device: device.into(), ..host.tap() });
        assert!(name.contains("1 to 15 characters"), "{name}");
    }
}

#[test]
fn a_live_device_takes_a_new_configuration() {
    let host = Host::new();
    let mut port = open(&TapConfig { peer_address: "192.0.2.1/24".parse().ok(), ..host.tap() }).unwrap();
    let peer_address = "198.51.100.1/24".parse().ok();
    let changed = TapConfig { mac: Some(MAC), mtu: Some(4000), peer_address, offload: false, ..host.tap() };
    port.reconfigure(&PortSpec::from(changed.clone())).unwrap();
    port.reconfigure(&PortSpec::from(changed)).unwrap();
    let link = host.links().find("t0").unwrap();
    assert_eq!((link.mac, link.mtu, link.running), (MAC, 4000, true));
    assert_eq!(port.offloads(), OffloadSet::NONE);
    let addresses = host.run("ip -4 addr show t0").unwrap();
    assert!(addresses.contains("198.51.100.1/24") && !addresses.contains("192.0.2.1"), "{addresses}");
    assert!(port.reconfigure(&PortSpec::from(TapConfig { device: "t1".into(), ..host.tap() })).is_err());
}

#[test]
fn a_link_that_goes_down_and_up_again_is_survived() {
    let host = Host::new();
    let mut port = open(&host.tap()).unwrap();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(4));
    port.register(poll.registry(), Token(0)).unwrap();
    let (links, link) = (host.links(), host.links().find("t0").unwrap().index);
    let set = |up| links.change(link, &LinkChange { up: Some(up), ..LinkChange::default() }).unwrap();

    set(false);
    assert!(!port.link_up());
    let counters = send(&mut port, &eth().payload(&[0; 46]), Offload::NONE);
    assert_eq!(counters.drops.nonzero().collect::<Vec<_>>(), [(DropReason::TxLinkDown, 1)]);
    assert_eq!(counters.tx_frames, 0);
    drain(&mut port).unwrap();

    set(true);
    assert!(port.link_up());
    while !drain(&mut port).unwrap().is_empty() {}
    let counters = send(&mut port, &eth().payload(&[0; 46]), Offload::NONE);
    assert_eq!((counters.tx_frames, counters.drops.total()), (1, 0));
    let socket = host.0.enter(|| PacketSocket::open("t0")).unwrap().unwrap();
    let frame = eth().payload(&[5; 46]);
    socket.send(&frame).unwrap();
    poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
    assert!(events.iter().any(|event| event.token() == Token(0)));
    assert!(drain(&mut port).unwrap().contains(&frame));
}

#[test]
fn a_deleted_device_is_an_error_once_and_no_storm_of_events() {
    let host = Host::new();
    let mut port = open(&host.tap()).unwrap();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(4));
    port.register(poll.registry(), Token(0)).unwrap();
    drain(&mut port).unwrap();
    let links = host.links();
    links.delete(links.find("t0").unwrap().index).unwrap();
    poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
    assert!(!events.is_empty());
    assert!(port.rx_burst(&mut empty_burst()).is_err());
    assert!(!port.link_up());
    assert_eq!(send(&mut port, &eth().payload(&[0; 46]), Offload::NONE).drops.total(), 1);
    assert!(port.reconfigure(&PortSpec::from(host.tap())).is_err());
    let start = Instant::now();
    poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
    assert!(events.is_empty() && start.elapsed() >= Duration::from_millis(50));
}

#[test]
fn a_port_whose_namespace_has_lost_its_name_goes_on() {
    let host = Host::new();
    let mut port = open(&host.tap()).unwrap();
    drop(host);
    assert!(port.link_up());
    assert_eq!(send(&mut port, &eth().payload(&[0; 46]), Offload::NONE).tx_frames, 1);
}

#[test]
fn a_device_that_ends_with_the_namespace_it_was_moved_to_is_an_error() {
    let (host, other) = (Host::new(), Host::new());
    let mut port = open(&host.tap()).unwrap();
    let mut sleep = other.0.enter(|| std::process::Command::new("sleep").arg("60").spawn()).unwrap().unwrap();
    host.run(&format!("ip link set t0 netns {}", sleep.id())).unwrap();
    assert!(!port.link_up());
    drop(other);
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while port.rx_burst(&mut empty_burst()).is_ok_and(|rx| rx == Rx::Drained) {
        assert!(Instant::now() < deadline, "the namespace ends soon after its last process");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_tap_outlives_its_queue_and_the_next_one_has_what_came_meanwhile() {
    let host = Host::new();
    let mut device = PortSpec::from(host.tap()).open().unwrap();
    drop(device.queue().unwrap());
    assert!(device.link_up() && !device.needs_queue());
    let socket = host.0.enter(|| PacketSocket::open("t0")).unwrap().unwrap();
    let frame = eth().payload(&[5; 46]);
    socket.send(&frame).unwrap();
    let mut queue = device.queue().unwrap();
    let mut burst = empty_burst();
    assert_eq!(queue.rx_burst(&mut burst).unwrap(), Rx::Drained);
    assert!((0..burst.len()).any(|n| burst.bytes(n) == frame));
}

#[test]
fn another_queue_is_needed_when_offloads_change_and_as_before_when_that_is_taken_back() {
    let host = Host::new();
    let mut device = PortSpec::from(host.tap()).open().unwrap();
    assert!(device.needs_queue());
    assert_eq!(device.queue().unwrap().offloads(), OffloadSet::ALL);
    let changed = TapConfig { offload: false, mtu: Some(4000), ..host.tap() };
    device.reconfigure(&changed).unwrap();
    assert!(device.needs_queue());
    assert_eq!(device.queue().unwrap().offloads(), OffloadSet::NONE);
    device.take_back();
    assert!(device.needs_queue());
    assert_eq!(device.queue().unwrap().offloads(), OffloadSet::ALL);
    assert_eq!(host.links().find("t0").unwrap().mtu, 1500);
    device.reconfigure(&TapConfig { mtu: Some(4000), ..host.tap() }).unwrap();
    device.settle();
    device.take_back();
    assert!(!device.needs_queue());
    assert_eq!(host.links().find("t0").unwrap().mtu, 4000, "it was settled");
}

#[test]
fn a_disarmed_tap_is_left_as_it_is() {
    let host = Host::new();
    host.run("ip tuntap add t0 mode tap").unwrap();
    let found = host.links().find("t0").unwrap();
    for (disarm, mtu) in [(true, 4000), (false, 1500)] {
        let changed = TapConfig { mtu: Some(4000), ..host.tap() };
        let mut device = PortSpec::from(changed).open().unwrap();
        if disarm {
            device.disarm();
        }
        drop(device);
        let left = host.links().find("t0").unwrap();
        assert_eq!((left.mtu, left.up), (mtu, disarm), "{found:?}");
        host.run("ip link set t0 down mtu 1500").unwrap();
    }
}

//! The switch on the kernel's side of a device.

use std::num::NonZeroU32;
use std::time::Duration;

use mio::{Events, Poll, Token};
use packet::builder::eth;
use packet::wire::TcpHeader;
use packet::{DropReason, Gso, MacAddr, Offload, PortCounters, Verdict, parse};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use tapio::testing::{PacketSocket, Port};
use tapio::{HostStack, LinkEvent, LinkLoss, LinkMonitor, PacketConfig, PortError, PortSpec, Rx};

use crate::lab::{Cable, Host, drain, empty_burst, open, send, transfer, wait_until};

const A: MacAddr = MacAddr::local(1);
const B: MacAddr = MacAddr::local(2);

fn config(host: &Host, device: &str) -> PacketConfig {
    PacketConfig {
        device: device.into(),
        netns: Some(host.0.netns()),
        mtu: Some(1500),
        host: HostStack::Silent { take_over: false },
    }
}

fn open_packet(config: PacketConfig) -> Result<Port, PortError> {
    // In a user namespace nobody may load the programs that keep the host silent.
    let host = if in_user_namespace() { HostStack::Beside } else { config.host.clone() };
    Port::open(&PortSpec::from(PacketConfig { host, ..config }))
}

pub fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    map.split_whitespace().nth(2) != Some("4294967295")
}

/// A host with a cable `h0` to its own device `v0`, which is for the port.
fn host_with_veth(address: &str) -> Host {
    let host = Host::new();
    host.run(&format!(
        "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
         ip link add h0 type veth peer name v0 && ip addr add {address} dev h0 && ip link set h0 up"
    ))
    .unwrap();
    host
}

/// Both sides of one tap: the userspace end, as a guest's QEMU has it, and a packet port.
fn tap_and_packet(host: &Host) -> (Port, Port) {
    let guest = open(&host.tap()).unwrap();
    host.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1").unwrap();
    let port = open_packet(config(host, "t0")).unwrap();
    (guest, port)
}

/// What the port has received, with the offload of each frame.
fn receive(port: &mut Port) -> Vec<(Vec<u8>, Offload)> {
    let mut burst = empty_burst();
    assert_eq!(port.rx_burst(&mut burst).unwrap(), Rx::Drained);
    (0..burst.len()).map(|n| (burst.bytes(n).to_vec(), burst.metas()[n].offload)).collect()
}

fn super_frame(vlan: Option<u16>) -> (Vec<u8>, Offload) {
    let (a, b) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let mut frame = eth().src(A).dst(B).ipv4(a, b).tcp(1, 2, TcpHeader::ACK).payload(&[7; 4000]);
    let pseudo = packet::checksum::Sum::pseudo_header_v4(a, b, 6, (frame.len() - 34) as u16).fold();
    frame[50..52].copy_from_slice(&pseudo.to_be_bytes());
    let mut offload = Offload {
        csum_start: 34,
        csum_offset: 16,
        gso: Gso::Tcp4,
        gso_size: 1448,
        needs_checksum: true,
        ..Offload::NONE
    };
    if let Some(vid) = vlan {
        frame.splice(12..12, [0x81, 0x00, (vid >> 8) as u8 | 0x60, vid as u8]);
        offload.csum_start += 4;
    }
    (frame, offload)
}

#[test]
fn tcp_passes_between_hosts_in_super_frames() {
    let hosts = ["10.9.0.1/24", "10.9.0.2/24"].map(host_with_veth);
    let ports = [0, 1].map(|n: usize| open_packet(config(&hosts[n], "v0")).unwrap());
    let cable = Cable::between(ports);
    hosts[0].run("ping -c 3 -i 0.2 -W 5 10.9.0.2").unwrap();
    transfer(&hosts[0], &hosts[1]);
    let [_, sent] = cable.unplug();
    assert!(sent.tx_bytes / sent.tx_frames > 5_000, "{sent:?}");
}

#[test]
fn tcp_passes_between_a_packet_port_and_a_tap_without_offload() {
    let (a, b) = (host_with_veth("10.9.0.1/24"), Host::new());
    let tap = tapio::TapConfig { peer_address: "10.9.0.2/24".parse().ok(), offload: false, ..b.tap() };
    let _cable = Cable::between([open_packet(config(&a, "v0")).unwrap(), open(&tap).unwrap()]);
    a.run("ping -c 3 -i 0.2 -W 5 10.9.0.2").unwrap();
    transfer(&a, &b);
}

#[test]
fn frames_of_all_kinds_cross_unchanged_in_both_directions_tagged_or_not() {
    let host = Host::new();
    let (mut guest, mut port) = tap_and_packet(&host);
    drain(&mut guest).unwrap();
    drain(&mut port).unwrap();
    let mut tagged = eth().src(A).dst(B).payload(&[9; 60]);
    tagged.splice(12..12, [0x81, 0x00, 0x60, 0x2a]);
    let mut double = tagged.clone();
    double.splice(12..12, [0x88, 0xa8, 0x00, 0x07]);
    let frames = [
        (eth().src(A).dst(B).payload(&[9; 60]), Offload::NONE),
        (tagged, Offload::NONE),
        (double, Offload::NONE),
        super_frame(None),
        super_frame(Some(42)),
    ];
    for (frame, offload) in frames {
        assert_eq!(send(&mut guest, &frame, offload).tx_frames, 1);
        assert_eq!(receive(&mut port), [(frame.clone(), offload)]);
        assert_eq!(send(&mut port, &frame, offload).tx_frames, 1);
        assert_eq!(receive(&mut guest), [(frame, offload)]);
    }
}

#[test]
fn a_super_frame_to_a_device_that_takes_none_goes_in_segments_and_whole_when_it_does() {
    let host = Host::new();
    let mut guest = open(&tapio::TapConfig { offload: false, ..host.tap() }).unwrap();
    host.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1").unwrap();
    let mut port = open_packet(config(&host, "t0")).unwrap();
    drain(&mut guest).unwrap();
    let (frame, offload) = super_frame(None);
    for _ in 0..3 {
        let sent = send(&mut port, &frame, offload);
        assert_eq!((sent.tx_frames, sent.drops.total()), (1, 0));
        let received = receive(&mut guest);
        assert_eq!(received.iter().map(|(frame, _)| frame.len()).collect::<Vec<_>>(), [1502, 1502, 1158]);
        assert!(received.iter().all(|(_, offload)| *offload == Offload::NONE));
    }
    guest.reconfigure(&PortSpec::from(host.tap())).unwrap();
    assert_eq!(send(&mut port, &frame, offload).tx_frames, 1);
    assert_eq!(receive(&mut guest), [(frame, offload)]);
}

#[test]
fn who_watches_the_device_sees_both_directions_and_the_port_not_its_own_frames() {
    let host = Host::new();
    let (mut guest, mut port) = tap_and_packet(&host);
    // As tcpdump does it.
    let protocol = NonZeroU32::new(0x0003_u16.to_be().into()).map(Protocol::from_raw);
    let watch = || socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::NONBLOCK, protocol);
    let watcher = host.0.enter(watch).unwrap().unwrap();
    let [to, from] = [(A, B), (B, A)].map(|(src, dst)| eth().src(src).dst(dst).payload(&[9; 60]));
    drain(&mut port).unwrap();
    send(&mut port, &to, Offload::NONE);
    send(&mut guest, &from, Offload::NONE);
    let mut seen = || {
        let mut buffer = [0; 2048];
        let (len, _) = recv(&watcher, &mut buffer[..], RecvFlags::empty()).ok()?;
        Some(buffer[..len].to_vec())
    };
    let seen: Vec<_> = std::iter::from_fn(&mut seen).filter(|frame| [&to, &from].contains(&frame)).collect();
    assert_eq!(seen, [to, from.clone()]);
    assert_eq!(receive(&mut port), [(from, Offload::NONE)]);
}

#[test]
fn frames_that_come_too_fast_are_counted_long_ones_and_short_ones() {
    let host = Host::new();
    let (mut guest, mut port) = tap_and_packet(&host);
    drain(&mut guest).unwrap();
    drain(&mut port).unwrap();
    port.count_missed(&mut PortCounters::default());
    let short = (eth().src(A).dst(B).payload(&[9; 60]), Offload::NONE);
    for ((frame, offload), sent) in [(short, 3000), (super_frame(None), 3000)] {
        let (mut taken, mut counters) = (0, PortCounters::default());
        for _ in 0..sent {
            send(&mut guest, &frame, offload);
        }
        loop {
            let mut burst = empty_burst();
            let rx = port.rx_burst(&mut burst).unwrap();
            for n in 0..burst.len() {
                match burst.metas()[n].verdict {
                    Verdict::Drop(reason) => counters.drops.count(reason),
                    _ if burst.bytes(n) == frame => taken += 1,
                    _ => panic!("a frame has changed"),
                }
            }
            if rx == Rx::Drained {
                break;
            }
        }
        port.count_missed(&mut counters);
        assert_eq!(counters.drops.of(DropReason::RxQueueFull), sent - taken);
        assert_eq!(counters.drops.total(), sent - taken);
        assert!(taken > 500, "{taken}");
    }
}

#[test]
fn the_host_is_silent_on_the_device_unless_asked_to_share_it() {
    let silent = HostStack::Silent { take_over: false };
    for (stack, answers) in [(silent, in_user_namespace()), (HostStack::Beside, true)] {
        let host = Host::new();
        let (mut guest, _) = tap_and_packet(&host);
        let _port = open_packet(PacketConfig { host: stack.clone(), ..config(&host, "t0") }).unwrap();
        host.run("ip addr add 10.9.0.9/24 dev t0").unwrap();
        drain(&mut guest).unwrap();
        let mut request = eth().src(A).dst(MacAddr::BROADCAST).payload(&[0; 28]);
        request[12..14].copy_from_slice(&[0x08, 0x06]);
        request[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
        request[22..28].copy_from_slice(&A.octets());
        request[28..32].copy_from_slice(&[10, 9, 0, 1]);
        request[38..42].copy_from_slice(&[10, 9, 0, 9]);
        send(&mut guest, &request, Offload::NONE);
        // What it would ask by itself, too.
        let _ = host.run("ping -c 1 -W 1 10.9.0.77");
        assert_eq!(!drain(&mut guest).unwrap().is_empty(), answers, "{stack:?}");
    }
}

#[test]
fn the_device_is_given_back_as_it_was() {
    let host = Host::new();
    host.run("ip link add h0 type veth peer name v0 mtu 1400").unwrap();
    let port = open_packet(config(&host, "v0")).unwrap();
    let link = host.links().find("v0").unwrap();
    assert_eq!((link.mtu, link.up), (1500, true));
    assert!(host.run("ip -d link show v0").unwrap().contains("promiscuity 1"));
    drop(port);
    let link = host.links().find("v0").unwrap();
    assert_eq!((link.mtu, link.up), (1400, false));
    assert!(host.run("ip -d link show v0").unwrap().contains("promiscuity 0"));
}

#[test]
fn a_larger_mtu_of_the_device_stays_and_a_smaller_one_follows_the_port() {
    let host = host_with_veth("10.9.0.1/24");
    host.run("ip link set v0 mtu 4000").unwrap();
    let mut port = open_packet(config(&host, "v0")).unwrap();
    let mtu = || host.links().find("v0").unwrap().mtu;
    assert_eq!(mtu(), 4000);
    port.reconfigure(&PortSpec::from(PacketConfig { mtu: Some(9000), ..config(&host, "v0") })).unwrap();
    assert_eq!(mtu(), 9000);
    port.reconfigure(&PortSpec::from(config(&host, "v0"))).unwrap();
    assert_eq!(mtu(), 4000);
}

#[test]
fn a_port_waits_for_its_device_and_takes_it_again_when_it_comes_back() {
    let host = Host::new();
    let mut port = open_packet(config(&host, "v0")).unwrap();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
    port.register(poll.registry(), Token(0)).unwrap();
    let mut monitor = LinkMonitor::open(Some(&host.0.netns())).unwrap();
    monitor.register(poll.registry(), Token(1)).unwrap();
    assert!(!port.link_up());
    assert_eq!(send(&mut port, &[0; 60], Offload::NONE).drops.of(DropReason::TxLinkDown), 1);
    for _ in 0..2 {
        host.run("ip link add h0 type veth peer name v0 && ip link set h0 up").unwrap();
        poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert!(events.iter().any(|event| event.token() == Token(1)));
        assert!(monitor.events().contains(&LinkEvent::Changed("v0".to_owned())));
        assert!(port.link_up());
        let frame = eth().src(A).dst(B).payload(&[1; 60]);
        host.0.enter(|| PacketSocket::open("h0").unwrap().send(&frame).unwrap()).unwrap();
        poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert!(events.iter().any(|event| event.token() == Token(0)));
        assert!(drain(&mut port).unwrap().contains(&frame));
        host.run("ip link del h0").unwrap();
        let mut burst = empty_burst();
        assert_eq!(port.rx_burst(&mut burst).unwrap(), Rx::LinkDown(LinkLoss::DeviceGone));
        assert!(!port.link_up());
    }
}

#[test]
fn a_device_that_goes_down_and_up_takes_the_link_with_it() {
    let host = host_with_veth("10.9.0.1/24");
    let mut port = open_packet(config(&host, "v0")).unwrap();
    assert!(port.link_up());
    // The kernel tells of a carrier a moment later.
    host.run("ip link set h0 down").unwrap();
    wait_until(|| !port.link_up());
    host.run("ip link set h0 up").unwrap();
    wait_until(|| port.link_up());
    host.run("ip link set v0 down").unwrap();
    assert_eq!(drain_loss(&mut port), Rx::LinkDown(LinkLoss::DeviceDown));
    assert_eq!(send(&mut port, &[0; 60], Offload::NONE).drops.of(DropReason::TxLinkDown), 1);
    host.run("ip link set v0 up").unwrap();
    wait_until(|| port.link_up());
    assert_eq!(send(&mut port, &[2; 60], Offload::NONE).tx_frames, 1);
}

fn drain_loss(port: &mut Port) -> Rx {
    loop {
        let mut burst = empty_burst();
        match port.rx_burst(&mut burst).unwrap() {
            Rx::More => parse(&mut burst),
            rx => return rx,
        }
    }
}

#[test]
fn what_is_in_the_way_is_said() {
    let host = Host::new();
    let nowhere = Some(tapio::Netns::Name("no-such-name-in-tapio-tests".into()));
    let error = open_packet(PacketConfig { netns: nowhere, ..config(&host, "v0") }).unwrap_err().to_string();
    assert!(error.contains("create it first"), "{error}");
    host.run("ip tuntap add t0 mode tap").unwrap();
    let error =
        open_packet(PacketConfig { mtu: Some(u16::MAX), ..config(&host, "t0") }).unwrap_err().to_string();
    assert!(error.contains("the device can't have this MTU"), "{error}");
}

#[test]
fn another_queue_reads_on_in_order_where_the_last_one_stopped() {
    let host = host_with_veth("10.9.0.1/24");
    let mut port = open_packet(config(&host, "v0")).unwrap();
    let socket = host.0.enter(|| PacketSocket::open("h0")).unwrap().unwrap();
    let numbered = |n: u16| eth().payload(&[&n.to_be_bytes()[..], &[0; 44]].concat());
    let mut sent = 0..;
    // The ring has 1024 slots: at its beginning, in its midst, full, and empty.
    for (before, after) in [(0, 3), (700, 900), (5, 1024), (10, 0)] {
        let mut expected: Vec<_> = sent.by_ref().take(before).map(numbered).collect();
        expected.iter().for_each(|frame| socket.send(frame).unwrap());
        assert!(drain_frames(&mut port) == expected, "{before} read");
        expected = sent.by_ref().take(after).map(numbered).collect();
        expected.iter().for_each(|frame| socket.send(frame).unwrap());
        port.renew_queue();
        let mut received = drain_frames(&mut port);
        // Of a full ring nobody can tell where it begins.
        if after == 1024 {
            received.sort_unstable();
        }
        assert!(received == expected, "{before} read, {after} left");
        let next = numbered(sent.next().unwrap());
        socket.send(&next).unwrap();
        assert_eq!(drain_frames(&mut port), [next], "{before} read, {after} left");
    }
}

/// Frames that are there; those of the host's own stack have other types.
fn drain_frames(port: &mut Port) -> Vec<Vec<u8>> {
    let own = |frame: &Vec<u8>| frame[12..14] == eth().payload(&[])[12..14];
    drain(port).unwrap().into_iter().filter(own).collect()
}

#[test]
fn a_disarmed_device_is_left_as_it_is_for_who_has_its_socket() {
    if in_user_namespace() {
        return;
    }
    let host = host_with_veth("10.9.0.1/24");
    let filters = || host.run("tc filter show dev v0 ingress").unwrap();
    let mut port = open_packet(PacketConfig { mtu: Some(4000), ..config(&host, "v0") }).unwrap();
    assert!(filters().contains("tapswitch"));
    port.device.disarm();
    drop(port);
    let left = host.links().find("v0").unwrap();
    assert_eq!((left.mtu, left.up), (4000, true));
    assert!(filters().contains("tapswitch"));
    // Nobody has it any more: the next one gives it back as the first one found it.
    drop(open_packet(PacketConfig { mtu: Some(4000), ..config(&host, "v0") }).unwrap());
    let left = host.links().find("v0").unwrap();
    assert_eq!((left.mtu, left.up), (1500, false));
    assert!(!filters().contains("tapswitch"));
}

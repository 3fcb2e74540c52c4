//! One address for the host and the switch: who hears what, and who answers. The LAN is the userspace end of a tap.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use packet::builder::eth;
use packet::wire::TcpHeader;
use packet::{EtherType, Ipv4Packet, L4, MacAddr, Offload, Protocol};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use tapio::testing::Port;
use tapio::{HostStack, PacketConfig, PortSpec, SharedAddress};

use crate::lab::{Host, drain, open, send};
use crate::packet_port::in_user_namespace;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 5);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const PEER_MAC: MacAddr = MacAddr::local(1);
const LEASED: u16 = 45_000;
const PUBLISHED: u16 = 8_888;

struct Lan {
    host: Host,
    own_mac: MacAddr,
    wire: Port,
    port: Port,
}

/// What became of a frame from the LAN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Heard {
    /// Whether the switch got it.
    switch: bool,
    /// What the host answered: flags of TCP, `u8::MAX` for anything else; `None`: nothing.
    host: Option<u8>,
}

impl Lan {
    fn new() -> Self {
        let host = Host::new();
        let wire = open(&host.tap()).unwrap();
        host.run(&format!(
            "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.icmp_ratelimit=0 && ip link set lo up && \
             ip addr add {OWN}/24 dev t0 && ip link set t0 up && ip neigh add {PEER} lladdr {PEER_MAC} dev t0"
        ))
        .unwrap();
        let published =
            vec![(Protocol::TCP, (PUBLISHED, PUBLISHED)), (Protocol::UDP, (PUBLISHED, PUBLISHED))];
        let host_stack = HostStack::Shared(SharedAddress { address: Some(OWN), published });
        let spec = PacketConfig {
            device: "t0".into(),
            netns: Some(host.0.netns()),
            mtu: Some(1500),
            host: host_stack,
        };
        let port = Port::open(&PortSpec::from(spec)).unwrap();
        port.lease(Protocol::TCP, LEASED, true);
        port.lease(Protocol::UDP, LEASED, true);
        let own_mac = host.links().find("t0").unwrap().mac;
        let mut lan = Self { host, own_mac, wire, port };
        lan.settle();
        lan
    }

    fn settle(&mut self) {
        drain(&mut self.wire).unwrap();
        drain(&mut self.port).unwrap();
    }

    /// Sends a frame from the LAN.
    fn hear(&mut self, frame: &[u8]) -> Heard {
        self.settle();
        send(&mut self.wire, frame, Offload::NONE);
        // The kernel has done everything when the write returns, but for what it leaves to another context.
        let start = Instant::now();
        let mut heard = Heard { switch: !drain(&mut self.port).unwrap().is_empty(), host: None };
        while heard.host.is_none() && start.elapsed() < Duration::from_millis(20) {
            let frames = drain(&mut self.wire).unwrap();
            // A socket that waits for its peer asks again at any time.
            heard.host = frames.iter().map(|frame| answer(frame)).find(|&flags| flags != TcpHeader::SYN);
        }
        heard
    }

    fn tcp(&mut self, from: u16, to: u16, flags: u8) -> Heard {
        let frame = eth().src(PEER_MAC).dst(self.own_mac).ipv4(PEER, OWN).tcp(from, to, flags).payload(b"");
        self.hear(&frame)
    }

    fn udp(&mut self, from: u16, to: u16) -> Heard {
        let frame = eth().src(PEER_MAC).dst(self.own_mac).ipv4(PEER, OWN).udp(from, to).payload(b"hello");
        self.hear(&frame)
    }
}

fn answer(frame: &[u8]) -> u8 {
    match Ipv4Packet::parse(frame.get(14..).unwrap_or_default()) {
        Ok(ip) if ip.l4 == L4::Tcp => ip.tcp_flags,
        _ => u8::MAX,
    }
}

const HOST_ALONE: fn(u8) -> Heard = |flags| Heard { switch: false, host: Some(flags) };
const SWITCH_ALONE: Heard = Heard { switch: true, host: None };
const REFUSED: u8 = TcpHeader::RST | TcpHeader::ACK;
const ACCEPTED: u8 = TcpHeader::SYN | TcpHeader::ACK;

/// A TCP socket of the host's that asks PEER for a connection.
fn connecting(host: &Host, port: u16) -> OwnedFd {
    let open = || {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        bind(&socket, &SocketAddrV4::new(OWN, port)).unwrap();
        let _ = connect(&socket, &SocketAddrV4::new(PEER, 80));
        socket
    };
    host.0.enter(open).unwrap()
}

#[test]
fn the_switch_has_its_ports_and_the_host_all_others() {
    if in_user_namespace() {
        return;
    }
    let mut lan = Lan::new();
    for port in [80, LEASED + 1, PUBLISHED + 1] {
        assert_eq!(lan.tcp(1000, port, TcpHeader::SYN), HOST_ALONE(REFUSED), "{port}");
        assert_eq!(lan.udp(1000, port), HOST_ALONE(u8::MAX), "{port}");
    }
    for port in [LEASED, PUBLISHED] {
        for flags in [TcpHeader::SYN, ACCEPTED, TcpHeader::ACK, TcpHeader::RST] {
            assert_eq!(lan.tcp(1000, port, flags), SWITCH_ALONE, "{port} {flags}");
        }
        assert_eq!(lan.udp(1000, port), SWITCH_ALONE, "{port}");
    }
    lan.port.lease(Protocol::TCP, LEASED, false);
    assert_eq!(lan.tcp(1000, LEASED, TcpHeader::SYN), HOST_ALONE(REFUSED), "it is free again");
    let Lan { host, wire, port, own_mac } = lan;
    drop(port);
    let port = Port::open(&PortSpec::from(PacketConfig {
        device: "t0".into(),
        netns: Some(host.0.netns()),
        mtu: Some(1500),
        host: HostStack::Shared(SharedAddress::default()),
    }));
    let mut lan = Lan { host, wire, port: port.unwrap(), own_mac };
    assert_eq!(lan.tcp(1000, PUBLISHED, TcpHeader::SYN), HOST_ALONE(REFUSED), "the host's, without a switch");
}

#[test]
fn the_hosts_own_connections_go_on_whatever_ports_they_have() {
    if in_user_namespace() {
        return;
    }
    let mut lan = Lan::new();
    for port in [LEASED, PUBLISHED] {
        let _socket = connecting(&lan.host, port);
        let heard = lan.tcp(80, port, ACCEPTED);
        // Not the acknowledgement that it waits for, but an answer of the connection's.
        assert!(heard.host.is_some_and(|flags| flags != REFUSED), "{port}: {heard:?}");
        assert_eq!(lan.tcp(81, port, ACCEPTED), SWITCH_ALONE, "from another port it is not the host's");
    }
    let udp = |port| lan.host.0.enter(|| UdpSocket::bind((OWN, port)).unwrap()).unwrap();
    let (leased, published) = (udp(LEASED), udp(PUBLISHED));
    for socket in [&leased, &published] {
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    }
    lan.udp(1000, LEASED);
    assert!(leased.recv(&mut [0; 9]).is_ok(), "a socket of the host's on a port in between");
    lan.udp(1000, PUBLISHED);
    assert!(published.recv(&mut [0; 9]).is_err(), "a published port is the guest's");
    lan.host.0.enter(|| published.connect((PEER, 1000)).unwrap()).unwrap();
    lan.udp(1000, PUBLISHED);
    assert!(published.recv(&mut [0; 9]).is_ok(), "but not to whom the host is connected");
}

#[test]
fn a_listener_of_the_hosts_is_reached_unless_its_port_is_published() {
    if in_user_namespace() {
        return;
    }
    let mut lan = Lan::new();
    let listen = |port| lan.host.0.enter(|| TcpListener::bind((OWN, port)).unwrap()).unwrap();
    let _listeners = [LEASED, PUBLISHED, 22].map(listen);
    assert_eq!(lan.tcp(1000, 22, TcpHeader::SYN), HOST_ALONE(ACCEPTED));
    assert_eq!(lan.tcp(1000, LEASED, TcpHeader::SYN).host, Some(ACCEPTED));
    assert_eq!(lan.tcp(1001, LEASED, TcpHeader::ACK), SWITCH_ALONE, "no connection of the host's");
    assert_eq!(lan.tcp(1000, PUBLISHED, TcpHeader::SYN), SWITCH_ALONE);
}

#[test]
fn pings_arp_and_fragments_are_for_both_and_all_else_is_the_hosts() {
    if in_user_namespace() {
        return;
    }
    let mut lan = Lan::new();
    let to_host = || eth().src(PEER_MAC).dst(lan.own_mac);
    let echo = to_host().ipv4(PEER, OWN).icmp_echo(7, 1).payload(b"hello");
    let ask = eth().src(PEER_MAC).dst(MacAddr::BROADCAST);
    let ask = ask.arp(1, (PEER_MAC, PEER), (MacAddr::ZERO, OWN));
    let fragment = to_host().ipv4(PEER, OWN).ip(|ip| ip.flags_fragment = 0x2000.into()).udp(9, LEASED + 1);
    let fragment = fragment.payload(&[0; 32]);
    let elsewhere = to_host().ipv4(PEER, Ipv4Addr::new(10, 9, 0, 9)).udp(9, LEASED).payload(b"");
    let mut tagged = to_host().ipv4(PEER, OWN).udp(9, LEASED).payload(b"");
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    let mut other = echo.clone();
    other[12..14].copy_from_slice(&EtherType::IPV6.0.to_be_bytes());
    assert_eq!(lan.hear(&echo), Heard { switch: true, host: Some(u8::MAX) });
    assert_eq!(lan.hear(&ask), Heard { switch: true, host: Some(u8::MAX) });
    assert!(lan.hear(&fragment).switch);
    for frame in [&elsewhere, &tagged, &other] {
        assert_eq!(lan.hear(frame), Heard { switch: false, host: None });
    }
    assert!(lan.host.run("ip -d link show t0").unwrap().contains("promiscuity 0"));
}

#[test]
fn ports_behind_options_of_the_header_are_found() {
    if in_user_namespace() {
        return;
    }
    let mut lan = Lan::new();
    let mut frame = eth().src(PEER_MAC).dst(lan.own_mac).ipv4(PEER, OWN).udp(9, LEASED).payload(b"");
    // Four bytes of options that say nothing, and a header that says so.
    frame.splice(34..34, [1, 1, 1, 0]);
    frame[14] = 0x46;
    let total = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[24..26].fill(0);
    let sum = packet::checksum::of(&frame[14..38]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(lan.hear(&frame), SWITCH_ALONE);
}

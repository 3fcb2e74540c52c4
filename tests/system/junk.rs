//! Frames that nobody should send: each is a named, counted drop, and the next ping works.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use packet::builder::eth;
use packet::{EtherType, MacAddr, checksum};
use tapio::testing::PacketSocket;

use crate::host::{DEVICE, Host};
use crate::switch::{Switch, tap, wait_until};

/// A guest and the outside, with masquerade, DHCP and a published port between.
fn lab() -> (Host, Host, Switch) {
    let (a, outside) = (Host::new(), Host::new());
    let switch = Switch::start(&format!(
        "[network.default]\nmode = \"nat\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\n\
         dhcp = \"192.168.122.100-192.168.122.200\"\npublish = [\"80:192.168.122.10:80/tcp\"]\n{}\
         [uplink.wan]\ntype = \"tap\"\ndevice = \"eth0\"\nnetns = \"{outside}\"\n\
         address = \"10.180.13.2/24\"\ngateway = \"10.180.13.1\"\n",
        tap("default", "a", &a),
    ));
    a.address("192.168.122.10/24");
    a.gateway("192.168.122.1");
    outside.address("10.180.13.1/24");
    (a, outside, switch)
}

/// A pseudo-random number generator, Marsaglia's xorshift64, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Well-formed frames towards the gateway, of every kind that it reads.
fn good_frames(source: MacAddr, gateway: MacAddr) -> Vec<Vec<u8>> {
    let own = Ipv4Addr::new(192, 168, 122, 1);
    let frame = || eth().src(source).dst(gateway);
    vec![
        frame().ipv4(GUEST, FAR).udp(1000, 53).payload(b"question"),
        frame().ipv4(GUEST, FAR).tcp(1000, 80, 0x02).payload(b""),
        frame().ipv4(GUEST, FAR).tcp(1000, 80, 0x10).payload(b"data"),
        frame().ipv4(GUEST, own).icmp_echo(1, 1).payload(b"ping"),
        frame().ipv4(GUEST, FAR).icmp(3, 3, 0).payload(&[0x45; 28]),
        discover(source, COOKIE),
        frame().vlan(7).ipv4(GUEST, FAR).udp(1000, 53).payload(b"tagged"),
        frame().arp(1, (source, GUEST), (MacAddr::ZERO, own)),
        frame().ether_type(EtherType(0x86dd)).payload(&[0x60; 60]),
    ]
}

/// What options begin with. RFC 2131, 3.
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// A DHCPDISCOVER of RFC 2131, figure 1.
fn discover(client: MacAddr, cookie: [u8; 4]) -> Vec<u8> {
    let mut message = vec![0; 236];
    // A request over Ethernet, whose addresses have six octets.
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[28..34].copy_from_slice(&client.octets());
    message.extend(cookie);
    // What kind of message; what is asked for; the end.
    message.extend([53, 1, 1, 55, 3, 1, 3, 6, 255]);
    let broadcast = eth().src(client).dst(MacAddr::BROADCAST);
    broadcast.ipv4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST).udp(68, 67).payload(&message)
}

#[test]
fn ten_thousand_junk_and_truncated_frames_leave_the_next_ping_working() {
    let (a, outside, switch) = lab();
    a.ping("10.180.13.1");
    let gateway = a.neighbour_mac("192.168.122.1");
    let (inside, wan) = [&a, &outside].map(|host| host.enter(|| PacketSocket::open(DEVICE))).into();
    let sockets = [inside.expect("the device is up"), wan.expect("the device is up")];
    let good = good_frames(a.mac().parse().expect("a MAC address"), gateway);
    let mut random = Random(0x5eed);
    for n in 0..10_000 {
        let mut frame = good[random.below(good.len())].clone();
        for _ in 0..random.below(8) {
            let place = random.below(frame.len());
            frame[place] = random.next() as u8;
        }
        // Not shorter than an Ethernet header: the kernel takes no such frame.
        frame.truncate(14 + random.below(frame.len() - 13));
        // A full queue loses frames, as any network does.
        let _ = sockets[n % 2].send(&frame);
    }
    // Junk that was ARP may have told the gateway lies about who has which address; ARP sets them right.
    for host in [&a, &outside] {
        host.run(&format!("ip neighbour flush dev {DEVICE}"));
    }
    outside.ping("10.180.13.2");
    a.ping("10.180.13.1");
    switch.terminate();
}

#[test]
fn each_kind_of_bad_frame_is_counted_under_its_name_and_no_other() {
    let (a, outside, switch) = lab();
    a.ping("10.180.13.1");
    let gateway = a.neighbour_mac("192.168.122.1");
    let socket = a.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    for (name, frame) in [bad_for_bridge(gateway), bad_for_gateway(gateway), bad_for_nat(gateway)].concat() {
        let before = drops(&switch);
        socket.send(&frame).expect("the queue is empty");
        wait_until(name, || drops(&switch) != before);
        let mut expected = before;
        *expected.entry(name.to_owned()).or_default() += 1;
        assert_eq!(drops(&switch), expected, "{name}");
    }
    a.run(&format!("ip neighbour flush dev {DEVICE}"));
    a.ping("10.180.13.1");
    drop(outside);
}

const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 10);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 180, 13, 1);

fn bad_for_bridge(gateway: MacAddr) -> Vec<(&'static str, Vec<u8>)> {
    let multicast = MacAddr::new([1, 0, 0x5e, 0, 0, 1]);
    let reserved = MacAddr::new([1, 0x80, 0xc2, 0, 0, 0]);
    vec![
        ("bad_source_mac", eth().src(multicast).dst(gateway).payload(b"x")),
        ("bad_source_mac", eth().src(MacAddr::ZERO).dst(gateway).payload(b"x")),
        ("bad_vlan_tag", eth().vlan(4095).payload(b"x")),
        ("frame_too_short", eth().ether_type(EtherType::VLAN).payload(b"x")),
        ("bridge_reserved", eth().dst(reserved).payload(b"x")),
        ("own_source_mac", eth().src(gateway).payload(b"x")),
        ("same_port", eth().dst(MacAddr::local(1)).payload(b"x")),
    ]
}

fn bad_for_gateway(gateway: MacAddr) -> Vec<(&'static str, Vec<u8>)> {
    let frame = || eth().dst(gateway).ipv4(GUEST, FAR);
    let from = |source: [u8; 4]| eth().dst(gateway).ipv4(source.into(), FAR).udp(1, 2).payload(b"x");
    let to =
        |destination: [u8; 4]| eth().dst(gateway).ipv4(GUEST, destination.into()).udp(1, 2).payload(b"x");
    let udp = frame().udp(1, 2).payload(b"x");
    let echo = eth().dst(gateway).ipv4(GUEST, Ipv4Addr::new(192, 168, 122, 1)).icmp_echo(1, 1).payload(b"x");
    let (ip, l4) = (14, 14 + 20);
    vec![
        ("not_for_gateway", eth().dst(gateway).payload(b"x")),
        ("tagged_for_gateway", eth().vlan(5).dst(gateway).ipv4(GUEST, FAR).udp(1, 2).payload(b"x")),
        ("bad_ip_header", udp[..ip + 12].to_vec()),
        ("bad_ip_header", changed(&udp, ip, 0x41)),
        ("bad_ip_header", changed(&udp, ip + 2, 0xff)),
        ("bad_ip_checksum", changed(&udp, ip + 10, !udp[ip + 10])),
        ("bad_ip_source", from([127, 0, 0, 1])),
        ("bad_ip_source", from([255, 255, 255, 255])),
        ("source_not_on_link", from([9, 9, 9, 9])),
        ("not_routable", to([127, 0, 0, 9])),
        ("not_routable", to([240, 0, 0, 1])),
        ("multicast_not_routed", to([232, 1, 1, 1])),
        ("ttl_exceeded", frame().ttl(1).udp(1, 2).payload(b"x")),
        ("no_service", to([192, 168, 122, 1])),
        ("bad_icmp_checksum", changed(&echo, l4 + 2, !echo[l4 + 2])),
        ("bad_arp", arp(gateway)[..14 + 20].to_vec()),
        ("bad_arp", changed(&arp(gateway), 14 + 1, 9)),
        ("arp_not_for_us", changed(&arp(gateway), 14 + 24, 9)),
        ("bad_udp", changed(&discover(MacAddr::local(1), COOKIE), l4 + 8, 2)),
        ("bad_dhcp", discover(MacAddr::local(1), [0; 4])),
    ]
}

fn bad_for_nat(gateway: MacAddr) -> Vec<(&'static str, Vec<u8>)> {
    let frame = || eth().dst(gateway).ipv4(GUEST, FAR);
    // The builder sees to the checksums of protocols that it knows, so it is told which one only then.
    let protocol = |number: u8, len: usize| {
        let mut frame = frame().payload(&vec![0; len]);
        frame[14 + 9] = number;
        frame[14 + 10..14 + 12].fill(0);
        let sum = checksum::of(&frame[14..14 + 20]);
        frame[14 + 10..14 + 12].copy_from_slice(&sum.to_be_bytes());
        frame
    };
    let unknown = eth().ipv4(FAR, GUEST).udp(1, 2).payload(b"x");
    vec![
        ("bad_l4_header", protocol(6, 12)),
        ("bad_l4_header", protocol(17, 4)),
        ("nat_protocol_unsupported", protocol(47, 8)),
        ("tcp_no_syn", frame().tcp(7, 8, 0x10).payload(b"x")),
        ("icmp_error_unmatched", frame().icmp(3, 3, 0).payload(&unknown[14..])),
        ("fragment_without_first", frame().ip(|ip| ip.flags_fragment.set(100)).udp(1, 2).payload(b"x")),
    ]
}

/// A question for the gateway's address, sent to it alone.
/// Of a station that nobody has heard of yet.
fn arp(gateway: MacAddr) -> Vec<u8> {
    let address = |host| Ipv4Addr::new(192, 168, 122, host);
    eth().dst(gateway).arp(1, (MacAddr::local(1), address(66)), (MacAddr::ZERO, address(1)))
}

/// `frame` with another byte at `place`.
fn changed(frame: &[u8], place: usize, byte: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[place] = byte;
    frame
}

/// How many frames were dropped for each reason, over all ports.
fn drops(switch: &Switch) -> BTreeMap<String, u64> {
    let shown = switch.show("drops");
    let mut drops = BTreeMap::new();
    for drop in shown.as_array().expect("a list") {
        let (reason, frames) = (drop["reason"].as_str(), drop["frames"].as_u64());
        *drops.entry(reason.expect("a name").to_owned()).or_default() += frames.expect("a number");
    }
    drops
}

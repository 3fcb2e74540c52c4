//! Frames that nobody should send: each is a named, counted drop, and the next ping works.

use std::net::Ipv4Addr;

use packet::builder::eth;
use packet::{EtherType, MacAddr};
use tapio::host::PacketSocket;

use crate::host::{DEVICE, Host};
use crate::switch::{Switch, tap};

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
    let (guest, own, far) =
        (Ipv4Addr::new(192, 168, 122, 10), Ipv4Addr::new(192, 168, 122, 1), Ipv4Addr::new(10, 180, 13, 1));
    let frame = || eth().src(source).dst(gateway);
    vec![
        frame().ipv4(guest, far).udp(1000, 53).payload(b"question"),
        frame().ipv4(guest, far).tcp(1000, 80, 0x02).payload(b""),
        frame().ipv4(guest, far).tcp(1000, 80, 0x10).payload(b"data"),
        frame().ipv4(guest, own).icmp_echo(1, 1).payload(b"ping"),
        frame().ipv4(guest, far).icmp(3, 3, 0).payload(&[0x45; 28]),
        frame().ipv4(guest, Ipv4Addr::BROADCAST).udp(68, 67).payload(&[1; 300]),
        frame().vlan(7).ipv4(guest, far).udp(1000, 53).payload(b"tagged"),
        frame().arp(1, (source, guest), (MacAddr::ZERO, own)),
        frame().ether_type(EtherType(0x86dd)).payload(&[0x60; 60]),
    ]
}

#[test]
fn ten_thousand_junk_and_truncated_frames_leave_the_next_ping_working() {
    let (a, outside, switch) = lab();
    a.ping("10.180.13.1");
    let gateway = gateway_mac(&a);
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
fn each_kind_of_bad_frame_is_counted_under_its_name() {
    let (a, _outside, switch) = lab();
    a.ping("10.180.13.1");
    let gateway = gateway_mac(&a);
    let (guest, far) = (Ipv4Addr::new(192, 168, 122, 10), Ipv4Addr::new(10, 180, 13, 1));
    let frame = || eth().dst(gateway).ipv4(guest, far);
    let multicast = MacAddr::new([1, 0, 0x5e, 0, 0, 1]);
    let cut = |mut frame: Vec<u8>, len: usize| {
        frame.truncate(len);
        frame
    };
    let kinds = [
        ("bad_source_mac", eth().src(multicast).dst(gateway).payload(b"x")),
        ("bad_vlan_tag", eth().vlan(4095).payload(b"x")),
        ("bridge_reserved", eth().dst(MacAddr::new([1, 0x80, 0xc2, 0, 0, 0])).payload(b"x")),
        ("own_source_mac", eth().src(gateway).payload(b"x")),
        ("not_for_gateway", eth().dst(gateway).ether_type(EtherType(0x88b5)).payload(b"x")),
        ("tagged_for_gateway", eth().vlan(5).dst(gateway).ipv4(guest, far).udp(1, 2).payload(b"x")),
        ("bad_ip_header", cut(frame().udp(1, 2).payload(b"x"), 14 + 12)),
        ("bad_ip_checksum", frame().ip(|ip| ip.id.set(7)).udp(1, 2).payload(b"x")),
        ("bad_ip_source", eth().dst(gateway).ipv4(Ipv4Addr::LOCALHOST, far).udp(1, 2).payload(b"x")),
        (
            "source_not_on_link",
            eth().dst(gateway).ipv4(Ipv4Addr::new(9, 9, 9, 9), far).udp(1, 2).payload(b"x"),
        ),
        ("not_routable", eth().dst(gateway).ipv4(guest, Ipv4Addr::new(127, 0, 0, 9)).udp(1, 2).payload(b"x")),
        (
            "multicast_not_routed",
            eth().dst(gateway).ipv4(guest, Ipv4Addr::new(232, 1, 1, 1)).udp(1, 2).payload(b"x"),
        ),
        ("tcp_no_syn", frame().tcp(7, 8, 0x10).payload(b"x")),
        ("bad_arp", cut(eth().dst(gateway).arp(1, (MacAddr::local(1), guest), (MacAddr::ZERO, far)), 30)),
    ];
    let socket = a.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    for (name, mut bytes) in kinds {
        if name == "bad_ip_checksum" {
            bytes[14 + 10] ^= 0xff;
        }
        let before = drops(&switch, name);
        socket.send(&bytes).expect("the queue is empty");
        crate::switch::wait_until(name, || drops(&switch, name) == before + 1);
    }
    a.ping("10.180.13.1");
}

/// How often frames were dropped for `reason`, over all ports.
fn drops(switch: &Switch, reason: &str) -> u64 {
    let drops = switch.show("drops");
    let list = drops.as_array().expect("a list");
    list.iter().filter(|drop| drop["reason"] == reason).filter_map(|drop| drop["frames"].as_u64()).sum()
}

/// The gateway's MAC address, from the guest's ARP table.
fn gateway_mac(guest: &Host) -> MacAddr {
    let printed = guest.run("ip -j neighbour show 192.168.122.1");
    let list: serde_json::Value = serde_json::from_str(&printed).expect("ip prints JSON");
    list[0]["lladdr"].as_str().expect("it was asked for").parse().expect("a MAC address")
}

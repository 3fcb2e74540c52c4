//! What guests and a server say to the DNS forwarder, by UDP and TCP.
//!
//! Input: steps of `who:8 wait:8 len:16` and `len` bytes. `who` is 0, a guest's datagram; 1, a guest's TCP segment from its
//! flags on; 2, the server's answer behind identifier and head of the last question; 3, its answer from the records on;
//! anything else, that time passes.

use std::net::{Ipv4Addr, SocketAddrV4};

use engine::{
    DnsConfig, InterfaceConfig, InterfaceSettings, NamePattern, NetworkConfig, NetworkSettings, PortConfig,
    PortSettings, Reach, RuntimeConfig, Worker,
};
use packet::builder::eth;
use packet::wire::ArpPacket;
use packet::{Burst, DnsName, Ipv4Packet, L4, MacAddr, Millis, NetworkId, Offload, PortId};

const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 10);
const UPLINK: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0xff, 0]);
const OTHER: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);

/// Panics if something is wrong.
pub fn run(data: &[u8]) {
    let mut lab =
        Lab { worker: Worker::new([1, 2]), now: Millis::from_secs(1), burst: Burst::new(), asked: None };
    lab.worker.install(config());
    for (port, remote, own) in [(0, GUEST, OWN), (1, SERVER, UPLINK)] {
        let arp = eth().src(OTHER).dst(MacAddr::BROADCAST).arp(
            ArpPacket::REQUEST,
            (OTHER, remote),
            (MacAddr::ZERO, own),
        );
        lab.send(port, &arp);
    }
    let mut rest = data;
    while let Some((&[who, wait, l0, l1], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([l0, l1])).min(behind.len()).min(1400);
        let (bytes, behind) = behind.split_at(len);
        rest = behind;
        lab.now = lab.now + Millis::new(u64::from(wait) * 20);
        let frame = eth().src(OTHER).dst(MAC);
        match (who, lab.asked.clone()) {
            (0, _) => lab.send(0, &frame.ipv4(GUEST, OWN).udp(5000, 53).payload(bytes)),
            (1, _) => {
                let (&flags, data) = bytes.split_first().unwrap_or((&2, &[]));
                lab.send(0, &frame.ipv4(GUEST, OWN).tcp(5000, 53, flags).payload(data));
            }
            (2 | 3, Some((port, mut question))) => {
                question.truncate(if who == 2 { 2 } else { question.len() - 11 });
                if who == 3 {
                    question[2] |= 0x80;
                }
                let answer = [question.as_slice(), bytes].concat();
                lab.send(1, &frame.ipv4(SERVER, UPLINK).udp(53, port).payload(&answer));
            }
            _ => {}
        }
        lab.catch_up();
    }
}

struct Lab {
    worker: Worker,
    now: Millis,
    burst: Burst,
    /// The last question to the server, and the port that it came from.
    asked: Option<(u16, Vec<u8>)>,
}

impl Lab {
    fn send(&mut self, port: u16, frame: &[u8]) {
        let Some(id) = PortId::new(port) else { return };
        self.burst.restart(Some(id), NetworkId::new(port));
        self.burst.push(frame, Offload::NONE);
        let turn = self.worker.process(&mut self.burst, self.now);
        let turn = self.worker.transmit(turn, &mut self.burst, |_, _, _, _| {});
        let own = self.worker.service(turn, &mut self.burst, self.now);
        let asked = &mut self.asked;
        self.worker.transmit_own(own, |port, burst, list, _| note(port, burst, list, asked));
        std::iter::from_fn(|| self.worker.next_dns_refusal()).for_each(|refusal| {
            let text = refusal.name.map(|name| name.to_string()).unwrap_or_default();
            assert!(text.bytes().all(|byte| (b'!'..=b'~').contains(&byte)));
        });
    }

    /// What is due is done, a bounded number of times.
    fn catch_up(&mut self) {
        for _ in 0..64 {
            if self.worker.next_timeout().is_none_or(|at| at > self.now) {
                return;
            }
            let own = self.worker.on_timeout(self.now);
            let asked = &mut self.asked;
            self.worker.transmit_own(own, |port, burst, list, _| note(port, burst, list, asked));
        }
        panic!("it is never done");
    }
}

fn note(port: PortId, burst: &mut Burst, list: &[packet::TxEntry], asked: &mut Option<(u16, Vec<u8>)>) {
    for frame in list.iter().map(|entry| burst.bytes(entry.frame())) {
        let Ok(ip) = Ipv4Packet::parse(&frame[14..]) else { continue };
        if port.get() == 1 && ip.l4 == L4::Udp && ip.dst_port == 53 {
            *asked = Some((ip.src_port, frame[42..].to_vec()));
        }
    }
}

/// A network whose hosts may ask for names below `example`, with a server outside.
fn config() -> RuntimeConfig {
    let name = |text| DnsName::parse(text).expect("a name");
    let network = |id, reach, address: &str, dns| NetworkConfig {
        id: NetworkId::new(id),
        name: id.to_string(),
        reach,
        interface: Some(InterfaceConfig {
            mac: MAC,
            address: address.parse().expect("an address"),
            settings: InterfaceSettings { dns, ..InterfaceSettings::default() },
        }),
        settings: NetworkSettings { fdb_capacity: 16, ..NetworkSettings::default() },
    };
    let dns = DnsConfig {
        upstreams: Some(vec![SocketAddrV4::new(SERVER, 53)]),
        hosts: vec![(name("printer"), GUEST.into())],
        domain: Some(name("lan")),
        allowed: Some(vec![NamePattern { name: name("example"), is_below: true }]),
    };
    let port = |id| PortConfig {
        id: PortId::new(id).expect("a port"),
        name: id.to_string(),
        network: NetworkId::new(id),
        settings: PortSettings::default(),
    };
    RuntimeConfig {
        networks: vec![
            network(0, Reach::Translated(NetworkId::new(1)), "192.168.122.1/24", Some(dns)),
            network(1, Reach::Uplink(Some(SERVER)), "203.0.113.5/24", None),
        ],
        ports: vec![port(0), port(1)],
        flow_limit: 64,
        ..RuntimeConfig::default()
    }
}

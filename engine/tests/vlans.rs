//! VLANs of ports: what each kind of port lets in and how frames leave by it, and a naive model.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod common;

use common::{Bench, Sent, from_guest, guest_ip, guest_mac, nat_config, port, port_config};
use engine::{PortVlans, Reach, RuntimeConfig};
use packet::builder::{FrameBuilder, eth};
use packet::{MacAddr, NetworkId, Vid};
use proptest::prelude::*;

fn vid(vid: u16) -> Vid {
    Vid::new(vid).unwrap()
}

fn access(vlan: u16) -> PortVlans {
    PortVlans::Access(vid(vlan))
}

fn trunk(native: u16, tagged: &str) -> PortVlans {
    let native = (native != 0).then(|| vid(native));
    PortVlans::Trunk { native, tagged: std::sync::Arc::new(tagged.parse().unwrap()) }
}

fn tunnel(vlan: u16) -> PortVlans {
    PortVlans::Tunnel(vid(vlan))
}

/// A network without an address of the switch's, with these ports.
fn config(ports: &[PortVlans]) -> RuntimeConfig {
    let mut config = nat_config();
    config.networks.truncate(1);
    (config.networks[0].interface, config.networks[0].reach) = (None, Reach::Closed);
    config.rules = nat_engine::RuleSet::default();
    config.ports = (0..ports.len() as u16).map(|id| port_config(id, NetworkId::new(0))).collect();
    for (port, vlans) in config.ports.iter_mut().zip(ports) {
        port.settings.vlans = vlans.clone();
    }
    config
}

fn segment(ports: &[PortVlans]) -> Bench {
    Bench::new(config(ports))
}

/// From the station at a port to everybody.
fn from(n: u16) -> FrameBuilder {
    eth().src(guest_mac(n)).dst(MacAddr::BROADCAST)
}

fn sent(frames: &[(u16, Vec<u8>)]) -> Sent {
    frames.iter().map(|(port, frame)| (*port, vec![frame.clone()])).collect()
}

#[test]
fn an_access_ports_frames_are_tagged_on_a_trunk_and_come_back_without() {
    let mut bench = segment(&[access(10), access(10), access(20), trunk(0, "10,30")]);
    let plain = from(0).payload(b"x");
    let tagged = from(0).vlan(10).payload(b"x");
    assert_eq!(bench.send(0, std::slice::from_ref(&plain)), sent(&[(1, plain), (3, tagged)]));
    let back = |frame: FrameBuilder| frame.src(guest_mac(3)).dst(guest_mac(0));
    let answer = back(eth()).vlan(10).payload(b"y");
    assert_eq!(bench.send(3, &[answer]), sent(&[(0, back(eth()).payload(b"y"))]));
}

#[test]
fn priority_and_drop_eligibility_go_from_a_priority_tag_into_the_vlans_tag_and_stay_on_trunks() {
    let mut bench = segment(&[access(10), trunk(0, "10"), trunk(10, "20"), access(10)]);
    let frame = |tci| from(0).vlan(tci).payload(b"x");
    let plain = from(0).payload(b"x");
    assert_eq!(
        bench.send(0, &[frame(0xb000)]),
        sent(&[(1, frame(0xb00a)), (2, plain.clone()), (3, plain.clone())])
    );
    assert_eq!(
        bench.send(2, &[frame(0x7000)]),
        sent(&[(0, plain.clone()), (1, frame(0x700a)), (3, plain.clone())])
    );
    assert_eq!(bench.send(1, &[frame(0xf00a)]), sent(&[(0, plain.clone()), (2, plain.clone()), (3, plain)]));
}

#[test]
fn a_port_lets_in_its_own_vlans_only() {
    let mut bench = segment(&[access(10), trunk(0, "10"), trunk(30, "20"), PortVlans::All]);
    let tagged = |tci| from(0).vlan(tci).payload(b"x");
    for (port, frame) in [
        // Not even with the own VLAN's tag.
        (0, tagged(10)),
        (0, tagged(20)),
        (1, from(0).payload(b"x")),
        (1, tagged(0x2000)),
        (1, tagged(20)),
        (2, tagged(10)),
    ] {
        assert_eq!(bench.send(port, &[frame]), Sent::new(), "{port}");
    }
    assert_eq!(bench.fdb().len(), 0, "nothing was learned of them");
    assert_eq!(
        [0, 1, 2].map(|port| bench.drops(port)[0]),
        [2, 3, 1].map(|count| ("vlan_not_allowed", count))
    );
    // The native VLAN passes with its tag, too.
    assert_eq!(bench.send(2, &[tagged(30)]), sent(&[(3, tagged(30))]));
}

#[test]
fn a_port_without_vlans_carries_all_of_them_and_its_untagged_frames_get_onto_no_access_port() {
    let mut bench = segment(&[PortVlans::All, PortVlans::All, access(1), access(10), trunk(0, "0,1")]);
    let plain = from(0).payload(b"x");
    assert_eq!(bench.send(0, std::slice::from_ref(&plain)), sent(&[(1, plain.clone()), (4, plain.clone())]));
    let tagged = |tci| from(0).vlan(tci).payload(b"x");
    assert_eq!(bench.send(0, &[tagged(10)]), sent(&[(1, tagged(10)), (3, plain.clone())]));
    assert_eq!(bench.send(0, &[tagged(1)]), sent(&[(1, tagged(1)), (2, plain.clone()), (4, tagged(1))]));
    assert_eq!(bench.send(0, &[tagged(0x6000)]), sent(&[(1, tagged(0x6000)), (4, tagged(0x6000))]));
    assert_eq!(bench.send(3, std::slice::from_ref(&plain)), sent(&[(0, tagged(10)), (1, tagged(10))]));
    assert_eq!(bench.send(4, std::slice::from_ref(&plain)), sent(&[(0, plain.clone()), (1, plain)]));
}

#[test]
fn one_station_in_two_vlans_is_two_stations() {
    let mut bench = segment(&[access(10), access(20), trunk(0, "10,20"), access(10), access(20)]);
    let station = eth().src(guest_mac(7));
    bench.send(0, &[station.clone().dst(MacAddr::BROADCAST).payload(b"x")]);
    bench.send(1, &[station.dst(MacAddr::BROADCAST).payload(b"x")]);
    for (vlan, at) in [(10, 0), (20, 1)] {
        let frame = eth().src(guest_mac(2)).dst(guest_mac(7));
        let expected = frame.clone().payload(b"y");
        assert_eq!(bench.send(2, &[frame.vlan(vlan).payload(b"y")]), sent(&[(at, expected)]));
    }
}

#[test]
fn a_station_of_another_vlan_is_unknown_and_nothing_for_it_leaks() {
    let mut bench = segment(&[access(10), access(20), access(10)]);
    bench.send(1, &[from(1).payload(b"x")]);
    let frame = eth().src(guest_mac(0)).dst(guest_mac(1)).payload(b"x");
    assert_eq!(bench.send(0, std::slice::from_ref(&frame)), sent(&[(2, frame)]));
}

#[test]
fn a_static_station_is_behind_its_port_in_the_ports_vlan() {
    let mut config = config(&[access(10), access(20), access(10), access(10)]);
    config.ports[0].settings.static_macs.push(guest_mac(9));
    let mut bench = Bench::new(config.clone());
    let frame = eth().src(guest_mac(2)).dst(guest_mac(9)).payload(b"x");
    assert_eq!(bench.send(2, std::slice::from_ref(&frame)), sent(&[(0, frame.clone())]));
    config.ports[0].settings.vlans = access(20);
    bench.worker.install(config);
    assert_eq!(bench.send(2, std::slice::from_ref(&frame)), sent(&[(3, frame.clone())]));
    assert_eq!(bench.send(1, std::slice::from_ref(&frame)), sent(&[(0, frame)]));
}

#[test]
fn a_port_that_comes_into_another_vlan_takes_no_station_along() {
    let mut config = config(&[access(10), access(10), access(20), access(20)]);
    let mut bench = Bench::new(config.clone());
    bench.send(0, &[from(0).payload(b"x")]);
    config.ports[0].settings.vlans = access(20);
    bench.worker.install(config);
    let frame = eth().src(guest_mac(1)).dst(guest_mac(0)).payload(b"x");
    assert_eq!(bench.send(1, std::slice::from_ref(&frame)), Sent::new());
    assert_eq!(bench.send(2, std::slice::from_ref(&frame)), sent(&[(0, frame.clone()), (3, frame)]));
}

#[test]
fn a_tunnel_wraps_what_has_tags_of_its_own_and_the_service_tag_takes_the_priority() {
    let mut bench = segment(&[tunnel(100), tunnel(100), PortVlans::All, trunk(0, "100"), access(7)]);
    let customers = from(0).vlan(0xb007).payload(b"x");
    let service = |tci| from(0).service_vlan(tci).vlan(0xb007).payload(b"x");
    let wrapped = service(0xb064);
    assert_eq!(
        bench.send(0, std::slice::from_ref(&customers)),
        sent(&[(1, customers.clone()), (2, wrapped.clone()), (3, wrapped.clone())])
    );
    let expected = sent(&[(0, customers.clone()), (1, customers), (2, service(0x2064))]);
    assert_eq!(bench.send(3, &[service(0x2064)]), expected);
    let plain = from(0).payload(b"x");
    let wrapped = from(0).service_vlan(100).payload(b"x");
    assert_eq!(
        bench.send(0, std::slice::from_ref(&plain)),
        sent(&[(1, plain), (2, wrapped.clone()), (3, wrapped)])
    );
}

#[test]
fn a_tagged_frame_fits_the_mtu_of_what_is_in_it_and_one_byte_more_does_not() {
    let mut bench = segment(&[tunnel(100), trunk(0, "100"), access(10), trunk(0, "10")]);
    let customers = |len| from(0).vlan(7).payload(&vec![0; len]);
    let on_trunk = bench.send(0, &[customers(1500)]);
    assert_eq!(on_trunk[&1][0].len(), 1522);
    assert_eq!(bench.send(0, &[customers(1501)]), Sent::new());
    assert_eq!(bench.drops(0), [("mtu_exceeded", 1)]);
    assert_eq!(bench.send(2, &[from(0).payload(&[0; 1500])])[&3][0].len(), 1518);
}

#[test]
fn double_tags_lead_into_no_other_vlan() {
    let mut bench = segment(&[access(10), trunk(10, "20"), trunk(10, "20"), tunnel(10), access(20)]);
    let double = |outer| from(0).vlan(outer).vlan(20).payload(b"x");
    // From an access port, by the tag of its own VLAN, or by one that is none.
    assert_eq!(bench.send(0, &[double(10)]), Sent::new());
    assert_eq!(bench.send(0, &[double(0)]), Sent::new());
    assert_eq!(bench.drops(0), [("vlan_not_allowed", 1), ("double_tagged", 1)]);
    // By the native VLAN of a trunk: what is there without a tag would begin with the one inside.
    assert_eq!(bench.send(1, &[double(0)]), Sent::new());
    let inner = from(0).vlan(20).payload(b"x");
    assert_eq!(bench.send(1, &[double(10)]), sent(&[(0, inner.clone()), (3, inner.clone())]));
    // From a customer's VLAN into the provider's.
    assert_eq!(bench.send(3, std::slice::from_ref(&inner)), sent(&[(0, inner)]));
}

#[test]
fn frames_for_the_bridge_itself_come_in_untagged_whatever_the_vlans() {
    let mut bench = segment(&[trunk(0, "10"), access(10)]);
    let bpdu = from(0).dst(MacAddr::new([1, 0x80, 0xc2, 0, 0, 0])).payload(b"x");
    assert_eq!(bench.send(0, &[bpdu]), Sent::new());
    assert_eq!(bench.drops(0), [("bridge_reserved", 1)], "the host got it");
}

#[test]
fn the_gateway_is_in_the_vlan_of_untagged_frames_only() {
    let mut config = nat_config();
    (config.ports[0].settings.vlans, config.ports[1].settings.vlans) = (access(10), access(10));
    let mut bench = Bench::new(config);
    let packet = from_guest(0).ipv4(guest_ip(0), common::LAN_IP).icmp_echo(1, 1).payload(b"x");
    assert_eq!(bench.send(0, &[packet]), Sent::new());
    assert_eq!(bench.drops(0), [("tagged_for_gateway", 1)]);
    let question = common::arp_request(guest_mac(0), guest_ip(0), common::LAN_IP);
    let tagged =
        |vlan| from(0).vlan(vlan).arp(1, (guest_mac(0), guest_ip(0)), (MacAddr::ZERO, common::LAN_IP));
    let flooded = bench.send(0, std::slice::from_ref(&question));
    assert_eq!(flooded, sent(&[(1, question.clone()), (2, tagged(10)), (3, tagged(10))]), "and no answer");
    // The switch's own frames are in that VLAN, too.
    let answered = bench.send(2, &[common::arp_request(guest_mac(2), guest_ip(2), common::LAN_IP)]);
    assert_eq!(answered.keys().copied().collect::<Vec<_>>(), [2, 3]);
}

/// A frame as the model has it.
#[derive(Clone, Debug)]
struct ModelFrame {
    src: u64,
    dst: u64,
    /// Whether it is a service tag, and its control information.
    tags: Vec<(bool, u16)>,
}

/// A frame in the bridge: its VLAN, the tag it came with and what that said beside the VLAN, and the tags behind that.
struct Inside {
    vlan: u16,
    had_tag: bool,
    is_service: bool,
    priority: u16,
    rest: Vec<(bool, u16)>,
}

impl ModelFrame {
    fn bytes(&self) -> Vec<u8> {
        let frame = eth().src(MacAddr::local(self.src)).dst(MacAddr::local(self.dst));
        let tag = |frame: FrameBuilder, &(is_service, tci): &(bool, u16)| {
            if is_service { frame.service_vlan(tci) } else { frame.vlan(tci) }
        };
        self.tags.iter().fold(frame, tag).payload(b"content")
    }

    fn enter(&self, vlans: &PortVlans) -> Option<Inside> {
        let own = self.tags.first().copied();
        let (is_service, tci) = own.unwrap_or((false, 0));
        let rest = self.tags.iter().skip(1).copied().collect::<Vec<_>>();
        let inside =
            Inside { vlan: tci & 0xfff, had_tag: own.is_some(), is_service, priority: tci & 0xf000, rest };
        let untagged = inside.vlan == 0;
        match vlans {
            PortVlans::All => Some(inside),
            PortVlans::Tunnel(vid) => {
                let rest = self.tags.clone();
                Some(Inside { vlan: vid.get(), had_tag: false, is_service: true, rest, ..inside })
            }
            PortVlans::Access(vid) if untagged && inside.rest.is_empty() => {
                Some(Inside { vlan: vid.get(), ..inside })
            }
            PortVlans::Access(_) => None,
            PortVlans::Trunk { native: Some(native), .. } if untagged => {
                inside.rest.is_empty().then(|| Inside { vlan: native.get(), ..inside })
            }
            PortVlans::Trunk { native, tagged } => {
                let vlan = vid(inside.vlan);
                (tagged.contains(vlan) || *native == Some(vlan)).then_some(inside)
            }
        }
    }
}

impl Inside {
    fn leave(&self, vlans: &PortVlans) -> Option<Vec<(bool, u16)>> {
        let vlan = vid(self.vlan);
        let with = |tci| Some([vec![(self.is_service, tci)], self.rest.clone()].concat());
        let tagged = match vlans {
            PortVlans::All => true,
            PortVlans::Access(own) | PortVlans::Tunnel(own) if *own == vlan => false,
            PortVlans::Access(_) | PortVlans::Tunnel(_) => return None,
            PortVlans::Trunk { native, .. } if *native == Some(vlan) => {
                return self.rest.is_empty().then(Vec::new);
            }
            PortVlans::Trunk { tagged, .. } => tagged.contains(vlan).then_some(true)?,
        };
        match (tagged, self.vlan) {
            (false, _) => Some(self.rest.clone()),
            (true, 0) if self.had_tag => with(self.priority),
            (true, 0) => Some(self.rest.clone()),
            (true, vlan) => with(self.priority | vlan),
        }
    }
}

fn any_vlans() -> impl Strategy<Value = PortVlans> {
    let lists = || prop_oneof![Just("20"), Just("10,20"), Just("0,10"), Just("10-30"), Just("1-4094")];
    prop_oneof![
        Just(PortVlans::All),
        prop_oneof![Just(10), Just(20)].prop_map(access),
        lists().prop_map(|tagged| trunk(0, tagged)),
        (
            prop_oneof![Just(10), Just(20)],
            lists().prop_filter("no VLAN 0 beside a native one", |list| !list.starts_with('0'))
        )
            .prop_map(|(native, tagged)| trunk(native, tagged)),
        prop_oneof![Just(10), Just(30)].prop_map(tunnel),
    ]
}

fn any_frame() -> impl Strategy<Value = ModelFrame> {
    let tci = (prop_oneof![Just(0_u16), Just(10), Just(20), Just(30)], 0_u16..16);
    let tag =
        (any::<bool>(), tci).prop_map(|(is_service, (vlan, priority))| (is_service, priority << 12 | vlan));
    (1_u64..4, (0_u64..6, 1_u64..4), proptest::collection::vec(tag, 0..3))
        .prop_map(|(src, (at, nth), tags)| ModelFrame { src, dst: at * 8 + nth, tags })
}

proptest! {
    #[test]
    fn the_switch_does_what_a_naive_bridge_with_vlans_does(
        ports in proptest::collection::vec(any_vlans(), 2..6),
        frames in proptest::collection::vec((0_usize..6, any_frame()), 1..60),
    ) {
        let mut bench = segment(&ports);
        let mut stations = std::collections::BTreeMap::new();
        for (from, mut frame) in frames {
            let from = from % ports.len();
            // Stations stay where they are.
            frame.src += from as u64 * 8;
            let mut expected = Sent::new();
            if let Some(inside) = frame.enter(&ports[from]) {
                stations.insert((frame.src, inside.vlan), from);
                let to = stations.get(&(frame.dst, inside.vlan));
                for (port, vlans) in ports.iter().enumerate() {
                    let is_for = to.is_none_or(|&to| to == port) && port != from;
                    if let (true, Some(tags)) = (is_for, inside.leave(vlans)) {
                        let frame = ModelFrame { tags, ..frame.clone() };
                        expected.insert(port as u16, vec![frame.bytes()]);
                    }
                }
            }
            prop_assert_eq!(bench.send(from as u16, &[frame.bytes()]), expected, "{:?} from {}", frame, from);
        }
        prop_assert!(bench.worker.link(port(0)));
    }
}

use packet::builder::eth;
use packet::{NetworkId, Offload, parse};

use super::*;

const SECRET: [u64; 2] = [1, 2];
const NOW: Millis = Millis::from_secs(10);
const SWITCH: MacAddr = MacAddr::local(99);
const TUNNELS: Group = Group(1);

fn id(port: u16) -> PortId {
    PortId::new(port).unwrap()
}

/// The station at a port.
fn mac(port: u16) -> MacAddr {
    MacAddr::local(u64::from(port) + 1)
}

fn settings(group: Option<Group>) -> BridgePort {
    BridgePort { state: PortState::Forwarding, mtu: 1500, learn_limit: 100, group, hairpin: false }
}

struct Segment(Bridge);

impl Segment {
    /// Ports 0 and up, with these settings.
    fn new(ports: &[BridgePort]) -> Self {
        let mut bridge = Bridge::new(Fdb::new(64, Millis::from_secs(300), SECRET));
        bridge.set_local(Some(SWITCH));
        for (port, &settings) in (0..).zip(ports) {
            bridge.set_port(id(port), settings);
        }
        Self(bridge)
    }

    fn of_groups(groups: &[Option<Group>]) -> Self {
        Self::new(&groups.iter().map(|&group| settings(group)).collect::<Vec<_>>())
    }

    /// A frame from the station at each port, to nobody's station, so that all are learned.
    fn all_were_heard(self) -> Self {
        for port in self.0.members().to_vec() {
            self.send(port.get(), mac(port.get()));
        }
        self
    }

    /// The ports that a frame from the station at a port leaves by, and what becomes of it.
    fn send(&self, from: u16, to: MacAddr) -> (Vec<u16>, Verdict) {
        let mut burst = Burst::new();
        burst.restart(Some(id(from)), NetworkId::new(0));
        assert!(burst.push(&eth().src(mac(from)).dst(to).payload(b"hello"), Offload::NONE));
        parse(&mut burst);
        self.0.ingress(&mut burst);
        self.0.learn(&burst, &mut PortCounters::default(), NOW);
        self.0.forward(&mut burst, NOW);
        self.leave(&mut burst)
    }

    /// The same of a frame that the gateway forwards from a port.
    fn route(&self, from: u16, to: MacAddr) -> (Vec<u16>, Verdict) {
        let mut burst = Burst::new();
        burst.restart(Some(id(from)), NetworkId::new(0));
        assert!(burst.push(&eth().src(SWITCH).dst(to).payload(b"hello"), Offload::NONE));
        parse(&mut burst);
        let verdict = self.0.towards(to, NOW);
        (burst.metas_mut()[0].routed, burst.metas_mut()[0].verdict) = (true, verdict);
        self.leave(&mut burst)
    }

    fn leave(&self, burst: &mut Burst) -> (Vec<u16>, Verdict) {
        let mut lists = TxLists::default();
        lists.reserve_ports(PortId::LIMIT);
        let origin = burst.origin();
        self.0.egress(TxEntry::as_is(0), &mut burst.metas_mut()[0], 100, origin, &mut lists);
        (lists.touched().iter().map(|port| port.get()).collect(), burst.metas()[0].verdict)
    }
}

const ISOLATED: Verdict = Verdict::Drop(DropReason::PortIsolated);

#[test]
fn ports_of_a_group_see_all_others_but_not_each_other() {
    let segment = Segment::of_groups(&[Some(Group::ISOLATED), Some(Group::ISOLATED), None, None]);
    assert_eq!(segment.send(0, mac(1)).0, [2, 3], "unknown");
    let segment = segment.all_were_heard();
    for to in [MacAddr::BROADCAST, mac(77)] {
        assert_eq!(segment.send(0, to), (vec![2, 3], Verdict::Flood));
        assert_eq!(segment.send(2, to), (vec![0, 1, 3], Verdict::Flood));
    }
    assert_eq!(segment.send(0, mac(1)), (vec![], ISOLATED));
    assert_eq!(segment.send(1, mac(0)), (vec![], ISOLATED));
    assert_eq!(segment.send(0, mac(2)).0, [2]);
    assert_eq!(segment.send(2, mac(0)).0, [0]);
    assert_eq!(segment.send(2, mac(3)).0, [3]);
    assert_eq!(segment.send(0, SWITCH).1, Verdict::Local);
}

#[test]
fn groups_see_each_other() {
    let guests = Some(Group::ISOLATED);
    let tunnels = Some(TUNNELS);
    let segment = Segment::of_groups(&[guests, guests, tunnels, tunnels]).all_were_heard();
    assert_eq!(segment.send(0, MacAddr::BROADCAST).0, [2, 3]);
    assert_eq!(segment.send(3, MacAddr::BROADCAST).0, [0, 1]);
    assert_eq!(segment.send(3, mac(2)), (vec![], ISOLATED));
    assert_eq!(segment.send(3, mac(1)).0, [1]);
}

#[test]
fn a_flood_that_only_ports_of_its_group_could_take_is_a_drop() {
    let mut segment = Segment::of_groups(&[Some(Group::ISOLATED); 2]);
    for to in [MacAddr::BROADCAST, mac(1)] {
        assert_eq!(segment.send(0, to), (vec![], ISOLATED));
    }
    let down = BridgePort { state: PortState::Discarding, ..settings(Some(Group::ISOLATED)) };
    segment.0.set_port(id(1), down);
    assert_eq!(segment.send(0, MacAddr::BROADCAST), (vec![], Verdict::Flood), "nobody has missed it");
}

#[test]
fn a_port_that_leaves_its_group_is_seen() {
    let mut segment = Segment::of_groups(&[Some(Group::ISOLATED); 3]).all_were_heard();
    segment.0.set_port(id(1), settings(None));
    assert_eq!(segment.send(0, mac(1)).0, [1]);
    assert_eq!(segment.send(0, MacAddr::BROADCAST).0, [1]);
    segment.0.set_port(id(1), settings(Some(Group::ISOLATED)));
    assert_eq!(segment.send(0, mac(1)), (vec![], ISOLATED));
}

#[test]
fn the_gateway_reaches_every_port_whatever_its_group() {
    let segment = Segment::of_groups(&[Some(Group::ISOLATED), Some(Group::ISOLATED), None]).all_were_heard();
    assert_eq!(segment.route(0, mac(1)).0, [1]);
    assert_eq!(segment.route(0, MacAddr::BROADCAST).0, [0, 1, 2]);
    assert_eq!(segment.route(0, mac(77)), (vec![0, 1, 2], Verdict::Flood), "port 2 may have it");
}

#[test]
fn where_no_port_sees_another_the_gateway_floods_nothing_that_is_for_one_station() {
    let mut segment = Segment::of_groups(&[Some(Group::ISOLATED); 3]).all_were_heard();
    assert_eq!(segment.route(0, mac(77)), (vec![], Verdict::Drop(DropReason::UnknownStation)));
    assert_eq!(segment.route(0, mac(1)).0, [1]);
    assert_eq!(segment.route(0, MacAddr::BROADCAST).0, [0, 1, 2]);
    segment.0.set_port(id(2), settings(Some(TUNNELS)));
    assert_eq!(segment.route(0, mac(77)).1, Verdict::Flood);
    segment.0.remove_port(id(2));
    assert_eq!(segment.route(0, mac(77)).1, Verdict::Drop(DropReason::UnknownStation));
}

#[test]
fn frames_leave_by_the_port_they_came_from_if_it_is_a_hairpin() {
    let hairpin = BridgePort { hairpin: true, ..settings(None) };
    let segment = Segment::new(&[hairpin, settings(None)]).all_were_heard();
    assert_eq!(segment.send(0, mac(0)).0, [0]);
    assert_eq!(segment.send(0, MacAddr::BROADCAST).0, [0, 1]);
    assert_eq!(segment.send(0, mac(1)).0, [1]);
    assert_eq!(segment.send(1, MacAddr::BROADCAST).0, [0]);
    assert_eq!(segment.send(1, mac(1)), (vec![], Verdict::Drop(DropReason::SamePort)));
}

#[test]
fn a_group_keeps_apart_ports_and_not_what_is_behind_one_of_them() {
    let hairpin = BridgePort { hairpin: true, ..settings(Some(Group::ISOLATED)) };
    let segment = Segment::new(&[hairpin; 2]).all_were_heard();
    assert_eq!(segment.send(0, mac(0)).0, [0]);
    assert_eq!(segment.send(0, MacAddr::BROADCAST).0, [0]);
    assert_eq!(segment.send(0, mac(1)), (vec![], ISOLATED));
}

#[test]
fn frames_to_a_control_address_end_at_the_host_whatever_else_is_there() {
    let mut segment = Segment::of_groups(&[None, Some(Group::ISOLATED)]);
    segment.0.set_local(None);
    let spanning_tree = MacAddr::new([1, 0x80, 0xc2, 0, 0, 0]);
    assert_eq!(segment.send(0, spanning_tree), (vec![], PuntReason::Control.into()));
    assert_eq!(segment.send(1, spanning_tree).1, PuntReason::Control.into());
    let cisco = MacAddr::new([1, 0, 0x0c, 0xcc, 0xcc, 0xcd]);
    assert_eq!(segment.send(0, cisco), (vec![1], Verdict::Flood));
    segment.0.ask_for(cisco);
    assert_eq!(segment.send(0, cisco), (vec![], PuntReason::Control.into()));
    assert_eq!(segment.send(1, mac(0)).0, [0], "their sources are learned");
}

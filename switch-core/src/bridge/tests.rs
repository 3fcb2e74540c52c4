use packet::builder::eth;
use packet::{DropReason, NetworkId, Offload, PuntReason, Vid, parse};

use super::*;
use crate::{Group, PortSettings};

const SECRET: [u64; 2] = [1, 2];
const NOW: Millis = Millis::from_secs(10);
const SWITCH: MacAddr = MacAddr::local(99);
const TUNNELS: Group = Group(1);
const SPANNING_TREE: MacAddr = MacAddr::new([1, 0x80, 0xc2, 0, 0, 0]);

fn id(port: u16) -> PortId {
    PortId::new(port).unwrap()
}

/// The station at a port.
fn mac(port: u16) -> MacAddr {
    MacAddr::local(u64::from(port) + 1)
}

fn settings(group: Option<Group>) -> BridgePort {
    BridgePort { group, ..BridgePort::new(PortState::Forwarding, false, &PortSettings::default()) }
}

struct Segment(Bridge);

impl Segment {
    /// Ports 0 and up, with these settings.
    fn new(ports: &[BridgePort]) -> Self {
        let mut bridge = Bridge::new(Fdb::new(64, Millis::from_secs(300), SECRET));
        bridge.set_local(Some(SWITCH));
        for (port, settings) in (0..).zip(ports) {
            bridge.set_port(id(port), settings.clone());
        }
        Self(bridge)
    }

    fn of_groups(groups: &[Option<Group>]) -> Self {
        Self::new(&groups.iter().map(|&group| settings(group)).collect::<Vec<_>>())
    }

    /// A frame from the station at each port, to nobody's station, so that all are learned.
    fn all_were_heard(mut self) -> Self {
        for port in self.0.ports.members().to_vec() {
            self.send(port.id.get(), mac(port.id.get()));
        }
        self
    }

    /// The ports that a frame from the station at a port leaves by, and what becomes of it.
    fn send(&mut self, from: u16, to: MacAddr) -> (Vec<u16>, Verdict) {
        self.send_as(mac(from), from, to)
    }

    /// The same of a frame that says it is from another station.
    fn send_as(&mut self, src: MacAddr, from: u16, to: MacAddr) -> (Vec<u16>, Verdict) {
        let mut burst = burst(src, from, to);
        parse(&mut burst);
        self.0.ingress(&mut burst);
        self.0.learn(&burst, &mut PortCounters::default(), NOW);
        self.0.forward(&mut burst, NOW);
        self.leave(&mut burst)
    }

    /// The same of a frame that the gateway forwards from a port.
    fn route(&self, from: u16, to: MacAddr) -> (Vec<u16>, Verdict) {
        let mut burst = burst(SWITCH, from, to);
        parse(&mut burst);
        let verdict = self.0.towards(to, NOW);
        (burst.metas_mut()[0].routed, burst.metas_mut()[0].verdict) = (true, verdict);
        self.leave(&mut burst)
    }

    /// Where a station was learned.
    fn port_of(&self, mac: MacAddr) -> Option<u16> {
        self.0.fdb().lookup(mac, Vid::UNTAGGED, NOW).map(PortId::get)
    }

    /// What is sent of a burst whose frame has a verdict.
    fn lists(&self, burst: &mut Burst) -> TxLists {
        let mut lists = TxLists::default();
        lists.reserve_ports(PortId::LIMIT);
        let origin = burst.origin();
        self.0.egress(TxEntry::as_is(0), &mut burst.metas_mut()[0], 100, origin, &mut lists);
        lists
    }

    fn leave(&self, burst: &mut Burst) -> (Vec<u16>, Verdict) {
        let lists = self.lists(burst);
        (lists.touched().iter().map(|port| port.get()).collect(), burst.metas()[0].verdict)
    }
}

fn burst(src: MacAddr, from: u16, to: MacAddr) -> Burst {
    let mut burst = Burst::new();
    burst.restart(Some(id(from)), NetworkId::new(0));
    assert!(burst.push(&eth().src(src).dst(to).payload(b"hello"), Offload::NONE));
    burst
}

const ISOLATED: Verdict = Verdict::Drop(DropReason::PortIsolated);

#[test]
fn ports_of_a_group_see_all_others_but_not_each_other() {
    let mut segment = Segment::of_groups(&[Some(Group::ISOLATED), Some(Group::ISOLATED), None, None]);
    assert_eq!(segment.send(0, mac(1)).0, [2, 3], "unknown");
    let mut segment = segment.all_were_heard();
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
    let mut segment = Segment::of_groups(&[guests, guests, tunnels, tunnels]).all_were_heard();
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
fn frames_stay_alone_on_the_way_to_a_port_that_wants_none_joined() {
    let alone = BridgePort { gro: false, ..settings(None) };
    let segment = Segment::new(&[settings(None), alone, settings(None)]);
    let both: &[_] = &[(1, false), (2, true)];
    for (verdict, expected) in
        [(Verdict::Forward(id(1)), &both[..1]), (Verdict::Forward(id(2)), &both[1..]), (Verdict::Flood, both)]
    {
        let mut burst = burst(mac(0), 0, mac(1));
        burst.metas_mut()[0].verdict = verdict;
        let lists = segment.lists(&mut burst);
        let found = |&port: &PortId| (port.get(), lists.list(port)[0].may_be_joined());
        assert_eq!(lists.touched().iter().map(found).collect::<Vec<_>>(), expected);
        assert!(lists.touched().iter().all(|&port| lists.list(port)[0].is_as_is()));
    }
}

#[test]
fn frames_leave_by_the_port_they_came_from_if_it_is_a_hairpin() {
    let hairpin = BridgePort { hairpin: true, ..settings(None) };
    let mut segment = Segment::new(&[hairpin, settings(None)]).all_were_heard();
    assert_eq!(segment.send(0, mac(0)).0, [0]);
    assert_eq!(segment.send(0, MacAddr::BROADCAST).0, [0, 1]);
    assert_eq!(segment.send(0, mac(1)).0, [1]);
    assert_eq!(segment.send(1, MacAddr::BROADCAST).0, [0]);
    assert_eq!(segment.send(1, mac(1)), (vec![], Verdict::Drop(DropReason::SamePort)));
}

#[test]
fn a_group_keeps_apart_ports_and_not_what_is_behind_one_of_them() {
    let hairpin = BridgePort { hairpin: true, ..settings(Some(Group::ISOLATED)) };
    let mut segment = Segment::new(&[hairpin.clone(), hairpin]).all_were_heard();
    assert_eq!(segment.send(0, mac(0)).0, [0]);
    assert_eq!(segment.send(0, MacAddr::BROADCAST).0, [0]);
    assert_eq!(segment.send(0, mac(1)), (vec![], ISOLATED));
}

#[test]
fn each_state_of_a_port_lets_in_and_learns_what_it_may() {
    use DropReason::{BpduGuard, LoopDamped, PortNotForwarding, StpBlocked};
    let (probes, control) = (mac(50), PuntReason::Control.into());
    for (state, ordinary, probe, bpdu, learns) in [
        (PortState::Forwarding, Verdict::Flood, control, control, true),
        (PortState::Learning, StpBlocked.into(), StpBlocked.into(), control, true),
        (PortState::Blocked, StpBlocked.into(), StpBlocked.into(), control, false),
        (PortState::Shut, BpduGuard.into(), BpduGuard.into(), BpduGuard.into(), false),
        (
            PortState::Discarding,
            PortNotForwarding.into(),
            PortNotForwarding.into(),
            PortNotForwarding.into(),
            false,
        ),
        (PortState::Looping, LoopDamped.into(), control, control, false),
    ] {
        let mut segment = Segment::new(&[BridgePort { state, ..settings(None) }, settings(None)]);
        segment.0.set_probe(probes);
        segment.0.ask_for(probes.to_group());
        assert_eq!(segment.send(0, MacAddr::BROADCAST).1, ordinary, "{state:?}");
        assert_eq!(segment.send(0, probes.to_group()).1, probe, "{state:?}");
        assert_eq!(segment.send(0, MacAddr::BRIDGES).1, bpdu, "{state:?}");
        assert_eq!(segment.port_of(mac(0)), learns.then_some(0), "{state:?}");
    }
}

#[test]
fn a_frame_from_the_switchs_own_address_hints_at_a_loop_and_teaches_nothing() {
    let mut segment = Segment::of_groups(&[None; 2]);
    segment.send(0, mac(1));
    assert!(!segment.0.take_suspicion());
    assert_eq!(segment.send_as(SWITCH, 0, mac(1)).1, DropReason::OwnSourceMac.into());
    assert!(segment.0.take_suspicion() && !segment.0.take_suspicion());
    assert_eq!(segment.send_as(SWITCH, 0, SPANNING_TREE).1, PuntReason::Control.into());
    assert_eq!(segment.port_of(SWITCH), None);
}

#[test]
fn what_was_dropped_while_it_was_received_teaches_nothing() {
    let mut segment = Segment::of_groups(&[None; 2]);
    let mut burst = burst(mac(0), 0, mac(1));
    burst.metas_mut()[0].drop(DropReason::BadOffload);
    parse(&mut burst);
    segment.0.learn(&burst, &mut PortCounters::default(), NOW);
    assert_eq!(segment.port_of(mac(0)), None);
}

#[test]
fn a_guarded_port_that_lies_teaches_nothing() {
    let mut segment = Segment::of_groups(&[None; 2]);
    let guard = PortGuard { checks: crate::Guard::ALL, macs: vec![mac(0)], ..PortGuard::default() };
    segment.0.set_guard(id(0), Some(guard));
    for (src, learned) in [(mac(7), None), (mac(0), Some(0))] {
        let mut burst = burst(src, 0, mac(1));
        parse(&mut burst);
        segment.0.guard(&mut burst, |_| None);
        segment.0.learn(&burst, &mut PortCounters::default(), NOW);
        assert_eq!(segment.port_of(src), learned);
    }
}

#[test]
fn frames_to_a_control_address_end_at_the_host_whatever_else_is_there() {
    let mut segment = Segment::of_groups(&[None, Some(Group::ISOLATED)]);
    segment.0.set_local(None);
    assert_eq!(segment.send(0, SPANNING_TREE), (vec![], PuntReason::Control.into()));
    assert_eq!(segment.send(1, SPANNING_TREE).1, PuntReason::Control.into());
    let cisco = MacAddr::new([1, 0, 0x0c, 0xcc, 0xcc, 0xcd]);
    assert_eq!(segment.send(0, cisco), (vec![1], Verdict::Flood));
    segment.0.ask_for(cisco);
    assert_eq!(segment.send(0, cisco), (vec![], PuntReason::Control.into()));
    assert_eq!(segment.send(1, mac(0)).0, [0], "their sources are learned");
}

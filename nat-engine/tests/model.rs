//! Random traffic into the NAT and into a naive model of it: same verdicts, same packets, same flows.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

mod world;

use std::collections::BTreeSet;
use std::net::SocketAddrV4;

use nat_engine::{NatConfig, NatSettings, Timeouts, Tuple};
use packet::builder::eth;
use packet::{DropReason, Ipv4Packet, Millis, Protocol};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use world::*;

const IDLE: Millis = Millis::from_secs(100);
const LIMIT: usize = 12;

/// A NAT made of one list. It can't know which port is picked when a guest's own is taken, so it is shown what left, and
/// judges whether that was allowed.
#[derive(Default)]
struct Model(Vec<ModelFlow>);

#[derive(Clone)]
struct ModelFlow {
    original: Tuple,
    reply: Tuple,
    used: Millis,
    /// The inside sockets and outside ports that it keeps mapped: of who sent first, and of whom that was for.
    sender: Option<(SocketAddrV4, u16)>,
    receiver: Option<(SocketAddrV4, u16)>,
}

impl ModelFlow {
    fn mappings(&self) -> impl Iterator<Item = (SocketAddrV4, u16)> {
        self.sender.into_iter().chain(self.receiver)
    }
}

impl Model {
    /// What becomes of a packet; `left` is what the NAT made of it, and the flow of `displaced` is gone since.
    fn pass(
        &mut self,
        packet: Tuple,
        syn: bool,
        left: Option<Tuple>,
        displaced: Option<Tuple>,
        now: Millis,
    ) -> Result<Tuple, DropReason> {
        for flow in &mut self.0 {
            for (arrives, other) in [(flow.original, flow.reply), (flow.reply, flow.original)] {
                if arrives == packet {
                    flow.used = now;
                    return Ok(other.reversed());
                }
            }
        }
        let tcp = packet.protocol() == Protocol::TCP;
        let receiver = self.mapped(packet);
        let server = match packet.destination() {
            to if tcp && to == SocketAddrV4::new(PUBLIC, 8080) => SocketAddrV4::new(GUEST, 80),
            to if *to.ip() == PUBLIC => receiver.ok_or(DropReason::NatUnsolicited)?.0,
            to => to,
        };
        if tcp && !syn {
            return Err(DropReason::TcpNoSyn);
        }
        if self.0.len() == LIMIT && displaced.is_none() {
            return Err(DropReason::FlowTableFull);
        }
        let mut client = packet.source();
        let mut sender = None;
        if is_inside(client) {
            let picked = left.map_or(0, Tuple::source_port);
            client = SocketAddrV4::new(PUBLIC, self.outside_port(packet, server, picked));
            sender = Some((packet.source(), client.port()));
        }
        let reply = Tuple::new(packet.protocol(), server, client);
        self.0.retain(|flow| Some(flow.original) != displaced);
        self.0.push(ModelFlow { original: packet, reply, used: now, sender, receiver });
        Ok(reply.reversed())
    }

    /// The inside socket that a packet is for by its outside port, if the packet is let in.
    fn mapped(&self, packet: Tuple) -> Option<(SocketAddrV4, u16)> {
        let published = packet.protocol() == Protocol::TCP && packet.destination_port() == 8080;
        if packet.protocol() == Protocol::ICMP || *packet.destination().ip() != PUBLIC || published {
            return None;
        }
        let port = packet.destination_port();
        let mapping = self.same_protocol(packet).flat_map(ModelFlow::mappings).find(|&(_, is)| is == port)?;
        let knows = |flow: &ModelFlow| {
            flow.sender == Some(mapping) && flow.original.destination_address() == packet.source_address()
        };
        (is_inside(packet.source()) || self.same_protocol(packet).any(knows)).then_some(mapping)
    }

    /// The outside port for an inside socket, given that the NAT picked `picked`.
    fn outside_port(&self, packet: Tuple, server: SocketAddrV4, picked: u16) -> u16 {
        let wanted = packet.source_port();
        let mapped: BTreeSet<u16> = self
            .same_protocol(packet)
            .flat_map(ModelFlow::mappings)
            .filter(|(inside, _)| *inside == packet.source())
            .map(|(_, port)| port)
            .collect();
        let is_free = |port| {
            let reply = Tuple::new(packet.protocol(), server, SocketAddrV4::new(PUBLIC, port));
            reply != packet && self.0.iter().all(|flow| flow.original != reply && flow.reply != reply)
        };
        match mapped.first() {
            Some(&port) if mapped.len() == 1 && is_free(port) => return port,
            // Who talks to itself takes a second port.
            Some(_) if mapped.contains(&picked) => return picked,
            _ => {}
        }
        let is_taken = |candidate| {
            let published = packet.protocol() == Protocol::TCP && candidate == 8080;
            published
                || self.same_protocol(packet).flat_map(ModelFlow::mappings).any(|(_, port)| port == candidate)
        };
        if mapped.is_empty() && !is_taken(wanted) {
            return wanted;
        }
        let same_range = packet.protocol() == Protocol::ICMP || (picked < 1024) == (wanted < 1024);
        assert!(!is_taken(picked) && same_range, "{picked} for {packet}");
        picked
    }

    fn same_protocol(&self, packet: Tuple) -> impl Iterator<Item = &ModelFlow> {
        self.0.iter().filter(move |flow| flow.original.protocol() == packet.protocol())
    }

    fn expire(&mut self, now: Millis) {
        // A second later than the idle time: the NAT's promise is "not earlier".
        self.0.retain(|flow| now < flow.used + IDLE + Millis::from_secs(1));
    }
}

fn is_inside(address: SocketAddrV4) -> bool {
    address.ip().octets()[0] == 192
}

#[derive(Clone, Debug)]
enum Step {
    /// A packet of a tuple of its own.
    Fresh(Tuple, bool),
    /// A packet of a flow that exists, in its original direction or not.
    Known(Index, bool, bool),
    /// Someone else's packet to an outside port in use.
    Stranger(Index),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let protocol = select(vec![Protocol::TCP, Protocol::UDP, Protocol::ICMP]);
    let inside = (select(vec![GUEST, GUEST2]), select(vec![90, 5000, 8080]));
    let outside = (select(vec![REMOTE, REMOTE2, PUBLIC]), select(vec![53, 8080]));
    let fresh = (protocol, inside, outside, prop::bool::weighted(0.9), any::<bool>()).prop_map(
        |(protocol, (guest, port), (remote, remote_port), syn, outbound)| {
            let remote_port = if protocol == Protocol::ICMP { 0 } else { remote_port };
            let inbound_from = (if remote == PUBLIC { REMOTE } else { remote }, port);
            let (source, destination) = if outbound {
                ((guest, port), (remote, remote_port))
            } else {
                (inbound_from, (PUBLIC, remote_port))
            };
            let at = |(address, port)| SocketAddrV4::new(address, port);
            Step::Fresh(Tuple::new(protocol, at(source), at(destination)), syn)
        },
    );
    prop_oneof![
        4 => fresh,
        4 => (any::<Index>(), any::<bool>(), any::<bool>()).prop_map(|(flow, way, syn)| Step::Known(flow, way, syn)),
        1 => any::<Index>().prop_map(Step::Stranger),
        1 => (1_u64..8).prop_map(|tens| Step::Wait(tens * 10_000)),
    ]
}

fn frame(tuple: Tuple, syn: bool) -> Vec<u8> {
    let (source_port, destination_port) = (tuple.source_port(), tuple.destination_port());
    let ip = eth().ipv4(tuple.source_address(), tuple.destination_address());
    match tuple.protocol() {
        Protocol::TCP => ip.tcp(source_port, destination_port, if syn { SYN } else { ACK }),
        Protocol::UDP => ip.udp(source_port, destination_port),
        _ if destination_port == 0 => ip.icmp_echo(source_port, 1),
        _ => ip.icmp_echo_reply(destination_port, 1),
    }
    .payload(b"payload")
}

fn tuple_of(frame: &[u8]) -> Tuple {
    Tuple::of(&Ipv4Packet::parse(&frame[14..]).unwrap()).unwrap()
}

fn small_world() -> World {
    let timeouts =
        Timeouts { udp: IDLE, tcp_opening: IDLE, tcp_established: IDLE, tcp_closing: IDLE, icmp: IDLE };
    // The model's ports don't rest.
    let settings = NatSettings { quarantine: Millis::ZERO, ..NatSettings::default() };
    World::with(NatConfig { timeouts, settings, flow_limit: LIMIT as u32, ..config() })
}

/// Flows by their first packets, and where they are in their lives.
fn originals(world: &World) -> Vec<(Tuple, &'static str)> {
    world.nat.flows(world.now).map(|flow| (flow.original, flow.state)).collect()
}

const UNANSWERED: [&str; 3] = ["unreplied", "syn-sent", "syn-received"];

proptest! {
    #![proptest_config(properties())]

    #[test]
    fn the_nat_does_what_its_model_does(steps in prop::collection::vec(step(), 1..100)) {
        let (mut world, mut model) = (small_world(), Model::default());
        for step in steps {
            let (tuple, syn) = match step {
                Step::Wait(millis) => {
                    world.wait(millis);
                    model.expire(world.now);
                    continue;
                }
                Step::Fresh(tuple, syn) => (tuple, syn),
                _ if model.0.is_empty() => continue,
                Step::Known(flow, true, syn) => (flow.get(&model.0).original, syn),
                Step::Known(flow, false, syn) => (flow.get(&model.0).reply, syn),
                Step::Stranger(flow) => {
                    let reply = flow.get(&model.0).reply;
                    let port = if reply.protocol() == Protocol::ICMP { 0 } else { 9 };
                    let stranger = SocketAddrV4::new(REMOTE2, port);
 let public = SocketAddrV4::new(PUBLIC, reply.destination_port());
                    (Tuple::new(reply.protocol(), stranger, public), true)
                }
            };
            let input = if tuple.source_address().octets()[0] == 192 { LAN } else { WAN };
            let before = originals(&world);
            let left = world.pass(&frame(tuple, syn), input).map(|frame| tuple_of(&frame));
            let after = originals(&world);
            // Only where there is no room, and of those that nobody has answered.
            let gone: Vec<_> = before.iter().filter(|(flow, _)| after.iter().all(|(other, _)| other != flow)).collect();
            prop_assert!(gone.is_empty() || gone.len() == 1 && before.len() == LIMIT, "{:?}", gone);
            prop_assert!(gone.iter().all(|(_, state)| UNANSWERED.contains(state)), "{:?}", gone);
            let displaced = gone.first().map(|(flow, _)| *flow);
            prop_assert_eq!(left, model.pass(tuple, syn, left.ok(), displaced, world.now), "{}", tuple);

            let flows: BTreeSet<_> = world.nat.flows(world.now).map(|f| format!("{} {}", f.original, f.reply)).collect();
            let expected: BTreeSet<_> = model.0.iter().map(|f| format!("{} {}", f.original, f.reply)).collect();
            prop_assert_eq!(flows, expected);
        }
    }

    #[test]
    fn translate_then_reverse_is_the_identity(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = small_world();
        for step in steps {
            let Step::Fresh(tuple, _) = step else { continue };
            let input = if tuple.source_address().octets()[0] == 192 { LAN } else { WAN };
            let Ok(left) = world.pass(&frame(tuple, true), input) else { continue };
            let answer = frame(tuple_of(&left).reversed(), false);
            let expected = frame(tuple.reversed(), false);
            // Where the answer comes from makes no difference to a flow that is known.
            prop_assert_eq!(world.pass(&answer, WAN), Ok(expected));
        }
    }
}

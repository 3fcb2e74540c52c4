//! A port is leased, and only when nothing refuses the flow any more is anything stored.

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::DropReason;

use crate::first_packet::lookahead::{Admission, Destination, Reply, Source, reply};
use crate::flows::flow::Flow;
use crate::flows::packet::NatPacket;
use crate::flows::table::{FlowMappings, FlowTable};
use crate::flows::tuple::{Direction, Tuple, has_ports_or_identifiers};
use crate::fragments::Fragments;
use crate::lifecycle::Lifecycle;
use crate::memory::random::Random;
use crate::memory::slab::Id;
use crate::outside::Outside;
use crate::outside::leasing::{Leasing, TRIES};
use crate::outside::mapping::SourceMapping;

/// What admitting a flow changes.
pub(crate) struct Admitter<'a> {
    pub(crate) lifecycle: Lifecycle<'a>,
    pub(crate) fragments: &'a mut Fragments,
    pub(crate) leasing: Leasing<'a>,
}

impl Admitter<'_> {
    #[inline]
    pub(crate) fn admit(
        mut self,
        packet: &mut NatPacket<'_>,
        admission: &Admission,
    ) -> Result<(), DropReason> {
        let &Admission { original, destination, .. } = admission;
        debug_assert_eq!(Tuple::of(packet.ip), Some(original), "another packet's admission");
        let Lifecycle { config, flows, outside, chains } = &mut self.lifecycle;
        let leaves_its_mappings = |mappings| outside.have_other_users(mappings);
        let displaced = flows.room_for(self.leasing.owner, config.flow_limit(), leaves_its_mappings)?;
        let inward = inward_mapping(outside, original, destination)?;
        let receiver = inward.map(|_| destination.address);
        let mut hosts = receiver.into_iter().chain([original.source_address()]);
        if !hosts.all(|host| outside.may_add_flow(host, config)) {
            return Err(DropReason::NatHostLimit);
        }
        let (source, reply) = match admission.source {
            Source::Mapped(key, range, _) => {
                let reply_to = |client| free_reply(flows, admission, client);
                let (mapping, reply) = outside.map_source(key, range, &mut self.leasing, reply_to)?;
                (Some(mapping), reply)
            }
            Source::Kept(address) => (None, keep_source(flows, admission, address, self.leasing.random)?),
        };
        chains.count_first_packet(destination.rule, admission.rule, packet.ip.total_len);
        self.store(packet, admission, source, reply, inward);
        if let Some(flow) = displaced {
            self.lifecycle.displace(flow, self.leasing.now);
        }
        Ok(())
    }

    /// Everything is decided: stores the flow and lets its first packet through.
    #[inline]
    fn store(
        &mut self,
        packet: &mut NatPacket<'_>,
        admission: &Admission,
        source: Option<SourceMapping>,
        reply: Reply,
        destination: Option<Id>,
    ) {
        let Leasing { owner, now, .. } = self.leasing;
        let source = source.map(|source| self.lifecycle.outside.settle(source, owner));
        let mut flow = Flow::new(admission.original, reply.tuple);
        flow.note(Direction::Original, packet);
        let departing = flow.translated(Direction::Original);
        let (keys, mappings) = ([admission.key, reply.key], FlowMappings { source, destination });
        self.lifecycle.begin(flow, keys, mappings, owner, now);
        self.fragments.rewrite(packet, admission.original, departing, now);
    }
}

/// The mapping that [`destination`](super::lookahead::Lookahead::destination) found, if it found one.
///
/// # Errors
/// `NatUnsolicited`: it is gone.
fn inward_mapping(
    outside: &Outside,
    original: Tuple,
    destination: Destination,
) -> Result<Option<Id>, DropReason> {
    if !destination.mapped {
        return Ok(None);
    }
    let found = outside.find(original.protocol(), original.destination());
    let is_it =
        |inside: SocketAddrV4| *inside.ip() == destination.address && Some(inside.port()) == destination.port;
    let mapping = found.filter(|&(_, inside)| is_it(inside)).map(|(id, _)| id);
    mapping.ok_or(DropReason::NatUnsolicited).map(Some)
}

/// The flow's reply with the source port as it is; another one only if another flow looks the same from the other
/// side, as when two published ports lead to one server and a client uses one port for both.
fn keep_source(
    flows: &FlowTable,
    admission: &Admission,
    address: Ipv4Addr,
    random: &mut Random,
) -> Result<Reply, DropReason> {
    let ports = match admission.original.protocol() {
        protocol if has_ports_or_identifiers(protocol) => TRIES,
        _ => 0,
    };
    let mut port = admission.original.source_port();
    for _ in 0..=ports {
        if let Some(reply) = free_reply(flows, admission, SocketAddrV4::new(address, port)) {
            return Ok(reply);
        }
        port = random.between(1024, u16::MAX);
    }
    Err(DropReason::NatNoPorts)
}

/// The reply to `client`, unless a flow has this tuple already, in either direction.
fn free_reply(flows: &FlowTable, admission: &Admission, client: SocketAddrV4) -> Option<Reply> {
    let reply = match admission.reply {
        expected if expected.tuple.destination() == client => expected,
        _ => {
            let tuple = reply(admission.original, admission.server, client);
            Reply { tuple, key: flows.key(tuple) }
        }
    };
    let is_free = reply.tuple != admission.original && flows.find(reply.tuple, reply.key).is_none();
    is_free.then_some(reply)
}

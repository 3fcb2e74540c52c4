//! What is to become of a flow's first packet. Nothing is stored, leased or counted.

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{DropReason, Ipv4Packet, NetworkId, Protocol};

use crate::chains::decide::{self, NewDestination, NewSource};
use crate::chains::rule::PortRange;
use crate::chains::{Chains, decide::is_by_turns};
use crate::config::NatConfig;
use crate::flows::packet::may_start_flow;
use crate::flows::table::{FlowKey, FlowTable};
use crate::flows::tuple::{Tuple, has_ports_or_identifiers};
use crate::outside::Outside;
use crate::outside::explicit::UNSPECIFIED;
use crate::outside::mapping::{HashedKey, MappingKey};

/// Where a flow's first packet is to go after PREROUTING. To be handed on to
/// [`Nat::prepare`](crate::Nat::prepare).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The address to route by.
    pub address: Ipv4Addr,
    /// Whether that is a rule's doing, or a mapping's that lets the packet in.
    pub translated: bool,
    /// The port to send to, for protocols that have ports, if a rule or mapping changes it.
    pub(super) port: Option<u16>,
    /// Whether a mapping decided, not a rule.
    pub(super) mapped: bool,
    /// The deciding rule's place in the chain.
    pub(super) rule: Option<usize>,
}

/// What the rules make of a flow's first packet. To be handed on to [`Nat::admit`](crate::Nat::admit),
/// before rules or settings change.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Admission {
    pub(super) original: Tuple,
    pub(super) key: FlowKey,
    pub(super) destination: Destination,
    /// Who receives it.
    pub(super) server: SocketAddrV4,
    pub(super) source: Source,
    /// What is looked for first: the reply if the source port is kept.
    pub(super) reply: Reply,
    /// The deciding POSTROUTING rule's place in the chain.
    pub(super) rule: Option<usize>,
}

/// What is to become of the source.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// This address, with the port as it is if that can be.
    Kept(Ipv4Addr),
    /// The mapping with this key, or a new one with a port of this range. The number tells where it is
    /// found by its outside port, if that is the inside one.
    Mapped(HashedKey, Option<PortRange>, u64),
}

/// The tuple of packets that answer, and where it is to be found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub(super) tuple: Tuple,
    pub(super) key: FlowKey,
}

/// All that can be asked about first packets before they are admitted.
#[derive(Clone, Copy)]
pub(crate) struct Lookahead<'a> {
    pub(crate) config: &'a NatConfig,
    pub(crate) flows: &'a FlowTable,
    pub(crate) outside: &'a Outside,
    pub(crate) chains: &'a Chains,
}

impl Lookahead<'_> {
    pub(crate) fn destination(self, ip: &Ipv4Packet, input: NetworkId) -> Result<Destination, DropReason> {
        let unchanged =
            Destination { address: ip.dst, translated: false, port: None, mapped: false, rule: None };
        let Some(original) = Tuple::of(ip) else { return Ok(unchanged) };
        match self.chains.destination(self.config, ip, original, input)? {
            Some(NewDestination { rule, to: Some((address, port)) }) => {
                Ok(Destination { address, translated: true, port, mapped: false, rule: Some(rule) })
            }
            Some(NewDestination { rule, to: None }) => Ok(Destination { rule: Some(rule), ..unchanged }),
            None => {
                let (is_from_inside, settings) = (self.config.uplink(input).is_some(), &self.config.settings);
                let inside = self.outside.let_in(original, is_from_inside, settings.filtering);
                Ok(inside.map_or(unchanged, |inside| Destination {
                    address: *inside.ip(),
                    translated: true,
                    port: Some(inside.port()),
                    mapped: true,
                    rule: None,
                }))
            }
        }
    }

    pub(crate) fn is_settled(self, destination: Destination, ip: &Ipv4Packet) -> bool {
        match destination.rule {
            Some(rule) => !is_by_turns(self.config, rule),
            None => Tuple::of(ip).is_none_or(|original| !self.outside.may_let_in(original)),
        }
    }

    pub(crate) fn prepare(
        self,
        ip: &Ipv4Packet,
        key: FlowKey,
        destination: Destination,
        input: NetworkId,
        output: NetworkId,
    ) -> Result<Admission, DropReason> {
        let original = may_start_flow(ip)?;
        let server = server(original, destination);
        let (rule, source) = decide::source(self.config, original, server, input, output)?;
        let source = source.or_else(|| self.hairpin(original, destination, input, output));
        if !is_translatable(original.protocol(), source) {
            return Err(DropReason::NatProtocolUnsupported);
        }
        let address = match source {
            Some(NewSource::Shared(address, _) | NewSource::OneToOne(address)) => address,
            None => original.source_address(),
        };
        let client = SocketAddrV4::new(address, original.source_port());
        let source = match source {
            Some(NewSource::Shared(_, range)) => {
                let (behaviour, protocol) = (self.config.settings.mapping, original.protocol());
                let (inside, remote) = (original.source(), original.destination());
                let key = MappingKey::new(behaviour, protocol, inside, address, remote);
                let outside = self.outside.outside_hash(protocol, client);
                Source::Mapped(self.outside.hashed(key), range, outside)
            }
            _ => Source::Kept(address),
        };
        let reply = reply(original, server, client);
        let reply = Reply { tuple: reply, key: self.flows.key(reply) };
        Ok(Admission { original, key, destination, server, source, reply, rule })
    }

    /// Reads what [`admit`](super::admit) will read.
    pub(crate) fn look_ahead_new<'b>(self, admissions: impl Iterator<Item = &'b Admission> + Clone) {
        self.flows.look_ahead_reply(admissions.clone().map(|admission| admission.reply.key));
        self.outside.look_ahead(admissions.filter_map(|admission| match admission.source {
            Source::Mapped(key, _, outside) => Some((key, outside)),
            Source::Kept(_) => None,
        }));
    }

    /// The outside address that flows of `inside` to nobody in particular have, and the ports of it that
    /// they may have, where several hosts share it.
    pub(crate) fn shared(
        self,
        protocol: Protocol,
        inside: SocketAddrV4,
        input: NetworkId,
        output: NetworkId,
    ) -> Option<(Ipv4Addr, Option<PortRange>)> {
        let original = Tuple::new(protocol, inside, UNSPECIFIED);
        match decide::source(self.config, original, UNSPECIFIED, input, output) {
            Ok((_, Some(NewSource::Shared(address, range)))) => Some((address, range)),
            _ => None,
        }
    }

    /// The outside source of a packet that comes in again: as if it had been to the uplink and back. Without
    /// a rule for that, and where the reply would not pass here, it is the address that the packet was sent
    /// to.
    fn hairpin(
        self,
        original: Tuple,
        destination: Destination,
        input: NetworkId,
        output: NetworkId,
    ) -> Option<NewSource> {
        if !destination.translated {
            return None;
        }
        let uplink = |network| self.config.uplink(network);
        let outwards = || {
            let uplink = uplink(input).filter(|&of_input| uplink(output) == Some(of_input))?;
            decide::source(self.config, original, original.destination(), input, uplink).ok()?.1
        };
        let back = || (input == output).then(|| NewSource::Shared(original.destination_address(), None));
        outwards().or_else(back)
    }
}

/// Whether the translation is possible. Without ports, one outside address can't stand for several hosts.
fn is_translatable(protocol: Protocol, source: Option<NewSource>) -> bool {
    has_ports_or_identifiers(protocol) || !matches!(source, Some(NewSource::Shared(..)))
}

/// Who receives the flow's first packet.
fn server(original: Tuple, destination: Destination) -> SocketAddrV4 {
    let has_ports = original.protocol().has_ports();
    let port = destination.port.filter(|_| has_ports).unwrap_or(original.destination_port());
    SocketAddrV4::new(destination.address, port)
}

/// The tuple of packets that answer.
pub(super) fn reply(original: Tuple, server: SocketAddrV4, client: SocketAddrV4) -> Tuple {
    Tuple::new(original.protocol(), server, client)
}

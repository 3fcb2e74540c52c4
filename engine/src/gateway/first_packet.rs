//! The first packets of flows: rules and routes say where each goes, then NAT stores the flow.
//!
//! Rules and routes are asked about all first packets of a burst before the first of these is admitted, so that the memory
//! that admitting them takes is fetched together.

use nat_engine::{Admission, Destination, FlowKey, NatPacket};
use packet::{DropReason, Ipv4Packet, L4, Millis, NetworkId, PuntReason, Verdict};

use super::lookahead::FirstPacket;
use super::route::{Hop, Source};
use super::{Gateway, is_syn, unroutable};
use crate::runtime_config::Reach;

impl Gateway {
    /// Asks about those of a burst's packets whose bit is set in `unknown`.
    pub(super) fn prepare(&mut self, packets: &[(usize, Ipv4Packet)], unknown: u64, input: NetworkId) {
        let mut prepared = std::mem::take(&mut self.lookahead.first_packets);
        prepared.clear();
        if unknown != 0 {
            prepared.extend(packets.iter().zip(&self.lookahead.keys).enumerate().map(
                |(nth, ((_, ip), &key))| {
                    let is_unknown = unknown >> nth & 1 != 0;
                    is_unknown.then(|| self.first_packet(ip, key, input).ok()).flatten()
                },
            ));
            self.nat.look_ahead_new(prepared.iter().flatten().filter_map(FirstPacket::admission));
        }
        self.lookahead.first_packets = prepared;
    }

    /// The `nth` packet of the burst is the first one of its flow, which is stored if NAT has a part in it.
    #[cold]
    pub(super) fn admit(
        &mut self,
        packet: &mut NatPacket<'_>,
        nth: Option<usize>,
        input: NetworkId,
        now: Millis,
    ) -> Result<Hop, Verdict> {
        let prepared = self.lookahead.first_packet(nth);
        let first = match prepared.filter(|first| self.nat.is_settled(first.destination, packet.ip)) {
            Some(first) => first,
            None => self.first_packet(packet.ip, self.lookahead.key(nth), input)?,
        };
        match first.route {
            // Where a rule leads to, its author has allowed.
            Ok((hop, Some(_)))
                if hop.network != input
                    && !first.destination.translated
                    && !self.egress.allows(input, packet.ip.dst, now) =>
            {
                return Err(PuntReason::NotNamed.into());
            }
            Ok((hop, Some(admission))) => {
                let admitted = self.nat.admit(packet, admission, now);
                admitted.map_err(|reason| self.refusal(reason, input))?;
                return Ok(hop);
            }
            Ok((_, None)) => self.nat.pass_untranslated(packet.ip, now),
            Err(Verdict::Punt(PuntReason::ToSelf)) if !first.destination.translated => {
                self.nat.pass_untranslated(packet.ip, now);
            }
            Err(_) => {}
        }
        first.route.map(|(hop, _)| hop)
    }

    fn first_packet(&self, ip: &Ipv4Packet, key: FlowKey, input: NetworkId) -> Result<FirstPacket, Verdict> {
        // A rule could take it for somebody else's.
        if self.sockets.connected_to(ip).is_some() {
            Err(PuntReason::ToSelf)?;
        }
        let destination = self.nat.destination(ip, input).map_err(|reason| self.refusal(reason, input))?;
        Ok(FirstPacket { destination, route: self.first_route(ip, key, destination, input) })
    }

    fn first_route(
        &self,
        ip: &Ipv4Packet,
        key: FlowKey,
        destination: Destination,
        input: NetworkId,
    ) -> Result<(Hop, Option<Admission>), Verdict> {
        // A redirected packet ends here, like one that was sent here.
        let hop = if destination.translated && self.routes.owner_of(destination.address).is_none() {
            self.routes.lookup(Source::Translated(input), destination.address).map_err(unroutable)?
        } else {
            let route = self.route_plainly(destination.address, input);
            route.map_err(|verdict| self.unless_of_pool(verdict, ip, input))?
        };
        // It was sent to the switch itself, which a last hop may be, and is to go on.
        if ip.ttl <= 1 {
            Err(PuntReason::TtlExceeded)?;
        }
        let is_translated = |network| {
            self.interface(network).is_some_and(|interface| matches!(interface.reach, Reach::Translated(_)))
        };
        if !(destination.translated || is_translated(input) || is_translated(hop.network)) {
            return Ok((hop, None));
        }
        match self.nat.prepare(ip, key, destination, input, hop.network) {
            Ok(admission) => Ok((hop, Some(admission))),
            Err(reason) => Err(self.refusal(reason, input)),
        }
    }

    /// To an address that stands for guests comes in what they asked for; of all else strangers are told as little as about
    /// the switch's own.
    fn unless_of_pool(&self, verdict: Verdict, ip: &Ipv4Packet, input: NetworkId) -> Verdict {
        let is_own = verdict == PuntReason::ToSelf.into();
        if is_own || !self.is_outside(input) || !self.nat.rules().stands_for_others(ip.dst, input) {
            return verdict;
        }
        let is_syn = ip.l4 == L4::Tcp && is_syn(ip.tcp_flags);
        if is_syn { PuntReason::ToSelf.into() } else { DropReason::NatUnsolicited.into() }
    }

    /// What becomes of a packet that NAT refuses. Of those outside, only who asks for what is published is told.
    fn refusal(&self, reason: DropReason, input: NetworkId) -> Verdict {
        match reason {
            DropReason::NatNoServer => PuntReason::NoResources(reason).into(),
            DropReason::FlowTableFull
            | DropReason::NatShareUsed
            | DropReason::NatHostLimit
            | DropReason::NatNoPorts
                if !self.is_outside(input) =>
            {
                PuntReason::NoResources(reason).into()
            }
            _ => reason.into(),
        }
    }
}

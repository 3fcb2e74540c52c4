//! What the rules say of a flow's first packet. Nothing is stored, leased or counted.

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{DropReason, Ipv4Packet, NetworkId};

use crate::chains::Chains;
use crate::chains::rule::{Candidate, NatRule, PortRange, Target, netmap, pick_port, shift_port};
use crate::config::NatConfig;
use crate::flows::packet::may_start_flow;
use crate::flows::tuple::Tuple;

/// What the deciding PREROUTING rule says.
pub(crate) struct NewDestination {
    /// The rule's place in the chain.
    pub(crate) rule: usize,
    /// The address, and the port if it is another one; `None` leaves both.
    pub(crate) to: Option<(Ipv4Addr, Option<u16>)>,
}

/// What a POSTROUTING rule makes of the source.
#[derive(Clone, Copy)]
pub(crate) enum NewSource {
    /// This address, one port of which stands for the inside socket.
    Shared(Ipv4Addr, Option<PortRange>),
    /// This address, which is the inside host's alone.
    OneToOne(Ipv4Addr),
}

impl Chains {
    /// PREROUTING for a flow whose first packet, with the tuple `original`, comes from `input`; `None`: no rule
    /// matches.
    ///
    /// # Errors
    /// If the rule spreads flows over servers: `NatNoServer` if all are dead, or why the packet may not start a flow.
    pub(crate) fn destination(
        &self,
        config: &NatConfig,
        ip: &Ipv4Packet,
        original: Tuple,
        input: NetworkId,
    ) -> Result<Option<NewDestination>, DropReason> {
        let candidate = candidate(original, original.destination(), input, None);
        let Some(rule) = decide(&config.rules.prerouting, &candidate) else { return Ok(None) };
        let one_of = |range| pick_port(range, original.destination_port(), original.source_port());
        let to = match config.rules.prerouting[rule].target {
            Target::Dnat { addresses, ports, base } => {
                let port = ports.map(|range| match base {
                    Some(base) => shift_port(range, base, original.destination_port()),
                    None => one_of(range),
                });
                Some((addresses.pick(original.source_address()), port))
            }
            Target::Balance(ref balance) => {
                may_start_flow(ip)?;
                let turn = self.counters.flows_of(rule);
                let server = self.servers.pick(balance, original.protocol(), turn);
                let server = server.ok_or(DropReason::NatNoServer)?;
                Some((*server.ip(), Some(server.port())))
            }
            Target::Redirect { ports } => config.own_address(input).map(|own| (own, ports.map(one_of))),
            Target::Netmap(net) => Some((netmap(net, original.destination_address()), None)),
            Target::Accept | Target::Return | Target::Masquerade { .. } | Target::Snat { .. } => None,
        };
        Ok(Some(NewDestination { rule, to }))
    }
}

/// POSTROUTING for a flow whose first packet goes from `input` to `output`, where `to` receives it: the
/// deciding rule's place in the chain, and what it makes of the source; `None` leaves it.
///
/// # Errors
/// `NatNoAddress`: the switch has none on `output` that the source could become.
pub(crate) fn source(
    config: &NatConfig,
    original: Tuple,
    to: SocketAddrV4,
    input: NetworkId,
    output: NetworkId,
) -> Result<(Option<usize>, Option<NewSource>), DropReason> {
    let candidate = candidate(original, to, input, Some(output));
    let Some(rule) = decide(&config.rules.postrouting, &candidate) else { return Ok((None, None)) };
    let source = match config.rules.postrouting[rule].target {
        Target::Snat { addresses, ports } => {
            Some(NewSource::Shared(addresses.pick(original.source_address()), ports))
        }
        Target::Masquerade { ports } => {
            let own = config.own_address(output).ok_or(DropReason::NatNoAddress)?;
            Some(NewSource::Shared(own, ports))
        }
        Target::Netmap(net) => Some(NewSource::OneToOne(netmap(net, original.source_address()))),
        Target::Accept
        | Target::Return
        | Target::Dnat { .. }
        | Target::Redirect { .. }
        | Target::Balance(_) => None,
    };
    Ok((Some(rule), source))
}

/// Whether a PREROUTING rule may decide otherwise once other flows were admitted.
pub(crate) fn is_by_turns(config: &NatConfig, rule: usize) -> bool {
    config.rules.prerouting.get(rule).is_some_and(|rule| matches!(rule.target, Target::Balance(_)))
}

/// The first rule that matches.
fn decide(rules: &[NatRule], candidate: &Candidate) -> Option<usize> {
    rules.iter().position(|rule| rule.matches.holds(candidate))
}

fn candidate(original: Tuple, to: SocketAddrV4, input: NetworkId, output: Option<NetworkId>) -> Candidate {
    let has_ports = original.protocol().has_ports();
    Candidate {
        input,
        output,
        source: original.source_address(),
        destination: *to.ip(),
        protocol: original.protocol(),
        source_port: has_ports.then(|| original.source_port()),
        destination_port: has_ports.then(|| to.port()),
    }
}

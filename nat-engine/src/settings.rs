//! What a NAT does where the RFCs leave a choice.

use packet::Millis;

/// What a mapping, or its filter, depends on. RFC 4787, 4.1 and 5.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Behaviour {
    /// On the inside socket only.
    #[default]
    EndpointIndependent,
    /// On the remote address too.
    AddressDependent,
    /// On the remote address and port too.
    AddressAndPortDependent,
}

/// The choices. The defaults follow RFC 4787, 5382, 5508, 7857 and 6888.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NatSettings {
    /// Which packets of an inside socket leave by one outside port. Default endpoint-independent: RFC 4787 REQ-1 allows
    /// nothing else, and peer-to-peer connections fail with anything else.
    pub mapping: Behaviour,
    /// Whom a mapping lets in: anyone, or those that the inside socket has sent to by address, or by address and port.
    /// Default address-dependent, RFC 4787 REQ-8 and 5382 REQ-3. Hosts behind the same uplink are always let in.
    pub filtering: Behaviour,
    /// Whether an inside socket keeps its port outside where that is free. Default true. Without it every port is a random
    /// one, RFC 7857, 9.
    pub port_preservation: bool,
    /// Whether an even UDP port gets an even one outside, and an odd one an odd one, as long as there are. Default false, as
    /// RFC 7857, 8, allows: RTP no longer needs it, and it halves the choice.
    pub port_parity: bool,
    /// How long a port rests after its last flow, UDP and ICMP, so that a new owner doesn't get what was meant for the old
    /// one. Default 120 s, RFC 6888 REQ-8; TCP ports are watched to their end and don't need it. With zero they don't rest.
    pub quarantine: Millis,
    /// Ports that rest at most, over all outside addresses; beyond that the oldest returns early. Default 16 384, a quarter
    /// of one address.
    pub quarantine_limit: u32,
    /// Flows that an inside host may have, those from outside to its mappings among them. Default none: hosts share the table.
    pub host_flow_limit: Option<u32>,
    /// Outside ports and identifiers that an inside host may have. Default none.
    pub host_port_limit: Option<u32>,
    /// Outside ports that an inside host may get in a second, and at once. Default none.
    pub host_mapping_rate: Option<u32>,
    /// What a sender is told whose new flow finds no place.
    pub exhausted: Exhausted,
}

/// An ICMP destination unreachable message for a flow that finds no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Exhausted {
    /// Code 13, communication administratively prohibited. RFC 5508 REQ-8.
    #[default]
    Prohibited,
    /// Code 1, host unreachable. RFC 6888 REQ-11.
    HostUnreachable,
}

impl NatSettings {
    pub(crate) const fn limits_hosts(&self) -> bool {
        self.host_flow_limit.is_some() || self.host_port_limit.is_some() || self.host_mapping_rate.is_some()
    }
}

impl Default for NatSettings {
    fn default() -> Self {
        Self {
            mapping: Behaviour::EndpointIndependent,
            filtering: Behaviour::AddressDependent,
            port_preservation: true,
            port_parity: false,
            quarantine: Millis::from_secs(120),
            quarantine_limit: 16_384,
            host_flow_limit: None,
            host_port_limit: None,
            host_mapping_rate: None,
            exhausted: Exhausted::Prohibited,
        }
    }
}

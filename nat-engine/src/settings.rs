//! What a NAT does where the RFCs leave a choice.

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
}

impl Default for NatSettings {
    fn default() -> Self {
        Self { mapping: Behaviour::EndpointIndependent, filtering: Behaviour::AddressDependent }
    }
}

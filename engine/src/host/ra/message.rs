//! Router advertisements as bytes. RFC 4861 4.2, RFC 8106, RFC 4191.

use std::net::Ipv6Addr;

use packet::builder::eth;
use packet::{Ipv6Cidr, MacAddr, icmp6};

use crate::gateway::v6::Interface6;
use crate::host::wire6::{SOURCE, encoded_name, link_layer_address};
use crate::runtime_config::RaConfig;

/// What an advertisement says.
#[derive(Clone, Debug)]
pub(super) struct Advertisement {
    /// How long the switch is a way to elsewhere, in seconds; 0: it is none.
    pub lifetime: u16,
    pub prefixes: Vec<Prefix>,
    /// Prefixes of other networks that the switch is the way to.
    pub routes: Vec<Ipv6Cidr>,
    /// How long these, name servers and domain hold, in seconds.
    pub rest_lifetime: u32,
}

/// A prefix of the network, with lifetimes in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefix {
    pub prefix: Ipv6Cidr,
    pub valid: u32,
    pub preferred: u32,
}

impl Advertisement {
    /// The frame, to be sent to `to` at `station`.
    pub(super) fn frame(
        &self,
        interface: &Interface6,
        config: &RaConfig,
        to: Ipv6Addr,
        station: MacAddr,
    ) -> Vec<u8> {
        // There is no DHCPv6 server, so the flags that name one are clear.
        let first = u32::from_be_bytes([HOPS, 0, (self.lifetime >> 8) as u8, self.lifetime as u8]);
        let mut body = vec![0; 8];
        body.extend_from_slice(&link_layer_address(SOURCE, interface.mac));
        body.extend_from_slice(&[MTU, 1, 0, 0]);
        body.extend_from_slice(&u32::from(interface.mtu).to_be_bytes());
        self.prefixes.iter().for_each(|prefix| prefix.write(&mut body));
        self.routes.iter().for_each(|&route| write_route(route, self.rest_lifetime, &mut body));
        self.write_names(config, &mut body);
        let frame = eth().src(interface.mac).dst(station).ipv6(interface.link_local, to).hop_limit(u8::MAX);
        frame.icmp6(icmp6::ROUTER_ADVERTISEMENT, 0, first).payload(&body)
    }

    /// Name servers, and the domain that names are looked up in. RFC 8106, 5.1 and 5.2.
    fn write_names(&self, config: &RaConfig, body: &mut Vec<u8>) {
        if !config.dns.is_empty() {
            body.extend_from_slice(&[RDNSS, 1 + 2 * config.dns.len() as u8, 0, 0]);
            body.extend_from_slice(&self.rest_lifetime.to_be_bytes());
            config.dns.iter().for_each(|server| body.extend_from_slice(&server.octets()));
        }
        if let Some(domain) = &config.domain {
            let mut name = encoded_name(domain);
            name.resize(name.len().next_multiple_of(8), 0);
            body.extend_from_slice(&[DNSSL, 1 + (name.len() / 8) as u8, 0, 0]);
            body.extend_from_slice(&self.rest_lifetime.to_be_bytes());
            body.extend_from_slice(&name);
        }
    }
}

impl Prefix {
    /// RFC 4861, 4.6.2. Hosts make addresses of prefixes of 64 bits only: RFC 2464, 4.
    fn write(&self, body: &mut Vec<u8>) {
        let flags = if self.prefix.prefix_len() == 64 { ON_LINK | AUTONOMOUS } else { ON_LINK };
        body.extend_from_slice(&[PREFIX, 4, self.prefix.prefix_len(), flags]);
        body.extend_from_slice(&self.valid.to_be_bytes());
        body.extend_from_slice(&self.preferred.to_be_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&self.prefix.network().octets());
    }
}

/// RFC 4191, 2.3.
fn write_route(route: Ipv6Cidr, lifetime: u32, body: &mut Vec<u8>) {
    let bytes = usize::from(route.prefix_len()).div_ceil(64) * 8;
    body.extend_from_slice(&[ROUTE, 1 + (bytes / 8) as u8, route.prefix_len(), 0]);
    body.extend_from_slice(&lifetime.to_be_bytes());
    body.extend_from_slice(&route.network().octets()[..bytes]);
}

/// The hop limit that hosts are to use.
const HOPS: u8 = 64;
/// Options, by their RFCs as above.
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const ROUTE: u8 = 24;
const RDNSS: u8 = 25;
const DNSSL: u8 = 31;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4191_a_route_takes_as_many_bytes_as_its_prefix() {
        for (route, len) in [("::/0", 8), ("fd00::/48", 16), ("fd00::/64", 16), ("fd00::1/128", 24)] {
            let mut body = Vec::new();
            write_route(route.parse().unwrap(), 1800, &mut body);
            assert_eq!((body.len(), usize::from(body[1]) * 8), (len, len), "{route}");
        }
    }
}

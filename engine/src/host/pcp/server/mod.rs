//! A server by which guests open ports of the uplink for themselves, without I/O: the Port Control Protocol, RFC 6887, and
//! its predecessor NAT-PMP, RFC 6886.
//!
//! ```text
//! ANNOUNCE            ─▶ the epoch: whether the server has forgotten its mappings since
//! MAP, lifetime > 0   ─▶ a port, for 2 minutes to 24 hours
//! MAP, lifetime = 0   ─▶ none any more
//! PEER                ─▶ UNSUPP_OPCODE: a flow's own packets do what it would do
//! ```
//!
//! A host may speak for itself only, and change only what it can name the nonce of.

mod message;

use std::net::{Ipv4Addr, SocketAddrV4};

use nat_engine::{MappingRefused, MappingRequest, Nat};
use packet::{DropReason, Millis, NetworkId, Protocol};

use self::message::{Code, Map, PmpMap, Request, granted, pmp, present, refusal};

/// Who asks, and where its flows go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub address: Ipv4Addr,
    /// The network that it is in.
    pub input: NetworkId,
    /// The uplink of that network.
    pub output: NetworkId,
}

/// Answers a datagram to port 5351. `epoch` is the time since the NAT was empty.
///
/// # Errors
/// `BadPcp`: there is nothing to be answered.
pub(crate) fn answer(
    message: &[u8],
    client: Client,
    nat: &mut Nat,
    epoch: Millis,
    now: Millis,
) -> Result<Vec<u8>, DropReason> {
    let epoch = u32::try_from(epoch.as_secs()).unwrap_or(u32::MAX);
    Ok(match Request::parse(message, client.address)? {
        Request::Announce => present(epoch),
        Request::Map { map, lifetime, exactly } => {
            match answer_map(&map, lifetime, exactly, client, nat, now) {
                Ok((map, lifetime)) => granted(&map, exactly, lifetime, epoch),
                Err((code, lifetime)) => refusal(message, code, lifetime, epoch),
            }
        }
        Request::PmpAddress => {
            let inside = SocketAddrV4::new(client.address, 0);
            match nat.outside_address(Protocol::UDP, inside, client.input, client.output) {
                Some(address) => pmp(0, PMP_SUCCESS, epoch, &[&address.octets()]),
                None => pmp(0, PMP_NOT_AUTHORIZED, epoch, &[&[0; 4]]),
            }
        }
        Request::PmpMap(map) => answer_pmp_map(&map, client, nat, epoch, now),
        Request::Refused(code) => refusal(message, code, lifetime_of(code), epoch),
    })
}

/// The mapping with what was assigned, and its time in seconds; or what the client is told, and for how many seconds that
/// stays true.
fn answer_map(
    map: &Map,
    lifetime: u32,
    exactly: bool,
    client: Client,
    nat: &mut Nat,
    now: Millis,
) -> Result<(Map, u32), (Code, u32)> {
    let inside = SocketAddrV4::new(client.address, map.inside_port.get());
    let protocol = Protocol(map.protocol);
    let refused = |refused| match refused {
        MappingRefused::NotOwner(rest) => (Code::NotAuthorized, seconds(rest)),
        other => (code_of(other), lifetime_of(code_of(other))),
    };
    // All protocols, or all ports: RFC 6887, 11.1.
    match (map.protocol, inside.port(), lifetime) {
        (0, 1.., _) => return Err((Code::Malformed, lifetime_of(Code::Malformed))),
        (0, _, 1..) | (_, 0, 1..) => Err(refused(MappingRefused::Protocol))?,
        (0, _, 0) => {
            for protocol in [Protocol::TCP, Protocol::UDP] {
                nat.unmap(protocol, inside, map.nonce, now).map_err(refused)?;
            }
            return Ok((*map, 0));
        }
        (_, _, 0) => {
            nat.unmap(protocol, inside, map.nonce, now).map_err(refused)?;
            return Ok((*map, 0));
        }
        _ => {}
    }
    let lifetime = lifetime.clamp(SHORTEST, LONGEST);
    let request = MappingRequest {
        protocol,
        inside,
        wanted: SocketAddrV4::new(map.outside(), map.outside_port.get()),
        exactly,
        owner: map.nonce,
        lifetime: Millis::from_secs(lifetime.into()),
    };
    let mapping = nat.map(&request, client.input, client.output, now).map_err(refused)?;
    Ok((map.assigned(*mapping.outside.ip(), mapping.outside.port()), lifetime))
}

fn answer_pmp_map(map: &PmpMap, client: Client, nat: &mut Nat, epoch: u32, now: Millis) -> Vec<u8> {
    let protocol = if map.opcode == 1 { Protocol::UDP } else { Protocol::TCP };
    let inside = SocketAddrV4::new(client.address, map.inside_port.get());
    let done = match (map.lifetime.get(), inside.port()) {
        (0, _) => nat.unmap(protocol, inside, PMP_OWNER, now).map(|()| (0, 0)),
        (_, 0) => Err(MappingRefused::Protocol),
        (lifetime, _) => {
            let lifetime = lifetime.clamp(SHORTEST, LONGEST);
            let request = MappingRequest {
                protocol,
                inside,
                wanted: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, map.outside_port.get()),
                exactly: false,
                owner: PMP_OWNER,
                lifetime: Millis::from_secs(lifetime.into()),
            };
            let mapping = nat.map(&request, client.input, client.output, now);
            mapping.map(|mapping| (mapping.outside.port(), lifetime))
        }
    };
    let (result, port, lifetime) = match done {
        Ok((port, lifetime)) => (PMP_SUCCESS, port, lifetime),
        Err(MappingRefused::NoPorts | MappingRefused::HostLimit | MappingRefused::ShareUsed) => {
            (PMP_NO_RESOURCES, 0, 0)
        }
        Err(_) => (PMP_NOT_AUTHORIZED, 0, 0),
    };
    let rest = [map.inside_port.get().to_be_bytes(), port.to_be_bytes()].concat();
    pmp(map.opcode, result, epoch, &[&rest, &lifetime.to_be_bytes()])
}

fn code_of(refused: MappingRefused) -> Code {
    match refused {
        MappingRefused::NotOwner(_) | MappingRefused::NotTranslated => Code::NotAuthorized,
        MappingRefused::Protocol => Code::UnsupportedProtocol,
        MappingRefused::Taken => Code::CannotProvideExternal,
        MappingRefused::NoPorts => Code::NoResources,
        MappingRefused::HostLimit | MappingRefused::ShareUsed => Code::Quota,
    }
}

/// How long a client should take this for an answer, in seconds. RFC 6887, 7.4.
const fn lifetime_of(code: Code) -> u32 {
    match code {
        Code::NoResources | Code::Quota | Code::CannotProvideExternal => 30,
        _ => 1800,
    }
}

/// Rounded up: a mapping that is there has some time left.
const fn seconds(rest: Millis) -> u32 {
    rest.get().div_ceil(1000) as u32
}

/// RFC 6887, 19.
pub(crate) const PCP_SERVER_PORT: u16 = 5351;
/// RFC 6887, 15: in seconds.
const SHORTEST: u32 = 120;
/// RFC 6887, 15: in seconds.
const LONGEST: u32 = 86_400;
/// NAT-PMP has no nonces: its mappings are those of whoever has the address.
const PMP_OWNER: [u8; 12] = [0; 12];
const PMP_SUCCESS: u16 = 0;
const PMP_NOT_AUTHORIZED: u16 = 2;
const PMP_NO_RESOURCES: u16 = 4;

#[cfg(test)]
mod tests;

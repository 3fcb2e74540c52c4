//! The messages on the wire: PCP, RFC 6887, 7 and 11, and NAT-PMP, RFC 6886, 3, which share port and first bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use packet::DropReason;
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// RFC 6887, 7: "no larger than 1100 octets".
const LONGEST: usize = 1100;
/// The bit of the opcode that tells answers from requests.
const ANSWER: u8 = 0x80;

/// PCP's common header, 24 bytes. RFC 6887, 7.1 and 7.2.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
struct Header {
    version: u8,
    opcode: u8,
    reserved: u8,
    /// Answers only.
    result: u8,
    /// Seconds.
    lifetime: U32,
    /// The client's address; in answers the epoch (4 bytes) and zeros.
    client: [u8; 16],
}

/// What follows it for MAP, 36 bytes. RFC 6887, 11.1.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Map {
    pub nonce: [u8; 12],
    pub protocol: u8,
    reserved: [u8; 3],
    pub inside_port: U16,
    /// Wanted in requests, assigned in answers.
    pub outside_port: U16,
    outside: [u8; 16],
}

/// NAT-PMP's request for a mapping, 12 bytes. RFC 6886, 3.3.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct PmpMap {
    version: u8,
    pub opcode: u8,
    reserved: U16,
    pub inside_port: U16,
    pub outside_port: U16,
    /// Seconds.
    pub lifetime: U32,
}

/// What a PCP request is told. RFC 6887, 7.4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Code {
    Success = 0,
    UnsupportedVersion = 1,
    NotAuthorized = 2,
    Malformed = 3,
    UnsupportedOpcode = 4,
    UnsupportedOption = 5,
    MalformedOption = 6,
    NoResources = 8,
    UnsupportedProtocol = 9,
    Quota = 10,
    CannotProvideExternal = 11,
    AddressMismatch = 12,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request {
    /// RFC 6887, 14.1.3: whether the server is there.
    Announce,
    Map {
        map: Map,
        lifetime: u32,
        exactly: bool,
    },
    PmpAddress,
    PmpMap(PmpMap),
    /// Understood as far as that it must be told so.
    Refused(Code),
}

impl Request {
    /// Reads a datagram from `client`.
    ///
    /// # Errors
    /// `BadPcp`: there is nobody to be answered.
    pub(super) fn parse(message: &[u8], client: Ipv4Addr) -> Result<Self, DropReason> {
        match *message {
            [_, opcode, ..] if opcode & ANSWER != 0 => Err(DropReason::BadPcp),
            [0, 0] => Ok(Self::PmpAddress),
            [0, 1 | 2, ..] => match PmpMap::read_from_bytes(message) {
                Ok(map) => Ok(Self::PmpMap(map)),
                Err(_) => Err(DropReason::BadPcp),
            },
            [2, _, ..] => Ok(Self::parse_pcp(message, client).unwrap_or_else(Self::Refused)),
            [_, _, ..] => Ok(Self::Refused(Code::UnsupportedVersion)),
            _ => Err(DropReason::BadPcp),
        }
    }

    fn parse_pcp(message: &[u8], client: Ipv4Addr) -> Result<Self, Code> {
        if message.len() > LONGEST || !message.len().is_multiple_of(4) {
            return Err(Code::Malformed);
        }
        let (header, rest) = Header::read_from_prefix(message).map_err(|_| Code::Malformed)?;
        if header.client != client.to_ipv6_mapped().octets() {
            return Err(Code::AddressMismatch);
        }
        match header.opcode {
            0 => exactly(rest, false).map(|_| Self::Announce),
            1 => {
                let (map, options) = Map::read_from_prefix(rest).map_err(|_| Code::Malformed)?;
                Ok(Self::Map { map, lifetime: header.lifetime.get(), exactly: exactly(options, true)? })
            }
            _ => Err(Code::UnsupportedOpcode),
        }
    }
}

/// Walks the options: whether PREFER_FAILURE is among them, the only one that is understood. RFC 6887, 7.3 and 13.2.
fn exactly(mut options: &[u8], is_map: bool) -> Result<bool, Code> {
    let mut prefer_failure = false;
    while let [code, _, high, low, rest @ ..] = options {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        options = rest.get(len.next_multiple_of(4)..).ok_or(Code::MalformedOption)?;
        match code {
            2 if len != 0 || prefer_failure || !is_map => return Err(Code::MalformedOption),
            2 => prefer_failure = true,
            // Those from 128 on may be passed over.
            0..128 => return Err(Code::UnsupportedOption),
            _ => {}
        }
    }
    Ok(prefer_failure)
}

impl Map {
    /// The address that is wanted outside; unspecified if it isn't one of IPv4.
    pub(super) fn outside(&self) -> Ipv4Addr {
        Ipv6Addr::from(self.outside).to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    pub(super) fn assigned(self, address: Ipv4Addr, port: u16) -> Self {
        Self { outside: address.to_ipv6_mapped().octets(), outside_port: port.into(), ..self }
    }
}

/// The answer to a PCP request that was refused: the request itself, but for its header.
pub(super) fn refusal(request: &[u8], code: Code, lifetime: u32, epoch: u32) -> Vec<u8> {
    let opcode = request.get(1).copied().unwrap_or_default();
    let mut answer = header(opcode, code, lifetime, epoch);
    answer.extend(request.iter().take(LONGEST).skip(answer.len()));
    answer.resize(answer.len().next_multiple_of(4), 0);
    answer
}

/// The answer to an announcement.
pub(super) fn present(epoch: u32) -> Vec<u8> {
    header(0, Code::Success, 0, epoch)
}

/// The answer to a request for a mapping that is granted.
pub(super) fn granted(map: &Map, exactly: bool, lifetime: u32, epoch: u32) -> Vec<u8> {
    let mut answer = header(1, Code::Success, lifetime, epoch);
    answer.extend_from_slice(map.as_bytes());
    if exactly {
        answer.extend_from_slice(&[2, 0, 0, 0]);
    }
    answer
}

fn header(opcode: u8, code: Code, lifetime: u32, epoch: u32) -> Vec<u8> {
    let mut client = [0; 16];
    client[..4].copy_from_slice(&epoch.to_be_bytes());
    let header = Header {
        version: 2,
        opcode: opcode | ANSWER,
        reserved: 0,
        result: code as u8,
        lifetime: lifetime.into(),
        client,
    };
    header.as_bytes().to_vec()
}

/// NAT-PMP's answer: what every one begins with, and `rest`. RFC 6886, 3.5 has the results.
pub(super) fn pmp(opcode: u8, result: u16, epoch: u32, rest: &[&[u8]]) -> Vec<u8> {
    let head = [&[0, opcode | ANSWER][..], &result.to_be_bytes(), &epoch.to_be_bytes()];
    [head.concat(), rest.concat()].concat()
}

//! Requests of the front-end. QEMU's docs/interop/vhost-user, "Front-end message types"; all little-endian here.
//!
//! ```text
//! request:32  flags:32  size:32  payload [size]      file descriptors travel beside the bytes
//!             └ version 1:2, reply:1, wants a reply:1
//! ```

use crate::port::vhost::keeper::GuestFd;
use crate::port::vhost::memory_table::RegionAddress;
use crate::port::vhost::violation::Violation;

pub(super) const HEADER_LEN: usize = 12;

/// The longest payload of a request that is agreed on: eight memory regions.
pub(super) const MAX_PAYLOAD: usize = 8 + MAX_TABLE_REGIONS * REGION_LEN;

/// File descriptors of a request at most: one per region.
pub(super) const MAX_DESCRIPTORS: usize = MAX_TABLE_REGIONS;

/// The head of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// Which request.
    pub request: u32,
    flags: u32,
    /// Length of the payload that follows, at most [`MAX_PAYLOAD`].
    pub size: usize,
}

impl Header {
    /// Checks the head of a message.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, Violation> {
        let [request, flags, size] = words(bytes);
        if flags & (VERSION_MASK | REPLY) != VERSION {
            return Err(Violation::BadVersion(flags));
        }
        match usize::try_from(size) {
            Ok(len) if len <= MAX_PAYLOAD => Ok(Self { request, flags, size: len }),
            _ => Err(Violation::WrongSize { request, size }),
        }
    }

    /// Whether a reply is asked for that the request doesn't have by itself.
    pub const fn wants_reply(self) -> bool {
        self.flags & NEED_REPLY != 0
    }
}

/// What the front-end wants.
#[derive(Debug)]
pub(super) enum Request {
    Features,
    SetFeatures(u64),
    SetOwner,
    ResetOwner,
    SetMemoryTable(Vec<(RegionAddress, GuestFd)>),
    SetRingSize {
        ring: u32,
        size: u32,
    },
    SetRingAddress {
        ring: u32,
        address: RingAddress,
    },
    SetRingBase {
        ring: u32,
        base: u32,
    },
    RingBase {
        ring: u32,
    },
    SetKick {
        ring: u32,
        eventfd: Option<GuestFd>,
    },
    SetCall {
        ring: u32,
        eventfd: Option<GuestFd>,
    },
    /// The descriptor is of no use here: who breaks a ring loses the connection.
    SetError,
    ProtocolFeatures,
    SetProtocolFeatures(u64),
    QueueCount,
    EnableRing {
        ring: u32,
        enable: bool,
    },
    ResetDevice,
    MemorySlotCount,
    AddRegion(RegionAddress, GuestFd),
    RemoveRegion(RegionAddress),
}

/// Where the parts of a ring are, in the front-end's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RingAddress {
    pub descriptors: u64,
    pub used: u64,
    pub available: u64,
}

impl Request {
    /// Checks a request's payload and descriptors.
    pub fn parse(header: Header, payload: &[u8], fds: Vec<GuestFd>) -> Result<Self, Violation> {
        let Header { request, .. } = header;
        let wrong_size = Violation::WrongSize { request, size: payload.len() as u32 };
        let number = || payload.try_into().map(u64::from_le_bytes).map_err(|_| wrong_size);
        let state = || payload.try_into().map(|payload: &[u8; 8]| words(payload)).map_err(|_| wrong_size);
        let mut fds = Fds { request, fds };
        let parsed = match request {
            GET_FEATURES => Self::Features,
            SET_FEATURES => Self::SetFeatures(number()?),
            SET_OWNER => Self::SetOwner,
            RESET_OWNER => Self::ResetOwner,
            SET_MEM_TABLE => Self::SetMemoryTable(memory_table(payload, fds.all()).ok_or(wrong_size)??),
            SET_VRING_NUM => state().map(|[ring, size]| Self::SetRingSize { ring, size })?,
            SET_VRING_ADDR => {
                let [ring, _flags, rest @ ..] = words::<10, 40>(payload.try_into().map_err(|_| wrong_size)?);
                Self::SetRingAddress { ring, address: ring_address(rest) }
            }
            SET_VRING_BASE => state().map(|[ring, base]| Self::SetRingBase { ring, base })?,
            GET_VRING_BASE => state().map(|[ring, _]| Self::RingBase { ring })?,
            SET_VRING_KICK => {
                let (ring, eventfd) = fds.of_ring(number()?)?;
                Self::SetKick { ring, eventfd }
            }
            SET_VRING_CALL => {
                let (ring, eventfd) = fds.of_ring(number()?)?;
                Self::SetCall { ring, eventfd }
            }
            SET_VRING_ERR => fds.of_ring(number()?).map(|_| Self::SetError)?,
            GET_PROTOCOL_FEATURES => Self::ProtocolFeatures,
            SET_PROTOCOL_FEATURES => Self::SetProtocolFeatures(number()?),
            GET_QUEUE_NUM => Self::QueueCount,
            SET_VRING_ENABLE => {
                state().map(|[ring, enable]| Self::EnableRing { ring, enable: enable != 0 })?
            }
            RESET_DEVICE => Self::ResetDevice,
            GET_MAX_MEM_SLOTS => Self::MemorySlotCount,
            ADD_MEM_REG => Self::AddRegion(single_region(payload).ok_or(wrong_size)?, fds.one()?),
            // Some front-ends send the descriptor here too.
            REM_MEM_REG => {
                fds.fds.truncate(fds.fds.len().saturating_sub(1));
                Self::RemoveRegion(single_region(payload).ok_or(wrong_size)?)
            }
            _ => return Err(Violation::UnknownRequest(request)),
        };
        fds.none_left().map(|()| parsed)
    }
}

/// The descriptors that came with a request.
struct Fds {
    request: u32,
    fds: Vec<GuestFd>,
}

impl Fds {
    fn wrong(&self) -> Violation {
        Violation::WrongDescriptors { request: self.request, count: self.fds.len() }
    }

    fn all(&mut self) -> Vec<GuestFd> {
        std::mem::take(&mut self.fds)
    }

    fn one(&mut self) -> Result<GuestFd, Violation> {
        self.fds.pop().ok_or_else(|| self.wrong())
    }

    /// A ring's number and its eventfd, unless the message says that there is none.
    fn of_ring(&mut self, number: u64) -> Result<(u32, Option<GuestFd>), Violation> {
        let ring = (number & RING_MASK) as u32;
        Ok((ring, if number & NO_EVENTFD == 0 { Some(self.one()?) } else { None }))
    }

    fn none_left(self) -> Result<(), Violation> {
        if self.fds.is_empty() { Ok(()) } else { Err(self.wrong()) }
    }
}

/// A reply to `request`.
pub(super) fn reply(request: u32, payload: &[u8]) -> Vec<u8> {
    message(request, VERSION | REPLY, payload)
}

/// A request as a front-end sends it.
#[cfg(feature = "testing")]
pub(super) fn request(request: u32, payload: &[u8]) -> Vec<u8> {
    message(request, VERSION, payload)
}

fn message(request: u32, flags: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
    for word in [request, flags, payload.len() as u32] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// `None` if the size is wrong, an error if there is not one descriptor per region.
fn memory_table(
    payload: &[u8],
    fds: Vec<GuestFd>,
) -> Option<Result<Vec<(RegionAddress, GuestFd)>, Violation>> {
    let (head, regions) = payload.split_first_chunk::<8>()?;
    let [count, _padding] = words(head);
    let count = usize::try_from(count).ok().filter(|&count| count <= MAX_TABLE_REGIONS)?;
    let regions = regions.get(..count * REGION_LEN)?.chunks_exact(REGION_LEN);
    if fds.len() != count {
        return Some(Err(Violation::WrongDescriptors { request: SET_MEM_TABLE, count: fds.len() }));
    }
    regions.map(region).zip(fds).map(|(region, fd)| Some((region?, fd))).collect::<Option<_>>().map(Ok)
}

/// A region behind eight bytes of padding.
fn single_region(payload: &[u8]) -> Option<RegionAddress> {
    payload.split_first_chunk::<8>().and_then(|(_padding, bytes)| region(bytes))
}

fn region(bytes: &[u8]) -> Option<RegionAddress> {
    let [guest, len, user, file_offset] = double_words(words::<8, REGION_LEN>(bytes.try_into().ok()?));
    Some(RegionAddress { guest, len, user, file_offset })
}

/// The address of the log, which is not offered, is the last word.
fn ring_address(rest: [u32; 8]) -> RingAddress {
    let [descriptors, used, available, _log] = double_words(rest);
    RingAddress { descriptors, used, available }
}

fn words<const N: usize, const BYTES: usize>(bytes: &[u8; BYTES]) -> [u32; N] {
    const { assert!(N * 4 == BYTES, "a word has four bytes") };
    let word =
        |index: usize| bytes[index * 4..index * 4 + 4].iter().rfold(0, |w, &byte| w << 8 | u32::from(byte));
    std::array::from_fn(word)
}

fn double_words(words: [u32; 8]) -> [u64; 4] {
    std::array::from_fn(|index| u64::from(words[index * 2]) | u64::from(words[index * 2 + 1]) << 32)
}

const GET_FEATURES: u32 = 1;
pub(super) const SET_FEATURES: u32 = 2;
const SET_OWNER: u32 = 3;
const RESET_OWNER: u32 = 4;
pub(super) const SET_MEM_TABLE: u32 = 5;
pub(super) const SET_VRING_NUM: u32 = 8;
pub(super) const SET_VRING_ADDR: u32 = 9;
const SET_VRING_BASE: u32 = 10;
const GET_VRING_BASE: u32 = 11;
pub(super) const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;
const SET_VRING_ERR: u32 = 14;
const GET_PROTOCOL_FEATURES: u32 = 15;
const SET_PROTOCOL_FEATURES: u32 = 16;
const GET_QUEUE_NUM: u32 = 17;
const SET_VRING_ENABLE: u32 = 18;
const RESET_DEVICE: u32 = 34;
const GET_MAX_MEM_SLOTS: u32 = 36;
const ADD_MEM_REG: u32 = 37;
const REM_MEM_REG: u32 = 38;

const VERSION_MASK: u32 = 3;
const VERSION: u32 = 1;
const REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;
const RING_MASK: u64 = 0xff;
const NO_EVENTFD: u64 = 1 << 8;
const REGION_LEN: usize = 32;
/// Regions in one message: the protocol's limit. With CONFIGURE_MEM_SLOTS there can be more, one message each.
const MAX_TABLE_REGIONS: usize = 8;

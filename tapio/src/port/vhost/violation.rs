//! What a front-end or a guest can do wrong.

use std::fmt;

use rustix::io::Errno;

pub use crate::port::vhost::budget::Kind;

/// How a front-end or its guest broke the vhost-user protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    // Messages.
    BadVersion(u32),
    UnknownRequest(u32),
    WrongSize { request: u32, size: u32 },
    WrongDescriptors { request: u32, count: usize },
    TooManyDescriptors,
    NotAnEventfd,
    FeatureNotOffered(u64),
    NoSuchRing(u32),
    BadRingSize(u32),
    KickMissing(u32),
    RingRuns(u32),
    RepliesNotTaken,
    // Memory.
    TooManyRegions,
    RegionTooLarge(u64),
    NotMemory,
    BeyondShare(Kind),
    RegionsOverlap,
    NoSuchRegion,
    CannotMap(Errno),
    RingOutsideMemory(u32),
    MemoryCutShort,
    // Rings.
    AvailableIndexJumped,
    HeadOutsideTable(u16),
    DescriptorOutsideTable(u16),
    DescriptorLoop,
    BadIndirectTable,
    IndirectInIndirect,
    WrongDirection,
    BufferTooLong,
    BufferOutsideMemory { address: u64, len: u32 },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadVersion(flags) => write!(f, "a message that is not of version 1 (flags {flags:#x})"),
            Self::UnknownRequest(request) => write!(f, "request {request}, which was not agreed on"),
            Self::WrongSize { request, size } => write!(f, "request {request} with a size of {size} bytes"),
            Self::WrongDescriptors { request, count } => {
                write!(f, "request {request} with {count} file descriptors")
            }
            Self::TooManyDescriptors => f.write_str("more file descriptors than any request has"),
            Self::NotAnEventfd => f.write_str("a kick or call descriptor that is not an eventfd"),
            Self::FeatureNotOffered(features) => write!(f, "features that were not offered: {features:#x}"),
            Self::NoSuchRing(ring) => write!(f, "ring {ring}, which does not exist"),
            Self::BadRingSize(size) => write!(f, "a ring of {size} entries"),
            Self::KickMissing(ring) => write!(f, "ring {ring} comes without a descriptor for kicks"),
            Self::RingRuns(ring) => write!(f, "ring {ring} was changed while it ran"),
            Self::RepliesNotTaken => f.write_str("replies are not read"),
            Self::TooManyRegions => f.write_str("more memory regions than the switch takes"),
            Self::RegionTooLarge(len) => write!(f, "a memory region of {len} bytes"),
            Self::NotMemory => f.write_str(NOT_MEMORY),
            Self::BeyondShare(kind) => f.write_str(beyond_share(kind)),
            Self::RegionsOverlap => f.write_str("memory regions that overlap"),
            Self::NoSuchRegion => f.write_str("a memory region was removed that is not there"),
            Self::CannotMap(Errno::OVERFLOW) => f.write_str("a memory region that is longer than its file"),
            Self::CannotMap(errno) => write!(f, "a memory region that cannot be mapped: {errno}"),
            Self::RingOutsideMemory(ring) => {
                write!(f, "ring {ring} is outside the shared memory, or misaligned")
            }
            Self::MemoryCutShort => f.write_str("shared memory disappeared while in use"),
            Self::AvailableIndexJumped => f.write_str("more buffers are available than the ring has"),
            Self::HeadOutsideTable(head) => {
                write!(f, "a buffer starts at descriptor {head}, outside the ring")
            }
            Self::DescriptorOutsideTable(next) => {
                write!(f, "a descriptor's successor is {next}, outside its table")
            }
            Self::DescriptorLoop => f.write_str("a chain of descriptors that does not end"),
            Self::BadIndirectTable => {
                f.write_str("an indirect table of a wrong size, or outside the shared memory")
            }
            Self::IndirectInIndirect => f.write_str("an indirect table within an indirect table"),
            Self::WrongDirection => {
                f.write_str("a buffer is readable where it must be writable, or the other way round")
            }
            Self::BufferTooLong => f.write_str("a buffer of 4 GiB or more"),
            Self::BufferOutsideMemory { address, len } => {
                write!(f, "a buffer of {len} bytes at {address:#x}, outside the shared memory")
            }
        }
    }
}

const NOT_MEMORY: &str = "memory that is a file on a disk, or of something else than tmpfs and hugetlbfs; \
     give QEMU memory-backend-memfd,share=on";

const fn beyond_share(kind: Kind) -> &'static str {
    match kind {
        Kind::Memory => {
            "more memory than is left of what the switch can share with guests, of which each has its part"
        }
        Kind::Regions => {
            "more memory regions than are left of what the system allows, of which each guest has its part"
        }
        Kind::Descriptors => {
            "more file descriptors than are left for guests, of which each has its part, or their closing waits"
        }
    }
}

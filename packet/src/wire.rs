//! Wire formats: views over bytes, no copy, network byte order inside the fields' types.
//!
//! `Header::ref_from_prefix(bytes)` checks the length once; fields can't fail afterwards.

use std::net::Ipv4Addr;

pub use zerocopy::network_endian::{U16, U32};
pub use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{EtherType, MacAddr};

/// Ethernet header, 14 bytes. IEEE 802.3, 3.2.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct EthernetHeader {
    /// Destination address.
    pub dst: [u8; 6],
    /// Source address.
    pub src: [u8; 6],
    /// EtherType, or a length below 0x600.
    pub ether_type: U16,
}

impl EthernetHeader {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// A header with these fields.
    pub fn new(dst: MacAddr, src: MacAddr, ether_type: EtherType) -> Self {
        Self { dst: dst.octets(), src: src.octets(), ether_type: U16::new(ether_type.0) }
    }
}

/// What follows a VLAN EtherType, 4 bytes. IEEE 802.1Q, 9.6.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct VlanTag {
    /// PCP (3 bits), DEI (1 bit), VID (12 bits).
    pub tci: U16,
    /// The EtherType of what follows.
    pub ether_type: U16,
}

/// IPv4 header without options, 20 bytes. RFC 791, 3.1.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version (4) and header length in 32-bit words.
    pub version_ihl: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub tos: u8,
    /// Length of header and payload.
    pub total_len: U16,
    /// Identification.
    pub id: U16,
    /// Reserved, DF, MF, and the fragment's offset in units of 8 bytes (13 bits).
    pub flags_fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Checksum of the header.
    pub checksum: U16,
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
}

impl Ipv4Header {
    /// Its length in bytes, without options.
    pub const LEN: usize = size_of::<Self>();
    /// Don't fragment, in `flags_fragment`.
    pub const DF: u16 = 0x4000;
    /// More fragments, in `flags_fragment`.
    pub const MF: u16 = 0x2000;
    /// The fragment offset's bits in `flags_fragment`.
    pub const OFFSET_MASK: u16 = 0x1fff;

    /// Source address.
    pub fn source(&self) -> Ipv4Addr {
        self.src.into()
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv4Addr {
        self.dst.into()
    }
}

/// IPv6 header, 40 bytes. RFC 8200, 3.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Ipv6Header {
    /// Version (6), traffic class, flow label.
    pub version_class_label: U32,
    /// Length of what follows this header.
    pub payload_len: U16,
    /// Type of the header that follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

impl Ipv6Header {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<Self>();
}

/// UDP header, 8 bytes. RFC 768.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct UdpHeader {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Length of header and payload.
    pub len: U16,
    /// Checksum; 0 means that the sender made none.
    pub checksum: U16,
}

impl UdpHeader {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<Self>();
}

/// TCP header without options, 20 bytes. RFC 9293, 3.1.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct TcpHeader {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Sequence number.
    pub seq: U32,
    /// Acknowledgment number.
    pub ack: U32,
    /// Header length in 32-bit words, in the upper 4 bits.
    pub data_offset: u8,
    /// CWR, ECE, URG, ACK, PSH, RST, SYN, FIN from the highest bit down.
    pub flags: u8,
    /// Receive window, unscaled.
    pub window: U16,
    /// Checksum.
    pub checksum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

impl TcpHeader {
    /// Its length in bytes, without options.
    pub const LEN: usize = size_of::<Self>();
    /// FIN flag.
    pub const FIN: u8 = 0x01;
    /// SYN flag.
    pub const SYN: u8 = 0x02;
    /// RST flag.
    pub const RST: u8 = 0x04;
    /// PSH flag.
    pub const PSH: u8 = 0x08;
    /// ACK flag.
    pub const ACK: u8 = 0x10;
    /// ECE flag.
    pub const ECE: u8 = 0x40;
    /// CWR flag.
    pub const CWR: u8 = 0x80;

    /// The header's length with options, as the packet says; may be below 20 in a broken one.
    pub const fn header_len(&self) -> usize {
        (self.data_offset >> 4) as usize * 4
    }
}

/// The first 12 bytes of each DCCP packet. RFC 4340, 5.1.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct DccpHeader {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Length of header and options in 32-bit words.
    pub data_offset: u8,
    /// Congestion control, and how much of the payload the checksum covers: 0 is all, n is n − 1 words.
    pub coverage: u8,
    /// Checksum.
    pub checksum: U16,
    /// `reserved:3 type:4 long sequence numbers:1`.
    pub kind: u8,
    /// The upper bits of the sequence number, or its lower 24.
    pub seq: [u8; 3],
}

impl DccpHeader {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// Length of header and options in bytes.
    pub const fn header_len(&self) -> usize {
        self.data_offset as usize * 4
    }

    /// The TCP flags of a segment that would mean the same: a connection's life is TCP's. A server that opens its own
    /// NAT listens by a packet, RFC 5596; with the client's request that is a simultaneous open.
    pub const fn tcp_flags(&self) -> u8 {
        match self.kind >> 1 & 0xf {
            REQUEST | LISTEN => TcpHeader::SYN,
            RESPONSE => TcpHeader::SYN | TcpHeader::ACK,
            CLOSE => TcpHeader::FIN | TcpHeader::ACK,
            RESET => TcpHeader::RST,
            DATA..=CLOSE_REQUEST | SYNC | SYNC_ACK => TcpHeader::ACK,
            _ => 0,
        }
    }
}

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
/// With and without acknowledgement, and the latter alone: 2 to 4.
const DATA: u8 = 2;
const CLOSE_REQUEST: u8 = 5;
const CLOSE: u8 = 6;
const RESET: u8 = 7;
const SYNC: u8 = 8;
const SYNC_ACK: u8 = 9;
const LISTEN: u8 = 10;

/// The first 8 bytes of each ICMP message. RFC 792.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct IcmpHeader {
    /// Message type.
    pub kind: u8,
    /// Code within the type.
    pub code: u8,
    /// Checksum over the whole message.
    pub checksum: U16,
    /// In queries the identifier; in "fragmentation needed" unused.
    pub id: U16,
    /// In queries the sequence number; in "fragmentation needed" the next hop's MTU.
    pub seq: U16,
}

impl IcmpHeader {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench, deprecated by RFC 6633.
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;

    /// Timestamp request.
    pub const TIMESTAMP: u8 = 13;
    /// Timestamp reply.
    pub const TIMESTAMP_REPLY: u8 = 14;

    /// Whether messages of this type quote the packet that they are about.
    pub const fn is_error(kind: u8) -> bool {
        matches!(
            kind,
            Self::UNREACHABLE
                | Self::SOURCE_QUENCH
                | Self::REDIRECT
                | Self::TIME_EXCEEDED
                | Self::PARAMETER_PROBLEM
        )
    }
}

/// ARP for IPv4 over Ethernet, 28 bytes. RFC 826.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ArpPacket {
    /// Hardware type, 1.
    pub hardware: U16,
    /// Protocol type, 0x0800.
    pub protocol: U16,
    /// Hardware address length, 6.
    pub hardware_len: u8,
    /// Protocol address length, 4.
    pub protocol_len: u8,
    /// 1 request, 2 reply.
    pub operation: U16,
    /// Sender's hardware address.
    pub sender_mac: [u8; 6],
    /// Sender's protocol address.
    pub sender_ip: [u8; 4],
    /// Target's hardware address.
    pub target_mac: [u8; 6],
    /// Target's protocol address.
    pub target_ip: [u8; 4],
}

impl ArpPacket {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// Operation: request.
    pub const REQUEST: u16 = 1;
    /// Operation: reply.
    pub const REPLY: u16 = 2;
}

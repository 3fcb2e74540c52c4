//! The DHCP message: fixed fields of RFC 2131, section 2, by smoltcp; options of RFC 2132 by a bounded reader and
//! writer of our own, because smoltcp's representation knows only some of them.

use std::net::Ipv4Addr;

use packet::{DropReason, MacAddr};
use smoltcp::wire::{
    ArpHardware, DhcpFlags, DhcpMessageType, DhcpOpCode, DhcpPacket, EthernetAddress, Ipv4Address,
};

/// Option codes. RFC 2132, section 9 and before.
pub(super) mod code {
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const DNS_SERVERS: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN_NAME: u8 = 15;
    pub const INTERFACE_MTU: u8 = 26;
    pub const BROADCAST_ADDRESS: u8 = 28;
    pub const TIME_SERVERS: u8 = 42;
    pub const REQUESTED_ADDRESS: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_IDENTIFIER: u8 = 54;
    pub const MAX_MESSAGE_SIZE: u8 = 57;
    pub const RENEWAL_TIME: u8 = 58;
    pub const REBINDING_TIME: u8 = 59;
    pub const CLIENT_IDENTIFIER: u8 = 61;
    pub const TFTP_SERVER_NAME: u8 = 66;
    pub const BOOT_FILE_NAME: u8 = 67;
    pub const RELAY_AGENT_INFORMATION: u8 = 82;
    /// RFC 3442.
    pub const CLASSLESS_ROUTES: u8 = 121;
    pub const PAD: u8 = 0;
    pub const END: u8 = 255;
}

/// What the server reads from a client's message.
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    /// The whole message.
    pub message: &'a [u8],
    pub kind: DhcpMessageType,
    pub transaction: u32,
    pub broadcast: bool,
    /// The address that the client already uses; `ciaddr`.
    pub in_use: Option<Ipv4Addr>,
    pub mac: MacAddr,
    /// The relay agent that passed the message on; `giaddr`.
    pub relay: Option<Ipv4Addr>,
    /// What a relay agent wants to have back in the answer. RFC 3046.
    pub relay_information: &'a [u8],
    pub identifier: Option<&'a [u8]>,
    pub requested: Option<Ipv4Addr>,
    pub server: Option<Ipv4Addr>,
    pub host_name: Option<&'a str>,
    /// The longest message that the client takes, without IP and UDP header.
    pub room: usize,
}

impl<'a> Request<'a> {
    /// Reads the payload of a UDP datagram.
    pub fn parse(message: &'a [u8]) -> Result<Self, DropReason> {
        let packet = DhcpPacket::new_checked(message).map_err(|_| DropReason::BadDhcp)?;
        if message.len() > LONGEST {
            return Err(DropReason::BadDhcp);
        }
        let mac = MacAddr::new(packet.client_hardware_address().0);
        let ethernet = packet.hardware_type() == ArpHardware::Ethernet && packet.hardware_len() == 6;
        if packet.magic_number() != MAGIC || !ethernet || !mac.is_station() {
            return Err(DropReason::BadDhcp);
        }
        if packet.opcode() != DhcpOpCode::Request {
            return Err(DropReason::DhcpNotForUs);
        }
        let mut request = Self {
            message,
            // BOOTP, if no option says otherwise.
            kind: DhcpMessageType::Unknown(0),
            transaction: packet.transaction_id(),
            broadcast: packet.flags().contains(DhcpFlags::BROADCAST),
            in_use: Some(packet.client_ip()).filter(|ip| !ip.is_unspecified()),
            mac,
            relay: relay_agent(message),
            relay_information: &[],
            identifier: None,
            requested: None,
            server: None,
            host_name: None,
            room: MIN_ROOM,
        };
        request.read_options(&message[HEADER_LEN..])?;
        Ok(request)
    }

    fn read_options(&mut self, mut options: &'a [u8]) -> Result<(), DropReason> {
        while let [code, rest @ ..] = options {
            options = rest;
            match *code {
                code::PAD => continue,
                code::END => break,
                _ => {}
            }
            let (&len, rest) = rest.split_first().ok_or(DropReason::BadDhcp)?;
            let (data, rest) = rest.split_at_checked(usize::from(len)).ok_or(DropReason::BadDhcp)?;
            options = rest;
            self.read_option(*code, data)?;
        }
        Ok(())
    }

    fn read_option(&mut self, code: u8, data: &'a [u8]) -> Result<(), DropReason> {
        match code {
            code::MESSAGE_TYPE => {
                let [kind] = fixed(data)?;
                self.kind = kind.into();
            }
            code::REQUESTED_ADDRESS => self.requested = Some(fixed::<4>(data)?.into()),
            code::SERVER_IDENTIFIER => self.server = Some(fixed::<4>(data)?.into()),
            code::MAX_MESSAGE_SIZE => {
                let size = usize::from(u16::from_be_bytes(fixed(data)?));
                self.room = size.saturating_sub(IP_AND_UDP).clamp(MIN_ROOM, MAX_ROOM);
            }
            code::CLIENT_IDENTIFIER if data.is_empty() => return Err(DropReason::BadDhcp),
            code::CLIENT_IDENTIFIER => self.identifier = Some(data),
            code::RELAY_AGENT_INFORMATION => self.relay_information = data,
            code::HOST_NAME => self.host_name = host_name(data),
            _ => {}
        }
        Ok(())
    }
}

/// The relay agent that a message names, if it does.
pub(crate) fn relay_agent(message: &[u8]) -> Option<Ipv4Addr> {
    let agent = DhcpPacket::new_checked(message).ok()?.relay_agent_ip();
    Some(agent).filter(|ip| !ip.is_unspecified())
}

fn fixed<const N: usize>(data: &[u8]) -> Result<[u8; N], DropReason> {
    data.try_into().map_err(|_| DropReason::BadDhcp)
}

/// A name is shown to people: only what can be in a host name passes. RFC 1123, 2.1.
fn host_name(data: &[u8]) -> Option<&str> {
    let name = str::from_utf8(data).ok()?.trim_end_matches('\0');
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    (!name.is_empty() && name.bytes().all(fits)).then_some(name)
}

/// An answer under construction. Options that don't fit into what the client takes are left out, so the important
/// ones come first.
pub(super) struct ReplyWriter<'a> {
    bytes: Vec<u8>,
    room: usize,
    /// The last option. RFC 3046, 2.1: whatever else has to be left out, it goes back whole.
    relay_information: &'a [u8],
}

impl<'a> ReplyWriter<'a> {
    /// The fixed fields of the answer to `request`, with `your_ip` for the client, and the message type.
    pub fn new(request: &Request<'a>, kind: DhcpMessageType, your_ip: Ipv4Addr) -> Self {
        let mut bytes = vec![0; HEADER_LEN];
        let mut packet = DhcpPacket::new_unchecked(&mut bytes);
        packet.set_opcode(DhcpOpCode::Reply);
        packet.set_hardware_type(ArpHardware::Ethernet);
        packet.set_hardware_len(6);
        packet.set_transaction_id(request.transaction);
        // Of a NAK the relay agent has to know that its client can't be sent to. RFC 2131, 4.3.2.
        let broadcast = request.broadcast || (kind == DhcpMessageType::Nak && request.relay.is_some());
        packet.set_flags(if broadcast { DhcpFlags::BROADCAST } else { DhcpFlags::empty() });
        packet.set_relay_agent_ip(request.relay.unwrap_or(Ipv4Address::UNSPECIFIED));
        if kind == DhcpMessageType::Ack {
            packet.set_client_ip(request.in_use.unwrap_or(Ipv4Address::UNSPECIFIED));
        }
        packet.set_your_ip(your_ip);
        packet.set_client_hardware_address(EthernetAddress(request.mac.octets()));
        packet.set_magic_number(MAGIC);
        let reserved = match request.relay_information {
            [] => 0,
            information => 2 + information.len(),
        };
        let room = request.room - reserved;
        let mut writer = Self { bytes, room, relay_information: request.relay_information };
        writer.option(code::MESSAGE_TYPE, &[kind.into()]);
        writer
    }

    /// Appends an option; empty ones and those longer than 255 bytes can't be sent and are left out.
    pub fn option(&mut self, code: u8, data: &[u8]) {
        let fits = self.bytes.len() + 2 + data.len() < self.room;
        if let Ok(len @ 1..) = u8::try_from(data.len())
            && fits
        {
            self.bytes.extend([code, len]);
            self.bytes.extend_from_slice(data);
        }
    }

    /// What the client boots from: in the fixed fields, where ROMs of network cards look for it, and as options.
    pub fn boot(&mut self, file: &str, server: Ipv4Addr) {
        DhcpPacket::new_unchecked(&mut self.bytes).set_server_ip(server);
        // The last byte is a NUL.
        if file.len() < FILE_LEN {
            self.bytes[FILE_AT..FILE_AT + file.len()].copy_from_slice(file.as_bytes());
        }
        self.option(code::TFTP_SERVER_NAME, server.to_string().as_bytes());
        self.option(code::BOOT_FILE_NAME, file.as_bytes());
    }

    /// The message, at least as long as a BOOTP message is.
    pub fn finish(mut self) -> Vec<u8> {
        self.room = usize::MAX;
        self.option(code::RELAY_AGENT_INFORMATION, self.relay_information);
        self.bytes.push(code::END);
        self.bytes.resize(self.bytes.len().max(BOOTP_LEN), code::PAD);
        self.bytes
    }
}

/// The first four bytes of the options field. RFC 2131, section 3.
const MAGIC: u32 = 0x6382_5363;
/// The fixed fields and the magic number.
const HEADER_LEN: usize = 240;
/// Where the field `file` is, and how long. RFC 2131, section 2.
const FILE_AT: usize = 108;
const FILE_LEN: usize = 128;
/// The length of a BOOTP message; some clients ignore what is shorter. RFC 951, section 3.
const BOOTP_LEN: usize = 300;
/// IPv4 and UDP headers, which the maximum message size includes. RFC 2132, 9.10.
const IP_AND_UDP: usize = 28;
/// What every client must take. RFC 2131, section 2.
const MIN_ROOM: usize = 576 - IP_AND_UDP;
/// What a client's message has at most: nobody sends one that takes more than a frame, and some are kept.
const LONGEST: usize = 1500;
/// What every link carries.
const MAX_ROOM: usize = 1500 - IP_AND_UDP;

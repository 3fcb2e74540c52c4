//! What clients are told, and where that is sent.

use std::net::Ipv4Addr;

use packet::{DropReason, MacAddr};
use smoltcp::wire::DhcpMessageType;

use super::DhcpServer;
use super::message::{ReplyWriter, Request, code};

/// A message for a client: from port 67 of the interface's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DhcpReply {
    /// The UDP payload.
    pub payload: Vec<u8>,
    /// Whom to.
    pub to: DhcpReceiver,
    /// The lease that it grants, which is to be kept before anybody relies on it.
    pub grants: Option<Grant>,
}

/// Who gets an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DhcpReceiver {
    /// A station, at port 68 of this address and by this one of Ethernet, which may be everybody's: it may not answer ARP
    /// yet.
    Client { station: MacAddr, mac: MacAddr, ip: Ipv4Addr },
    /// A relay agent of the network, at port 67.
    Relay(Ipv4Addr),
}

/// What an ACK grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    /// The address.
    pub address: Ipv4Addr,
    /// Whether the client didn't have it before.
    pub is_new: bool,
    /// The client, if it is a station of the network.
    pub station: Option<MacAddr>,
}

impl DhcpServer {
    pub(super) fn inform(&self, request: &Request<'_>) -> Result<DhcpReply, DropReason> {
        let address = request.in_use.ok_or(DropReason::BadDhcp)?;
        if !self.is_host(address) {
            return Err(DropReason::DhcpNotForUs);
        }
        let mut writer = ReplyWriter::new(request, DhcpMessageType::Ack, Ipv4Addr::UNSPECIFIED);
        writer.option(code::SERVER_IDENTIFIER, &self.interface.address().octets());
        let payload = self.with_settings(writer, request);
        Ok(DhcpReply { payload, to: receiver(request, request.mac, address), grants: None })
    }

    /// An OFFER or ACK. RFC 2131, table 3.
    pub(super) fn reply(&self, request: &Request<'_>, kind: DhcpMessageType, address: Ipv4Addr) -> DhcpReply {
        let mut writer = ReplyWriter::new(request, kind, address);
        let seconds = self.config.lease_time.as_secs().min(MAX_LEASE_SECONDS);
        writer.option(code::SERVER_IDENTIFIER, &self.interface.address().octets());
        writer.option(code::LEASE_TIME, &(seconds as u32).to_be_bytes());
        writer.option(code::RENEWAL_TIME, &((seconds / 2) as u32).to_be_bytes());
        writer.option(code::REBINDING_TIME, &((seconds * 7 / 8) as u32).to_be_bytes());
        let payload = self.with_settings(writer, request);
        let (mac, ip) = match request.in_use {
            Some(in_use) if in_use == address => (request.mac, in_use),
            _ if request.broadcast => (MacAddr::BROADCAST, Ipv4Addr::BROADCAST),
            _ => (request.mac, address),
        };
        DhcpReply { payload, to: receiver(request, mac, ip), grants: None }
    }

    /// A NAK, which is always broadcast: the client's address is wrong. RFC 2131, 4.1.
    pub(super) fn refuse(&self, request: &Request<'_>) -> DhcpReply {
        let mut writer = ReplyWriter::new(request, DhcpMessageType::Nak, Ipv4Addr::UNSPECIFIED);
        writer.option(code::SERVER_IDENTIFIER, &self.interface.address().octets());
        writer.option(code::CLIENT_IDENTIFIER, request.identifier.unwrap_or_default());
        let to = receiver(request, MacAddr::BROADCAST, Ipv4Addr::BROADCAST);
        DhcpReply { payload: writer.finish(), to, grants: None }
    }

    fn with_settings(&self, mut writer: ReplyWriter<'_>, request: &Request<'_>) -> Vec<u8> {
        writer.option(code::SUBNET_MASK, &self.interface.netmask().octets());
        if let Some(router) = self.config.router {
            writer.option(code::ROUTER, &router.octets());
        }
        writer.option(code::CLASSLESS_ROUTES, &self.routes());
        // A client tells answers for several clients of one machine apart by it. RFC 6842.
        writer.option(code::CLIENT_IDENTIFIER, request.identifier.unwrap_or_default());
        let dns: Vec<u8> = self.config.dns.iter().take(MAX_DNS).flat_map(Ipv4Addr::octets).collect();
        writer.option(code::DNS_SERVERS, &dns);
        writer.option(code::INTERFACE_MTU, &self.mtu.to_be_bytes());
        writer.option(code::BROADCAST_ADDRESS, &self.interface.broadcast().octets());
        writer.option(code::DOMAIN_NAME, self.config.domain.as_deref().unwrap_or_default().as_bytes());
        let ntp: Vec<u8> = self.config.ntp.iter().flat_map(Ipv4Addr::octets).collect();
        writer.option(code::TIME_SERVERS, &ntp);
        if let Some(boot) = &self.config.boot {
            writer.boot(&boot.file, boot.server);
        }
        writer.finish()
    }

    /// Routes as RFC 3442 has them. Who reads them doesn't look at the router option, so the default route is among them.
    fn routes(&self) -> Vec<u8> {
        let routes = &self.config.routes;
        let default = self.config.router.filter(|_| !routes.is_empty());
        let default = default.map(|router| (0, Ipv4Addr::UNSPECIFIED, router));
        let routes = routes.iter().map(|(to, router)| (to.prefix_len(), to.network(), *router));
        let mut bytes = Vec::new();
        for (length, network, router) in routes.chain(default) {
            bytes.push(length);
            bytes.extend_from_slice(&network.octets()[..usize::from(length).div_ceil(8)]);
            bytes.extend_from_slice(&router.octets());
        }
        bytes
    }
}

/// The relay agent, if there is one, else the client. RFC 2131, 4.1.
fn receiver(request: &Request<'_>, mac: MacAddr, ip: Ipv4Addr) -> DhcpReceiver {
    let client = DhcpReceiver::Client { station: request.mac, mac, ip };
    request.relay.map_or(client, DhcpReceiver::Relay)
}

/// All ones would mean for ever. RFC 2131, 3.3.
const MAX_LEASE_SECONDS: u64 = u32::MAX as u64 - 1;
/// DNS servers offered at most; resolvers look at three.
const MAX_DNS: usize = 8;

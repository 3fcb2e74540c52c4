//! A DHCPv4 server for one network, without I/O. RFC 2131, RFC 2132.
//!
//! ```text
//! DISCOVER ─▶ OFFER      the address is held for a minute
//! REQUEST  ─▶ ACK        selecting, init-reboot, renewing and rebinding: any address that is the client's or free
//!          └▶ NAK        ours to give, but not to this client: it starts over
//! DECLINE  ─▶            somebody else uses the address: set aside for a while
//! RELEASE  ─▶            ended, but remembered for this client
//! INFORM   ─▶ ACK        settings only
//! ```
//!
//! The server is the authority of its network: after a restart it knows no lease, yet confirms an address to the
//! client that says it had it, and refuses those that can't be right.
//!
//! Nothing here needs a timer: a binding is compared with the clock when it is looked at. Memory is bounded by the
//! number of addresses, reserved ones included.

mod leases;
mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use packet::{DropReason, Ipv4Cidr, MacAddr, Millis, NetworkId};
use smoltcp::wire::DhcpMessageType;

use self::leases::{Binding, BindingState, ClientKey, Leases};
use self::message::{ReplyWriter, Request, code};
use crate::DhcpConfig;
use crate::report::LeaseReport;

/// The server of one network.
#[derive(Debug)]
pub struct DhcpServer {
    config: DhcpConfig,
    interface: Ipv4Cidr,
    mtu: u16,
    reserved: BTreeMap<MacAddr, Ipv4Addr>,
    reserved_addresses: BTreeSet<Ipv4Addr>,
    leases: Leases,
    /// The addresses of the range that were perhaps never used.
    fresh: RangeInclusive<u32>,
}

/// A message for a client: from port 67 of the interface's address to port 68.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhcpReply {
    /// The UDP payload.
    pub payload: Vec<u8>,
    /// The frame's destination. The client may not answer ARP yet.
    pub destination_mac: MacAddr,
    /// The packet's destination.
    pub destination_ip: Ipv4Addr,
}

impl DhcpServer {
    /// A server without leases, for the network that `interface` is the switch's own address in.
    pub fn new(config: DhcpConfig, interface: Ipv4Cidr, mtu: u16) -> Self {
        Self {
            reserved: config.reserved.iter().copied().collect(),
            reserved_addresses: config.reserved.iter().map(|&(_, address)| address).collect(),
            leases: Leases::default(),
            fresh: config.first.to_bits()..=config.last.to_bits(),
            config,
            interface,
            mtu,
        }
    }

    /// Changes the settings; leases that the new ones still allow stay.
    pub fn reconfigure(&mut self, config: DhcpConfig, interface: Ipv4Cidr, mtu: u16) {
        let old = std::mem::replace(self, Self::new(config, interface, mtu));
        for (address, binding) in old.leases.into_bindings() {
            if self.may_have(address, binding.mac) {
                self.leases.bind(address, binding);
            }
        }
    }

    /// Takes the payload of a UDP datagram to port 67. `None`: understood, and there is nothing to answer.
    ///
    /// Costs O(log n) of the range's size, save for the first client that finds no address left that was never
    /// used, which walks the range once.
    pub fn handle(&mut self, message: &[u8], now: Millis) -> Result<Option<DhcpReply>, DropReason> {
        let request = Request::parse(message)?;
        let client = Client::of(&request);
        match request.kind {
            DhcpMessageType::Discover => self.discover(&request, client, now).map(Some),
            DhcpMessageType::Request => self.request(&request, client, now).map(Some),
            DhcpMessageType::Decline => self.decline(&request, &client, now).map(|()| None),
            DhcpMessageType::Release => self.release(&request, &client, now).map(|()| None),
            DhcpMessageType::Inform => self.inform(&request).map(Some),
            _ => Err(DropReason::DhcpNotForUs),
        }
    }

    /// The leases that have not ended, in the order of their addresses.
    pub fn leases(&self, network: NetworkId, now: Millis) -> impl Iterator<Item = LeaseReport> + '_ {
        let live = move |binding: &Binding| binding.state == BindingState::Leased && binding.is_live(now);
        self.leases.iter().filter(move |(_, binding)| live(binding)).map(move |(address, binding)| {
            LeaseReport {
                network,
                address,
                mac: binding.mac,
                host_name: binding.host_name.as_deref().map(str::to_owned),
                expires_in: binding.until.since(now),
            }
        })
    }

    fn discover(
        &mut self,
        request: &Request<'_>,
        client: Client,
        now: Millis,
    ) -> Result<DhcpReply, DropReason> {
        let address = self.choose(&client, request.requested, now).ok_or(DropReason::DhcpRangeFull)?;
        // An offer doesn't take away what the client still has.
        let has = |held: &Binding| held.client == client.key && held.state == BindingState::Leased;
        if !self.leases.of(address).is_some_and(|held| has(held) && held.is_live(now)) {
            self.leases.bind(address, client.binding(BindingState::Offered, now + OFFER_TIME));
        }
        Ok(self.reply(request, DhcpMessageType::Offer, address))
    }

    /// RFC 2131, 4.3.2. The states of the client differ in where the address stands and whether a server is named.
    fn request(
        &mut self,
        request: &Request<'_>,
        client: Client,
        now: Millis,
    ) -> Result<DhcpReply, DropReason> {
        if request.server.is_some_and(|server| server != self.interface.address()) {
            self.take_back_offer(&client, now);
            return Err(DropReason::DhcpNotForUs);
        }
        let address = request.requested.or(request.in_use).ok_or(DropReason::BadDhcp)?;
        if !self.is_right_for(&client, address, now) {
            return Ok(self.refuse(request));
        }
        let until = now + self.config.lease_time;
        self.leases.bind(address, client.binding(BindingState::Leased, until));
        Ok(self.reply(request, DhcpMessageType::Ack, address))
    }

    fn decline(&mut self, request: &Request<'_>, client: &Client, now: Millis) -> Result<(), DropReason> {
        let address = request.requested.ok_or(DropReason::BadDhcp)?;
        let mut binding = self.held(request, client, address)?.clone();
        binding.state = BindingState::Declined;
        binding.until = now + DECLINE_TIME;
        self.leases.bind(address, binding);
        Ok(())
    }

    fn release(&mut self, request: &Request<'_>, client: &Client, now: Millis) -> Result<(), DropReason> {
        let address = request.in_use.ok_or(DropReason::BadDhcp)?;
        let until = self.held(request, client, address)?.until.min(now);
        self.leases.end_at(address, until);
        Ok(())
    }

    fn inform(&self, request: &Request<'_>) -> Result<DhcpReply, DropReason> {
        let address = request.in_use.ok_or(DropReason::BadDhcp)?;
        if !self.is_host(address) {
            return Err(DropReason::DhcpNotForUs);
        }
        let mut writer = ReplyWriter::new(request, DhcpMessageType::Ack, Ipv4Addr::UNSPECIFIED);
        writer.option(code::SERVER_IDENTIFIER, &self.interface.address().octets());
        Ok(DhcpReply {
            payload: self.with_settings(writer, request),
            destination_mac: request.mac,
            destination_ip: address,
        })
    }

    /// The binding of `address`, if the client holds it and means this server.
    fn held(
        &self,
        request: &Request<'_>,
        client: &Client,
        address: Ipv4Addr,
    ) -> Result<&Binding, DropReason> {
        self.leases
            .of(address)
            .filter(|binding| binding.client == client.key && binding.state != BindingState::Declined)
            .filter(|_| request.server.is_none_or(|server| server == self.interface.address()))
            .ok_or(DropReason::DhcpNotForUs)
    }

    /// The client chose another server.
    fn take_back_offer(&mut self, client: &Client, now: Millis) {
        if let Some(address) = self.leases.address_of(&client.key)
            && let Some(binding) = self.leases.of(address)
            && binding.state == BindingState::Offered
        {
            let until = binding.until.min(now);
            self.leases.end_at(address, until);
        }
    }

    /// The best address for the client. RFC 2131, 4.3.1, with reservations before all.
    fn choose(&mut self, client: &Client, requested: Option<Ipv4Addr>, now: Millis) -> Option<Ipv4Addr> {
        let reserved = self.reserved.get(&client.mac).copied();
        let last = self.leases.address_of(&client.key);
        let current = last.filter(|&a| self.leases.of(a).is_some_and(|binding| binding.is_live(now)));
        [reserved, current, requested, last]
            .into_iter()
            .flatten()
            .find(|&address| self.is_available(address, client, now))
            .or_else(|| self.take_fresh(client.mac))
            .or_else(|| self.leases.ended(now).find(|&address| self.may_have(address, client.mac)))
    }

    /// The first address that nobody ever had.
    fn take_fresh(&mut self, mac: MacAddr) -> Option<Ipv4Addr> {
        let mut fresh = self.fresh.clone();
        let unused = |&a: &Ipv4Addr| self.leases.of(a).is_none() && self.may_have(a, mac);
        let address = fresh.by_ref().map(Ipv4Addr::from_bits).find(unused);
        self.fresh = fresh;
        address
    }

    /// Whether the client is to have this address and no other: a client with a reservation has to move to it.
    fn is_right_for(&self, client: &Client, address: Ipv4Addr, now: Millis) -> bool {
        let reserved = self.reserved.get(&client.mac).filter(|&&a| self.is_available(a, client, now));
        self.is_available(address, client, now) && reserved.is_none_or(|&reserved| reserved == address)
    }

    /// Whether the client may have the address, and nobody else has it.
    fn is_available(&self, address: Ipv4Addr, client: &Client, now: Millis) -> bool {
        let free = |binding: &Binding| {
            let theirs = binding.client == client.key || self.reserved.get(&client.mac) == Some(&address);
            !binding.is_live(now) || (theirs && binding.state != BindingState::Declined)
        };
        self.may_have(address, client.mac) && self.leases.of(address).is_none_or(free)
    }

    /// Whether the settings let the client have the address.
    fn may_have(&self, address: Ipv4Addr, mac: MacAddr) -> bool {
        let in_range = (self.config.first..=self.config.last).contains(&address);
        let reserved = self.reserved_addresses.contains(&address);
        let allowed = if reserved { self.reserved.get(&mac) == Some(&address) } else { in_range };
        allowed && self.is_host(address)
    }

    /// Whether a host other than the switch itself can have the address.
    fn is_host(&self, address: Ipv4Addr) -> bool {
        let net = self.interface;
        let is_network = net.prefix_len() < 31 && address == net.network();
        net.contains(address) && !net.is_broadcast(address) && !is_network && address != net.address()
    }

    /// An OFFER or ACK. RFC 2131, table 3.
    fn reply(&self, request: &Request<'_>, kind: DhcpMessageType, address: Ipv4Addr) -> DhcpReply {
        let mut writer = ReplyWriter::new(request, kind, address);
        let seconds = self.config.lease_time.as_secs().min(MAX_LEASE_SECONDS);
        writer.option(code::SERVER_IDENTIFIER, &self.interface.address().octets());
        writer.option(code::LEASE_TIME, &(seconds as u32).to_be_bytes());
        writer.option(code::RENEWAL_TIME, &((seconds / 2) as u32).to_be_bytes());
        writer.option(code::REBINDING_TIME, &((seconds * 7 / 8) as u32).to_be_bytes());
        let payload = self.with_settings(writer, request);
        let (destination_mac, destination_ip) = match request.in_use {
            Some(in_use) if in_use == address => (request.mac, in_use),
            _ if request.broadcast => (MacAddr::BROADCAST, Ipv4Addr::BROADCAST),
            _ => (request.mac, address),
        };
        DhcpReply { payload, destination_mac, destination_ip }
    }

    /// A NAK, which is always broadcast: the client's address is wrong. RFC 2131, 4.1.
    fn refuse(&self, request: &Request<'_>) -> DhcpReply {
        let mut writer = ReplyWriter::new(request, DhcpMessageType::Nak, Ipv4Addr::UNSPECIFIED);
        writer.option(code::SERVER_IDENTIFIER, &self.interface.address().octets());
        writer.option(code::CLIENT_IDENTIFIER, request.identifier.unwrap_or_default());
        DhcpReply {
            payload: writer.finish(),
            destination_mac: MacAddr::BROADCAST,
            destination_ip: Ipv4Addr::BROADCAST,
        }
    }

    fn with_settings(&self, mut writer: ReplyWriter, request: &Request<'_>) -> Vec<u8> {
        writer.option(code::SUBNET_MASK, &self.interface.netmask().octets());
        if let Some(router) = self.config.router {
            writer.option(code::ROUTER, &router.octets());
        }
        // A client tells answers for several clients of one machine apart by it. RFC 6842.
        writer.option(code::CLIENT_IDENTIFIER, request.identifier.unwrap_or_default());
        let dns: Vec<u8> = self.config.dns.iter().take(MAX_DNS).flat_map(Ipv4Addr::octets).collect();
        writer.option(code::DNS_SERVERS, &dns);
        writer.option(code::INTERFACE_MTU, &self.mtu.to_be_bytes());
        writer.option(code::BROADCAST_ADDRESS, &self.interface.broadcast().octets());
        writer.option(code::DOMAIN_NAME, self.config.domain.as_deref().unwrap_or_default().as_bytes());
        writer.finish()
    }
}

/// Who asks.
#[derive(Debug)]
struct Client {
    key: ClientKey,
    mac: MacAddr,
    host_name: Option<Box<str>>,
}

impl Client {
    fn of(request: &Request<'_>) -> Self {
        let by_mac = [&[1], request.mac.octets().as_slice()].concat();
        Self {
            key: request.identifier.map_or_else(|| by_mac.into(), Box::from),
            mac: request.mac,
            host_name: request.host_name.map(Box::from),
        }
    }

    fn binding(self, state: BindingState, until: Millis) -> Binding {
        Binding { client: self.key, mac: self.mac, host_name: self.host_name, state, until }
    }
}

/// How long an offer is held. RFC 2131, 4.3.1 leaves it to the server; clients decide within seconds.
const OFFER_TIME: Millis = Millis::from_secs(60);
/// How long a declined address is set aside: whoever uses it may go away.
const DECLINE_TIME: Millis = Millis::from_secs(600);
/// All ones would mean for ever. RFC 2131, 3.3.
const MAX_LEASE_SECONDS: u64 = u32::MAX as u64 - 1;
/// DNS servers offered at most; resolvers look at three.
const MAX_DNS: usize = 8;

#[cfg(test)]
mod tests;

//! A DHCPv4 server for one network, without I/O. RFC 2131, RFC 2132, RFC 3046.
//!
//! ```text
//! DISCOVER ─▶ probe ─▶ OFFER   the address is held for a moment
//! REQUEST  ─▶ ACK              selecting, init-reboot, renewing and rebinding: any address that is the client's or free;
//!          │                   after a probe, if nothing is known of it
//!          └▶ NAK              ours to give, but not to this client: it starts over
//! DECLINE  ─▶                  somebody else uses the address: set aside for a while
//! RELEASE  ─▶                  ended, but remembered for this client
//! INFORM   ─▶ ACK              settings only
//! ```
//!
//! The server is the authority of its network: of a lease that it doesn't know it confirms the address to the client
//! that says it had it, and refuses those that can't be right. An address that somebody else uses is nobody's: it has been
//! seen in the ARP table, or answers a probe ([`probe`]).
//!
//! A binding is compared with the clock when it is looked at; only probes have a timer. Memory is bounded by the number of
//! addresses, reserved ones included. Addresses are shared by port of the switch, whatever stations its frames claim to be
//! from: offered, leased, declined or said to be in use, a port holds at most its share of them (`packet::share`).

mod answer;
mod choice;
mod client;
mod leases;
mod message;
mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use packet::{DropReason, Ipv4Cidr, MacAddr, Millis, NetworkId, PortId};
use smoltcp::wire::DhcpMessageType;

pub(crate) use self::answer::{DhcpReceiver, DhcpReply, Grant};
use self::choice::{Claim, IN_USE};
use self::client::Client;
pub(crate) use self::leases::Binding;
use self::leases::{BindingState, Leases};
use self::message::Request;
pub(crate) use self::message::relay_agent;
use self::probe::{Probe, Probes};
use crate::gateway::neighbour::Sighting;
use crate::report::{LeaseEventKind, LeaseRecord, PoolReport};
use crate::runtime_config::{DhcpClient, DhcpConfig};

/// The server of one network.
#[derive(Debug)]
pub(crate) struct DhcpServer {
    config: DhcpConfig,
    interface: Ipv4Cidr,
    mtu: u16,
    reserved: BTreeMap<DhcpClient, Ipv4Addr>,
    /// How many addresses clients share: those of the range that are nobody's in particular.
    shared: usize,
    leases: Leases,
    /// The addresses of the range that were perhaps never used.
    fresh: RangeInclusive<u32>,
    probes: Probes,
    /// What happened to leases since the last call of [`DhcpServer::take_changes`].
    changes: Vec<Change>,
}

/// What is to be done about a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DhcpStep {
    /// Nothing.
    Done,
    /// Send an answer.
    Send(DhcpReply),
    /// Ask who has this address; the answer has to wait.
    Ask(Ipv4Addr),
}

/// Something that happened to a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub address: Ipv4Addr,
    /// Whose the address is or was.
    pub mac: MacAddr,
    pub host_name: Option<String>,
    pub kind: LeaseEventKind,
}

/// What a message is judged by, besides what the server remembers.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub now: Millis,
    /// Whether the sender's MAC address is its own for sure: then an identifier that somebody else sends too is another
    /// client's.
    pub is_guarded: bool,
    /// The port of the switch that the frame at hand came in by.
    pub port: Option<PortId>,
    /// Whom the ARP table has seen at an address.
    pub seen: &'a dyn Fn(Ipv4Addr) -> Option<Sighting>,
}

impl DhcpServer {
    /// A server without leases, for the network that `interface` is the switch's own address in.
    pub(crate) fn new(config: DhcpConfig, interface: Ipv4Cidr, mtu: u16) -> Self {
        let reserved: BTreeSet<Ipv4Addr> = config.reserved.iter().map(|(_, address)| *address).collect();
        let range = config.first..=config.last;
        let own = [interface.network(), interface.broadcast(), interface.address()];
        let own = own.into_iter().filter(|&address| !is_host(interface, address));
        let kept: BTreeSet<Ipv4Addr> = reserved.iter().copied().chain(own).collect();
        let size = (config.last.to_bits() - config.first.to_bits()) as usize + 1;
        Self {
            reserved: config.reserved.iter().cloned().collect(),
            shared: size - kept.iter().filter(|&address| range.contains(address)).count(),
            leases: Leases::new(reserved),
            fresh: config.first.to_bits()..=config.last.to_bits(),
            probes: Probes::default(),
            changes: Vec::new(),
            config,
            interface,
            mtu,
        }
    }

    /// Changes the settings; leases that the new ones still allow stay.
    pub(crate) fn reconfigure(&mut self, config: DhcpConfig, interface: Ipv4Cidr, mtu: u16) {
        self.mtu = mtu;
        if (&config, interface) == (&self.config, self.interface) {
            // To bind tens of thousands anew takes tens of milliseconds.
            return;
        }
        let old = std::mem::replace(self, Self::new(config, interface, mtu));
        (self.probes, self.changes) = (old.probes, old.changes);
        for (address, binding) in old.leases.into_bindings() {
            if self.may_have(address, binding.mac, &binding.client) {
                self.leases.bind(address, binding);
            }
        }
    }

    /// The station that `address` is leased or reserved to.
    pub(crate) fn holder(&self, address: Ipv4Addr, now: Millis) -> Option<MacAddr> {
        let leased = |binding: &&Binding| binding.state == BindingState::Leased && binding.is_live(now);
        let reserved = || {
            self.config.reserved.iter().find_map(|(client, reserved)| match client {
                DhcpClient::Mac(mac) if *reserved == address => Some(*mac),
                _ => None,
            })
        };
        let lease = self.leases.of(address).filter(leased).map(|binding| binding.mac);
        lease.or_else(reserved)
    }

    /// The address leased to the client that calls itself so, in small letters. A client that took another's name is not
    /// known by it.
    pub(crate) fn address_of(&self, name: &str, now: Millis) -> Option<Ipv4Addr> {
        self.leases.named(name, now)
    }

    /// What the client that `address` is leased to is known by.
    pub(crate) fn name_of(&self, address: Ipv4Addr, now: Millis) -> Option<String> {
        let name = self.leases.of(address).filter(|binding| binding.is_lease(now))?.name()?;
        (self.leases.named(&name, now) == Some(address)).then(|| name.into())
    }

    /// Takes the payload of a UDP datagram to port 67 that the station `from` has sent.
    ///
    /// Costs O(log n) of the range's size, save for the first client that finds no address left that was never
    /// used, which walks the range once.
    pub(crate) fn handle(
        &mut self,
        message: &[u8],
        from: MacAddr,
        view: View<'_>,
    ) -> Result<DhcpStep, DropReason> {
        self.leases.advance(view.now);
        let request = Request::parse(message)?;
        if request.relay.is_some_and(|relay| !self.is_host(relay)) {
            return Err(DropReason::DhcpForeignRelay);
        }
        let client = Client::of(&request, from, view.is_guarded);
        match request.kind {
            DhcpMessageType::Discover => self.discover(&request, client, view),
            DhcpMessageType::Request => self.request(&request, client, view),
            DhcpMessageType::Decline => self.decline(&request, &client, view).map(|()| DhcpStep::Done),
            DhcpMessageType::Release => self.release(&request, &client, view.now).map(|()| DhcpStep::Done),
            DhcpMessageType::Inform => self.inform(&request).map(DhcpStep::Send),
            _ => Err(DropReason::DhcpNotForUs),
        }
    }

    /// The station `mac` uses `address`, as its ARP says. What that means for a message that waited for a probe.
    pub(crate) fn on_arp(
        &mut self,
        address: Ipv4Addr,
        mac: MacAddr,
        view: View<'_>,
    ) -> Result<DhcpStep, DropReason> {
        self.leases.advance(view.now);
        let others = |held: &&Binding| held.is_live(view.now) && held.mac != mac && held.relay != Some(mac);
        match self.leases.of(address).filter(others).map(|held| held.state) {
            // What a port says to use beyond its share is not believed.
            Some(state) if state.is_untaken() && self.leases.may_take(view.port, address, self.shared) => {
                self.set_aside(address, mac, view.port, view.now);
                let probe = self.probes.end(address);
                probe.map_or(Ok(DhcpStep::Done), |probe| self.answer_probed(&probe, view))
            }
            Some(BindingState::Leased) => {
                if self.leases.dispute(address) {
                    self.changes.push(Change {
                        address,
                        mac,
                        host_name: None,
                        kind: LeaseEventKind::Disputed,
                    });
                }
                Ok(DhcpStep::Done)
            }
            _ => Ok(DhcpStep::Done),
        }
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        self.probes.next_timeout()
    }

    /// One of the things that are due; `None`: there are no more.
    pub(crate) fn on_timeout(&mut self, view: View<'_>) -> Option<Result<DhcpStep, DropReason>> {
        let (address, silent) = self.probes.due(view.now)?;
        let Some(probe) = silent else { return Some(Ok(DhcpStep::Ask(address))) };
        let probed = self.leases.of(address).filter(|held| held.state == BindingState::Probing).cloned();
        // What was asked for may have come to somebody else meanwhile: then whoever waited asks again.
        let Some(mut binding) = probed else { return Some(Ok(DhcpStep::Done)) };
        (binding.state, binding.probed, binding.until) =
            (BindingState::Offered, view.now, view.now + OFFER_TIME);
        self.bind(address, binding);
        Some(self.answer_probed(&probe, view))
    }

    fn answer_probed(&mut self, probe: &Probe, view: View<'_>) -> Result<DhcpStep, DropReason> {
        self.handle(
            &probe.message,
            probe.from,
            View { port: probe.port, is_guarded: probe.is_guarded, ..view },
        )
    }

    /// These ports of the switch are others' from now on: what they held is nobody's.
    pub(crate) fn forget_ports(&mut self, ports: &BTreeSet<PortId>) {
        self.leases.forget_ports(ports);
    }

    /// What happened to leases since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The bindings from this address on, in the order of their addresses.
    pub(crate) fn bindings_from(&self, from: Ipv4Addr) -> impl Iterator<Item = (Ipv4Addr, &Binding)> {
        self.leases.iter_from(from)
    }

    /// How full the range is.
    pub(crate) fn pool(&self, network: NetworkId, now: Millis) -> PoolReport {
        let (taken, leased) = self.leases.counts(now);
        PoolReport { network, free: (self.shared - taken) as u32, leased: leased as u32 }
    }

    /// The addresses of all leases that have not ended.
    pub(crate) fn leased(&self, now: Millis) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.leases.iter().filter(move |(_, held)| held.is_lease(now)).map(|(address, _)| address)
    }

    /// The lease of `address`, to be kept elsewhere; `None`: there is none.
    pub(crate) fn record(&self, network: NetworkId, address: Ipv4Addr, now: Millis) -> Option<LeaseRecord> {
        let held = self.leases.of(address).filter(|held| held.is_lease(now))?;
        Some(LeaseRecord {
            network,
            address,
            mac: held.mac,
            client: held.client.clone(),
            host_name: held.host_name.clone(),
            expires_in: held.until.since(now),
        })
    }

    /// Takes back a lease that was kept elsewhere; one that has ended is remembered for its client. Whether the settings
    /// allow it, and nobody else has the address.
    pub(crate) fn restore(&mut self, record: LeaseRecord, now: Millis) -> bool {
        let LeaseRecord { address, mac, client, host_name, expires_in, .. } = record;
        if !self.may_have(address, mac, &client) || self.leases.of(address).is_some() {
            return false;
        }
        self.leases.advance(now);
        let until = now + expires_in.min(self.config.lease_time);
        let client = Client { key: client, mac, host_name, agent: None };
        self.leases.bind(address, client.binding(BindingState::Leased, None, until));
        true
    }

    fn discover(
        &mut self,
        request: &Request<'_>,
        client: Client,
        view: View<'_>,
    ) -> Result<DhcpStep, DropReason> {
        let address =
            self.choose(&client, request.requested, view).ok_or_else(|| self.why_none(view.port))?;
        // An offer doesn't take away what the client still has.
        if !self.has(&client, address, view.now) {
            if !self.is_probed(address, view.now) {
                return self.probe(address, request, client, view);
            }
            let mut binding = client.binding(BindingState::Offered, view.port, view.now + OFFER_TIME);
            binding.probed = self.leases.of(address).map_or(Millis::ZERO, |held| held.probed);
            self.bind(address, binding);
        }
        Ok(DhcpStep::Send(self.reply(request, DhcpMessageType::Offer, address)))
    }

    /// RFC 2131, 4.3.2. The states of the client differ in where the address stands and whether a server is named.
    fn request(
        &mut self,
        request: &Request<'_>,
        client: Client,
        view: View<'_>,
    ) -> Result<DhcpStep, DropReason> {
        if request.server.is_some_and(|server| server != self.interface.address()) {
            self.take_back_offer(&client, view.now);
            return Err(DropReason::DhcpNotForUs);
        }
        let address = request.requested.or(request.in_use).ok_or(DropReason::BadDhcp)?;
        let init_reboot = request.server.is_none() && request.in_use.is_none();
        let claim = if init_reboot { Claim::Wish } else { Claim::Right };
        if !self.is_right_for(&client, address, claim, view) {
            return Ok(DhcpStep::Send(self.refuse(request)));
        }
        if !self.may_take(address, &client, view) {
            return Err(DropReason::DhcpShareUsed);
        }
        let has = self.has(&client, address, view.now);
        if !has && !self.is_probed(address, view.now) {
            return self.probe(address, request, client, view);
        }
        let mut binding = client.binding(BindingState::Leased, view.port, view.now + self.config.lease_time);
        let held = self.leases.of(address).filter(|_| has);
        let is_new = held.is_none_or(|held| (held.mac, &held.host_name) != (binding.mac, &binding.host_name));
        binding.disputed = held.is_some_and(|held| held.disputed);
        self.bind(address, binding);
        self.note(address, if is_new { LeaseEventKind::Leased } else { LeaseEventKind::Renewed });
        let reply = self.reply(request, DhcpMessageType::Ack, address);
        let station = Some(request.mac).filter(|_| request.relay.is_none());
        Ok(DhcpStep::Send(DhcpReply { grants: Some(Grant { address, is_new, station }), ..reply }))
    }

    /// The message waits until it is known whether somebody uses the address.
    fn probe(
        &mut self,
        address: Ipv4Addr,
        request: &Request<'_>,
        client: Client,
        view: View<'_>,
    ) -> Result<DhcpStep, DropReason> {
        let View { now, port, .. } = view;
        if !self.probes.may_wait(address, port) {
            return Err(DropReason::DhcpBusy);
        }
        let from = client.agent.map_or(client.mac, |(_, mac)| mac);
        let binding = client.binding(BindingState::Probing, port, now + OFFER_TIME);
        self.bind(address, Binding { probed: now, ..binding });
        let begins = self.probes.wait(address, request.message, from, view);
        Ok(if begins { DhcpStep::Ask(address) } else { DhcpStep::Done })
    }

    fn decline(&mut self, request: &Request<'_>, client: &Client, view: View<'_>) -> Result<(), DropReason> {
        let address = request.requested.ok_or(DropReason::BadDhcp)?;
        let mut binding = self.held(request, client, address)?.clone();
        if binding.port != view.port && !self.leases.may_take(view.port, address, self.shared) {
            return Err(DropReason::DhcpShareUsed);
        }
        self.note(address, LeaseEventKind::Declined);
        match self.user_of(address, client, view) {
            Some((user, port)) => self.set_aside(address, user, port, view.now),
            None => {
                (binding.state, binding.port) = (BindingState::Declined, view.port);
                binding.until = view.now + IN_USE;
                self.bind(address, binding);
            }
        }
        Ok(())
    }

    fn release(&mut self, request: &Request<'_>, client: &Client, now: Millis) -> Result<(), DropReason> {
        let address = request.in_use.ok_or(DropReason::BadDhcp)?;
        let held = self.held(request, client, address)?;
        let (until, is_lease) = (held.until.min(now), held.is_lease(now));
        self.leases.end_at(address, until);
        if is_lease {
            self.note(address, LeaseEventKind::Released);
        }
        Ok(())
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
            .filter(|binding| binding.client == client.key && binding.state.is_a_clients())
            .filter(|_| request.server.is_none_or(|server| server == self.interface.address()))
            .ok_or(DropReason::DhcpNotForUs)
    }

    /// The client chose another server.
    fn take_back_offer(&mut self, client: &Client, now: Millis) {
        if let Some(address) = self.leases.address_of(&client.key)
            && let Some(binding) = self.leases.of(address)
            && binding.state.is_untaken()
        {
            let until = binding.until.min(now);
            self.leases.end_at(address, until);
        }
    }

    /// Whether the settings let the client have the address.
    fn may_have(&self, address: Ipv4Addr, mac: MacAddr, client: &[u8]) -> bool {
        let in_range = (self.config.first..=self.config.last).contains(&address);
        let reserved = self.leases.reserved().contains(&address);
        let allowed = if reserved { self.reserved_for(mac, client) == Some(address) } else { in_range };
        allowed && self.is_host(address)
    }

    /// Why a client behind this port gets no address.
    fn why_none(&self, port: Option<PortId>) -> DropReason {
        if self.leases.is_full(self.shared) {
            DropReason::DhcpRangeFull
        } else if !self.has_room(port) {
            DropReason::DhcpShareUsed
        } else if self.probes.is_full(port) {
            DropReason::DhcpBusy
        } else {
            DropReason::DhcpRangeFull
        }
    }

    /// Whether a host other than the switch itself can have the address.
    fn is_host(&self, address: Ipv4Addr) -> bool {
        is_host(self.interface, address)
    }

    /// Binds the address. A lease that the client had of another one is over, and so is another's of this one.
    fn bind(&mut self, address: Ipv4Addr, binding: Binding) {
        let ousts = |held: &Binding| held.state == BindingState::Leased && held.client != binding.client;
        if self.leases.of(address).is_some_and(ousts) {
            self.note(address, LeaseEventKind::Moved);
        }
        let (mac, host_name) = (binding.mac, binding.host_name.as_deref().map(str::to_owned));
        if let Some(before) = self.leases.bind(address, binding) {
            self.changes.push(Change { address: before, mac, host_name, kind: LeaseEventKind::Moved });
        }
    }

    /// Something happened to the binding of `address`.
    fn note(&mut self, address: Ipv4Addr, kind: LeaseEventKind) {
        if let Some(held) = self.leases.of(address) {
            let host_name = held.host_name.as_deref().map(str::to_owned);
            self.changes.push(Change { address, mac: held.mac, host_name, kind });
        }
    }
}

fn is_host(net: Ipv4Cidr, address: Ipv4Addr) -> bool {
    let is_network = net.prefix_len() < 31 && address == net.network();
    net.contains(address) && !net.is_broadcast(address) && !is_network && address != net.address()
}

/// How long an offer is held. RFC 2131, 4.3.1 leaves it to the server; clients decide within seconds, and one that does
/// so later gets the address if nobody else did.
const OFFER_TIME: Millis = Millis::from_secs(10);

#[cfg(test)]
mod tests;

//! The DHCP servers of all networks, between the frames and whoever keeps their leases.
//!
//! ```text
//! message ─▶ server ─┬─▶ answer ─▶ out
//!                    ├─▶ ACK of a new lease ─▶ waits until the lease is kept, or for PATIENCE ─▶ out
//!                    ├─▶ question for a probe ─▶ out
//!                    └─▶ changes ─▶ to be kept (take_lease_changes), to be told (next_lease_event)
//! ```

pub(crate) mod server;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use packet::builder::eth;
use packet::{DropReason, MacAddr, Millis, NetworkId, Offload, PortId, Protocol};

use self::server::{
    Binding, Change, DhcpReceiver, DhcpReply, DhcpServer, DhcpStep, Grant, View, relay_agent,
};
use super::names::LeaseNames;
use super::outgoing::To;
use super::slow::Slow;
use super::udp;
use crate::gateway::Gateway;
use crate::gateway::route::Hop;
use crate::punt::Punted;
use crate::report::{Cursor, LeaseChanges, LeaseEvent, LeaseEventKind, LeaseRecord, LeaseReport, PoolReport};
use crate::runtime_config::{InterfaceConfig, RuntimeConfig};
use crate::sockets::Service;

/// The servers, and what waits on its way to or from them.
#[derive(Debug, Default)]
pub(crate) struct Dhcp {
    /// By network.
    servers: Vec<Option<DhcpServer>>,
    /// Ports whose clients speak for themselves only.
    guarded: BTreeSet<PortId>,
    /// Whether somebody keeps leases.
    kept: bool,
    /// What is to be kept, and from when on; the number of the last change, and of the last one that is kept.
    changed: BTreeSet<Key>,
    changed_at: Option<Millis>,
    changed_wholly: bool,
    revision: u64,
    kept_revision: u64,
    /// ACKs of leases that are not kept yet.
    waiting: BTreeMap<Key, WaitingAck>,
    /// What nobody has been told yet.
    events: VecDeque<LeaseEvent>,
    /// When a server has something to do.
    probes_due: Option<Millis>,
}

type Key = (NetworkId, Ipv4Addr);

#[derive(Debug)]
struct WaitingAck {
    reply: DhcpReply,
    revision: u64,
    until: Millis,
}

impl Dhcp {
    pub(super) fn next_timeout(&self) -> Option<Millis> {
        let until =
            |ack: &WaitingAck| if ack.revision <= self.kept_revision { Millis::ZERO } else { ack.until };
        let acks = self.waiting.values().map(until).min();
        [acks, self.probes_due].into_iter().flatten().min()
    }

    /// Takes over a configuration that replaces `old`. Leases of networks that keep their name stay.
    pub(super) fn install(&mut self, old: &RuntimeConfig, config: &RuntimeConfig, gateway: &mut Gateway) {
        let leases = self.lease_count();
        let mut previous = std::mem::take(&mut self.servers);
        gateway.sockets.stop_listening(Service::Dhcp);
        for network in &config.networks {
            let before = old.networks.iter().position(|other| other.name == network.name);
            let before = before.and_then(|index| previous.get_mut(index)?.take());
            let server = network.interface.as_ref().and_then(|interface| server_of(interface, before));
            if server.is_some() {
                gateway.sockets.listen(network.id, Protocol::UDP, DHCP_SERVER_PORT, Service::Dhcp);
            }
            self.servers.push(server);
        }
        let guarded = config.ports.iter().filter(|port| port.settings.guard.mac && port.settings.guard.dhcp);
        self.guarded = guarded.map(|port| port.id).collect();
        let names = |config: &RuntimeConfig| {
            config.networks.iter().map(|network| network.name.clone()).collect::<Vec<_>>()
        };
        if self.lease_count() != leases || names(old) != names(config) {
            self.forget_changes();
        }
    }

    /// All leases are to be kept anew: networks or leases are gone.
    fn forget_changes(&mut self) {
        if self.kept {
            self.changed.clear();
            (self.changed_wholly, self.changed_at) = (true, Some(Millis::ZERO));
            self.revision += 1;
        }
    }

    fn note(&mut self, network: NetworkId, change: Change, now: Millis) {
        let Change { address, mac, host_name, kind } = change;
        let at = match kind {
            LeaseEventKind::Leased
            | LeaseEventKind::Moved
            | LeaseEventKind::Released
            | LeaseEventKind::Declined => Some(now),
            LeaseEventKind::Renewed => Some(now + RENEWAL),
            LeaseEventKind::InUse | LeaseEventKind::Disputed => None,
        };
        if let Some(at) = at.filter(|_| self.kept) {
            self.changed.insert((network, address));
            self.changed_at = Some(self.changed_at.map_or(at, |before| before.min(at)));
            self.revision += 1;
        }
        let is_news = !matches!(kind, LeaseEventKind::Renewed | LeaseEventKind::Moved);
        if is_news && self.events.len() < EVENTS {
            self.events.push_back(LeaseEvent { network, address, mac, host_name, kind });
        }
    }

    /// Whether the ACK has to wait; then it is kept.
    fn hold(&mut self, network: NetworkId, reply: &DhcpReply, now: Millis) -> bool {
        let Some(Grant { address, is_new, .. }) = reply.grants.filter(|_| self.kept) else { return false };
        let (key, is_full) = ((network, address), self.waiting.len() >= WAITING);
        match self.waiting.get_mut(&key) {
            // It was asked for once more: one answer is enough.
            Some(ack) => ack.reply = reply.clone(),
            None if is_new && !is_full => {
                let (reply, revision) = (reply.clone(), self.revision);
                self.waiting.insert(key, WaitingAck { reply, revision, until: now + PATIENCE });
            }
            None => return false,
        }
        true
    }

    /// An ACK that need not wait any longer.
    fn next_ack(&mut self, now: Millis) -> Option<(NetworkId, DhcpReply)> {
        let kept = self.kept_revision;
        let (&key, _) = self.waiting.iter().find(|(_, ack)| ack.revision <= kept || ack.until <= now)?;
        self.waiting.remove(&key).map(|ack| (key.0, ack.reply))
    }

    /// A part of the DHCP leases of all networks; `None`: there is no more.
    pub(crate) fn leases_part(&self, cursor: &mut Cursor, now: Millis) -> Option<Vec<LeaseReport>> {
        let (network, bindings) = self.bindings_part(cursor)?;
        let leases = bindings.into_iter().filter(|(_, held)| held.is_lease(now));
        Some(leases.map(|(address, held)| held.report(network, address, now)).collect())
    }

    /// A part of all bindings, live or not: those of one network.
    fn bindings_part(&self, cursor: &mut Cursor) -> Option<(NetworkId, Vec<(Ipv4Addr, &Binding)>)> {
        let server = self.servers.get(cursor.network)?;
        let network = NetworkId::new(u16::try_from(cursor.network).ok()?);
        let from = u32::try_from(cursor.place).unwrap_or(u32::MAX).into();
        let bindings = server.iter().flat_map(|server| server.bindings_from(from)).take(PART);
        let bindings: Vec<(Ipv4Addr, &Binding)> = bindings.collect();
        *cursor = match bindings.last() {
            Some((last, _)) if bindings.len() == PART => cursor.to(last.to_bits() as usize + 1),
            _ => cursor.to_next_network(),
        };
        Some((network, bindings))
    }

    /// The station that `address` is leased or reserved to.
    pub(crate) fn holder(&self, network: NetworkId, address: Ipv4Addr, now: Millis) -> Option<MacAddr> {
        self.server(network)?.holder(address, now)
    }

    /// How full the ranges of the DHCP servers are.
    pub(crate) fn pools(&self, now: Millis) -> impl Iterator<Item = PoolReport> + '_ {
        self.all().map(move |(network, server)| server.pool(network, now))
    }

    /// These ports of the switch are others' from now on: they begin without what the last ones held.
    pub(super) fn forget_ports(&mut self, ports: &BTreeSet<PortId>) {
        self.servers.iter_mut().flatten().for_each(|server| server.forget_ports(ports));
    }

    pub(crate) fn keep_leases(&mut self, kept: bool) {
        self.kept = kept;
        self.forget_changes();
        if !kept {
            self.changed.clear();
            (self.changed_at, self.kept_revision) = (None, self.revision);
        }
    }

    pub(crate) fn restore_lease(&mut self, record: LeaseRecord, now: Millis) -> bool {
        let server = self.servers.get_mut(record.network.index()).and_then(Option::as_mut);
        server.is_some_and(|server| server.restore(record, now))
    }

    pub(crate) fn leases_changed(&self) -> Option<Millis> {
        self.changed_at
    }

    pub(crate) fn take_lease_changes(&mut self, now: Millis) -> LeaseChanges {
        let (changed, is_all) = (std::mem::take(&mut self.changed), self.changed_wholly);
        (self.changed_wholly, self.changed_at) = (false, None);
        let keys: Vec<Key> = if is_all {
            let of = |(network, server): (NetworkId, &DhcpServer)| {
                server.leased(now).map(|address| (network, address)).collect::<Vec<_>>()
            };
            self.all().flat_map(of).collect()
        } else {
            changed.into_iter().collect()
        };
        let record = |&(network, address): &Key| self.server(network)?.record(network, address, now);
        let leases = keys.into_iter().map(|key| (key, record(&key))).collect();
        LeaseChanges { revision: self.revision, is_all, leases }
    }

    pub(crate) fn leases_kept(&mut self, revision: u64) {
        self.kept_revision = revision;
    }

    pub(crate) fn next_lease_event(&mut self) -> Option<LeaseEvent> {
        self.events.pop_front()
    }

    /// Takes a client's message.
    pub(super) fn serve(&mut self, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let (message, network, station) = (udp::payload(punted)?, punted.input, punted.meta.src);
        let step = self.with_server(network, slow, |server, view| server.handle(message, station, view));
        let step = step.ok_or(DropReason::DhcpNotForUs)??;
        if let Some(address) = relay_agent(message)
            && punted.ip()?.src == address
            && let Err(reason @ DropReason::NoRoute) =
                // As of somebody who asks by ARP, an answer is likely to follow.
                slow.hear(Hop { network, address }, station, true)
        {
            return Err(reason);
        }
        self.take_step(step, network, slow)
    }

    /// `mac` says that it has the hop's address.
    pub(super) fn hear(&mut self, hop: Hop, mac: MacAddr, slow: &mut Slow<'_>) {
        let step = self.with_server(hop.network, slow, |server, view| server.on_arp(hop.address, mac, view));
        if let Some(step) = step {
            self.take_late_step(step, hop.network, slow);
        }
    }

    /// Goes on with probes, and sends ACKs that have waited.
    pub(super) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        while slow.out.has_room()
            && let Some((network, reply)) = self.next_ack(slow.now)
        {
            self.take_late_step(Ok(DhcpStep::Send(DhcpReply { grants: None, ..reply })), network, slow);
        }
        if self.probes_due.is_none_or(|due| due > slow.now) {
            return;
        }
        for network in (0..self.servers.len() as u16).map(NetworkId::new) {
            while slow.out.has_room()
                && let Some(step) =
                    self.with_server(network, slow, |server, view| server.on_timeout(view)).flatten()
            {
                self.take_late_step(step, network, slow);
            }
        }
        let due = self.all().filter_map(|(_, server)| server.next_timeout()).min();
        self.probes_due = due;
    }

    /// How many leases there are, those that have ended but are remembered included.
    fn lease_count(&self) -> usize {
        self.all().map(|(_, server)| server.leased(Millis::ZERO).count()).sum()
    }

    fn server(&self, network: NetworkId) -> Option<&DhcpServer> {
        self.servers.get(network.index())?.as_ref()
    }

    fn all(&self) -> impl Iterator<Item = (NetworkId, &DhcpServer)> {
        let networks = (0..).map(NetworkId::new).zip(&self.servers);
        networks.filter_map(|(network, server)| Some((network, server.as_ref()?)))
    }

    fn with_server<T>(
        &mut self,
        network: NetworkId,
        slow: &Slow<'_>,
        ask: impl FnOnce(&mut DhcpServer, View<'_>) -> T,
    ) -> Option<T> {
        let server = self.servers.get_mut(network.index())?.as_mut()?;
        let (now, port) = (slow.now, slow.gateway.origin());
        let seen = |address| Some(slow.gateway.neighbours.get(Hop { network, address })?.seen);
        let is_guarded = port.is_some_and(|port| self.guarded.contains(&port));
        let outcome = ask(server, View { now, is_guarded, port, seen: &seen });
        let (changes, due) = (server.take_changes(), server.next_timeout());
        for change in changes {
            self.note(network, change, now);
        }
        self.probes_due = [self.probes_due, due].into_iter().flatten().min();
        Some(outcome)
    }

    fn take_step(
        &mut self,
        step: DhcpStep,
        network: NetworkId,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        if let DhcpStep::Send(DhcpReply { grants: Some(Grant { address, is_new: true, station }), .. }) = step
            && let Some(mac) = station
        {
            slow.resolution.hand_over(Hop { network, address }, mac, slow.now, &mut slow.gateway.neighbours);
        }
        match step {
            DhcpStep::Done => Ok(()),
            DhcpStep::Ask(address) => {
                slow.ask(Hop { network, address }, None);
                ping(address, network, slow);
                Ok(())
            }
            DhcpStep::Send(reply) if self.hold(network, &reply, slow.now) => Ok(()),
            DhcpStep::Send(reply) => send(&reply, network, slow),
        }
    }

    /// A step that no frame waits for any more.
    fn take_late_step(
        &mut self,
        step: Result<DhcpStep, DropReason>,
        network: NetworkId,
        slow: &mut Slow<'_>,
    ) {
        if let Err(reason) = step.and_then(|step| self.take_step(step, network, slow)) {
            slow.out.drops.count(reason);
        }
    }
}

impl LeaseNames for Dhcp {
    fn address_of(&self, network: NetworkId, name: &str, now: Millis) -> Option<Ipv4Addr> {
        self.server(network)?.address_of(name, now)
    }

    fn name_of(&self, network: NetworkId, address: Ipv4Addr, now: Millis) -> Option<String> {
        self.server(network)?.name_of(address, now)
    }
}

/// The server of a network, with the leases of the one before.
fn server_of(interface: &InterfaceConfig, before: Option<DhcpServer>) -> Option<DhcpServer> {
    let (settings, address, mtu) =
        (interface.settings.dhcp.clone()?, interface.address, interface.settings.mtu);
    Some(match before {
        Some(mut server) => {
            server.reconfigure(settings, address, mtu);
            server
        }
        None => DhcpServer::new(settings, address, mtu),
    })
}

/// Asks everybody for an echo: a host that doesn't answer ARP for the address may answer that, and asks by ARP before. RFC
/// 2131, 3.1.
fn ping(address: Ipv4Addr, network: NetworkId, slow: &mut Slow<'_>) {
    let Some(interface) = slow.gateway.interface(network) else { return };
    let (own, own_mac) = (interface.address.address(), interface.mac);
    let frame = eth().src(own_mac).dst(MacAddr::BROADCAST).ipv4(own, address);
    let frame = frame.icmp_echo(DHCP_SERVER_PORT, 1).payload(&[0; 8]);
    slow.out.push(To::Network(network), &frame, Offload::NONE);
}

fn send(reply: &DhcpReply, network: NetworkId, slow: &mut Slow<'_>) -> Result<(), DropReason> {
    let interface = slow.gateway.interface(network).ok_or(DropReason::NoRoute)?;
    let (own, own_mac) = (interface.address.address(), interface.mac);
    let frame = |mac, ip, port| {
        let frame = eth().src(own_mac).dst(mac).ipv4(own, ip);
        frame.udp(DHCP_SERVER_PORT, port).payload(&reply.payload)
    };
    match reply.to {
        DhcpReceiver::Client { station, mac, ip } => {
            let frame = frame(mac, ip, DHCP_CLIENT_PORT);
            slow.out.push(To::Station(network, station), &frame, Offload::NONE);
            Ok(())
        }
        DhcpReceiver::Relay(address) => {
            slow.send(Hop { network, address }, frame(MacAddr::ZERO, address, DHCP_SERVER_PORT))
        }
    }
}

/// RFC 2131, 4.1.
const DHCP_SERVER_PORT: u16 = 67;
/// RFC 2131, 4.1.
const DHCP_CLIENT_PORT: u16 = 68;
/// How late a lease that is only prolonged may be kept.
const RENEWAL: Millis = Millis::new(500);
/// How long a client waits for its lease to be kept. Clients ask again after 3 seconds or more.
const PATIENCE: Millis = Millis::from_secs(2);
/// ACKs that wait at most, 600 KiB; beyond that clients are told at once.
const WAITING: usize = 1024;
/// Bindings that are looked at at once: 0.1 ms.
const PART: usize = 512;
/// Events that wait to be told: whoever doesn't ask for them misses the later ones.
const EVENTS: usize = 1024;

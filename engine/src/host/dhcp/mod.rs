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
use packet::wire::EthernetHeader;
use packet::{DropReason, FrameMeta, Ipv4Packet, MacAddr, Millis, NetworkId, Offload, PortId};

use self::server::{Change, DhcpReceiver, DhcpReply, DhcpServer, DhcpStep, Grant, View, relay_agent};
use super::{Outgoing, send_waiting, udp_payload};
use crate::gateway::route::Hop;
use crate::gateway::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, Gateway};
use crate::report::{LeaseChanges, LeaseEvent, LeaseEventKind, LeaseRecord, LeaseReport, PoolReport};
use crate::runtime_config::RuntimeConfig;

/// What waits on its way to or from the servers.
#[derive(Debug, Default)]
pub(crate) struct Leasing {
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

impl Leasing {
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        let until =
            |ack: &WaitingAck| if ack.revision <= self.kept_revision { Millis::ZERO } else { ack.until };
        let acks = self.waiting.values().map(until).min();
        [acks, self.probes_due].into_iter().flatten().min()
    }

    /// Takes over a configuration.
    pub(crate) fn install(&mut self, config: &RuntimeConfig) {
        let guarded = config.ports.iter().filter(|port| port.guard.mac && port.guard.dhcp);
        self.guarded = guarded.map(|port| port.id).collect();
    }

    /// All leases are to be kept anew: networks or leases are gone.
    pub(crate) fn forget_changes(&mut self) {
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
}

impl Gateway {
    /// DHCP leases of all networks.
    pub(crate) fn leases(&self, now: Millis) -> impl Iterator<Item = LeaseReport> + '_ {
        self.dhcp_servers().flat_map(move |(network, server)| server.leases(network, now))
    }

    /// The station that `address` is leased or reserved to.
    pub(crate) fn holder(&self, network: NetworkId, address: Ipv4Addr, now: Millis) -> Option<MacAddr> {
        self.interface(network)?.dhcp.as_ref()?.holder(address, now)
    }

    /// How full the ranges of the DHCP servers are.
    pub(crate) fn pools(&self, now: Millis) -> impl Iterator<Item = PoolReport> + '_ {
        self.dhcp_servers().map(move |(network, server)| server.pool(network, now))
    }

    /// The port of the switch is another's from now on: that one begins without what the last one held.
    pub(crate) fn forget_port(&mut self, port: PortId) {
        self.nat.forget_owner(port);
        let interfaces = self.interfaces.iter_mut().flatten();
        interfaces.filter_map(|interface| interface.dhcp.as_mut()).for_each(|dhcp| dhcp.forget_port(port));
    }

    pub(crate) fn keep_leases(&mut self, kept: bool) {
        self.leasing.kept = kept;
        self.leasing.forget_changes();
        if !kept {
            self.leasing.changed.clear();
            (self.leasing.changed_at, self.leasing.kept_revision) = (None, self.leasing.revision);
        }
    }

    pub(crate) fn restore_lease(&mut self, record: LeaseRecord, now: Millis) -> bool {
        let interface = self.interfaces.get_mut(record.network.index()).and_then(Option::as_mut);
        let server = interface.and_then(|interface| interface.dhcp.as_mut());
        server.is_some_and(|server| server.restore(record, now))
    }

    pub(crate) fn leases_changed(&self) -> Option<Millis> {
        self.leasing.changed_at
    }

    pub(crate) fn take_lease_changes(&mut self, now: Millis) -> LeaseChanges {
        let (changed, is_all) = (std::mem::take(&mut self.leasing.changed), self.leasing.changed_wholly);
        (self.leasing.changed_wholly, self.leasing.changed_at) = (false, None);
        let keys: Vec<Key> = if is_all {
            let of = |(network, server): (NetworkId, &DhcpServer)| {
                server.leased(now).map(|address| (network, address)).collect::<Vec<_>>()
            };
            self.dhcp_servers().flat_map(of).collect()
        } else {
            changed.into_iter().collect()
        };
        let record =
            |&(network, address): &Key| self.interface(network)?.dhcp.as_ref()?.record(network, address, now);
        let leases = keys.into_iter().map(|key| (key, record(&key))).collect();
        LeaseChanges { revision: self.leasing.revision, is_all, leases }
    }

    pub(crate) fn leases_kept(&mut self, revision: u64) {
        self.leasing.kept_revision = revision;
    }

    pub(crate) fn next_lease_event(&mut self) -> Option<LeaseEvent> {
        self.leasing.events.pop_front()
    }

    /// How many leases there are, those that have ended but are remembered included.
    pub(crate) fn lease_count(&self) -> usize {
        self.dhcp_servers().map(|(_, server)| server.leased(Millis::ZERO).count()).sum()
    }

    /// A configuration has replaced another, with which there were `before` leases.
    pub(crate) fn note_lost_leases(&mut self, before: usize, old: &RuntimeConfig, config: &RuntimeConfig) {
        let names = |config: &RuntimeConfig| {
            config.networks.iter().map(|network| network.name.clone()).collect::<Vec<_>>()
        };
        if self.lease_count() != before || names(old) != names(config) {
            self.leasing.forget_changes();
        }
    }

    pub(crate) fn dhcp(
        &mut self,
        meta: &FrameMeta,
        bytes: &[u8],
        input: NetworkId,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        let message = udp_payload(bytes, meta.offload)?;
        let step = self.with_dhcp(input, now, |server, view| server.handle(message, meta.src, view));
        let step = step.ok_or(DropReason::DhcpNotForUs)??;
        if let Some(address) = relay_agent(message)
            && Ipv4Packet::parse_header(&bytes[EthernetHeader::LEN..])?.src == address
        {
            // As of somebody who asks by ARP, an answer is likely to follow.
            let hop = Hop { network: input, address };
            let own_mac = self.interface(input).ok_or(DropReason::NoRoute)?.mac;
            for frame in self.neighbours.hear(hop, meta.src, true, self.origin, now).unwrap_or_default() {
                send_waiting(frame, hop, own_mac, meta.src, out);
            }
        }
        self.take_step(step, input, now, out)
    }

    /// `mac` says that it has the hop's address.
    pub(crate) fn note_address(&mut self, hop: Hop, mac: MacAddr, now: Millis, out: &mut Outgoing) {
        let step = self.with_dhcp(hop.network, now, |server, view| server.on_arp(hop.address, mac, view));
        if let Some(step) = step {
            self.take_late_step(step, hop.network, now, out);
        }
    }

    /// Goes on with probes, and sends ACKs that have waited.
    pub(crate) fn serve_dhcp_clients(&mut self, now: Millis, out: &mut Outgoing) {
        while out.has_room()
            && let Some((network, reply)) = self.leasing.next_ack(now)
        {
            self.take_late_step(Ok(DhcpStep::Send(DhcpReply { grants: None, ..reply })), network, now, out);
        }
        if self.leasing.probes_due.is_none_or(|due| due > now) {
            return;
        }
        for network in (0..self.interfaces.len() as u16).map(NetworkId::new) {
            while out.has_room()
                && let Some(step) =
                    self.with_dhcp(network, now, |server, view| server.on_timeout(view)).flatten()
            {
                self.take_late_step(step, network, now, out);
            }
        }
        let due = self.dhcp_servers().filter_map(|(_, server)| server.next_timeout()).min();
        self.leasing.probes_due = due;
    }

    fn dhcp_servers(&self) -> impl Iterator<Item = (NetworkId, &DhcpServer)> {
        let networks = (0..).map(NetworkId::new).zip(&self.interfaces);
        networks.filter_map(|(network, interface)| Some((network, interface.as_ref()?.dhcp.as_ref()?)))
    }

    fn with_dhcp<T>(
        &mut self,
        network: NetworkId,
        now: Millis,
        ask: impl FnOnce(&mut DhcpServer, View<'_>) -> T,
    ) -> Option<T> {
        let server = self.interfaces.get_mut(network.index())?.as_mut()?.dhcp.as_mut()?;
        let neighbours = &self.neighbours;
        let seen = |address| neighbours.sighting(Hop { network, address });
        let is_guarded = self.origin.is_some_and(|port| self.leasing.guarded.contains(&port));
        let outcome = ask(server, View { now, is_guarded, port: self.origin, seen: &seen });
        for change in server.take_changes() {
            self.leasing.note(network, change, now);
        }
        self.leasing.probes_due =
            [self.leasing.probes_due, server.next_timeout()].into_iter().flatten().min();
        Some(outcome)
    }

    fn take_step(
        &mut self,
        step: DhcpStep,
        network: NetworkId,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        if let DhcpStep::Send(DhcpReply { grants: Some(Grant { address, is_new: true, station }), .. }) = step
            && let Some(mac) = station
        {
            self.neighbours.hand_over(Hop { network, address }, mac, now);
        }
        match step {
            DhcpStep::Done => Ok(()),
            DhcpStep::Ask(address) => {
                self.ask(Hop { network, address }, None, out);
                Ok(())
            }
            DhcpStep::Send(reply) if self.leasing.hold(network, &reply, now) => Ok(()),
            DhcpStep::Send(DhcpReply { payload, to, .. }) => {
                let interface = self.interface(network).ok_or(DropReason::NoRoute)?;
                let (own, own_mac) = (interface.address.address(), interface.mac);
                let frame = |mac, ip, port| {
                    let frame = eth().src(own_mac).dst(mac).ipv4(own, ip);
                    frame.udp(DHCP_SERVER_PORT, port).payload(&payload)
                };
                match to {
                    DhcpReceiver::Client { station, mac, ip } => {
                        let frame = frame(mac, ip, DHCP_CLIENT_PORT);
                        out.push_towards(Some(station), network, &frame, Offload::NONE);
                        Ok(())
                    }
                    DhcpReceiver::Relay(address) => {
                        let frame = frame(MacAddr::ZERO, address, DHCP_SERVER_PORT);
                        self.send(Hop { network, address }, frame, now, out)
                    }
                }
            }
        }
    }

    /// A step that no frame waits for any more.
    fn take_late_step(
        &mut self,
        step: Result<DhcpStep, DropReason>,
        network: NetworkId,
        now: Millis,
        out: &mut Outgoing,
    ) {
        if let Err(reason) = step.and_then(|step| self.take_step(step, network, now, out)) {
            out.drops.count(reason);
        }
    }
}

/// How late a lease that is only prolonged may be kept.
const RENEWAL: Millis = Millis::new(500);
/// How long a client waits for its lease to be kept. Clients ask again after 3 seconds or more.
const PATIENCE: Millis = Millis::from_secs(2);
/// ACKs that wait at most, 600 KiB; beyond that clients are told at once.
const WAITING: usize = 1024;
/// Events that wait to be told: whoever doesn't ask for them misses the later ones.
const EVENTS: usize = 1024;

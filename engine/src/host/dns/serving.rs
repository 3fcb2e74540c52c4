//! The guests' side: who asks, by a datagram or by a connection, and how an answer gets there. RFC 7766.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

use packet::builder::eth;
use packet::{DropReason, Ipv4Packet, L4, MacAddr, Millis, NetworkId, Offload, PortId, share};

use super::message::{PLAIN, Query};
use super::random::Random;
use crate::gateway::{Gateway, is_syn};
use crate::host::outgoing::To;
use crate::host::slow::Slow;
use crate::host::stream::Stream;
use crate::punt::Punted;

/// Whoever asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Asker {
    pub network: NetworkId,
    /// The socket of the switch that it has sent to.
    pub own: SocketAddrV4,
    pub remote: SocketAddrV4,
    pub mac: MacAddr,
    by_tcp: bool,
}

/// A question whose answer somebody waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Waiter {
    pub query: Query,
    pub asker: Asker,
}

/// The guests' connections.
#[derive(Debug)]
pub(super) struct Serving {
    connections: BTreeMap<Asker, Connection>,
    random: Random,
    next: Option<Millis>,
}

#[derive(Debug)]
struct Connection {
    stream: Stream,
    /// The port of the switch that it came by.
    port: Option<PortId>,
    /// Questions that aren't answered yet.
    open: usize,
    /// When it is closed if nothing is said.
    idle_at: Millis,
}

impl Asker {
    /// Of a packet for the forwarder.
    pub(super) fn of(punted: &Punted<'_>, ip: &Ipv4Packet) -> Self {
        let own = SocketAddrV4::new(ip.dst, ip.dst_port);
        let remote = SocketAddrV4::new(ip.src, ip.src_port);
        Self { network: punted.input, own, remote, mac: punted.meta.src, by_tcp: ip.l4 == L4::Tcp }
    }

    /// How long an answer may be.
    pub(super) fn room(&self, query: &Query, gateway: &Gateway) -> usize {
        if self.by_tcp {
            return usize::from(u16::MAX);
        }
        let link = gateway.mtu_of(self.network).saturating_sub(IP_AND_UDP).max(PLAIN);
        query.room().min(link)
    }
}

impl Serving {
    pub(super) const fn new(random: Random) -> Self {
        Self { connections: BTreeMap::new(), random, next: None }
    }

    /// Connections of networks that `stays` doesn't choose are forgotten.
    pub(super) fn retain(&mut self, stays: impl Fn(NetworkId) -> bool) {
        self.connections.retain(|asker, _| stays(asker.network));
    }

    pub(super) fn forget_ports(&mut self, ports: &BTreeSet<PortId>) {
        self.connections.retain(|_, connection| connection.port.is_none_or(|port| !ports.contains(&port)));
    }

    /// Takes a segment, and returns the messages that are whole by it.
    ///
    /// # Errors
    /// There is no such connection, or no room for one more.
    pub(super) fn take(
        &mut self,
        punted: &Punted<'_>,
        slow: &mut Slow<'_>,
    ) -> Result<(Asker, Vec<Vec<u8>>), DropReason> {
        let ip = punted.ip()?;
        let asker = Asker::of(punted, &ip);
        if !self.connections.contains_key(&asker) {
            if !is_syn(ip.tcp_flags) {
                self.reset(asker, punted, slow);
                return Err(DropReason::NoService);
            }
            self.open(asker, slow)?;
        }
        let connection = self.connections.get_mut(&asker).ok_or(DropReason::DnsBusy)?;
        connection.stream.take(punted.packet(), punted.meta.offload);
        connection.stream.go_on(slow.now);
        let mut messages = Vec::new();
        while connection.open < PIPELINE
            && let Some(message) = connection.stream.receive()
        {
            connection.open += 1;
            connection.idle_at = slow.now + IDLE;
            messages.push(message);
        }
        Ok((asker, messages))
    }

    /// Tells whoever believes to have a connection that there is none.
    fn reset(&mut self, asker: Asker, punted: &Punted<'_>, slow: &mut Slow<'_>) {
        let mtu = slow.gateway.mtu_of(asker.network) as u16;
        // A host on which nothing listens at that port.
        let elsewhere = SocketAddrV4::new(*asker.own.ip(), 1);
        let mut stream = Stream::listen(elsewhere, mtu, self.random.draw(), slow.now);
        stream.take(punted.packet(), punted.meta.offload);
        stream.go_on(slow.now);
        send(&mut stream, asker, slow);
    }

    fn open(&mut self, asker: Asker, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let port = slow.gateway.origin();
        let held = self.connections.values().filter(|connection| connection.port == port).count();
        if !share::may_take(held, self.connections.len(), LIMIT) {
            return Err(DropReason::DnsBusy);
        }
        let mtu = slow.gateway.mtu_of(asker.network) as u16;
        let stream = Stream::listen(asker.own, mtu, self.random.draw(), slow.now);
        self.connections.insert(asker, Connection { stream, port, open: 0, idle_at: slow.now + IDLE });
        Ok(())
    }

    /// Sends an answer, by the way that the question came.
    pub(super) fn answer(
        &mut self,
        asker: &Asker,
        message: Vec<u8>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        if asker.by_tcp {
            // It may be gone.
            if let Some(connection) = self.connections.get_mut(asker) {
                connection.stream.send(&message);
                (connection.open, connection.idle_at) = (connection.open.saturating_sub(1), slow.now + IDLE);
                connection.stream.go_on(slow.now);
                self.next = Some(slow.now);
            }
            return Ok(());
        }
        let own_mac = slow.gateway.interface(asker.network).ok_or(DropReason::NoService)?.mac;
        let frame = eth().src(own_mac).dst(asker.mac).ipv4(*asker.own.ip(), *asker.remote.ip());
        let frame = frame.udp(asker.own.port(), asker.remote.port()).payload(&message);
        slow.out.push(To::Network(asker.network), &frame, Offload::NONE);
        Ok(())
    }

    /// Who has sent something that can't be answered gets no answer.
    pub(super) fn drop_question(&mut self, asker: &Asker) {
        if let Some(connection) = self.connections.get_mut(asker) {
            connection.open = connection.open.saturating_sub(1);
            connection.stream.close();
        }
    }

    pub(super) const fn next_timeout(&self) -> Option<Millis> {
        self.next
    }

    /// What is due.
    pub(super) fn on_timeout(&mut self, slow: &mut Slow<'_>) -> Vec<(Asker, Vec<u8>)> {
        let mut messages = Vec::new();
        if self.next.is_none_or(|next| next > slow.now) {
            return messages;
        }
        for (asker, connection) in &mut self.connections {
            if connection.idle_at <= slow.now && connection.open == 0 {
                connection.stream.close();
            }
            connection.stream.go_on(slow.now);
            while connection.open < PIPELINE
                && let Some(message) = connection.stream.receive()
            {
                connection.open += 1;
                messages.push((*asker, message));
            }
        }
        messages
    }

    /// Sends what connections have to send, and forgets those that are over.
    pub(super) fn flush(&mut self, slow: &mut Slow<'_>) {
        self.next = None;
        let now = slow.now;
        self.connections.retain(|asker, connection| {
            send(&mut connection.stream, *asker, slow);
            let is_late = connection.idle_at + LINGER <= now;
            !(connection.stream.is_over() || is_late)
        });
        for connection in self.connections.values_mut() {
            let idle = connection.idle_at.max(now + Millis::new(1));
            let due = connection.stream.next_timeout(now).map_or(idle, |due| due.min(idle));
            self.next = Some(self.next.map_or(due, |next| next.min(due)));
        }
    }
}

fn send(stream: &mut Stream, asker: Asker, slow: &mut Slow<'_>) {
    let Some(own_mac) = slow.gateway.interface(asker.network).map(|interface| interface.mac) else { return };
    for mut frame in stream.frames() {
        frame[..6].copy_from_slice(&asker.mac.octets());
        frame[6..12].copy_from_slice(&own_mac.octets());
        slow.out.push(To::Network(asker.network), &frame, Offload::NONE);
    }
}

/// Connections at once, 16 KiB each.
const LIMIT: usize = 128;
/// Questions of one connection that aren't answered yet.
const PIPELINE: usize = 16;
/// For how long nothing has to be said.
const IDLE: Millis = Millis::from_secs(10);
/// For how long a connection may take to end.
const LINGER: Millis = Millis::from_secs(10);
/// Headers.
const IP_AND_UDP: usize = 28;

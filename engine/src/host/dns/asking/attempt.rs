//! One server, asked once.

use std::net::SocketAddrV4;

use nat_engine::PortLease;
use packet::builder::eth;
use packet::{Millis, NetworkId, Protocol};

use super::super::answer::{Answer, Outcome};
use super::super::message::{Query, Question};
use super::super::random::Random;
use crate::gateway::Gateway;
use crate::gateway::route::{Hop, Source};
use crate::host::slow::Slow;
use crate::host::stream::Stream;
use crate::sockets::{Connected, Service};

/// A question to a server.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Its place among those that may be asked.
    pub server: usize,
    id: u16,
    /// As it was sent, with the case of its letters.
    question: Question,
    by_tcp: bool,
    pub way: Way,
}

/// How it is asked.
#[derive(Debug)]
pub(super) enum Way {
    Host,
    Datagram {
        socket: Connected,
        port: PortLease,
    },
    Stream {
        socket: Connected,
        port: PortLease,
        stream: Box<Stream>,
        hop: Hop,
    },
    /// It is no longer listened to.
    Closed,
}

impl Way {
    pub(super) const fn socket(&self) -> Option<Connected> {
        match self {
            Self::Datagram { socket, .. } | Self::Stream { socket, .. } => Some(*socket),
            Self::Host | Self::Closed => None,
        }
    }
}

impl Attempt {
    fn new(server: usize, query: &Query, by_tcp: bool, random: &mut Random) -> Self {
        let case = u128::from(random.draw()) << 64 | u128::from(random.draw());
        let question = Question { name: query.question.name.with_case(case), ..query.question.clone() };
        Self { server, id: random.draw() as u16, question, by_tcp, way: Way::Closed }
    }

    /// One that had no way to the server.
    pub(super) fn failed(server: usize, question: &Question) -> Self {
        Self { server, id: 0, question: question.clone(), by_tcp: false, way: Way::Closed }
    }

    pub(super) fn by_host(server: usize, query: &Query, by_tcp: bool, random: &mut Random) -> Self {
        Self { way: Way::Host, ..Self::new(server, query, by_tcp, random) }
    }

    /// Sends the question as the network's hosts reach the server. `None`: they don't.
    pub(super) fn by_uplink(
        (server, remote): (usize, SocketAddrV4),
        network: NetworkId,
        query: &Query,
        by_tcp: bool,
        random: &mut Random,
        slow: &mut Slow<'_>,
    ) -> Option<Self> {
        let routes = &slow.gateway.routes;
        let is_neighbour = routes.network_of(*remote.ip()) == Some(network);
        let source = if is_neighbour { Source::Own } else { Source::Translated(network) };
        let hop = routes.lookup(source, *remote.ip()).ok()?;
        let interface = slow.gateway.interface(hop.network)?;
        let (own, mtu) = (interface.address.address(), interface.mtu);
        let protocol = if by_tcp { Protocol::TCP } else { Protocol::UDP };
        let port = slow.gateway.nat.lease_port(own, protocol, slow.now)?;
        let local = SocketAddrV4::new(own, port.port());
        let socket = Connected { protocol, local, remote };
        slow.gateway.sockets.connect(socket, Service::DnsAnswers);
        let mut attempt = Self::new(server, query, by_tcp, random);
        let message = attempt.message(query);
        if by_tcp {
            let mut stream = Box::new(Stream::connect(local, remote, mtu, random.draw(), slow.now));
            stream.send(&message);
            attempt.way = Way::Stream { socket, port, stream, hop };
            return Some(attempt);
        }
        attempt.way = Way::Datagram { socket, port };
        let frame = eth().ipv4(own, *remote.ip()).udp(local.port(), remote.port()).payload(&message);
        if slow.send(hop, frame).is_err() {
            attempt.close(slow.gateway);
            return None;
        }
        Some(attempt)
    }

    pub(super) fn message(&self, query: &Query) -> Vec<u8> {
        let signed = query.edns.is_some_and(|edns| edns.signed);
        self.question.message(self.id, query.flags, signed)
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.way, Way::Closed)
    }

    pub(super) fn read(&self, message: &[u8]) -> Outcome {
        Answer::read(message, self.id, &self.question, self.by_tcp)
    }

    pub(super) fn next_timeout(&mut self, now: Millis) -> Option<Millis> {
        match &mut self.way {
            Way::Stream { stream, .. } => stream.next_timeout(now),
            _ => None,
        }
    }

    /// Gives its port back.
    pub(super) fn close(&mut self, gateway: &mut Gateway) {
        if let Way::Datagram { socket, port } | Way::Stream { socket, port, .. } =
            std::mem::replace(&mut self.way, Way::Closed)
        {
            gateway.sockets.disconnect(socket);
            gateway.nat.return_port(port);
        }
    }
}

//! Questions to servers that have not been answered yet.
//!
//! ```text
//! begun ─ ask a server ─ INTERVAL ─ ask the next ─ … ─ TOTAL ─▶ nobody has answered
//!             ├─ answer ─▶ concluded
//!             ├─ failure, no way there ─▶ ask the next at once; all have failed ─▶ concluded
//!             └─ too long for a datagram ─▶ ask the same one by TCP
//! ```
//!
//! All that were asked are listened to until the end, so that a slow answer is one, too.

mod attempt;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};

use packet::{DropReason, Millis, NetworkId, PortId, Protocol, share};

use self::attempt::{Attempt, Way};
use super::answer::{Answer, Outcome};
use super::cache::Key;
use super::message::Query;
use super::random::Random;
use super::serving::Waiter;
use crate::gateway::Gateway;
use crate::host::slow::Slow;
use crate::host::udp;
use crate::punt::Punted;
use crate::report::{HostAnswer, HostQuestion};
use crate::sockets::Connected;

/// Whom to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Server {
    /// By the switch's own sockets, the way that the network's hosts have.
    ByUplink(SocketAddrV4),
    /// By the host's, through whoever runs the switch.
    ByHost(SocketAddr),
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Asking {
    questions: BTreeMap<u64, Asked>,
    by_key: BTreeMap<(NetworkId, Key), u64>,
    by_socket: BTreeMap<Connected, u64>,
    due: BTreeSet<(Millis, u64)>,
    /// How many of them are because of which port of the switch.
    of_port: BTreeMap<PortId, usize>,
    begun: u64,
    random: Random,
    concluded: VecDeque<Concluded>,
    for_host: VecDeque<HostQuestion>,
    from_host: VecDeque<HostAnswer>,
}

#[derive(Debug)]
struct Asked {
    network: NetworkId,
    key: Key,
    query: Query,
    waiters: Vec<Waiter>,
    servers: Vec<Server>,
    /// The place among them of the one that was asked first.
    first: usize,
    attempts: Vec<Attempt>,
    failures: usize,
    /// The port of the switch that the question came in by.
    port: Option<PortId>,
    begun: Millis,
    /// When the next server is asked.
    next: Millis,
    due: Millis,
}

/// A question that is no longer asked.
#[derive(Debug)]
pub(super) struct Concluded {
    pub network: NetworkId,
    pub key: Key,
    pub waiters: Vec<Waiter>,
    /// The answer, and the place of the server that gave it; `None`: nobody answered.
    pub outcome: Option<(Answer, usize)>,
}

impl Asking {
    pub(super) fn new(random: Random) -> Self {
        Self {
            questions: BTreeMap::new(),
            by_key: BTreeMap::new(),
            by_socket: BTreeMap::new(),
            due: BTreeSet::new(),
            of_port: BTreeMap::new(),
            begun: 0,
            random,
            concluded: VecDeque::new(),
            for_host: VecDeque::new(),
            from_host: VecDeque::new(),
        }
    }

    /// Gives up what is asked for networks that `stays` doesn't choose.
    pub(super) fn retain(&mut self, stays: impl Fn(NetworkId) -> bool, gateway: &mut Gateway) {
        let gone = self.questions.iter().filter(|(_, asked)| !stays(asked.network));
        for nth in gone.map(|(&nth, _)| nth).collect::<Vec<_>>() {
            self.end(nth, gateway);
        }
    }

    /// Whether one more may be asked because of this port.
    pub(super) fn has_room(&self, port: Option<PortId>) -> bool {
        let held = port.and_then(|port| self.of_port.get(&port)).copied().unwrap_or_default();
        share::may_take(held, self.questions.len(), LIMIT)
    }

    /// Whether the same is asked already; then whoever waits gets that answer, or has to ask again if too many wait.
    pub(super) fn join(&mut self, network: NetworkId, key: &Key, waiter: &Waiter) -> bool {
        let nth = self.by_key.get(&(network, key.clone()));
        let Some(asked) = nth.and_then(|nth| self.questions.get_mut(nth)) else { return false };
        if asked.waiters.len() < WAITERS && !asked.waiters.contains(waiter) {
            asked.waiters.push(waiter.clone());
        }
        true
    }

    /// Asks one of `servers`, that in the place `first` if there is one.
    pub(super) fn begin(
        &mut self,
        key: Key,
        waiter: Waiter,
        servers: Vec<Server>,
        first: usize,
        slow: &mut Slow<'_>,
    ) {
        let (network, port) = (waiter.asker.network, slow.gateway.origin());
        self.begun += 1;
        let nth = self.begun;
        if let Some(port) = port {
            *self.of_port.entry(port).or_default() += 1;
        }
        self.by_key.insert((network, key.clone()), nth);
        let asked = Asked {
            network,
            key,
            query: waiter.query.clone(),
            waiters: vec![waiter],
            first: if first < servers.len() { first } else { 0 },
            servers,
            attempts: Vec::new(),
            failures: 0,
            port,
            begun: slow.now,
            next: slow.now,
            due: slow.now,
        };
        self.due.insert((asked.due, nth));
        self.questions.insert(nth, asked);
        self.go_on(nth, slow);
    }

    pub(super) fn next_timeout(&self) -> Option<Millis> {
        if !self.from_host.is_empty() {
            return Some(Millis::ZERO);
        }
        self.due.first().map(|&(due, _)| due)
    }

    pub(super) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        while let Some(HostAnswer { number, attempt, message }) = self.from_host.pop_front() {
            self.hear(number, attempt as usize, message.as_deref(), slow);
        }
        while slow.out.has_room()
            && let Some(&(due, nth)) = self.due.first()
            && due <= slow.now
        {
            self.go_on(nth, slow);
        }
    }

    /// The questions whose askers have waited so long that an old answer is better than none, once for each.
    pub(super) fn impatient(&mut self, now: Millis) -> Vec<(NetworkId, Key)> {
        let waits = |asked: &&Asked| !asked.waiters.is_empty() && now.since(asked.begun) >= PATIENCE;
        let impatient = self.questions.values().filter(waits);
        impatient.map(|asked| (asked.network, asked.key.clone())).collect()
    }

    /// Whoever waits for this answer no longer does.
    pub(super) fn take_waiters(&mut self, network: NetworkId, key: &Key) -> Vec<Waiter> {
        let nth = self.by_key.get(&(network, key.clone()));
        let asked = nth.and_then(|nth| self.questions.get_mut(nth));
        asked.map(|asked| std::mem::take(&mut asked.waiters)).unwrap_or_default()
    }

    pub(super) fn next_concluded(&mut self) -> Option<Concluded> {
        self.concluded.pop_front()
    }

    /// A question that the host is to ask.
    pub(crate) fn next_for_host(&mut self) -> Option<HostQuestion> {
        self.for_host.pop_front()
    }

    /// What came of a question that the host was to ask; [`on_timeout`](Self::on_timeout) deals with it.
    pub(crate) fn host_answered(&mut self, answer: HostAnswer) {
        if self.from_host.len() < 2 * LIMIT {
            self.from_host.push_back(answer);
        }
    }

    /// Takes a packet that came to one of the sockets.
    pub(super) fn take(&mut self, punted: &Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let ip = punted.ip()?;
        let local = SocketAddrV4::new(ip.dst, ip.dst_port);
        let socket =
            Connected { protocol: ip.protocol, local, remote: SocketAddrV4::new(ip.src, ip.src_port) };
        let nth = *self.by_socket.get(&socket).ok_or(DropReason::NoService)?;
        let asked = self.questions.get_mut(&nth).ok_or(DropReason::NoService)?;
        let place = asked.attempts.iter().position(|attempt| attempt.way.socket() == Some(socket));
        let place = place.ok_or(DropReason::NoService)?;
        if ip.protocol == Protocol::UDP {
            let message = udp::payload(punted)?;
            self.hear(nth, place, Some(message), slow);
            return Ok(());
        }
        if let Way::Stream { stream, .. } = &mut asked.attempts[place].way {
            stream.take(punted.packet(), punted.meta.offload);
        }
        self.go_on(nth, slow);
        Ok(())
    }

    /// Something came of an attempt; `None`: nothing will.
    fn hear(&mut self, nth: u64, place: usize, message: Option<&[u8]>, slow: &mut Slow<'_>) {
        let Some(asked) = self.questions.get_mut(&nth) else { return };
        let Some(attempt) = asked.attempts.get_mut(place).filter(|attempt| attempt.is_open()) else { return };
        let outcome = message.map_or(Outcome::Failed, |message| attempt.read(message));
        match outcome {
            Outcome::Foreign => return,
            Outcome::Answered(answer) => {
                let server = attempt.server;
                return self.conclude(nth, Some((answer, server)), slow.gateway);
            }
            Outcome::Failed => asked.failures += 1,
            Outcome::Truncated => {}
        }
        let server = attempt.server;
        self.close(nth, place, slow.gateway);
        slow.gateway.speak_for(self.questions.get(&nth).and_then(|asked| asked.port));
        let is_asked = outcome == Outcome::Truncated && self.try_server(nth, server, true, slow);
        if !is_asked && let Some(asked) = self.questions.get_mut(&nth) {
            asked.failures += usize::from(outcome == Outcome::Truncated);
            asked.next = slow.now;
        }
        self.go_on(nth, slow);
    }

    /// Goes on with streams, asks the next server if it is time, or gives up.
    fn go_on(&mut self, nth: u64, slow: &mut Slow<'_>) {
        self.go_on_with_streams(nth, slow);
        while let Some(asked) = self.questions.get(&nth)
            && asked.next <= slow.now
        {
            let is_hopeless =
                asked.failures >= asked.servers.len() && !asked.attempts.iter().any(Attempt::is_open);
            if is_hopeless || slow.now.since(asked.begun) >= TOTAL || asked.attempts.len() >= ATTEMPTS {
                return self.conclude(nth, None, slow.gateway);
            }
            let server = (asked.first + asked.attempts.len()) % asked.servers.len();
            slow.gateway.speak_for(asked.port);
            let is_asked = self.try_server(nth, server, false, slow);
            let Some(asked) = self.questions.get_mut(&nth) else { return };
            if is_asked {
                asked.next = slow.now + INTERVAL;
            } else {
                asked.attempts.push(Attempt::failed(server, &asked.query.question));
                asked.failures += 1;
            }
        }
        let Some(asked) = self.questions.get_mut(&nth) else { return };
        let streams = asked.attempts.iter_mut().filter_map(|attempt| attempt.next_timeout(slow.now));
        let due = streams.chain([asked.next]).min().unwrap_or(asked.next);
        self.due.remove(&(asked.due, nth));
        asked.due = due;
        self.due.insert((due, nth));
    }

    fn go_on_with_streams(&mut self, nth: u64, slow: &mut Slow<'_>) {
        let places = self.questions.get(&nth).map_or(0, |asked| asked.attempts.len());
        for place in 0..places {
            let Some(asked) = self.questions.get_mut(&nth) else { return };
            let Way::Stream { stream, hop, .. } = &mut asked.attempts[place].way else { continue };
            stream.go_on(slow.now);
            let (message, is_over, hop) = (stream.receive(), stream.is_over(), *hop);
            for frame in stream.frames() {
                if let Err(reason) = slow.send(hop, frame) {
                    slow.out.drops.count(reason);
                }
            }
            if message.is_some() || is_over {
                self.hear(nth, place, message.as_deref(), slow);
            }
        }
    }

    /// Asks a server. Whether there is a way to do it.
    fn try_server(&mut self, nth: u64, server: usize, by_tcp: bool, slow: &mut Slow<'_>) -> bool {
        let Some(asked) = self.questions.get_mut(&nth) else { return false };
        let place = asked.attempts.len();
        let Some(&to) = asked.servers.get(server).filter(|_| place < ATTEMPTS) else { return false };
        let (network, query) = (asked.network, &asked.query);
        let attempt = match to {
            Server::ByHost(address) => {
                let attempt = Attempt::by_host(server, query, by_tcp, &mut self.random);
                let message = attempt.message(query);
                let (number, attempt_number) = (nth, place as u32);
                let question =
                    HostQuestion { number, attempt: attempt_number, server: address, by_tcp, message };
                if self.for_host.len() >= LIMIT {
                    return false;
                }
                self.for_host.push_back(question);
                Some(attempt)
            }
            Server::ByUplink(address) => {
                Attempt::by_uplink((server, address), network, query, by_tcp, &mut self.random, slow)
            }
        };
        let Some(attempt) = attempt else { return false };
        if let Some(socket) = attempt.way.socket() {
            self.by_socket.insert(socket, nth);
        }
        asked.attempts.push(attempt);
        if by_tcp {
            self.go_on_with_streams(nth, slow);
        }
        true
    }

    fn conclude(&mut self, nth: u64, outcome: Option<(Answer, usize)>, gateway: &mut Gateway) {
        if let Some(Asked { network, key, waiters, .. }) = self.end(nth, gateway) {
            self.concluded.push_back(Concluded { network, key, waiters, outcome });
        }
    }

    fn end(&mut self, nth: u64, gateway: &mut Gateway) -> Option<Asked> {
        let places = self.questions.get(&nth).map_or(0, |asked| asked.attempts.len());
        (0..places).for_each(|place| self.close(nth, place, gateway));
        let asked = self.questions.remove(&nth)?;
        self.due.remove(&(asked.due, nth));
        self.by_key.remove(&(asked.network, asked.key.clone()));
        if let Some(held) = asked.port.and_then(|port| self.of_port.get_mut(&port)) {
            *held -= 1;
        }
        Some(asked)
    }

    fn close(&mut self, nth: u64, place: usize, gateway: &mut Gateway) {
        let asked = self.questions.get_mut(&nth);
        let Some(attempt) = asked.and_then(|asked| asked.attempts.get_mut(place)) else { return };
        if let Some(socket) = attempt.way.socket() {
            self.by_socket.remove(&socket);
        }
        attempt.close(gateway);
    }
}

/// Questions at once. Each has a port of the uplink for each server asked.
const LIMIT: usize = 512;
/// Who waits for the same answer at most; others ask again.
const WAITERS: usize = 16;
/// Between two servers, or two questions to the same.
const INTERVAL: Millis = Millis::new(900);
/// Then nobody will answer: clients give up after some more.
const TOTAL: Millis = Millis::from_secs(8);
/// Servers asked for one answer at most, by UDP and TCP.
const ATTEMPTS: usize = 12;
/// RFC 8767, section 5: a stale answer is told after 1.8 seconds.
const PATIENCE: Millis = Millis::new(1800);

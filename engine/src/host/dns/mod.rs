//! The DNS forwarders of all networks, between guests and whoever knows. RFC 1035, RFC 5625, RFC 5452, RFC 7766.
//!
//! ```text
//! question ─┬─▶ what the switch knows: hosts, leases ────────────────────────┐
//!           ├─▶ not among allowed names: refused, told (next_refusal) ────────┤
//!           ├─▶ kept answer ─────────────────────────────────────────────────┼─▶ answer, and where it leads to
//!           └─▶ asked: by the uplink, or by the host (next_question) ─ answer ┘   is noted for `allow-names`
//! ```
//!
//! A question to a server has a port, an identifier and a case of letters of its own, all random, and only an answer with
//! all three from whom was asked is one. What is asked already isn't asked twice. All tables are bounded, and ports of the
//! switch share them.

mod answer;
mod asking;
mod cache;
mod local;
mod message;
mod random;
mod serving;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use packet::rate::{PortBuckets, Rate};
use packet::{DropReason, Ipv4Cidr, Millis, NetworkId, PortId, Protocol};

use self::answer::{Age, Answer};
use self::asking::{Asking, Server};
use self::cache::{Cache, Key};
use self::local::{Answerer, Known};
use self::message::{Query, Unfit, code, flag};
use self::random::Random;
use self::serving::{Asker, Serving, Waiter};
use super::names::LeaseNames;
use super::slow::Slow;
use super::udp;
use crate::gateway::Gateway;
use crate::punt::Punted;
use crate::report::{DnsRefusal, NameReport, NameSource};
use crate::runtime_config::{DnsConfig, NamePattern, RuntimeConfig};
use crate::sockets::Service;

/// The forwarders, and what is on its way to or from them.
#[derive(Debug)]
pub(crate) struct Dns {
    /// By network.
    forwarders: Vec<Option<Forwarder>>,
    asking: Asking,
    serving: Serving,
    /// The host's own resolvers, as far as anybody has told.
    host_servers: Vec<IpAddr>,
    rates: PortBuckets,
    /// What nobody has been told yet.
    refusals: VecDeque<DnsRefusal>,
}

/// The forwarder of one network.
#[derive(Debug)]
struct Forwarder {
    config: DnsConfig,
    subnet: Ipv4Cidr,
    /// Whether there is a way out by which names could be asked for.
    has_uplink: bool,
    cache: Cache,
    /// The server that answered last.
    preferred: usize,
    /// Until then no server is bothered for what there is a stale answer to. RFC 8767, section 5.5.
    failing_until: Millis,
}

impl Dns {
    /// No forwarder. `seed` must be random.
    pub(super) fn new(seed: [u64; 2]) -> Self {
        Self {
            forwarders: Vec::new(),
            asking: Asking::new(Random::new(seed, "question to a DNS server")),
            serving: Serving::new(Random::new(seed, "DNS by TCP")),
            host_servers: Vec::new(),
            rates: PortBuckets::default(),
            refusals: VecDeque::new(),
        }
    }

    /// Takes over a configuration that replaces `old`. A network that is asked for as before keeps its answers.
    pub(super) fn install(&mut self, old: &RuntimeConfig, config: &RuntimeConfig, gateway: &mut Gateway) {
        let mut before = std::mem::take(&mut self.forwarders);
        gateway.sockets.stop_listening(Service::Dns);
        for network in &config.networks {
            let place = old.networks.iter().position(|other| other.name == network.name);
            let before = place.and_then(|place| before.get_mut(place)?.take());
            let interface = network.interface.as_ref();
            let forwarder = interface.and_then(|interface| {
                let config = interface.settings.dns.clone()?;
                let cache = before.filter(|before| before.config.upstreams == config.upstreams);
                Some(Forwarder {
                    config,
                    subnet: interface.address,
                    has_uplink: network.reach.uplink().is_some(),
                    cache: cache.map(|before| before.cache).unwrap_or_default(),
                    preferred: 0,
                    failing_until: Millis::ZERO,
                })
            });
            if forwarder.is_some() {
                for protocol in [Protocol::UDP, Protocol::TCP] {
                    gateway.sockets.listen(network.id, protocol, DNS_PORT, Service::Dns);
                }
            }
            self.forwarders.push(forwarder);
        }
        let stays = |network: NetworkId| {
            let name = |config: &RuntimeConfig| Some(config.networks.get(network.index())?.name.clone());
            name(old) == name(config) && self.forwarders.get(network.index()).is_some_and(Option::is_some)
        };
        self.asking.retain(stays, gateway);
        self.serving.retain(stays);
    }

    /// These ports of the switch are others' from now on.
    pub(super) fn forget_ports(&mut self, ports: &BTreeSet<PortId>) {
        self.serving.forget_ports(ports);
    }

    /// Takes a packet that a guest sent to the forwarder.
    pub(super) fn serve(
        &mut self,
        punted: &mut Punted<'_>,
        slow: &mut Slow<'_>,
        leases: &dyn LeaseNames,
    ) -> Result<(), DropReason> {
        let ip = punted.ip()?;
        if ip.protocol == Protocol::TCP {
            let (asker, messages) = self.serving.take(punted, slow)?;
            messages.iter().for_each(|message| self.ask_by_tcp(message, asker, slow, leases));
            self.serving.flush(slow);
            return Ok(());
        }
        self.ask(udp::payload(punted)?, Asker::of(punted, &ip), slow, leases)
    }

    /// What can't be answered ends its connection.
    fn ask_by_tcp(&mut self, message: &[u8], asker: Asker, slow: &mut Slow<'_>, leases: &dyn LeaseNames) {
        if let Err(reason) = self.ask(message, asker, slow, leases) {
            slow.out.drops.count(reason);
            self.serving.drop_question(&asker);
        }
    }

    /// Takes a packet that may be a server's answer.
    ///
    /// # Errors
    /// `NoService`: it is none.
    pub(super) fn serve_answer(
        &mut self,
        punted: &mut Punted<'_>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        self.asking.take(punted, slow)?;
        self.conclude(slow);
        self.serving.flush(slow);
        Ok(())
    }

    /// A host was refused an address that no name had led it to.
    pub(super) fn note_unnamed(&mut self, punted: &Punted<'_>, slow: &Slow<'_>) {
        let Ok(ip) = punted.ip() else { return };
        let name = slow.gateway.egress.name_of(punted.input, ip.dst).cloned();
        self.tell(DnsRefusal { network: punted.input, guest: ip.src, name, address: Some(ip.dst) });
    }

    pub(super) fn next_timeout(&self) -> Option<Millis> {
        [self.asking.next_timeout(), self.serving.next_timeout()].into_iter().flatten().min()
    }

    /// Takes answers that have come by the host, asks again what wasn't answered, and gives up.
    pub(super) fn on_timeout(&mut self, slow: &mut Slow<'_>, leases: &dyn LeaseNames) {
        self.asking.on_timeout(slow);
        self.conclude(slow);
        for (network, key) in self.asking.impatient(slow.now) {
            self.answer_stale(&key, network, slow);
        }
        for (asker, message) in self.serving.on_timeout(slow) {
            self.ask_by_tcp(&message, asker, slow, leases);
        }
        self.serving.flush(slow);
    }

    pub(crate) const fn asking(&mut self) -> &mut Asking {
        &mut self.asking
    }

    /// The host's own resolvers are these. What others have said needn't be true of them.
    pub(crate) fn set_host_servers(&mut self, servers: Vec<IpAddr>) {
        if self.host_servers == servers {
            return;
        }
        self.host_servers = servers;
        for forwarder in self.forwarders.iter_mut().flatten().filter(|it| it.config.upstreams.is_none()) {
            (forwarder.preferred, forwarder.failing_until) = (0, Millis::ZERO);
            forwarder.cache = Cache::default();
        }
    }

    /// Whether anybody asks the host's own resolvers.
    pub(crate) fn needs_host_servers(&self) -> bool {
        let needs = |forwarder: &Forwarder| forwarder.config.upstreams.is_none() && forwarder.has_uplink;
        self.forwarders.iter().flatten().any(needs)
    }

    pub(crate) fn next_refusal(&mut self) -> Option<DnsRefusal> {
        self.refusals.pop_front()
    }

    /// What names are known of, beside those of leases.
    pub(crate) fn names<'a>(
        &'a self,
        gateway: &'a Gateway,
        now: Millis,
    ) -> impl Iterator<Item = NameReport> + 'a {
        let networks = (0..).map(NetworkId::new).zip(&self.forwarders);
        let forwarders = networks.filter_map(|(network, forwarder)| Some((network, forwarder.as_ref()?)));
        let hosts = forwarders.flat_map(|(network, forwarder)| {
            forwarder.config.hosts.iter().map(move |(name, address)| NameReport {
                network,
                name: name.to_string(),
                address: *address,
                source: NameSource::Host,
                ends_in: None,
            })
        });
        let named = gateway.egress.all().filter(move |&(.., until)| until > now);
        hosts.chain(named.map(move |(network, address, name, until)| NameReport {
            network,
            name: name.to_string(),
            address: address.into(),
            source: NameSource::Answer,
            ends_in: Some(until.since(now)),
        }))
    }

    /// Answers a client's message, or has somebody asked.
    fn ask(
        &mut self,
        message: &[u8],
        asker: Asker,
        slow: &mut Slow<'_>,
        leases: &dyn LeaseNames,
    ) -> Result<(), DropReason> {
        let network = asker.network;
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(Unfit::Junk) => return Err(DropReason::BadDns),
            Err(Unfit::Refused(answer)) => return self.serving.answer(&asker, answer, slow),
        };
        let forwarder = self.forwarders.get(network.index()).and_then(Option::as_ref);
        let forwarder = forwarder.ok_or(DropReason::NoService)?;
        let Forwarder { config, subnet, .. } = forwarder;
        let known = Known { config, network, subnet: *subnet, leases, now: slow.now };
        match known.answer(&query) {
            Answerer::Own(answer) => {
                let waiter = Waiter { query, asker };
                self.tell_own(&answer, &waiter, slow)
            }
            Answerer::Failure(code) => self.serving.answer(&asker, query.failure(code), slow),
            Answerer::Upstream if !self.may_ask(&query, &asker) => {
                self.serving.answer(&asker, query.failure(code::REFUSED), slow)
            }
            Answerer::Upstream => self.ask_on(Waiter { query, asker }, slow),
        }
    }

    /// Whether the client may ask for the name. If not, that is told.
    fn may_ask(&mut self, query: &Query, asker: &Asker) -> bool {
        let Some(Some(forwarder)) = self.forwarders.get(asker.network.index()) else { return false };
        let name = &query.question.name;
        let is_allowed = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(name));
        if forwarder.config.allowed.as_deref().is_none_or(is_allowed) {
            return true;
        }
        let (network, guest) = (asker.network, *asker.remote.ip());
        self.tell(DnsRefusal { network, guest, name: Some(name.clone()), address: None });
        false
    }

    /// A kept answer, or a question to a server.
    fn ask_on(&mut self, waiter: Waiter, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let network = waiter.asker.network;
        let Some(Some(forwarder)) = self.forwarders.get(network.index()) else {
            return Err(DropReason::NoService);
        };
        let key = Key::of(&waiter.query, flag::UNCHECKED);
        let kept = forwarder.cache.find(&key, slow.now);
        let is_failing = slow.now < forwarder.failing_until;
        if let Some((answer, age)) = kept.filter(|(_, age)| *age != Age::Stale || is_failing) {
            let answer = answer.clone();
            return self.tell_answer(&answer, age, &waiter, slow);
        }
        let servers = self.servers(network, slow.gateway);
        if servers.is_empty() {
            let code = if forwarder.has_uplink { code::SERVER_FAILURE } else { code::REFUSED };
            return self.serving.answer(&waiter.asker, waiter.query.failure(code), slow);
        }
        if self.asking.join(network, &key, &waiter) {
            return Ok(());
        }
        let port = slow.gateway.origin();
        if !self.asking.has_room(port) || !self.rates.take(RATE, port, slow.now) {
            return Err(DropReason::DnsBusy);
        }
        let first = forwarder.preferred;
        self.asking.begin(key, waiter, servers, first, slow);
        self.conclude(slow);
        Ok(())
    }

    /// Whom to ask for a network's hosts, the best first.
    fn servers(&self, network: NetworkId, gateway: &Gateway) -> Vec<Server> {
        let Some(Some(forwarder)) = self.forwarders.get(network.index()) else { return Vec::new() };
        let is_own = |address: Ipv4Addr| gateway.routes.owner_of(address).is_some();
        if let Some(upstreams) = &forwarder.config.upstreams {
            let others = upstreams.iter().filter(|server| !is_own(*server.ip()));
            return others.map(|&server| Server::ByUplink(server)).collect();
        }
        if !forwarder.has_uplink {
            return Vec::new();
        }
        let by_uplink = self.host_servers.iter().filter_map(|server| match server {
            IpAddr::V4(server) if !server.is_loopback() && !is_own(*server) => {
                Some(Server::ByUplink(std::net::SocketAddrV4::new(*server, DNS_PORT)))
            }
            _ => None,
        });
        let others = self.host_servers.iter().filter(|server| match server {
            IpAddr::V4(server) => !is_own(*server),
            IpAddr::V6(_) => true,
        });
        let by_host = others.map(|&server| Server::ByHost(SocketAddr::new(server, DNS_PORT)));
        by_uplink.chain(by_host).collect()
    }

    /// Deals with what servers have answered, or haven't.
    fn conclude(&mut self, slow: &mut Slow<'_>) {
        while let Some(asked) = self.asking.next_concluded() {
            let Some(Some(forwarder)) = self.forwarders.get_mut(asked.network.index()) else { continue };
            let kept = match asked.outcome {
                Some((answer, server)) => {
                    (forwarder.preferred, forwarder.failing_until) = (server, Millis::ZERO);
                    forwarder.cache.store(asked.key, answer.clone(), slow.now);
                    Some((answer, Age::Fresh(Millis::ZERO)))
                }
                None => {
                    forwarder.failing_until = slow.now + RECHECK;
                    let kept = forwarder.cache.find(&asked.key, slow.now);
                    kept.map(|(answer, age)| (answer.clone(), age))
                }
            };
            for waiter in asked.waiters {
                let told = match &kept {
                    Some((answer, age)) => self.tell_answer(answer, *age, &waiter, slow),
                    None => {
                        self.serving.answer(&waiter.asker, waiter.query.failure(code::SERVER_FAILURE), slow)
                    }
                };
                if let Err(reason) = told {
                    slow.out.drops.count(reason);
                }
            }
        }
    }

    /// Who has waited long is told what was known before, if anything was. RFC 8767, section 5.3.
    fn answer_stale(&mut self, key: &Key, network: NetworkId, slow: &mut Slow<'_>) {
        let Some(Some(forwarder)) = self.forwarders.get(network.index()) else { return };
        let Some((answer, age)) = forwarder.cache.find(key, slow.now) else { return };
        let answer = answer.clone();
        for waiter in self.asking.take_waiters(network, key) {
            if let Err(reason) = self.tell_answer(&answer, age, &waiter, slow) {
                slow.out.drops.count(reason);
            }
        }
    }

    /// What the switch knows of itself; its hosts may go there.
    fn tell_own(&mut self, answer: &Answer, waiter: &Waiter, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let Waiter { query, asker } = waiter;
        let name = query.question.name.folded();
        for (address, _) in answer.addresses(&name) {
            let until = slow.now + Millis::from_secs(60);
            slow.gateway.egress.name(asker.network, address, &name, until);
        }
        let room = asker.room(query, slow.gateway);
        self.serving.answer(asker, answer.message(query, Age::Fresh(Millis::ZERO), room), slow)
    }

    /// What a server has said, now or before. Where hosts go only where names lead to, addresses that aren't the Internet's
    /// lead nowhere: whoever has the name could point it at what is behind the switch.
    fn tell_answer(
        &mut self,
        answer: &Answer,
        age: Age,
        waiter: &Waiter,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        let Waiter { query, asker } = waiter;
        let Some(Some(forwarder)) = self.forwarders.get(asker.network.index()) else {
            return Err(DropReason::NoService);
        };
        if forwarder.config.allowed.is_some() {
            let name = query.question.name.folded();
            let addresses = answer.addresses(&name);
            let is_foreign =
                |address: Ipv4Addr| !is_public(address) || slow.gateway.routes.network_of(address).is_some();
            if let Some(&(address, _)) = addresses.iter().find(|(address, _)| is_foreign(*address)) {
                let (network, guest) = (asker.network, *asker.remote.ip());
                self.tell(DnsRefusal { network, guest, name: Some(name), address: Some(address) });
                return self.serving.answer(asker, query.failure(code::REFUSED), slow);
            }
            for (address, ttl) in addresses {
                let left = match age {
                    Age::Fresh(age) => u64::from(ttl).saturating_sub(age.get() / 1000),
                    Age::Stale => 30,
                };
                let until = slow.now + Millis::from_secs(left) + GRACE;
                slow.gateway.egress.name(asker.network, address, &name, until);
            }
        }
        let room = asker.room(query, slow.gateway);
        self.serving.answer(asker, answer.message(query, age, room), slow)
    }

    fn tell(&mut self, refusal: DnsRefusal) {
        if self.refusals.len() < REFUSALS {
            self.refusals.push_back(refusal);
        }
    }
}

/// Whether the Internet could have the address. RFC 6890; what is for documentation may stand for it.
fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && b & 0xc0 == 64;
    let is_special = a == 0 || a >= 224 || (a, b, c) == (192, 0, 0) || a == 198 && b & 0xfe == 18;
    !(address.is_private() || address.is_loopback() || address.is_link_local() || is_shared || is_special)
}

const DNS_PORT: u16 = 53;
/// Questions to servers because of a port's, a second: a resolver's own users ask for hundreds at most.
const RATE: Rate = Rate { per_second: 1000, burst: 1000 };
/// Failed servers are left alone for so long where there is a stale answer. RFC 8767, section 5: 30 seconds.
const RECHECK: Millis = Millis::from_secs(30);
/// How much longer than its time to live a name leads somewhere: the client has to get the answer and make use of it.
const GRACE: Millis = Millis::from_secs(2);
/// Refusals that wait to be told: whoever doesn't ask for them misses the later ones.
const REFUSALS: usize = 256;

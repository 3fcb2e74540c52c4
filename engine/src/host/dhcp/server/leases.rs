//! Who has which address: bindings by address, by client, and in the order in which they end.
//!
//! ```text
//! client ──▶ address ──▶ Binding {client, state, until}
//!                             ▲
//!      (until, address) ──────┘   the first live one is the next to end, the first that ended did so longest ago
//! ```
//!
//! A binding that ended stays, so that its client gets the address again, until the address is needed for another
//! client. There is at most one binding per address and one address per client. All maps are ordered trees: no
//! client can choose keys that make a lookup slow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use packet::{MacAddr, Millis, NetworkId, PortId, share};

use crate::report::LeaseReport;

/// A client: its identifier (option 61) if it sends one, else hardware type and address, which is how most clients
/// build that identifier too. RFC 2131, 4.2.
pub(crate) type ClientKey = Box<[u8]>;

/// An address and the client that has, had or was offered it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Binding {
    pub client: ClientKey,
    pub mac: MacAddr,
    pub host_name: Option<Box<str>>,
    /// The relay agent that speaks for the client, as a station of the network. It may answer ARP for its clients.
    pub relay: Option<MacAddr>,
    /// The port of the switch that whoever holds the address speaks from; `None`: not known yet, as of a kept lease.
    pub port: Option<PortId>,
    pub state: BindingState,
    /// When it ends.
    pub until: Millis,
    /// Of an address that is offered, when nobody answered for it; of one that is probed, when that began.
    pub probed: Millis,
    /// Whether somebody else was seen to use the leased address.
    pub disputed: bool,
}

/// What a binding stands for while it lasts. The first two are promises that may be broken, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum BindingState {
    /// Held for a client that has not asked for it yet.
    Offered,
    /// To be the client's if nobody answers for it.
    Probing,
    /// The client's.
    Leased,
    /// The station with the binding's MAC was seen to use it; only that one gets it.
    InUse,
    /// Somebody unknown was found to use the address; nobody gets it.
    Declined,
}

impl BindingState {
    /// Whether the address is nobody's yet.
    pub fn is_untaken(self) -> bool {
        matches!(self, Self::Offered | Self::Probing)
    }

    /// Whether the binding is about the client that it names.
    pub fn is_a_clients(self) -> bool {
        self.is_untaken() || self == Self::Leased
    }
}

impl Binding {
    /// Whether it has not ended.
    pub fn is_live(&self, now: Millis) -> bool {
        now < self.until
    }

    /// What its client calls itself below whatever domain, in small letters.
    pub fn name(&self) -> Option<Box<str>> {
        let label = self.host_name.as_deref()?.split('.').next().filter(|label| !label.is_empty())?;
        Some(label.to_ascii_lowercase().into())
    }

    /// Whether it is a lease that has not ended.
    pub fn is_lease(&self, now: Millis) -> bool {
        self.state == BindingState::Leased && self.is_live(now)
    }

    /// The lease that it is, for people.
    pub fn report(&self, network: NetworkId, address: Ipv4Addr, now: Millis) -> LeaseReport {
        LeaseReport {
            network,
            address,
            mac: self.mac,
            host_name: self.host_name.as_deref().map(str::to_owned),
            expires_in: self.until.since(now),
        }
    }
}

/// All bindings of a server.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_address: BTreeMap<Ipv4Addr, Binding>,
    by_client: BTreeMap<ClientKey, Ipv4Addr>,
    /// Those that have not ended, as far as [`advance`](Self::advance) knows.
    live: BTreeSet<(Millis, Ipv4Addr)>,
    ended: BTreeSet<(Millis, Ipv4Addr)>,
    /// What clients call themselves, in small letters: who was called so first comes first.
    by_name: BTreeMap<Box<str>, Vec<Ipv4Addr>>,
    /// Addresses that are each for one station, and so no matter of shares.
    reserved: BTreeSet<Ipv4Addr>,
    /// How many of the other addresses are live, and which ports of the switch have how many.
    shared: usize,
    /// How many are leased, reserved or not.
    leased: usize,
    of_port: BTreeMap<PortId, usize>,
    now: Millis,
    /// Live addresses that are nobody's yet: those offered before those that are being probed, the oldest first.
    untaken: BTreeSet<(BindingState, Millis, Ipv4Addr)>,
}

impl Leases {
    /// No leases yet, but these addresses are reserved.
    pub fn new(reserved: BTreeSet<Ipv4Addr>) -> Self {
        Self { reserved, ..Self::default() }
    }

    /// The addresses that are each for one station.
    pub fn reserved(&self) -> &BTreeSet<Ipv4Addr> {
        &self.reserved
    }

    /// Notes what has ended, at most [`PART`] of it: tens of thousands that end while nobody asks must not keep the message
    /// that comes then waiting. The rest is held a moment longer.
    pub fn advance(&mut self, now: Millis) {
        self.now = self.now.max(now);
        for _ in 0..PART {
            let Some(&(until, address)) = self.live.first() else { return };
            if until > self.now {
                return;
            }
            self.count(address, until, false);
            self.ended.insert((until, address));
            if let Some(state) = self.of(address).map(|binding| binding.state) {
                self.untaken.remove(&(state, until, address));
            }
        }
    }

    /// Whether the port of the switch may have `address`, one of `limit` that are shared, whoever has it now.
    pub fn may_take(&self, port: Option<PortId>, address: Ipv4Addr, limit: usize) -> bool {
        let Some(port) = port.filter(|_| !self.reserved.contains(&address)) else { return true };
        let current = self.of(address).filter(|binding| binding.is_live(self.now));
        let own = current.is_some_and(|binding| binding.port == Some(port));
        let held = self.of_port.get(&port).copied().unwrap_or_default() - usize::from(own);
        share::may_take(held, self.shared - usize::from(current.is_some()), limit)
    }

    /// Whether all of `limit` shared addresses are held.
    pub fn is_full(&self, limit: usize) -> bool {
        self.shared >= limit
    }

    /// How many shared addresses are live, and how many addresses are leased, reserved or not.
    pub fn counts(&self, now: Millis) -> (usize, usize) {
        let ended = self.live.range(..=(now, Ipv4Addr::BROADCAST)).map(|&(_, address)| address);
        ended.fold((self.shared, self.leased), |(shared, leased), address| {
            let is_shared = !self.reserved.contains(&address);
            (shared - usize::from(is_shared), leased - usize::from(self.is_leased(address)))
        })
    }

    fn is_leased(&self, address: Ipv4Addr) -> bool {
        self.of(address).is_some_and(|binding| binding.state == BindingState::Leased)
    }

    /// These ports of the switch are others' from now on.
    pub fn forget_ports(&mut self, ports: &BTreeSet<PortId>) {
        self.of_port.retain(|port, _| !ports.contains(port));
        let is_gone = |binding: &&mut Binding| binding.port.is_some_and(|port| ports.contains(&port));
        self.by_address.values_mut().filter(is_gone).for_each(|binding| binding.port = None);
    }

    /// The binding of `address`, live or not.
    pub fn of(&self, address: Ipv4Addr) -> Option<&Binding> {
        self.by_address.get(&address)
    }

    /// The address that `client` has, or had last.
    pub fn address_of(&self, client: &[u8]) -> Option<Ipv4Addr> {
        self.by_client.get(client).copied()
    }

    /// Binds `address`. What was bound to it, and what its client had before, is forgotten; that address is returned if it
    /// was leased.
    pub fn bind(&mut self, address: Ipv4Addr, binding: Binding) -> Option<Ipv4Addr> {
        let renamed = self.forget(address).and_then(|held| held.name());
        self.rename(address, renamed, binding.name());
        let mut before = None;
        if binding.state.is_a_clients() {
            before = self.address_of(&binding.client);
            let forgotten = before.and_then(|before| self.forget(before));
            if let (Some(before), Some(held)) = (before, &forgotten) {
                self.rename(before, held.name(), None);
            }
            before = before.filter(|_| forgotten.is_some_and(|held| held.state == BindingState::Leased));
            self.by_client.insert(binding.client.clone(), address);
        }
        if binding.state.is_untaken() {
            self.untaken.insert((binding.state, binding.until, address));
        }
        let until = binding.until;
        self.by_address.insert(address, binding);
        self.enter(address, until);
        before
    }

    /// The address leased to whoever was called `name` first.
    pub fn named(&self, name: &str, now: Millis) -> Option<Ipv4Addr> {
        let mut addresses = self.by_name.get(name)?.iter().copied();
        addresses.find(|&address| self.of(address).is_some_and(|binding| binding.is_lease(now)))
    }

    /// The client at `address` is called otherwise than before.
    fn rename(&mut self, address: Ipv4Addr, before: Option<Box<str>>, after: Option<Box<str>>) {
        if before == after {
            return;
        }
        if let Some(before) = before
            && let Some(addresses) = self.by_name.get_mut(&before)
        {
            addresses.retain(|&other| other != address);
            if addresses.is_empty() {
                self.by_name.remove(&before);
            }
        }
        if let Some(after) = after {
            self.by_name.entry(after).or_default().push(address);
        }
    }

    /// Changes when the binding of `address` ends.
    pub fn end_at(&mut self, address: Ipv4Addr, until: Millis) {
        if let Some(before) = self.of(address).map(|binding| binding.until) {
            self.leave(address, before);
            self.enter(address, until);
        }
        let now = self.now;
        if let Some(binding) = self.by_address.get_mut(&address) {
            if self.untaken.remove(&(binding.state, binding.until, address)) && until > now {
                self.untaken.insert((binding.state, until, address));
            }
            binding.until = until;
        }
    }

    /// Somebody else was seen to use the leased address. Whether that is news.
    pub fn dispute(&mut self, address: Ipv4Addr) -> bool {
        self.by_address
            .get_mut(&address)
            .is_some_and(|binding| !std::mem::replace(&mut binding.disputed, true))
    }

    /// The addresses whose bindings ended, longest ago first.
    pub fn ended(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.ended.iter().map(|&(_, address)| address)
    }

    /// The addresses that are nobody's yet, those that are best taken from their clients first.
    pub fn untaken(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.untaken.iter().map(|&(_, _, address)| address)
    }

    /// All bindings, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, &Binding)> {
        self.iter_from(Ipv4Addr::UNSPECIFIED)
    }

    /// The bindings from this address on, in the order of their addresses.
    pub fn iter_from(&self, from: Ipv4Addr) -> impl Iterator<Item = (Ipv4Addr, &Binding)> {
        self.by_address.range(from..).map(|(&address, binding)| (address, binding))
    }

    /// All bindings, for another set of leases.
    pub fn into_bindings(self) -> impl Iterator<Item = (Ipv4Addr, Binding)> {
        self.by_address.into_iter()
    }

    fn forget(&mut self, address: Ipv4Addr) -> Option<Binding> {
        let until = self.of(address)?.until;
        self.leave(address, until);
        let binding = self.by_address.remove(&address)?;
        self.untaken.remove(&(binding.state, binding.until, address));
        if self.address_of(&binding.client) == Some(address) {
            self.by_client.remove(&binding.client);
        }
        Some(binding)
    }

    /// A binding that ends then is among the live ones, or those that ended.
    fn enter(&mut self, address: Ipv4Addr, until: Millis) {
        if until > self.now {
            self.count(address, until, true);
        } else {
            self.ended.insert((until, address));
        }
    }

    fn leave(&mut self, address: Ipv4Addr, until: Millis) {
        if !self.ended.remove(&(until, address)) {
            self.count(address, until, false);
        }
    }

    /// A binding is live, or no longer.
    fn count(&mut self, address: Ipv4Addr, until: Millis, is_live: bool) {
        let is_change =
            if is_live { self.live.insert((until, address)) } else { self.live.remove(&(until, address)) };
        if !is_change {
            return;
        }
        let step = |count: &mut usize| if is_live { *count += 1 } else { *count -= 1 };
        if self.is_leased(address) {
            step(&mut self.leased);
        }
        if self.reserved.contains(&address) {
            return;
        }
        let port = self.of(address).and_then(|binding| binding.port);
        let held = port.map(|port| self.of_port.entry(port).or_default());
        held.into_iter().chain([&mut self.shared]).for_each(step);
    }
}

/// Bindings whose end is noted at once: half a millisecond.
const PART: usize = 1024;

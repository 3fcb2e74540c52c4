//! Who has which address: bindings by address, by client, and in the order in which they end.
//!
//! ```text
//! client ──▶ address ──▶ Binding {client, state, until}
//!                             ▲
//!      (until, address) ──────┘   the first one is the next to end, or ended longest ago
//! ```
//!
//! A binding that ended stays, so that its client gets the address again, until the address is needed for another
//! client. There is at most one binding per address and one address per client. All maps are ordered trees: no
//! client can choose keys that make a lookup slow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use packet::{MacAddr, Millis};

/// A client: its identifier (option 61) if it sends one, else hardware type and address, which is how most clients
/// build that identifier too. RFC 2131, 4.2.
pub(super) type ClientKey = Box<[u8]>;

/// An address and the client that has, had or was offered it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Binding {
    pub client: ClientKey,
    pub mac: MacAddr,
    pub host_name: Option<Box<str>>,
    /// The relay agent that speaks for the client, as a station of the network. It may answer ARP for its clients.
    pub relay: Option<MacAddr>,
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
pub(super) enum BindingState {
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

    /// Whether it is a lease that has not ended.
    pub fn is_lease(&self, now: Millis) -> bool {
        self.state == BindingState::Leased && self.is_live(now)
    }
}

/// All bindings of a server.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_address: BTreeMap<Ipv4Addr, Binding>,
    by_client: BTreeMap<ClientKey, Ipv4Addr>,
    by_end: BTreeSet<(Millis, Ipv4Addr)>,
    /// Addresses that are nobody's yet: those offered before those that are being probed, the oldest first.
    untaken: BTreeSet<(BindingState, Millis, Ipv4Addr)>,
}

impl Leases {
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
        self.forget(address);
        let mut before = None;
        if binding.state.is_a_clients() {
            before = self.address_of(&binding.client);
            let forgotten = before.and_then(|before| self.forget(before));
            before = before.filter(|_| forgotten.is_some_and(|held| held.state == BindingState::Leased));
            self.by_client.insert(binding.client.clone(), address);
        }
        if binding.state.is_untaken() {
            self.untaken.insert((binding.state, binding.until, address));
        }
        self.by_end.insert((binding.until, address));
        self.by_address.insert(address, binding);
        before
    }

    /// Changes when the binding of `address` ends.
    pub fn end_at(&mut self, address: Ipv4Addr, until: Millis) {
        if let Some(binding) = self.by_address.get_mut(&address) {
            self.by_end.remove(&(binding.until, address));
            self.by_end.insert((until, address));
            if self.untaken.remove(&(binding.state, binding.until, address)) {
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
    pub fn ended(&self, now: Millis) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.by_end.iter().take_while(move |(until, _)| *until <= now).map(|&(_, address)| address)
    }

    /// The addresses that are nobody's yet, those that are best taken from their clients first.
    pub fn untaken(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.untaken.iter().map(|&(_, _, address)| address)
    }

    /// All bindings, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, &Binding)> {
        self.by_address.iter().map(|(&address, binding)| (address, binding))
    }

    /// All bindings, for another set of leases.
    pub fn into_bindings(self) -> impl Iterator<Item = (Ipv4Addr, Binding)> {
        self.by_address.into_iter()
    }

    fn forget(&mut self, address: Ipv4Addr) -> Option<Binding> {
        let binding = self.by_address.remove(&address)?;
        self.by_end.remove(&(binding.until, address));
        self.untaken.remove(&(binding.state, binding.until, address));
        if self.address_of(&binding.client) == Some(address) {
            self.by_client.remove(&binding.client);
        }
        Some(binding)
    }
}

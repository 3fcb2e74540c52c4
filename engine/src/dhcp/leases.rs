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
    pub state: BindingState,
    /// When it ends.
    pub until: Millis,
}

/// What a binding stands for while it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BindingState {
    /// Held for a client that has not asked for it yet.
    Offered,
    /// The client's.
    Leased,
    /// Somebody else was found to use the address; nobody gets it.
    Declined,
}

impl Binding {
    /// Whether it has not ended.
    pub fn is_live(&self, now: Millis) -> bool {
        now < self.until
    }
}

/// All bindings of a server.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_address: BTreeMap<Ipv4Addr, Binding>,
    by_client: BTreeMap<ClientKey, Ipv4Addr>,
    by_end: BTreeSet<(Millis, Ipv4Addr)>,
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

    /// Binds `address`. What was bound to it, and what its client had before, is forgotten.
    pub fn bind(&mut self, address: Ipv4Addr, binding: Binding) {
        self.forget(address);
        if binding.state != BindingState::Declined {
            if let Some(before) = self.address_of(&binding.client) {
                self.forget(before);
            }
            self.by_client.insert(binding.client.clone(), address);
        }
        self.by_end.insert((binding.until, address));
        self.by_address.insert(address, binding);
    }

    /// Changes when the binding of `address` ends.
    pub fn end_at(&mut self, address: Ipv4Addr, until: Millis) {
        if let Some(binding) = self.by_address.get_mut(&address) {
            self.by_end.remove(&(binding.until, address));
            self.by_end.insert((until, address));
            binding.until = until;
        }
    }

    /// The addresses whose bindings ended, longest ago first.
    pub fn ended(&self, now: Millis) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.by_end.iter().take_while(move |(until, _)| *until <= now).map(|&(_, address)| address)
    }

    /// All bindings, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, &Binding)> {
        self.by_address.iter().map(|(&address, binding)| (address, binding))
    }

    /// All bindings, for another set of leases.
    pub fn into_bindings(self) -> impl Iterator<Item = (Ipv4Addr, Binding)> {
        self.by_address.into_iter()
    }

    fn forget(&mut self, address: Ipv4Addr) {
        if let Some(binding) = self.by_address.remove(&address) {
            self.by_end.remove(&(binding.until, address));
            if self.address_of(&binding.client) == Some(address) {
                self.by_client.remove(&binding.client);
            }
        }
    }
}

//! Who may send to a mapping without a flow: those that its inside socket has sent to. RFC 4787, 5.
//!
//! Kept for address-dependent filtering only: nobody has to be remembered to let all in, and whose port counts as well
//! has a flow.

use std::net::Ipv4Addr;

use hashbrown::HashTable;

use crate::keyed::{KeyedHash, Purpose};
use crate::slab::Id;

/// Remote addresses, by the mapping that sends to them.
#[derive(Debug)]
pub(crate) struct Contacts {
    contacts: HashTable<Contact>,
    hash: KeyedHash,
}

#[derive(Clone, Copy, Debug)]
struct Contact {
    mapping: Id,
    remote: Ipv4Addr,
    flows: u32,
}

const _: () = assert!(size_of::<Contact>() == 12);

impl Contact {
    fn is(&self, mapping: Id, remote: Ipv4Addr) -> bool {
        (self.mapping, self.remote) == (mapping, remote)
    }
}

impl Contacts {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self { contacts: HashTable::new(), hash: KeyedHash::new(seed, Purpose::Contacts) }
    }

    /// Makes room for `limit` contacts, as far as that much memory can be promised.
    pub(crate) fn reserve(&mut self, limit: usize) {
        let Self { contacts, hash } = self;
        let missing = limit.saturating_sub(contacts.len());
        let _ = contacts.try_reserve(missing, |contact| key(hash, contact.mapping, contact.remote));
    }

    /// Whether a flow of `mapping` goes to `remote`.
    pub(crate) fn knows(&self, mapping: Id, remote: Ipv4Addr) -> bool {
        let key = key(&self.hash, mapping, remote);
        self.contacts.find(key, |contact| contact.is(mapping, remote)).is_some()
    }

    /// One more flow of `mapping` goes to `remote`.
    pub(crate) fn add(&mut self, mapping: Id, remote: Ipv4Addr) {
        let Self { contacts, hash } = self;
        contacts
            .entry(
                key(hash, mapping, remote),
                |contact| contact.is(mapping, remote),
                |contact| key(hash, contact.mapping, contact.remote),
            )
            .or_insert(Contact { mapping, remote, flows: 0 })
            .get_mut()
            .flows += 1;
    }

    /// One flow fewer of `mapping` goes to `remote`.
    pub(crate) fn remove(&mut self, mapping: Id, remote: Ipv4Addr) {
        let key = key(&self.hash, mapping, remote);
        if let Ok(mut entry) = self.contacts.find_entry(key, |contact| contact.is(mapping, remote)) {
            entry.get_mut().flows -= 1;
            if entry.get().flows == 0 {
                entry.remove();
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.contacts.clear();
    }
}

fn key(hash: &KeyedHash, mapping: Id, remote: Ipv4Addr) -> u64 {
    hash.of([u64::from(mapping.get()) << 32 | u64::from(remote.to_bits()), 0])
}

//! Who may send to a mapping without a flow: those that its inside socket has sent to. RFC 4787, 5.
//!
//! Kept for address-dependent filtering only: nobody has to be remembered to let all in, and whose port counts as well
//! has a flow. The first one of each mapping is in the mapping itself; here are the others.

use std::net::Ipv4Addr;

use hashbrown::HashTable;

use crate::memory::slab::Id;
use packet::keyed::KeyedHash;

/// Remote addresses, by the mapping that sends to them.
#[derive(Debug)]
pub(crate) struct Contacts {
    /// Each grows by itself, so that nobody waits for long: with 10 million contacts half a millisecond.
    shards: Vec<HashTable<Contact>>,
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
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        Self { shards, hash: KeyedHash::new(seed, "contacts") }
    }

    /// Whether a flow of `mapping` goes to `remote`.
    pub(crate) fn knows(&self, mapping: Id, remote: Ipv4Addr) -> bool {
        let key = key(&self.hash, mapping, remote);
        self.shards[shard(key)].find(key, |contact| contact.is(mapping, remote)).is_some()
    }

    /// One more flow of `mapping` goes to `remote`.
    pub(crate) fn add(&mut self, mapping: Id, remote: Ipv4Addr) {
        let Self { shards, hash } = self;
        let new = key(hash, mapping, remote);
        shards[shard(new)]
            .entry(
                new,
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
        let entry = self.shards[shard(key)].find_entry(key, |contact| contact.is(mapping, remote));
        if let Ok(mut entry) = entry {
            entry.get_mut().flows -= 1;
            if entry.get().flows == 0 {
                entry.remove();
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.shards.iter_mut().for_each(HashTable::clear);
    }
}

/// By bits that the tables themselves don't use.
const fn shard(key: u64) -> usize {
    (key >> 40) as usize % SHARDS
}

const SHARDS: usize = 1024;

fn key(hash: &KeyedHash, mapping: Id, remote: Ipv4Addr) -> u64 {
    hash.of([u64::from(mapping.get()) << 32 | u64::from(remote.to_bits()), 0])
}

//! Forwarding database. IEEE 802.1Q, 8.8, "filtering database".
//!
//! ```text
//! (vid, mac) ──keyed hash──▶ first bucket, ─▶ [key|key|…8]   one cache line
//!                            or the second     [value|…8]     static:1 port:15 generation:16 seen:32
//! ```
//!
//! The capacity is fixed. An entry is gone when it is older than the ageing time, or when its port's generation has
//! moved on (the port was flushed); its slot is taken by the next newcomer. Nothing walks the table on the way of a
//! frame, but for a count once a second at most while there is no room. Words are written only when they change.
//!
//! **Shares.** When neither bucket has room, the port with the most entries gives way to a port with fewer, unless it has
//! no more than its share of the table: the capacity divided by the ports that have entries. So a port that sends from
//! ever new addresses fills what is free, and takes nothing from others.
//!
//! **Moves.** A station that moves to and fro stays where it was before (`moves.rs`).

mod entry;
mod moves;

use std::cell::Cell;
use std::cmp::Reverse;

use packet::{MacAddr, Millis, PortId, Vid};

pub use self::entry::Sighting;
use self::entry::{Key, STATIC, Value};
use self::moves::Moves;

/// Where each station of one network is.
#[derive(Debug)]
pub struct Fdb {
    buckets: Box<[Bucket]>,
    ports: Box<[PortUse]>,
    /// Idle time in seconds after which an entry is gone.
    ageing: u32,
    /// The hash's secret.
    secret: [u64; 3],
    /// Ports that have learned entries.
    sharers: Cell<u32>,
    /// The second of the last count.
    counted: Cell<u32>,
    moves: Moves,
    /// A station that is never learned.
    own: MacAddr,
}

/// What [`Fdb::learn`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learned {
    /// The station was known on that port.
    Known,
    /// The station is new, or has moved to that port.
    New,
    /// There was no room that the port may have, it has learned as many as it may, or a static entry says otherwise.
    Refused,
    /// The station moves to and fro between ports too fast, and stays where it was.
    Flapping,
}

/// An entry, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FdbEntry {
    /// The VLAN.
    pub vid: Vid,
    /// The station.
    pub mac: MacAddr,
    /// The port it is behind.
    pub port: PortId,
    /// Time since it was last seen; `None`: a static entry.
    pub idle: Option<Millis>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket {
    keys: [Cell<u64>; SLOTS],
    values: [Cell<u64>; SLOTS],
}

#[derive(Debug, Default)]
struct PortUse {
    generation: Cell<u16>,
    /// Entries learned; those that aged are in it until their slots are taken, or counted.
    learned: Cell<u32>,
}

impl Fdb {
    /// A table for at least `capacity` stations (rounded up to a power of two, 64 to 2^20: 17 bits of bucket). `seed` must be random.
    pub fn new(capacity: u32, ageing: Millis, seed: [u64; 2]) -> Self {
        Self {
            buckets: (0..buckets_for(capacity)).map(|_| Bucket::default()).collect(),
            ports: (0..PortId::LIMIT).map(|_| PortUse::default()).collect(),
            ageing: seconds(ageing).max(1),
            secret: [splitmix(seed[0]), splitmix(seed[1]), splitmix(seed[0] ^ seed[1].rotate_left(32))],
            sharers: Cell::new(0),
            counted: Cell::new(u32::MAX),
            moves: Moves::new(),
            own: MacAddr::ZERO,
        }
    }

    /// How many stations fit at most.
    pub fn capacity(&self) -> usize {
        self.buckets.len() * SLOTS
    }

    /// Makes room for at least `capacity` stations, as [`new`](Self::new) does. Entries stay as far as they fit, static
    /// ones and those seen last first.
    pub fn set_capacity(&mut self, capacity: u32) {
        let buckets = buckets_for(capacity);
        if buckets == self.buckets.len() {
            return;
        }
        let old = std::mem::replace(&mut self.buckets, (0..buckets).map(|_| Bucket::default()).collect());
        let all = old.iter().flat_map(Bucket::slots).filter(|slot| slot.key().0 != 0);
        let mut entries: Vec<(Key, Value)> = all.map(|slot| (slot.key(), slot.value())).collect();
        entries.retain(|&(_, value)| value.is_static() || self.is_current(value));
        entries.sort_unstable_by_key(|&(_, value)| Reverse((value.is_static(), value.seen())));
        self.restart_count();
        for (key, value) in entries {
            if let Some(slot) = self.free_slot(key, value.seen()) {
                self.put(&slot, key, value);
            }
        }
    }

    /// Never learns `own`: the switch itself sends from there.
    pub fn set_own(&mut self, own: MacAddr) {
        self.own = own;
    }

    /// Changes the ageing time.
    pub fn set_ageing(&mut self, ageing: Millis) {
        self.ageing = seconds(ageing).max(1);
    }

    /// The port that `mac` is behind. About 3 ns.
    #[inline]
    pub fn lookup(&self, mac: MacAddr, vid: Vid, now: Millis) -> Option<PortId> {
        let (_, value) = self.find(Key::new(mac, vid))?;
        self.is_fresh(value, seconds(now)).then(|| value.port())
    }

    /// What is noted at `now` of all stations that are seen on `port`, for [`learn`](Self::learn).
    pub fn sighting(&self, port: PortId, now: Millis) -> Sighting {
        Sighting(self.value(port, seconds(now)))
    }

    /// Notes that `mac` was seen on a port, which may have at most `limit` learned entries. About 3 ns when nothing
    /// changes.
    #[inline]
    pub fn learn(&self, mac: MacAddr, vid: Vid, sighting: Sighting, limit: u32) -> Learned {
        let (key, Sighting(fresh)) = (Key::new(mac, vid), sighting);
        match self.find(key) {
            Some((_, old)) if old == fresh => Learned::Known,
            Some((slot, old)) => self.refresh(&slot, key, old, fresh, limit),
            None => self.insert(key, fresh, limit),
        }
    }

    /// Says that `mac` is always behind `port`. `false` if both buckets are full of other static entries.
    pub fn add_static(&self, mac: MacAddr, vid: Vid, port: PortId) -> bool {
        let key = Key::new(mac, vid);
        if let Some((slot, _)) = self.find(key) {
            self.clear(&slot);
        }
        let slot = self.free_slot(key, 0).or_else(|| self.heaviest(key));
        if let Some(slot) = &slot {
            self.put(slot, key, Value(self.value(port, 0).0 | STATIC));
        }
        slot.is_some()
    }

    /// Says that `mac` may be anywhere from now on, if it has a static entry.
    pub fn remove_static(&self, mac: MacAddr, vid: Vid) {
        if let Some((slot, value)) = self.find(Key::new(mac, vid))
            && value.is_static()
        {
            self.clear(&slot);
        }
    }

    /// The port that `mac` is always behind.
    pub fn static_port(&self, mac: MacAddr, vid: Vid) -> Option<PortId> {
        let (_, value) = self.find(Key::new(mac, vid))?;
        value.is_static().then(|| value.port())
    }

    /// Forgets what was learned on `port`; its static entries stay. One write, whatever the table's size.
    pub fn flush_port(&self, port: PortId) {
        let port = &self.ports[port.index()];
        port.generation.set(port.generation.get().wrapping_add(1));
        if port.learned.replace(0) > 0 {
            self.sharers.set(self.sharers.get() - 1);
        }
    }

    /// Forgets a learned station. Whether there was one.
    pub fn forget(&self, mac: MacAddr, vid: Vid, now: Millis) -> bool {
        let Some((slot, value)) = self.find(Key::new(mac, vid)) else { return false };
        if value.is_static() || !self.is_fresh(value, seconds(now)) {
            return false;
        }
        self.clear(&slot);
        true
    }

    /// All entries, in no particular order.
    pub fn entries(&self, now: Millis) -> impl Iterator<Item = FdbEntry> + '_ {
        let now = seconds(now);
        self.slots().filter_map(move |slot| {
            let (key, value) = (slot.key(), slot.value());
            (key.0 != 0 && self.is_fresh(value, now)).then(|| FdbEntry {
                vid: key.vid(),
                mac: MacAddr::from_u64(key.0),
                port: value.port(),
                idle: (!value.is_static())
                    .then(|| Millis::from_secs(now.saturating_sub(value.seen()).into())),
            })
        })
    }

    fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        self.buckets.iter().flat_map(Bucket::slots)
    }

    #[inline]
    fn find(&self, key: Key) -> Option<(Slot<'_>, Value)> {
        let hash = self.hash(key);
        // Nearly all are in their first bucket.
        let slot = self.first_bucket(hash).find(key).or_else(|| self.second_bucket(hash).find(key))?;
        Some((slot, slot.value()))
    }

    /// Pair-multiply-shift with secret numbers: any two keys meet with the probability of chance, whoever chose them.
    /// M. Thorup, "High Speed Hashing for Integers and Strings", 3.5. It takes 1 ns where SipHash takes 5; and keys that
    /// meet all the same only fill two buckets.
    #[inline]
    fn hash(&self, key: Key) -> u64 {
        let [a, b, c] = self.secret;
        let product = a.wrapping_add(key.0 >> 32).wrapping_mul(b.wrapping_add(key.0 & 0xffff_ffff));
        product.wrapping_add(c)
    }

    #[inline]
    fn first_bucket(&self, hash: u64) -> &Bucket {
        &self.buckets[(hash >> 47) as usize & (self.buckets.len() - 1)]
    }

    fn second_bucket(&self, hash: u64) -> &Bucket {
        &self.buckets[(hash >> 30) as usize & (self.buckets.len() - 1)]
    }

    /// The station is in the table, but not with this value: seen again later, moved, flushed or aged.
    #[cold]
    fn refresh(&self, slot: &Slot<'_>, key: Key, old: Value, fresh: Value, limit: u32) -> Learned {
        let now = fresh.seen();
        if old.is_static() {
            return if old.port() == fresh.port() { Learned::Known } else { Learned::Refused };
        }
        let is_there = self.is_fresh(old, now);
        if old.port() == fresh.port() && self.is_current(old) {
            slot.value_word().set(fresh.0);
            return if is_there { Learned::Known } else { Learned::New };
        }
        if is_there && let Some(home) = self.moves.flaps(key.0, self.hash(key), old.0, now).map(Value) {
            // Unless it has lost its link since: then the station isn't there any more.
            if self.is_current(home) {
                self.put(slot, key, home.seen_at(now));
                return Learned::Flapping;
            }
        }
        if !self.may_learn(fresh, limit) {
            return Learned::Refused;
        }
        self.put(slot, key, fresh);
        Learned::New
    }

    #[cold]
    fn insert(&self, key: Key, fresh: Value, limit: u32) -> Learned {
        if MacAddr::from_u64(key.0) == self.own {
            return Learned::Known;
        }
        if !self.may_learn(fresh, limit) {
            return Learned::Refused;
        }
        match self.free_slot(key, fresh.seen()).or_else(|| self.excess(key, fresh)) {
            Some(slot) => {
                self.put(&slot, key, fresh);
                Learned::New
            }
            None => Learned::Refused,
        }
    }

    /// A free slot in the first bucket, else in the second. At 50 % load one bucket to choose from would turn away up
    /// to 0.7 % of random addresses, two turn away none.
    fn free_slot(&self, key: Key, now: u32) -> Option<Slot<'_>> {
        let is_free = |slot: &Slot<'_>| slot.key().0 == 0 || !self.is_fresh(slot.value(), now);
        self.candidates(key).find(is_free)
    }

    /// The slots that an entry may be in.
    fn candidates(&self, key: Key) -> impl Iterator<Item = Slot<'_>> {
        let hash = self.hash(key);
        [self.first_bucket(hash), self.second_bucket(hash)].into_iter().flat_map(Bucket::slots)
    }

    /// The slot that gives way to a new entry: of the port that has most, the one unseen for longest; `None` if that port
    /// has no more than its share, or than the newcomer's port.
    fn excess(&self, key: Key, fresh: Value) -> Option<Slot<'_>> {
        self.count(fresh.seen());
        let slot = self.heaviest(key)?;
        let learned = |value: Value| self.ports[value.port().index()].learned.get();
        let (most, own) = (learned(slot.value()), learned(fresh));
        let sharers = self.sharers.get() + u32::from(own == 0);
        (most > own + 1 && most as usize > self.capacity() / sharers as usize).then_some(slot)
    }

    /// Of the learned entries in the buckets of `key`, one of the port that has most: the one unseen for longest.
    fn heaviest(&self, key: Key) -> Option<Slot<'_>> {
        let weight = |slot: &Slot<'_>| {
            let value = slot.value();
            (self.ports[value.port().index()].learned.get(), Reverse(value.seen()))
        };
        self.candidates(key).filter(|slot| !slot.value().is_static()).max_by_key(weight)
    }

    /// Whether the port of `fresh` may learn one more. At the limit, entries are counted anew.
    fn may_learn(&self, fresh: Value, limit: u32) -> bool {
        let learned = &self.ports[fresh.port().index()].learned;
        if learned.get() >= limit {
            self.count(fresh.seen());
        }
        learned.get() < limit
    }

    /// Clears away what has aged, and counts the rest, once a second at most.
    fn count(&self, now: u32) {
        if self.counted.replace(now) == now {
            return;
        }
        self.restart_count();
        for slot in self.slots().filter(|slot| slot.key().0 != 0 && !slot.value().is_static()) {
            if self.is_fresh(slot.value(), now) {
                self.add(slot.value().port());
            } else {
                slot.key_word().set(0);
            }
        }
    }

    fn restart_count(&self) {
        self.sharers.set(0);
        self.ports.iter().for_each(|port| port.learned.set(0));
    }

    /// Puts an entry into a slot, whatever was in it.
    fn put(&self, slot: &Slot<'_>, key: Key, value: Value) {
        self.clear(slot);
        slot.key_word().set(key.0);
        slot.value_word().set(value.0);
        if !value.is_static() {
            self.add(value.port());
        }
    }

    fn clear(&self, slot: &Slot<'_>) {
        let value = slot.value();
        if slot.key_word().replace(0) == 0 || value.is_static() || !self.is_current(value) {
            return;
        }
        let learned = &self.ports[value.port().index()].learned;
        if learned.get() == 1 {
            self.sharers.set(self.sharers.get() - 1);
        }
        learned.set(learned.get().saturating_sub(1));
    }

    fn add(&self, port: PortId) {
        let learned = &self.ports[port.index()].learned;
        if learned.replace(learned.get() + 1) == 0 {
            self.sharers.set(self.sharers.get() + 1);
        }
    }

    fn value(&self, port: PortId, now: u32) -> Value {
        let generation = self.ports[port.index()].generation.get();
        Value(u64::from(port.get()) << 48 | u64::from(generation) << 32 | u64::from(now))
    }

    fn is_fresh(&self, value: Value, now: u32) -> bool {
        value.is_static() || (self.is_current(value) && self.is_young(value, now))
    }

    fn is_current(&self, value: Value) -> bool {
        self.ports[value.port().index()].generation.get() == value.generation()
    }

    fn is_young(&self, value: Value, now: u32) -> bool {
        now.saturating_sub(value.seen()) < self.ageing
    }
}

const fn buckets_for(capacity: u32) -> usize {
    let capacity = if capacity < 64 { 64 } else { capacity };
    (if capacity > 1 << 20 { 1 << 20 } else { capacity.next_power_of_two() }) as usize / SLOTS
}

/// Slots in a bucket: eight keys are one cache line.
const SLOTS: usize = 8;
const _: () = assert!(size_of::<Bucket>() == 128);

impl Bucket {
    /// Looks at all slots before it decides: eight comparisons cost less than one wrong guess of where the key is.
    #[inline]
    fn find(&self, key: Key) -> Option<Slot<'_>> {
        let mut found = SLOTS;
        for (index, word) in self.keys.iter().enumerate() {
            found = if word.get() == key.0 { index } else { found };
        }
        (found < SLOTS).then_some(Slot { bucket: self, index: found })
    }

    fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..SLOTS).map(|index| Slot { bucket: self, index })
    }
}

#[derive(Clone, Copy)]
struct Slot<'a> {
    bucket: &'a Bucket,
    index: usize,
}

impl<'a> Slot<'a> {
    fn key_word(&self) -> &'a Cell<u64> {
        &self.bucket.keys[self.index]
    }

    fn value_word(&self) -> &'a Cell<u64> {
        &self.bucket.values[self.index]
    }

    fn key(&self) -> Key {
        Key(self.key_word().get())
    }

    fn value(&self) -> Value {
        Value(self.value_word().get())
    }
}

/// Spreads a seed over 64 bits. Public domain, S. Vigna.
const fn splitmix(seed: u64) -> u64 {
    let word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// 32 bits of seconds are 136 years.
fn seconds(time: Millis) -> u32 {
    time.as_secs() as u32
}

#[cfg(test)]
mod tests;

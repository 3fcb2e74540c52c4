//! Forwarding database. IEEE 802.1Q, 8.8, "filtering database".
//!
//! ```text
//! (vid, mac) ──keyed hash──▶ first bucket, ─▶ [key|key|…8]   one cache line
//!                            or the second     [value|…8]     static:1 port:15 generation:16 seen:32
//! ```
//!
//! The capacity is fixed. An entry is gone when it is older than the ageing time, or when its port's generation has
//! moved on (the port was flushed); its slot is taken by the next newcomer. Nothing walks the table on the way of a
//! frame. Words are written only when they change, so that workers may share the table: a reader that meets a slot
//! in the middle of a change sees no entry, or the old one.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use packet::{MacAddr, Millis, PortId, Vid};

/// Where each station of one network is.
#[derive(Debug)]
pub struct Fdb {
    buckets: Box<[Bucket]>,
    ports: Box<[PortUse]>,
    /// Idle time in seconds after which an entry is gone.
    ageing: u32,
    /// The hash's secret.
    secret: [u64; 3],
}

/// What [`Fdb::learn`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learned {
    /// The station was known on that port.
    Known,
    /// The station is new, or has moved to that port.
    New,
    /// Neither bucket had room, the port has learned as many as it may, or a static entry says otherwise.
    Refused,
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
    keys: [AtomicU64; SLOTS],
    values: [AtomicU64; SLOTS],
}

#[derive(Debug, Default)]
struct PortUse {
    generation: AtomicU16,
    /// Entries learned, as far as known: entries that aged are still in it until the next recount.
    learned: AtomicU32,
    /// The second of the last recount.
    recounted: AtomicU32,
}

impl Fdb {
    /// A table for at least `capacity` stations (rounded up to a power of two, 64 to 2^20: 17 bits of bucket). `seed` must be random.
    pub fn new(capacity: u32, ageing: Millis, seed: [u64; 2]) -> Self {
        let slots = capacity.clamp(64, 1 << 20).next_power_of_two() as usize;
        Self {
            buckets: (0..slots / SLOTS).map(|_| Bucket::default()).collect(),
            ports: (0..PortId::LIMIT).map(|_| PortUse::default()).collect(),
            ageing: seconds(ageing).max(1),
            secret: [splitmix(seed[0]), splitmix(seed[1]), splitmix(seed[0] ^ seed[1].rotate_left(32))],
        }
    }

    /// How many stations fit at most.
    pub fn capacity(&self) -> usize {
        self.buckets.len() * SLOTS
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
            Some((slot, old)) => self.refresh(&slot, old, fresh, limit),
            None => self.insert(key, fresh, limit),
        }
    }

    /// Says that `mac` is always behind `port`. `false` if both buckets are full of other entries.
    pub fn add_static(&self, mac: MacAddr, vid: Vid, port: PortId) -> bool {
        let key = Key::new(mac, vid);
        if let Some((slot, _)) = self.find(key) {
            slot.key_word().store(0, Relaxed);
        }
        self.free_slot(key, 0).is_some_and(|slot| {
            slot.set(key, Value(self.value(port, 0).0 | STATIC));
            true
        })
    }

    /// Says that `mac` may be anywhere from now on, if it has a static entry.
    pub fn remove_static(&self, mac: MacAddr, vid: Vid) {
        if let Some((slot, value)) = self.find(Key::new(mac, vid))
            && value.is_static()
        {
            slot.key_word().store(0, Relaxed);
        }
    }

    /// Forgets what was learned on `port`; its static entries stay. One write, whatever the table's size.
    pub fn flush_port(&self, port: PortId) {
        let port = &self.ports[port.index()];
        port.generation.fetch_add(1, Relaxed);
        port.learned.store(0, Relaxed);
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
    fn refresh(&self, slot: &Slot<'_>, old: Value, fresh: Value, limit: u32) -> Learned {
        if old.is_static() {
            return if old.port() == fresh.port() { Learned::Known } else { Learned::Refused };
        }
        let was_counted = self.is_current(old);
        let same_port = old.port() == fresh.port() && was_counted;
        if !same_port {
            if !self.may_learn(fresh, limit) {
                return Learned::Refused;
            }
            if was_counted {
                self.uncount(old.port());
            }
            self.ports[fresh.port().index()].learned.fetch_add(1, Relaxed);
        }
        slot.value_word().store(fresh.0, Relaxed);
        if same_port && self.is_young(old, fresh.seen()) { Learned::Known } else { Learned::New }
    }

    #[cold]
    fn insert(&self, key: Key, fresh: Value, limit: u32) -> Learned {
        if !self.may_learn(fresh, limit) {
            return Learned::Refused;
        }
        let Some(slot) = self.free_slot(key, fresh.seen()) else { return Learned::Refused };
        let previous = slot.value();
        if slot.key().0 != 0 && self.is_current(previous) {
            self.uncount(previous.port());
        }
        slot.set(key, fresh);
        self.ports[fresh.port().index()].learned.fetch_add(1, Relaxed);
        Learned::New
    }

    /// A free slot in the first bucket, else in the second. At 50 % load one bucket to choose from would turn away up
    /// to 0.7 % of random addresses, two turn away none.
    fn free_slot(&self, key: Key, now: u32) -> Option<Slot<'_>> {
        let is_free = |slot: &Slot<'_>| slot.key().0 == 0 || !self.is_fresh(slot.value(), now);
        let hash = self.hash(key);
        let buckets = [self.first_bucket(hash), self.second_bucket(hash)];
        buckets.into_iter().flat_map(Bucket::slots).find(is_free)
    }

    /// Whether the port of `fresh` may learn one more. At the limit, the port's entries that are still fresh are
    /// counted anew, once a second at most.
    fn may_learn(&self, fresh: Value, limit: u32) -> bool {
        let port = &self.ports[fresh.port().index()];
        let now = fresh.seen();
        if port.learned.load(Relaxed) >= limit && port.recounted.swap(now, Relaxed) != now {
            let is_of_port = |slot: &Slot<'_>| {
                let value = slot.value();
                slot.key().0 != 0
                    && !value.is_static()
                    && value.port() == fresh.port()
                    && self.is_fresh(value, now)
            };
            port.learned.store(self.slots().filter(is_of_port).count() as u32, Relaxed);
        }
        port.learned.load(Relaxed) < limit
    }

    fn uncount(&self, port: PortId) {
        let learned = &self.ports[port.index()].learned;
        learned.store(learned.load(Relaxed).saturating_sub(1), Relaxed);
    }

    fn value(&self, port: PortId, now: u32) -> Value {
        let generation = self.ports[port.index()].generation.load(Relaxed);
        Value(u64::from(port.get()) << 48 | u64::from(generation) << 32 | u64::from(now))
    }

    fn is_fresh(&self, value: Value, now: u32) -> bool {
        value.is_static() || (self.is_current(value) && self.is_young(value, now))
    }

    fn is_current(&self, value: Value) -> bool {
        self.ports[value.port().index()].generation.load(Relaxed) == value.generation()
    }

    fn is_young(&self, value: Value, now: u32) -> bool {
        now.saturating_sub(value.seen()) < self.ageing
    }
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
            found = if word.load(Relaxed) == key.0 { index } else { found };
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
    fn key_word(&self) -> &'a AtomicU64 {
        &self.bucket.keys[self.index]
    }

    fn value_word(&self) -> &'a AtomicU64 {
        &self.bucket.values[self.index]
    }

    fn key(&self) -> Key {
        Key(self.key_word().load(Relaxed))
    }

    fn value(&self) -> Value {
        Value(self.value_word().load(Relaxed))
    }

    /// The key goes last: until then a reader finds nothing.
    fn set(&self, key: Key, value: Value) {
        self.key_word().store(0, Relaxed);
        self.value_word().store(value.0, Relaxed);
        self.key_word().store(key.0, Relaxed);
    }
}

/// mac:48, and vid:12 above it. 0: no entry (a VID is never 0).
#[derive(Clone, Copy)]
struct Key(u64);

impl Key {
    fn new(mac: MacAddr, vid: Vid) -> Self {
        Self(u64::from(vid.get()) << 48 | mac.to_u64())
    }

    fn vid(self) -> Vid {
        Vid::new((self.0 >> 48 & 0xfff) as u16).unwrap_or(Vid::DEFAULT)
    }
}

/// That stations were seen on a port.
#[derive(Clone, Copy, Debug)]
pub struct Sighting(Value);

/// static:1, port:15, generation:16, seen:32 (seconds).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Value(u64);

const STATIC: u64 = 1 << 63;
const _: () = assert!(PortId::LIMIT <= 1 << 15);

impl Value {
    const fn is_static(self) -> bool {
        self.0 & STATIC != 0
    }

    fn port(self) -> PortId {
        PortId::new((self.0 >> 48) as u16 & (PortId::LIMIT as u16 - 1)).expect("masked to below the limit")
    }

    const fn generation(self) -> u16 {
        (self.0 >> 32) as u16
    }

    const fn seen(self) -> u32 {
        self.0 as u32
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const NO_LIMIT: u32 = u32::MAX;

    fn fdb(capacity: u32) -> Fdb {
        Fdb::new(capacity, Millis::from_secs(300), [1, 2])
    }

    fn port(id: u16) -> PortId {
        PortId::new(id).unwrap()
    }

    fn mac(n: u64) -> MacAddr {
        MacAddr::local(n + 1)
    }

    #[test]
    fn a_station_is_found_where_it_was_last_seen() {
        let fdb = fdb(64);
        let t = Millis::from_secs(10);
        assert_eq!(fdb.lookup(mac(1), Vid::DEFAULT, t), None);
        assert_eq!(fdb.learn(mac(1), Vid::DEFAULT, fdb.sighting(port(3), t), NO_LIMIT), Learned::New);
        assert_eq!(fdb.learn(mac(1), Vid::DEFAULT, fdb.sighting(port(3), t), NO_LIMIT), Learned::Known);
        assert_eq!(fdb.learn(mac(1), Vid::DEFAULT, fdb.sighting(port(4), t), NO_LIMIT), Learned::New);
        assert_eq!(fdb.lookup(mac(1), Vid::DEFAULT, t), Some(port(4)));
        assert_eq!(fdb.lookup(mac(1), Vid::new(2).unwrap(), t), None);
    }

    #[test]
    fn a_silent_station_is_forgotten_after_the_ageing_time() {
        let fdb = fdb(64);
        fdb.learn(mac(1), Vid::DEFAULT, fdb.sighting(port(0), Millis::from_secs(10)), NO_LIMIT);
        assert_eq!(fdb.lookup(mac(1), Vid::DEFAULT, Millis::from_secs(309)), Some(port(0)));
        assert_eq!(fdb.lookup(mac(1), Vid::DEFAULT, Millis::from_secs(310)), None);
        assert_eq!(fdb.entries(Millis::from_secs(310)).count(), 0);
    }

    #[test]
    fn a_flushed_port_is_empty_at_once_and_learns_again() {
        let fdb = fdb(64);
        let t = Millis::from_secs(1);
        fdb.learn(mac(1), Vid::DEFAULT, fdb.sighting(port(0), t), NO_LIMIT);
        fdb.learn(mac(2), Vid::DEFAULT, fdb.sighting(port(1), t), NO_LIMIT);
        fdb.flush_port(port(0));
        assert_eq!(fdb.lookup(mac(1), Vid::DEFAULT, t), None);
        assert_eq!(fdb.lookup(mac(2), Vid::DEFAULT, t), Some(port(1)));
        assert_eq!(fdb.learn(mac(1), Vid::DEFAULT, fdb.sighting(port(0), t), NO_LIMIT), Learned::New);
        assert_eq!(fdb.lookup(mac(1), Vid::DEFAULT, t), Some(port(0)));
    }

    #[test]
    fn a_static_entry_neither_ages_nor_moves() {
        let fdb = fdb(64);
        assert!(fdb.add_static(mac(1), Vid::DEFAULT, port(0)));
        let late = Millis::from_secs(100_000);
        assert_eq!(fdb.learn(mac(1), Vid::DEFAULT, fdb.sighting(port(1), late), NO_LIMIT), Learned::Refused);
        fdb.flush_port(port(0));
        assert_eq!(fdb.lookup(mac(1), Vid::DEFAULT, late), Some(port(0)));
        fdb.remove_static(mac(1), Vid::DEFAULT);
        assert_eq!(fdb.lookup(mac(1), Vid::DEFAULT, late), None);
    }

    #[test]
    fn a_port_learns_no_more_than_its_limit_until_entries_age() {
        let fdb = fdb(1024);
        let t = Millis::from_secs(1);
        for n in 0..10 {
            assert_eq!(fdb.learn(mac(n), Vid::DEFAULT, fdb.sighting(port(0), t), 10), Learned::New);
        }
        assert_eq!(fdb.learn(mac(10), Vid::DEFAULT, fdb.sighting(port(0), t), 10), Learned::Refused);
        assert_eq!(fdb.learn(mac(10), Vid::DEFAULT, fdb.sighting(port(1), t), 10), Learned::New);
        let later = Millis::from_secs(400);
        assert_eq!(fdb.learn(mac(11), Vid::DEFAULT, fdb.sighting(port(0), later), 10), Learned::New);
    }

    #[test]
    fn a_full_table_refuses_and_keeps_what_it_has() {
        let fdb = fdb(64);
        let t = Millis::from_secs(1);
        let known: Vec<u64> = (0..1000)
            .filter(|&n| fdb.learn(mac(n), Vid::DEFAULT, fdb.sighting(port(0), t), NO_LIMIT) == Learned::New)
            .collect();
        assert!(known.len() <= fdb.capacity() && known.len() > fdb.capacity() / 2, "{}", known.len());
        assert!(known.iter().all(|&n| fdb.lookup(mac(n), Vid::DEFAULT, t) == Some(port(0))));
    }

    #[test]
    fn at_half_load_no_random_address_is_turned_away() {
        let fdb = fdb(8192);
        for n in 0..4096_u64 {
            let random = MacAddr::local(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8);
            assert_ne!(
                fdb.learn(random, Vid::DEFAULT, fdb.sighting(port(0), Millis::ZERO), NO_LIMIT),
                Learned::Refused
            );
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(
            steps in proptest::collection::vec((0_u64..20, 0_u16..4, 0_u64..200, 0_u8..10), 0..200),
        ) {
            let fdb = fdb(256);
            let mut model: HashMap<u64, (u16, u64)> = HashMap::new();
            let mut now = 0;
            for (n, p, wait, action) in steps {
                now += wait;
                let time = Millis::from_secs(now);
                match action {
                    0 => {
                        fdb.flush_port(port(p));
                        model.retain(|_, entry| entry.0 != p);
                    }
                    1..5 => {
                        prop_assert_ne!(fdb.learn(mac(n), Vid::DEFAULT, fdb.sighting(port(p), time), NO_LIMIT), Learned::Refused);
                        model.insert(n, (p, now));
                    }
                    _ => {
                        let expected = model.get(&n).filter(|entry| now - entry.1 < 300).map(|entry| port(entry.0));
                        prop_assert_eq!(fdb.lookup(mac(n), Vid::DEFAULT, time), expected);
                    }
                }
                let alive = model.values().filter(|entry| now - entry.1 < 300).count();
                prop_assert_eq!(fdb.entries(time).count(), alive);
            }
        }
    }
}

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
//! **Threads.** Any number may read, and learn. A reader takes no lock: a version is odd while an entry is written, and
//! another one afterwards, so nobody pairs one station with another's port. Who writes an entry holds the ledger, where
//! the counts are; who only notes that a station is still there exchanges the one word. `tests/shared_fdb.rs` tries all
//! orders.
//!
//! **Shares.** When neither bucket has room, the port with the most entries gives way to a port with fewer, unless it has
//! no more than its share of the table: the capacity divided by the ports that have entries. So a port that sends from
//! ever new addresses fills what is free, and takes nothing from others.
//!
//! **Moves.** A station that moves to and fro stays where it was before (`moves.rs`).

mod bucket;
mod entry;
mod ledger;
mod moves;

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::PoisonError;

use packet::hash::splitmix;
use packet::keyed::multiply_shift;
use packet::{MacAddr, Millis, PortId, Vid};

use self::bucket::{Bucket, SLOTS, Slot};
pub use self::entry::Sighting;
use self::entry::{Key, STATIC, Value};
use self::ledger::Ledger;
use crate::sync::{AtomicU16, AtomicU64, Mutex, MutexGuard, Ordering, PORTS, READS, fence};

/// Where each station of one network is.
#[derive(Debug)]
pub struct Fdb {
    buckets: Box<[Bucket]>,
    /// By port.
    generations: Box<[AtomicU16; PORTS]>,
    version: Version,
    /// Idle time in seconds after which an entry is gone.
    ageing: u32,
    /// The hash's secret.
    secret: [u64; 3],
    /// A station that is never learned.
    own: MacAddr,
    ledger: Mutex<Ledger>,
}

/// Odd while somebody writes an entry. In a cache line of its own, as writers change it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Version(AtomicU64);

/// What [`Fdb::learn`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learned {
    /// The station was known on that port; or another thread is writing just now, and the next frame will tell again.
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

impl Fdb {
    /// A table for at least `capacity` stations (rounded up to a power of two, 64 to 2^20: 17 bits of bucket). `seed` must be random.
    pub fn new(capacity: u32, ageing: Millis, seed: [u64; 2]) -> Self {
        Self {
            buckets: (0..buckets_for(capacity)).map(|_| Bucket::default()).collect(),
            generations: Box::new(std::array::from_fn(|_| AtomicU16::default())),
            version: Version::default(),
            ageing: seconds(ageing).max(1),
            secret: [splitmix(seed[0]), splitmix(seed[1]), splitmix(seed[0] ^ seed[1].rotate_left(32))],
            own: MacAddr::ZERO,
            ledger: Mutex::new(Ledger::new()),
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
        let mut ledger = self.lock();
        ledger.restart();
        for (key, value) in entries {
            if let Some(slot) = self.free_slot(key, value.seen()) {
                self.put(&mut ledger, &slot, key, value);
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
        let value = self.read(Key::new(mac, vid))?;
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
            None => self.change(key, fresh, limit),
        }
    }

    /// Says that `mac` is always behind `port`. `false` if both buckets are full of other static entries.
    pub fn add_static(&self, mac: MacAddr, vid: Vid, port: PortId) -> bool {
        let (key, mut ledger) = (Key::new(mac, vid), self.lock());
        if let Some((slot, _)) = self.find(key) {
            self.clear(&mut ledger, &slot);
        }
        let slot = self.free_slot(key, 0).or_else(|| self.heaviest(&ledger, key));
        if let Some(slot) = &slot {
            self.put(&mut ledger, slot, key, Value(self.value(port, 0).0 | STATIC));
        }
        slot.is_some()
    }

    /// Says that `mac` may be anywhere from now on, if it has a static entry.
    pub fn remove_static(&self, mac: MacAddr, vid: Vid) {
        let mut ledger = self.lock();
        if let Some((slot, value)) = self.find(Key::new(mac, vid))
            && value.is_static()
        {
            self.clear(&mut ledger, &slot);
        }
    }

    /// The port that `mac` is always behind.
    pub fn static_port(&self, mac: MacAddr, vid: Vid) -> Option<PortId> {
        let value = self.read(Key::new(mac, vid))?;
        value.is_static().then(|| value.port())
    }

    /// Forgets what was learned on `port`; its static entries stay. One write, whatever the table's size.
    pub fn flush_port(&self, port: PortId) {
        let mut ledger = self.lock();
        self.generations[port.index()].fetch_add(1, Ordering::Relaxed);
        ledger.forget(port);
    }

    /// Forgets a learned station. Whether there was one.
    pub fn forget(&self, mac: MacAddr, vid: Vid, now: Millis) -> bool {
        let mut ledger = self.lock();
        let Some((slot, value)) = self.find(Key::new(mac, vid)) else { return false };
        if value.is_static() || !self.is_fresh(value, seconds(now)) {
            return false;
        }
        self.clear(&mut ledger, &slot);
        true
    }

    /// All entries, in no particular order.
    pub fn entries(&self, now: Millis) -> impl Iterator<Item = FdbEntry> + '_ {
        self.entries_in(0..self.places(), now)
    }

    /// Parts that [`entries_in`](Self::entries_in) can look at by themselves; each has room for a few entries.
    pub fn places(&self) -> usize {
        self.buckets.len()
    }

    /// The entries in these places, which must be below [`places`](Self::places).
    pub fn entries_in(&self, places: Range<usize>, now: Millis) -> impl Iterator<Item = FdbEntry> + '_ {
        let now = seconds(now);
        self.buckets[places].iter().flat_map(Bucket::slots).filter_map(move |slot| {
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

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of `key`, and never that of another station.
    #[inline]
    fn read(&self, key: Key) -> Option<Value> {
        self.try_read(key).unwrap_or_else(|Torn| self.read_again(key))
    }

    /// Where entries are written all the time, a station may be unknown for a moment.
    #[cold]
    fn read_again(&self, key: Key) -> Option<Value> {
        (0..READS).find_map(|_| self.try_read(key).ok()).flatten()
    }

    #[inline]
    fn try_read(&self, key: Key) -> Result<Option<Value>, Torn> {
        let before = self.version.0.load(Ordering::Acquire) & !1;
        let value = self.find(key).map(|(_, value)| value);
        fence(Ordering::Acquire);
        if self.version.0.load(Ordering::Relaxed) == before { Ok(value) } else { Err(Torn) }
    }

    /// Where `key` is, and its value. While another thread writes that may be of the slot's station before or after.
    #[inline]
    fn find(&self, key: Key) -> Option<(Slot<'_>, Value)> {
        let hash = self.hash(key);
        // Nearly all are in their first bucket.
        let slot = self.first_bucket(hash).find(key).or_else(|| self.second_bucket(hash).find(key))?;
        Some((slot, slot.value()))
    }

    /// It takes 1 ns where SipHash takes 5; and keys that meet all the same only fill two buckets.
    #[inline]
    fn hash(&self, key: Key) -> u64 {
        let [a, b, c] = self.secret;
        multiply_shift([a, b], key.0).wrapping_add(c)
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
        if old.is_static() {
            return if old.port() == fresh.port() { Learned::Known } else { Learned::Refused };
        }
        if old.port() == fresh.port() && self.is_current(old) {
            let is_there = self.is_fresh(old, fresh.seen());
            // If another thread was faster, it has seen the station as well, or another one needed the slot.
            let _ = slot.value_word().compare_exchange(old.0, fresh.0, Ordering::Relaxed, Ordering::Relaxed);
            return if is_there { Learned::Known } else { Learned::New };
        }
        self.change(key, fresh, limit)
    }

    /// The station is new, or somewhere else now.
    #[cold]
    fn change(&self, key: Key, fresh: Value, limit: u32) -> Learned {
        let Ok(mut ledger) = self.ledger.try_lock() else { return Learned::Known };
        let ledger = &mut *ledger;
        // The port may have been flushed since the burst came in.
        if MacAddr::from_u64(key.0) == self.own || !self.is_current(fresh) {
            return Learned::Known;
        }
        match self.find(key) {
            Some((slot, old)) => self.relocate(ledger, &slot, key, old, fresh, limit),
            None => self.insert(ledger, key, fresh, limit),
        }
    }

    fn relocate(
        &self,
        ledger: &mut Ledger,
        slot: &Slot<'_>,
        key: Key,
        old: Value,
        fresh: Value,
        limit: u32,
    ) -> Learned {
        let now = fresh.seen();
        if old.is_static() {
            return if old.port() == fresh.port() { Learned::Known } else { Learned::Refused };
        }
        let is_there = self.is_fresh(old, now);
        if is_there && old.port() == fresh.port() {
            return Learned::Known;
        }
        if is_there && let Some(home) = ledger.moves.flaps(key.0, self.hash(key), old.0, now).map(Value) {
            // Unless it has lost its link since: then the station isn't there any more.
            if self.is_current(home) {
                self.put(ledger, slot, key, home.seen_at(now));
                return Learned::Flapping;
            }
        }
        if !self.may_learn(ledger, fresh, limit) {
            return Learned::Refused;
        }
        self.put(ledger, slot, key, fresh);
        Learned::New
    }

    fn insert(&self, ledger: &mut Ledger, key: Key, fresh: Value, limit: u32) -> Learned {
        if !self.may_learn(ledger, fresh, limit) {
            return Learned::Refused;
        }
        match self.free_slot(key, fresh.seen()).or_else(|| self.excess(ledger, key, fresh)) {
            Some(slot) => {
                self.put(ledger, &slot, key, fresh);
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
    fn excess(&self, ledger: &mut Ledger, key: Key, fresh: Value) -> Option<Slot<'_>> {
        self.count(ledger, fresh.seen());
        let slot = self.heaviest(ledger, key)?;
        let learned = |value: Value| ledger.learned[value.port().index()];
        let (most, own) = (learned(slot.value()), learned(fresh));
        let sharers = ledger.sharers + u32::from(own == 0);
        (most > own + 1 && most as usize > self.capacity() / sharers as usize).then_some(slot)
    }

    /// Of the learned entries in the buckets of `key`, one of the port that has most: the one unseen for longest.
    fn heaviest(&self, ledger: &Ledger, key: Key) -> Option<Slot<'_>> {
        let weight = |slot: &Slot<'_>| {
            let value = slot.value();
            (ledger.learned[value.port().index()], Reverse(value.seen()))
        };
        self.candidates(key).filter(|slot| !slot.value().is_static()).max_by_key(weight)
    }

    /// Whether the port of `fresh` may learn one more. At the limit, entries are counted anew.
    fn may_learn(&self, ledger: &mut Ledger, fresh: Value, limit: u32) -> bool {
        let port = fresh.port().index();
        if ledger.learned[port] >= limit {
            self.count(ledger, fresh.seen());
        }
        ledger.learned[port] < limit
    }

    /// Clears away what has aged, and counts the rest, once a second at most.
    fn count(&self, ledger: &mut Ledger, now: u32) {
        if std::mem::replace(&mut ledger.counted, now) == now {
            return;
        }
        ledger.restart();
        for slot in self.slots().filter(|slot| slot.key().0 != 0 && !slot.value().is_static()) {
            if self.is_fresh(slot.value(), now) {
                ledger.add(slot.value().port());
            } else {
                slot.key_word().store(0, Ordering::Relaxed);
            }
        }
    }

    /// Puts an entry into a slot, whatever was in it.
    fn put(&self, ledger: &mut Ledger, slot: &Slot<'_>, key: Key, value: Value) {
        self.clear(ledger, slot);
        let version = self.version.0.load(Ordering::Relaxed);
        self.version.0.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        slot.key_word().store(key.0, Ordering::Relaxed);
        slot.value_word().store(value.0, Ordering::Relaxed);
        self.version.0.store(version + 2, Ordering::Release);
        if !value.is_static() {
            ledger.add(value.port());
        }
    }

    /// Empties a slot. The value stays: who has seen the key still finds what was the station's.
    fn clear(&self, ledger: &mut Ledger, slot: &Slot<'_>) {
        let (key, value) = (slot.key(), slot.value());
        slot.key_word().store(0, Ordering::Relaxed);
        if key.0 != 0 && !value.is_static() && self.is_current(value) {
            ledger.remove(value.port());
        }
    }

    fn value(&self, port: PortId, now: u32) -> Value {
        let generation = self.generations[port.index()].load(Ordering::Relaxed);
        Value(u64::from(port.get()) << 48 | u64::from(generation) << 32 | u64::from(now))
    }

    fn is_fresh(&self, value: Value, now: u32) -> bool {
        value.is_static() || (self.is_current(value) && self.is_young(value, now))
    }

    fn is_current(&self, value: Value) -> bool {
        self.generations[value.port().index()].load(Ordering::Relaxed) == value.generation()
    }

    fn is_young(&self, value: Value, now: u32) -> bool {
        now.saturating_sub(value.seen()) < self.ageing
    }
}

const fn buckets_for(capacity: u32) -> usize {
    let capacity = if capacity < 64 { 64 } else { capacity };
    (if capacity > 1 << 20 { 1 << 20 } else { capacity.next_power_of_two() }) as usize / SLOTS
}

/// An entry was written while it was read.
struct Torn;

/// 32 bits of seconds are 136 years.
fn seconds(time: Millis) -> u32 {
    time.as_secs() as u32
}

#[cfg(test)]
mod inspect;

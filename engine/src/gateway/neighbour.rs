//! Which station has which address: the next hops that are known. RFC 826, RFC 4861 5.1.
//!
//! This is what runs per frame, the same for each family of addresses. Who is asked, believed and given up is the host's
//! affair, which writes here what came of it:
//!
//! ```text
//! frame ─▶ mac ─▶ Neighbour { mac, confirmed, … } ◀─ confirm, hand_over, remove ─ host
//!           └ used though old ─▶ stale ─────────────────────────────────────────▶ host
//! ```

use std::collections::HashMap;
use std::hash::Hash;
use std::net::Ipv4Addr;

use packet::{DropReason, MacAddr, Millis, PortId, share};

use super::route::Hop;
use packet::keyed::SipKeys;

/// Known next hops of all networks.
#[derive(Debug)]
pub(crate) struct Neighbours<A = Ipv4Addr> {
    table: HashMap<Hop<A>, Neighbour, SipKeys>,
    /// Who is in use though it is long since they were heard of, and since when that is known.
    stale: Vec<(Hop<A>, Millis)>,
    /// When the table was last cleared of idle entries.
    cleared: Millis,
}

/// A station that has an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbour {
    /// When it was last heard of.
    pub seen: Sighting,
    /// Its port went down since: whoever says to have the address is believed.
    pub doubted: bool,
    /// Whether it is being asked, or is to be.
    asked: bool,
    /// The port whose frames made the entry.
    owner: Option<PortId>,
    used: Millis,
}

/// A station that was seen to use an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sighting {
    pub mac: MacAddr,
    /// The port of the switch that it spoke from, if it spoke for itself.
    pub port: Option<PortId>,
    /// The last time.
    pub at: Millis,
}

impl<A: Copy + Eq + Hash> Neighbours<A> {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self { table: HashMap::with_hasher(SipKeys(seed)), stale: Vec::new(), cleared: Millis::ZERO }
    }

    /// The MAC of `hop`, if it is known. A frame is about to use it: when it is old it will be confirmed. Frames in a row to
    /// one hop need it once: inlined, it costs each of them three instructions.
    #[inline(never)]
    pub(crate) fn mac(&mut self, hop: Hop<A>, now: Millis) -> Option<MacAddr> {
        let entry = self.table.get_mut(&hop)?;
        entry.used = now;
        if !entry.asked && now.since(entry.seen.at) >= REFRESH {
            entry.asked = true;
            self.stale.push((hop, now));
        }
        Some(entry.seen.mac)
    }

    /// Whom `hop` was, when it was last heard of.
    pub(crate) fn get(&self, hop: Hop<A>) -> Option<Neighbour> {
        self.table.get(&hop).copied()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Hop<A>, MacAddr)> + '_ {
        self.table.iter().map(|(&hop, entry)| (hop, entry.seen.mac))
    }

    /// When somebody became stale whom nobody has taken note of.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        self.stale.first().map(|&(_, since)| since)
    }

    /// Who has become stale since the last call, with the port whose frames made the entry.
    pub(crate) fn take_stale(&mut self) -> impl Iterator<Item = (Hop<A>, Option<PortId>)> {
        let Self { table, stale, .. } = self;
        stale.drain(..).filter_map(|(hop, _)| Some((hop, table.get(&hop)?.owner)))
    }

    /// Somebody else says to have the address: it is being asked.
    pub(crate) fn set_asked(&mut self, hop: Hop<A>) {
        if let Some(entry) = self.table.get_mut(&hop) {
            entry.asked = true;
        }
    }

    /// `hop` is who was seen. An entry that this makes counts for `owner`.
    pub(crate) fn confirm(&mut self, hop: Hop<A>, seen: Sighting, owner: Option<PortId>) {
        let before = self.table.get(&hop);
        let (owner, used) = before.map_or((owner, seen.at), |entry| (entry.owner, entry.used));
        self.table.insert(hop, Neighbour { seen, doubted: false, asked: false, owner, used });
    }

    /// The address of `hop` is `mac`'s from now on, whoever had it before. Whether somebody else did.
    pub(crate) fn hand_over(&mut self, hop: Hop<A>, mac: MacAddr, now: Millis) -> bool {
        let is_others = self.table.get(&hop).is_some_and(|entry| entry.seen.mac != mac);
        if is_others {
            self.confirm(hop, Sighting { mac, port: None, at: now }, None);
        }
        is_others
    }

    /// Forgets `hop`. Returns the port whose frames made the entry, if there was one.
    pub(crate) fn remove(&mut self, hop: Hop<A>) -> Option<Option<PortId>> {
        self.table.remove(&hop).map(|entry| entry.owner)
    }

    /// Forgets the neighbours that `which` chooses.
    pub(crate) fn forget(&mut self, which: impl Fn(Hop<A>, MacAddr) -> bool) -> Vec<Hop<A>> {
        let forgotten = self.table.extract_if(|&hop, entry| which(hop, entry.seen.mac));
        forgotten.map(|(hop, _)| hop).collect()
    }

    /// Others may have the addresses of the neighbours that `which` chooses by now, who needn't wait until these turn out to
    /// be silent.
    pub(crate) fn doubt(&mut self, which: impl Fn(Hop<A>, MacAddr) -> bool) {
        self.table.iter_mut().for_each(|(&hop, entry)| entry.doubted |= which(hop, entry.seen.mac));
    }

    /// Sees to it that one more entry may be made because of a frame from `owner`.
    ///
    /// # Errors
    /// `NeighbourTableFull`, of all or of what is this port's share.
    pub(crate) fn make_room(&mut self, owner: Option<PortId>, now: Millis) -> Result<(), DropReason> {
        if self.has_share(owner) {
            return Ok(());
        }
        if now.since(self.cleared) >= BETWEEN_CLEARINGS {
            self.cleared = now;
            self.table.retain(|_, entry| entry.asked || now.since(entry.used) < IDLE);
        }
        if self.has_share(owner) { Ok(()) } else { Err(DropReason::NeighbourTableFull) }
    }

    /// Whether there is room for one more entry of `owner`. Looks for whose the others are only where there are many.
    fn has_share(&self, owner: Option<PortId>) -> bool {
        let own = || self.table.values().filter(|entry| entry.owner == owner).count();
        self.table.len() < CAPACITY / 4 || share::may_take(own(), self.table.len(), CAPACITY)
    }
}

/// Next hops of all networks together: a /20 of guests.
const CAPACITY: usize = 4096;
/// Age at which a used entry is confirmed: RFC 1122 2.3.2.1 suggests a minute at most.
const REFRESH: Millis = Millis::from_secs(30);
/// An entry unused for this long may be forgotten when the table is full.
const IDLE: Millis = Millis::from_secs(60);
/// How often a full table is looked through for such.
const BETWEEN_CLEARINGS: Millis = Millis::from_secs(1);

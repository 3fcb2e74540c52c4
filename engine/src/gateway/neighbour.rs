//! The ARP table: next hops and their MAC addresses. RFC 826, RFC 1122 2.3.2.
//!
//! ```text
//!            frame for it                  reply                      unused for IDLE: forgotten when room is needed
//! (unknown) ─────────────▶ Resolving ───────────────▶ Known ──┐
//!                          │ ask each second          │  ▲    │ used after REFRESH: ask while going on
//!                          │ 3 times, then            │  └────┘ reply
//!                          ▼ frames fail              ▼ 3 questions unanswered: forgotten
//! ```
//!
//! Whoever says that a known address is theirs isn't believed at once, since anybody can send that: the station that has it
//! is asked, and the address is the other's if it doesn't answer twice. So a router that takes over from another one is
//! followed in three seconds at most, and nobody takes over from one that lives.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use packet::wire::EthernetHeader;
use packet::{DropReason, MacAddr, Millis, NetworkId, Offload, PortId, share};

use super::route::Hop;
use crate::keyed::Keyed;

/// Known and wanted next hops of all networks.
#[derive(Debug)]
pub(crate) struct Neighbours {
    table: HashMap<(NetworkId, Ipv4Addr), Entry, Keyed>,
    /// The entries for which questions are being asked.
    asking: Vec<Hop>,
    /// When the table was last cleared of idle entries.
    cleared: Millis,
}

/// A frame that waits for its next hop's MAC: an IP packet with room for the Ethernet header in front.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub bytes: Vec<u8>,
    pub offload: Offload,
    /// The port that it came in by.
    pub origin: Option<PortId>,
}

impl Waiting {
    /// The IP packet.
    pub(crate) fn packet(&self) -> &[u8] {
        self.bytes.get(EthernetHeader::LEN..).unwrap_or_default()
    }
}

/// What [`Neighbours::on_timeout`] wants to be done.
#[derive(Debug)]
pub(crate) enum Due {
    /// Ask who has the hop's address: everybody, or the station that had it last.
    Ask(Hop, Option<MacAddr>),
    /// Nobody answered: these frames can't be delivered.
    Failed(Hop, Vec<Waiting>),
}

/// A station that was seen to use an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sighting {
    pub mac: MacAddr,
    /// The port of the switch that it spoke from.
    pub port: Option<PortId>,
    /// The last time.
    pub at: Millis,
}

#[derive(Debug)]
struct Entry {
    mac: Option<MacAddr>,
    /// The port that it spoke from last, if it spoke for itself.
    speaks_from: Option<PortId>,
    /// Its port went down since: whoever says to have the address is believed.
    doubted: bool,
    /// Who else says to have the address.
    claim: Option<MacAddr>,
    /// The port whose frames made the entry.
    owner: Option<PortId>,
    /// Frames that wait for `mac`.
    queue: Vec<Waiting>,
    confirmed: Millis,
    used: Millis,
    /// Questions asked since, and when the next is due; `None`: nothing is being asked.
    asked: Option<(u8, Millis)>,
}

impl Entry {
    const fn new(owner: Option<PortId>, now: Millis) -> Self {
        let (mac, speaks_from, claim, asked) = (None, None, None, None);
        Self {
            mac,
            doubted: false,
            speaks_from,
            claim,
            owner,
            queue: Vec::new(),
            confirmed: now,
            used: now,
            asked,
        }
    }
}

impl Neighbours {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self { table: HashMap::with_hasher(Keyed(seed)), asking: Vec::new(), cleared: Millis::ZERO }
    }

    /// The MAC of `hop`, if it is known. A frame is about to use it: when it is old it will be confirmed.
    #[inline]
    pub(crate) fn mac(&mut self, hop: Hop, now: Millis) -> Option<MacAddr> {
        let entry = self.table.get_mut(&(hop.network, hop.address))?;
        let mac = entry.mac?;
        entry.used = now;
        if entry.asked.is_none() && now.since(entry.confirmed) >= REFRESH {
            entry.asked = Some((0, now));
            self.asking.push(hop);
        }
        Some(mac)
    }

    /// Keeps a frame until the MAC of `hop` is known.
    ///
    /// # Errors
    /// `NeighbourQueueFull`, `NeighbourTableFull`: the frame is lost.
    pub(crate) fn wait(&mut self, hop: Hop, frame: Waiting, now: Millis) -> Result<(), DropReason> {
        let key = (hop.network, hop.address);
        if !self.table.contains_key(&key) {
            self.make_room(frame.origin, now)?;
            self.table.insert(key, Entry { asked: Some((0, now)), ..Entry::new(frame.origin, now) });
            self.asking.push(hop);
        }
        let entry = self.table.get_mut(&key).ok_or(DropReason::NeighbourTableFull)?;
        if entry.mac.take().is_some() && entry.asked.replace((0, now)).is_none() {
            // It was known, but nobody knows where it is.
            self.asking.push(hop);
        }
        let queue = &mut entry.queue;
        let waiting: usize = queue.iter().map(|frame| frame.bytes.len()).sum();
        if queue.len() >= QUEUE_FRAMES || waiting + frame.bytes.len() > QUEUE_BYTES {
            return Err(DropReason::NeighbourQueueFull);
        }
        queue.push(frame);
        Ok(())
    }

    /// `mac` says, by a frame from the port `origin`, that it has the address of `hop`. An entry is made only if `create` is
    /// set: of somebody who asks us, an answer is likely to follow. Returns the frames that waited for it.
    ///
    /// # Errors
    /// `ArpConflict`: another station has the address; it will be asked.
    pub(crate) fn hear(
        &mut self,
        hop: Hop,
        mac: MacAddr,
        create: bool,
        origin: Option<PortId>,
        now: Millis,
    ) -> Result<Vec<Waiting>, DropReason> {
        let key = (hop.network, hop.address);
        if create && !self.table.contains_key(&key) && self.make_room(origin, now).is_ok() {
            self.table.insert(key, Entry::new(origin, now));
        }
        let Some(entry) = self.table.get_mut(&key) else { return Ok(Vec::new()) };
        if !entry.doubted && entry.mac.is_some_and(|known| known != mac) {
            entry.claim = Some(mac);
            if entry.asked.is_none() {
                // However often somebody says so, nobody is asked more often than once in this time.
                entry.asked = Some((0, now.max(entry.confirmed + INTERVAL)));
                self.asking.push(hop);
            }
            return Err(DropReason::ArpConflict);
        }
        if entry.asked.take().is_some() {
            self.asking.retain(|&asking| asking != hop);
        }
        (entry.mac, entry.claim, entry.doubted, entry.confirmed) = (Some(mac), None, false, now);
        entry.speaks_from = origin;
        Ok(std::mem::take(&mut entry.queue))
    }

    /// When the next question is due.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        let due = |hop: &Hop| Some(self.table.get(&(hop.network, hop.address))?.asked?.1);
        self.asking.iter().filter_map(due).min()
    }

    /// What is due at `now`, or a part of it: then the rest still is.
    pub(crate) fn on_timeout(&mut self, now: Millis) -> Vec<Due> {
        let mut due = Vec::new();
        let table = &mut self.table;
        self.asking.retain(|&hop| {
            let key = (hop.network, hop.address);
            let Some(entry) = table.get_mut(&key) else { return false };
            match entry.asked {
                None => return false,
                Some((_, at)) if at > now || due.len() >= AT_ONCE => {}
                Some((asked, _)) if asked >= CLAIM_ATTEMPTS && entry.claim.is_some() => {
                    (entry.mac, entry.confirmed, entry.asked) = (entry.claim.take(), now, None);
                    return false;
                }
                Some((ATTEMPTS, _)) => {
                    let waiting = table.remove(&key).map(|entry| entry.queue).unwrap_or_default();
                    due.push(Due::Failed(hop, waiting));
                    return false;
                }
                Some((asked, _)) => {
                    entry.asked = Some((asked + 1, now + INTERVAL));
                    due.push(Due::Ask(hop, entry.mac));
                }
            }
            true
        });
        due
    }

    /// Forgets the neighbours on networks that aren't kept. The frames that wait for them are lost; returns their number.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(NetworkId) -> bool) -> u64 {
        let mut lost = 0;
        self.table.retain(|&(network, _), entry| {
            let stays = is_kept(network);
            lost += if stays { 0 } else { entry.queue.len() as u64 };
            stays
        });
        self.asking.retain(|hop| is_kept(hop.network));
        lost
    }

    /// The address of `hop` is `mac`'s from now on, as the DHCP server says: nobody is asked whether another had it before.
    pub(crate) fn hand_over(&mut self, hop: Hop, mac: MacAddr, now: Millis) {
        let Some(entry) = self.table.get_mut(&(hop.network, hop.address)) else { return };
        if entry.mac.is_some_and(|known| known != mac) {
            (entry.mac, entry.claim, entry.confirmed, entry.asked) = (Some(mac), None, now, None);
            entry.speaks_from = None;
            self.asking.retain(|&asking| asking != hop);
        }
    }

    /// Whom `hop` was, when it was last heard of.
    pub(crate) fn sighting(&self, hop: Hop) -> Option<Sighting> {
        let entry = self.table.get(&(hop.network, hop.address))?;
        Some(Sighting { mac: entry.mac?, port: entry.speaks_from, at: entry.confirmed })
    }

    /// Of the known neighbours that `which` chooses, others may have the addresses by now, who needn't wait until these turn
    /// out to be silent.
    pub(crate) fn doubt(&mut self, which: impl Fn(Hop, MacAddr) -> bool) {
        for (&(network, address), entry) in &mut self.table {
            entry.doubted |= entry.mac.is_some_and(|mac| which(Hop { network, address }, mac));
        }
    }

    /// Forgets the known neighbours that `which` chooses, and returns how many: the next frame for one asks anew. Those that
    /// are still being asked for stay, with the frames that wait for them.
    pub(crate) fn forget(&mut self, which: impl Fn(Hop, MacAddr) -> bool) -> u64 {
        let mut forgotten = Vec::new();
        self.table.retain(|&(network, address), entry| {
            let hop = Hop { network, address };
            let goes = entry.mac.is_some_and(|mac| which(hop, mac));
            forgotten.extend(goes.then_some(hop));
            !goes
        });
        self.asking.retain(|hop| !forgotten.contains(hop));
        forgotten.len() as u64
    }

    /// The next hops with their MACs, where known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Hop, Option<MacAddr>)> + '_ {
        self.table.iter().map(|(&(network, address), entry)| (Hop { network, address }, entry.mac))
    }

    /// Whether one more entry may be made because of a frame from `owner`.
    fn make_room(&mut self, owner: Option<PortId>, now: Millis) -> Result<(), DropReason> {
        let entry = |hop: &Hop| self.table.get(&(hop.network, hop.address));
        let resolving = self.asking.iter().filter_map(entry).filter(|entry| entry.mac.is_none());
        let (all, own) =
            resolving.fold((0, 0), |(all, own), entry| (all + 1, own + usize::from(entry.owner == owner)));
        if !share::may_take(own, all, RESOLVING) {
            return Err(DropReason::NeighbourTableFull);
        }
        if self.has_share(owner) {
            return Ok(());
        }
        if now.since(self.cleared) >= INTERVAL {
            self.cleared = now;
            self.table.retain(|_, entry| entry.asked.is_some() || now.since(entry.used) < IDLE);
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
/// Next hops being resolved at once, so that a scan of an empty subnet doesn't take the whole table.
const RESOLVING: usize = 256;
/// Frames that wait for one next hop: the first packets of a few connections.
const QUEUE_FRAMES: usize = 16;
/// Bytes that wait for one next hop: three super-frames. With [`RESOLVING`] it bounds the memory to 48 MiB.
const QUEUE_BYTES: usize = 192 * 1024;
/// Questions before giving up.
const ATTEMPTS: u8 = 3;
/// Questions to the station that has an address, before somebody else has it who says so.
const CLAIM_ATTEMPTS: u8 = 2;
/// Questions of one call: all of the switch's own frames of one call have to fit into a burst.
const AT_ONCE: usize = 32;
/// Between questions: at most one a second to one destination, RFC 1122 2.3.2.1.
const INTERVAL: Millis = Millis::from_secs(1);
/// Age at which a used entry is confirmed: RFC 1122 2.3.2.1 suggests a minute at most.
const REFRESH: Millis = Millis::from_secs(30);
/// An entry unused for this long may be forgotten when the table is full.
const IDLE: Millis = Millis::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: Hop = Hop { network: NetworkId::new(0), address: Ipv4Addr::new(10, 0, 0, 2) };
    const MAC: MacAddr = MacAddr::local(7);

    fn frame(len: usize) -> Waiting {
        Waiting { bytes: vec![0; len], offload: Offload::NONE, origin: None }
    }

    fn at(seconds: u64) -> Millis {
        Millis::from_secs(seconds)
    }

    #[test]
    fn a_frame_waits_until_the_hop_answers() {
        let mut neighbours = Neighbours::new([1, 2]);
        neighbours.wait(HOP, frame(60), at(0)).unwrap();
        assert!(matches!(neighbours.on_timeout(at(0))[..], [Due::Ask(HOP, None)]));
        assert_eq!(neighbours.mac(HOP, at(0)), None);
        assert_eq!(neighbours.hear(HOP, MAC, false, None, at(0)).unwrap().len(), 1);
        assert_eq!(neighbours.mac(HOP, at(1)), Some(MAC));
        assert_eq!(neighbours.next_timeout(), None);
    }

    #[test]
    fn three_unanswered_questions_fail_the_waiting_frames() {
        let mut neighbours = Neighbours::new([1, 2]);
        neighbours.wait(HOP, frame(60), at(0)).unwrap();
        for second in 0..3 {
            assert_eq!(neighbours.next_timeout(), Some(at(second)));
            assert!(matches!(neighbours.on_timeout(at(second))[..], [Due::Ask(..)]));
        }
        let due = neighbours.on_timeout(at(3));
        assert!(matches!(&due[..], [Due::Failed(HOP, waiting)] if waiting.len() == 1));
        assert_eq!(neighbours.next_timeout(), None);
    }

    #[test]
    fn many_questions_are_asked_a_part_at_a_time() {
        let mut neighbours = Neighbours::new([1, 2]);
        for n in 0..100 {
            let hop = Hop { address: Ipv4Addr::from_bits(n), ..HOP };
            neighbours.wait(hop, frame(60), at(0)).unwrap();
        }
        let mut asked = Vec::new();
        while neighbours.next_timeout() == Some(at(0)) {
            let due = neighbours.on_timeout(at(0));
            asked.push(due.len());
        }
        assert_eq!(asked, [32, 32, 32, 4]);
    }

    #[test]
    fn an_old_entry_is_confirmed_while_it_is_used() {
        let mut neighbours = Neighbours::new([1, 2]);
        neighbours.hear(HOP, MAC, true, None, at(0)).unwrap();
        assert_eq!(neighbours.mac(HOP, at(29)), Some(MAC));
        assert_eq!(neighbours.next_timeout(), None);
        assert_eq!(neighbours.mac(HOP, at(31)), Some(MAC));
        assert!(matches!(neighbours.on_timeout(at(31))[..], [Due::Ask(HOP, Some(MAC))]));
        neighbours.hear(HOP, MAC, false, None, at(31)).unwrap();
        assert_eq!(neighbours.next_timeout(), None);
    }

    #[test]
    fn queue_and_table_are_bounded() {
        let mut neighbours = Neighbours::new([1, 2]);
        for _ in 0..QUEUE_FRAMES {
            neighbours.wait(HOP, frame(60), at(0)).unwrap();
        }
        assert_eq!(neighbours.wait(HOP, frame(60), at(0)), Err(DropReason::NeighbourQueueFull));
        let hop = |n: u32| Hop { address: Ipv4Addr::from_bits(n), ..HOP };
        let mut refused = |origin: u16| {
            let frame = || Waiting { origin: PortId::new(origin), ..frame(60) };
            let first = u32::from(origin) * 1000;
            (first..first + 1000).filter(|&n| neighbours.wait(hop(n), frame(), at(0)).is_err()).count()
        };
        // Each gets four times what is then free, so that the next one gets something too.
        assert_eq!([refused(1), refused(2), refused(3)], [796, 959, 992]);
    }

    #[test]
    fn whose_port_went_down_is_succeeded_at_once() {
        let mut neighbours = Neighbours::new([1, 2]);
        neighbours.hear(HOP, MAC, true, None, at(0)).unwrap();
        neighbours.doubt(|_, mac| mac == MAC);
        assert_eq!(neighbours.mac(HOP, at(1)), Some(MAC), "it may be back");
        let other = MacAddr::local(8);
        neighbours.hear(HOP, other, false, None, at(1)).unwrap();
        assert_eq!(neighbours.mac(HOP, at(1)), Some(other));
        assert!(neighbours.hear(HOP, MAC, false, None, at(1)).is_err(), "and that one is believed");
    }

    #[test]
    fn strangers_are_not_remembered_unless_they_asked_us() {
        let mut neighbours = Neighbours::new([1, 2]);
        neighbours.hear(HOP, MAC, false, None, at(0)).unwrap();
        assert_eq!(neighbours.mac(HOP, at(0)), None);
        neighbours.hear(HOP, MAC, true, None, at(0)).unwrap();
        assert_eq!(neighbours.mac(HOP, at(0)), Some(MAC));
    }
    #[test]
    fn who_claims_an_address_gets_it_only_if_its_station_is_silent() {
        const OTHER: MacAddr = MacAddr::local(8);
        let mut neighbours = Neighbours::new([1, 2]);
        neighbours.hear(HOP, MAC, true, None, at(0)).unwrap();
        for second in 10..20 {
            assert_eq!(
                neighbours.hear(HOP, OTHER, true, None, at(second)).err(),
                Some(DropReason::ArpConflict)
            );
            assert!(matches!(neighbours.on_timeout(at(second))[..], [Due::Ask(HOP, Some(MAC))]));
            neighbours.hear(HOP, MAC, false, None, at(second)).unwrap();
            // Once more in the same second: the question waits for the next.
            neighbours.hear(HOP, OTHER, true, None, at(second)).unwrap_err();
            assert!(neighbours.on_timeout(at(second)).is_empty());
            neighbours.hear(HOP, MAC, false, None, at(second)).unwrap();
            assert_eq!(neighbours.mac(HOP, at(second)), Some(MAC));
        }
        neighbours.hear(HOP, OTHER, false, None, at(20)).unwrap_err();
        for second in [20, 21] {
            assert_eq!(neighbours.on_timeout(at(second)).len(), 1);
            assert_eq!(neighbours.mac(HOP, at(second)), Some(MAC));
        }
        assert!(neighbours.on_timeout(at(22)).is_empty());
        assert_eq!(neighbours.mac(HOP, at(22)), Some(OTHER));
        assert_eq!(neighbours.next_timeout(), None);
    }

    #[test]
    fn who_is_forgotten_is_asked_for_anew_and_nobody_else() {
        let mut neighbours = Neighbours::new([1, 2]);
        let other = Hop { address: Ipv4Addr::new(10, 0, 0, 3), ..HOP };
        let unknown = Hop { address: Ipv4Addr::new(10, 0, 0, 4), ..HOP };
        for hop in [HOP, other] {
            neighbours.hear(hop, MAC, true, None, at(0)).unwrap();
        }
        neighbours.wait(unknown, frame(60), at(0)).unwrap();
        // It is being confirmed.
        assert_eq!(neighbours.mac(HOP, at(31)), Some(MAC));
        assert_eq!(neighbours.forget(|hop, mac| hop == HOP && mac == MAC), 1);
        assert_eq!((neighbours.mac(HOP, at(31)), neighbours.mac(other, at(1))), (None, Some(MAC)));
        assert_eq!(neighbours.forget(|_, _| true), 1, "the one that is being resolved stays");
        assert_eq!(neighbours.hear(unknown, MAC, false, None, at(1)).unwrap().len(), 1);
    }
}

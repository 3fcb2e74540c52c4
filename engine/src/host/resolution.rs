//! Who has the address of a next hop: asking for it, and whom to believe. RFC 826, RFC 1122 2.3.2.
//!
//! ```text
//!            frame for it                  reply                      unused for long: forgotten when room is needed
//! (unknown) ─────────────▶ Question ────────────────▶ Neighbour ──┐
//!                          │ ask each second          │  ▲        │ used after 30 s: ask while going on
//!                          │ 3 times, then            │  └────────┘ reply
//!                          ▼ frames fail              ▼ 3 questions unanswered: forgotten
//! ```
//!
//! Whoever says that a known address is theirs isn't believed at once, since anybody can send that: the station that has it
//! is asked, and the address is the other's if it doesn't answer twice. So a router that takes over from another one is
//! followed in three seconds at most, and nobody takes over from one that lives.
//!
//! What is known by then is the gateway's table, which each frame uses; this one is there only while there is a question. Both
//! are the same for each family of addresses: how one asks, ARP and neighbour discovery know.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::net::Ipv4Addr;

use packet::wire::EthernetHeader;
use packet::{DropReason, MacAddr, Millis, NetworkId, Offload, PortId, share};

use crate::gateway::neighbour::{Neighbours, Sighting};
use crate::gateway::route::Hop;

/// What is being asked about the next hops of all networks.
#[derive(Debug)]
pub(crate) struct Resolution<A = Ipv4Addr> {
    questions: BTreeMap<Hop<A>, Question>,
}

/// Who has an address?
#[derive(Debug)]
struct Question {
    /// Who else says to have the address.
    claim: Option<MacAddr>,
    /// The port whose frames made the question.
    owner: Option<PortId>,
    /// Frames that wait for the answer.
    queue: Vec<Waiting>,
    /// How often it was asked, and when it will be again.
    asked: u8,
    due: Millis,
}

/// A frame that waits for its next hop's MAC: an IP packet with room for the Ethernet header in front.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub bytes: Vec<u8>,
    pub offload: Offload,
    /// The port that it came in by.
    pub origin: Option<PortId>,
}

/// What [`Resolution::on_timeout`] wants to be done.
#[derive(Debug)]
pub(crate) enum Due<A = Ipv4Addr> {
    /// Ask who has the hop's address: everybody, or the station that had it last.
    Ask(Hop<A>, Option<MacAddr>),
    /// Nobody answered: these frames can't be delivered.
    Failed(Hop<A>, Vec<Waiting>),
}

/// Who says to have an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub mac: MacAddr,
    /// The port that it says so from.
    pub origin: Option<PortId>,
    /// Whether it asks us, so that an answer is likely to follow: then it is remembered though nobody has asked for it.
    pub asks_us: bool,
}

impl Waiting {
    /// The IP packet.
    pub(crate) fn packet(&self) -> &[u8] {
        self.bytes.get(EthernetHeader::LEN..).unwrap_or_default()
    }
}

impl Question {
    const fn new(owner: Option<PortId>, due: Millis) -> Self {
        Self { claim: None, owner, queue: Vec::new(), asked: 0, due }
    }

    /// Keeps a frame until it is answered.
    fn wait(&mut self, frame: Waiting) -> Result<(), DropReason> {
        let waiting: usize = self.queue.iter().map(|frame| frame.bytes.len()).sum();
        if self.queue.len() >= QUEUE_FRAMES || waiting + frame.bytes.len() > QUEUE_BYTES {
            return Err(DropReason::NeighbourQueueFull);
        }
        self.queue.push(frame);
        Ok(())
    }
}

impl<A> Default for Resolution<A> {
    fn default() -> Self {
        Self { questions: BTreeMap::new() }
    }
}

impl<A: Copy + Ord + Hash> Resolution<A> {
    /// Keeps a frame until the MAC of `hop` is known. That it was known before is forgotten: nobody knows where it is.
    ///
    /// # Errors
    /// `NeighbourQueueFull`, `NeighbourTableFull`: the frame is lost.
    pub(crate) fn wait(
        &mut self,
        hop: Hop<A>,
        frame: Waiting,
        now: Millis,
        known: &mut Neighbours<A>,
    ) -> Result<(), DropReason> {
        let before = known.remove(hop);
        if before.is_none() && !self.questions.contains_key(&hop) {
            self.make_room(frame.origin, now, known)?;
        }
        let owner = before.unwrap_or(frame.origin);
        let question = self.questions.entry(hop).or_insert_with(|| Question::new(owner, now));
        if before.is_some() {
            (question.asked, question.due) = (0, now);
        }
        question.wait(frame)
    }

    /// Somebody says to have the address of `hop`. Returns the frames that waited for that.
    ///
    /// # Errors
    /// `ArpConflict`: another station has the address; it will be asked.
    pub(crate) fn hear(
        &mut self,
        hop: Hop<A>,
        heard: Heard,
        now: Millis,
        known: &mut Neighbours<A>,
    ) -> Result<Vec<Waiting>, DropReason> {
        let Heard { mac, origin, asks_us } = heard;
        match known.get(hop) {
            Some(other) if other.seen.mac != mac && !other.doubted => {
                // However often somebody says so, nobody is asked more often than once in this time.
                let due = now.max(other.seen.at + INTERVAL);
                known.set_asked(hop);
                self.questions.entry(hop).or_insert_with(|| Question::new(origin, due)).claim = Some(mac);
                return Err(DropReason::ArpConflict);
            }
            Some(_) => {}
            None if self.questions.contains_key(&hop) => {}
            None if asks_us && self.make_room(origin, now, known).is_ok() => {}
            None => return Ok(Vec::new()),
        }
        let question = self.questions.remove(&hop).unwrap_or_else(|| Question::new(origin, now));
        known.confirm(hop, Sighting { mac, port: origin, at: now }, question.owner);
        Ok(question.queue)
    }

    /// When the next question is due.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        self.questions.values().map(|question| question.due).min()
    }

    /// What is due at `now`, or a part of it: then the rest still is.
    pub(crate) fn on_timeout(&mut self, now: Millis, known: &mut Neighbours<A>) -> Vec<Due<A>> {
        for (hop, owner) in known.take_stale() {
            self.questions.entry(hop).or_insert_with(|| Question::new(owner, now));
        }
        let mut due = Vec::new();
        self.questions.retain(|&hop, question| {
            if question.due > now || due.len() >= AT_ONCE {
                return true;
            }
            if let Some(mac) = question.claim
                && question.asked >= CLAIM_ATTEMPTS
            {
                known.confirm(hop, Sighting { mac, port: None, at: now }, question.owner);
                return false;
            }
            if question.asked == ATTEMPTS {
                known.remove(hop);
                due.push(Due::Failed(hop, std::mem::take(&mut question.queue)));
                return false;
            }
            (question.asked, question.due) = (question.asked + 1, now + INTERVAL);
            due.push(Due::Ask(hop, known.get(hop).map(|neighbour| neighbour.seen.mac)));
            true
        });
        due
    }

    /// Nothing about networks that aren't kept is asked or known any more. The frames that wait there are lost; returns their
    /// number.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(NetworkId) -> bool, known: &mut Neighbours<A>) -> u64 {
        let gone = self.questions.extract_if(.., |hop, _| !is_kept(hop.network));
        let lost = gone.map(|(_, question)| question.queue.len() as u64).sum();
        known.forget(|hop, _| !is_kept(hop.network));
        lost
    }

    /// The address of `hop` is `mac`'s from now on: nobody is asked whether another had it before.
    pub(crate) fn hand_over(&mut self, hop: Hop<A>, mac: MacAddr, now: Millis, known: &mut Neighbours<A>) {
        if known.hand_over(hop, mac, now) {
            self.questions.remove(&hop);
        }
    }

    /// Forgets the known neighbours that `which` chooses, and returns how many: the next frame for one asks anew. Those that
    /// are still being asked for stay, with the frames that wait for them.
    pub(crate) fn forget(
        &mut self,
        which: impl Fn(Hop<A>, MacAddr) -> bool,
        known: &mut Neighbours<A>,
    ) -> u64 {
        let forgotten = known.forget(which);
        forgotten.iter().for_each(|hop| {
            self.questions.remove(hop);
        });
        forgotten.len() as u64
    }

    /// The next hops that are asked for and of which nothing is known.
    pub(crate) fn unknown<'a>(&'a self, known: &'a Neighbours<A>) -> impl Iterator<Item = Hop<A>> + 'a {
        self.questions.keys().copied().filter(|hop| known.get(*hop).is_none())
    }

    /// Whether one more next hop may be asked for, and known then, because of a frame from `owner`.
    fn make_room(
        &self,
        owner: Option<PortId>,
        now: Millis,
        known: &mut Neighbours<A>,
    ) -> Result<(), DropReason> {
        let resolving = self.questions.iter().filter(|(hop, _)| known.get(**hop).is_none());
        let (all, own) = resolving
            .fold((0, 0), |(all, own), (_, question)| (all + 1, own + usize::from(question.owner == owner)));
        if !share::may_take(own, all, RESOLVING) {
            return Err(DropReason::NeighbourTableFull);
        }
        known.make_room(owner, now)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: Hop = Hop { network: NetworkId::new(0), address: Ipv4Addr::new(10, 0, 0, 2) };
    const MAC: MacAddr = MacAddr::local(7);

    /// Both tables, as the worker has them.
    struct Tables {
        known: Neighbours,
        asked: Resolution,
    }

    impl Tables {
        fn new() -> Self {
            Self { known: Neighbours::new([1, 2]), asked: Resolution::default() }
        }

        fn mac(&mut self, hop: Hop, now: Millis) -> Option<MacAddr> {
            self.known.mac(hop, now)
        }

        fn wait(&mut self, hop: Hop, frame: Waiting, now: Millis) -> Result<(), DropReason> {
            self.asked.wait(hop, frame, now, &mut self.known)
        }

        fn hear(
            &mut self,
            hop: Hop,
            mac: MacAddr,
            asks_us: bool,
            now: Millis,
        ) -> Result<Vec<Waiting>, DropReason> {
            self.asked.hear(hop, Heard { mac, origin: None, asks_us }, now, &mut self.known)
        }

        fn next_timeout(&self) -> Option<Millis> {
            [self.known.next_timeout(), self.asked.next_timeout()].into_iter().flatten().min()
        }

        fn on_timeout(&mut self, now: Millis) -> Vec<Due> {
            self.asked.on_timeout(now, &mut self.known)
        }

        fn forget(&mut self, which: impl Fn(Hop, MacAddr) -> bool) -> u64 {
            self.asked.forget(which, &mut self.known)
        }
    }

    fn frame(len: usize) -> Waiting {
        Waiting { bytes: vec![0; len], offload: Offload::NONE, origin: None }
    }

    fn at(seconds: u64) -> Millis {
        Millis::from_secs(seconds)
    }

    #[test]
    fn a_frame_waits_until_the_hop_answers() {
        let mut neighbours = Tables::new();
        neighbours.wait(HOP, frame(60), at(0)).unwrap();
        assert!(matches!(neighbours.on_timeout(at(0))[..], [Due::Ask(HOP, None)]));
        assert_eq!(neighbours.mac(HOP, at(0)), None);
        assert_eq!(neighbours.hear(HOP, MAC, false, at(0)).unwrap().len(), 1);
        assert_eq!(neighbours.mac(HOP, at(1)), Some(MAC));
        assert_eq!(neighbours.next_timeout(), None);
    }

    #[test]
    fn three_unanswered_questions_fail_the_waiting_frames() {
        let mut neighbours = Tables::new();
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
        let mut neighbours = Tables::new();
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
        let mut neighbours = Tables::new();
        neighbours.hear(HOP, MAC, true, at(0)).unwrap();
        assert_eq!(neighbours.mac(HOP, at(29)), Some(MAC));
        assert_eq!(neighbours.next_timeout(), None);
        assert_eq!(neighbours.mac(HOP, at(31)), Some(MAC));
        assert!(matches!(neighbours.on_timeout(at(31))[..], [Due::Ask(HOP, Some(MAC))]));
        neighbours.hear(HOP, MAC, false, at(31)).unwrap();
        assert_eq!(neighbours.next_timeout(), None);
    }

    #[test]
    fn queue_and_table_are_bounded() {
        let mut neighbours = Tables::new();
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
        let mut neighbours = Tables::new();
        neighbours.hear(HOP, MAC, true, at(0)).unwrap();
        neighbours.known.doubt(|_, mac| mac == MAC);
        assert_eq!(neighbours.mac(HOP, at(1)), Some(MAC), "it may be back");
        let other = MacAddr::local(8);
        neighbours.hear(HOP, other, false, at(1)).unwrap();
        assert_eq!(neighbours.mac(HOP, at(1)), Some(other));
        assert!(neighbours.hear(HOP, MAC, false, at(1)).is_err(), "and that one is believed");
    }

    #[test]
    fn strangers_are_not_remembered_unless_they_asked_us() {
        let mut neighbours = Tables::new();
        neighbours.hear(HOP, MAC, false, at(0)).unwrap();
        assert_eq!(neighbours.mac(HOP, at(0)), None);
        neighbours.hear(HOP, MAC, true, at(0)).unwrap();
        assert_eq!(neighbours.mac(HOP, at(0)), Some(MAC));
    }
    #[test]
    fn who_claims_an_address_gets_it_only_if_its_station_is_silent() {
        const OTHER: MacAddr = MacAddr::local(8);
        let mut neighbours = Tables::new();
        neighbours.hear(HOP, MAC, true, at(0)).unwrap();
        for second in 10..20 {
            assert_eq!(neighbours.hear(HOP, OTHER, true, at(second)).err(), Some(DropReason::ArpConflict));
            assert!(matches!(neighbours.on_timeout(at(second))[..], [Due::Ask(HOP, Some(MAC))]));
            neighbours.hear(HOP, MAC, false, at(second)).unwrap();
            // Once more in the same second: the question waits for the next.
            neighbours.hear(HOP, OTHER, true, at(second)).unwrap_err();
            assert!(neighbours.on_timeout(at(second)).is_empty());
            neighbours.hear(HOP, MAC, false, at(second)).unwrap();
            assert_eq!(neighbours.mac(HOP, at(second)), Some(MAC));
        }
        neighbours.hear(HOP, OTHER, false, at(20)).unwrap_err();
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
        let mut neighbours = Tables::new();
        let other = Hop { address: Ipv4Addr::new(10, 0, 0, 3), ..HOP };
        let unknown = Hop { address: Ipv4Addr::new(10, 0, 0, 4), ..HOP };
        for hop in [HOP, other] {
            neighbours.hear(hop, MAC, true, at(0)).unwrap();
        }
        neighbours.wait(unknown, frame(60), at(0)).unwrap();
        // It is being confirmed.
        assert_eq!(neighbours.mac(HOP, at(31)), Some(MAC));
        assert_eq!(neighbours.forget(|hop, mac| hop == HOP && mac == MAC), 1);
        assert_eq!((neighbours.mac(HOP, at(31)), neighbours.mac(other, at(1))), (None, Some(MAC)));
        assert_eq!(neighbours.forget(|_, _| true), 1, "the one that is being resolved stays");
        assert_eq!(neighbours.hear(unknown, MAC, false, at(1)).unwrap().len(), 1);
    }
}

//! Shares of the thread's time. What a frame costs is mostly the kernel's work inside our own system calls, and who sits at
//! the other side of a port decides how much that is: ten thousand sockets or packet filter rules behind a container's tap
//! make a write take milliseconds. So time is what ports share, not frames.
//!
//! ```text
//! each burst ─▶ its port pays for the time: in debt, it waits while others have frames          (Turn)
//! a call is dear: it takes longer than USUAL ─▶ watched: the processor's time is measured, call by call
//!   again and again ─▶ that port lives on CREDIT: 1/10 of the time, shared by all such ports, and 1/2 of long idle times
//!      as a source      it isn't read for now; its frames wait in its own queue
//!      as a destination frames for it are dropped, `tx_too_slow`; who sent them pays nothing for it
//! ```
//!
//! As long as nothing is dear this reads the clock once per burst. A burst may take long because the thread was kept from running,
//! which is nobody's fault: what the clock alone says is charged to nobody, but what follows is measured for a moment.

use std::collections::VecDeque;

use packet::{BURST_FRAMES, PortId};

/// What each port has used, and may use.
#[derive(Debug, Default)]
pub(super) struct Shares {
    ports: Vec<PortShare>,
    /// The accounts that live on credit.
    dear: Vec<(PortId, Way)>,
    /// Ports that have no credit to be read; they are not ready until they have.
    resting: Vec<PortId>,
    /// Until when calls are measured one by one, in nanoseconds of the clock.
    watched_until: u64,
    /// When credit was last given, and how long the thread had run until then.
    given: u64,
    ran: u64,
    /// The port that was last found to be dear.
    found: Option<PortId>,
    /// What dear destinations took of the burst at hand: its source doesn't pay for that.
    excused: u64,
}

/// How long the thread has slept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slept {
    pub all: u64,
    /// What of it was long: without anybody wanting it for a while.
    pub long: u64,
}

impl Slept {
    /// Once more, for so long.
    pub(super) fn add(&mut self, nanos: u64) {
        self.all += nanos;
        self.long += if nanos >= LONG_SLEEP { nanos } else { 0 };
    }
}

/// Which way frames go: a port is read, or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    In,
    Out,
}

#[derive(Clone, Debug, Default)]
struct PortShare {
    /// Nanoseconds that the port may be served before others are. Negative: it waits for its turn.
    turn: i64,
    /// Frames that the port may have moved at once, as a whole burst took long; 0: as many as there are.
    piece: usize,
    ways: [Account; 2],
}

/// Of one port, in one direction.
#[derive(Clone, Debug, Default)]
struct Account {
    /// Nanoseconds beyond the usual, of late.
    excess: u64,
    /// When `excess` was last looked at.
    seen: u64,
    is_dear: bool,
    credit: i64,
    /// What a frame takes, averaged, once it is dear.
    per_frame: u64,
}

/// What a call had to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub frames: usize,
    pub bytes: usize,
}

impl Work {
    /// The time that nobody is blamed for.
    pub(super) fn usual(self) -> u64 {
        USUAL * self.frames.max(1) as u64 + self.bytes as u64
    }
}

impl Shares {
    /// Whether calls are measured one by one.
    pub(super) fn is_watching(&self, now: u64) -> bool {
        now < self.watched_until
    }

    /// From now on, for a while.
    pub(super) fn watch(&mut self, now: u64) {
        self.watched_until = now + WATCH;
    }

    /// Whether it is this port's turn, of several that are ready. One that is in debt comes closer to it.
    pub(super) fn is_its_turn(&mut self, port: PortId) -> bool {
        let turn = &mut self.port(port).turn;
        let is_its_turn = *turn >= 0;
        *turn = (*turn + TURN).min(TURN);
        is_its_turn
    }

    /// Nobody else waits: no debt counts.
    pub(super) fn is_alone(&mut self, port: PortId) {
        self.port(port).turn = 0;
    }

    /// The frames that `port` may have moved at once in this direction.
    #[inline]
    pub(super) fn allowance(&self, port: PortId, way: Way) -> usize {
        if self.dear.is_empty() {
            return usize::MAX;
        }
        let Some(share) = self.ports.get(port.index()) else { return usize::MAX };
        let account = &share.ways[way as usize];
        match account.is_dear {
            false => usize::MAX,
            true if account.credit <= 0 => 0,
            true => usize::try_from(account.credit.unsigned_abs() / account.per_frame.max(1))
                .unwrap_or(usize::MAX)
                .max(1),
        }
    }

    /// The frames that `port` may have moved before it is somebody else's turn: a burst that is flooded to hundreds of ports
    /// takes tens of milliseconds.
    #[inline]
    pub(super) fn piece(&self, port: PortId) -> usize {
        let piece = self.ports.get(port.index()).map_or(0, |share| share.piece);
        if piece == 0 { usize::MAX } else { piece }
    }

    /// A burst begins, of which dear destinations have taken nothing yet.
    pub(super) fn begin(&mut self) {
        self.excused = 0;
    }

    /// A burst from `port` took this long, destinations included.
    pub(super) fn charge_source(&mut self, port: PortId, work: Work, took: u64, now: u64) {
        let took = took.saturating_sub(self.excused);
        let PortShare { turn, piece, .. } = self.port(port);
        *turn = (*turn - took.min(LONGEST) as i64).max(-(LONGEST as i64));
        if took > PIECE {
            *piece = ((work.frames as u64 * PIECE / took) as usize).max(1);
        } else if *piece > 0 {
            *piece = if *piece < BURST_FRAMES { *piece * 2 } else { 0 };
        }
        if self.is_watching(now) {
            self.charge(port, Way::In, work, took, now);
        } else if took > work.usual() {
            self.suspect(now);
        }
    }

    /// Something took long by the clock: what follows is measured for a moment.
    fn suspect(&mut self, now: u64) {
        self.watched_until = self.watched_until.max(now + MOMENT);
    }

    /// Sending to `port` took this long, by the clock alone or exactly. Whether that was dear. What the clock alone says is
    /// charged to nobody: then it is time to be exact.
    pub(super) fn charge_destination(
        &mut self,
        port: PortId,
        work: Work,
        (took, is_exact): (u64, bool),
        now: u64,
    ) -> bool {
        let is_dear = match is_exact {
            true => self.charge(port, Way::Out, work, took, now),
            false => took > work.usual(),
        };
        if is_dear {
            self.suspect(now);
        }
        if is_dear {
            self.excused += took;
        }
        is_dear
    }

    fn charge(&mut self, port: PortId, way: Way, work: Work, took: u64, now: u64) -> bool {
        let beyond = took.saturating_sub(work.usual());
        if beyond > 0 {
            self.watch(now);
        }
        let account = &mut self.port(port).ways[way as usize];
        account.leak(now);
        account.excess = (account.excess + beyond).min(EXCESS_MOST);
        account.credit -= took.min(LONGEST) as i64;
        let per_frame = took / work.frames.max(1) as u64;
        account.per_frame = if account.is_dear { (account.per_frame * 3 + per_frame) / 4 } else { per_frame };
        if account.excess >= EXCESS_DEAR && !account.is_dear {
            (account.is_dear, account.credit) = (true, 0);
            self.dear.push((port, way));
            self.found = Some(port);
        }
        beyond > 0
    }

    /// Whether anybody lives on credit.
    pub(super) fn is_anyone_dear(&self) -> bool {
        !self.dear.is_empty()
    }

    /// Gives credit for the time since the last call, as far as the thread could have it: it slept, or ran, of which there
    /// are `ran` nanoseconds since it began. What others took of its processor is nobody's here.
    pub(super) fn give(&mut self, now: u64, ran: u64, slept: Slept) {
        let passed = now.saturating_sub(self.given);
        let had = passed.min(slept.all + ran.saturating_sub(self.ran));
        (self.given, self.ran) = (now, ran);
        if self.dear.is_empty() {
            return;
        }
        let all = had / 10 + slept.long / 2;
        let gain = (all / self.dear.len() as u64).min(LONGEST) as i64;
        let ports = &mut self.ports;
        self.dear.retain(|&(port, way)| {
            let account = &mut ports[port.index()].ways[way as usize];
            account.credit = (account.credit + gain).min(CREDIT_MOST);
            account.leak(now);
            account.is_dear = account.excess > 0;
            account.is_dear
        });
        self.watched_until = self.watched_until.max(now + u64::from(!self.dear.is_empty()) * WATCH);
    }

    /// `port` isn't read until it has credit again.
    pub(super) fn rest(&mut self, port: PortId) {
        if !self.resting.contains(&port) {
            self.resting.push(port);
        }
    }

    /// Whether a port waits for credit: look again in a millisecond.
    pub(super) fn is_anyone_resting(&self) -> bool {
        !self.resting.is_empty()
    }

    /// Ports that have credit again, or live on credit no longer, are ready.
    pub(super) fn wake(&mut self, ready: &mut VecDeque<PortId>) {
        if self.resting.is_empty() {
            return;
        }
        for port in std::mem::take(&mut self.resting) {
            if self.allowance(port, Way::In) == 0 {
                self.resting.push(port);
            } else if !ready.contains(&port) {
                ready.push_back(port);
            }
        }
    }

    /// A port that lives on credit since the last call.
    pub(super) fn found_dear(&mut self) -> Option<PortId> {
        self.found.take()
    }

    /// The port is another's from now on.
    pub(super) fn forget(&mut self, port: PortId) {
        self.dear.retain(|&(dear, _)| dear != port);
        self.resting.retain(|&resting| resting != port);
        if let Some(share) = self.ports.get_mut(port.index()) {
            *share = PortShare::default();
        }
    }

    fn port(&mut self, port: PortId) -> &mut PortShare {
        if self.ports.len() <= port.index() {
            self.ports.resize_with(port.index() + 1, PortShare::default);
        }
        &mut self.ports[port.index()]
    }
}

impl Account {
    fn leak(&mut self, now: u64) {
        self.excess = self.excess.saturating_sub(now.saturating_sub(self.seen) / LEAK);
        self.seen = now;
    }
}

/// What a frame may take before anybody calls that dear, beside a nanosecond a byte: ten times what a write to a tap
/// takes, with the receiver's TCP inside (15 µs).
const USUAL: u64 = 25_000;
/// How long calls are measured one by one after one that was long by the clock.
const MOMENT: u64 = 5_000_000;
/// How long calls are measured one by one after a dear one.
const WATCH: u64 = 1_000_000_000;
/// What a port that is ready gets before the next one, when several are.
const TURN: i64 = 250_000;
/// What counts of a single call, so that no debt lasts for minutes.
const LONGEST: u64 = 1_000_000_000;
/// Time beyond the usual after which a port lives on credit. A burst to a port nobody knows yet ends much earlier: calls
/// are watched from the first dear one on.
const EXCESS_DEAR: u64 = 10_000_000;
/// At most: so a port that has become cheap is like others again after `LEAK` times this, 2.5 s.
const EXCESS_MOST: u64 = 50_000_000;
/// Excess is forgiven at one fiftieth of the time: a port that costs less than that hurts nobody.
const LEAK: u64 = 50;
/// What one port's frames may take before another port's turn, as far as frames can be counted: so many are moved at once.
const PIECE: u64 = 2_000_000;
/// Whoever sleeps shorter is about to be wanted again: TCP at full speed leaves the thread nothing but short sleeps, and a frame
/// that takes 10 ms in one of them costs it more than these 10 ms.
const LONG_SLEEP: u64 = 3_000_000;
/// Credit at most: what a port may take in one piece.
const CREDIT_MOST: i64 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const ONE: Work = Work { frames: 1, bytes: 60 };

    fn port(id: u16) -> PortId {
        PortId::new(id).unwrap()
    }

    #[test]
    fn a_port_that_is_dear_again_and_again_lives_on_a_tenth_of_the_time() {
        let mut shares = Shares::default();
        let (mut now, mut sent) = (0, 0);
        shares.watch(now);
        // Each frame takes 1 ms, for 10 s of a thread that never sleeps.
        while now < 10_000 * MS {
            let took = if shares.allowance(port(1), Way::Out) > 0 {
                sent += 1;
                now += MS;
                shares.charge_destination(port(1), ONE, (MS, true), now);
                MS
            } else {
                MS / 10
            };
            now += took;
            shares.give(now, now, Slept::default());
        }
        assert!((750..1250).contains(&sent), "{sent} of 10000");
    }

    #[test]
    fn what_a_thread_would_sleep_anyway_is_there_for_dear_ports() {
        let mut shares = Shares::default();
        for n in 0..20 {
            shares.charge_destination(port(1), ONE, (MS, true), n * MS);
        }
        assert_eq!(shares.allowance(port(1), Way::Out), 0);
        shares.give(20 * MS, 20 * MS, Slept::default());
        shares.give(120 * MS, 20 * MS, Slept { all: 100 * MS, long: 100 * MS });
        assert!(shares.allowance(port(1), Way::Out) > 0);
        assert_eq!(shares.allowance(port(2), Way::Out), usize::MAX, "others are as they were");
    }

    #[test]
    fn credit_is_a_part_of_the_time_that_the_thread_has() {
        let gained = |ran, all| {
            let mut shares = Shares::default();
            for n in 0..20 {
                shares.charge_destination(port(1), ONE, (MS, true), n * MS);
            }
            shares.give(20 * MS, 0, Slept::default());
            shares.give(30 * MS, ran, Slept { all, long: 0 });
            shares.port(port(1)).ways[Way::Out as usize].credit
        };
        let none = gained(0, 0);
        assert_eq!(gained(4 * MS, 0) - none, MS as i64 * 4 / 10, "others had the processor for the rest");
        assert_eq!(gained(4 * MS, 6 * MS) - none, MS as i64, "what it sleeps it could have run");
        assert_eq!(gained(40 * MS, 0) - none, MS as i64, "no more than there was");
    }

    #[test]
    fn a_single_hiccup_blames_nobody() {
        let mut shares = Shares::default();
        shares.charge_destination(port(1), ONE, (9 * MS, true), MS);
        assert_eq!(shares.allowance(port(1), Way::Out), usize::MAX);
    }

    #[test]
    fn a_port_that_became_cheap_is_like_others_again() {
        let mut shares = Shares::default();
        for n in 0..100 {
            shares.charge_destination(port(1), ONE, (MS, true), n * MS);
        }
        assert_eq!(shares.found_dear(), Some(port(1)));
        shares.give(3000 * MS, 3000 * MS, Slept::default());
        assert_eq!(shares.allowance(port(1), Way::Out), usize::MAX);
    }

    #[test]
    fn who_sends_to_a_dear_port_does_not_pay_for_it() {
        let mut shares = Shares::default();
        shares.watch(0);
        shares.begin();
        shares.charge_destination(port(2), ONE, (5 * MS, true), 5 * MS);
        shares.charge_source(port(1), ONE, 5 * MS + 1000, 5 * MS);
        assert!(shares.is_its_turn(port(1)) || shares.is_its_turn(port(1)), "at most one turn is missed");
    }

    #[test]
    fn bursts_that_take_long_are_shorter_until_they_do_not() {
        let mut shares = Shares::default();
        let burst = |frames| Work { frames, bytes: 60 * frames };
        assert_eq!(shares.piece(port(1)), usize::MAX);
        // Flooded to 500 ports.
        shares.charge_source(port(1), burst(64), 64 * MS, MS);
        assert_eq!(shares.piece(port(1)), 2);
        assert_eq!(shares.piece(port(2)), usize::MAX);
        shares.charge_source(port(1), burst(1), 5 * MS, MS);
        assert_eq!(shares.piece(port(1)), 1, "no less");
        for _ in 0..8 {
            shares.charge_source(port(1), burst(1), MS / 100, MS);
        }
        assert_eq!(shares.piece(port(1)), usize::MAX);
    }

    #[test]
    fn a_port_that_took_long_waits_while_others_are_served() {
        let mut shares = Shares::default();
        shares.begin();
        shares.charge_source(port(1), Work { frames: 64, bytes: 4000 }, 2 * MS, 0);
        let missed = (0..100).take_while(|_| !shares.is_its_turn(port(1))).count();
        assert_eq!(missed, 8, "2 ms of turns of 250 µs");
    }

    #[test]
    fn ports_without_credit_rest_until_they_have_some() {
        let mut shares = Shares::default();
        shares.watch(0);
        for n in 0..20 {
            shares.begin();
            shares.charge_source(port(1), ONE, MS, n * MS);
        }
        assert_eq!(shares.allowance(port(1), Way::In), 0);
        shares.rest(port(1));
        let mut ready = VecDeque::new();
        shares.wake(&mut ready);
        assert!(ready.is_empty() && shares.is_anyone_resting());
        shares.give(1000 * MS, 1000 * MS, Slept::default());
        shares.wake(&mut ready);
        assert_eq!(ready, [port(1)]);
    }
}

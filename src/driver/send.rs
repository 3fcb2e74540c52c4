//! From the worker's lists to the ports, each of which gets no more of the thread's time than its share.

use packet::{Burst, DropReason, PortCounters, PortId, TxEntry};

use super::meter::Meter;
use super::ports::Queues;
use super::shares::{Shares, Way, Work};

/// What sending needs beside the frames, and what it finds out.
pub(super) struct Sender<'a> {
    pub queues: &'a mut Queues,
    pub shares: &'a mut Shares,
    pub meter: &'a mut Meter,
    /// Ports whose link turned out to be down.
    pub down: Vec<PortId>,
}

impl Sender<'_> {
    /// Sends the frames of `burst` that are on the port's list, and counts each as sent or as dropped.
    pub(super) fn send(
        &mut self,
        id: PortId,
        burst: &mut Burst,
        list: &[TxEntry],
        counters: &mut PortCounters,
    ) {
        const DOWN: DropReason = DropReason::TxLinkDown;
        let before = counters.drops.of(DOWN);
        match self.queues.get_mut(id).map(|queue| queue.sends_by_call()) {
            None => counters.drops.count_many(DOWN, list.len() as u64),
            Some(by_call) => self.send_in_pieces(id, by_call, burst, list, counters),
        }
        if counters.drops.of(DOWN) != before {
            self.down.push(id);
        }
    }

    /// Where each frame is a system call, the other side decides how long it takes, so the first frames find that out.
    fn send_in_pieces(
        &mut self,
        id: PortId,
        by_call: bool,
        burst: &mut Burst,
        list: &[TxEntry],
        counters: &mut PortCounters,
    ) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        let is_watching = self.shares.is_watching(self.meter.mark());
        if !is_watching && (list.len() == 1 || !by_call) {
            return queue.tx_burst(burst, list, counters);
        }
        // What was before isn't this port's.
        self.meter.lap(u64::MAX);
        let (mut rest, mut piece) = (list, if by_call { 1 } else { list.len() });
        while !rest.is_empty() {
            let allowed = self.shares.allowance(id, Way::Out);
            if allowed == 0 {
                counters.drops.count_many(DropReason::TxTooSlow, rest.len() as u64);
                return;
            }
            let (now, later) = rest.split_at(piece.min(allowed).min(rest.len()));
            queue.tx_burst(burst, now, counters);
            let bytes = now.iter().map(|entry| burst.bytes(entry.frame()).len()).sum();
            let work = Work { frames: now.len(), bytes };
            let took = (self.meter.lap(work.usual()), self.meter.is_exact());
            if self.shares.charge_destination(id, work, took, self.meter.mark()) {
                self.meter.be_exact();
                piece = 1;
            } else {
                piece *= 2;
            }
            rest = later;
        }
    }
}

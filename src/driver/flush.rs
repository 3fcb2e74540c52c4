//! Entries that an operator has forgotten. Millions of flows take seconds to look at: that is done a part at a time,
//! between bursts.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;

use engine::report::FlowReport;
use packet::Millis;
use tracing::info;

use super::Driver;
use crate::control::filter::{self, Choice, Filter, FilterError};
use crate::control::{Flushable, RequestError, Response};
use crate::show::changed;

/// Flows on their way out.
pub(super) struct Flushing {
    which: Choice<FlowReport>,
    /// The next place of the table to look at.
    place: usize,
    flushed: u64,
    reply: SyncSender<Response>,
}

/// Those that are not done yet, the first one first.
pub(super) type Flushings = VecDeque<Flushing>;

impl Driver {
    /// Forgets the entries that `filter` chooses, and then answers.
    pub(super) fn flush(&mut self, what: Flushable, filter: &Filter, reply: SyncSender<Response>) {
        let now = self.clock.now();
        let done = match what {
            Flushable::Fdb => filter::fdb(filter, &self.plan).map(|which| self.worker.flush_fdb(which, now)),
            Flushable::Neighbours => {
                filter::neighbours(filter, &self.plan).map(|which| self.worker.flush_neighbours(which))
            }
            Flushable::Flows => match filter::flows(filter, &self.plan) {
                Ok(which) => {
                    self.flushing.push_back(Flushing { which, place: 0, flushed: 0, reply });
                    return;
                }
                Err(error) => Err(error),
            },
        };
        answer(what, done, &reply);
    }

    /// Looks at the next part of the flows.
    pub(super) fn go_on_flushing(&mut self, now: Millis) -> bool {
        let Some(flushing) = self.flushing.front_mut() else { return false };
        let end = (flushing.place + PART).min(self.worker.flow_places());
        flushing.flushed += self.worker.flush_flows(flushing.place..end, &flushing.which, now);
        flushing.place += PART;
        if flushing.place >= self.worker.flow_places() {
            answer(Flushable::Flows, Ok(flushing.flushed), &flushing.reply);
            self.flushing.pop_front();
        }
        true
    }
}

fn answer(what: Flushable, done: Result<u64, FilterError>, reply: &SyncSender<Response>) {
    if let Ok(count) = done {
        info!(?what, count, "flushed");
    }
    // Whoever asked may have gone.
    let _ =
        reply.try_send(done.map(|count| changed::flushed(what, count)).map_err(RequestError::WrongFilter));
}

/// Places of the flow table that are looked at between two rounds of bursts: 0.3 ms if all of their flows go.
const PART: usize = 512;

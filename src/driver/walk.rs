//! Walks through the flows, which may be millions: a part at a time, between bursts. They change meanwhile.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use engine::report::FlowReport;
use nat_engine::Snapshot;
use packet::Millis;
use tracing::info;

use super::Driver;
use crate::control::filter::{self, Choice, Filter, FilterError};
use crate::control::{RequestError, Response, Told};
use crate::show::changed::{Flushable, Flushed};
use crate::show::{Answer, flows};

/// Somebody who wants to see all flows.
pub(super) struct Walk {
    purpose: Purpose,
    /// The next place of the table to look at.
    place: usize,
    reply: SyncSender<Response>,
}

/// What for.
pub(super) enum Purpose {
    /// To show so many of them; each part is by itself, as to move megabytes takes time, too.
    Show { limit: usize, reports: Vec<Vec<FlowReport>> },
    /// To forget some.
    Flush { which: Choice<FlowReport>, flushed: u64 },
    /// To save them.
    Save { path: PathBuf, snapshot: Snapshot },
}

/// Those that are not done yet, the first one first.
pub(super) type Walks = VecDeque<Walk>;

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
                Ok(which) => return self.walk(Purpose::Flush { which, flushed: 0 }, reply),
                Err(error) => Err(error),
            },
        };
        answer(what, done, &reply);
    }

    /// Begins a walk, which ends with an answer.
    pub(super) fn walk(&mut self, purpose: Purpose, reply: SyncSender<Response>) {
        self.walks.push_back(Walk { purpose, place: 0, reply });
    }

    /// Whether connections are on their way to a file.
    pub(super) fn is_copying(&self) -> bool {
        self.walks.iter().any(|walk| matches!(walk.purpose, Purpose::Save { .. }))
    }

    /// Looks at the next part of the flows.
    pub(super) fn go_on_walking(&mut self, now: Millis) {
        let Some(Walk { purpose, place, .. }) = self.walks.front_mut() else { return };
        let places = *place..(*place + PART).min(self.worker.flow_places());
        *place += PART;
        let is_enough = match purpose {
            Purpose::Show { limit, reports } => {
                let part: Vec<FlowReport> = self.worker.flows_in(places, now).take(*limit).collect();
                *limit -= part.len();
                reports.push(part);
                *limit == 0
            }
            Purpose::Flush { which, flushed } => {
                *flushed += self.worker.flush_flows(places, &*which, now);
                false
            }
            Purpose::Save { snapshot, .. } => {
                self.worker.copy_flows(places, now, snapshot);
                false
            }
        };
        if (is_enough || *place >= self.worker.flow_places())
            && let Some(walk) = self.walks.pop_front()
        {
            self.end_walk(walk);
        }
    }

    fn end_walk(&mut self, Walk { purpose, reply, .. }: Walk) {
        match purpose {
            Purpose::Show { reports, .. } => {
                let total = self.worker.stats().flows;
                // Whoever asked may have gone.
                let _ = reply
                    .try_send(Ok(Told::by(move || Answer::Flows(flows::answer(&reports.concat(), total)))));
            }
            Purpose::Flush { flushed, .. } => answer(Flushable::Flows, Ok(flushed), &reply),
            Purpose::Save { path, snapshot } => self.write_connections(path, snapshot, reply),
        }
    }
}

fn answer(what: Flushable, done: Result<u64, FilterError>, reply: &SyncSender<Response>) {
    if let Ok(count) = done {
        info!(?what, count, "flushed");
    }
    let told = done.map(|count| Answer::Flushed(Flushed { what, count }).into());
    // Whoever asked may have gone.
    let _ = reply.try_send(told.map_err(RequestError::WrongFilter));
}

/// Places of the flow table that are looked at between two rounds of bursts: 0.3 ms if all of their flows go.
const PART: usize = 512;

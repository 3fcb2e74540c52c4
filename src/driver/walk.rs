//! Walks through large tables, a part at a time, between bursts: here the flows, in [`tables`](super::tables) the others. They
//! change meanwhile.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use engine::report::FlowView;
use nat_engine::Snapshot;
use packet::Millis;

use super::Driver;
use super::tables::{TableWalk, answer};
use crate::control::filter::{self, Choice};
use crate::control::{RequestError, Response, Told};
use crate::show::changed::Flushable;
use crate::show::select::{Filter, Selection};
use crate::show::{Answer, flows};

/// Somebody who wants to see all of a table.
pub(super) enum Walk {
    Flows(FlowWalk),
    Table(TableWalk),
}

impl From<TableWalk> for Walk {
    fn from(walk: TableWalk) -> Self {
        Self::Table(walk)
    }
}

/// Somebody who wants to see all flows.
pub(super) struct FlowWalk {
    purpose: Purpose,
    /// The next place of the table to look at.
    place: usize,
    reply: SyncSender<Response>,
}

/// What for.
pub(super) enum Purpose {
    /// To show them; each part is by itself, as to move megabytes takes time, too.
    Show { wanted: Wanted, reports: Vec<Vec<FlowView>> },
    /// To forget some.
    Flush { which: Choice<FlowView>, flushed: u64 },
    /// To save them.
    Save { path: PathBuf, snapshot: Snapshot },
}

/// Which flows are to be shown.
pub(super) struct Wanted {
    which: Choice<FlowView>,
    /// How many more are to be collected.
    limit: usize,
    /// What is to be done with all of them then.
    selection: Selection,
    /// How many are to be shown.
    shown: usize,
}

/// Those that are not done yet, the first one first.
pub(super) type Walks = VecDeque<Walk>;

impl Driver {
    /// Forgets the entries that `filter` chooses, and then answers.
    pub(super) fn flush(&mut self, what: Flushable, filter: &Filter, reply: SyncSender<Response>) {
        let done = match what {
            Flushable::Fdb => match filter::fdb(filter, &self.plan) {
                Ok(which) => return self.flush_fdb(which, reply),
                Err(error) => Err(error),
            },
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

    /// Shows the first flows of those that are wanted.
    pub(super) fn show_flows(&mut self, shown: usize, mut selection: Selection, reply: SyncSender<Response>) {
        let of_flows = |key: &String| filter::FLOW_KEYS.contains(&key.as_str());
        let limit = selection.limit(shown);
        let (keys, others) = selection.filter.into_iter().partition(|(key, _)| of_flows(key));
        selection.filter = others;
        match filter::flows(&keys, &self.plan) {
            Ok(which) => {
                let wanted = Wanted { which, limit, selection, shown };
                self.walk(Purpose::Show { wanted, reports: Vec::new() }, reply);
            }
            // Whoever asked may have gone.
            Err(error) => drop(reply.try_send(Err(RequestError::WrongFilter(error)))),
        }
    }

    /// Begins a walk, which ends with an answer.
    pub(super) fn walk(&mut self, purpose: Purpose, reply: SyncSender<Response>) {
        self.walks.push_back(Walk::Flows(FlowWalk { purpose, place: 0, reply }));
    }

    /// Whether connections are on their way to a file.
    pub(super) fn is_copying(&self) -> bool {
        let saves = |walk: &Walk| matches!(walk, Walk::Flows(FlowWalk { purpose: Purpose::Save { .. }, .. }));
        self.walks.iter().any(saves)
    }

    /// Looks at the next part of a table.
    pub(super) fn go_on_walking(&mut self, now: Millis) {
        let rest = match self.walks.pop_front() {
            Some(Walk::Flows(walk)) => self.go_on_with_flows(walk, now).map(Walk::Flows),
            Some(Walk::Table(walk)) => self.go_on_with_table(walk, now).map(Walk::Table),
            None => None,
        };
        if let Some(walk) = rest {
            self.walks.push_front(walk);
        }
    }

    /// Looks at the next part; `None`: it was the last one.
    fn go_on_with_flows(&mut self, mut walk: FlowWalk, now: Millis) -> Option<FlowWalk> {
        let FlowWalk { purpose, place, .. } = &mut walk;
        let places = *place..(*place + PART).min(self.worker.flow_places());
        *place += PART;
        let is_enough = match purpose {
            Purpose::Show { wanted: Wanted { which, limit, .. }, reports } => {
                let flows = self.worker.flows_in(places, now);
                let part: Vec<FlowView> = flows.filter(|flow| which(flow)).take(*limit).collect();
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
        if is_enough || *place >= self.worker.flow_places() {
            self.end_walk(walk);
            return None;
        }
        Some(walk)
    }

    fn end_walk(&mut self, FlowWalk { purpose, reply, .. }: FlowWalk) {
        match purpose {
            Purpose::Show { wanted, reports } => {
                let total = self.worker.stats().flows;
                let told = Told::by(move || Answer::Flows(flows::answer(&reports.concat(), total)));
                // Whoever asked may have gone.
                let _ = reply.try_send(Ok(told.select(wanted.selection, wanted.shown)));
            }
            Purpose::Flush { flushed, .. } => answer(Flushable::Flows, Ok(flushed), &reply),
            Purpose::Save { path, snapshot } => self.write_connections(path, snapshot, reply),
        }
    }
}

/// Places of the flow table that are looked at between two rounds of bursts: 0.3 ms if all of their flows go.
const PART: usize = 512;

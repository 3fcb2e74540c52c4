//! Walks through tables of all networks, which may have millions of places: a part at a time, between bursts. They change
//! meanwhile.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use engine::report::{Cursor, FdbReport, Learned, LeaseReport};
use packet::Millis;
use tracing::info;

use super::{Driver, SLICE};
use crate::control::filter::{Choice, FilterError};
use crate::control::{RequestError, Response, Told, What};
use crate::show::changed::{Flushable, Flushed};
use crate::show::select::Selection;
use crate::show::{Answer, fdb, leases, vlans};

/// Somebody who wants to see all of a table.
pub(super) struct TableWalk {
    /// The next part to look at.
    cursor: Cursor,
    purpose: Purpose,
    reply: SyncSender<Response>,
}

/// What for.
enum Purpose {
    /// To show so many of what is selected.
    Show { found: Found, selection: Selection, shown: usize },
    /// To forget some of the FDB.
    Flush { which: Choice<FdbReport>, flushed: u64 },
}

/// What was found so far. Each part is by itself, as to move megabytes takes time, too.
pub(super) enum Found {
    Fdb(Vec<Vec<FdbReport>>),
    /// The same, to be counted by VLAN.
    Vlans(Vec<Vec<FdbReport>>),
    Leases(Vec<Vec<LeaseReport>>),
    /// What is learned on the ports, about which something else is told with that.
    Learned(What, Learned),
}

impl Driver {
    /// Begins to look at a table, of which so many of what is selected will be shown.
    pub(super) fn show_table(
        &mut self,
        found: Found,
        selection: Selection,
        shown: usize,
        reply: SyncSender<Response>,
    ) {
        self.walk_table(Purpose::Show { found, selection, shown }, reply);
    }

    /// Begins to forget some of the FDB.
    pub(super) fn flush_fdb(&mut self, which: Choice<FdbReport>, reply: SyncSender<Response>) {
        self.walk_table(Purpose::Flush { which, flushed: 0 }, reply);
    }

    fn walk_table(&mut self, purpose: Purpose, reply: SyncSender<Response>) {
        self.walks.push_back(TableWalk { cursor: Cursor::default(), purpose, reply }.into());
    }

    /// Looks at the next parts, for as long as there is time; `None`: it was the last one.
    pub(super) fn go_on_with_table(&mut self, mut walk: TableWalk, now: Millis) -> Option<TableWalk> {
        let start = self.clock.nanos();
        while self.clock.nanos() - start < SLICE {
            if !self.look_at_part(&mut walk, now) {
                self.end_table_walk(walk, now);
                return None;
            }
        }
        Some(walk)
    }

    /// Whether there was one more.
    fn look_at_part(&mut self, TableWalk { cursor, purpose, .. }: &mut TableWalk, now: Millis) -> bool {
        let worker = &mut self.worker;
        match purpose {
            Purpose::Show { found: Found::Fdb(parts) | Found::Vlans(parts), .. } => {
                worker.fdb_part(cursor, now).map(|part| parts.push(part.collect())).is_some()
            }
            Purpose::Show { found: Found::Leases(parts), .. } => {
                worker.leases_part(cursor, now).map(|part| parts.push(part)).is_some()
            }
            Purpose::Show { found: Found::Learned(_, learned), .. } => {
                worker.count_learned(cursor, learned, now)
            }
            Purpose::Flush { which, flushed } => {
                worker.flush_fdb_part(cursor, &*which, now).map(|count| *flushed += count).is_some()
            }
        }
    }

    fn end_table_walk(&self, TableWalk { purpose, reply, .. }: TableWalk, now: Millis) {
        let (found, selection, shown) = match purpose {
            Purpose::Show { found, selection, shown } => (found, selection, shown),
            Purpose::Flush { flushed, .. } => return answer(Flushable::Fdb, Ok(flushed), &reply),
        };
        let (plan, limit) = (Arc::clone(&self.plan), selection.limit(shown));
        let told = match found {
            Found::Fdb(parts) => {
                Told::by(move || Answer::Fdb(fdb::answer(parts.into_iter().flatten(), limit, &plan)))
            }
            Found::Vlans(parts) => {
                Told::by(move || Answer::Vlans(vlans::answer(parts.into_iter().flatten(), limit, &plan)))
            }
            Found::Leases(parts) => {
                Told::by(move || Answer::Leases(leases::answer(parts.into_iter().flatten(), limit, &plan)))
            }
            Found::Learned(what, learned) => self.told(what, limit, &learned, now),
        };
        // Whoever asked may have gone.
        let _ = reply.try_send(Ok(told.select(selection, shown)));
    }
}

/// How many entries were forgotten.
pub(super) fn answer(what: Flushable, done: Result<u64, FilterError>, reply: &SyncSender<Response>) {
    if let Ok(count) = done {
        info!(?what, count, "flushed");
    }
    let told = done.map(|count| Answer::Flushed(Flushed { what, count }).into());
    // Whoever asked may have gone.
    let _ = reply.try_send(told.map_err(RequestError::WrongFilter));
}

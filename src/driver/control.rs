//! What the driver answers to the control socket.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use engine::report::Learned;
use packet::{Millis, PortId};

use super::changes::Change;
use super::tables::Found;
use super::{Driver, SLICE};
use crate::control::{Command, Request, Response, Told, What};
use crate::show::select::Selection;
use crate::show::{
    Answer, Process, drops, map, mappings, names, nat, neighbours, networks, ports, servers, stats, stp,
    uplinks,
};

impl Driver {
    /// Answers the requests that wait, between two bursts. What takes long is begun, and answered when it is done.
    pub(super) fn obey_commands(&mut self, commands: &Receiver<Command>) {
        let start = self.clock.nanos();
        while let Ok(Command { request, reply }) = commands.try_recv() {
            let change = match request {
                Request::Show { what, limit, sort, filter } => {
                    self.count_missed();
                    self.show(what, limit, Selection { sort, filter }, reply);
                    None
                }
                Request::Flush { what, filter } => {
                    self.flush(what, &filter, reply);
                    None
                }
                Request::NatSave => {
                    self.save_while_running(reply);
                    None
                }
                Request::Reload => Some((Change::Reload, reply)),
                Request::PortAdd { port, keys } => Some((Change::PortAdd { port, keys }, reply)),
                Request::PortDel { port } => Some((Change::PortDel { port }, reply)),
                Request::Nat { line } => Some((Change::Nat { line }, reply)),
            };
            if let Some((change, reply)) = change {
                self.change(change, Some(reply));
            }
            if self.clock.nanos() - start > SLICE {
                // There may be more of them, but frames come first.
                let _ = self.waker.wake();
                return;
            }
        }
    }

    /// Has ports count what their devices have dropped.
    fn count_missed(&mut self) {
        let ids: Vec<PortId> = self.ports.ids().collect();
        for id in ids {
            if let (Some(queue), Some(counters)) =
                (self.ports.queues.get_mut(id), self.worker.counters_mut(id))
            {
                queue.count_missed(counters);
            }
        }
    }

    fn process(&self) -> Process {
        Process {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            generation: self.generation,
        }
    }

    /// Shows what is selected, which is taken from the worker; to put it into words is left to the client's thread.
    fn show(&mut self, what: What, shown: usize, selection: Selection, reply: SyncSender<Response>) {
        let found = match what {
            What::Flows => return self.show_flows(shown, selection, reply),
            What::Fdb => Found::Fdb(Vec::new()),
            What::Vlans => Found::Vlans(Vec::new()),
            What::Leases => Found::Leases(Vec::new()),
            What::Networks | What::Uplinks | What::Map | What::Ports => {
                Found::Learned(what, Learned::default())
            }
            _ => {
                let told = self.told(what, selection.limit(shown), &Learned::default(), self.clock.now());
                // Whoever asked may have gone.
                return drop(reply.try_send(Ok(told.select(selection, shown))));
            }
        };
        self.show_table(found, selection, shown, reply);
    }

    /// What there is to tell, at most `limit` rows of long tables. Those that take a walk are not told here.
    pub(super) fn told(&self, what: What, limit: usize, learned: &Learned, now: Millis) -> Told {
        let (plan, process, worker) = (Arc::clone(&self.plan), self.process(), &self.worker);
        let (ports, stats) = (|| worker.ports(learned), || worker.stats());
        match what {
            What::Networks => {
                told((ports(), all(worker.pools(now)), stats()), move |(ports, pools, stats)| {
                    Answer::Networks(networks::answer(process, &ports, pools, &stats, &plan))
                })
            }
            What::Uplinks => told(ports(), move |ports| Answer::Uplinks(uplinks::answer(&ports, &plan))),
            What::Map => told((ports(), all(worker.pools(now))), move |(ports, pools)| {
                Answer::Map(map::answer(&ports, pools, &plan))
            }),
            What::Neighbours => told(all(worker.neighbours()), move |neighbours| {
                Answer::Neighbours(neighbours::answer(neighbours, limit, &plan))
            }),
            What::Ports => told(ports(), move |ports| Answer::Ports(ports::answer(&ports, &plan))),
            What::Nat => told(worker.rules(), move |rules| Answer::Nat(nat::answer(&rules, &plan))),
            What::Servers => told(all(worker.servers(now)), move |servers| {
                Answer::Servers(servers::answer(servers, &plan))
            }),
            What::Names => {
                told(all(worker.names(now)), move |names| Answer::Names(names::answer(names, limit, &plan)))
            }
            What::Mappings => told(all(worker.explicit_mappings()), move |mappings| {
                Answer::Mappings(mappings::answer(mappings, limit, now))
            }),
            What::Drops => told((ports(), stats()), move |(ports, stats)| {
                Answer::Drops(drops::answer(&ports, &stats, &plan))
            }),
            What::Stp => told(worker.trees(now).collect::<Vec<_>>(), move |trees| {
                Answer::Stp(stp::answer(&trees, &plan))
            }),
            What::Stats => {
                Answer::Stats(stats::answer(process, &stats(), self.pauses.longest(), &plan)).into()
            }
            What::Fdb | What::Vlans | What::Leases | What::Flows => {
                unreachable!("somebody walks through these")
            }
        }
    }
}

/// An answer from what there is now, to be put into words later.
fn told<T: Send + 'static>(found: T, answer: impl FnOnce(T) -> Answer + Send + 'static) -> Told {
    Told::by(move || answer(found))
}

/// What there is now, to be told about later.
fn all<T>(things: impl Iterator<Item = T>) -> std::vec::IntoIter<T> {
    things.collect::<Vec<T>>().into_iter()
}

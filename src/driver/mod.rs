//! The driver: the loop around the worker, and everything of the process that touches descriptors and the clock.
//!
//! ```text
//! poll ─┬─ port readable ─▶ ready list ─▶ one burst per port and round: rx ─▶ worker ─▶ tx
//!       ├─ time           ─▶ worker.on_timeout, ports that are down
//!       ├─ waker          ─▶ control requests
//!       └─ signal         ─▶ reload, or end
//! ```
//!
//! Events are edge-triggered: a port stays on the ready list until its queue was seen empty; one that is polled stays
//! there anyway.

mod changes;
mod closing;
mod control;
mod farewell;
mod leases;
mod link_state;
mod links;
mod meter;
mod missing;
mod names;
mod news;
mod pauses;
mod planned;
mod port;
mod ports;
mod run_error;
mod send;
mod service;
mod shared;
mod shares;
mod spin;
mod state;
mod tables;
mod transition;
mod walk;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use engine::{OwnFrames, Worker};
use mio::{Events, Poll, Token, Waker};
use packet::{BURST_FRAMES, Burst, Millis, PortId};
use tapio::{Clock, LinkLoss, Rx, Signal, Signals, random_bytes, thread_nanos};
use tracing::{info, warn};

use self::changes::{Change, Changes};
use self::closing::Closing;
use self::leases::{LeaseLog, Leases};
use self::links::{LINKS, Namespaces, PROCESSES};
use self::meter::Meter;
use self::missing::Checks;
use self::pauses::Pauses;
use self::planned::{Means, Planned};
pub use self::ports::PlacedError;
use self::ports::Ports;
pub use self::run_error::RunError;
use self::send::Sender;
use self::service::allow_descriptors;
use self::shared::{look_at_hosts, tell_hosts};
use self::shares::{Shares, Slept, Way, Work};
use self::spin::Spin;
use self::state::Saving;
use self::transition::{Rest, Transition};
use self::walk::Walks;
use crate::config::Plan;
use crate::control::{Command, Server};
use crate::log::Log;
use crate::service::manager::Manager;

/// Runs the switch until SIGTERM or SIGINT. `plan` was made from the file `config`, which a reload reads again.
///
/// # Errors
/// A port could not be opened, or the control socket; then nothing is left behind.
pub fn run(
    config: &Path,
    mut plan: Plan,
    control: &Path,
    signals: Signals,
    log: &Log,
) -> Result<(), RunError> {
    allow_descriptors();
    let mut driver = Driver::new(config, signals)?;
    look_at_hosts(&mut plan);
    let planned = driver.means.planned(plan, &Plan::default(), &[]);
    let Rest { waiting, .. } = driver.apply(planned)?;
    driver.check_all_links();
    driver.warn_of(&waiting);
    driver.load_connections();
    driver.claim_ports();
    driver.follow_lease_file();
    let (sender, commands) = channel();
    let _server = Server::listen(control, sender, Arc::clone(&driver.waker))
        .map_err(|error| RunError::Control { path: control.to_path_buf(), error })?;
    driver.tell_ready(log);
    driver.run(&commands)?;
    driver.say_farewell();
    driver.pause(|driver| {
        driver.save_connections();
        driver.finish_leases();
    });
    info!(longest_pause = ?driver.pauses.longest(), "ended");
    Ok(())
}

struct Driver {
    config: PathBuf,
    plan: Arc<Plan>,
    means: Arc<Means>,
    changes: Changes,
    poll: Poll,
    /// For threads that have something to say: a request, or that leases are kept.
    waker: Arc<Waker>,
    clock: Clock,
    signals: Signals,
    worker: Worker,
    ports: Ports,
    links: Namespaces,
    checks: Checks,
    pauses: Pauses,
    /// Ports whose queues may hold frames, each once.
    ready: VecDeque<PortId>,
    spin: Spin,
    shares: Shares,
    /// When the last burst ended, and how long the thread has slept since, in nanoseconds of the clock.
    mark: u64,
    slept: Slept,
    burst: Burst,
    saving: Saving,
    leases: Leases,
    manager: Manager,
    lease_log: LeaseLog,
    names: names::Names,
    walks: Walks,
    started: Instant,
    /// Configurations applied so far, changes while it runs included.
    generation: u64,
    /// When ports that are down are looked at again; `None`: none is down.
    recheck: Option<Millis>,
    /// Why ports that are down can't be had, as the log has it.
    refusals: BTreeMap<PortId, String>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.abandon_changes();
        self.ports.close_all(&self.plan);
    }
}

impl Driver {
    fn new(config: &Path, signals: Signals) -> io::Result<Self> {
        let poll = Poll::new()?;
        signals.register(poll.registry(), SIGNALS)?;
        let seed = random_bytes::<16>()?;
        let (low, high) = seed.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        let waker = Arc::new(Waker::new(poll.registry(), CONTROL)?);
        let closing = Closing::start(poll.registry())?;
        let seed = [word(low), word(high)];
        let means = Arc::new(Means::new(closing.clone(), poll.registry().try_clone()?, seed));
        Ok(Self {
            config: config.to_path_buf(),
            plan: Arc::new(Plan::default()),
            changes: Changes::start(Arc::clone(&waker), Arc::clone(&means))?,
            means,
            waker,
            poll,
            clock: Clock::start(),
            signals,
            worker: Worker::new(seed),
            ports: Ports::new(closing),
            links: Namespaces::default(),
            checks: Checks::default(),
            pauses: Pauses::open(),
            ready: VecDeque::new(),
            spin: Spin::default(),
            shares: Shares::default(),
            mark: 0,
            slept: Slept::default(),
            burst: Burst::new(),
            saving: Saving::default(),
            leases: Leases::default(),
            manager: Manager::from_environment(),
            lease_log: LeaseLog::default(),
            names: names::Names::default(),
            walks: Walks::new(),
            started: Instant::now(),
            generation: 0,
            recheck: None,
            refusals: BTreeMap::new(),
        })
    }

    /// Goes over to the first plan.
    fn apply(&mut self, planned: Planned) -> Result<Rest, PlacedError> {
        let mut transition = Transition::new(planned, true);
        transition.go_on(&mut self.ports, self.poll.registry(), || true)?;
        Ok(self.go_over(transition))
    }

    /// Goes over to another plan, for which all is ready.
    fn go_over(&mut self, transition: Transition) -> Rest {
        let (planned, rest) = transition.finish(&self.plan, &mut self.ports, self.poll.registry());
        let Planned { plan, runtime, tables, .. } = planned;
        let gone = self.plan.devices.iter().filter(|(id, _)| plan.spec(*id).is_none());
        gone.for_each(|(id, _)| self.shares.forget(*id));
        let old = self.worker.install_with(runtime, tables);
        self.follow_resolvers();
        self.spin.set_mode(plan.poll);
        let before = std::mem::replace(&mut self.plan, plan);
        self.claim_all_ports();
        let (plan, is_start) = (Arc::clone(&self.plan), self.generation == 0);
        let tell = move || {
            tell_hosts(&plan, &before);
            drop(old);
        };
        if is_start {
            tell();
        } else {
            self.changes.later(tell);
        }
        self.generation += 1;
        self.refusals.clear();
        self.links.follow(&self.plan, &mut self.ports);
        // An event may have come and gone before the port was in the worker's configuration.
        self.ready = self.ports.ids().collect();
        // Not everybody's other side is there yet.
        self.checks.add(self.ports.ids());
        rest.waiting.iter().for_each(|&(id, _)| self.note_down(&[id], self.clock.now()));
        rest
    }

    fn run(&mut self, commands: &Receiver<Command>) -> Result<(), RunError> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.wait(&mut events) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            for event in &events {
                match event.token() {
                    Token(port @ ..LINKS) => self.mark_ready(port),
                    other if self.pause(|driver| driver.obey(other, commands)) => return Ok(()),
                    _ => {}
                }
            }
            while !self.serve_round() {}
        }
    }

    /// Does what an event asks for that tells of no frames. Whether to end.
    fn obey(&mut self, token: Token, commands: &Receiver<Command>) -> bool {
        match token {
            SIGNALS => return self.obey_signals(),
            CONTROL => {
                self.go_on_changing();
                self.obey_commands(commands);
            }
            Token(link @ ..PROCESSES) => self.on_link_event(link - LINKS),
            Token(process) => self.on_process_end(process - PROCESSES),
        }
        false
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = self.timeout();
        if !self.shares.is_watching(self.mark) {
            return self.poll.poll(events, timeout);
        }
        let from = self.clock.nanos();
        let outcome = self.poll.poll(events, timeout);
        self.slept.add(self.clock.nanos() - from);
        outcome
    }

    /// One burst of each port that is ready. Whether it is time to ask for events.
    fn serve_round(&mut self) -> bool {
        self.mark = self.clock.nanos();
        let now = Clock::at(self.mark);
        let ran = if self.shares.is_anyone_dear() { thread_nanos() } else { 0 };
        self.shares.give(self.mark, ran, std::mem::take(&mut self.slept));
        self.shares.wake(&mut self.ready);
        self.tend(now);
        if self.has_chores() || self.timeouts().into_iter().flatten().any(|at| at <= now) {
            self.pause(|driver| {
                driver.on_timeout(now);
                driver.go_on_with_chores(now);
            });
            // No port's fault.
            self.mark = self.clock.nanos();
        }
        self.pauses.end();
        for _ in 0..self.ready.len().min(ROUND) {
            self.serve_next(now);
        }
        self.tell_news();
        if let Some(port) = self.shares.found_dear() {
            let port = self.plan.place_of(port);
            warn!(port, "its frames take so long that it gets only the time that others leave");
        }
        self.spin.end_round() || self.ready.is_empty()
    }

    /// Work that is done a part at a time, between bursts.
    fn has_chores(&self) -> bool {
        !self.walks.is_empty()
            || !self.checks.is_done()
            || self.links.is_behind()
            || self.changes.is_applying()
    }

    fn go_on_with_chores(&mut self, now: Millis) {
        self.go_on_walking(now);
        self.go_on_checking();
        self.go_on_applying();
    }

    /// Does something else than packets, and takes note of how long that took.
    fn pause<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let begun = self.pauses.begin(self.clock);
        let result = work(self);
        self.pauses.add(begun, self.clock);
        result
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() || self.has_chores() {
            return Some(Duration::ZERO);
        }
        let credit = self.shares.is_anyone_resting().then(|| self.clock.now() + Millis::new(1));
        let leases = [self.leases.next_timeout(self.worker.leases_changed()), self.lease_log.next_timeout()];
        let others = [credit, self.manager.next_timeout()];
        let next = self.timeouts().into_iter().chain(others).chain(leases).flatten().min()?;
        Some(Duration::from_millis(next.since(self.clock.now()).get()))
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    fn timeouts(&self) -> [Option<Millis>; 3] {
        [self.worker.next_timeout(), self.recheck, self.links.next_timeout()]
    }

    fn mark_ready(&mut self, port: usize) {
        if let Some(port) = u16::try_from(port).ok().and_then(PortId::new)
            && !self.ready.contains(&port)
        {
            self.ready.push_back(port);
        }
    }

    /// Serves the port that has waited longest.
    fn serve_next(&mut self, now: Millis) {
        let Some(id) = self.ready.pop_front() else { return };
        if self.ready.is_empty() {
            self.shares.is_alone(id);
        } else if !self.shares.is_its_turn(id) {
            return self.ready.push_back(id);
        }
        if self.shares.allowance(id, Way::In) == 0 {
            return self.shares.rest(id);
        }
        let polled = self.spin.is_on() && self.worker.link(id);
        let can_be_polled = self.ports.queues.get_mut(id).is_some_and(|queue| queue.set_polled(polled));
        // Where each frame is a system call, the first one goes out before the queue is asked for more: mostly there is
        // none, and a lone frame, such as a ping's, doesn't wait for that answer.
        let first = if can_be_polled { BURST_FRAMES } else { 1 };
        let mut received = self.serve(id, first, can_be_polled, now);
        if first == 1 && received == Some(Rx::More) {
            received = self.serve(id, BURST_FRAMES, can_be_polled, now);
        }
        let stays_ready = match received {
            Some(Rx::More) => true,
            Some(Rx::Drained) => polled && can_be_polled,
            Some(Rx::LinkDown(_)) | None => false,
        };
        if stays_ready {
            self.mark_ready(id.index());
        }
    }

    /// One burst of a port, of `limit` frames at most; `None`: the port is gone.
    fn serve(&mut self, id: PortId, limit: usize, can_be_polled: bool, now: Millis) -> Option<Rx> {
        let network = self.worker.network_of(id)?;
        let mut meter = self.meter();
        let queue = self.ports.queues.get_mut(id)?;
        self.burst.restart(Some(id), network);
        self.burst.limit_to(limit.min(self.shares.allowance(id, Way::In)).min(self.shares.piece(id)));
        let received = queue.rx_burst(&mut self.burst);
        if can_be_polled && !self.burst.is_empty() {
            self.spin.note_frames();
        }
        match &received {
            Ok(Rx::More | Rx::Drained) => {}
            Ok(Rx::LinkDown(loss)) => {
                match loss {
                    LinkLoss::Violation(_) => warn!(port = self.plan.place_of(id), %loss, "link lost"),
                    _ => info!(port = self.plan.place_of(id), %loss, "link lost"),
                }
                self.note_down(&[id], now);
            }
            Err(error) => {
                self.lose(id, error, now);
                return None;
            }
        }
        if !self.worker.link(id) {
            self.check_link(id);
        }
        if !self.burst.is_empty() {
            self.forward(&mut meter, now);
        }
        let took = meter.total();
        self.mark = meter.mark();
        let work = Work { frames: self.burst.len(), bytes: self.burst.total_bytes() };
        self.shares.charge_source(id, work, took, self.mark);
        received.ok()
    }

    /// Measures a burst, from the end of the last one on.
    fn meter(&mut self) -> Meter {
        self.shares.begin();
        Meter::new(self.clock, self.mark, self.shares.is_watching(self.mark))
    }

    /// Takes the burst through the worker, and sends what comes out.
    fn forward(&mut self, meter: &mut Meter, now: Millis) {
        let turn = self.worker.process(&mut self.burst, now);
        self.claim_ports();
        let (queues, shares) = (&mut self.ports.queues, &mut self.shares);
        let mut sender = Sender { queues, shares, meter, down: Vec::new() };
        let turn = self.worker.transmit(turn, &mut self.burst, |id, burst, frames, counters| {
            sender.send(id, burst, frames, counters);
        });
        let down = sender.down;
        self.note_down(&down, now);
        let own = self.worker.service(turn, &mut self.burst, now);
        self.claim_ports();
        self.transmit_own(own, meter, now);
    }

    /// Sends the frames of the switch itself.
    fn transmit_own(&mut self, own: OwnFrames, meter: &mut Meter, now: Millis) {
        let (queues, shares) = (&mut self.ports.queues, &mut self.shares);
        let mut sender = Sender { queues, shares, meter, down: Vec::new() };
        self.worker.transmit_own(own, |id, burst, frames, counters| {
            sender.send(id, burst, frames, counters);
        });
        let down = sender.down;
        self.note_down(&down, now);
    }

    fn on_timeout(&mut self, now: Millis) {
        if self.links.next_timeout().is_some_and(|at| at <= now) {
            self.look_at_namespaces(now);
        }
        if self.recheck.is_some_and(|at| at <= now) {
            self.recheck_ports(now);
        }
        if self.worker.next_timeout().is_some_and(|at| at <= now) {
            let own = self.worker.on_timeout(now);
            self.claim_ports();
            let mut meter = self.meter();
            self.transmit_own(own, &mut meter, now);
        }
    }

    /// Whether to end.
    fn obey_signals(&mut self) -> bool {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::Terminate | Signal::Interrupt => {
                    info!(?signal, "ending");
                    self.manager.stopping();
                    return true;
                }
                Signal::Hangup => {
                    self.change(Change::Reload, None);
                }
            }
        }
        false
    }
}

/// Tokens below are ports.
const SIGNALS: Token = Token(usize::MAX - 1);
const CONTROL: Token = Token(usize::MAX - 2);
/// Bursts between two looks at signals, time and control requests: hundreds of ports that flood each other at once, as
/// they do when all of their links come up, must not keep these waiting.
const ROUND: usize = 16;
/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// Nanoseconds of what isn't packets before packets come first again, beside the one thing that is being done.
const SLICE: u64 = 500_000;

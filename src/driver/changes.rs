//! Changes of the configuration, one after the other. What takes long is done on a thread, while packets flow.
//!
//! ```text
//! reload, port, nat, SIGHUP, a host's new address, devices that are missing
//!    └─▶ queue ─ one at a time ─▶ thread "changes": reads, checks, plans, opens devices ─▶ Draft
//!          ▲                                                                                │ waker
//!          ├─ devices that another port had ◀─ the loop that moves frames goes over to it ◀─┘
//!        next one ◀────────── the answer ◀──────────────────┘
//! ```
//!
//! As there is one at a time, a draft is always made from the plan that it is applied to.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel};
use std::thread::Builder;
use std::time::Duration;

use mio::Waker;
use packet::PortId;
use tapio::{PortError, PortSpec};
use tracing::{error, info};

use super::closing::Closing;
use super::planned::{Means, Planned};
use super::port::Port;
use super::shared::look_at_hosts;
use super::transition::{Rest, Transition};
use super::{Driver, SLICE};
use crate::config::{Config, Plan, RuleError};
use crate::control::{RequestError, Response, Told};
use crate::show::changed::PortChanged;
use crate::show::reloaded::Reloaded;
use crate::show::{Answer, changed};

/// What is to be changed.
#[derive(Debug)]
pub(super) enum Change {
    /// Everything, to what the file says.
    Reload,
    /// One port more, with these keys.
    PortAdd { port: String, keys: String },
    /// One port less.
    PortDel { port: String },
    /// A NAT rule more or less.
    Nat { line: String },
    /// What the hosts have that uplinks share their addresses with.
    Hosts,
    /// Devices that are not there, or ports that had none when they were looked at last.
    Missing(Vec<Missing>),
    /// The end of another change, with its answer: devices that are to be had now that other ports are closed.
    Reopen(Vec<Missing>, Option<Answer>),
}

/// A port without its device; `port`: it is open nevertheless.
#[derive(Debug)]
pub(super) struct Missing {
    pub id: PortId,
    pub spec: PortSpec,
    pub port: Option<Port>,
    /// Why it can't be had.
    pub refusal: Option<PortError>,
}

/// The changes that are to be made, and the one that is being made.
pub(super) struct Changes {
    jobs: Sender<Work>,
    drafts: Receiver<(Change, Result<Draft, RequestError>)>,
    waiting: VecDeque<(Change, Option<SyncSender<Response>>)>,
    /// Who asked for the one that is being made, if anybody did.
    current: Option<Option<SyncSender<Response>>>,
    /// That one, while the loop goes over to its plan.
    applying: Option<Applying>,
}

struct Applying {
    change: Change,
    transition: Transition,
    answer: Option<Answer>,
    lines: Vec<String>,
}

/// What the thread has to do.
enum Work {
    Change(Job),
    /// Something whose end nobody waits for.
    Chore(Box<dyn FnOnce() + Send>),
}

struct Job {
    change: Change,
    plan: Arc<Plan>,
    /// The ports of the plan that are open.
    open: Vec<PortId>,
    config: PathBuf,
}

/// A change that only has to be applied.
struct Draft {
    /// `None`: the plan stays.
    planned: Option<Planned>,
    /// `None`: nobody has asked.
    answer: Option<Answer>,
    /// What the log is to say of it.
    lines: Vec<String>,
}

impl Changes {
    /// Starts the thread: later there may be none to be had.
    pub(super) fn start(waker: Arc<Waker>, means: Arc<Means>) -> io::Result<Self> {
        let (jobs, todo) = channel::<Work>();
        let (done, drafts) = channel();
        let make = move || {
            for work in todo {
                match work {
                    Work::Chore(chore) => chore(),
                    Work::Change(mut job) => {
                        let draft = job.draft(&means);
                        if done.send((job.change, draft)).is_err() || waker.wake().is_err() {
                            return;
                        }
                    }
                }
            }
        };
        Builder::new().name("changes".into()).stack_size(STACK).spawn(make)?;
        Ok(Self { jobs, drafts, waiting: VecDeque::new(), current: None, applying: None })
    }

    /// Does something on the thread that nobody waits for: to write thousands of lines to the log, or to give much memory back.
    pub(super) fn later(&self, chore: impl FnOnce() + Send + 'static) {
        // Without the thread it is not done; nothing can be changed then, either.
        let _ = self.jobs.send(Work::Chore(Box::new(chore)));
    }

    /// Whether [`go_on_applying`](Driver::go_on_applying) has something to do.
    pub(super) fn is_applying(&self) -> bool {
        self.applying.is_some()
    }

    /// Whether nothing is being changed, and nothing waits to be.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }
}

impl Driver {
    /// Puts a change at the end of the queue.
    pub(super) fn change(&mut self, change: Change, reply: Option<SyncSender<Response>>) {
        if matches!(change, Change::Reload) {
            self.manager.reloading();
        }
        let waiting = &mut self.changes.waiting;
        let is_same = |(other, asked): &(Change, Option<_>)| {
            asked.is_none()
                && matches!(
                    (other, &change),
                    (Change::Reload, Change::Reload) | (Change::Hosts, Change::Hosts)
                )
        };
        if reply.is_none() && waiting.iter().any(is_same) {
            return;
        }
        if waiting.len() >= MAX_WAITING {
            if let Some(reply) = reply {
                // Whoever asked may have gone.
                let _ = reply.try_send(Err(RequestError::NoAnswer));
            }
            return;
        }
        waiting.push_back((change, reply));
        self.begin_change();
    }

    fn begin_change(&mut self) {
        if self.changes.current.is_some() {
            return;
        }
        let Some((change, reply)) = self.changes.waiting.pop_front() else { return };
        let open = self.ports.ids().collect();
        let job = Job { change, plan: Arc::clone(&self.plan), open, config: self.config.clone() };
        match self.changes.jobs.send(Work::Change(job)) {
            Ok(()) => self.changes.current = Some(reply),
            Err(_) => error!("the configuration can't be changed any more: the thread for that has ended"),
        }
    }

    /// Goes over to what is ready.
    pub(super) fn go_on_changing(&mut self) {
        let (change, draft) = match self.changes.drafts.try_recv() {
            Ok(done) => done,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {
                // Whoever waits for an answer hears that there is none.
                self.changes.current = None;
                return self.changes.waiting.clear();
            }
        };
        match draft {
            Ok(Draft { planned: Some(planned), answer, lines }) => {
                let transition = Transition::new(planned, false);
                self.changes.applying = Some(Applying { change, transition, answer, lines });
                self.go_on_applying();
            }
            Ok(Draft { planned: None, answer, .. }) => self.end_change(change, Ok(answer)),
            Err(error) => self.end_change(change, Err(error)),
        }
    }

    /// Goes over to the plan of the change that is being made, a part at a time.
    pub(super) fn go_on_applying(&mut self) {
        let Some(Applying { change, mut transition, answer, lines }) = self.changes.applying.take() else {
            return;
        };
        let (clock, start) = (self.clock, self.clock.nanos());
        let has_time = || clock.nanos() - start < SLICE;
        match transition.go_on(&mut self.ports, self.poll.registry(), has_time) {
            Ok(false) => {
                self.changes.applying = Some(Applying { change, transition, answer, lines });
            }
            Ok(true) => {
                let Rest { waiting, reopen } = self.go_over(transition);
                self.warn_of(&waiting);
                self.tell_change(&change, lines);
                if reopen.is_empty() {
                    return self.end_change(change, Ok(answer));
                }
                let missing = |(id, spec)| Missing { id, spec, port: None, refusal: None };
                let reopen = Change::Reopen(reopen.into_iter().map(missing).collect(), answer);
                let reply = self.changes.current.take().flatten();
                self.changes.waiting.push_front((reopen, reply));
                self.begin_change();
            }
            Err(error) => self.end_change(change, Err(RequestError::Failed(Box::new(error)))),
        }
    }

    /// What was begun is taken back: the process ends.
    pub(super) fn abandon_changes(&mut self) {
        self.means.end();
        if let Some(mut applying) = self.changes.applying.take() {
            return applying.transition.take_back(&mut self.ports, self.poll.registry());
        }
        if self.changes.current.is_none() {
            return;
        }
        let Ok((change, draft)) = self.changes.drafts.recv_timeout(PATIENCE) else { return };
        if let Ok(Draft { planned: Some(planned), .. }) = draft {
            Transition::new(planned, false).take_back(&mut self.ports, self.poll.registry());
        }
        if let Change::Missing(ports) | Change::Reopen(ports, _) = change {
            for Missing { spec, port, .. } in ports {
                port.into_iter().for_each(|port| self.ports.close_port(&spec, port));
            }
        }
    }

    /// The answer, and the next one.
    fn end_change(&mut self, change: Change, outcome: Result<Option<Answer>, RequestError>) {
        let reply = self.changes.current.take().flatten();
        if let Err(error) = &outcome {
            tell_failure(&change, error);
        }
        if let Change::Missing(ports) | Change::Reopen(ports, _) = change {
            self.take_found(ports);
        }
        if let (Some(reply), Some(response)) = (reply, outcome.transpose()) {
            let means = Arc::clone(&self.means);
            self.changes.later(move || {
                // When the log has it, and what was closed is gone. Whoever asked may have gone, too.
                means.closing.wait_for_all();
                let _ = reply.try_send(response.map(Told::from));
            });
        }
        self.begin_change();
        self.tell_reloaded();
        self.look_for_missing();
    }

    fn tell_change(&mut self, change: &Change, lines: Vec<String>) {
        match change {
            Change::Reload => {
                self.follow_lease_file();
                self.changes.later(move || {
                    info!(changes = lines.len(), "configuration reloaded");
                    lines.iter().for_each(|change| info!("reloaded: {change}"));
                });
            }
            Change::Nat { line } => info!(%line, "NAT rule changed"),
            Change::PortAdd { .. } | Change::PortDel { .. } => {
                info!(ports = self.ports.len(), "port added or deleted");
            }
            Change::Hosts | Change::Missing(_) | Change::Reopen(..) => {}
        }
    }
}

fn tell_failure(change: &Change, error: &RequestError) {
    match change {
        Change::Reload => error!("the reload failed: {error}"),
        Change::PortAdd { .. } | Change::PortDel { .. } if matches!(error, RequestError::Failed(_)) => {
            error!("a port could not be added or deleted: {error}");
        }
        Change::Hosts => error!("cannot follow the host's address: {error}"),
        // Whoever asked is told, and the others have not tried anything.
        Change::PortAdd { .. } | Change::PortDel { .. } | Change::Nat { .. } => {}
        Change::Missing(_) | Change::Reopen(..) => {}
    }
}

impl Job {
    /// What the thread does.
    fn draft(&mut self, means: &Means) -> Result<Draft, RequestError> {
        let Self { change, plan, open, config } = self;
        let (mut new, answer) = match change {
            Change::Reload => read(config, plan)?,
            Change::PortAdd { port, keys } => {
                let new = plan.with_port(port, keys).map_err(RequestError::WrongPort)?;
                (new, Some(Answer::PortChanged(PortChanged { port: port.clone(), added: true })))
            }
            Change::PortDel { port } => {
                let new = plan.without_port(port).map_err(RequestError::WrongPort)?;
                (new, Some(Answer::PortChanged(PortChanged { port: port.clone(), added: false })))
            }
            Change::Nat { line } => with_rule(line, plan)?,
            Change::Hosts => (Plan::clone(plan), None),
            Change::Missing(ports) => {
                ports.iter_mut().for_each(|missing| missing.look(&means.closing));
                return Ok(Draft { planned: None, answer: None, lines: Vec::new() });
            }
            Change::Reopen(ports, answer) => {
                ports.iter_mut().for_each(|missing| missing.look(&means.closing));
                return Ok(Draft { planned: None, answer: answer.take(), lines: Vec::new() });
            }
        };
        look_at_hosts(&mut new);
        let is_news = !matches!(change, Change::Hosts) || new != **plan;
        let planned = is_news.then(|| means.planned(new, plan, open));
        let lines = match &answer {
            Some(Answer::Reloaded(reloaded)) => reloaded.changes.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        Ok(Draft { planned, answer, lines })
    }
}

fn read(config: &Path, plan: &Plan) -> Result<(Plan, Option<Answer>), RequestError> {
    let read = Config::load(config).map_err(RequestError::WrongConfig)?;
    let ports = plan.devices.len();
    if read.network_count() == 0 && ports > 0 {
        // An editor that is half way, or a file that was cut: nobody means this.
        return Err(RequestError::NothingLeft { path: config.to_owned(), ports });
    }
    let mut new = Plan::new(&read, Some(plan));
    // What the switch publishes of a host's address is a setting of the port.
    look_at_hosts(&mut new);
    let changes = new.settings.changes_since(&plan.settings);
    let reloaded = Reloaded::of(&Plan::diff(plan, &new), changes);
    Ok((new, Some(Answer::Reloaded(reloaded))))
}

/// With a NAT rule more or less.
fn with_rule(text: &str, plan: &Plan) -> Result<(Plan, Option<Answer>), RequestError> {
    let (new, line, number) = plan.with_rule(text).map_err(|error| match error {
        RuleError::Wrong(mistakes) => RequestError::WrongRule(mistakes),
        RuleError::Refused(error) => RequestError::Failed(Box::new(error)),
    })?;
    let answer = Answer::RuleChanged(changed::rule(&line, number));
    Ok((new, Some(answer)))
}

impl Missing {
    /// Opens the device, if it is there.
    fn look(&mut self, closing: &Closing) {
        match &mut self.port {
            // It attaches itself to its device.
            Some(port) => self.refusal = port.look(),
            None => {
                closing.wait_for(&self.spec);
                match Port::open(&self.spec) {
                    Ok(port) => self.port = Some(port),
                    Err(error) => self.refusal = Some(error),
                }
            }
        }
    }
}

/// Enough for everybody who can ask at once, several times.
const MAX_WAITING: usize = 64;
/// How long the process waits at its end for what the thread is about to do: no disk takes longer to read a file.
const PATIENCE: Duration = Duration::from_secs(5);
/// As much as a main thread has.
const STACK: usize = 8 << 20;

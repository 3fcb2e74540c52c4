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

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel};
use std::thread::Builder;

use engine::RuntimeConfig;
use mio::Waker;
use packet::PortId;
use tapio::{PortError, PortSpec};
use tracing::{error, info};

use super::Driver;
use super::closing::Closing;
use super::ports::Port;
use super::shared::look_at_hosts;
use super::transition::{Prepared, Rest};
use crate::config::{Action, Config, Plan};
use crate::control::{RequestError, Response, Told};
use crate::mistake::Mistakes;
use crate::rules;
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
    jobs: Sender<Job>,
    drafts: Receiver<(Change, Result<Draft, RequestError>)>,
    waiting: VecDeque<(Change, Option<SyncSender<Response>>)>,
    /// Who asked for the one that is being made, if anybody did.
    current: Option<Option<SyncSender<Response>>>,
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
}

/// A plan, and what goes with it.
pub(super) struct Planned {
    pub(super) plan: Arc<Plan>,
    /// The plan's, for the worker to keep.
    pub(super) runtime: RuntimeConfig,
    /// Ports of the plan that are new.
    pub(super) prepared: Vec<(PortId, Prepared)>,
}

impl Planned {
    pub(super) fn new(plan: Plan) -> Self {
        Self { runtime: plan.runtime.clone(), plan: Arc::new(plan), prepared: Vec::new() }
    }

    /// With those ports open that are new and need nothing that a port of `old` has, one of those in `open`.
    fn with_ports(mut self, old: &Plan, open: &[PortId], closing: &Closing) -> Self {
        let is_open = |id: &PortId| open.binary_search(id).is_ok();
        let taken: HashMap<_, &PortSpec> = old
            .devices
            .iter()
            .filter(|(id, _)| is_open(id))
            .map(|(_, spec)| ((spec.device(), spec.netns()), spec))
            .collect();
        for action in Plan::diff(old, &self.plan) {
            let Action::Open(id, spec) = action else { continue };
            let holder = taken.get(&(spec.device(), spec.netns())).filter(|holder| holder.collides(&spec));
            // What that port has made it leaves to this one later, and one that is the same moves.
            if holder.is_some_and(|holder| !spec.is_device() || holder.same_device(&spec)) {
                continue;
            }
            closing.wait_for(&spec);
            self.prepared.push((id, Prepared::new(&spec, holder.is_some())));
        }
        self
    }
}

impl Changes {
    /// Starts the thread: later there may be none to be had.
    pub(super) fn start(waker: Arc<Waker>, closing: Closing) -> io::Result<Self> {
        let (jobs, todo) = channel::<Job>();
        let (done, drafts) = channel();
        let make = move || {
            for mut job in todo {
                let draft = job.draft(&closing);
                let change = job.change;
                if done.send((change, draft)).is_err() || waker.wake().is_err() {
                    return;
                }
            }
        };
        Builder::new().name("changes".into()).stack_size(STACK).spawn(make)?;
        Ok(Self { jobs, drafts, waiting: VecDeque::new(), current: None })
    }

    /// Whether nothing is being changed, and nothing waits to be.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }
}

impl Driver {
    /// Puts a change at the end of the queue.
    pub(super) fn change(&mut self, change: Change, reply: Option<SyncSender<Response>>) {
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
        match self.changes.jobs.send(job) {
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
        let reply = self.changes.current.take().flatten();
        let outcome = draft.and_then(|draft| self.finish_change(&change, draft));
        let outcome = match outcome {
            Ok((answer, reopen)) if !reopen.is_empty() => {
                self.changes.waiting.push_front((Change::Reopen(reopen, answer), reply));
                return self.begin_change();
            }
            Ok((answer, _)) => Ok(answer),
            Err(error) => {
                tell_failure(&change, &error);
                Err(error)
            }
        };
        if let Change::Missing(ports) | Change::Reopen(ports, _) = change {
            self.take_found(ports);
        }
        if let (Some(reply), Some(response)) = (reply, outcome.transpose()) {
            // Whoever asked may have gone.
            let _ = reply.try_send(response.map(Told::from));
        }
        self.begin_change();
        self.look_for_missing();
    }

    /// The answer, and ports that are to be opened before it is given.
    fn finish_change(
        &mut self,
        change: &Change,
        draft: Draft,
    ) -> Result<(Option<Answer>, Vec<Missing>), RequestError> {
        let Some(planned) = draft.planned else { return Ok((draft.answer, Vec::new())) };
        let Rest { waiting, reopen } =
            self.apply(planned).map_err(|error| RequestError::Failed(Box::new(error)))?;
        self.warn_of(&waiting);
        match (change, &draft.answer) {
            (Change::Reload, Some(Answer::Reloaded(reloaded))) => {
                self.follow_lease_file();
                info!(changes = reloaded.changes.len(), "configuration reloaded");
                reloaded.changes.iter().for_each(|change| info!("reloaded: {change}"));
            }
            (Change::Nat { line }, _) => info!(%line, "NAT rule changed"),
            (Change::PortAdd { .. } | Change::PortDel { .. }, _) => {
                info!(ports = self.ports.len(), "port added or deleted");
            }
            _ => {}
        }
        let missing = |(id, spec)| Missing { id, spec, port: None, refusal: None };
        Ok((draft.answer, reopen.into_iter().map(missing).collect()))
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
    fn draft(&mut self, closing: &Closing) -> Result<Draft, RequestError> {
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
                ports.iter_mut().for_each(|missing| missing.look(closing));
                return Ok(Draft { planned: None, answer: None });
            }
            Change::Reopen(ports, answer) => {
                ports.iter_mut().for_each(|missing| missing.look(closing));
                return Ok(Draft { planned: None, answer: answer.take() });
            }
        };
        look_at_hosts(&mut new);
        let is_news = !matches!(change, Change::Hosts) || new != **plan;
        let planned = is_news.then(|| Planned::new(new).with_ports(plan, open, closing));
        Ok(Draft { planned, answer })
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
    let wrong = |mistake| RequestError::WrongRule(Mistakes::new("rule", text, vec![mistake]));
    let line = rules::parse(text, &plan.interfaces()).map_err(wrong)?;
    let mut new = plan.clone();
    let number = line
        .apply(&mut new.runtime.rules, |name| plan.network_id(name))
        .map_err(|error| RequestError::Failed(Box::new(error)))?;
    new.settings.add_rule_change(&line.to_string());
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
/// As much as a main thread has.
const STACK: usize = 8 << 20;

//! Changes of the configuration, one after the other. What takes long is done on a thread, while packets flow.
//!
//! ```text
//! reload, port, nat, SIGHUP, a host's new address, devices that are missing
//!    └─▶ queue ─ one at a time ─▶ thread "changes": reads, checks, plans, opens devices ─▶ Draft
//!                                                                                           │ waker
//!        next one ◀─ the answer ◀─ the loop that moves frames goes over to the plan ◀───────┘
//! ```
//!
//! As there is one at a time, a draft is always made from the plan that it is applied to.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel};
use std::thread::Builder;

use engine::RuntimeConfig;
use mio::Waker;
use packet::PortId;
use tapio::{Port, PortError, PortSpec};
use tracing::{error, info};

use super::Driver;
use super::shared::look_at_hosts;
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
    /// Ports of the plan that are new and need nothing that another has.
    pub(super) opened: Vec<(PortId, Port)>,
}

impl Planned {
    pub(super) fn new(plan: Plan) -> Self {
        Self { runtime: plan.runtime.clone(), plan: Arc::new(plan), opened: Vec::new() }
    }

    /// With those ports open that are not in `old`. What can't be opened is left to the end, when that is said.
    fn with_ports(mut self, old: &Plan) -> Self {
        for action in Plan::diff(old, &self.plan) {
            let Action::Open(id, spec) = action else { continue };
            let is_taken = old.devices.iter().any(|(_, other)| other.collides(&spec));
            if !is_taken && let Ok(port) = Port::open(&spec) {
                self.opened.push((id, port));
            }
        }
        self
    }
}

impl Changes {
    /// Starts the thread: later there may be none to be had.
    pub(super) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let (jobs, todo) = channel::<Job>();
        let (done, drafts) = channel();
        let make = move || {
            for Job { mut change, plan, config } in todo {
                let draft = draft(&mut change, &plan, &config);
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
        let job = Job { change, plan: Arc::clone(&self.plan), config: self.config.clone() };
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
        if let Err(error) = &outcome {
            tell_failure(&change, error);
        }
        if let Change::Missing(ports) = change {
            self.take_found(ports);
        }
        if let (Some(reply), Some(response)) = (reply, outcome.transpose()) {
            // Whoever asked may have gone.
            let _ = reply.try_send(response.map(Told::from));
        }
        self.begin_change();
        self.look_for_missing();
    }

    fn finish_change(&mut self, change: &Change, draft: Draft) -> Result<Option<Answer>, RequestError> {
        let Some(planned) = draft.planned else { return Ok(draft.answer) };
        let waiting = self.apply(planned).map_err(|error| RequestError::Failed(Box::new(error)))?;
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
        Ok(draft.answer)
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
        Change::PortAdd { .. } | Change::PortDel { .. } | Change::Nat { .. } | Change::Missing(_) => {}
    }
}

/// What the thread does. `plan` is the one that runs.
fn draft(change: &mut Change, plan: &Plan, config: &Path) -> Result<Draft, RequestError> {
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
        Change::Hosts => (plan.clone(), None),
        Change::Missing(ports) => {
            ports.iter_mut().for_each(Missing::look);
            return Ok(Draft { planned: None, answer: None });
        }
    };
    look_at_hosts(&mut new);
    let is_news = !matches!(change, Change::Hosts) || new != *plan;
    Ok(Draft { planned: is_news.then(|| Planned::new(new).with_ports(plan)), answer })
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
    fn look(&mut self) {
        match &mut self.port {
            // It attaches itself to its device.
            Some(port) => {
                port.link_up();
                self.refusal = port.take_refusal();
            }
            None => match Port::open(&self.spec) {
                Ok(port) => self.port = Some(port),
                Err(error) => self.refusal = Some(error),
            },
        }
    }
}

/// Enough for everybody who can ask at once, several times.
const MAX_WAITING: usize = 64;
/// As much as a main thread has.
const STACK: usize = 8 << 20;

//! What the driver answers to the control socket.

use std::sync::mpsc::Receiver;

use packet::PortId;
use tracing::{error, info};

use super::Driver;
use super::shared::look_at_hosts;
use crate::config::{ChangeError, Config, Mistakes, Plan};
use crate::control::{Command, Request, RequestError, What};
use crate::rules;
use crate::show::reloaded::Reloaded;
use crate::show::{
    Answer, Process, changed, drops, fdb, flows, leases, map, mappings, nat, neighbours, networks, ports,
    reloaded, servers, stats, uplinks,
};

impl Driver {
    /// Answers all requests that wait, between two bursts.
    pub(super) fn obey_commands(&mut self, commands: &Receiver<Command>) {
        while let Ok(Command { request, reply }) = commands.try_recv() {
            let response = match request {
                Request::Show { what, limit } => {
                    self.count_missed();
                    Ok(self.show(what, limit))
                }
                Request::Reload => self.reload().map(reloaded::answer),
                Request::PortAdd { port, keys } => {
                    self.change_ports(self.plan.with_port(&port, &keys)).map(|()| changed::port(port, true))
                }
                Request::PortDel { port } => {
                    self.change_ports(self.plan.without_port(&port)).map(|()| changed::port(port, false))
                }
                Request::Nat { line } => self.change_rules(&line),
                Request::Flush { what, filter } => {
                    self.flush(what, &filter, reply);
                    continue;
                }
                Request::NatSave => {
                    self.save_while_running(reply);
                    continue;
                }
            };
            // Whoever asked may have gone.
            let _ = reply.try_send(response);
        }
    }

    /// Reads the configuration again and becomes what it says, wholly or not at all.
    pub(super) fn reload(&mut self) -> Result<Reloaded, RequestError> {
        self.try_reload().inspect_err(|error| error!("the reload failed: {error}"))
    }

    fn try_reload(&mut self) -> Result<Reloaded, RequestError> {
        let config = Config::load(&self.config).map_err(RequestError::WrongConfig)?;
        let ports = self.plan.devices.len();
        if config.network_count() == 0 && ports > 0 {
            // An editor that is half way, or a file that was cut: nobody means this.
            return Err(RequestError::NothingLeft { path: self.config.clone(), ports });
        }
        let mut plan = Plan::new(&config, Some(&self.plan));
        look_at_hosts(&mut plan);
        let changes = plan.settings.changes_since(&self.plan.settings);
        let reloaded = Reloaded::of(&Plan::diff(&self.plan, &plan), changes);
        let waiting = self.apply(plan).map_err(|error| RequestError::Failed(Box::new(error)))?;
        self.warn_of(&waiting);
        self.follow_lease_file();
        info!(changes = reloaded.changes.len(), "configuration reloaded");
        for change in &reloaded.changes {
            info!("reloaded: {change}");
        }
        Ok(reloaded)
    }

    /// Goes over to the plan with a port more or less. The file stays as it is.
    fn change_ports(&mut self, plan: Result<Plan, ChangeError>) -> Result<(), RequestError> {
        let plan = plan.map_err(RequestError::WrongPort)?;
        self.apply(plan)
            .inspect_err(|error| error!("a port could not be added or deleted: {error}"))
            .map_err(|error| RequestError::Failed(Box::new(error)))?;
        info!(ports = self.ports.len(), "port added or deleted");
        Ok(())
    }

    /// Adds or deletes a NAT rule of the running configuration. The file stays as it is.
    fn change_rules(&mut self, text: &str) -> Result<Answer, RequestError> {
        let wrong = |mistake| RequestError::WrongRule(Mistakes::new("rule", text, vec![mistake]));
        let line = rules::parse(text, &self.plan.interfaces()).map_err(wrong)?;
        let mut runtime = self.plan.runtime.clone();
        let number = line
            .apply(&mut runtime.rules, |name| self.plan.network_id(name))
            .map_err(|error| RequestError::Failed(Box::new(error)))?;
        self.plan.runtime.rules = runtime.rules.clone();
        self.plan.settings.add_rule_change(&line.to_string());
        self.worker.install(runtime);
        self.generation += 1;
        self.follow_hosts();
        info!(%line, "NAT rule changed");
        Ok(changed::rule(&line, number))
    }

    /// Has ports count what their devices have dropped.
    fn count_missed(&mut self) {
        let ids: Vec<PortId> = self.ports.ids().collect();
        for id in ids {
            if let (Some(port), Some(counters)) = (self.ports.get_mut(id), self.worker.counters_mut(id)) {
                port.count_missed(counters);
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

    fn show(&self, what: What, limit: usize) -> Answer {
        let (now, plan, worker) = (self.clock.now(), &self.plan, &self.worker);
        match what {
            What::Networks => {
                networks::answer(self.process(), &worker.ports(now), worker.pools(now), &worker.stats(), plan)
            }
            What::Uplinks => uplinks::answer(&worker.ports(now), plan),
            What::Map => map::answer(&worker.ports(now), worker.pools(now), plan),
            What::Neighbours => neighbours::answer(worker.neighbours(), limit, plan),
            What::Ports => ports::answer(&worker.ports(now), plan),
            What::Fdb => fdb::answer(worker.fdb(now), limit, plan),
            What::Flows => flows::answer(&worker.flows(limit, now), worker.stats().flows),
            What::Nat => nat::answer(&worker.rules(), plan),
            What::Servers => servers::answer(worker.servers(now), plan),
            What::Leases => leases::answer(worker.leases(now), limit, plan),
            What::Mappings => mappings::answer(worker.explicit_mappings(), limit, now),
            What::Drops => drops::answer(&worker.ports(now), &worker.stats(), plan),
            What::Stats => stats::answer(self.process(), &worker.stats(), plan),
        }
    }
}

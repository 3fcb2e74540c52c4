//! Names: the host's own resolvers are asked for the worker, and the log is told what `allow-names` has refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::report::DnsRefusal;
use packet::NetworkId;
use packet::rate::{Bucket, Rate};
use tracing::{error, warn};

use super::Driver;
use crate::resolver::{Resolver, Told};

/// Who asks the host's resolvers, and how much was written.
#[derive(Default)]
pub(super) struct Names {
    resolver: Option<Resolver>,
    written: BTreeMap<NetworkId, Written>,
}

/// How much hosts of a network have had written.
#[derive(Default)]
struct Written {
    bucket: Bucket,
    /// Refusals since the last line that were not written.
    more: u64,
}

impl Driver {
    /// Asks the host's resolvers if any network has use for them.
    pub(super) fn follow_resolvers(&mut self) {
        let is_needed = self.worker.needs_host_resolvers();
        if is_needed && self.names.resolver.is_none() {
            match Resolver::start(Arc::clone(&self.waker)) {
                Ok((resolver, servers)) => {
                    self.worker.set_host_resolvers(servers);
                    self.names.resolver = Some(resolver);
                }
                Err(error) => error!("the host's resolvers can't be asked: {error}"),
            }
        } else if !is_needed {
            self.names.resolver = None;
        }
    }

    /// Takes what resolvers have said, has them asked, and writes down what was refused.
    pub(super) fn tend_names(&mut self) {
        while let Some(told) = self.names.resolver.as_ref().and_then(Resolver::next) {
            match told {
                Told::Servers(servers) => self.worker.set_host_resolvers(servers),
                Told::Answer(answer) => self.worker.host_answered(answer),
            }
        }
        while let Some(question) = self.worker.next_host_question() {
            if let Some(resolver) = &self.names.resolver {
                resolver.ask(question);
            }
        }
        while let Some(refusal) = self.worker.next_dns_refusal() {
            let written = self.names.written.entry(refusal.network).or_default();
            if written.bucket.take(RATE, 1, self.clock.now()) {
                tell(&refusal, self.plan.network_name(refusal.network), std::mem::take(&mut written.more));
            } else {
                written.more += 1;
            }
        }
    }
}

fn tell(refusal: &DnsRefusal, network: &str, more: u64) {
    let DnsRefusal { guest, name, address, .. } = refusal;
    if more > 0 {
        warn!(network, more, "so much was refused by `allow-names` that not all was logged");
    }
    match (name, address) {
        (Some(name), None) => warn!(network, %guest, %name, "name refused: it is not among `allow-names`"),
        (Some(name), Some(address)) => {
            warn!(network, %guest, %name, %address, "address refused: the name doesn't lead there, or no longer");
        }
        (None, Some(address)) => {
            warn!(network, %guest, %address, "address refused: no name among `allow-names` led there");
        }
        (None, None) => {}
    }
}

/// Lines about a network's hosts: whoever tries all addresses doesn't fill the disk.
const RATE: Rate = Rate { per_second: 1, burst: 200 };

//! Names: what the DNS forwarders tell, and what they need of the host.

use std::net::IpAddr;

use packet::Millis;

use super::Worker;
use crate::report::{DnsRefusal, HostAnswer, HostQuestion, NameReport};

impl Worker {
    /// The names that the forwarders know beside those of leases, and where names have led hosts.
    pub fn names(&self, now: Millis) -> impl Iterator<Item = NameReport> + '_ {
        self.host.dns.names(&self.gateway, now)
    }

    /// Something that a network's `allow-names` has refused since the last call; `None`: there is no more.
    pub fn next_dns_refusal(&mut self) -> Option<DnsRefusal> {
        self.host.dns.next_refusal()
    }

    /// Whether the host's own resolvers are asked, so that [`set_host_resolvers`](Self::set_host_resolvers) has to tell of
    /// them, and [`next_host_question`](Self::next_host_question) be obeyed.
    pub fn needs_host_resolvers(&self) -> bool {
        self.host.dns.needs_host_servers()
    }

    /// The host's own resolvers are these, the first choice first.
    pub fn set_host_resolvers(&mut self, resolvers: Vec<IpAddr>) {
        self.host.dns.set_host_servers(resolvers);
    }

    /// A question that the host is to ask since the last call; `None`: there is no more.
    pub fn next_host_question(&mut self) -> Option<HostQuestion> {
        self.host.dns.asking().next_for_host()
    }

    /// What came of such a question; [`on_timeout`](Self::on_timeout), which is due then, tells whoever waits.
    pub fn host_answered(&mut self, answer: HostAnswer) {
        self.host.dns.asking().host_answered(answer);
    }
}

//! What the switch itself knows: `hosts`, the names of leases, and what must not be asked elsewhere. RFC 6761, RFC 6303.

use std::net::{IpAddr, Ipv4Addr};

use packet::{DnsName, Ipv4Cidr, Millis, NetworkId};

use super::answer::{Answer, Value};
use super::message::{IN, Query, code, kind};
use crate::host::names::LeaseNames;
use crate::runtime_config::DnsConfig;

/// What is known in a network.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub config: &'a DnsConfig,
    pub network: NetworkId,
    pub subnet: Ipv4Cidr,
    pub leases: &'a dyn LeaseNames,
    pub now: Millis,
}

/// Who answers a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answerer {
    /// The switch, by this.
    Own(Answer),
    /// The switch: it can't be, or isn't to be.
    Failure(u16),
    /// Somebody else.
    Upstream,
}

impl Known<'_> {
    pub(super) fn answer(self, query: &Query) -> Answerer {
        let question = &query.question;
        if question.class != IN || matches!(question.kind, kind::AXFR | kind::IXFR) {
            return Answerer::Failure(code::REFUSED);
        }
        if let Some(address) = question.name.reversed() {
            return match self.name_of(address) {
                Some(name) => self.told(query, &[Value::Name(name)], kind::PTR),
                None if self.subnet.contains(address) => Answerer::Failure(code::NO_SUCH_NAME),
                None => Answerer::Upstream,
            };
        }
        let addresses: Vec<_> = self.addresses_of(&question.name).into_iter().map(Value::Address).collect();
        if !addresses.is_empty() {
            let wanted = if question.kind == kind::ANY { kind::A } else { question.kind };
            return self.told(query, &addresses, wanted);
        }
        let labels = question.name.labels().count();
        let is_host = matches!(question.kind, kind::A | kind::AAAA | kind::ANY);
        let is_own = self.config.domain.as_ref().is_some_and(|domain| question.name.is_below(domain));
        let is_special = question
            .name
            .labels()
            .last()
            .is_some_and(|last| SPECIAL.iter().any(|special| last.eq_ignore_ascii_case(special)));
        if is_own || is_special || labels == 1 && is_host {
            return Answerer::Failure(code::NO_SUCH_NAME);
        }
        Answerer::Upstream
    }

    /// Those of `values` that are of the type asked for, perhaps none.
    fn told(self, query: &Query, values: &[Value], wanted: u16) -> Answerer {
        let is_wanted = |value: &&Value| match value {
            Value::Address(IpAddr::V4(_)) => wanted == kind::A,
            Value::Address(IpAddr::V6(_)) => wanted == kind::AAAA,
            Value::Name(_) => {
                matches!(wanted, kind::PTR) && matches!(query.question.kind, kind::PTR | kind::ANY)
            }
        };
        let values: Vec<Value> = values.iter().filter(is_wanted).cloned().collect();
        Answerer::Own(Answer::own(&query.question, &values))
    }

    fn addresses_of(self, name: &DnsName) -> Vec<IpAddr> {
        let mut labels = name.labels();
        if labels.by_ref().last().is_some_and(|last| last.eq_ignore_ascii_case(b"localhost")) {
            return vec![Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
        }
        let hosts = self.config.hosts.iter().filter(|(host, _)| self.is_called(name, host));
        let hosts: Vec<IpAddr> = hosts.map(|&(_, address)| address).collect();
        if !hosts.is_empty() {
            return hosts;
        }
        let Some(label) = self.label(name) else { return Vec::new() };
        let lease = self.leases.address_of(self.network, &label, self.now);
        lease.map(IpAddr::V4).into_iter().collect()
    }

    fn name_of(self, address: Ipv4Addr) -> Option<DnsName> {
        let host = self.config.hosts.iter().find(|(_, other)| *other == address);
        let name = match host {
            Some((name, _)) => name.clone(),
            None => DnsName::parse(&self.leases.name_of(self.network, address, self.now)?)?,
        };
        let is_short = name.labels().count() == 1;
        let domain = self.config.domain.as_ref().filter(|_| is_short);
        Some(domain.and_then(|domain| name.under(domain)).unwrap_or(name))
    }

    /// Whether `name` is `host`, or `host` below the network's domain.
    fn is_called(self, name: &DnsName, host: &DnsName) -> bool {
        let under = || host.under(self.config.domain.as_ref()?);
        name.is(host) || host.labels().count() == 1 && under().is_some_and(|under| name.is(&under))
    }

    /// What a guest is called that `name` may be about: by itself, or below the network's domain.
    fn label(self, name: &DnsName) -> Option<String> {
        let domain = self.config.domain.as_ref();
        let behind = name.labels().count().checked_sub(1)?;
        let is_guests = behind == 0
            || domain.is_some_and(|domain| name.is_below(domain) && domain.labels().count() == behind);
        let label = name.labels().next().filter(|_| is_guests)?;
        String::from_utf8(label.to_ascii_lowercase()).ok()
    }
}

/// Names below these are nobody's. RFC 6761, RFC 7686.
const SPECIAL: [&[u8]; 3] = [b"localhost", b"invalid", b"onion"];

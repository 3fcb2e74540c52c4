//! `tapswitch flush`.

use clap::Args;

use super::{Control, Failure, tell};
use crate::control::Request;
use crate::show::changed::Flushable;

#[derive(Args, Debug)]
pub(super) struct Flush {
    /// Which table
    #[arg(value_enum)]
    what: Flushable,
    /// Only entries of which this holds; several must all hold. fdb: network, port, mac, vlan. flows: protocol, state,
    /// source, destination, address, network. neighbours: network, address, mac. Addresses may be 192.168.122.10,
    /// 192.168.122.0/24 and, of flows, 192.168.122.10:443
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
    #[command(flatten)]
    control: Control,
}

impl Flush {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let pair = |filter: &String| {
            let (key, value) = filter.split_once('=').ok_or_else(|| {
                Failure::wrong(format!(
                    "--filter {filter} has no value; write KEY=VALUE, such as network=lan"
                ))
            })?;
            Ok((key.to_owned(), value.to_owned()))
        };
        let mut filter = crate::control::filter::Filter::new();
        for (key, value) in self.filters.iter().map(pair).collect::<Result<Vec<_>, Failure>>()? {
            if filter.insert(key.clone(), value).is_some() {
                return Err(Failure::wrong(format!(
                    "--filter {key}= came twice; no entry can have both values"
                )));
            }
        }
        tell(&self.control, Request::Flush { what: self.what, filter })
    }
}

//! `tapswitch flush`.

use clap::Args;

use super::show::pairs;
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
        let filter = pairs(&self.filters)?;
        tell(&self.control, Request::Flush { what: self.what, filter })
    }
}

//! `tapswitch show`.

use clap::Args;

use super::{Control, Failure, print, request};
use crate::control::{self, Request, What};
use crate::show::select::Filter;
use crate::show::{self, Style};
use crate::terminal;

#[derive(Args, Debug)]
pub(super) struct Show {
    /// Which part of the state
    #[arg(value_enum)]
    what: What,
    /// Entries of a table at most
    #[arg(long, value_name = "NUMBER", default_value_t = control::DEFAULT_LIMIT)]
    limit: usize,
    /// Sort by this column, or field of the JSON; -COLUMN: the largest first
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    sort: Option<String>,
    /// Only rows whose column, or field of the JSON, has this value; several must all hold. Addresses may be subnets, ports
    /// NETWORK/PORT
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
    #[command(flatten)]
    form: Form,
    /// Number the NAT rules
    #[arg(long)]
    line_numbers: bool,
    #[command(flatten)]
    control: Control,
}

/// In which form an answer is printed.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Form {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// Print bytes exactly, instead of 3.4 GB
    #[arg(long)]
    bytes: bool,
    /// Print all columns, however wide the terminal is
    #[arg(long)]
    wide: bool,
}

impl Show {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let filter = pairs(&self.filters)?;
        let show = Request::Show { what: self.what, limit: self.limit, sort: self.sort.clone(), filter };
        self.form.show(&self.control, show, self.line_numbers)
    }
}

/// `KEY=VALUE`, each key once.
pub(super) fn pairs(filters: &[String]) -> Result<Filter, Failure> {
    let mut pairs = Filter::new();
    for filter in filters {
        let Some((key, value)) = filter.split_once('=') else {
            let message = format!("--filter {filter} has no value; write KEY=VALUE, such as network=lan");
            return Err(Failure::wrong(message));
        };
        if pairs.insert(key.to_owned(), value.to_owned()).is_some() {
            let message = format!("--filter {key}= came twice; no entry can have both values");
            return Err(Failure::wrong(message));
        }
    }
    Ok(pairs)
}

impl Form {
    /// Asks, and prints the answer for people or for programs.
    pub(super) fn show(self, control: &Control, show: Request, line_numbers: bool) -> Result<(), Failure> {
        let answer = request(control, show)?;
        if self.json {
            return print(&format!("{}\n", serde_json::to_string(&answer).map_err(Failure::of)?));
        }
        // What is no terminal has no width: who cuts a table into words wants all of them, line by line.
        let width = if self.wide { None } else { terminal::width() }.unwrap_or(usize::MAX);
        print(&show::text(&answer, &Style { width, exact_bytes: self.bytes, line_numbers }))
    }
}

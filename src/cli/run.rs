//! `tapswitch run`.

use std::io;
use std::path::PathBuf;

use clap::Args;
use tapio::Signals;
use tracing_subscriber::util::SubscriberInitExt;

use super::{Control, FAILED, Failure, load, log_filter};
use crate::config::{self, Plan};
use crate::log::{self, Log};
use crate::service::pid_file::PidFile;
use crate::{driver, terminal};

#[derive(Args, Debug)]
pub(super) struct Run {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    #[command(flatten)]
    control: Control,
    /// Write the process's number to this file, which goes when the process ends
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// What to log to standard error: error, warn, info, debug, trace or off, also per module, such as
    /// warn,tapswitch::driver=debug [default: info]
    #[arg(long, value_name = "LEVEL", env = "TAPSWITCH_LOG", hide_env_values = true)]
    log: Option<String>,
}

impl Run {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let filter = log_filter::filter(self.log.as_deref().unwrap_or_default()).map_err(Failure::wrong)?;
        let config = load(&self.config)?;
        let plan = Plan::new(&config, None);
        let write = |path: &PathBuf| {
            let failed =
                |error| Failure::of(format!("cannot write the pid file {}: {error}", path.display()));
            PidFile::write(path).map_err(failed)
        };
        let _pid_file = self.pid_file.as_ref().map(write).transpose()?;
        // Before any thread is started.
        let signals = Signals::new().map_err(Failure::of)?;
        let (form, out) = log::destination();
        let log = Log::start_as(form, out).map_err(Failure::of)?;
        log.subscriber(filter, terminal::takes_colours(&io::stderr())).init();
        log.tell_panics();
        let ended = driver::run(&self.config, plan, &self.control.path, signals, &log).map_err(|error| {
            log.say(&Failure::of(error).message);
            Failure { message: String::new(), status: FAILED }
        });
        log.flush();
        ended
    }
}

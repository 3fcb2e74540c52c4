//! The command line.

mod flush;
mod log_filter;
mod nat;
mod port;
mod run;
mod show;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Config, ConfigError};
use crate::control::{self, ClientError, ErrorKind, Request};
use crate::guest::{Guest, GuestError};
use crate::import::{self, Imported, LibvirtOptions};
use crate::mistake::Mistakes;
use crate::show::{Answer, Style};
use crate::terminal;

/// A userspace virtual switch and NAT gateway: one process in place of the kernel's bridge, iptables' nat table and
/// dnsmasq, for virtual machines, containers and VPNs.
#[derive(Parser, Debug)]
#[command(name = "tapswitch", version, max_term_width = 80)]
#[command(after_help = "Exit status: 0 success, 1 failure, 2 wrong configuration or usage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Be the switch, in the foreground, until SIGTERM or SIGINT; SIGHUP reloads
    Run(run::Run),
    /// Look for mistakes in a configuration
    Check {
        /// The configuration
        #[arg(default_value = config::DEFAULT_PATH)]
        file: PathBuf,
    },
    /// See what the switch does, between network namespaces that the demo makes
    #[command(after_help = "Ctrl-C ends it at once, with exit status 130, and leaves nothing behind.")]
    Demo,
    /// Show the state of a running switch
    Show(show::Show),
    /// Forget entries of a table of a running switch
    #[command(
        after_help = "Forgotten flows are cut: what comes later is a new one, or unknown. Forgotten addresses \
        and neighbours are learned again. Static entries stay."
    )]
    Flush(flush::Flush),
    /// Add a port to a running switch, or delete one
    #[command(
        subcommand,
        after_help = "The configuration file stays as it is: at the next reload, and when the switch starts, \
        its ports are there."
    )]
    Port(port::Port),
    /// Change the NAT rules of a running switch, list them, or save its connections
    #[command(
        subcommand,
        after_help = "Rules are lines of iptables' nat table. The configuration file stays as it \
        is: at the next reload, and when the switch starts, its rules are in force."
    )]
    Nat(nat::Nat),
    /// Turn another program's file into configuration
    #[command(subcommand)]
    Import(Import),
    /// Write the man pages, tapswitch.1 and one for each command
    #[command(hide = true)]
    Man {
        /// The folder to write them to
        folder: PathBuf,
    },
    /// Print QEMU's options for a guest at a port
    #[command(after_help = "Use it as: qemu-system-x86_64 … $(tapswitch qemu-args NETWORK/PORT)")]
    QemuArgs {
        #[command(flatten)]
        place: Place,
        /// The guest's memory, which a port of type vhost-user shares with the switch
        #[arg(long, value_name = "SIZE", default_value = "1G")]
        memory: String,
    },
    /// Print the interface of a libvirt domain for a guest at a port
    #[command(after_help = "A <qemu:commandline> goes into <domain>, behind its <devices>.")]
    LibvirtXml(Place),
    /// Have a running switch read its configuration again
    #[command(after_help = "If the configuration is wrong or can't be brought about, nothing changes.")]
    Reload(Control),
}

#[derive(Args, Debug)]
struct Control {
    /// The control socket
    #[arg(long = "control", value_name = "PATH", default_value = control::DEFAULT_PATH)]
    path: PathBuf,
}

#[derive(Subcommand, Debug)]
enum Import {
    /// The nat table of `iptables-save`, as `rules` of a network
    Iptables {
        /// What iptables-save printed
        file: PathBuf,
    },
    /// A network of libvirt
    Libvirt {
        /// What `virsh net-dumpxml` printed
        file: PathBuf,
        /// The uplink that the network is to use
        #[arg(long, value_name = "NAME")]
        uplink: Option<String>,
        /// Print a whole file: also the uplink and a port for a guest, with examples to edit
        #[arg(long)]
        complete: bool,
    },
}

#[derive(Args, Debug)]
struct Place {
    /// The port
    #[arg(value_name = "NETWORK/PORT")]
    port: String,
    /// The configuration that has it
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(run) => run.run(),
        Command::Check { file } => check(&file),
        Command::Demo => crate::demo::run().map_err(Failure::of),
        Command::Show(show) => show.run(),
        Command::Flush(flush) => flush.run(),
        Command::Nat(nat) => nat.run(),
        Command::Port(port) => port.run(),
        Command::Import(import) => self::import(&import),
        Command::Man { folder } => clap_mangen::generate_to(Cli::command(), folder).map_err(Failure::of),
        Command::QemuArgs { place, memory } => guest(&place, |guest| guest.qemu_args(&memory)),
        Command::LibvirtXml(place) => guest(&place, |guest| guest.libvirt_xml()),
        Command::Reload(control) => tell(&control, Request::Reload),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                // Where nobody reads, the status still tells.
                let _ = writeln!(io::stderr(), "{}", failure.message);
            }
            ExitCode::from(failure.status)
        }
    }
}

fn check(file: &Path) -> Result<(), Failure> {
    let config = load(file)?;
    let networks = terminal::count(config.network_count() as u64, "network");
    let ports = terminal::count(config.port_count() as u64, "port");
    for note in config.notes() {
        // Where nobody reads, the file is right all the same.
        let _ = writeln!(io::stderr(), "note: {note}");
    }
    print(&format!("{}: ok: {networks}, {ports}\n", file.display()))
}

fn load(file: &Path) -> Result<Config, Failure> {
    Config::load(file).map_err(unusable)
}

fn unusable(error: ConfigError) -> Failure {
    Failure { message: error.render(terminal::takes_colours(&io::stderr())), status: WRONG }
}

fn import(import: &Import) -> Result<(), Failure> {
    let (Import::Iptables { file } | Import::Libvirt { file, .. }) = import;
    let text = config::read_text(file).map_err(unusable)?;
    let name = file.display().to_string();
    let imported = match import {
        Import::Iptables { .. } => import::iptables(&name, &text),
        Import::Libvirt { uplink, complete, .. } => {
            let options = LibvirtOptions { uplink: uplink.as_deref(), complete: *complete };
            import::libvirt(&name, &text, options)
        }
    };
    let Imported { toml, notes } = imported.map_err(|mistakes| wrong(&mistakes))?;
    for note in notes {
        // Where nobody reads, the file is still made.
        let _ = writeln!(io::stderr(), "note: {note}");
    }
    print(&toml)
}

fn wrong(mistakes: &Mistakes) -> Failure {
    Failure { message: mistakes.render(terminal::takes_colours(&io::stderr())), status: WRONG }
}

fn guest(place: &Place, text: impl Fn(&Guest<'_>) -> Result<String, GuestError>) -> Result<(), Failure> {
    let config = load(&place.config)?;
    let text = Guest::of(&config, &place.port).and_then(|guest| text(&guest));
    print(&text.map_err(Failure::wrong)?)
}

fn request(control: &Control, request: Request) -> Result<Answer, Failure> {
    control::request(&control.path, request).map_err(|error| match error {
        ClientError::Refused { kind: ErrorKind::Config, .. } => Failure::wrong(error),
        other => Failure::of(other),
    })
}

/// Asks for a change, and prints what it did.
fn tell(control: &Control, change: Request) -> Result<(), Failure> {
    request(control, change).and_then(|answer| print(&crate::show::text(&answer, &Style::WIDE)))
}

/// To standard output; that its reader has seen enough is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::of(error)),
        _ => Ok(()),
    }
}

/// What to say, and the process's exit status.
struct Failure {
    /// Empty if it was said already.
    message: String,
    status: u8,
}

impl Failure {
    fn of(error: impl Display) -> Self {
        Self { message: with_prefix(&error.to_string()), status: FAILED }
    }

    fn wrong(error: impl Display) -> Self {
        Self { message: with_prefix(&error.to_string()), status: WRONG }
    }
}

/// What comes from the switch may quote what guests say, and may have its prefix already.
fn with_prefix(message: &str) -> String {
    let message = terminal::printable_lines(message);
    if message.starts_with("error:") { message } else { format!("error: {message}") }
}

const FAILED: u8 = 1;
const WRONG: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

//! The command line.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use tapio::Signals;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{self, Config, ConfigError, Mistake, Mistakes, Plan};
use crate::control::{self, ClientError, ErrorKind, Request, What};
use crate::guest::{Guest, GuestError};
use crate::import::{self, Imported};
use crate::log::Log;
use crate::rules::{self, Interfaces};
use crate::{driver, show};

/// A userspace virtual switch and NAT gateway: one process in place of the kernel's bridge, iptables' nat table and
/// dnsmasq, for virtual machines, containers and VPNs.
#[derive(Parser, Debug)]
#[command(name = "tapswitch", version, max_term_width = 100)]
#[command(after_help = "Exit status: 0 success, 1 failure, 2 wrong configuration or usage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Be the switch, in the foreground, until SIGTERM or SIGINT; SIGHUP reloads
    Run(Run),
    /// Look for mistakes in a configuration
    Check {
        /// The configuration
        #[arg(default_value = config::DEFAULT_PATH)]
        file: PathBuf,
    },
    /// See what the switch does, between network namespaces that the demo makes
    Demo,
    /// Show the state of a running switch
    Show(Show),
    /// Add a port to a running switch, or delete one
    #[command(
        subcommand,
        after_help = "The configuration file stays as it is: at the next reload, and when the switch starts, \
        its ports are there."
    )]
    Port(Port),
    /// Change the NAT rules of a running switch, list them, or save its connections
    #[command(
        subcommand,
        after_help = "Rules are lines of iptables' nat table. The configuration file stays as it \
        is: at the next reload, and when the switch starts, its rules are in force."
    )]
    Nat(Nat),
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
    /// Print what goes into a libvirt domain's <devices> for a guest at a port
    #[command(after_help = "A <qemu:commandline> goes into <domain>, behind its <devices>.")]
    LibvirtXml(Place),
    /// Have a running switch read its configuration again
    #[command(after_help = "If the configuration is wrong or can't be brought about, nothing changes.")]
    Reload(Control),
}

#[derive(Args, Debug)]
struct Run {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    #[command(flatten)]
    control: Control,
    /// What to log to standard error: error, warn, info, debug or trace, also per module, such as
    /// warn,tapswitch::driver=debug [default: info]
    #[arg(long, value_name = "LEVEL", env = "TAPSWITCH_LOG", hide_env_values = true)]
    log: Option<String>,
}

#[derive(Args, Debug)]
struct Control {
    /// The control socket
    #[arg(long = "control", value_name = "PATH", default_value = control::DEFAULT_PATH)]
    path: PathBuf,
}

#[derive(Args, Debug)]
struct Show {
    /// Which part of the state
    #[arg(value_enum)]
    what: What,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// Entries of a table at most
    #[arg(long, value_name = "NUMBER", default_value_t = control::DEFAULT_LIMIT)]
    limit: usize,
    #[command(flatten)]
    control: Control,
}

#[derive(Subcommand, Debug)]
enum Port {
    /// Add a port
    Add {
        /// The port
        #[arg(value_name = "NETWORK/PORT")]
        port: String,
        /// Its keys as in the configuration file, such as type=packet device=tap1
        #[arg(value_name = "KEY=VALUE", required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        control: Control,
    },
    /// Delete a port
    Del {
        /// The port
        #[arg(value_name = "NETWORK/PORT")]
        port: String,
        #[command(flatten)]
        control: Control,
    },
}

#[derive(Subcommand, Debug)]
enum Nat {
    /// Add a rule, such as "-A POSTROUTING -s 192.168.3.0/24 -o wan -j MASQUERADE", or with -I one in between
    Add(Line),
    /// Delete a rule: "-D CHAIN NUMBER", or -D with the whole rule
    Del(Line),
    /// List the rules and how often each decided, as `iptables -t nat -L -nv` does
    List {
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        control: Control,
    },
    /// Save the connections now, to the file that the configuration names as `state`, while packets flow
    #[command(
        after_help = "A switch that starts with that configuration goes on with them. One that ends by \
        SIGTERM or SIGINT saves them by itself."
    )]
    Save(Control),
}

#[derive(Args, Debug)]
struct Line {
    /// The line, in quotes
    #[arg(allow_hyphen_values = true)]
    line: String,
    #[command(flatten)]
    control: Control,
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
        Command::Run(run) => self::run(&run),
        Command::Check { file } => check(&file),
        Command::Demo => crate::demo::run().map_err(Failure::of),
        Command::Show(show) => self::show(&show),
        Command::Nat(nat) => self::nat(nat),
        Command::Port(port) => self::port(port),
        Command::Import(import) => self::import(&import),
        Command::Man { folder } => clap_mangen::generate_to(Cli::command(), folder).map_err(Failure::of),
        Command::QemuArgs { place, memory } => guest(&place, |guest| guest.qemu_args(&memory)),
        Command::LibvirtXml(place) => guest(&place, |guest| guest.libvirt_xml()),
        Command::Reload(control) => {
            request(&control, Request::Reload).and_then(|answer| print(&show::text(&answer)))
        }
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

fn run(run: &Run) -> Result<(), Failure> {
    let log = run.log.as_deref().unwrap_or("info");
    let filter = EnvFilter::try_new(log).map_err(|error| Failure {
        message: format!("error: --log {log}: {error}; write error, warn, info, debug or trace"),
        status: WRONG,
    })?;
    let config = load(&run.config)?;
    let plan = Plan::new(&config, None);
    // Before any thread is started.
    let signals = Signals::new().map_err(Failure::of)?;
    let log = Log::start(io::stderr()).map_err(Failure::of)?;
    log.subscriber(filter, io::stderr().is_terminal()).init();
    log.tell_panics();
    let ended = driver::run(&run.config, plan, &run.control.path, signals, &log).map_err(|error| {
        log.say(&Failure::of(error).message);
        Failure { message: String::new(), status: FAILED }
    });
    log.flush();
    ended
}

fn check(file: &Path) -> Result<(), Failure> {
    let config = load(file)?;
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let networks = count(config.network_count(), "network");
    print(&format!("{}: ok: {networks}, {}\n", file.display(), count(config.port_count(), "port")))
}

fn load(file: &Path) -> Result<Config, Failure> {
    Config::load(file).map_err(unusable)
}

fn unusable(error: ConfigError) -> Failure {
    Failure { message: error.render(io::stderr().is_terminal()), status: WRONG }
}

fn show(show: &Show) -> Result<(), Failure> {
    show_part(&show.control, Request::Show { what: show.what, limit: show.limit }, show.json)
}

fn show_part(control: &Control, show: Request, json: bool) -> Result<(), Failure> {
    let answer = request(control, show)?;
    if json {
        print(&format!("{}\n", serde_json::to_string(&answer).map_err(Failure::of)?))
    } else {
        print(&show::text(&answer))
    }
}

fn port(port: Port) -> Result<(), Failure> {
    let (control, change) = match port {
        Port::Add { port, keys, control } => {
            let keys: Result<Vec<String>, Failure> = keys.iter().map(|key| toml_line(key)).collect();
            (control, Request::PortAdd { port, keys: keys?.concat() })
        }
        Port::Del { port, control } => (control, Request::PortDel { port }),
    };
    request(&control, change).and_then(|answer| print(&show::text(&answer)))
}

/// `KEY=VALUE` as a line of the configuration file.
fn toml_line(key: &str) -> Result<String, Failure> {
    let Some((key, value)) = key.split_once('=') else {
        let message = format!("error: {key:?} says nothing; write KEY=VALUE, such as type=packet");
        return Err(Failure { message, status: WRONG });
    };
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let value = match key {
        "mtu" | "learn-limit" | "offload" | "host-stack" => value.to_owned(),
        "static-macs" => format!("[{}]", value.split(',').map(quoted).collect::<Vec<_>>().join(", ")),
        _ => quoted(value),
    };
    Ok(format!("{} = {value}\n", quoted(key)))
}

fn nat(nat: Nat) -> Result<(), Failure> {
    let (line, adds) = match nat {
        Nat::Add(line) => (line, true),
        Nat::Del(line) => (line, false),
        Nat::Save(control) => {
            return request(&control, Request::NatSave).and_then(|answer| print(&show::text(&answer)));
        }
        Nat::List { json, control } => {
            return show_part(
                &control,
                Request::Show { what: What::Nat, limit: control::DEFAULT_LIMIT },
                json,
            );
        }
    };
    let Line { line, control } = line;
    let place = match rules::parse(&line, &Interfaces::Any) {
        Ok(parsed) if parsed.edit.adds() == adds => None,
        Ok(_) if adds => Some(("`nat add` adds a rule", "write -A or -I, or `nat del`")),
        Ok(_) => Some(("`nat del` deletes a rule", "write -D, or `nat add`")),
        Err(mistake) => return Err(wrong(&Mistakes::new("rule", &line, vec![mistake]))),
    };
    if let Some((message, help)) = place {
        return Err(wrong(&Mistakes::new(
            "rule",
            &line,
            vec![Mistake::new(0..2.min(line.len()), message, help)],
        )));
    }
    request(&control, Request::Nat { line }).and_then(|answer| print(&show::text(&answer)))
}

fn import(import: &Import) -> Result<(), Failure> {
    let (Import::Iptables { file } | Import::Libvirt { file, .. }) = import;
    let text = config::read_text(file).map_err(unusable)?;
    let name = file.display().to_string();
    let imported = match import {
        Import::Iptables { .. } => import::iptables(&name, &text),
        Import::Libvirt { uplink, .. } => import::libvirt(&name, &text, uplink.as_deref()),
    };
    let Imported { toml, notes } = imported.map_err(|mistakes| wrong(&mistakes))?;
    for note in notes {
        // Where nobody reads, the file is still made.
        let _ = writeln!(io::stderr(), "note: {note}");
    }
    print(&toml)
}

fn wrong(mistakes: &Mistakes) -> Failure {
    Failure { message: mistakes.render(io::stderr().is_terminal()), status: WRONG }
}

fn guest(place: &Place, text: impl Fn(&Guest<'_>) -> Result<String, GuestError>) -> Result<(), Failure> {
    let config = load(&place.config)?;
    let text = Guest::of(&config, &place.port).and_then(|guest| text(&guest));
    print(&text.map_err(|error| Failure { message: format!("error: {error}"), status: WRONG })?)
}

fn request(control: &Control, request: Request) -> Result<show::Answer, Failure> {
    control::request(&control.path, request).map_err(|error| match error {
        ClientError::Refused { kind: ErrorKind::Config, error } => Failure { message: error, status: WRONG },
        other => Failure::of(other),
    })
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
        Self { message: format!("error: {error}"), status: FAILED }
    }
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

//! `tapswitch demo`: three hosts that are network namespaces, the switch between them, and what it does for them,
//! each thing tried and shown with its result. Needs no other program.
//!
//! ```text
//! Host alice ─┐
//! Host bob   ─┼─ Switch: this program again, with `run`, as a child process
//! Host carol ─┘
//! ```

mod dhcp;
mod host;
mod interrupt;
mod screen;
mod switch;
mod traffic;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use packet::Ipv4Cidr;
use tapio::{NetnsHandle, Signals};

use self::host::Host;
use self::interrupt::Interrupt;
use self::screen::Screen;
use self::switch::Switch;
use self::traffic::{Arrived, flood, transfer};

/// Runs the demo, and prints to standard output. Must be called before the process has other threads.
///
/// # Errors
/// A step failed, which has been printed; or the demo could not begin.
pub fn run() -> Result<(), DemoError> {
    become_root()?;
    let hosts = Hosts::new().map_err(DemoError::Namespaces)?;
    let config = hosts.config();
    let (signals, mut screen) = (Signals::new()?, Screen::stdout());
    screen.text(PICTURE)?;
    screen.heading("The configuration")?;
    screen.text(&config)?;
    let mut switch = Switch::start(&config)?;
    let interrupt = Interrupt::watch(signals, switch.process())?;
    let mut stage = Stage { screen, interrupt };
    let result = show_all(&mut stage, &hosts, &mut switch);
    stage.interrupt.check();
    match &result {
        Ok(()) => stage.screen.heading(GOODBYE)?,
        Err(_) => {
            stage.screen.heading("The log of the switch")?;
            stage.screen.text(&switch.log())?;
        }
    }
    result
}

/// Why the demo did not succeed.
#[derive(Debug)]
pub enum DemoError {
    /// This process can't have network namespaces.
    Namespaces(io::Error),
    /// What should have been seen was not.
    Step(&'static str, io::Error),
    /// Output, or the files of the demo.
    Io(io::Error),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespaces(source) => write!(
                f,
                "cannot make network namespaces: {source}; run the demo as root, or allow user namespaces \
                 (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0)"
            ),
            Self::Step(what, source) => write!(f, "the demo failed at `{what}`: {source}"),
            Self::Io(source) => write!(f, "the demo cannot go on: {source}"),
        }
    }
}

impl Error for DemoError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Namespaces(source) | Self::Step(_, source) | Self::Io(source) => Some(source),
        }
    }
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The demo's hosts. Alice and bob are the switch's guests, carol is the world outside.
struct Hosts {
    alice: Host,
    bob: Host,
    carol: Host,
}

impl Hosts {
    fn new() -> io::Result<Self> {
        Ok(Self { alice: Host::new()?, bob: Host::new()?, carol: Host::new()? })
    }

    fn config(&self) -> String {
        [("ALICE", &self.alice), ("BOB", &self.bob), ("CAROL", &self.carol)]
            .into_iter()
            .fold(CONFIG.to_owned(), |config, (name, host)| config.replace(name, &host.netns()))
    }
}

/// Where the demo takes place.
struct Stage {
    screen: Screen<io::Stdout>,
    interrupt: Interrupt,
}

impl Stage {
    /// Prints a line about what `see` has seen.
    fn step(
        &mut self,
        what: &'static str,
        see: impl FnOnce() -> io::Result<String>,
    ) -> Result<(), DemoError> {
        let seen = see();
        self.interrupt.check();
        self.screen.step(what, &seen)?;
        seen.map(drop).map_err(|source| DemoError::Step(what, source))
    }
}

fn show_all(stage: &mut Stage, hosts: &Hosts, switch: &mut Switch) -> Result<(), DemoError> {
    stage.screen.heading("What it does")?;
    stage.step("The switch starts", || {
        switch.wait_until_ready()?;
        hosts.carol.configure(CAROL, None)?;
        Ok("one network, one uplink, three taps".to_owned())
    })?;
    show_reachability(stage, hosts)?;
    show_speed(stage, hosts)?;
    for (what, title) in TABLES {
        let table = switch.show(what)?;
        stage.screen.heading(title)?;
        stage.screen.text(&table)?;
    }
    stage.screen.heading("And the end")?;
    stage.step("The switch stops", || {
        switch.stop()?;
        hosts.alice.expect_no_device()?;
        Ok("its devices are gone".to_owned())
    })
}

fn show_reachability(stage: &mut Stage, Hosts { alice, bob, carol }: &Hosts) -> Result<(), DemoError> {
    stage.step("Alice asks for an address by DHCP", || leased(alice, ALICE))?;
    stage.step("Bob does too", || leased(bob, BOB))?;
    stage.step("Alice pings bob", || alice.ping(BOB).map(round_trip))?;
    stage.step("Alice pings carol, through NAT", || alice.ping(CAROL.address()).map(round_trip))?;
    stage.step("Alice sends carol 256 MiB by TCP, through NAT", || {
        let server = SocketAddrV4::new(CAROL.address(), 5000);
        let arrived = transfer(&carol.listen(server.port())?, &|| alice.connect(server), 256 << 20)?;
        expect_from(UPLINK, &arrived)?;
        Ok(format!("every byte right; carol saw {}, the uplink", arrived.from.ip()))
    })?;
    stage.step("Carol is served by bob at 203.0.113.1:8080", || {
        let server = SocketAddrV4::new(UPLINK, 8080);
        let arrived = transfer(&bob.listen(80)?, &|| carol.connect(server), 16 << 20)?;
        expect_from(CAROL.address(), &arrived)?;
        Ok(format!("every byte right; bob saw {}, carol", arrived.from.ip()))
    })
}

fn show_speed(stage: &mut Stage, Hosts { alice, bob, carol }: &Hosts) -> Result<(), DemoError> {
    let speed = |server: &Host, address| {
        let server_address = SocketAddrV4::new(address, 5001);
        let arrived =
            flood(&server.listen(5001)?, &|| alice.connect(server_address), Duration::from_secs(2))?;
        Ok(format!("{:.1} Gbit/s", arrived.gbit_per_second()))
    };
    stage.step("Alice to bob, one TCP stream", || speed(bob, BOB))?;
    stage.step("Alice to carol through NAT, one TCP stream", || speed(carol, CAROL.address()))
}

fn leased(host: &Host, expected: Ipv4Addr) -> io::Result<String> {
    let lease = host.configure_by_dhcp()?;
    let address = lease.address;
    if address.address() != expected {
        return Err(io::Error::other(format!("leased {address} instead of {expected}")));
    }
    let router = lease.router.map_or_else(|| "no gateway".to_owned(), |router| format!("gateway {router}"));
    Ok(format!("{address}, {router}, for {} s", lease.duration.as_secs()))
}

fn expect_from(expected: Ipv4Addr, arrived: &Arrived) -> io::Result<()> {
    if *arrived.from.ip() == expected {
        return Ok(());
    }
    Err(io::Error::other(format!("it came from {} instead of {expected}", arrived.from.ip())))
}

fn round_trip(time: Duration) -> String {
    format!("{} µs there and back", time.as_micros())
}

/// Makes sure that this process may make namespaces and taps, if the system lets it.
fn become_root() -> Result<(), DemoError> {
    match NetnsHandle::anonymous() {
        Ok(_) => Ok(()),
        Err(_) => tapio::enter_user_namespace().map_err(DemoError::Namespaces),
    }
}

/// Documentation addresses stand for the world outside. RFC 5737.
const UPLINK: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const CAROL: Ipv4Cidr = match Ipv4Cidr::new(Ipv4Addr::new(203, 0, 113, 2), 24) {
    Some(address) => address,
    None => unreachable!(),
};
/// The first two addresses of the range in [`CONFIG`], which go to the first two clients.
const ALICE: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 10);
const BOB: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 11);

/// What `tapswitch show` is asked for.
const TABLES: [(&str, &str); 3] = [
    ("fdb", "The forwarding database: who is behind which port (tapswitch show fdb)"),
    ("flows", "The connections through NAT (tapswitch show flows)"),
    ("nat", "The NAT rules (tapswitch show nat)"),
];

const GOODBYE: &str = "Everything worked. Next, a configuration of your own: docs/configuration.md";

const PICTURE: &str = r"
     alice            bob                        carol
  192.168.77.10   192.168.77.11               203.0.113.2
       │               │                           │
 ╭─────┴───────────────┴─────╮             ╭───────┴───────╮
 │  network lab              │     NAT     │  uplink wan   │
 │  192.168.77.1/24          ├─────────────┤  203.0.113.1  │
 ╰───────────────────────────╯             ╰───────────────╯
";

const CONFIG: &str = r#"
[network.lab]
mode       = "nat"
address    = "192.168.77.1/24"
dhcp       = "192.168.77.10-192.168.77.99"
uplink     = "wan"
publish    = ["8080:192.168.77.11:80/tcp"]
port.alice = { type = "tap", device = "eth0", netns = "ALICE" }
port.bob   = { type = "tap", device = "eth0", netns = "BOB" }

[uplink.wan]
type       = "tap"
device     = "eth0"
netns      = "CAROL"
address    = "203.0.113.1/24"

[engine]
leases     = "none"
"#;

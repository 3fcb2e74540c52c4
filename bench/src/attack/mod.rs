//! What well-behaved ports get while others attack the switch.
//!
//! ```text
//! a ── TCP, and a datagram each millisecond ──▶ b       measured, first alone, then beside
//! flooder ── frames ──▶ dear        whose receiver tries thousands of filter rules for each
//! small ── TCP in super-frames of tiny segments ──▶ cut    which takes none: the switch cuts
//! inventor ── DHCP, ARP and SYNs, each from an invented station
//! flapper   goes down and up; liar: a vhost-user front-end that talks nonsense
//! ```
//!
//! Those who attack have the lowest priority, so that it is the switch that has to share, and not the machine. Yet what they cost
//! the machine's processors they cost `a` and `b`, too, where processors are few. So the same attack is also made on another
//! switch, with hosts of its own: what is lost beside that one is lost to the machine, and the rest to sharing a switch.

mod good;
mod loads;

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use tapio::NetnsHandle;

use self::good::measure;
pub use self::loads::Load;
use self::loads::{LOWEST, Loads};
use crate::subject::{Folder, Process, background, namespace, run, switch, tap, wait_for, wait_for_ping};

/// What was measured in one phase.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Gbit/s of TCP from a to b.
    pub throughput: f64,
    /// The longest time between two arrivals of the counter.
    pub gap: Duration,
    /// The longest time that one of its datagrams was on the way.
    pub delay: Duration,
    /// The longest time between two departures: that much of a gap is the machine's.
    pub pause: Duration,
    /// How long the switch's thread waited for a processor in all: the machine's part, too.
    pub waited: Duration,
    /// How many gaps were over the bar.
    pub gaps: usize,
    /// Datagrams of the counter that were sent.
    pub sent: u64,
    /// Those that arrived.
    pub arrived: u64,
    /// The slowest answer of the control socket.
    pub control: Duration,
    /// The largest resident memory of the switch, in KiB.
    pub resident: u64,
}

/// No gap over this.
pub const GAP: Duration = Duration::from_millis(20);
/// No slower answer.
pub const CONTROL: Duration = Duration::from_millis(50);
/// At least this part of the throughput.
pub const THROUGHPUT: f64 = 0.7;
/// At most so much more memory, in KiB.
pub const MEMORY: u64 = 20 * 1024;

/// The switch and its hosts.
pub struct Field {
    a: NetnsHandle,
    b: NetnsHandle,
    dear: NetnsHandle,
    flooder: NetnsHandle,
    small: NetnsHandle,
    _cut: NetnsHandle,
    inventor: NetnsHandle,
    flapper: NetnsHandle,
    _world: NetnsHandle,
    switch: Process,
    sockets: Folder,
    _servers: Vec<Process>,
}

const A: &str = "10.9.1.1";
const B: &str = "10.9.1.2";
const CUT: &str = "10.9.1.3";
const GATEWAY: &str = "10.9.0.1";

/// A NAT network with these ports, the last of them without offload, one for a guest that lies, and an uplink.
fn config(ports: &[(&str, &NetnsHandle, &str)], liar: &Path, world: &NetnsHandle) -> String {
    let ports: String = ports
        .iter()
        .map(|(name, netns, host)| tap(&format!("network.lan.port.{name}"), netns, &format!("{host}/16")))
        .collect();
    format!(
        "[network.lan]\nmode = \"nat\"\naddress = \"{GATEWAY}/16\"\nuplink = \"wan\"\ndhcp = \"10.9.2.0-10.9.2.255\"\n\
         {ports}offload = false\n\
         [network.lan.port.liar]\ntype = \"vhost-user\"\npath = \"{}\"\n\
         {}address = \"10.180.13.2/24\"\ngateway = \"10.180.13.1\"\n",
        liar.display(),
        tap("uplink.wan", world, "10.180.13.1/24"),
    )
}

impl Field {
    /// Sets everything up; nobody attacks yet.
    pub fn start() -> io::Result<Self> {
        let [a, b, dear, flooder] = [namespace()?, namespace()?, namespace()?, namespace()?];
        let [small, cut, inventor, flapper] = [namespace()?, namespace()?, namespace()?, namespace()?];
        let (world, sockets) = (namespace()?, Folder::new()?);
        let ports = [
            ("a", &a, A),
            ("b", &b, B),
            ("small", &small, "10.9.1.4"),
            ("dear", &dear, "10.9.1.5"),
            ("flooder", &flooder, "10.9.1.6"),
            ("inventor", &inventor, "10.9.1.7"),
            ("flapper", &flapper, "10.9.1.8"),
            ("cut", &cut, CUT),
        ];
        let switch = switch(&config(&ports, &sockets.0.join("liar"), &world))?;
        for (from, to) in
            [(&a, B), (&small, CUT), (&dear, GATEWAY), (&flapper, GATEWAY), (&inventor, GATEWAY)]
        {
            wait_for_ping(from, to)?;
        }
        let servers = vec![
            background(&b, &["iperf3", "--server"])?,
            background(&cut, &["nice", "-n", LOWEST, "iperf3", "--server"])?,
        ];
        for netns in [&b, &cut] {
            wait_for(|| run(netns, "ss -Hltn sport = :5201"), |printed| printed.contains("LISTEN"))?;
        }
        let field = Self {
            a,
            b,
            dear,
            flooder,
            small,
            _cut: cut,
            inventor,
            flapper,
            _world: world,
            switch,
            sockets,
            _servers: servers,
        };
        field.flooder.enter(|| ())?;
        Ok(field)
    }

    /// Measures while nobody attacks.
    pub fn alone(&self, time: Duration) -> io::Result<Measured> {
        measure(self, time)
    }

    /// Measures while these attack, all at once.
    pub fn beside(&self, loads: &[Load], time: Duration) -> io::Result<Measured> {
        self.during(self, loads, time)
    }

    /// Measures while these attack the switch of another field, all at once.
    ///
    /// # Errors
    /// As [`alone`](Self::alone).
    pub fn apart(&self, other: &Self, loads: &[Load], time: Duration) -> io::Result<Measured> {
        self.during(other, loads, time)
    }

    fn during(&self, attacked: &Self, loads: &[Load], time: Duration) -> io::Result<Measured> {
        let loads = Loads::start(attacked, loads)?;
        std::thread::sleep(BEGIN);
        let measured = measure(self, time);
        loads.end()?;
        measured
    }

    /// How long the switch's thread has waited for a processor: Documentation/scheduler/sched-stats.rst.
    fn waited(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{0}/task/{0}/schedstat", self.switch.id()))?;
        let waited = stat.split_whitespace().nth(1).and_then(|waited| waited.parse().ok());
        Ok(Duration::from_nanos(waited.unwrap_or_default()))
    }

    /// The resident memory of the switch, in KiB.
    fn resident(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.switch.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| io::Error::other("the switch has ended"))
    }
}

/// How long those who attack do so before anything is measured.
const BEGIN: Duration = Duration::from_secs(1);

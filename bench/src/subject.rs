//! What is measured: two hosts, and something between them.

use std::fmt::Display;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use tapio::NetnsHandle;

/// The network device of each host.
pub const DEVICE: &str = "eth0";

/// What lies between the two hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The raw copy loop between two taps.
    Floor,
    /// tapswitch as a bridge.
    Switch,
    /// tapswitch as a bridge, with packet ports on the far ends of two veth pairs.
    SwitchPacket,
    /// Two tapswitches with a tap each, joined by a stream port each.
    SwitchStream,
    /// Two tapswitches with a tap each, joined by a dgram port each.
    SwitchDgram,
    /// The kernel's bridge and two veth pairs.
    KernelBridge,
    /// tapswitch as a router with masquerade.
    SwitchNat,
    /// The kernel as a router with iptables' MASQUERADE, between two veth pairs.
    KernelNat,
}

impl Kind {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 8] = [
        Self::Floor,
        Self::Switch,
        Self::SwitchPacket,
        Self::SwitchStream,
        Self::SwitchDgram,
        Self::KernelBridge,
        Self::SwitchNat,
        Self::KernelNat,
    ];

    /// Its name in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Switch => "tapswitch-bridge",
            Self::SwitchPacket => "tapswitch-packet",
            Self::SwitchStream => "tapswitch-stream",
            Self::SwitchDgram => "tapswitch-dgram",
            Self::KernelBridge => "kernel-bridge",
            Self::SwitchNat => "tapswitch-nat",
            Self::KernelNat => "kernel-nat",
        }
    }
}

/// A network namespace with one device and one address.
pub struct Host {
    /// The namespace.
    pub netns: NetnsHandle,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Two hosts that reach each other, client first, until this is dropped.
pub struct Subject {
    /// What lies between them.
    pub kind: Kind,
    /// Who opens connections and sends.
    pub client: Host,
    /// Who is connected to and receives.
    pub server: Host,
    /// Keeps the router of the kernel's subjects alive.
    _between: NetnsHandle,
    _processes: Vec<Process>,
    /// Where the switches meet that are joined by a socket.
    _sockets: Folder,
}

const L2: [&str; 2] = ["10.9.0.1/24", "10.9.0.2/24"];
const NAT: [&str; 2] = ["192.168.122.10/24", "10.180.13.1/24"];
/// The addresses of what lies between, towards each of [`NAT`].
const ROUTER: [&str; 2] = ["192.168.122.1", "10.180.13.2"];

impl Subject {
    /// Sets the subject up and waits until the hosts reach each other.
    pub fn start(kind: Kind) -> io::Result<Self> {
        let addresses = if matches!(kind, Kind::SwitchNat | Kind::KernelNat) { NAT } else { L2 };
        let host = |address: &str| {
            let address = address.split('/').next().unwrap_or_default().parse().map_err(io::Error::other)?;
            Ok::<_, io::Error>(Host { netns: namespace()?, address })
        };
        let (client, server, between) = (host(addresses[0])?, host(addresses[1])?, namespace()?);
        let ends = [&client.netns, &server.netns];
        let sockets = Folder::new()?;
        let mut processes = match kind {
            Kind::Floor => vec![floor(ends)?],
            Kind::Switch => vec![switch(&bridge_config(ends))?],
            Kind::SwitchPacket => {
                veths(ends, &between, L2)?;
                vec![switch(&packet_config(&between))?]
            }
            Kind::SwitchStream => joined(ends, &stream_ports(&sockets.0))?,
            Kind::SwitchDgram => joined(ends, &dgram_ports(&sockets.0))?,
            Kind::SwitchNat => vec![switch(&nat_config(ends))?],
            Kind::KernelBridge => {
                veths(ends, &between, L2)?;
                run(&between, "ip link add br0 type bridge")?;
                for line in
                    ["ip link set br0 up", "ip link set port0 master br0", "ip link set port1 master br0"]
                {
                    run(&between, line)?;
                }
                Vec::new()
            }
            Kind::KernelNat => {
                veths(ends, &between, NAT)?;
                for n in [0, 1] {
                    run(&between, &format!("ip address add {}/24 dev port{n}", ROUTER[n]))?;
                }
                between.enter(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
                run(&between, "iptables -t nat -A POSTROUTING -o port1 -j MASQUERADE")?;
                Vec::new()
            }
        };
        if addresses == NAT {
            wait_for_ping(&client.netns, ROUTER[0])?;
            run(&client.netns, &format!("ip route add default via {}", ROUTER[0]))?;
        }
        wait_for_ping(&client.netns, server.address)?;
        processes.push(background(&server.netns, &["iperf3", "--server"])?);
        wait_for(|| run(&server.netns, "ss -Hltn sport = :5201"), |printed| printed.contains("LISTEN"))?;
        Ok(Self { kind, client, server, _between: between, _processes: processes, _sockets: sockets })
    }
}

/// A quiet namespace: no IPv6, and room for as many connections as a measurement makes.
pub(crate) fn namespace() -> io::Result<NetnsHandle> {
    let netns = NetnsHandle::anonymous()?;
    netns.enter(|| {
        for which in ["all", "default"] {
            // Absent where the kernel has no IPv6.
            let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
        }
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "10000 65000")
    })??;
    run(&netns, "ip link set lo up")?;
    Ok(netns)
}

/// Joins each host to `between` by a veth pair, whose far ends are called port0 and port1.
fn veths(ends: [&NetnsHandle; 2], between: &NetnsHandle, addresses: [&str; 2]) -> io::Result<()> {
    for n in [0, 1] {
        let far = between.netns();
        run(ends[n], &format!("ip link add {DEVICE} type veth peer name port{n} netns {far}"))?;
        run(ends[n], &format!("ip address add {} dev {DEVICE}", addresses[n]))?;
        run(ends[n], &format!("ip link set {DEVICE} up"))?;
        run(between, &format!("ip link set port{n} up"))?;
    }
    Ok(())
}

fn bridge_config(ends: [&NetnsHandle; 2]) -> String {
    let port = |name: &str, n: usize| tap(&format!("network.lan.port.{name}"), ends[n], L2[n]);
    format!("[network.lan]\nmode = \"internal\"\n{}{}", port("client", 0), port("server", 1))
}

fn packet_config(between: &NetnsHandle) -> String {
    let netns = between.netns();
    let port =
        |device: &str| format!("[network.lan.port.{device}]\ntype = \"packet\"\nnetns = \"{netns}\"\n");
    format!("[network.lan]\nmode = \"internal\"\n{}{}", port("port0"), port("port1"))
}

/// Starts a switch for each host, with a tap there and this port towards the other switch.
fn joined(ends: [&NetnsHandle; 2], ports: &[String; 2]) -> io::Result<Vec<Process>> {
    let switch_of = |n: usize| {
        let tap = tap("network.lan.port.host", ends[n], L2[n]);
        switch(&format!("[network.lan]\nmode = \"internal\"\n{tap}[network.lan.port.other]\n{}", ports[n]))
    };
    (0..2).map(switch_of).collect()
}

fn stream_ports(sockets: &Path) -> [String; 2] {
    let path = sockets.join("stream");
    ["server", "client"]
        .map(|role| format!("type = \"stream\"\npath = \"{}\"\nrole = \"{role}\"\n", path.display()))
}

fn dgram_ports(sockets: &Path) -> [String; 2] {
    let [first, second] = ["dgram0", "dgram1"].map(|name| sockets.join(name));
    [(&first, &second), (&second, &first)].map(|(path, peer)| {
        format!("type = \"dgram\"\npath = \"{}\"\npeer = \"{}\"\n", path.display(), peer.display())
    })
}

fn nat_config(ends: [&NetnsHandle; 2]) -> String {
    format!(
        "[network.lan]\nmode = \"nat\"\naddress = \"{}/24\"\nuplink = \"wan\"\n{}{}address = \"{}/24\"\n",
        ROUTER[0],
        tap("network.lan.port.client", ends[0], NAT[0]),
        tap("uplink.wan", ends[1], NAT[1]),
        ROUTER[1],
    )
}

pub(crate) fn tap(table: &str, netns: &NetnsHandle, address: &str) -> String {
    let netns = netns.netns();
    format!(
        "[{table}]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{netns}\"\npeer-address = \"{address}\"\n"
    )
}

/// Starts the copy loop between the hosts.
fn floor(ends: [&NetnsHandle; 2]) -> io::Result<Process> {
    let [left, right] = ends.map(|end| end.netns().to_string());
    Process::start(Command::new(built("floor")?).args([&left, L2[0], &right, L2[1]]), None)
}

/// Starts tapswitch, built for release, with this configuration.
pub(crate) fn switch(config: &str) -> io::Result<Process> {
    let folder = Folder::new()?;
    let (file, socket) = (folder.0.join("tapswitch.toml"), folder.0.join(CONTROL));
    fs::File::create_new(&file)?.write_all(config.as_bytes())?;
    let mut command = Command::new(built("tapswitch")?);
    command.arg("run").arg("--config").arg(file).arg("--control").arg(socket);
    // Its log would stand between the results; errors at the start go there too, and end it.
    Process::start(&mut command, Some(folder))
}

/// The path of a program that was built together with this one.
fn built(program: &str) -> io::Result<PathBuf> {
    let path = env::current_exe()?.with_file_name(program);
    if path.exists() {
        return Ok(path);
    }
    let path = path.display();
    Err(io::Error::other(format!("{path} is missing; `cargo xtask bench tap` builds it")))
}

/// Starts a program inside a namespace.
pub(crate) fn background(netns: &NetnsHandle, program: &[&str]) -> io::Result<Process> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", netns.netns())).args(program).stdout(Stdio::null());
    Process::start(&mut command, None)
}

/// A program in the background; dropping it ends it.
pub(crate) struct Process {
    child: Child,
    folder: Option<Folder>,
}

impl Process {
    fn start(command: &mut Command, folder: Option<Folder>) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn()?;
        Ok(Self { child, folder })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The control socket, if it is a switch.
    pub(crate) fn control(&self) -> PathBuf {
        self.folder.as_ref().map(|folder| folder.0.join(CONTROL)).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of the run, removed at its end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> io::Result<Self> {
        let mut name = (0..).map(|n| env::temp_dir().join(format!("tapbench-{}-{n}", process::id())));
        let path = name.find(|path| !path.exists()).ok_or(io::ErrorKind::AlreadyExists)?;
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a command inside a namespace and returns what it prints.
pub fn run(netns: &NetnsHandle, line: &str) -> io::Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().ok_or(io::ErrorKind::InvalidInput)?;
    let output = netns.enter(|| Command::new(program).args(words).stdin(Stdio::null()).output())??;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(io::Error::other(format!("`{line}`: {}", String::from_utf8_lossy(&output.stderr))))
}

pub(crate) fn wait_for_ping(from: &NetnsHandle, to: impl Display) -> io::Result<()> {
    wait_for(|| run(from, &format!("ping -n -q -c 1 -W 1 {to}")), |_| true)
}

/// Asks again until the answer is `good`.
pub(crate) fn wait_for(ask: impl Fn() -> io::Result<String>, good: impl Fn(&str) -> bool) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) if good(&answer) => return Ok(()),
            Err(error) if start.elapsed() > START_LIMIT => return Err(error),
            Ok(_) if start.elapsed() > START_LIMIT => return Err(io::ErrorKind::TimedOut.into()),
            _ => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// The control socket's name in the folder of a run.
const CONTROL: &str = "control.sock";
/// How long a subject may take until its hosts reach each other.
const START_LIMIT: Duration = Duration::from_secs(10);

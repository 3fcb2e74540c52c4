//! What is between the two front-ends: tapswitch, or OVS, in a folder and on a processor of its own.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use packet::MacAddr;
use packet::builder::eth;

use super::Middle;
use super::generator::{GATEWAY_MACS, INSIDE, INSIDE_GATEWAY, MACS, NEXT_HOP, OUTSIDE};
use crate::fake_guest::{BASE, Guest};

/// OVS with DPDK; the one on the path may be without.
pub const OVS: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";

/// How long a start may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A running switch with two vhost-user sockets.
pub struct Running {
    processes: Vec<Child>,
    folder: PathBuf,
    sockets: [PathBuf; 2],
}

impl Running {
    /// Starts it on processor 1.
    ///
    /// # Errors
    /// A program is missing or doesn't start.
    pub fn start(middle: Middle) -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("vhostbench-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let sockets = [folder.join("port0"), folder.join("port1")];
        let mut running = Self { processes: Vec::new(), folder, sockets };
        match middle {
            Middle::Ovs => running.start_ovs()?,
            Middle::Switch => running.start_switch(&running.l2_config())?,
            Middle::SwitchNat => {
                running.start_switch(&running.nat_config())?;
                // The front-ends to come answer no ARP.
                announce(&running.sockets[0], MACS[0], INSIDE, INSIDE_GATEWAY);
                announce(&running.sockets[1], MACS[1], NEXT_HOP, OUTSIDE);
            }
        }
        Ok(running)
    }

    /// Where the front-ends connect.
    pub fn sockets(&self) -> [&Path; 2] {
        [&self.sockets[0], &self.sockets[1]]
    }

    fn start_switch(&mut self, config: &str) -> io::Result<()> {
        let [file, control] = ["tapswitch.toml", "control.sock"].map(|name| self.folder.join(name));
        fs::write(&file, config)?;
        let tapswitch = env::current_exe()?.with_file_name("tapswitch");
        let mut command = on_processor_1(&tapswitch);
        command.args(["run", "--config"]).arg(file).arg("--control").arg(control);
        self.spawn(command)?;
        self.wait_for_sockets()
    }

    fn l2_config(&self) -> String {
        let [first, second] = [0, 1].map(|number: usize| vhost_user(&self.sockets[number]));
        format!(
            "[network.n]\nmode = \"internal\"\n[network.n.port.p0]\n{first}[network.n.port.p1]\n{second}{BUSY}"
        )
    }

    fn nat_config(&self) -> String {
        let [inside, outside] = [0, 1].map(|number: usize| vhost_user(&self.sockets[number]));
        let [inside_mac, outside_mac] = GATEWAY_MACS;
        format!(
            "[network.n]\nmode = \"nat\"\nuplink = \"wan\"\naddress = \"{INSIDE_GATEWAY}/24\"\nmac = \"{inside_mac}\"\n\
             [network.n.port.p0]\n{inside}\
             [uplink.wan]\n{outside}address = \"{OUTSIDE}/24\"\ngateway = \"{NEXT_HOP}\"\nmac = \"{outside_mac}\"\n{BUSY}",
        )
    }

    /// OVS with a database of its own: whatever OVS the system runs is not touched.
    fn start_ovs(&mut self) -> io::Result<()> {
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        let [database, socket] = ["conf.db", "db.sock"].map(|name| self.folder.join(name));
        run(Command::new("ovsdb-tool").arg("create").args([&database, Path::new(schema)]))?;
        let mut server = Command::new("ovsdb-server");
        server.arg(&database).arg(format!("--remote=punix:{}", socket.display()));
        self.spawn_ovs(server, "ovsdb")?;
        wait_for("the database", || socket.exists())?;
        let vsctl = |wait: &str, args: &[&str]| {
            let database = format!("--db=unix:{}", socket.display());
            run(Command::new("ovs-vsctl").args([&database, wait]).args(args))
        };
        let switch = "set Open_vSwitch . other_config:dpdk-init=true other_config:dpdk-socket-mem=256 \
                      other_config:dpdk-lcore-mask=0x1 other_config:pmd-cpu-mask=0x2 \
                      other_config:dpdk-extra=--in-memory\\ --no-pci\\ --file-prefix=vhostbench-ovs";
        let words: Vec<String> =
            switch.replace("\\ ", "\u{1}").split(' ').map(|w| w.replace('\u{1}', " ")).collect();
        vsctl("--no-wait", &["init"])?;
        vsctl("--no-wait", &words.iter().map(String::as_str).collect::<Vec<_>>())?;
        // In a network namespace of its own: it makes devices, and leaves them there when it is killed.
        let mut vswitchd = Command::new("unshare");
        vswitchd.arg("--net").arg(OVS).arg(format!("unix:{}", socket.display()));
        self.spawn_ovs(vswitchd, "vswitchd")?;
        vsctl("--timeout=20", &["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"])?;
        for port in ["port0", "port1"] {
            vsctl(
                "--timeout=20",
                &["add-port", "br0", port, "--", "set", "Interface", port, "type=dpdkvhostuser"],
            )?;
        }
        self.wait_for_sockets()
    }

    fn spawn_ovs(&mut self, mut command: Command, name: &str) -> io::Result<()> {
        command.env("OVS_RUNDIR", &self.folder).args(["-vconsole:off", "--pidfile"]);
        command.arg(format!("--unixctl={}", self.folder.join(name).display()));
        self.spawn(command)
    }

    fn spawn(&mut self, mut command: Command) -> io::Result<()> {
        let log = fs::File::create(self.folder.join(format!("log{}", self.processes.len())))?;
        self.processes.push(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        Ok(())
    }

    fn wait_for_sockets(&self) -> io::Result<()> {
        wait_for("the sockets", || self.sockets.iter().all(|socket| socket.exists()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            // Both fail only if it is gone already.
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const BUSY: &str = "[engine]\npoll = \"busy\"\n";

fn vhost_user(path: &Path) -> String {
    format!("type = \"vhost-user\"\npath = \"{}\"\n", path.display())
}

/// Has the switch learn that `address` is at `mac`, by a front-end that asks for `gateway` from there.
fn announce(socket: &Path, mac: MacAddr, address: Ipv4Addr, gateway: Ipv4Addr) {
    const REQUEST: u16 = 1;
    let target = (MacAddr::ZERO, gateway);
    let frame = eth().src(mac).dst(MacAddr::BROADCAST).arp(REQUEST, (mac, address), target);
    let mut guest = Guest::connect(socket);
    guest.start(BASE, 2);
    guest.fill(0, 16);
    let start = Instant::now();
    while guest.receive(0).is_none() && start.elapsed() < LIMIT {
        guest.send(1, &[0; 12], &frame);
        guest.kick(1);
        thread::sleep(Duration::from_millis(50));
    }
}

fn on_processor_1(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", "1"]).arg(program);
    command
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))))
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) -> io::Result<()> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > LIMIT {
            return Err(io::Error::other(format!("{what}: not there after {LIMIT:?}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

//! A host of the test: a network namespace without a name, which lives as long as the value does.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use packet::MacAddr;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The name of every host's network device. Hosts don't see each other's devices, so one name does for all.
pub const DEVICE: &str = "eth0";

/// How long a command may take, in seconds.
const COMMAND_LIMIT: &str = "60";

/// A network namespace. It is held by a child process that ends when our end of its pipe closes, so it
/// vanishes even if the test is killed. As text it is that process' id, as the configuration's `netns` takes it.
#[derive(Clone)]
pub struct Host(Arc<Namespace>);

struct Namespace {
    holder: Child,
    netns: File,
}

impl Host {
    /// A host with loopback up and IPv6 off, so that it sends nothing unasked.
    pub fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        // `cat` answers once the namespace exists.
        let echo = |holder: &mut Child| {
            holder.stdin.as_mut()?.write_all(b"\n").ok()?;
            holder.stdout.as_mut()?.read_exact(&mut [0]).ok()
        };
        echo(&mut holder).expect("making a network namespace works; it needs root or a user namespace");
        let netns = File::open(format!("/proc/{}/ns/net", holder.id())).expect("the holder lives");
        let host = Self(Arc::new(Namespace { holder, netns }));
        host.enter(|| {
            for which in ["all", "default"] {
                // Absent where the kernel has no IPv6.
                let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
            }
        });
        host.run("ip link set lo up");
        host
    }

    /// Calls `f` on a thread inside the namespace. A socket made there stays there, whoever uses it.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            move_into_link_name_space(self.0.netns.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("setns works");
            f()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// `program` to be run inside the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{self}/ns/net")).arg(program);
        command
    }

    /// Runs a command to its end. `Err` has what it printed.
    pub fn try_run(&self, command: &str) -> Result<String, String> {
        let output = self
            .command("timeout")
            .args(["--kill-after=1", COMMAND_LIMIT])
            .args(command.split_whitespace())
            .stdin(Stdio::null())
            .output()
            .expect("nsenter runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(format!("`{command}`: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr)))
        }
    }

    /// Runs a command that must succeed, and returns what it printed.
    #[track_caller]
    pub fn run(&self, command: &str) -> String {
        self.try_run(command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a command that goes on until the returned guard is dropped.
    pub fn start(&self, command: &str) -> Background {
        let child = self
            .command("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(command.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Background(child.expect("nsenter runs"))
    }

    /// Gives the host's device an address such as `10.0.0.1/24`.
    #[track_caller]
    pub fn address(&self, address: &str) {
        self.run(&format!("ip address add {address} dev {DEVICE}"));
    }

    /// Sets the host's default route.
    #[track_caller]
    pub fn gateway(&self, gateway: &str) {
        self.run(&format!("ip route add default via {gateway}"));
    }

    /// A ping must be answered within three seconds.
    #[track_caller]
    pub fn ping(&self, target: &str) {
        self.run(&format!("ping -n -c 1 -W 3 {target}"));
    }

    /// Pings must not be answered.
    #[track_caller]
    pub fn cannot_ping(&self, target: &str) {
        let answered = self.try_run(&format!("ping -n -c 2 -i 0.2 -W 1 {target}"));
        assert!(answered.is_err(), "{target} answered: {answered:?}");
    }

    /// The MAC address of the host's device.
    #[track_caller]
    pub fn mac(&self) -> String {
        self.device_file("address")
    }

    /// The MAC address of `address`, from the ARP table: somebody must have been in touch with it.
    #[track_caller]
    pub fn neighbour_mac(&self, address: &str) -> MacAddr {
        let json = self.run(&format!("ip -j neighbour show {address}"));
        let list: serde_json::Value = serde_json::from_str(&json).expect("ip prints JSON");
        list[0]["lladdr"].as_str().expect("it was asked for").parse().expect("a MAC address")
    }

    /// A counter of the host's device, such as `rx_packets`.
    #[track_caller]
    pub fn statistic(&self, name: &str) -> u64 {
        let json = self.run(&format!("ip -j -s link show dev {DEVICE}"));
        let links: serde_json::Value = serde_json::from_str(&json).expect("ip prints JSON");
        let (direction, field) = name.split_once('_').expect("a name such as rx_packets");
        links[0]["stats64"][direction][field].as_u64().expect("a counter")
    }

    #[track_caller]
    fn device_file(&self, name: &str) -> String {
        let json = self.run(&format!("ip -j link show dev {DEVICE}"));
        let links: serde_json::Value = serde_json::from_str(&json).expect("ip prints JSON");
        links[0][name].as_str().expect("a text").to_owned()
    }
}

/// Whether we are root of a user namespace only. The kernel lets nobody there load the programs that keep the host off
/// a packet port's device: tests of such ports have to be passed over.
pub fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let inside = map.split_whitespace().nth(2).is_some_and(|count| count != "4294967295");
    if inside {
        println!("passed over: in a user namespace");
    }
    inside
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.holder.id())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        end(&mut self.holder);
    }
}

/// A command in the background; dropping it ends the command.
pub struct Background(pub Child);

impl Drop for Background {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

fn end(child: &mut Child) {
    // Both fail only if it is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

//! The process under test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use serde_json::Value;

use crate::host::{DEVICE, Host};

/// The binary under test.
const TAPSWITCH: &str = env!("CARGO_BIN_EXE_tapswitch");

/// How long start and end may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(20);

/// The line on standard error that says that every port is up.
const READY: &str = "ready";

/// A running `tapswitch run`. Its log is printed if the test fails.
pub struct Switch {
    child: Child,
    folder: Folder,
    host: Host,
}

/// The table of a tap port: `host`'s device is the other side.
pub fn tap(network: &str, name: &str, host: &Host) -> String {
    format!("[network.{network}.port.{name}]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{host}\"\n")
}

impl Switch {
    /// Starts the switch, in a namespace of its own, and waits until every port is up.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Self::start_on(&Host::new(), config)
    }

    /// As [`Switch::start`], in the namespace of `host`.
    #[track_caller]
    pub fn start_on(host: &Host, config: &str) -> Self {
        let folder = Folder::new();
        fs::write(folder.config(), config).expect("the folder exists");
        let mut switch = Self { child: spawn(host, &folder, folder.log_file()), folder, host: host.clone() };
        switch.wait_until_ready();
        switch
    }

    /// As [`Switch::start_on`]; `etc` is the switch's `/etc`.
    #[track_caller]
    pub fn start_with_etc(host: &Host, config: &str, etc: &Path) -> Self {
        let folder = Folder::new();
        fs::write(folder.config(), config).expect("the folder exists");
        let mut command = host.command("unshare");
        let mount = format!("mount --bind {} /etc && exec setpriv --pdeathsig KILL \"$@\"", etc.display());
        command.args(["--mount", "sh", "-c", &mount, "sh", TAPSWITCH, "run"]);
        arguments(&mut command, &folder).stderr(folder.log_file());
        let mut switch = Self { child: command.spawn().expect("nsenter runs"), folder, host: host.clone() };
        switch.wait_until_ready();
        switch
    }

    /// As [`Switch::start`], with what `how` adds to the command.
    #[track_caller]
    pub fn start_as(config: &str, how: impl FnOnce(&mut Command)) -> Self {
        let (host, folder) = (Host::new(), Folder::new());
        fs::write(folder.config(), config).expect("the folder exists");
        let mut command = run(&host, &folder);
        how(command.stderr(folder.log_file()));
        let mut switch = Self { child: command.spawn().expect("nsenter runs"), folder, host };
        switch.wait_until_ready();
        switch
    }

    /// As [`Switch::start`], with another standard error than its log file: it is ready when it answers.
    #[track_caller]
    pub fn start_telling(config: &str, stderr: impl Into<Stdio>) -> Self {
        Self::start_telling_as(config, stderr, |_| {})
    }

    /// As [`Switch::start_telling`], with what `how` adds to the command.
    #[track_caller]
    pub fn start_telling_as(config: &str, stderr: impl Into<Stdio>, how: impl FnOnce(&mut Command)) -> Self {
        let (host, folder) = (Host::new(), Folder::new());
        fs::write(folder.config(), config).expect("the folder exists");
        let mut command = run(&host, &folder);
        how(command.stderr(stderr.into()));
        let switch = Self { child: command.spawn().expect("nsenter runs"), folder, host };
        wait_until("the switch answers", || switch.command(&["show", "stats"]).status.success());
        switch
    }

    /// Ends the switch without warning, as a crash would, and starts it again with the same configuration.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// Ends the switch without warning, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    /// Starts the switch again, after it has ended, with the same configuration.
    #[track_caller]
    pub fn restart(&mut self) {
        self.child = spawn(&self.host, &self.folder, self.folder.log_file());
        self.wait_until_ready();
    }

    #[track_caller]
    fn wait_until_ready(&mut self) {
        wait_until("the switch is ready", || {
            let ended = self.child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "the switch ended at start: {ended:?}");
            self.log().contains(READY)
        });
    }

    /// Runs `tapswitch ARGS` against this switch.
    pub fn command(&self, args: &[&str]) -> Output {
        tapswitch(&[args, &["--control", self.control().to_str().expect("ASCII")]].concat())
    }

    /// What `tapswitch show WHAT --json` shows; of a table that may be shown in part, its entries.
    #[track_caller]
    pub fn show(&self, what: &str) -> Value {
        let output = self.command(&["show", what, "--json"]);
        assert!(output.status.success(), "show {what}: {}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).expect("show --json prints JSON");
        answer[what].get("entries").unwrap_or(&answer[what]).clone()
    }

    /// Writes another configuration and makes the switch load it.
    pub fn reload(&self, config: &str) -> Output {
        self.write_config(config);
        self.command(&["reload"])
    }

    /// Writes another configuration, of which the switch doesn't know yet.
    pub fn write_config(&self, config: &str) {
        fs::write(self.folder.config(), config).expect("the folder exists");
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.log()).unwrap_or_default()
    }

    /// The path of its configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.config()
    }

    /// The path of its control socket.
    pub fn control(&self) -> PathBuf {
        self.folder.control()
    }

    /// Where it keeps leases.
    pub fn leases(&self) -> PathBuf {
        self.folder.leases()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, and returns how the process ended.
    #[track_caller]
    pub fn signal(&mut self, signal: rustix::process::Signal) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
        let mut status = None;
        wait_until("the switch ends", || {
            status = self.child.try_wait().expect("it is ours");
            status.is_some()
        });
        status.expect("waited for")
    }

    /// Sends SIGTERM; the switch must end cleanly.
    #[track_caller]
    pub fn terminate(mut self) {
        let status = self.signal(rustix::process::Signal::TERM);
        assert!(status.success(), "after SIGTERM: {status}");
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the switch\n{}---", self.log());
        }
    }
}

fn spawn(host: &Host, folder: &Folder, stderr: Stdio) -> Child {
    run(host, folder).stderr(stderr).spawn().expect("nsenter runs")
}

fn run(host: &Host, folder: &Folder) -> Command {
    let mut command = host.command("setpriv");
    command.args(["--pdeathsig", "KILL", TAPSWITCH, "run"]);
    arguments(&mut command, folder);
    command
}

/// What `run` needs.
fn arguments<'a>(command: &'a mut Command, folder: &Folder) -> &'a mut Command {
    command.arg("--config").arg(folder.config());
    command.arg("--control").arg(folder.control());
    // As systemd does: what outlasts the process is this test's own.
    command.env("STATE_DIRECTORY", folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null())
}

/// Runs `tapswitch ARGS` to its end, at most a minute.
pub fn tapswitch(args: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", "60", TAPSWITCH]).args(args).stdin(Stdio::null());
    command.output().expect("timeout runs")
}

/// As [`tapswitch`], in the namespace of `host`.
pub fn tapswitch_on(host: &Host, args: &[&str]) -> Output {
    let mut command = host.command("timeout");
    command.args(["--kill-after=1", "60", TAPSWITCH]).args(args).stdin(Stdio::null());
    command.output().expect("nsenter runs")
}

/// Waits until `condition` holds; fails the test if it takes too long.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "not in {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A folder that is removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// An empty folder.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("tapswitch-test-{}-{number}", process::id()));
        fs::create_dir(&path).expect("nobody else has this name");
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the configuration is.
    pub fn config(&self) -> PathBuf {
        self.0.join("tapswitch.toml")
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    fn leases(&self) -> PathBuf {
        self.0.join("tapswitch.leases")
    }

    fn log_file(&self) -> Stdio {
        fs::File::create(self.log()).expect("the folder exists").into()
    }

    fn control(&self) -> PathBuf {
        self.0.join("control.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

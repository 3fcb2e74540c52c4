//! The switch as a service: what it tells its manager, and where its number and its log go.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::host::Host;
use crate::switch::{Folder, Switch, tap, wait_until};

/// A manager's socket.
struct Manager {
    socket: UnixDatagram,
    folder: Folder,
}

impl Manager {
    fn new() -> Self {
        let folder = Folder::new();
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("nothing is there");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("it is a socket");
        Self { socket, folder }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("notify")
    }

    fn next(&self) -> String {
        let mut buffer = [0; 1024];
        let len = self.socket.recv(&mut buffer).expect("the switch tells something");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    /// The next one that is no sign of life.
    fn next_state(&self) -> String {
        loop {
            let told = self.next();
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }
}

#[test]
fn the_manager_hears_of_start_reload_and_end_and_the_log_says_the_same() {
    let (manager, a) = (Manager::new(), Host::new());
    let config = format!("[network.lan]\nmode = \"internal\"\n{}", tap("lan", "a", &a));
    let mut switch = Switch::start_as(&config, |command| {
        command.env("NOTIFY_SOCKET", manager.path());
    });
    assert_eq!(manager.next(), "READY=1\nSTATUS=1 of 1 port is up");
    // As `systemctl reload` has it, and by the switch's own command.
    let by_signal = || {
        let pid = rustix::process::Pid::from_raw(switch.pid().cast_signed()).expect("it runs");
        rustix::process::kill_process(pid, Signal::HUP).expect("it runs");
    };
    let by_command = || assert!(switch.command(&["reload"]).status.success());
    for reload in [&by_signal as &dyn Fn(), &by_command] {
        reload();
        let told = manager.next();
        assert!(told.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told}");
        assert!(manager.next().starts_with("READY=1\n"));
    }
    switch.write_config("[network.lan]\nmode = \"nonsense\"\n");
    by_signal();
    assert!(manager.next().starts_with("RELOADING=1\n"));
    assert!(manager.next().starts_with("READY=1\n"), "a reload that fails ends, too");
    assert!(switch.signal(Signal::TERM).success());
    assert!(manager.next().starts_with("STOPPING=1\n"));
}

#[test]
fn signs_of_life_come_as_often_as_the_manager_asks_for_while_nothing_happens() {
    let manager = Manager::new();
    let switch = Switch::start_as("[network.lan]\nmode = \"internal\"\n", |command| {
        command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "200000");
    });
    let mut signs = 0;
    while signs < 5 {
        signs += usize::from(manager.next() == "WATCHDOG=1");
    }
    switch.terminate();
}

#[test]
fn a_switch_that_is_stuck_gives_no_sign_of_life() {
    let manager = Manager::new();
    let mut switch = Switch::start_as("[network.lan]\nmode = \"internal\"\n", |command| {
        command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "200000");
    });
    let pid = rustix::process::Pid::from_raw(switch.pid().cast_signed()).expect("it runs");
    rustix::process::kill_process(pid, Signal::STOP).expect("it runs");
    manager.socket.set_read_timeout(Some(Duration::from_secs(1))).expect("it is a socket");
    // What was told before it stopped.
    while manager.socket.recv(&mut [0; 64]).is_ok() {}
    assert!(manager.socket.recv(&mut [0; 64]).is_err());
    rustix::process::kill_process(pid, Signal::CONT).expect("it runs");
    manager.socket.set_read_timeout(Some(Duration::from_secs(20))).expect("it is a socket");
    assert_eq!(manager.next(), "WATCHDOG=1");
    assert!(switch.signal(Signal::TERM).success());
    assert!(manager.next_state().starts_with("STOPPING=1\n"));
}

#[test]
fn the_pid_file_has_the_processs_number_as_long_as_it_runs() {
    let folder = Folder::new();
    let path = folder.path().join("tapswitch.pid");
    fs::write(&path, "1\n").expect("the folder is there");
    let switch = Switch::start_as("[network.lan]\nmode = \"internal\"\n", |command| {
        command.arg("--pid-file").arg(&path);
    });
    assert_eq!(fs::read_to_string(&path).expect("it is there"), format!("{}\n", switch.pid()));
    switch.terminate();
    assert!(!path.exists());
}

#[test]
fn the_journal_gets_priorities_instead_of_times() {
    let (a, log) = (Host::new(), Folder::new());
    let file = fs::File::create(log.path().join("stream")).expect("the folder is there");
    let found = file.metadata().expect("it is open");
    let config = format!("[network.lan]\nmode = \"internal\"\n{}", tap("lan", "a", &a));
    let stream = format!("{}:{}", found.dev(), found.ino());
    let path = log.path().join("stream");
    let switch = Switch::start_telling_as(&config, file, |command| {
        command.env("JOURNAL_STREAM", stream);
    });
    let text = || fs::read_to_string(&path).expect("it is there");
    wait_until("it is ready", || text().contains("<6>tapswitch: ready, 1 of 1 port is up\n"));
    switch.terminate();
    assert!(text().lines().all(|line| line.starts_with("<6>") || line.starts_with("<4>")), "{}", text());
}

/// What `systemd-analyze verify` says of the unit, with this drop-in.
fn verify(drop_in: Option<&str>) -> String {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist");
    let (folder, program) = (Folder::new(), "/usr/bin/tapswitch");
    let unit = fs::read_to_string(dist.join("tapswitch.service")).expect("it is there");
    assert!(unit.contains(program));
    // The program that is looked for is the one under test.
    let path = folder.path().join("tapswitch.service");
    fs::write(&path, unit.replace(program, env!("CARGO_BIN_EXE_tapswitch"))).expect("the folder is there");
    if let Some(drop_in) = drop_in {
        let beside = folder.path().join("tapswitch.service.d");
        fs::create_dir(&beside).expect("the folder is there");
        fs::copy(dist.join(drop_in), beside.join(drop_in)).expect("it is there");
    }
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
    let output = output.expect("systemd-analyze runs");
    // What is wrong with the machine's own units is not asked.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.lines().filter(|line| line.contains("tapswitch") && !line.contains(NOT_KNOWN)).collect()
}

/// Before systemd 253.
const NOT_KNOWN: &str = "Failed to parse service type, ignoring: notify-reload";

#[test]
fn systemd_understands_the_unit_and_the_drop_in_for_libvirt() {
    assert_eq!(verify(None), "");
    assert_eq!(verify(Some("libvirt.conf")), "");
}

#[test]
fn systemd_understands_the_user_and_the_folders() {
    let (dist, root) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("dist"), Folder::new());
    let make = |program: &str, arguments: &[&str], file: &str| {
        let output = Command::new(program)
            .args(arguments)
            .arg(format!("--root={}", root.path().display()))
            .arg(dist.join(file))
            .output()
            .expect("systemd has it");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program}: {said}");
    };
    fs::create_dir(root.path().join("etc")).expect("the folder is there");
    make("systemd-sysusers", &[], "sysusers.conf");
    let groups = fs::read_to_string(root.path().join("etc/group")).expect("it was made");
    assert!(groups.contains("tapswitch:") && groups.contains("tapswitch-guests:"), "{groups}");
    make("systemd-tmpfiles", &["--create"], "tmpfiles.conf");
    let found = fs::metadata(root.path().join("run/tapswitch-guests")).expect("it was made");
    assert_eq!(found.mode() & 0o7777, 0o2770);
}

//! The process: start, end, reload, the control socket, and what it costs when nothing happens.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::host::{DEVICE, Host};
use crate::switch::{Folder, Switch, tap, tapswitch, wait_until};
use crate::traffic::{TcpServer, try_connect};

fn two_guests() -> (Host, Host, Switch) {
    let (a, b) = (Host::new(), Host::new());
    let switch = Switch::start(&config(&[("a", &a), ("b", &b)]));
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    (a, b, switch)
}

fn config(ports: &[(&str, &Host)]) -> String {
    let ports: String = ports.iter().map(|(name, host)| tap("lan", name, host)).collect();
    format!("[network.lan]\nmode = \"internal\"\n{ports}")
}

/// Whether the host has its device.
fn has_device(host: &Host) -> bool {
    host.try_run(&format!("ip link show dev {DEVICE}")).is_ok()
}

#[test]
fn sigterm_and_sigint_end_it_cleanly_and_leave_no_device_and_no_socket() {
    for signal in [Signal::TERM, Signal::INT] {
        let (a, b, mut switch) = two_guests();
        a.ping("10.1.0.2");
        assert!(switch.control().exists());
        let status = switch.signal(signal);
        assert!(status.success(), "{signal:?}: {status}");
        assert!(!has_device(&a) && !has_device(&b));
        assert!(!switch.control().exists());
    }
}

#[test]
fn folders_that_were_made_for_sockets_go_at_the_end_unless_they_hold_more() {
    let (folder, host) = (Folder::new(), Host::new());
    let at = |place: &str| folder.path().join(place);
    let port = |name: &str, place: &str| {
        let path = at(place);
        format!("[network.lan.port.{name}]\ntype = \"vhost-user\"\npath = \"{}\"\n", path.display())
    };
    let config = format!(
        "[network.lan]\nmode = \"internal\"\n{}{}{}{}",
        port("a", "guests/deep/a.sock"),
        port("b", "guests/b.sock"),
        port("c", "full/c.sock"),
        port("d", "there/d.sock")
    );
    fs::write(folder.config(), &config).expect("the folder exists");
    fs::create_dir(at("there")).expect("it is ours");
    let control = at("run/tapswitch/control.sock");
    let mut command = host.command("setpriv");
    command
        .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_tapswitch"), "run", "--config"])
        .arg(folder.config());
    command.arg("--control").arg(&control).stderr(std::process::Stdio::null());
    let mut switch = command.spawn().expect("nsenter runs");
    wait_until("it listens", || control.exists());
    assert!(at("guests/deep/a.sock").exists());
    fs::write(at("full/notes"), "").expect("it is there");
    let pid = rustix::process::Pid::from_child(&switch);
    rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
    assert!(switch.wait().expect("it is ours").success());
    let left = |place: &str| at(place).exists();
    assert!(!left("guests") && !left("run"), "made, and empty");
    assert!(left("full/notes") && !left("full/c.sock"));
    assert!(left("there") && !left("there/d.sock"));
}

#[test]
fn a_persistent_tap_is_used_and_stays_when_the_switch_ends() {
    let (host, guest) = (Host::new(), Host::new());
    host.run("ip tuntap add mode tap name tap7 vnet_hdr");
    let config = format!("{}[network.lan.port.tap7]\ntype = \"tap\"\n", config(&[("a", &guest)]));
    let switch = Switch::start_on(&host, &config);
    guest.address("10.1.0.1/24");
    host.run("ip address add 10.1.0.2/24 dev tap7");
    guest.ping("10.1.0.2");
    switch.terminate();
    host.run("ip link show dev tap7");
    assert!(!has_device(&guest), "the device that the switch made is gone");
}

#[test]
fn after_kill_9_it_starts_again_and_works() {
    let (a, b, mut switch) = two_guests();
    a.ping("10.1.0.2");
    switch.kill_and_restart();
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    a.ping("10.1.0.2");
    switch.terminate();
}

#[test]
fn a_second_process_with_the_same_control_socket_is_refused_and_does_no_harm() {
    let (a, _b, switch) = two_guests();
    let folder = Folder::new();
    fs::write(folder.config(), "[network.other]\nmode = \"internal\"\n").expect("the folder exists");
    let (config, control) = (folder.config(), switch.control());
    let paths = [config, control].map(|path| path.to_str().expect("ASCII").to_owned());
    let output = tapswitch(&["run", "--config", &paths[0], "--control", &paths[1]]);
    assert!(!output.status.success());
    a.ping("10.1.0.2");
    assert_eq!(switch.show("ports").as_array().map(Vec::len), Some(2));
}

#[test]
fn a_wrong_configuration_exits_2_with_file_line_and_column_and_what_to_write() {
    let folder = Folder::new();
    let text = "[network.lan]\nmode = \"internat\"\n";
    fs::write(folder.config(), text).expect("the folder exists");
    let path = folder.config();
    let path = path.to_str().expect("ASCII");
    for args in [&["check", path][..], &["run", "--config", path]] {
        let output = tapswitch(args);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{printed}");
        assert!(printed.contains(&format!("{path}:2:8")), "{printed}");
        assert!(printed.contains("internal"), "it says what to write: {printed}");
    }
}

#[test]
fn a_file_that_is_missing_or_in_another_encoding_exits_2_with_a_remedy_that_exists() {
    let folder = Folder::new();
    let path = folder.path().join("nope.toml");
    let path = path.to_str().expect("ASCII");
    let said = |expected: &str| {
        let output = tapswitch(&["check", path]);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{printed}");
        assert!(printed.contains(expected) && !printed.contains("--config"), "{printed}");
    };
    said("No such file or directory (os error 2); write it, or name another file");
    fs::write(path, b"[network.lan]\nmode = \"internal\" # caf\xe9\n").expect("the folder exists");
    said("save the file as UTF-8");
    fs::write(path, b"\xff\xfe[\0n\0]\0\n\0").expect("the folder exists");
    said("iconv -f UTF-16 -t UTF-8");
}

#[test]
fn reload_adds_and_removes_ports_while_others_go_on() {
    let (a, b, c) = (Host::new(), Host::new(), Host::new());
    let switch = Switch::start(&config(&[("a", &a), ("b", &b)]));
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    let pings = a.start("ping -n -q -i 0.05 10.1.0.2");
    let output = switch.reload(&config(&[("a", &a), ("b", &b), ("c", &c)]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    c.address("10.1.0.3/24");
    a.ping("10.1.0.3");
    let output = switch.reload(&config(&[("a", &a), ("b", &b)]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_until("the device is gone", || !has_device(&c));
    a.ping("10.1.0.2");
    assert_eq!(switch.show("ports").as_array().map(Vec::len), Some(2));
    drop(pings);
}

#[test]
fn a_reload_that_fails_changes_nothing_and_says_why() {
    let (a, _b, switch) = two_guests();
    a.ping("10.1.0.2");
    let output = switch.reload("[network.lan]\nmode = \"internal\"\nspeed = 3\n");
    assert!(!output.status.success());
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains(":3:1") && printed.contains("speed"), "{printed}");
    a.ping("10.1.0.2");
    assert_eq!(switch.show("ports").as_array().map(Vec::len), Some(2));
}

#[test]
fn a_reload_that_publishes_a_port_leaves_connections_alone() {
    let (guest, outside) = (Host::new(), Host::new());
    let config = |publish: &str| {
        format!(
            "[network.lan]\nmode = \"nat\"\naddress = \"10.1.0.1/24\"\nuplink = \"wan\"\npublish = [{publish}]\n{}\
             [uplink.wan]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{outside}\"\naddress = \"10.2.0.1/24\"\n",
            tap("lan", "guest", &guest)
        )
    };
    let switch = Switch::start(&config(""));
    guest.address("10.1.0.2/24");
    guest.gateway("10.1.0.1");
    outside.address("10.2.0.2/24");
    let far = outside.enter(|| TcpListener::bind("10.2.0.2:80")).expect("the address is there");
    let mut near = try_connect(&guest, "10.2.0.2:80").expect("masquerade works");
    let (mut far, _) = far.accept().expect("it connected");
    let output = switch.reload(&config("\"8080:10.1.0.2:80/tcp\""));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    TcpServer::listen(&guest, "10.1.0.2:80").exchange(&outside, "10.2.0.1:8080", 1 << 16);
    far.set_read_timeout(Some(Duration::from_secs(3))).expect("more than zero");
    near.write_all(b"still there").expect("the connection lives");
    let mut heard = [0; 11];
    far.read_exact(&mut heard).expect("the connection lives");
    assert_eq!(&heard, b"still there");
}

#[test]
fn every_part_of_the_state_is_shown_to_people_and_to_programs() {
    let (a, _b, switch) = two_guests();
    a.ping("10.1.0.2");
    for what in ["ports", "fdb", "flows", "nat", "leases", "drops", "stats"] {
        assert!(!switch.show(what).is_null());
        let output = switch.command(&["show", what]);
        assert!(output.status.success() && !output.stdout.is_empty(), "show {what}: {output:?}");
    }
}

#[test]
fn control_clients_that_send_junk_or_hang_disturb_nobody() {
    let (a, _b, switch) = two_guests();
    let connect = || UnixStream::connect(switch.control()).expect("the socket is there");
    let mode = fs::metadata(switch.control()).expect("the socket is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Connected and silent.
    let hanging: Vec<_> = (0..20).map(|_| connect()).collect();
    // Half a line, and then nothing.
    let mut half = connect();
    half.write_all(b"{\"show\":").expect("it reads");
    // Lines that aren't what it wants, one without an end.
    for junk in
        [&b"\n\n\n"[..], b"hello\n", b"{}\n", b"[1,2]\n", b"\xff\xfe\x00\n", b"{\"show\":\"everything\"}\n"]
    {
        let mut client = connect();
        client.write_all(junk).expect("it reads");
        client.set_read_timeout(Some(Duration::from_millis(500))).expect("more than zero");
        // An error message, or the end; that it goes on is what counts.
        let _ = client.read(&mut [0; 4096]);
    }
    let mut endless = connect();
    endless.set_write_timeout(Some(Duration::from_secs(2))).expect("more than zero");
    // It may stop reading or close, but must not keep it all.
    for _ in 0..64 {
        if endless.write_all(&[b'x'; 1 << 20]).is_err() {
            break;
        }
    }
    assert!(resident(&switch) < 60 << 20, "{} bytes resident", resident(&switch));
    assert_eq!(switch.show("ports").as_array().map(Vec::len), Some(2));
    a.ping("10.1.0.2");
    drop((hanging, half));
    switch.terminate();
}

#[test]
fn it_is_small_at_start_and_uses_no_processor_when_idle() {
    let (a, _b, switch) = two_guests();
    assert!(resident(&switch) <= 30 << 20, "{} bytes resident", resident(&switch));
    a.ping("10.1.0.2");
    // What the ping caused, ARP's second thoughts included, is over by then.
    thread::sleep(Duration::from_secs(2));
    let before = processor_ticks(&switch);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(processor_ticks(&switch) - before, 0, "ticks of 10 ms in 3 s");
}

/// Bytes of memory the process has resident.
fn resident(switch: &Switch) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", switch.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux has it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// User and system time, in clock ticks.
fn processor_ticks(switch: &Switch) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", switch.pid())).expect("it runs");
    let fields = stat.rsplit_once(") ").expect("the name is in parentheses").1;
    // proc_pid_stat(5): fields 14 and 15; the first one here is the third.
    fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

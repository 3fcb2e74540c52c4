//! What isn't packets keeps no packet waiting: the switch itself tells the longest pause.
//!
//! It may be 5 ms, and is below 1 ms on a machine that does nothing else. What is built for tests is slower, and tests run side
//! by side: there the bound is five times that, and still less than each of these took when packets waited for it.

use std::fmt::Write;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::host::Host;
use crate::nat::Lab;
use crate::switch::{Folder, Switch, tap, tapswitch, wait_until};

const LONGEST: Duration = Duration::from_millis(if cfg!(debug_assertions) { 25 } else { 5 });
const MODE: &str = "[network.lan]\nmode = \"internal\"\n";

#[track_caller]
pub fn paused_for_moments_only(switch: &Switch) {
    let pause = switch.show("stats")["longest_pause_us"].as_u64().map(Duration::from_micros);
    assert!(pause.is_some_and(|pause| pause > Duration::ZERO && pause < LONGEST), "{pause:?}");
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
}

#[test]
fn what_is_no_file_is_refused_at_once_as_a_configuration_by_check_run_and_reload() {
    let [a, b] = [Host::new(), Host::new()];
    let switch = Switch::start(&format!("{MODE}{}{}", tap("lan", "a", &a), tap("lan", "b", &b)));
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    let refused = |args: &[&str]| {
        let output = if args == ["reload"] { switch.command(args) } else { tapswitch(args) };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        said
    };
    let folder = Folder::new();
    make_fifo(&folder.config());
    for path in [&*folder.config(), Path::new("/dev/zero")] {
        let path = path.to_str().expect("ASCII");
        for args in [&["check", path][..], &["run", "--config", path]] {
            let said = refused(args);
            assert!(said.contains("is no file, but a pipe, a device or a socket; name a file"), "{said}");
        }
    }
    let config = switch.config();
    fs::remove_file(&config).expect("it is there");
    make_fifo(&config);
    assert!(refused(&["reload"]).contains("a pipe"));
    fs::remove_file(&config).expect("it is there");
    fs::create_dir(&config).expect("nothing is there");
    assert!(refused(&["reload"]).contains("directory"));
    fs::remove_dir(&config).expect("it is empty");
    fs::File::create(&config).and_then(|file| file.set_len(10 << 30)).expect("a sparse file");
    assert!(refused(&["reload"]).contains("longer than 4194304 bytes"));
    a.ping("10.1.0.2");
    paused_for_moments_only(&switch);
    switch.terminate();
}

#[test]
fn reading_tens_of_thousands_of_sections_keeps_no_packet_waiting() {
    let [a, b] = [Host::new(), Host::new()];
    let mut config = format!("{MODE}{}{}", tap("lan", "a", &a), tap("lan", "b", &b));
    let switch = Switch::start(&config);
    for n in 0..60_000 {
        writeln!(config, "[network.lan.port.p{n}]\ntype = \"dgram\"").expect("memory");
    }
    thread::scope(|scope| {
        let reload = scope.spawn(|| switch.reload(&config));
        // Somebody else is answered meanwhile.
        while !reload.is_finished() {
            switch.show("stats");
        }
        assert_eq!(reload.join().expect("no panic").status.code(), Some(2));
    });
    paused_for_moments_only(&switch);
    switch.terminate();
}

#[test]
fn changes_that_come_while_one_is_made_are_made_in_their_order_and_all_are_answered() {
    let [a, b] = [Host::new(), Host::new()];
    let config = |name: &str| format!("{MODE}{}{}", tap("lan", "a", &a), tap("lan", name, &b));
    let switch = Switch::start(&config("b"));
    fs::write(switch.config(), config("c")).expect("the folder exists");
    thread::scope(|scope| {
        let ask = |args: &'static [&'static str]| scope.spawn(|| switch.command(args));
        let asked: Vec<_> = (0..4)
            .flat_map(|_| {
                [
                    ask(&["reload"]),
                    ask(&["port", "add", "lan/d", "type=dgram", "path=/dev/shm/none", "connect=/dev/shm/no"]),
                ]
            })
            .collect();
        for asked in asked {
            let output = asked.join().expect("no panic");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                !said.contains("too busy") && output.status.code().is_some_and(|code| code != 124),
                "{said}"
            );
        }
    });
    assert!(switch.command(&["reload"]).status.success());
    let ports = switch.show("ports");
    let names: Vec<&str> =
        ports.as_array().into_iter().flatten().filter_map(|port| port["name"].as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    switch.terminate();
}

#[test]
fn hundreds_of_missing_devices_keep_no_packet_waiting_and_are_taken_when_they_come() {
    let [a, b, later] = [Host::new(), Host::new(), Host::new()];
    let mut config = format!("{MODE}{}{}", tap("lan", "a", &a), tap("lan", "b", &b));
    for n in 0..500 {
        writeln!(
            config,
            "[network.lan.port.m{n}]\ntype = \"packet\"\ndevice = \"m{n}\"\nnetns = \"{later}\""
        )
        .expect("memory");
    }
    let switch = Switch::start(&config);
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    for _ in 0..3 {
        a.ping("10.1.0.2");
        thread::sleep(Duration::from_secs(1));
    }
    paused_for_moments_only(&switch);
    later.run("ip link add m77 type veth peer name inside");
    later.run("ip link set m77 up");
    later.run("ip link set inside up");
    let is_up = |name: &str| {
        let ports = switch.show("ports");
        ports.as_array().into_iter().flatten().any(|port| port["name"] == name && port["link"] == true)
    };
    wait_until("the device that came is taken", || is_up("m77"));
    later.run("ip link del m77");
    wait_until("and left when it goes", || !is_up("m77"));
    paused_for_moments_only(&switch);
    switch.terminate();
}

#[test]
fn showing_and_saving_tens_of_thousands_of_flows_keeps_no_packet_waiting() {
    let folder = Folder::new();
    let state = folder.path().join("state");
    let lab = Lab::with_engine(&format!("[engine]\nflows = 300000\nstate = \"{}\"\n", state.display()));
    let socket = lab.a.enter(|| UdpSocket::bind("192.168.122.10:5000")).expect("the address is there");
    let flows = || lab.switch.show("stats")["flows"].as_u64().unwrap_or(0);
    for port in 1..=60_000 {
        // The device's queue is shorter.
        if port % 200 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        // Nobody listens there.
        let _ = socket.send_to(b"?", ("10.180.13.1", port));
    }
    wait_until("most of the flows are there", || flows() > 40_000);
    let shown = lab.switch.command(&["show", "flows", "--limit", "100000", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let entries = answer["flows"]["entries"].as_array().expect("a list");
    let mut tuples: Vec<String> =
        entries.iter().map(|flow| flow["original"]["destination"].to_string()).collect();
    tuples.sort_unstable();
    tuples.dedup();
    assert!(tuples.len() > 40_000 && tuples.len() == entries.len(), "each once: {}", entries.len());
    let saved = lab.switch.command(&["nat", "save"]);
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    assert!(fs::metadata(&state).expect("it was saved").len() > 40_000 * 90);
    paused_for_moments_only(&lab.switch);
    lab.switch.terminate();
}

#[test]
fn closing_hundreds_of_taps_keeps_no_packet_waiting_and_the_same_names_can_be_had_at_once() {
    let (host, a, b) = (Host::new(), Host::new(), Host::new());
    let two = format!("{MODE}{}{}", tap("lan", "a", &a), tap("lan", "b", &b));
    let many: String =
        (0..200).map(|n| format!("[network.lan.port.m{n}]\ntype = \"tap\"\ndevice = \"m{n}\"\n")).collect();
    let count = || host.run("ip -o link show").lines().filter(|line| line.contains(": m")).count();
    let mut switch = Switch::start_on(&host, &format!("{two}{many}"));
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    let pings = a.start("ping -n -q -i 0.002 10.1.0.2");
    for _ in 0..2 {
        assert!(switch.reload(&two).status.success());
        // Named anew, too: nothing of them is the old port's.
        let renamed = format!("{two}{}", many.replace("port.m", "port.n"));
        let output = switch.reload(&renamed);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(count(), 200);
    }
    let control = |args: &[&str]| {
        let output = switch.command(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    for _ in 0..20 {
        control(&["port", "del", "lan/n7"]);
        control(&["port", "add", "lan/n7", "type=tap", "device=m7"]);
    }
    drop(pings);
    paused_for_moments_only(&switch);
    let start = Instant::now();
    assert!(switch.signal(Signal::TERM).success());
    // One after the other they take more than four seconds.
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(count(), 0, "the host is as it was when the process has ended");
}

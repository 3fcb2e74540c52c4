//! The log, when nobody reads it, when it can't be written, and when a guest writes it full.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;

use crate::host::{DEVICE, Host};
use crate::switch::{Folder, Switch, tap, wait_until};

/// Two guests, and a third one whose link the tests let flap.
struct Lab {
    a: Host,
    /// Its namespace is there as long as this is.
    _b: Host,
    flapping: Host,
    switch: Switch,
}

impl Lab {
    fn new(start: impl FnOnce(&str) -> Switch) -> Self {
        let (a, b, flapping) = (Host::new(), Host::new(), Host::new());
        let ports = [("a", &a), ("b", &b), ("c", &flapping)];
        let ports: String = ports.iter().map(|(name, host)| tap("lan", name, host)).collect();
        let switch = start(&format!("[network.lan]\nmode = \"internal\"\n{ports}"));
        a.address("10.1.0.1/24");
        b.address("10.1.0.2/24");
        Self { a, _b: b, flapping, switch }
    }

    /// Has the switch write lines; the others' frames don't wait for that.
    fn flap(&self) {
        for state in ["down", "up", "down", "up"] {
            self.flapping.run(&format!("ip link set {DEVICE} {state}"));
            self.a.ping("10.1.0.2");
        }
    }
}

/// A pipe that takes no byte more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("descriptors are left");
    let flags = fcntl_getfl(&writer).expect("it is open");
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("pipes can");
    while writer.write(&[b'.'; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags).expect("pipes can");
    (reader, writer)
}

#[test]
fn a_full_pipe_that_nobody_reads_stops_nothing_and_has_the_lines_in_order_when_it_is_read() {
    let (reader, writer) = full_pipe();
    let lab = Lab::new(|config| Switch::start_telling(config, writer));
    lab.flap();
    let text = thread::spawn(move || {
        let mut text = String::new();
        let mut reader = reader;
        reader.read_to_string(&mut text).expect("it is text");
        text
    });
    lab.switch.terminate();
    let text = text.join().expect("it ends with the switch");
    let places = ["tapswitch: ready, 3 of 3", "link down", "link up", "ending"].map(|line| text.find(line));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {text}");
}

#[test]
fn a_full_pipe_does_not_keep_the_process_from_ending() {
    let (_reader, writer) = full_pipe();
    let mut lab = Lab::new(|config| Switch::start_telling(config, writer));
    let start = Instant::now();
    assert!(lab.switch.signal(Signal::TERM).success());
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_start_that_fails_ends_with_its_status_though_nobody_reads_why() {
    let (_reader, writer) = full_pipe();
    let folder = Folder::new();
    std::fs::write(folder.config(), "[network.lan]\nmode = \"internal\"\n").expect("the folder exists");
    let mut command = std::process::Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_tapswitch"), "run", "--control", "/dev/null", "--config"]);
    let status = command.arg(folder.config()).stderr(writer).status().expect("timeout runs");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn standard_error_that_is_gone_or_full_ends_nothing() {
    let gone = pipe().expect("descriptors are left").1;
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    for stderr in [std::process::Stdio::from(gone), full.into()] {
        let lab = Lab::new(|config| Switch::start_telling(config, stderr));
        lab.flap();
        lab.switch.terminate();
    }
}

#[test]
fn a_port_that_flaps_writes_a_few_lines_and_how_many_there_would_be() {
    let (guest, folder) = (Host::new(), Folder::new());
    let socket = folder.path().join("flapping");
    let switch = Switch::start(&format!(
        "[network.lan]\nmode = \"internal\"\n{}\
         [network.lan.port.flapping]\ntype = \"stream\"\npath = \"{}\"\n",
        tap("lan", "a", &guest),
        socket.display()
    ));
    let flaps = 30;
    for _ in 0..flaps {
        let client = UnixStream::connect(&socket).expect("it listens");
        let up = || {
            switch.show("ports").as_array().is_some_and(|ports| ports.iter().all(|port| port["link"] == true))
        };
        wait_until("the link is up", up);
        drop(client);
        wait_until("the link is down", || !up());
    }
    guest.run(&format!("ip link set {DEVICE} down"));
    wait_until("another port's line is there", || switch.log().contains("link down port=\"lan/a\""));
    let log = switch.log();
    assert!(log.len() < 10_000, "{} bytes", log.len());
    wait_until("it says how many", || switch.log().contains("more like this"));
    switch.terminate();
}

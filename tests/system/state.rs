//! Connections that outlive the switch's process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::host::{DEVICE, Host};
use crate::switch::{Folder, Switch, tap};
use crate::traffic::{TcpServer, udp, udp_exchange};

/// Two guests behind an uplink, and a host outside, whose devices stay when the switch ends.
///
/// ```text
/// a 192.168.122.10 ┐
///                  ├ 192.168.122.1 [switch] 10.180.13.2 ── 10.180.13.1 outside
/// b 192.168.122.11 ┘
/// ```
struct Lab {
    a: Host,
    b: Host,
    outside: Host,
    switch: Switch,
    folder: Folder,
}

impl Lab {
    fn new() -> Self {
        let (a, b, outside, folder) = (Host::new(), Host::new(), Host::new(), Folder::new());
        for (host, address) in
            [(&a, "192.168.122.10/24"), (&b, "192.168.122.11/24"), (&outside, "10.180.13.1/24")]
        {
            host.run(&format!("ip tuntap add mode tap name {DEVICE} vnet_hdr"));
            host.run(&format!("ip link set {DEVICE} up"));
            host.address(address);
        }
        a.gateway("192.168.122.1");
        b.gateway("192.168.122.1");
        let switch = Switch::start(&format!(
            "[network.default]\nmode = \"nat\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\n\
             publish = [\"2222:192.168.122.11:22/tcp\"]\n{}{}\
             [uplink.wan]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{outside}\"\naddress = \"10.180.13.2/24\"\n\
             [engine]\nstate = \"{}/lib/state\"\n",
            tap("default", "a", &a),
            tap("default", "b", &b),
            folder.path().display(),
        ));
        Self { a, b, outside, switch, folder }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("lib/state")
    }

    /// Connections of every kind go on when the process is replaced by `replace`.
    fn carry_over(mut self, replace: impl FnOnce(&mut Self)) {
        let server = TcpServer::listen(&self.outside, "10.180.13.1:80");
        let [talker, listener, busy] = [(); 3].map(|()| server.connect(&self.a, "10.180.13.1:80"));
        let published = TcpServer::listen(&self.b, "192.168.122.11:22");
        let inward = published.connect(&self.outside, "10.180.13.2:2222");
        for connection in [&talker, &listener, &inward] {
            connection.client_speaks();
            connection.server_speaks();
        }
        // Both guests use one port, so one of them has another outside.
        let far = udp(&self.outside, "10.180.13.1:53");
        let near = [udp(&self.a, "192.168.122.10:5000"), udp(&self.b, "192.168.122.11:5000")];
        let outside = || near.each_ref().map(|socket| udp_exchange(socket, &far, "10.180.13.1:53", 100));
        let before = outside();
        assert_ne!(before[0], before[1]);

        thread::scope(|scope| {
            let chat = scope.spawn(|| busy.chat(Duration::from_secs(2)));
            thread::sleep(Duration::from_millis(300));
            replace(&mut self);
            assert!(!chat.is_finished(), "it was under way meanwhile");
            chat.join().expect("tasks don't panic").expect("a connection in full use goes on");
        });
        assert!(self.switch.log().contains("saved connections go on"));

        for (socket, outside) in near.iter().zip(before) {
            far.send_to(b"still there?", outside).expect("the datagram leaves");
            let mut heard = [0; 64];
            let (len, from) = socket.recv_from(&mut heard).expect("the mapping lets the answer in");
            assert_eq!((&heard[..len], from.to_string()), (&b"still there?"[..], "10.180.13.1:53".into()));
        }
        assert_eq!(outside(), before, "the outside ports stay");
        talker.client_speaks();
        listener.server_speaks();
        inward.server_speaks();
        for connection in [&talker, &listener, &inward, &busy] {
            connection.client_speaks();
            connection.server_speaks();
        }
        server.exchange(&self.b, "10.180.13.1:80", 1 << 16);
        self.switch.terminate();
    }
}

#[test]
fn connections_go_on_without_a_reset_when_the_process_is_replaced() {
    Lab::new().carry_over(|lab| {
        let status = lab.switch.signal(Signal::TERM);
        assert!(status.success(), "{status}");
        let mode = fs::metadata(lab.state()).expect("it was saved").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        thread::sleep(Duration::from_millis(300));
        lab.switch.restart();
    });
}

#[test]
fn connections_that_were_saved_go_on_after_kill_9() {
    Lab::new().carry_over(|lab| {
        let saved = lab.switch.command(&["nat", "save"]);
        assert!(saved.status.success(), "{saved:?}");
        let said = String::from_utf8_lossy(&saved.stdout).into_owned();
        assert_eq!(said, format!("saved 6 connections to {}\n", lab.state().display()));
        lab.switch.kill_and_restart();
    });
}

#[test]
fn damaged_state_is_refused_by_name_and_the_switch_starts_empty() {
    let mut lab = Lab::new();
    let server = TcpServer::listen(&lab.outside, "10.180.13.1:80");
    let _open = server.connect(&lab.a, "10.180.13.1:80");
    assert!(lab.switch.signal(Signal::TERM).success());
    let sound = fs::read(lab.state()).expect("it was saved");
    let mut flipped = sound.clone();
    flipped[40] ^= 4;
    let mut lying = sound.clone();
    lying[16..20].fill(0xff);
    let damaged = [
        (flipped, "the saved state is damaged"),
        (lying, "the saved state is damaged"),
        (sound[..sound.len() - 1].to_vec(), "the saved state is damaged"),
        (
            [b"tapswNAT\x7f\xff", &sound[10..]].concat(),
            "saved in format 32767, but this version reads formats 1 to 3",
        ),
        (b"[network.default]\n".to_vec(), "this is no saved NAT state"),
        (Vec::new(), "this is no saved NAT state"),
    ];
    for (state, reason) in damaged {
        fs::write(lab.state(), state).expect("the folder is there");
        starts_empty(&mut lab, &server, reason);
    }
    fs::remove_file(lab.state()).expect("it is there");
    fs::create_dir(lab.state()).expect("the folder is there");
    starts_empty(&mut lab, &server, "this is no saved NAT state");
}

/// The log says so in one line, new connections work, and the process ends well.
fn starts_empty(lab: &mut Lab, server: &TcpServer, reason: &str) {
    lab.switch.restart();
    let log = lab.switch.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    let expected = format!("starting without the connections in {}: {reason}", lab.state().display());
    assert!(lines.len() == 1 && lines[0].ends_with(&expected), "{log}");
    assert_eq!(lab.switch.show("stats")["flows"], 0);
    server.exchange(&lab.a, "10.180.13.1:80", 1 << 16);
    assert!(lab.switch.signal(Signal::TERM).success());
}

#[test]
fn connections_that_cannot_be_saved_are_an_error_and_no_half_file() {
    let mut lab = Lab::new();
    lab.a.ping("10.180.13.1");
    let folder = lab.folder.path().join("lib");
    fs::write(&folder, "no folder").expect("nothing is there yet");
    let expected = format!("cannot save connections to {}: Not a directory", lab.state().display());
    let saved = lab.switch.command(&["nat", "save"]);
    let said = String::from_utf8_lossy(&saved.stderr).into_owned();
    assert!(saved.status.code() == Some(1) && said.contains(&expected), "{said}");
    let status = lab.switch.signal(Signal::INT);
    assert!(status.success(), "the switch itself ended well: {status}");
    let log = lab.switch.log();
    assert_eq!(log.matches(&expected).count(), 2, "{log}");
    assert_eq!(fs::read_dir(lab.folder.path()).expect("it is there").count(), 1);
}

#[test]
fn without_a_file_for_them_connections_are_not_saved() {
    let switch = Switch::start("[network.lan]\nmode = \"internal\"\n");
    let saved = switch.command(&["nat", "save"]);
    let said = String::from_utf8_lossy(&saved.stderr).into_owned();
    assert!(saved.status.code() == Some(1) && said.contains("write state ="), "{said}");
    switch.terminate();
}

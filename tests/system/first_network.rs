//! The README's first network and the recipes, as they stand there.

use std::net::{TcpListener, TcpStream};

use crate::document::blocks;
use crate::guest::Guest;
use crate::guests::turn;
use crate::host::{DEVICE, Host, in_user_namespace};
use crate::shared_address::Lan;
use crate::switch::{Folder, Switch, tapswitch, tapswitch_on, wait_until};

/// A document's configuration, with its sockets in a folder of the test's.
fn here(toml: &str, folder: &Folder) -> String {
    toml.replace("/run/tapswitch-guests", folder.path().to_str().expect("ASCII"))
}

/// A host's device as guests have it, at a port that is added to `lan`.
#[track_caller]
fn guest_of(switch: &Switch, address: &str) -> Host {
    let guest = Host::new();
    let added = switch.command(&[
        "port",
        "add",
        "lan/probe",
        "type=tap",
        &format!("device={DEVICE}"),
        &format!("netns={guest}"),
    ]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    guest.run(&format!("ip link set {DEVICE} up"));
    guest.address(address);
    guest
}

#[test]
fn the_readmes_first_network_serves_a_virtual_machine_and_reaches_a_lan_host_beyond() {
    if in_user_namespace() {
        return;
    }
    let _turn = turn();
    let (folder, Lan { host, router: _router, far }) = (Folder::new(), Lan::new());
    let toml = blocks("README.md", "Two minutes", "toml").remove(0);
    let shell = blocks("README.md", "Two minutes", "sh").concat();
    std::fs::write(folder.config(), here(&toml, &folder)).expect("the folder exists");
    let file = folder.config().to_str().expect("ASCII").to_owned();
    // The lines of the README, with the file's path.
    let typed = |words: &str| {
        assert!(shell.contains(&format!("tapswitch {words}")), "{words} is not in the README");
        let output =
            tapswitch_on(&host, &words.replace("my.toml", &file).split_whitespace().collect::<Vec<_>>());
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(typed("check my.toml").contains("ok: 1 network, 2 ports"));
    let ssh = host.enter(|| TcpListener::bind("0.0.0.0:22")).expect("the port is free");
    let session = far.enter(|| TcpStream::connect("192.168.1.5:22")).expect("the host serves");
    assert!(shell.contains("tapswitch run --config my.toml"));
    let switch = Switch::start_on(&host, &here(&toml, &folder));
    let mut guest = Guest::boot(&host, &typed("qemu-args --config my.toml default/vm1"));
    assert_eq!(guest.dhcp(), "192.168.122.10/24");
    guest.ping("192.168.1.1");
    guest.ping("10.77.0.2");
    // Out by TCP, seen as the host; in by the published port.
    let served = far.enter(|| TcpListener::bind("10.77.0.2:80")).expect("the port is free");
    let peer = std::thread::spawn(move || served.accept().expect("it has come").1.ip().to_string());
    let _ = guest.try_run("echo hello | nc -w 5 10.77.0.2 80");
    assert_eq!(peer.join().expect("it ends"), "192.168.1.5");
    guest.run("mkdir -p /tmp/www; echo hello >/tmp/www/index.html; httpd -p 8080 -h /tmp/www");
    assert_eq!(far.run("busybox wget -q -O - http://192.168.1.5:8888/"), "hello\n");
    host.ping("10.77.0.2");
    far.ping("192.168.1.5");
    drop((ssh, session));
    assert!(String::from_utf8_lossy(&switch.command(&["show", "flows"]).stdout).contains("192.168.1.5"));
    assert!(shell.contains("tapswitch show flows") && shell.contains("tapswitch reload"));
    assert!(switch.command(&["reload"]).status.success());
    switch.terminate();
    host.ping("10.77.0.2");
}

#[test]
fn qemu_args_are_printed_for_the_first_machine_of_both_shipped_files() {
    let (folder, example) = (Folder::new(), include_str!("../../docs/tapswitch.toml"));
    let readme = blocks("README.md", "Two minutes", "toml").remove(0);
    for text in [readme.as_str(), example] {
        std::fs::write(folder.config(), text).expect("the folder exists");
        let file = folder.config();
        for command in ["qemu-args", "libvirt-xml"] {
            let output = tapswitch(&[command, "--config", file.to_str().expect("ASCII"), "default/vm1"]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(String::from_utf8_lossy(&output.stdout).contains("/run/tapswitch-guests/vm1.sock"));
        }
    }
}

#[test]
fn the_host_is_a_member_beside_nat() {
    if in_user_namespace() {
        return;
    }
    let (folder, Lan { host, router: _router, far: _far }) = (Folder::new(), Lan::new());
    let toml = blocks("docs/recipes.md", "The host as a member", "toml").remove(0);
    let switch = Switch::start_on(&host, &here(&toml, &folder));
    let guest = guest_of(&switch, "192.168.122.10/24");
    guest.gateway("192.168.122.1");
    guest.ping("192.168.122.2");
    host.ping("192.168.122.10");
    guest.ping("10.77.0.2");
    host.ping("10.77.0.2");
    switch.terminate();
}

#[test]
fn s2_host_and_guest_have_an_address_each_on_one_wire() {
    let (folder, host) = (Folder::new(), Host::new());
    let toml = blocks("docs/recipes.md", "Two addresses: one guest and the host", "toml").remove(0);
    let switch = Switch::start_on(&host, &here(&toml, &folder));
    let guest = guest_of(&switch, "192.168.1.2/24");
    host.ping("192.168.1.2");
    guest.ping("192.168.1.1");
    switch.terminate();
}

#[test]
fn s4_guests_host_and_card_are_in_one_segment() {
    if in_user_namespace() {
        return;
    }
    let (folder, Lan { host, router, far }) = (Folder::new(), Lan::new());
    let heading = "Bridged: guests, host and card in one segment";
    let toml = blocks("docs/recipes.md", heading, "toml").remove(0);
    let shell = blocks("docs/recipes.md", heading, "sh").remove(0);
    let line = |word: &str| {
        let line = shell.lines().find(|line| line.contains(word)).expect("it stands there");
        line.split(['#', ';']).next().unwrap_or_default().trim_start_matches("until ").trim().to_owned()
    };
    host.run(&line("flush"));
    let switch = Switch::start_on(&host, &here(&toml, &folder));
    wait_until("the host has its way back", || host.try_run(&line("default")).is_ok());
    let guest = guest_of(&switch, "192.168.1.20/24");
    guest.gateway("192.168.1.1");
    for (from, to) in [
        (&guest, "192.168.1.1"),
        (&guest, "10.77.0.2"),
        (&guest, "192.168.1.5"),
        (&host, "192.168.1.20"),
        (&host, "10.77.0.2"),
        (&far, "192.168.1.20"),
        (&far, "192.168.1.5"),
    ] {
        from.ping(to);
    }
    // The LAN knows the guest by its own MAC.
    assert!(router.run("ip neighbour show dev lan").contains(&guest.mac()));
    switch.terminate();
}

#[test]
fn s16_guests_and_the_host_see_each_other_and_nothing_else() {
    let (folder, host) = (Folder::new(), Host::new());
    let toml = blocks("docs/recipes.md", "Host-only", "toml").remove(0);
    let switch = Switch::start_on(&host, &here(&toml, &folder));
    let guest = guest_of(&switch, "192.168.56.20/24");
    guest.ping("192.168.56.1");
    host.ping("192.168.56.20");
    guest.gateway("192.168.56.100");
    guest.cannot_ping("10.77.0.2");
    switch.terminate();
}

//! Processes at the sockets of ports, and others who may write to the folders that these are in.

use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};

use crate::fake_guest::{self, Guest as FakeGuest};
use crate::guests::port;
use crate::host::Host;
use crate::switch::{Folder, Switch, tap, wait_until};

fn socket(folder: &Folder, kind: &str, name: &str) -> String {
    port(name, &format!("type = \"{kind}\"\npath = \"{}\"", folder.path().join(name).display()))
}

/// Two hosts at taps, and these ports.
fn with_hosts(ports: &str) -> (Host, Host, String) {
    let (a, b) = (Host::new(), Host::new());
    let taps = tap("lan", "host1", &a) + &tap("lan", "host2", &b);
    (a, b, format!("[network.lan]\nmode = \"internal\"\n{ports}{taps}"))
}

fn address(a: &Host, b: &Host) {
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
}

#[test]
fn guests_with_terabytes_are_refused_and_the_switch_goes_on() {
    let folder = Folder::new();
    let names: Vec<String> = (0..40).map(|n| format!("g{n}")).collect();
    let ports: String = names.iter().map(|name| socket(&folder, "vhost-user", name)).collect();
    let (a, b, config) = with_hosts(&ports);
    let switch = Switch::start(&config);
    address(&a, &b);
    let memory = File::from(memfd_create("terabytes", MemfdFlags::CLOEXEC).expect("it is Linux"));
    memory.set_len(4 << 40).expect("it is sparse");
    let guests: Vec<FakeGuest> = names
        .iter()
        .map(|name| {
            let guest = FakeGuest::connect(&folder.path().join(name));
            let region = fake_guest::single_region(0, 4 << 40, 0, 0);
            guest.ask(fake_guest::ADD_MEM_REG, &region, &[memory.as_fd()]);
            guest
        })
        .collect();
    wait_until("the log names one that was refused, and says why", || {
        let log = switch.log();
        log.lines()
            .any(|line| line.contains("port=\"lan/g39\"") && line.contains("of which each has its part"))
    });
    // There is still room for what the control socket and saving need, and for a guest that behaves.
    a.ping("10.1.0.2");
    assert!(switch.show("ports").as_array().is_some());
    drop(guests);
    let mut guest = FakeGuest::connect(&folder.path().join("g39"));
    wait_until("a guest that behaves is let in", || {
        guest = FakeGuest::connect(&folder.path().join("g39"));
        guest.start(fake_guest::BASE, 2);
        guest.kick(1);
        std::thread::sleep(Duration::from_millis(100));
        let ports = switch.show("ports");
        let mut ports = ports.as_array().expect("a list").iter();
        ports.any(|port| port["name"] == "g39" && port["link"] == true)
    });
    switch.terminate();
}

#[test]
fn a_guest_whose_call_descriptor_blocks_holds_nobody_up() {
    let folder = Folder::new();
    let (a, b, config) = with_hosts(&socket(&folder, "vhost-user", "guest"));
    let switch = Switch::start(&config);
    address(&a, &b);
    let mut guest = FakeGuest::connect(&folder.path().join("guest"));
    guest.start(fake_guest::BASE, 2);
    guest.fill(0, 200);
    let call = eventfd(0, EventfdFlags::CLOEXEC).expect("it is Linux");
    guest.ask(fake_guest::SET_VRING_CALL, &0_u64.to_le_bytes(), &[call.as_fd()]);
    wait_until("the guest is called", || {
        // A question to all.
        let _ = a.try_run("ping -c 1 -W 1 10.1.0.99");
        guest.used_index(0) > 0
    });
    fcntl_setfl(&call, OFlags::RDWR).expect("it is ours");
    rustix::io::read(&call, &mut [0; 8]).expect("it was called");
    rustix::io::write(&call, &(u64::MAX - 1).to_ne_bytes()).expect("there is room");
    let _ = a.try_run("ping -c 2 -W 1 10.1.0.98");
    let start = Instant::now();
    a.ping("10.1.0.2");
    assert!(start.elapsed() < Duration::from_secs(3));
    switch.terminate();
}

#[test]
fn a_path_that_is_taken_keeps_that_port_down_and_not_the_switch() {
    let folder = Folder::new();
    let names = ["by-a-folder", "by-a-link", "by-a-process"];
    let kinds = ["stream", "vhost-user", "stream"];
    let ports: String = names.iter().zip(kinds).map(|(name, kind)| socket(&folder, kind, name)).collect();
    let [by_folder, by_link, by_process] = names.map(|name| folder.path().join(name));
    let secret = folder.path().join("secret");
    fs::create_dir(&by_folder).expect("the folder is ours");
    fs::write(&secret, "secret").expect("the folder is ours");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("it is ours");
    symlink(&secret, &by_link).expect("the folder is ours");
    let process = UnixListener::bind(&by_process).expect("the folder is ours");
    let (a, b, config) = with_hosts(&ports);
    let switch = Switch::start(&config);
    address(&a, &b);
    a.ping("10.1.0.2");
    let log = switch.log();
    for name in names {
        let port = format!("port=\"lan/{name}\"");
        let told = log.lines().any(|line| line.contains(&port) && line.contains("stays down"));
        assert!(told, "{name}: {log}");
    }
    let mode = fs::metadata(&secret).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody's rights are changed through a link");
    // Somebody who adds such a port is told.
    let add = [
        "port",
        "add",
        "lan/more",
        "type=stream",
        &format!("path={}", folder.path().join("secret").display()),
    ];
    let output = switch.command(&add);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("something else than a socket"), "{output:?}");
    // What was in the way goes.
    fs::remove_dir(&by_folder).expect("it is ours");
    fs::remove_file(&by_link).expect("it is ours");
    drop(process);
    for path in [&by_folder, &by_link, &by_process] {
        wait_until("the socket is there", || UnixStream::connect(path).is_ok());
        let mode = fs::symlink_metadata(path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
    }
    switch.terminate();
}

#[test]
fn the_control_socket_is_its_owners_from_the_first_moment_and_many_clients_are_served() {
    let folder = Folder::new();
    let (_a, _b, config) = with_hosts(&socket(&folder, "stream", "s"));
    let switch = Switch::start(&config);
    let mode = fs::symlink_metadata(switch.control()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // More clients than are served at once, that say nothing: the others have their turn.
    let silent: Vec<UnixStream> =
        (0..40).map(|_| UnixStream::connect(switch.control()).expect("it listens")).collect();
    drop(silent);
    assert!(switch.show("ports").as_array().is_some());
    switch.terminate();
}

//! Namespaces that end while the switch has ports in them, and others that come in their place.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::{fs, process};

use crate::host::{DEVICE, Host};
use crate::switch::{Folder, Switch, tap, wait_until};

/// A network of a tap in `netns` and one in `b`.
fn config(netns: &str, b: &Host) -> String {
    let in_netns =
        format!("[network.lan.port.web]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{netns}\"\n");
    format!(
        "[network.lan]\nmode = \"internal\"\n{in_netns}peer-address = \"10.1.0.1/24\"\n{}peer-address = \"10.1.0.2/24\"\n",
        tap("lan", "b", b)
    )
}

#[track_caller]
fn wait_for_link(switch: &Switch, up: bool) {
    wait_until(&format!("the link of web is {up}"), || {
        let ports = switch.show("ports");
        ports.as_array().into_iter().flatten().any(|port| port["name"] == "web" && port["link"] == up)
    });
}

/// A pair of devices of which one ends with the namespace of `host`.
fn canary(switch_host: &Host, host: &Host) {
    switch_host.run(&format!("ip link add canary type veth peer name v1 netns {host}"));
}

#[track_caller]
fn wait_for_end(switch_host: &Host) {
    wait_until("the namespace is gone", || switch_host.try_run("ip link show canary").is_err());
}

/// Makes `path` lead to the namespace of `host`.
fn point(path: &Path, host: &Host) {
    let _ = fs::remove_file(path);
    symlink(format!("/proc/{host}/ns/net"), path).expect("the folder is there");
}

#[test]
fn a_port_leaves_a_namespace_that_ends_and_comes_to_the_next_one_at_its_path() {
    let (here, b, folder) = (Host::new(), Host::new(), Folder::new());
    let path = folder.path().join("web");
    let mut web = Host::new();
    point(&path, &web);
    let switch = Switch::start_on(&here, &config(&path.display().to_string(), &b));
    for _ in 0..2 {
        web.ping("10.1.0.2");
        canary(&here, &web);
        drop(web);
        wait_for_link(&switch, false);
        wait_for_end(&here);
        b.cannot_ping("10.1.0.1");
        web = Host::new();
        point(&path, &web);
        wait_for_link(&switch, true);
    }
    // Another one in its place at once: the old one lives on without us.
    let other = Host::new();
    point(&path, &other);
    wait_until("the device is there", || other.try_run(&format!("ip link show {DEVICE}")).is_ok());
    wait_until("the device is here no more", || web.try_run(&format!("ip link show {DEVICE}")).is_err());
    other.ping("10.1.0.2");
    let told = |text: &str| {
        switch.log().lines().filter(|line| line.contains("lan/web") && line.contains(text)).count()
    };
    assert_eq!((told("is gone; waiting"), told("is another one now")), (2, 1), "{}", switch.log());
}

#[test]
fn what_keeps_a_port_from_the_next_namespace_is_said_once() {
    let (here, b, folder) = (Host::new(), Host::new(), Folder::new());
    let path = folder.path().join("web");
    let web = Host::new();
    point(&path, &web);
    let switch = Switch::start_on(&here, &config(&path.display().to_string(), &b));
    let other = Host::new();
    other.run(&format!("ip link add {DEVICE} type veth peer name cable"));
    point(&path, &other);
    let told = || {
        switch.log().lines().filter(|line| line.contains("lan/web") && line.contains("is not a tap")).count()
    };
    wait_until("the log says why", || told() > 0);
    b.cannot_ping("10.1.0.1");
    b.cannot_ping("10.1.0.1");
    assert_eq!(told(), 1, "{}", switch.log());
    other.run("ip link delete cable");
    wait_for_link(&switch, true);
    other.ping("10.1.0.2");
}

#[test]
fn a_port_goes_down_with_the_process_of_its_namespace_and_takes_no_other_of_that_number() {
    let (here, b, web) = (Host::new(), Host::new(), Host::new());
    let pid = web.to_string();
    let switch = Switch::start_on(&here, &config(&pid, &b));
    web.ping("10.1.0.2");
    canary(&here, &web);
    drop(web);
    wait_for_link(&switch, false);
    wait_for_end(&here);
    let log = switch.log();
    assert!(log.contains("port=\"lan/web\"") || log.contains("lan/web"), "{log}");
    assert_eq!(
        log.matches("the process of its network namespace has ended; write another `netns`").count(),
        1,
        "{log}"
    );
    let web = Host::new();
    let output = switch.reload(&config(&web.to_string(), &b));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_for_link(&switch, true);
    web.ping("10.1.0.2");
}

/// A namespace that `ip netns` has made; it goes with the value.
struct Named(String);

impl Named {
    fn ip(&self, arguments: &str) -> bool {
        let line = format!("netns {arguments}").replace("NAME", &self.0);
        Command::new("ip").args(line.split(' ')).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.ip("delete NAME");
    }
}

#[test]
fn a_named_namespace_that_is_deleted_and_made_again_has_its_port_again() {
    let (here, b, named) = (Host::new(), Host::new(), Named(format!("tapswitch-test-{}", process::id())));
    if !named.ip("add NAME") {
        println!("passed over: /run/netns can't be written");
        return;
    }
    let switch = Switch::start_on(&here, &config(&named.0, &b));
    b.ping("10.1.0.1");
    for _ in 0..2 {
        assert!(named.ip("delete NAME"));
        wait_for_link(&switch, false);
        assert!(named.ip("add NAME"));
        wait_for_link(&switch, true);
        // The device has another MAC address now.
        b.run("ip neighbour flush all");
        b.ping("10.1.0.1");
    }
}

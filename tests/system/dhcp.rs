//! The DHCP server, asked by the clients that people use: busybox's udhcpc and ISC's dhclient.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::host::{DEVICE, Host};
use crate::switch::{Folder, Switch, tap, wait_until};

/// A network with a DHCP server that has the addresses .100 to .`last`, and what its clients need.
pub struct Lab {
    pub a: Host,
    pub b: Host,
    pub folder: Folder,
    pub switch: Switch,
}

impl Lab {
    pub fn new(last: u8) -> Self {
        Self::with("nat", last)
    }

    /// The network is of this mode.
    pub fn with(mode: &str, last: u8) -> Self {
        Self::with_keys(mode, last, "")
    }

    /// It has these keys, too.
    fn with_keys(mode: &str, last: u8, keys: &str) -> Self {
        let (a, b) = (Host::new(), Host::new());
        for host in [&a, &b] {
            // So that it stays when the switch ends.
            host.run(&format!("ip tuntap add mode tap name {DEVICE} vnet_hdr"));
            host.run(&format!("ip link set {DEVICE} up"));
        }
        let switch = Switch::start(&format!(
            "[network.default]\nmode = \"{mode}\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\n\
             dhcp = \"192.168.122.100-192.168.122.{last}\"\ndns = [\"192.0.2.53\"]\n{keys}{}{}\
             [uplink.wan]\ntype = \"tap\"\ndevice = \"wan0\"\naddress = \"10.180.13.2/24\"\n",
            tap("default", "a", &a),
            tap("default", "b", &b),
        ));
        Self { a, b, folder: Folder::new(), switch }
    }

    /// Runs udhcpc, which sets the address it gets, until it has a lease, and returns what it was told.
    pub fn udhcpc(&self, host: &Host, options: &str) -> Result<Lease, String> {
        let (script, told) = self.script(
            host,
            "case $1 in bound|renew) env >$TOLD; ip address replace $ip/$mask dev $interface;; esac",
        );
        let _ = fs::remove_file(&told);
        let script = script.display();
        host.try_run(&format!("busybox udhcpc -f -q -n -t 4 -T 2 -i {DEVICE} -s {script} {options}"))?;
        Ok(Lease::read(&told))
    }

    /// Runs dhclient until it has a lease. It keeps its leases in a file, as it does from boot to boot.
    pub fn dhclient(&self, host: &Host) -> Lease {
        let (script, told) =
            self.script(host, "case $reason in BOUND|REBOOT) env >$TOLD.new; mv $TOLD.new $TOLD;; esac");
        let _ = fs::remove_file(&told);
        let file = self.folder.path().join(format!("leases-{host}"));
        let (script, leases) = (script.display(), file.display());
        let client =
            host.start(&format!("dhclient -1 -d --no-pid -sf {script} -lf {leases} -cf /dev/null {DEVICE}"));
        // It calls its script before it writes to its file.
        let written = || fs::read_to_string(&file).is_ok_and(|text| text.contains("expire"));
        wait_until("dhclient has a lease", || told.exists() && written());
        drop(client);
        Lease::read(&told)
    }

    pub fn script(&self, host: &Host, body: &str) -> (PathBuf, PathBuf) {
        let script = self.folder.path().join(format!("script-{host}"));
        let told = self.folder.path().join(format!("told-{host}"));
        let text = format!("#!/bin/sh\nTOLD={}\n{body}\n", told.display());
        fs::write(&script, text).expect("the folder exists");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        (script, told)
    }
}

/// What a client told its script, by the names it uses.
pub struct Lease(HashMap<String, String>);

impl Lease {
    fn read(told: &PathBuf) -> Self {
        let text = fs::read_to_string(told).expect("the client called its script with a lease");
        Self(
            text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect(),
        )
    }

    #[track_caller]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    /// The last number of the address.
    #[track_caller]
    pub fn host_number(&self) -> u8 {
        let address = self.0.get("ip").or(self.0.get("new_ip_address")).expect("an address");
        let number = address.strip_prefix("192.168.122.").expect("an address of the network");
        number.parse().expect("a number")
    }
}

#[test]
fn udhcpc_gets_an_address_router_and_dns_and_is_connected() {
    let lab = Lab::new(110);
    let lease = lab.udhcpc(&lab.a, "").expect("there are addresses");
    assert!((100..=110).contains(&lease.host_number()));
    assert_eq!(lease.get("subnet"), "255.255.255.0");
    assert_eq!(lease.get("router"), "192.168.122.1");
    assert_eq!(lease.get("dns"), "192.0.2.53");
    assert_eq!(lease.get("serverid"), "192.168.122.1");
    lab.a.ping("192.168.122.1");
}

#[test]
fn udhcpc_is_told_of_time_servers_routes_and_what_to_boot_from() {
    let lab = Lab::with_keys(
        "nat",
        110,
        "ntp = [\"192.168.122.7\"]\nroutes = [\"10.0.0.0/8=192.168.122.2\"]\n\
         dhcp-boot = { file = \"pxelinux.0\", server = \"192.168.122.9\" }\nreserve = [\"id:ff:00:aa=192.168.122.77\"]\n",
    );
    let options = "-O ntpsrv -O staticroutes -O bootfile -O tftp -x 0x3d:ff00aa";
    let lease = lab.udhcpc(&lab.a, options).expect("there are addresses");
    assert_eq!(lease.host_number(), 77);
    assert_eq!(lease.get("ntpsrv"), "192.168.122.7");
    assert_eq!(lease.get("staticroutes"), "10.0.0.0/8 192.168.122.2 0.0.0.0/0 192.168.122.1");
    assert_eq!(lease.get("bootfile"), "pxelinux.0");
    assert_eq!(lease.get("siaddr"), "192.168.122.9");
}

#[test]
fn dhclient_gets_an_address_and_the_same_one_after_a_reboot() {
    let lab = Lab::new(110);
    let first = lab.dhclient(&lab.a);
    assert!((100..=110).contains(&first.host_number()));
    assert_eq!(first.get("reason"), "BOUND");
    assert_eq!(first.get("new_routers"), "192.168.122.1");
    assert_eq!(first.get("new_domain_name_servers"), "192.0.2.53");
    let second = lab.dhclient(&lab.a);
    assert_eq!(second.get("reason"), "REBOOT", "it asked for its old address");
    assert_eq!(second.host_number(), first.host_number());
}

#[test]
fn two_clients_get_different_addresses_and_both_leases_are_shown() {
    let lab = Lab::new(110);
    let a = lab.udhcpc(&lab.a, "-x hostname:alice").expect("there are addresses");
    let b = lab.udhcpc(&lab.b, "-x hostname:bob").expect("there are addresses");
    assert_ne!(a.host_number(), b.host_number());
    lab.a.ping(b.get("ip"));
    let leases = lab.switch.show("leases");
    for (host, lease, name) in [(&lab.a, &a, "alice"), (&lab.b, &b, "bob")] {
        let shown =
            leases.as_array().expect("a list").iter().find(|shown| shown["address"] == lease.get("ip"));
        let shown = shown.unwrap_or_else(|| panic!("{} isn't in {leases}", lease.get("ip")));
        assert_eq!(shown["mac"], host.mac());
        assert_eq!(shown["host_name"], name);
    }
}

#[test]
fn a_client_that_asks_for_its_old_address_gets_it_even_from_a_server_that_was_killed() {
    let mut lab = Lab::new(110);
    let lease = lab.udhcpc(&lab.a, "-r 192.168.122.107").expect("there are addresses");
    assert_eq!(lease.host_number(), 107);
    lab.switch.kill_and_restart();
    let lease = lab.udhcpc(&lab.a, "-r 192.168.122.107").expect("there are addresses");
    assert_eq!(lease.host_number(), 107);
}

#[test]
fn when_every_address_is_taken_the_next_client_gets_none() {
    let lab = Lab::new(100);
    let lease = lab.udhcpc(&lab.a, "").expect("there is one address");
    assert_eq!(lease.host_number(), 100);
    lab.udhcpc(&lab.b, "").err().expect("the only address is taken");
    let drops = lab.switch.show("drops").to_string();
    assert!(drops.contains("dhcp_range_full"), "{drops}");
}

#[test]
fn a_client_renews_its_lease_and_gives_it_back() {
    let lab = Lab::new(100);
    let (script, told) = lab.script(
        &lab.a,
        "case $1 in bound) ip address replace $ip/$mask dev $interface;; \
         deconfig) ip address flush dev $interface;; esac; echo $1 $ip >>$TOLD",
    );
    let was_told = |what: &str| {
        let told = fs::read_to_string(&told).unwrap_or_default();
        told.lines().any(|line| line == what)
    };
    let client = lab.a.start(&format!("busybox udhcpc -f -i {DEVICE} -s {}", script.display()));
    let signal = |signal| {
        let pid = rustix::process::Pid::from_child(&client.0);
        rustix::process::kill_process(pid, signal).expect("it runs");
    };
    wait_until("the client has a lease", || was_told("bound 192.168.122.100"));
    signal(rustix::process::Signal::USR1);
    wait_until("the lease is renewed", || was_told("renew 192.168.122.100"));
    assert_eq!(lab.switch.show("leases").as_array().map(Vec::len), Some(1));
    signal(rustix::process::Signal::USR2);
    wait_until("the lease is released", || lab.switch.show("leases").as_array().is_some_and(Vec::is_empty));
    let other = lab.udhcpc(&lab.b, "").expect("the address is free again");
    assert_eq!(other.host_number(), 100);
}

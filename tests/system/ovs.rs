//! Open vSwitch, its datapath in its own process, as a peer of the switch.

use std::process::Command;

use crate::host::{Background, Host};
use crate::switch::{Folder, wait_until};

/// An Open vSwitch in the namespace of a host, with the bridge `br0`.
pub struct Ovs {
    _processes: [Background; 2],
    host: Host,
    folder: Folder,
}

impl Ovs {
    /// Starts it.
    #[track_caller]
    pub fn start(host: &Host) -> Self {
        let folder = Folder::new();
        let path = folder.path().display().to_string();
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        host.run(&format!("ovsdb-tool create {path}/conf.db {schema}"));
        let database = format!("ovsdb-server {path}/conf.db --remote=punix:{path}/db.sock");
        let database = host.start(&format!("{database} --unixctl={path}/db.ctl"));
        wait_until("the database is there", || folder.path().join("db.sock").exists());
        let switch = format!("ovs-vswitchd unix:{path}/db.sock --unixctl={path}/switch.ctl --disable-system");
        let switch = host.start(&format!("env OVS_RUNDIR={path} {switch}"));
        let ovs = Self { _processes: [database, switch], host: host.clone(), folder };
        ovs.set("--may-exist add-br br0 -- set bridge br0 datapath_type=netdev");
        ovs
    }

    /// Runs `ovs-vsctl COMMANDS`, and waits until it has happened.
    #[track_caller]
    pub fn set(&self, commands: &str) {
        let path = self.folder.path().display().to_string();
        self.host.run(&format!("ovs-vsctl --timeout=30 --db=unix:{path}/db.sock {commands}"));
    }

    /// What `ovs-appctl COMMAND` prints.
    #[track_caller]
    pub fn ask(&self, command: &str) -> String {
        let path = self.folder.path().display().to_string();
        self.host.run(&format!("ovs-appctl --timeout=10 --target={path}/switch.ctl {command}"))
    }

    /// A port that is a device of the host with this address.
    #[track_caller]
    pub fn internal_port(&self, name: &str, address: &str, settings: &str) {
        self.set(&format!("add-port br0 {name} {settings} -- set interface {name} type=internal"));
        self.host.run(&format!("ip address add {address} dev {name}"));
        self.host.run(&format!("ip link set {name} up"));
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        // Devices of its own go with the namespace, what it has of its own runs until it is told to end.
        let path = self.folder.path().display().to_string();
        let _ = Command::new("ovs-appctl")
            .args(["--timeout=5", &format!("--target={path}/switch.ctl"), "exit"])
            .output();
    }
}

//! A guest's life at each type of port: it boots, gets an address, reaches and is reached, reboots, sees the switch
//! restart, and is killed.

use std::fs;
use std::io::Read;
use std::net::TcpListener;

use crate::guest::Guest;
use crate::guests::{nat, port, qemu_args, turn};
use crate::host::{Background, DEVICE, Host, in_user_namespace};
use crate::nat_rules::DEFAULT_NETWORK;
use crate::switch::{Folder, Switch, tapswitch, wait_until};

/// The types of port with what each needs, and the card of its guest. QEMU listens at the stream: with QEMU 7.2, only
/// then either side may be restarted.
const PORTS: [(&str, &str, &str); 4] = [
    ("packet", "device = \"tap1\"", "e1000"),
    ("stream", "path = \"FOLDER/stream\"\nrole = \"client\"", "e1000"),
    ("dgram", "path = \"FOLDER/dgram\"\npeer = \"FOLDER/dgram-qemu\"", "e1000"),
    ("vhost-user", "path = \"FOLDER/vhost\"", "virtio-net-pci,vectors=0"),
];

fn mac(n: usize) -> String {
    format!("52:54:00:00:00:1{n}")
}

fn address(n: usize) -> String {
    format!("192.168.122.1{n}")
}

/// A switch with a port of each type, published, and a web server outside.
struct Lab {
    switch: Switch,
    outside: Host,
    folder: Folder,
    _server: Background,
}

impl Lab {
    fn new() -> (Self, [Guest; 4]) {
        let (folder, host, outside) = (Folder::new(), Host::new(), Host::new());
        let path = folder.path().display().to_string();
        let (mut tables, mut published, mut reserved) = (String::new(), Vec::new(), Vec::new());
        for (n, (kind, keys, _)) in PORTS.into_iter().enumerate() {
            let keys = keys.replace("FOLDER", &path);
            tables += &port(kind, &format!("type = \"{kind}\"\n{keys}\nstatic-macs = [\"{}\"]", mac(n)));
            published.push(format!("800{n}:{}:80", address(n)));
            reserved.push(format!("{}={}", mac(n), address(n)));
        }
        let config = nat(&outside, &format!("publish = {published:?}\nreserve = {reserved:?}"), &tables);
        let switch = Switch::start_on(&host, &config);
        outside.address("10.180.13.1/24");
        let guests = PORTS.map(|(kind, _, card)| {
            Guest::power_on(&host, &qemu_args(&config, kind).replace("virtio-net-pci", card))
        });
        let file: Vec<u8> = (0..2_u32 << 20).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        fs::write(folder.path().join("file"), file).expect("the folder exists");
        let server =
            outside.start(&format!("unshare --pid --fork --kill-child busybox httpd -f -p 80 -h {path}"));
        (Self { switch, outside, folder, _server: server }, guests)
    }

    /// The `n`th guest gets its address, fetches a file from outside, and another one is fetched from it.
    #[track_caller]
    fn check(&self, n: usize, guest: &mut Guest) {
        assert_eq!(guest.dhcp(), format!("{}/24", address(n)));
        guest.serve();
        self.check_transfers(n, guest);
    }

    #[track_caller]
    fn check_transfers(&self, n: usize, guest: &mut Guest) {
        let path = self.folder.path().display();
        let hash = |file: &str| self.outside.run(&format!("sha256sum {path}/{file}"));
        let same = |a: &str, b: &str| assert_eq!(a.split(' ').next(), b.split(' ').next(), "{}", PORTS[n].0);
        same(&guest.download("10.180.13.1"), &hash("file"));
        self.outside.run(&format!("busybox wget -q -O {path}/fetched http://10.180.13.2:800{n}/file"));
        same(&guest.run("sha256sum </tmp/file"), &hash("fetched"));
    }

    fn link(&self, kind: &str) -> bool {
        let ports = self.switch.show("ports");
        ports.as_array().into_iter().flatten().any(|port| port["name"] == kind && port["link"] == true)
    }
}

#[test]
fn at_each_type_of_port_a_guest_reaches_is_reached_reboots_and_is_killed() {
    if in_user_namespace() {
        return;
    }
    let _turn = turn();
    let (mut lab, mut guests) = Lab::new();
    for (n, guest) in guests.iter_mut().enumerate() {
        guest.wait_until_up();
        lab.check(n, guest);
    }
    guests.iter_mut().for_each(Guest::reboot);
    for (n, guest) in guests.iter_mut().enumerate() {
        guest.wait_until_up();
        lab.check(n, guest);
    }
    lab.switch.kill_and_restart();
    lab.outside.address("10.180.13.1/24");
    for (n, guest) in guests.iter_mut().enumerate() {
        wait_until("switch and guest have found each other", || {
            guest.try_run("ping -c 1 -W 1 192.168.122.1").is_ok()
        });
        lab.check_transfers(n, guest);
    }
    let sink =
        lab.outside.enter(|| TcpListener::bind("10.180.13.1:9000")).expect("the address is the host's");
    let mut living = guests.into_iter().enumerate().collect::<Vec<_>>();
    while let Some((n, mut victim)) = living.pop() {
        victim.run("nc 10.180.13.1 9000 </dev/zero &");
        let (mut transfer, _) = sink.accept().expect("the guest connects");
        transfer.read_exact(&mut vec![1; 1 << 20]).expect("the guest sends");
        drop(victim);
        wait_until("its link is down", || {
            // With datagrams, who is gone is noticed when there is something to send.
            let _ = living.first_mut().map(|(_, guest)| guest.try_run("ping -c 1 -W 1 192.168.122.99"));
            !lab.link(PORTS[n].0)
        });
        for (n, guest) in &mut living {
            lab.check_transfers(*n, guest);
        }
    }
}

#[test]
fn s9_a_guest_on_an_imported_libvirt_network_gets_address_gateway_and_name_server() {
    if in_user_namespace() {
        return;
    }
    let _turn = turn();
    let (folder, host, outside) = (Folder::new(), Host::new(), Host::new());
    let file = folder.path().join("default.xml");
    fs::write(&file, DEFAULT_NETWORK).expect("the folder exists");
    let output = tapswitch(&["import", "libvirt", file.to_str().expect("ASCII"), "--uplink", "wan"]);
    assert!(output.status.success(), "{output:?}");
    let network = String::from_utf8(output.stdout).expect("ASCII");
    let config = format!(
        "{}[network.default.port.vm1]\ntype = \"packet\"\ndevice = \"tap1\"\n\
         [uplink.wan]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{outside}\"\naddress = \"10.180.13.2/24\"\n",
        network.replacen("[network.default]", "[network.default]\ndns = [\"10.180.13.1\"]", 1)
    );
    let _switch = Switch::start_on(&host, &config);
    outside.address("10.180.13.1/24");
    let mut guest = Guest::boot(
        &host,
        "-netdev tap,id=n0,ifname=tap1,script=no,downscript=no -device e1000,netdev=n0,mac=52:54:00:12:34:56",
    );
    guest.run(
        "printf '#!/bin/sh\\n[ $1 = bound ] && env; exec /etc/udhcpc $1\\n' >/tmp/told; chmod +x /tmp/told",
    );
    let told = guest.run("udhcpc -i eth0 -n -q -t 20 -T 1 -s /tmp/told");
    for line in ["router=192.168.122.1", "dns=10.180.13.1", "subnet=255.255.255.0", "ip=192.168.122.2"] {
        assert!(told.lines().any(|found| found == line), "no {line} in\n{told}");
    }
    guest.ping("192.168.122.1");
    guest.ping("10.180.13.1");
}

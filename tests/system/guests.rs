//! Real guests: Linux in QEMU, at each type of port, with each network card.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};

use crate::guest::Guest;
use crate::host::{DEVICE, Host, in_user_namespace};
use crate::switch::{Folder, Switch, tap, tapswitch, wait_until};

/// Tests with guests run one after the other: without hardware help, few guests keep a machine busy.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A network with DHCP behind an uplink, on whose other side `outside` is 10.180.13.1.
pub fn nat(outside: &Host, keys: &str, ports: &str) -> String {
    format!(
        "[network.lan]\nmode = \"nat\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\n\
         dhcp = \"192.168.122.2-192.168.122.99\"\n{keys}\n{ports}\
         [uplink.wan]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{outside}\"\n\
         address = \"10.180.13.2/24\"\ngateway = \"10.180.13.1\"\n"
    )
}

/// The table of a port: its type, and further keys.
pub fn port(name: &str, keys: &str) -> String {
    format!("[network.lan.port.{name}]\n{keys}\n")
}

/// What `tapswitch qemu-args` prints for the port.
#[track_caller]
pub fn qemu_args(config: &str, port: &str) -> String {
    print_for_port(config, port, &["qemu-args", "--memory", "128M"])
}

#[track_caller]
fn print_for_port(config: &str, port: &str, command: &[&str]) -> String {
    let folder = Folder::new();
    std::fs::write(folder.config(), config).expect("the folder exists");
    let (place, file) = (format!("lan/{port}"), folder.config());
    let output = tapswitch(&[command, &[&place, "--config", file.to_str().expect("ASCII")]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("ASCII")
}

/// Both get an address by DHCP and reach each other: ping, and a file whose hash is checked, both ways. Returns the
/// addresses.
#[track_caller]
pub fn reach_each_other(a: &mut Guest, b: &mut Guest) -> [String; 2] {
    let addresses = [a.dhcp(), b.dhcp()].map(|cidr| cidr.trim_end_matches("/24").to_owned());
    a.ping(&addresses[1]);
    b.ping(&addresses[0]);
    let (from_a, from_b) = (a.serve(), b.serve());
    assert_eq!(a.download(&addresses[1]), from_b);
    assert_eq!(b.download(&addresses[0]), from_a);
    addresses
}

#[test]
fn s3_guests_whose_qemu_opens_the_tap_are_on_the_network_with_either_card() {
    if in_user_namespace() {
        return;
    }
    let _turn = turn();
    let (host, outside) = (Host::new(), Host::new());
    let ports = port("vm1", "type = \"packet\"\ndevice = \"tap1\"")
        + &port("vm2", "type = \"packet\"\ndevice = \"tap2\"");
    let config = nat(&outside, "publish = [\"8080:192.168.122.2:80\"]", &ports);
    let switch = Switch::start_on(&host, &config);
    outside.address("10.180.13.1/24");
    // The line that people use, word by word; QEMU makes the tap.
    let e1000 =
        "-netdev tap,id=n0,ifname=tap1,script=no,downscript=no -device e1000,netdev=n0,mac=52:54:00:12:34:56";
    let mut first = Guest::power_on(&host, e1000);
    let mut second = Guest::boot(&host, &qemu_args(&config, "vm2"));
    first.wait_until_up();
    let addresses = reach_each_other(&mut first, &mut second);
    assert_eq!(addresses[0], "192.168.122.2");
    for guest in [&mut first, &mut second] {
        guest.ping("192.168.122.1");
        guest.ping("10.180.13.1");
    }
    let published = outside.run("busybox wget -q -O /dev/null http://10.180.13.2:8080/file");
    assert_eq!(published, "");
    let fdb = switch.show("fdb").to_string();
    assert!(fdb.contains("52:54:00:12:34:56") && fdb.contains("vm2"), "{fdb}");
}

#[test]
fn guests_at_streams_and_datagrams_and_a_namespace_at_a_tap_are_on_one_network() {
    let _turn = turn();
    let (folder, host, outside, container) = (Folder::new(), Host::new(), Host::new(), Host::new());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let ports = port("vm1", &format!("type = \"stream\"\npath = \"{}\"", path("vm1")))
        + &port(
            "vm2",
            &format!("type = \"dgram\"\npath = \"{}\"\npeer = \"{}\"", path("vm2"), path("vm2-qemu")),
        )
        + &port("vm3", &format!("type = \"stream\"\npath = \"{}\"\nrole = \"client\"", path("vm3")))
        + &tap("lan", "container", &container)
        + "mac = \"02:00:00:00:00:c0\"\n";
    let config = nat(&outside, "", &ports);
    let mut switch = Switch::start_on(&host, &config);
    outside.address("10.180.13.1/24");
    container.address("192.168.122.200/24");
    let [mut vm1, mut vm2, mut vm3] =
        ["vm1", "vm2", "vm3"].map(|name| Guest::power_on(&host, &qemu_args(&config, name)));
    for guest in [&mut vm1, &mut vm2, &mut vm3] {
        guest.wait_until_up();
    }
    let [first, second] = reach_each_other(&mut vm1, &mut vm2);
    vm3.dhcp();
    for guest in [&mut vm1, &mut vm2, &mut vm3] {
        guest.ping("10.180.13.1");
        guest.ping("192.168.122.200");
    }
    container.ping(&first);
    // Each in turn is restarted, and is there again.
    drop(vm1);
    let mut vm1 = Guest::boot(&host, &qemu_args(&config, "vm1"));
    assert_eq!(vm1.dhcp().trim_end_matches("/24"), first, "a guest that asks again gets the same address");
    vm1.ping(&second);
    switch.kill_and_restart();
    container.address("192.168.122.200/24");
    wait_until("the switch and the third guest have found each other", || {
        vm3.try_run("ping -c 1 -W 1 192.168.122.200").is_ok()
    });
    wait_until("so have the second and it", || vm2.try_run("ping -c 1 -W 1 192.168.122.200").is_ok());
}

#[test]
fn a_guest_whose_frames_are_udp_datagrams_is_on_the_network() {
    let _turn = turn();
    let (host, outside) = (Host::new(), Host::new());
    host.run("ip link set lo up");
    let ports = port("vm1", "type = \"udp\"\nlocal = \"127.0.0.1:20001\"\nremote = \"127.0.0.1:20002\"");
    let config = nat(&outside, "", &ports);
    let _switch = Switch::start_on(&host, &config);
    outside.address("10.180.13.1/24");
    let mut guest = Guest::boot(&host, &qemu_args(&config, "vm1"));
    assert_eq!(guest.dhcp(), "192.168.122.2/24");
    guest.ping("10.180.13.1");
}

/// Opens the userspace end of the macvtap `device` of `host`, for QEMU to inherit.
#[track_caller]
fn open_macvtap(host: &Host, device: &str, folder: &Folder) -> OwnedFd {
    let script = format!("mount -t sysfs none /sys && cat /sys/class/net/{device}/tap*/dev");
    let output =
        host.command("unshare").args(["--mount", "sh", "-c", &script]).output().expect("nsenter runs");
    let numbers = String::from_utf8_lossy(&output.stdout).trim().replace(':', " ");
    let path = folder.path().join(device);
    host.run(&format!("mknod {} c {numbers}", path.display()));
    rustix::fs::open(path, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty()).expect("it was just made")
}

#[test]
fn s22_a_guest_at_a_macvtap_and_a_veth_are_on_one_segment_and_tagged_frames_stay_tagged() {
    if in_user_namespace() {
        return;
    }
    let _turn = turn();
    let (folder, host, container) = (Folder::new(), Host::new(), Host::new());
    host.run(&format!("ip link add v0 type veth peer name {DEVICE} netns {container}"));
    container.run(&format!("ip link set {DEVICE} up"));
    // As libvirt's <interface type='direct'> does, but with a veth's end in the place of a network card.
    host.run("ip link add m0 type veth peer name m1");
    host.run("ip link set m1 up");
    host.run("ip link add link m1 name macvtap0 address 52:54:00:00:00:22 type macvtap mode bridge");
    host.run("ip link set macvtap0 up");
    let ports = port("vm1", "type = \"packet\"\ndevice = \"m0\"")
        + &port("vm2", &format!("type = \"stream\"\npath = \"{}\"", folder.path().join("vm2").display()))
        + &port("container", "type = \"packet\"\ndevice = \"v0\"");
    let config = format!("[network.lan]\nmode = \"internal\"\n{ports}");
    let _switch = Switch::start_on(&host, &config);
    let macvtap = open_macvtap(&host, "macvtap0", &folder);
    let card = format!(
        "-netdev tap,id=n0,fd={} -device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:22",
        macvtap.as_raw_fd()
    );
    let mut vm1 = Guest::power_on(&host, &card);
    let mut vm2 = Guest::power_on(&host, &qemu_args(&config, "vm2"));
    for (guest, number) in [(&mut vm1, 1), (&mut vm2, 2)] {
        guest.wait_until_up();
        guest.address(&format!("10.0.0.{number}/24"));
        guest.run("vconfig add eth0 42 && ip link set eth0.42 up");
        guest.run(&format!("ip address add 10.0.42.{number}/24 dev eth0.42"));
    }
    container.address("10.0.0.3/24");
    vm1.ping("10.0.0.3");
    vm2.ping("10.0.0.3");
    vm1.ping("10.0.42.2");
    let sent = vm2.serve();
    assert_eq!(vm1.download("10.0.42.2"), sent, "in super-frames with a tag");
    assert_eq!(vm1.download("10.0.0.2"), sent);
}

#[test]
fn libvirt_takes_what_is_printed_for_each_type_of_port() {
    let folder = Folder::new();
    let ports = [
        ("packet", "type = \"packet\"\ndevice = \"tap1\"\nmtu = 9000"),
        ("server", "type = \"vhost-user\"\npath = \"/run/a\""),
        ("client", "type = \"vhost-user\"\npath = \"/run/b\"\nrole = \"client\"\nmtu = 9000"),
        ("stream", "type = \"stream\"\npath = \"/run/o'neill & <co>\""),
        ("dgram", "type = \"dgram\"\npath = \"/run/c\"\npeer = \"/run/d\""),
    ];
    let config = "[network.lan]\nmode = \"internal\"\n".to_owned()
        + &ports.map(|(name, keys)| port(name, keys)).concat();
    let file = folder.path().join("domain.xml");
    for (name, _) in ports {
        let xml = print_for_port(&config, name, &["libvirt-xml"]);
        let (devices, behind) =
            if xml.contains("<interface") { (xml, String::new()) } else { (String::new(), xml) };
        let domain = format!(
            "<domain type='kvm'><name>vm</name><memory>131072</memory><os><type>hvm</type></os>\n\
             <devices>{devices}</devices>{behind}</domain>\n"
        );
        std::fs::write(&file, &domain).expect("the folder exists");
        let output =
            Command::new("virt-xml-validate").arg(&file).arg("domain").output().expect("it is installed");
        assert!(output.status.success(), "{domain}{}", String::from_utf8_lossy(&output.stderr));
    }
}

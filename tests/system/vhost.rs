//! Guests whose memory the switch shares: real ones in QEMU, dpdk-testpmd, and one that lies.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::fake_guest::{self, Guest as FakeGuest};
use crate::guest::Guest;
use crate::guests::{nat, port, qemu_args, reach_each_other, turn};
use crate::host::Host;
use crate::switch::{Folder, Switch, tap, wait_until};

/// The keys of a vhost-user port.
fn vhost(folder: &Folder, name: &str, role: &str) -> String {
    let path = folder.path().join(name);
    port(name, &format!("type = \"vhost-user\"\npath = \"{}\"\nrole = \"{role}\"", path.display()))
}

/// QEMU's options for a guest at the port, without MSI-X: with it, QEMU 7.2 crashes when it has neither hardware help
/// nor its own vhost.
fn card(config: &str, name: &str) -> String {
    qemu_args(config, name).replace("-device virtio-net-pci,", "-device virtio-net-pci,vectors=0,")
}

#[test]
fn guests_share_their_memory_with_the_switch() {
    let _turn = turn();
    let (folder, host, outside, container) = (Folder::new(), Host::new(), Host::new(), Host::new());
    let ports = vhost(&folder, "vm1", "server")
        + &vhost(&folder, "vm2", "client")
        + &tap("lan", "container", &container)
        + "mac = \"02:00:00:00:00:c0\"\n";
    let config = nat(&outside, "", &ports) + "[engine]\npoll = \"adaptive\"\n";
    let mut switch = Switch::start_on(&host, &config);
    outside.address("10.180.13.1/24");
    container.address("192.168.122.200/24");
    // The second has two processors, a pair of queues for each, and room for more memory.
    let path = folder.path().join("monitor");
    let vm2_card = card(&config, "vm2")
        .replace("-netdev vhost-user,", "-netdev vhost-user,queues=2,")
        .replace("-device virtio-net-pci,", "-smp 2 -device virtio-net-pci,mq=on,")
        .replace(
            "-m 128M ",
            &format!("-m 128M,slots=1,maxmem=256M -monitor unix:{},server=on,wait=off ", path.display()),
        );
    let mut vm1 = Guest::power_on(&host, &card(&config, "vm1"));
    let mut vm2 = Guest::boot(&host, &vm2_card);
    vm1.wait_until_up();
    let [first, second] = reach_each_other(&mut vm1, &mut vm2);
    container.ping(&first);
    for guest in [&mut vm1, &mut vm2] {
        guest.ping("10.180.13.1");
        guest.ping("192.168.122.200");
    }
    // The driver goes and comes back, first with one processor: then it switches the second pair of queues off.
    for processors in [1, 2] {
        let driver = "rmmod virtio_net && insmod /modules/virtio_net.ko && ip link set eth0 up";
        vm2.run(&format!("echo {} >/sys/devices/system/cpu/cpu1/online && {driver}", processors - 1));
        assert_eq!(
            vm2.dhcp().trim_end_matches("/24"),
            second,
            "a guest that asks again gets the same address"
        );
        let queues = vm2.run("ls -d /sys/class/net/eth0/queues/rx-*");
        assert_eq!(queues.split_whitespace().count(), processors, "{queues}");
        let sent = vm2.run("sha256sum </tmp/file");
        assert_eq!(vm1.download(&second), sent);
    }
    // What else drivers ask their card for.
    vm2.run(
        "ip link set eth0 promisc on && ifconfig eth0 allmulti && ip link set eth0 address 02:00:00:00:00:77",
    );
    vm2.ping(&first);
    assert!(switch.show("fdb").to_string().contains("02:00:00:00:00:77"));
    plug_memory(&mut vm2, &path);
    let sent = vm1.run("sha256sum </tmp/file");
    assert_eq!(vm2.download(&first), sent);
    // So does the guest; so does the switch.
    drop(vm1);
    let mut vm1 = Guest::boot(&host, &card(&config, "vm1"));
    vm1.dhcp();
    let sent = vm2.run("sha256sum </tmp/file");
    assert_eq!(vm1.download(&second), sent);
    switch.kill_and_restart();
    container.address("192.168.122.200/24");
    for guest in [&mut vm1, &mut vm2] {
        wait_until("the switch and the guest have found each other", || {
            guest.try_run("ping -c 1 -W 1 192.168.122.200").is_ok()
        });
    }
    assert_eq!(vm1.download(&second), sent);
}

/// Gives the guest more memory while its rings run, and fills what there was with something else. `monitor` is where its
/// QEMU takes commands.
#[track_caller]
fn plug_memory(guest: &mut Guest, monitor: &Path) {
    guest.run("echo online_kernel >/sys/devices/system/memory/auto_online_blocks");
    let mut monitor = UnixStream::connect(monitor).expect("QEMU listens");
    let commands = "object_add memory-backend-memfd,id=more,size=128M,share=on\ndevice_add pc-dimm,id=dimm,memdev=more\n";
    monitor.write_all(commands.as_bytes()).expect("QEMU listens");
    guest.run("until [ $(awk '/MemTotal/ {print $2}' /proc/meminfo) -gt 100000 ]; do sleep 0.1; done");
    guest.run(
        "mkdir /full && mount -t tmpfs -o size=60m none /full && head -c 60000000 /dev/zero >/full/zeros",
    );
}

/// A switch with the vhost-user ports `a` to `d`.
fn four_ports(folder: &Folder, poll: &str) -> String {
    let ports = ["a", "b", "c", "d"].map(|name| vhost(folder, name, "server")).concat();
    format!("[network.lan]\nmode = \"internal\"\n{ports}[engine]\npoll = \"{poll}\"\n")
}

fn connect(path: &Path) -> FakeGuest {
    let mut guest = FakeGuest::connect(path);
    guest.start(fake_guest::BASE, 2);
    guest.fill(0, 200);
    guest
}

/// A broadcast from one arrives at the other.
#[track_caller]
fn passes(from: &mut FakeGuest, to: &mut FakeGuest, number: u8) {
    let frame = [[0xff; 6].as_slice(), &[2, 0, 0, 0, 0, number], &[0x88, 0xb5], &[number; 46]].concat();
    wait_until("a frame passes", || {
        from.send(1, &[0; 12], &frame);
        from.kick(1);
        to.fill(0, 1);
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::iter::from_fn(|| to.receive(0)).any(|received| received[12..] == frame)
    });
}

#[test]
fn every_way_of_polling_moves_frames_and_can_be_changed_at_any_time() {
    let folder = Folder::new();
    let switch = Switch::start(&four_ports(&folder, "event"));
    let [mut a, mut b] = ["a", "b"].map(|name| connect(&folder.path().join(name)));
    for (number, poll) in (1..).zip(["busy", "adaptive", "event", "busy"]) {
        passes(&mut a, &mut b, number);
        passes(&mut b, &mut a, number);
        let output = switch.reload(&four_ports(&folder, poll));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    passes(&mut a, &mut b, 99);
}

/// Processor time that the switch has used, in ticks of 10 ms.
fn ticks(switch: &Switch) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", switch.pid())).expect("it runs");
    // User and system time are the 14th and 15th word; the second, the name, is in parentheses.
    let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    words.filter_map(|word| word.parse::<u64>().ok()).sum()
}

#[test]
fn adaptive_polling_sleeps_when_nothing_moves() {
    let folder = Folder::new();
    let switch = Switch::start(&four_ports(&folder, "adaptive"));
    let [mut a, mut b] = ["a", "b"].map(|name| connect(&folder.path().join(name)));
    for number in 1..4 {
        passes(&mut a, &mut b, number);
        let before = ticks(&switch);
        std::thread::sleep(std::time::Duration::from_millis(500));
        let used = ticks(&switch) - before;
        assert!(used < 5, "{used} ticks while nothing moved");
    }
}

#[test]
fn a_guest_that_lies_loses_its_port_and_nobody_else_notices() {
    type Lie = (&'static str, fn(&mut FakeGuest));
    let lies: &[Lie] = &[
        ("more buffers are available than the ring has", |liar| liar.set_available_index(1, 5000)),
        ("a chain of descriptors that does not end", |liar| {
            liar.describe(1, 0, (FakeGuest::buffer(1, 0), 1), fake_guest::NEXT, 0);
            liar.offer(1, 0);
        }),
        ("outside the shared memory", |liar| {
            liar.describe(1, 0, (0, 60), 0, 0);
            liar.offer(1, 0);
        }),
        ("request 99, which was not agreed on", |liar| liar.ask(99, &[], &[])),
        ("shared memory disappeared", |liar| liar.memory.set_len(0).expect("it is a memfd")),
        ("closed the connection", |liar| {
            let half = &fake_guest::message(fake_guest::SET_FEATURES, 1, &[0; 8])[..9];
            liar.send_bytes(half, &[]).expect("the switch listens");
            liar.socket.shutdown(std::net::Shutdown::Both).expect("it is connected");
        }),
    ];
    let folder = Folder::new();
    let switch = Switch::start(&four_ports(&folder, "event"));
    let [mut a, mut b] = ["a", "b"].map(|name| connect(&folder.path().join(name)));
    for (number, (said, lie)) in (1..).zip(lies) {
        let mut liar = connect(&folder.path().join("c"));
        passes(&mut liar, &mut a, number);
        lie(&mut liar);
        liar.kick(1);
        // Somebody sends it frames, too.
        passes(&mut a, &mut b, number);
        wait_until("the liar is thrown out", || {
            liar.kick(1);
            liar.is_disconnected()
        });
        wait_until("the log says why", || switch.log().contains(said));
        passes(&mut b, &mut a, number + 100);
    }
    let log = switch.log();
    assert!(!log.contains("port=\"lan/a\" loss") && !log.contains("port=\"lan/b\" loss"), "{log}");
    switch.terminate();
}

#[test]
fn dpdk_bounces_frames_through_the_switch() {
    let folder = Folder::new();
    let switch = Switch::start(&four_ports(&folder, "adaptive"));
    let mut testpmd = Testpmd::start(&folder);
    testpmd.say("start tx_first 4");
    let received = |switch: &Switch| {
        let ports = switch.show("ports");
        let of = |port: &serde_json::Value| port["rx_frames"].as_u64().unwrap_or(0);
        ports
            .as_array()
            .into_iter()
            .flatten()
            .map(of)
            .min_by_key(|&frames| if frames == 0 { u64::MAX } else { frames })
    };
    wait_until("frames go round and round", || received(&switch) > Some(100_000));
    // The rings are stopped and started again.
    for command in ["stop", "port stop all", "port start all", "start tx_first 4"] {
        testpmd.say(command);
    }
    let before = received(&switch);
    wait_until("they go on", || received(&switch) > before.map(|frames| frames + 100_000));
    let drops = switch.show("drops").to_string();
    assert!(!drops.contains("bad_") && !drops.contains("too_"), "{drops}");
}

/// DPDK's traffic generator on the ports `a` and `b`: what comes in on one goes out on the other.
struct Testpmd(Child);

impl Testpmd {
    fn start(folder: &Folder) -> Self {
        let device = |number: u8, name: &str| {
            let path = folder.path().join(name);
            format!("--vdev=net_virtio_user{number},path={},mac=02:00:00:00:00:0{number}", path.display())
        };
        let prefix = format!("--file-prefix=tapswitch-{}", std::process::id());
        // Memory without huge pages will do here.
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "dpdk-testpmd",
            "--lcores=0@0,1@0",
            "--no-pci",
            "--no-huge",
            "-m",
            "256",
        ]);
        command.args([prefix, device(0, "a"), device(1, "b")]);
        command.args([
            "--",
            "-i",
            "--total-num-mbufs=4096",
            "--eth-peer=0,02:00:00:00:00:01",
            "--eth-peer=1,02:00:00:00:00:00",
        ]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.expect("setpriv runs"))
    }

    fn say(&mut self, command: &str) {
        let stdin = self.0.stdin.as_mut().expect("it is piped");
        stdin.write_all(format!("{command}\n").as_bytes()).expect("testpmd runs");
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

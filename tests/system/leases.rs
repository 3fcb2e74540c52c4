//! Leases: on the disk before the client hears of them, in the log, and never of an address that somebody uses.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use packet::MacAddr;
use packet::builder::eth;
use serde_json::Value;
use tapio::testing::PacketSocket;

use crate::dhcp::Lab;
use crate::host::{DEVICE, Host};
use crate::switch::{Switch, tap, wait_until};

/// What a lease is: whose, and which.
fn leases(switch: &Switch) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lease = |lease: &Value| (text(&lease["address"]), text(&lease["mac"]), text(&lease["host_name"]));
    switch.show("leases").as_array().expect("a list").iter().map(lease).collect()
}

fn lines(switch: &Switch, with: &str) -> usize {
    switch.log().lines().filter(|line| line.contains(with)).count()
}

/// Guest b gets a second lease of the network, and ends with giving it back.
fn lease_and_give_back(lab: &Lab, options: &str) {
    let (script, told) = lab
        .script(&lab.b, "[ $1 = bound ] && ip address replace $ip/$mask dev $interface && echo $ip >$TOLD");
    let client = lab.b.start(&format!("busybox udhcpc -f -R -i {DEVICE} -s {} {options}", script.display()));
    wait_until("it has a lease", || fs::read_to_string(&told).is_ok_and(|text| !text.is_empty()));
    let pid = rustix::process::Pid::from_child(&client.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    wait_until("the lease is given back", || leases(&lab.switch).len() == 1);
}

/// A message of RFC 2131, figure 1, with these options.
fn message(client: MacAddr, agent: Ipv4Addr, options: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[24..28].copy_from_slice(&agent.octets());
    message[28..34].copy_from_slice(&client.octets());
    message.extend([99, 130, 83, 99]);
    message.extend(options);
    message.push(255);
    message
}

fn discover(client: MacAddr) -> Vec<u8> {
    let broadcast = eth().src(client).dst(MacAddr::BROADCAST);
    let ip = broadcast.ipv4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    ip.udp(68, 67).payload(&message(client, Ipv4Addr::UNSPECIFIED, &[53, 1, 1]))
}

#[test]
fn every_lease_outlasts_kill_9_as_soon_as_its_client_has_heard_of_it() {
    let mut lab = Lab::new(110);
    for (host, name) in [(&lab.a, "alice"), (&lab.b, "bob")] {
        lab.udhcpc(host, &format!("-x hostname:{name}")).expect("there are addresses");
        let before = leases(&lab.switch);
        lab.switch.kill_and_restart();
        assert_eq!(leases(&lab.switch), before);
    }
    let known = leases(&lab.switch);
    assert_eq!((known.len(), known[0].1.as_str(), known[0].2.as_str()), (2, &*lab.a.mac(), "alice"));
    let expires_in = lab.switch.show("leases")[0]["expires_in_ms"].as_u64().expect("a number");
    assert!((3_500_000..=3_601_000).contains(&expires_in), "{expires_in}");
    assert_eq!(lab.udhcpc(&lab.a, "").expect("it has one").get("ip"), known[0].0);
    assert!(lab.switch.log().contains("kept leases go on"));
    let mode = fs::metadata(lab.switch.leases()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    lab.switch.terminate();
}

#[test]
fn an_orderly_end_leaves_leases_and_what_was_given_back_is_gone() {
    let mut lab = Lab::new(110);
    let lease = lab.udhcpc(&lab.a, "").expect("there are addresses");
    lease_and_give_back(&lab, "");
    assert!(lab.switch.signal(rustix::process::Signal::TERM).success());
    lab.switch.restart();
    let left = leases(&lab.switch);
    assert_eq!((left.len(), left[0].0.as_str()), (1, lease.get("ip")));
}

#[test]
fn a_server_that_lost_its_leases_gives_no_live_guests_address_away() {
    let mut lab = Lab::new(110);
    let live = lab.udhcpc(&lab.a, "").expect("there are addresses");
    lab.switch.kill();
    fs::remove_file(lab.switch.leases()).expect("it was kept");
    lab.switch.restart();
    assert!(leases(&lab.switch).is_empty());
    let address = live.get("ip");
    std::thread::scope(|scope| {
        let pings = scope.spawn(|| lab.a.run("ping -n -q -c 80 -i 0.05 -W 3 192.168.122.1"));
        // One asks for just that address, the other for any, again and again.
        let wanted = lab.udhcpc(&lab.b, &format!("-r {address}")).expect("there are addresses");
        assert_ne!(wanted.get("ip"), address);
        let other = lab.dhclient(&lab.b);
        assert_ne!(other.get("new_ip_address"), address);
        lab.b.ping(address);
        let printed = pings.join().expect("it has its time limit");
        assert!(printed.contains(" 80 received"), "{printed}");
    });
    // The guest that lives there gets it again, by INIT-REBOOT or by renewing.
    let again = lab.udhcpc(&lab.a, &format!("-r {address}")).expect("there are addresses");
    assert_eq!(again.get("ip"), address);
}

#[test]
fn a_silent_guest_with_an_address_of_its_own_keeps_it_and_the_log_says_who_that_is() {
    let lab = Lab::new(101);
    lab.a.address("192.168.122.100/24");
    let lease = lab.udhcpc(&lab.b, "").expect("there is one left");
    assert_eq!(lease.host_number(), 101);
    lab.a.ping("192.168.122.1");
    let said = format!("address=192.168.122.100 mac={}", lab.a.mac());
    let log = lab.switch.log();
    assert!(log.lines().any(|line| line.contains("in use without a lease") && line.contains(&said)), "{log}");
    assert!(log.contains("network=\"default\""), "{log}");
}

#[test]
fn dhclient_is_not_offered_the_address_of_a_guest_that_the_gateway_knows_but_that_answers_nobody() {
    let lab = Lab::new(101);
    lab.a.address("192.168.122.100/24");
    lab.a.ping("192.168.122.1");
    // As a guest that is paused.
    lab.a.run(&format!("ip link set {DEVICE} arp off"));
    let lease = lab.dhclient(&lab.b);
    assert_eq!(lease.host_number(), 101);
}

#[test]
fn the_log_says_who_got_what_and_who_gave_it_back_but_not_who_renews() {
    let lab = Lab::new(110);
    for _ in 0..3 {
        lab.udhcpc(&lab.a, "-x hostname:alice").expect("there are addresses");
    }
    lease_and_give_back(&lab, "-x hostname:\u{1b}[31m");
    wait_until("the log says so", || lines(&lab.switch, "lease given back") == 1);
    let said = format!("network=\"default\" address=192.168.122.100 mac={} name=\"alice\"", lab.a.mac());
    let log = lab.switch.log();
    let leased: Vec<&str> = log.lines().filter(|line| line.contains(" leased ")).collect();
    assert!(leased.len() == 2 && leased[0].contains(&said), "{leased:?}");
    assert!(leased[1].contains("name=\"-\"") && !log.contains("[31m"), "{leased:?}");
}

#[test]
fn a_file_that_holds_no_leases_is_refused_in_one_line_and_the_next_leases_are_kept() {
    let mut lab = Lab::new(110);
    lab.udhcpc(&lab.a, "").expect("there are addresses");
    let sound = fs::read(lab.switch.leases()).expect("it was kept");
    let cut = sound[..sound.len() - 9].to_vec();
    for (bytes, reason) in [
        (b"[network.default]\nmode = \"nat\"\n".to_vec(), "these are no leases"),
        (vec![0xff; 100_000], "these are no leases"),
        (Vec::new(), "these are no leases"),
        (cut, "line 2 is damaged"),
    ] {
        lab.switch.kill();
        fs::write(lab.switch.leases(), &bytes).expect("the folder is there");
        lab.switch.restart();
        let log = lab.switch.log();
        let refused = format!("starting without the leases in {}: {reason}", lab.switch.leases().display());
        let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
        assert!(errors.len() == 1 && errors[0].contains(&refused), "{log}");
        let aside = format!("{}.refused", lab.switch.leases().display());
        assert!(fs::read(aside).expect("nothing is lost") == bytes);
        assert!(leases(&lab.switch).is_empty());
        lab.udhcpc(&lab.b, "").expect("there are addresses");
        let before = leases(&lab.switch);
        lab.switch.kill_and_restart();
        assert_eq!(leases(&lab.switch), before);
    }
}

#[test]
fn invented_clients_neither_lock_the_range_nor_cause_anything_to_be_written() {
    let lab = Lab::new(119);
    lab.udhcpc(&lab.b, "").expect("there are addresses");
    let version = || {
        let file = fs::metadata(lab.switch.leases()).expect("it is there");
        (file.ino(), file.mtime_nsec())
    };
    let before = version();
    let socket = lab.a.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    for n in 0..500 {
        socket.send(&discover(MacAddr::local(0x1000 + n))).expect("the queue is empty");
    }
    assert_eq!(version(), before, "an offer is no lease");
    let lease = lab.udhcpc(&lab.a, "").expect("offers that nobody takes are no leases");
    assert!((100..=119).contains(&lease.host_number()));
    assert_eq!(leases(&lab.switch).len(), 2);
}

#[test]
fn a_client_behind_a_relay_agent_is_served_through_it() {
    let lab = Lab::new(110);
    let client = Host::new();
    // The agent has a leg in the network, and one towards the client with the address that it says it relays for.
    lab.a.address("192.168.122.2/24");
    lab.a.run(&format!("ip link add inner type veth peer name {DEVICE} netns {client}"));
    lab.a.run("ip address add 192.168.122.3/32 dev inner");
    lab.a.run("ip link set inner up");
    client.run(&format!("ip link set {DEVICE} up"));
    let _agent = lab.a.start(
        "dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --pid-file --leasefile-ro --user=root \
         --dhcp-relay=192.168.122.3,192.168.122.1",
    );
    let lease = lab.udhcpc(&client, "-t 10").expect("the agent passes it on");
    assert!((100..=110).contains(&lease.host_number()));
    let known = leases(&lab.switch);
    assert_eq!((known.len(), known[0].1.as_str()), (1, &*client.mac()));
}

#[test]
fn an_agents_option_comes_back_and_an_agent_of_another_subnet_is_a_named_drop() {
    let lab = Lab::new(110);
    lab.a.address("192.168.122.2/24");
    let socket = lab.a.enter(|| UdpSocket::bind("192.168.122.2:67")).expect("nobody else has it");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let options = [&[53, 1, 1, 82, 6, 1, 4][..], b"leaf"].concat();
    let send = |agent: [u8; 4]| {
        let message = message(MacAddr::local(0x77), agent.into(), &options);
        socket.send_to(&message, "192.168.122.1:67").expect("the datagram leaves");
    };
    send([192, 168, 122, 2]);
    let mut answer = [0; 1500];
    let (len, from) = socket.recv_from(&mut answer).expect("the agent is answered");
    assert_eq!(from.to_string(), "192.168.122.1:67");
    assert_eq!((answer[0], &answer[24..28]), (2, &[192, 168, 122, 2][..]));
    assert!(answer[..len].windows(8).any(|bytes| bytes == [&[82, 6, 1, 4][..], b"leaf"].concat()));
    send([10, 9, 9, 9]);
    wait_until("it is dropped", || lab.switch.show("drops").to_string().contains("dhcp_foreign_relay"));
}

#[test]
fn leases_are_kept_where_the_file_says_and_a_reload_may_say_otherwise() {
    let host = Host::new();
    let lab_folder = crate::switch::Folder::new();
    let config = |engine: &str| {
        format!(
            "[network.lan]\nmode = \"host-only\"\naddress = \"10.1.0.1/24\"\ndhcp = \"10.1.0.10-10.1.0.20\"\n{}{engine}",
            tap("lan", "a", &host)
        )
    };
    let (state, named) = (lab_folder.path().join("state"), lab_folder.path().join("deep/er/named"));
    let switch = Switch::start(&config(&format!("[engine]\nstate = \"{}\"\n", state.display())));
    let beside = lab_folder.path().join("state.leases");
    host.run(&format!("busybox udhcpc -f -q -n -t 4 -T 2 -i {DEVICE} -s /bin/true"));
    assert_eq!(fs::read_to_string(&beside).expect("beside `state`").lines().count(), 2);
    let reload = |engine: &str| {
        let output = switch.reload(&config(engine));
        assert!(output.status.success(), "{output:?}");
    };
    reload(&format!("[engine]\nleases = \"{}\"\n", named.display()));
    let moved = || fs::read_to_string(&named).is_ok_and(|text| text.lines().count() == 2);
    wait_until("all leases are in the other file", moved);
    reload("[engine]\nleases = \"none\"\n");
    fs::remove_file(&named).expect("it is there");
    host.run(&format!("busybox udhcpc -f -q -n -t 4 -T 2 -i {DEVICE} -s /bin/true"));
    assert_eq!(switch.show("leases").as_array().map(Vec::len), Some(1));
    assert!(!named.exists());
    switch.terminate();
}

#[test]
fn a_client_that_answers_the_probe_for_its_own_address_gets_it() {
    let lab = Lab::new(110);
    lab.a.address("192.168.122.105/24");
    // It answers the probe itself.
    let lease = lab.udhcpc(&lab.a, "-r 192.168.122.105").expect("there are addresses");
    assert_eq!(lease.host_number(), 105);
    assert_eq!(lines(&lab.switch, "in use"), 0);
}

/// A request of an invented client for the address of that number, or that it declines it.
fn of_invented(n: u8, kind: u8) -> Vec<u8> {
    let client = MacAddr::local(0x5000 + u64::from(n));
    let mut options = vec![53, 1, kind, 50, 4, 192, 168, 122, n];
    if kind == DECLINE {
        options.extend([54, 4, 192, 168, 122, 1]);
    }
    let broadcast = eth().src(client).dst(MacAddr::BROADCAST);
    let ip = broadcast.ipv4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    ip.udp(68, 67).payload(&message(client, Ipv4Addr::UNSPECIFIED, &options))
}

const REQUEST: u8 = 3;
const DECLINE: u8 = 4;

#[test]
fn a_guest_that_invents_clients_takes_no_more_of_the_range_than_its_share_and_another_finds_an_address() {
    let lab = Lab::new(119);
    let socket = lab.a.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    let send = |kind| (100..=119).for_each(|n| socket.send(&of_invented(n, kind)).expect("there is room"));
    send(REQUEST);
    wait_until("it has its share", || leases(&lab.switch).len() == 16);
    let lease = lab.udhcpc(&lab.b, "").expect("there are some left");
    assert!(lab.switch.show("drops").to_string().contains("dhcp_share_used"));
    // What it declines is set aside, and stays its part; b keeps what it has, and finds another one later.
    send(DECLINE);
    wait_until("all are declined", || leases(&lab.switch).len() == 1);
    send(REQUEST);
    send(DECLINE);
    assert_eq!(
        lab.udhcpc(&lab.b, &format!("-r {}", lease.get("ip"))).expect("it is its own").get("ip"),
        lease.get("ip")
    );
    lab.udhcpc(&lab.b, "-x 0x3d:01020304050607").expect("there are some left");
    lab.switch.terminate();
}

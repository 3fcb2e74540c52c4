//! Signals that come at a bad time: while a reload is under way, or many at once.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::host::Host;
use crate::switch::{Switch, tap, wait_until};

const MODE: &str = "[network.lan]\nmode = \"internal\"\n";

#[test]
fn sigterm_while_a_reload_is_under_way_leaves_the_host_as_it_was() {
    let (host, a) = (Host::new(), Host::new());
    host.run("ip tuntap add mode tap name kept vnet_hdr");
    host.run("ip link add v0 type veth peer name v1");
    for device in ["kept", "v0"] {
        // With the first time the kernel gives it a queueing discipline.
        host.run(&format!("ip link set {device} up"));
        host.run(&format!("ip link set {device} down"));
    }
    let mut small = format!("{MODE}{}", tap("lan", "a", &a));
    let mut large = small.clone();
    small += "[network.lan.port.kept]\ntype = \"tap\"\n";
    large += "[network.lan.port.kept]\ntype = \"tap\"\nmtu = 1400\n\
              [network.lan.port.card]\ntype = \"packet\"\ndevice = \"v0\"\nhost-stack = true\n";
    for n in 0..100 {
        large += &format!("[network.lan.port.m{n}]\ntype = \"tap\"\n");
    }
    let links = || host.run("ip -o link show");
    let before = links();
    // Reading, opening, going over to it, closing: each is met by some of these.
    for delay in [0, 2, 5, 10, 20, 40, 80, 160] {
        let mut switch = Switch::start_on(&host, &small);
        replace_config(&switch, &large);
        hang_up(&switch);
        thread::sleep(Duration::from_millis(delay));
        if delay % 4 == 0 {
            // Back again, before that one is done.
            replace_config(&switch, &small);
            hang_up(&switch);
        }
        assert!(switch.signal(Signal::TERM).success(), "after {delay} ms");
        assert_eq!(links(), before, "after {delay} ms: {}", switch.log());
    }
}

#[test]
fn of_fifty_sighups_the_last_file_wins_and_nothing_is_left_of_the_others() {
    let (host, a) = (Host::new(), Host::new());
    let config = |n: usize| {
        let taps: String =
            (0..n % 7).map(|nth| format!("[network.lan.port.m{n}x{nth}]\ntype = \"tap\"\n")).collect();
        format!(
            "{MODE}{}[network.lan.port.n{n}]\ntype = \"tap\"\ndevice = \"t0\"\n{taps}",
            tap("lan", "a", &a)
        )
    };
    let switch = Switch::start_on(&host, &config(0));
    let names = || {
        let ports = switch.show("ports");
        let names = ports.as_array().into_iter().flatten().filter_map(|port| port["name"].as_str());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    // The first reload has started what stays.
    assert!(switch.reload(&config(7)).status.success());
    wait_until("it is quiet", || threads(&switch).iter().all(|name| name != "close"));
    let (threads_before, open, links) = (threads(&switch).len(), descriptors(&switch), links(&host));
    for n in 1..=50 {
        replace_config(&switch, &config(n));
        hang_up(&switch);
        if n % 10 == 0 {
            hang_up(&switch);
        }
    }
    // 49 has as many ports as 7 had.
    replace_config(&switch, &config(49));
    hang_up(&switch);
    wait_until("the last file wins", || names() == ["a", "n49"]);
    assert!(switch.reload(&config(7)).status.success());
    assert_eq!(names(), ["a", "n7"]);
    wait_until("nothing is left of the others", || {
        (threads(&switch).len(), descriptors(&switch), self::links(&host)) == (threads_before, open, links)
    });
    let log = switch.log();
    assert!(log.matches("configuration reloaded").count() <= 54, "{log}");
    assert!(!log.contains("failed"), "{log}");
    switch.terminate();
}

/// At once, as editors do: the switch may read it at any time.
fn replace_config(switch: &Switch, text: &str) {
    let new = switch.config().with_extension("new");
    fs::write(&new, text).and_then(|()| fs::rename(new, switch.config())).expect("the folder exists");
}

fn hang_up(switch: &Switch) {
    let pid = Pid::from_raw(switch.pid().cast_signed()).expect("no process is 0");
    kill_process(pid, Signal::HUP).expect("it runs");
}

fn links(host: &Host) -> usize {
    host.run("ip -o link show").lines().count()
}

fn descriptors(switch: &Switch) -> usize {
    fs::read_dir(format!("/proc/{}/fd", switch.pid())).expect("it runs").count()
}

/// The names of its threads.
fn threads(switch: &Switch) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", switch.pid())).expect("it runs").flatten();
    // One that ends meanwhile has none.
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

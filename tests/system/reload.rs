//! Reloads: what changes, what stays, and that one that fails has touched nothing.

use std::fs;
use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Stdio;

use crate::host::{DEVICE, Host, in_user_namespace};
use crate::switch::{Folder, Switch, tap, wait_until};

/// A network of ports of every type, each of which takes part in traffic or is held by somebody.
struct Lab {
    /// The switch's own place.
    host: Host,
    a: Host,
    b: Host,
    /// Where nothing of ours is.
    spare: Host,
    folder: Folder,
}

impl Lab {
    fn new() -> Self {
        let lab = Self {
            host: Host::new(),
            a: Host::new(),
            b: Host::new(),
            spare: Host::new(),
            folder: Folder::new(),
        };
        lab.host.run("ip link add v0 type veth peer name v1");
        lab.host.run("ip link set v1 up");
        lab.spare.run("ip link add v8 type veth peer name v9");
        lab
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn config(&self) -> String {
        let (web, b) = (tap("lan", "web", &self.a), tap("lan", "b", &self.b));
        let [stream, dgram, peer, vhost] = ["stream", "dgram", "peer", "vhost"].map(|name| self.path(name));
        format!(
            "[network.lan]\nmode = \"internal\"\n\
             {web}peer-address = \"10.1.0.1/24\"\n{b}peer-address = \"10.1.0.2/24\"\n\
             [network.lan.port.stream]\ntype = \"stream\"\npath = \"{stream}\"\n\
             [network.lan.port.dgram]\ntype = \"dgram\"\npath = \"{dgram}\"\npeer = \"{peer}\"\n\
             [network.lan.port.vhost]\ntype = \"vhost-user\"\npath = \"{vhost}\"\n\
             [network.lan.port.card]\ntype = \"packet\"\ndevice = \"v0\"\nhost-stack = true\n"
        )
    }
}

/// What is lost when a device is made anew: its number, its address, the routes over it.
fn identity(host: &Host) -> String {
    let link = host.run(&format!("ip -o link show dev {DEVICE}"));
    let link = link.split(" qlen").next().unwrap_or_default().to_owned();
    link + &host.run("ip route show") + &host.run("ip -o -4 address show")
}

/// The text with one thing instead of another, which is there.
fn with(config: &str, old: &str, new: &str) -> String {
    assert!(config.contains(old), "{old} is in the configuration");
    config.replace(old, new)
}

/// Valid changes of each key that concerns a device, each by its name.
fn changes(lab: &Lab) -> Vec<(&'static str, String)> {
    let (config, a) = (lab.config(), &lab.a);
    let web = tap("lan", "web", a);
    let in_web = |text: &str| with(&config, &web, &format!("{web}{text}\n"));
    let [stream, dgram, vhost] =
        ["stream", "dgram", "vhost"].map(|name| format!("path = \"{}\"", lab.path(name)));
    vec![
        ("mac", in_web("mac = \"02:00:00:00:00:77\"")),
        ("mtu", in_web("mtu = 1400")),
        ("offload", in_web("offload = false")),
        ("peer-address", with(&config, "10.1.0.1/24", "10.1.0.7/24")),
        ("tap device", with(&config, &web, &web.replace(DEVICE, "eth1"))),
        ("netns", with(&config, &web, &tap("lan", "web", &lab.spare))),
        (
            "netns by its path",
            with(&config, &format!("netns = \"{a}\""), &format!("netns = \"/proc/{a}/ns/net\"")),
        ),
        ("port name", with(&config, "lan.port.web", "lan.port.www")),
        ("network", with(&config, "lan.port.web", "dmz.port.web") + "[network.dmz]\nmode = \"internal\"\n"),
        (
            "tap to packet",
            with(
                &config,
                &format!("{web}peer-address = \"10.1.0.1/24\""),
                &web.replace("\"tap\"", "\"packet\"\nhost-stack = true"),
            ),
        ),
        (
            "tap to stream",
            with(
                &config,
                &format!("{web}peer-address = \"10.1.0.1/24\""),
                &format!("[network.lan.port.web]\ntype = \"stream\"\npath = \"{}\"", lab.path("web")),
            ),
        ),
        ("host-stack", with(&config, "host-stack = true", "host-stack = false")),
        ("packet device", with(&config, "\"v0\"", "\"v9\"")),
        (
            "packet to tap",
            with(
                &config,
                "type = \"packet\"\ndevice = \"v0\"\nhost-stack = true",
                "type = \"tap\"\ndevice = \"v9\"",
            ),
        ),
        ("stream path", with(&config, &stream, &stream.replace("/stream", "/new-stream"))),
        ("stream role", with(&config, &stream, &format!("{stream}\nrole = \"client\""))),
        (
            "stream to dgram",
            with(&config, &format!("\"stream\"\n{stream}"), &format!("\"dgram\"\n{stream}\npeer = \"/x\"")),
        ),
        (
            "stream to vhost-user",
            with(&config, &format!("\"stream\"\n{stream}"), &format!("\"vhost-user\"\n{stream}")),
        ),
        ("dgram path", with(&config, &dgram, &dgram.replace("/dgram", "/new-dgram"))),
        ("dgram peer", with(&config, "/peer\"", "/other-peer\"")),
        ("vhost-user offload", with(&config, &vhost, &format!("{vhost}\noffload = false"))),
        ("vhost-user path", with(&config, &vhost, &vhost.replace("/vhost", "/new-vhost"))),
        ("vhost-user role", with(&config, &vhost, &format!("{vhost}\nrole = \"client\""))),
    ]
}

/// Ports that can't be had: the section, and what the message says of it.
fn impossible(lab: &Lab) -> Vec<(String, &'static str)> {
    let other = &lab.spare;
    vec![
        (
            "type = \"tap\"\nnetns = \"no-such-namespace\"".to_owned(),
            "cannot open network namespace no-such-namespace",
        ),
        ("type = \"packet\"\nnetns = \"no-such-namespace\"".to_owned(), "cannot open network namespace"),
        ("type = \"tap\"\nnetns = \"/dev/null\"".to_owned(), "this is not a network namespace"),
        (format!("type = \"tap\"\ndevice = \"v8\"\nnetns = \"{other}\""), "is not a tap"),
        ("type = \"stream\"\npath = \"/proc/no/such.sock\"".to_owned(), "cannot make the socket"),
        (
            "type = \"dgram\"\npath = \"/proc/no/such.sock\"\npeer = \"/x\"".to_owned(),
            "cannot make the socket",
        ),
        ("type = \"vhost-user\"\npath = \"/proc/no/such.sock\"".to_owned(), "cannot make the socket"),
    ]
}

#[test]
fn a_failed_reload_leaves_every_port_as_it_was_whatever_else_it_was_to_change() {
    if in_user_namespace() {
        return;
    }
    let lab = Lab::new();
    let peer = UnixDatagram::bind(lab.path("peer")).expect("nobody has it");
    let switch = Switch::start_on(&lab.host, &lab.config());
    lab.a.run("ip route add 192.0.2.0/24 via 10.1.0.2");
    let mut stream = UnixStream::connect(lab.path("stream")).expect("the switch listens");
    wait_until("the ports are up", || {
        let up = |name: &str| {
            switch
                .show("ports")
                .as_array()
                .into_iter()
                .flatten()
                .any(|p| p["name"] == name && p["link"] == true)
        };
        up("stream") && up("dgram")
    });
    let sockets = || {
        let inode = |name: &str| {
            fs::symlink_metadata(lab.path(name)).map(|found| std::os::unix::fs::MetadataExt::ino(&found)).ok()
        };
        (
            ["stream", "dgram", "vhost"].map(inode),
            fs::read_dir(lab.folder.path()).expect("it is there").count(),
        )
    };
    let state = || (identity(&lab.a), identity(&lab.b), lab.host.run("ip -o link show dev v0"), sockets());
    let before = state();
    let mut pings = lab.a.command("ping");
    let pings =
        pings.args(["-n", "-i", "0.01", "10.1.0.2"]).stdout(Stdio::piped()).spawn().expect("nsenter runs");
    let impossible = impossible(&lab);
    for (number, (what, config)) in changes(&lab).into_iter().enumerate() {
        let (section, message) = &impossible[number % impossible.len()];
        let output = switch.reload(&format!("{config}[network.lan.port.never]\n{section}\n"));
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{what}: {printed}");
        assert!(printed.contains("lan/never") && printed.contains(message), "{what}: {printed}");
        assert_eq!(state(), before, "{what}, and {section}");
    }
    // The port itself is to be what it can't be.
    let web = tap("lan", "web", &lab.a);
    for (section, message) in &impossible {
        let config = with(
            &lab.config(),
            &format!("{web}peer-address = \"10.1.0.1/24\""),
            &format!("[network.lan.port.web]\n{section}"),
        );
        let output = switch.reload(&config);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && printed.contains("lan/web") && printed.contains(message),
            "{printed}"
        );
        assert_eq!(state(), before, "{section}");
    }
    let id = rustix::process::Pid::from_child(&pings);
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it runs");
    let printed = String::from_utf8_lossy(&pings.wait_with_output().expect("it is ours").stdout).into_owned();
    // The last one may have been under way when ping was interrupted, so what it calls loss says nothing.
    let answered: Vec<u32> = printed
        .lines()
        .filter_map(|line| line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse().ok())
        .collect();
    assert!(
        answered.len() > 10 && answered.iter().copied().zip(1..).all(|(got, sent)| got == sent),
        "{printed}"
    );
    // Those at the sockets are still connected: a frame that is flooded reaches both.
    stream.set_nonblocking(true).expect("it can");
    peer.set_nonblocking(true).expect("it can");
    let _ =
        (stream.read_to_end(&mut Vec::new()), std::iter::from_fn(|| peer.recv(&mut [0; 2048]).ok()).count());
    let _ = lab.a.try_run("ping -n -c 1 -W 1 10.1.0.99");
    wait_until("a frame comes to the stream", || stream.read(&mut [0; 2048]).is_ok_and(|len| len > 0));
    wait_until("a frame comes to the peer", || peer.recv(&mut [0; 2048]).is_ok());
    assert!(switch.log().contains("the reload failed: port lan/never"), "{}", switch.log());
}

#[test]
fn a_failed_reload_is_logged_also_when_a_signal_asked_for_it() {
    let a = Host::new();
    let switch = Switch::start(&format!("[network.lan]\nmode = \"internal\"\n{}", tap("lan", "a", &a)));
    switch.write_config(&format!(
        "[network.lan]\nmode = \"internal\"\n{}",
        tap("lan", "a", &a).replace(&a.to_string(), "nope")
    ));
    let pid = rustix::process::Pid::from_raw(switch.pid().cast_signed()).expect("not zero");
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
    wait_until("it is logged", || {
        switch.log().contains("the reload failed: port lan/a: cannot open network namespace nope")
    });
    switch.write_config("[network.lan]\nmode = \"internat\"\n");
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
    wait_until("it is logged", || switch.log().contains("internat"));
}

#[test]
fn each_valid_change_alone_is_made() {
    if in_user_namespace() {
        return;
    }
    let lab = Lab::new();
    let _peer = UnixDatagram::bind(lab.path("peer")).expect("nobody has it");
    let switch = Switch::start_on(&lab.host, &lab.config());
    for (what, config) in changes(&lab) {
        for config in [&config, &lab.config()] {
            let output = switch.reload(config);
            assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        }
        // A device that goes is closed a moment later, and the routes by it with it.
        wait_until("a ping is answered", || lab.a.try_run("ping -n -c 1 -W 1 10.1.0.2").is_ok());
    }
    assert!(!switch.log().contains("the port is down"), "{}", switch.log());
    let left = fs::read_dir(lab.folder.path()).expect("it is there").count();
    assert_eq!(left, 4, "stream, dgram, peer, vhost");
}

#[test]
fn a_port_that_gets_another_name_or_network_keeps_its_device() {
    let (lab, kept) = (Lab::new(), ["port name", "network", "netns by its path"]);
    let config =
        lab.config().replace("type = \"packet\"\ndevice = \"v0\"", "type = \"packet\"\ndevice = \"v9\"");
    let switch = Switch::start_on(&lab.host, &config);
    let before = identity(&lab.a);
    for (what, config) in changes(&lab).into_iter().filter(|(what, _)| kept.contains(what)) {
        let config = config.replace("device = \"v0\"", "device = \"v9\"");
        let output = switch.reload(&config);
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(identity(&lab.a), before, "{what}");
    }
    let devices = ["eth0", "eth1"].map(|device| format!("device = \"{device}\"\nnetns = \"{}\"\n", lab.a));
    let two = |a: &str, b: &str| {
        format!(
            "[network.lan]\nmode = \"internal\"\n[network.lan.port.a]\ntype = \"tap\"\n{a}[network.lan.port.b]\ntype = \"tap\"\n{b}"
        )
    };
    assert!(switch.reload(&two(&devices[0], &devices[1])).status.success());
    let before = lab.a.run("ip -o link show");
    assert!(switch.reload(&two(&devices[1], &devices[0])).status.success());
    assert_eq!(lab.a.run("ip -o link show"), before, "two ports have changed places");
}

#[test]
fn a_reload_lists_what_it_did_one_line_each_for_people_and_for_programs() {
    let (a, wan) = (Host::new(), Host::new());
    let config = format!(
        "[network.lan]\nmode = \"nat\"\naddress = \"10.1.0.254/24\"\nuplink = \"wan\"\ndhcp = \"10.1.0.10-10.1.0.20\"\n\
         publish = [\"80:10.1.0.1:80/tcp\"]\n{}\
         [uplink.wan]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{wan}\"\naddress = \"10.2.0.1/24\"\n",
        tap("lan", "a", &a)
    );
    let switch = Switch::start(&config);
    let reload = |config: &str| {
        let output = switch.reload(config);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(reload(&config), ["reloaded: nothing changed"]);
    let changed = with(&config, "10.1.0.20", "10.1.0.30");
    let changed = with(
        &changed,
        "publish = [",
        "mtu = 1400\nrules = [\"-A POSTROUTING -o wan -j MASQUERADE\"]\npublish = [\"81:10.1.0.1:81/tcp\", ",
    );
    let changed = changed
        + "[engine.timeouts]\nudp = 200\n[network.more]\nmode = \"internal\"\n[network.more.port.d]\ntype = \"tap\"\ndevice = \"d0\"\n";
    let lines = [
        "reloaded: 7 changes",
        "engine/timeouts.udp: added 200",
        "network more: added",
        "lan/dhcp: 10.1.0.10-10.1.0.20 → 10.1.0.10-10.1.0.30",
        "lan/mtu: added 1400",
        "lan/publish: added 81:10.1.0.1:81/tcp",
        "lan/rules: added [-A POSTROUTING -o wan -j MASQUERADE]",
        "more/d: added",
    ];
    let mut printed = reload(&changed);
    printed[1..].sort();
    let mut expected = lines;
    expected[1..].sort_unstable();
    assert_eq!(printed, expected);
    wait_until("the log has it too", || {
        lines[1..].iter().all(|line| switch.log().contains(&format!("reloaded: {line}")))
    });
    assert!(switch.command(&["port", "add", "lan/c", "type=tap", "device=c0"]).status.success());
    assert!(switch.command(&["nat", "add", "-A PREROUTING -p udp -j ACCEPT"]).status.success());
    let back = reload(&config);
    assert!(back.iter().any(|line| line == "lan/c: removed"), "{back:?}");
    assert!(
        back.iter().any(|line| line.contains("nat/rules at run time: removed [-A PREROUTING")),
        "{back:?}"
    );
}

#[test]
fn a_file_without_networks_closes_no_port() {
    let (a, b) = (Host::new(), Host::new());
    let switch = Switch::start(&format!(
        "[network.lan]\nmode = \"internal\"\n{}{}",
        tap("lan", "a", &a),
        tap("lan", "b", &b)
    ));
    a.address("10.1.0.1/24");
    b.address("10.1.0.2/24");
    for empty in ["", "# being written\n", "[engine]\nflows = 100\n"] {
        let output = switch.reload(empty);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{printed}");
        assert!(
            printed.contains("has no network, and 2 ports are open; write a section [network.NAME]"),
            "{printed}"
        );
        a.ping("10.1.0.2");
    }
}

//! What people see of the client commands: errors, exit statuses, colours and widths.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::host::Host;
use crate::nat::Lab;
use crate::switch::{Folder, Switch, tap, tapswitch};
use crate::traffic::{udp, udp_exchange};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What `tapswitch ARGS` prints to a terminal of 80 columns.
fn on_terminal(environment: &str, args: &str) -> String {
    let program = env!("CARGO_BIN_EXE_tapswitch");
    let command = format!("stty cols 80; {environment} {program} {args}");
    let mut script = Command::new("script");
    script
        .args(["-qec", &command, "/dev/null"])
        .env_remove("COLUMNS")
        .env_remove("NO_COLOR")
        .env("TERM", "xterm");
    String::from_utf8_lossy(&script.output().expect("util-linux is installed").stdout).into_owned()
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn a_wrong_log_level_is_an_error_with_a_suggestion_and_not_silence() {
    let folder = Folder::new();
    fs::write(folder.config(), "[network.lan]\nmode = \"internal\"\n").expect("the folder exists");
    let config = folder.config().display().to_string();
    for (level, help) in
        [("inof", "write `info`"), ("warn,tapswitch::drver=debug", "write `tapswitch::driver`")]
    {
        let output = tapswitch(&["run", "--config", &config, "--log", level]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(
            stderr(&output).starts_with("error: ") && stderr(&output).contains(help),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn a_stopped_switch_is_told_of_after_5_seconds_by_every_client_command() {
    let switch = Switch::start("[network.lan]\nmode = \"internal\"\n");
    let pid = Pid::from_raw(switch.pid() as i32).expect("it runs");
    kill_process(pid, Signal::STOP).expect("it runs");
    let commands: [&[&str]; 6] = [
        &["show", "ports"],
        &["reload"],
        &["nat", "list"],
        &["nat", "save"],
        &["port", "del", "lan/vm1"],
        &["nat", "add", "-A POSTROUTING -j ACCEPT"],
    ];
    let start = Instant::now();
    std::thread::scope(|scope| {
        for command in commands {
            let switch = &switch;
            scope.spawn(move || {
                let output = switch.command(command);
                let said = stderr(&output);
                assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
                assert!(said.starts_with("error: ") && said.contains("has not answered for 5 s"), "{said}");
                assert!(said.contains(&switch.pid().to_string()), "{said}");
            });
        }
    });
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    kill_process(pid, Signal::CONT).expect("it runs");
    assert!(switch.command(&["show", "ports"]).status.success());
}

#[test]
fn nat_rules_are_added_and_deleted_with_quotes_and_without() {
    let lab = Lab::with("nat", "rules = []");
    let rule = [
        "-A",
        "POSTROUTING",
        "-s",
        "192.168.122.0/24",
        "!",
        "-d",
        "10.0.0.0/8",
        "-o",
        "wan",
        "-m",
        "comment",
    ];
    let rule = [&rule[..], &["--comment", "to the world", "-j", "MASQUERADE"]].concat();
    let added = lab.switch.command(&[&["nat", "add"], &rule[..]].concat());
    assert!(added.status.success(), "{}", stderr(&added));
    let rules = lab.switch.show("nat");
    assert_eq!(rules[0]["comment"], "to the world");
    assert_eq!(rules[0]["destination"], "!10.0.0.0/8");
    let line = rules[0]["line"].as_str().expect("a text").replace("-A ", "-D ");
    assert!(lab.switch.command(&["nat", "del", &line]).status.success());
    assert_eq!(lab.switch.show("nat").as_array().map(Vec::len), Some(0));

    for words in [
        &["-A POSTROUTING -o wan -j MASQUERADE"][..],
        &["POSTROUTING", "-s", "192.168.122.0/24", "-j", "ACCEPT"],
    ] {
        assert!(lab.switch.command(&[&["nat", "add"], words].concat()).status.success());
    }
    let listed = lab.switch.command(&["nat", "list", "--line-numbers"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.contains("num   pkts bytes target") && listed.contains("\n2        0     0 ACCEPT"),
        "{listed}"
    );
    let deleted = lab.switch.command(&["nat", "del", "POSTROUTING", "1"]);
    assert!(deleted.status.success(), "{}", stderr(&deleted));
    assert_eq!(lab.switch.show("nat")[0]["target"], "ACCEPT");
}

#[test]
fn what_is_not_there_cannot_be_deleted_says_the_same_status_for_rules_and_ports() {
    let lab = Lab::with("nat", "");
    let commands: [&[&str]; 5] = [
        &["nat", "del", "-D POSTROUTING 7"],
        &["nat", "del", "PREROUTING", "1"],
        &["nat", "del", "-D POSTROUTING -s 10.9.8.7 -j ACCEPT"],
        &["port", "del", "default/nobody"],
        &["port", "del", "nowhere/nobody"],
    ];
    for command in commands {
        let output = lab.switch.command(command);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("error: "), "{command:?}: {}", stderr(&output));
    }
}

#[test]
fn every_error_of_a_client_begins_with_error() {
    let lab = Lab::with("nat", "");
    let commands: [&[&str]; 8] = [
        &["port", "add", "default/a", "type=tap"],
        &["port", "add", "nowhere/x", "type=tap"],
        &["port", "add", "default/x", "type=tapp"],
        &["port", "add", "default/x", "nonsense"],
        &["port", "del", "default/x"],
        &["nat", "add", "-A POSTROUTING -j NOWHERE"],
        &["nat", "save"],
        &["show", "port"],
    ];
    for command in commands {
        let output = lab.switch.command(command);
        assert!(!output.status.success());
        assert!(stderr(&output).starts_with("error: "), "{command:?}: {}", stderr(&output));
    }
}

#[test]
fn colours_end_where_no_color_says_so() {
    let folder = Folder::new();
    fs::write(folder.config(), "[network.lan]\nmode = \"internat\"\n").expect("the folder exists");
    let config = folder.config().display().to_string();
    for args in [format!("check {config}"), format!("run --config {config}"), "show nothing".to_owned()] {
        assert!(on_terminal("", &args).contains('\x1b'), "{args}");
        let plain = on_terminal("NO_COLOR=1", &args);
        assert!(plain.contains("error") && !plain.contains('\x1b'), "{plain}");
    }
}

#[test]
fn tables_and_help_fit_a_terminal_of_80_columns() {
    let lab = Lab::with("nat", "publish = [\"8888:192.168.122.10:8080/tcp\"]");
    lab.a.ping("203.0.113.1");
    let control = lab.switch.control().display().to_string();
    for what in [
        "networks",
        "uplinks",
        "map",
        "neighbours",
        "ports",
        "fdb",
        "flows",
        "nat",
        "servers",
        "leases",
        "mappings",
        "drops",
        "stats",
    ] {
        let shown = on_terminal("", &format!("show {what} --control {control}"));
        assert!(widest(&shown) <= 80, "{what}: {shown}");
    }
    for command in ["", "run", "show", "nat add", "nat list", "port add", "reload", "import libvirt"] {
        let help = on_terminal("NO_COLOR=1", &format!("{command} -h"));
        assert!(help.contains("Usage") && widest(&help) <= 80, "{command}: {help}");
    }
    // What is no terminal gets whole rows.
    let shown = lab.switch.command(&["show", "ports"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("netns"));
}

fn text(switch: &Switch, args: &[&str]) -> String {
    let output = switch.command(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn networks_uplinks_and_the_map_show_what_is_configured() {
    let lab = Lab::with("nat", "dhcp = \"192.168.122.10-192.168.122.19\"\npcp = true");
    let answer = lab.switch.command(&["show", "networks", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    let (networks, network) = (&answer["networks"], &answer["networks"]["entries"][0]);
    assert_eq!(networks["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(networks["generation"], 1);
    assert!(networks["uptime_ms"].as_u64().is_some_and(|uptime| uptime < 60_000), "{networks}");
    for (key, value) in [("mode", "nat"), ("address", "192.168.122.1/24"), ("uplink", "wan")] {
        assert_eq!(network[key], value, "{network}");
    }
    assert_eq!((&network["dhcp"]["free"], &network["ports_up"]), (&10.into(), &2.into()));
    assert_eq!(lab.switch.show("uplinks")[0]["networks"][0], "default");
    let shown = text(&lab.switch, &["show", "networks"]);
    for part in ["default: nat by uplink wan", "192.168.122.10-192.168.122.19, 10 free", "configuration 1"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let map = text(&lab.switch, &["show", "map"]);
    for part in
        ["network default: nat, 192.168.122.1/24", "├─ a", "╰─▶ uplink wan", "uplink wan: 10.180.13.2/24"]
    {
        assert!(map.contains(part), "{part}: {map}");
    }
}

#[test]
fn the_generation_counts_each_configuration_that_was_applied() {
    let (a, b) = (Host::new(), Host::new());
    let config = |ports: &str| {
        format!("[network.lan]\nmode = \"nat\"\naddress = \"10.1.0.1/24\"\nuplink = \"wan\"\n{ports}")
    };
    let config = format!(
        "{}[uplink.wan]\ntype = \"tap\"\ndevice = \"eth0\"\nnetns = \"{b}\"\naddress = \"10.2.0.1/24\"\n",
        config(&tap("lan", "a", &a))
    );
    let switch = Switch::start(&config);
    let generation = || switch.show("stats")["generation"].as_u64();
    assert_eq!(generation(), Some(1));
    assert!(switch.reload(&config).status.success());
    assert!(switch.command(&["nat", "add", "POSTROUTING", "-j", "ACCEPT"]).status.success());
    assert!(switch.command(&["port", "del", "lan/a"]).status.success());
    assert_eq!(generation(), Some(4));
    assert!(!switch.command(&["port", "del", "lan/a"]).status.success());
    assert!(!switch.reload("[network.lan]\nmode = \"internat\"\n").status.success());
    assert_eq!(generation(), Some(4), "what failed is not counted");
}

#[test]
fn entries_are_flushed_by_choice_and_counted() {
    let lab = Lab::with("nat", "");
    for (guest, address) in [(&lab.a, "192.168.122.10:5000"), (&lab.b, "192.168.122.11:5000")] {
        let (from, to) = (udp(guest, address), udp(&lab.outside, "203.0.113.1:53"));
        udp_exchange(&from, &to, "203.0.113.1:53", 100);
    }
    let flows = || lab.switch.show("flows").as_array().map(Vec::len);
    assert_eq!(flows(), Some(2));
    let flushed = text(
        &lab.switch,
        &["flush", "flows", "--filter", "source=192.168.122.10", "--filter", "protocol=udp"],
    );
    assert_eq!((flushed.as_str(), flows()), ("1 connection forgotten\n", Some(1)));
    let (from, to) = (udp(&lab.b, "192.168.122.11:5000"), udp(&lab.outside, "203.0.113.1:53"));
    udp_exchange(&from, &to, "203.0.113.1:53", 100);
    assert_eq!(flows(), Some(1), "the other goes on as it was");
    assert_eq!(text(&lab.switch, &["flush", "flows"]), "1 connection forgotten\n");

    assert_eq!(
        text(&lab.switch, &["flush", "fdb", "--filter", "network=default", "--filter", "port=a"]),
        "1 address forgotten\n"
    );
    let mac = lab.b.mac();
    let known = |what: &str| lab.switch.show(what).to_string().contains(&mac);
    assert!(known("fdb") && known("neighbours"));
    assert_eq!(
        text(&lab.switch, &["flush", "neighbours", "--filter", &format!("mac={mac}")]),
        "1 neighbour forgotten\n"
    );
    assert!(known("fdb") && !known("neighbours"));
    lab.b.ping("203.0.113.1");
    assert!(known("neighbours"), "it is asked for again");

    for (filter, status) in
        [("colour=red", 2), ("mac=red", 2), ("mac", 2), ("network=nowhere", 1), ("port=nobody", 1)]
    {
        let output = lab.switch.command(&["flush", "fdb", "--filter", filter]);
        assert_eq!(output.status.code(), Some(status), "{filter}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("error: "), "{}", stderr(&output));
    }
    assert!(known("fdb"), "what was refused changed nothing");
}

#[test]
fn tables_are_sorted_and_filtered_by_their_columns() {
    let lab = Lab::new();
    for guest in [&lab.a, &lab.b] {
        guest.ping("10.180.13.1");
    }
    for (guest, from, bytes) in [
        (&lab.a, "192.168.122.10:9000", 400),
        (&lab.b, "192.168.122.11:9001", 900),
        (&lab.a, "192.168.122.10:10000", 20),
    ] {
        let to = udp(&lab.outside, "10.180.13.1:53");
        udp_exchange(&udp(guest, from), &to, "10.180.13.1:53", bytes);
    }
    let shown = |args: &[&str], column: &str| -> Vec<String> {
        let answer = text(&lab.switch, &[&["show"], args, &["--json"]].concat());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let rows = answer[args[0]].get("entries").unwrap_or(&answer[args[0]]);
        let cell = |row: &Value| row.pointer(column).unwrap().as_str().unwrap().to_owned();
        rows.as_array().unwrap().iter().map(cell).collect()
    };
    let sources =
        |args: &[&str]| shown(&[&["flows", "--filter", "protocol=udp"], args].concat(), "/original/source");
    let [a, b, c] = ["192.168.122.10:10000", "192.168.122.10:9000", "192.168.122.11:9001"];
    assert_eq!(sources(&["--sort", "bytes"]), [a, b, c]);
    assert_eq!(sources(&["--sort", "-bytes", "--limit", "1"]), [c]);
    assert_eq!(sources(&["--sort", "original.source"]), [b, a, c]);
    assert_eq!(sources(&["--filter", "source=192.168.122.10", "--sort=-expires"]).len(), 2);
    assert_eq!(sources(&["--filter", "original.source=192.168.122.11:9001"]), [c]);
    assert_eq!(shown(&["ports", "--filter", "network=default", "--sort", "-name"], "/name"), ["b", "a"]);
    assert_eq!(shown(&["ports", "--filter", "link=up", "--filter", "port=wan"], "/name"), ["wan"]);
    assert_eq!(shown(&["fdb", "--filter", "port=default/b"], "/mac"), [lab.b.mac()]);
    assert_eq!(shown(&["neighbours", "--filter", "address=10.0.0.0/8"], "/address"), ["10.180.13.1"]);
    // People see the same rows, in the same order, and how many there are.
    let table =
        text(&lab.switch, &["show", "flows", "--filter", "protocol=udp", "--sort=bytes", "--limit=2"]);
    assert!(table.contains("2 of 3 shown"), "{table}");
    assert!(table.find(a) < table.find(b) && !table.contains(c), "{table}");
    for (args, said) in [
        (&["ports", "--sort", "rx_byte5"][..], "write `rx_bytes`"),
        (&["leases", "--sort", "x"], "expires_in_ms"),
        (&["flows", "--filter", "nonsense=1"], "original.bytes"),
        (&["flows", "--filter", "network=nowhere"], "there is no network nowhere"),
        (&["stats", "--sort", "frames"], "no table"),
        (&["fdb", "--filter", "port"], "write KEY=VALUE"),
    ] {
        let output = lab.switch.command(&[&["show"], args].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{args:?}: {error}");
    }
    lab.switch.terminate();
}

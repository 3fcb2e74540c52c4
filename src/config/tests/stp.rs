//! The keys of the spanning tree.

use engine::stp::{Edge, StpMode, TreePort, TreeSettings};

use super::super::{Config, Plan};

fn file(network: &str, port: &str) -> String {
    format!("[network.lan]\nmode = 'internal'\n{network}\n[network.lan.port.a]\ntype = 'tap'\n{port}\n")
}

#[test]
fn keys_of_the_tree_reach_the_worker() {
    let network = "stp = 'rstp'\nstp-priority = 4096\nstp-hello-time = 1\nstp-max-age = 6\nstp-forward-delay = 4\nloop-detect = false";
    let port = "edge = true\npath-cost = 7\nport-priority = 16\nbpdu-guard = true\nroot-guard = true\npoint-to-point = false";
    let plan = Plan::new(&Config::parse("t", &file(network, port), &[]).unwrap(), None);
    let settings = &plan.runtime.networks[0].settings;
    let tree = TreeSettings { mode: StpMode::Rstp, priority: 4096, hello: 1, max_age: 6, forward_delay: 4 };
    assert_eq!((settings.tree, settings.loop_detect), (tree, false));
    let expected = TreePort {
        edge: Edge::Yes,
        path_cost: Some(7),
        priority: 16,
        bpdu_guard: true,
        root_guard: true,
        point_to_point: false,
    };
    assert_eq!(plan.runtime.ports[0].settings.tree, expected);
    let plan = Plan::new(&Config::parse("t", &file("", ""), &[]).unwrap(), None);
    let settings = &plan.runtime.networks[0].settings;
    assert_eq!((settings.tree, settings.loop_detect), (TreeSettings::default(), true));
    assert_eq!(plan.runtime.ports[0].settings.tree, TreePort::default());
}

#[test]
fn the_relations_of_the_times_are_those_of_the_standard() {
    for hello in 1..=10_u32 {
        for max_age in 6..=40_u32 {
            for forward_delay in 4..=30_u32 {
                let keys = format!(
                    "stp = 'stp'\nstp-hello-time = {hello}\nstp-max-age = {max_age}\nstp-forward-delay = {forward_delay}"
                );
                let is_right = 2 * (forward_delay - 1) >= max_age && max_age >= 2 * (hello + 1);
                let config = Config::parse("t", &file(&keys, ""), &[]);
                assert_eq!(config.is_ok(), is_right, "{keys}");
            }
        }
    }
}

#[test]
fn mistakes_say_what_to_write_instead() {
    let said =
        |network: &str, port: &str| Config::parse("t", &file(network, port), &[]).unwrap_err().to_string();
    for (network, port, expected) in [
        ("stp = 'mstp'", "", "t:3:7: `mstp` is not one of the choices; write `stp`"),
        ("stp = true", "", "t:3:7: this is true or false, not a text; write it in quotes"),
        (
            "stp-priority = 8192",
            "",
            "t:3:16: this key needs a spanning tree; write stp = \"rstp\" in this network, or remove the key",
        ),
        (
            "stp = 'rstp'\nstp-priority = 5000",
            "",
            "t:4:16: 5000 is no multiple of 4096, as priorities are; write 4096 or 8192",
        ),
        (
            "stp = 'rstp'\nstp-max-age = 30",
            "",
            "t:4:15: a forward delay of 15 s is too short for a max age of 30 s; write stp-forward-delay = 16 or more, or \
             stp-max-age = 28 or less",
        ),
        (
            "stp = 'rstp'\nstp-hello-time = 10",
            "",
            "t:4:18: a max age of 20 s is too short for a hello time of 10 s; write stp-max-age = 22 or more, or \
             stp-hello-time = 9 or less",
        ),
        (
            "stp = 'rstp'\nstp-forward-delay = 3",
            "",
            "t:4:21: `3` is out of range; write a number of seconds from 4 to 30, without quotes",
        ),
        (
            "",
            "edge = 'yes'",
            "t:6:8: this doesn't say whether only stations are there; write true, false or \"auto\"",
        ),
        ("", "port-priority = 8", "t:6:17: 8 is no multiple of 16, as priorities are; write 0 or 16"),
        (
            "",
            "path-cost = 0",
            "t:6:13: `0` is out of range; write a number of costs from 1 to 200000000, without quotes",
        ),
    ] {
        assert_eq!(said(network, port), expected);
    }
}

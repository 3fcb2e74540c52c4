//! Devices that the host itself uses: nobody is cut off who didn't ask for it.

use std::process::Output;

use crate::host::{DEVICE, Host, in_user_namespace};
use crate::switch::{Folder, Switch, tapswitch_on, wait_until};

/// A host whose `eth0` has this address.
fn host_with(address: &str) -> Host {
    let host = Host::new();
    host.run(&format!("ip link add {DEVICE} type veth peer name cable"));
    host.run("ip link set cable up");
    host.run(&format!("ip link set {DEVICE} up"));
    host.address(address);
    host
}

/// A bridge between `eth0`, a port with these keys, and nobody.
fn config(keys: &str) -> String {
    format!(
        "[network.lan]\nmode = \"internal\"\n[network.lan.port.nic]\ntype = \"packet\"\ndevice = \"{DEVICE}\"\n{keys}\n"
    )
}

/// The same as an uplink with this address.
fn uplink(address: &str, keys: &str) -> String {
    format!(
        "[network.lan]\nmode = \"nat\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\n\
         [uplink.wan]\ntype = \"packet\"\ndevice = \"{DEVICE}\"\naddress = \"{address}\"\n{keys}\n"
    )
}

fn check(host: &Host, config: &str) -> Result<(), String> {
    let folder = Folder::new();
    std::fs::write(folder.config(), config).expect("the folder exists");
    outcome(&tapswitch_on(host, &["check", folder.config().to_str().expect("ASCII")]))
}

/// What a command said that found the configuration wrong.
fn outcome(output: &Output) -> Result<(), String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => Ok(()),
        Some(2) => Err(said),
        other => panic!("status {other:?}: {said}"),
    }
}

#[test]
fn a_card_with_the_hosts_own_address_is_not_taken_unless_asked_for() {
    if in_user_namespace() {
        return;
    }
    let host = host_with("10.9.0.5/24");
    let said = check(&host, &config("")).unwrap_err();
    for part in
        ["tapswitch.toml:5:10", "its address 10.9.0.5/24 on `eth0`", "host-stack = true", "take-over = true"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    host.gateway("10.9.0.1");
    let said = check(&host, &uplink("10.9.0.6/24", "")).unwrap_err();
    assert!(said.contains("its address 10.9.0.5/24 and its default route on `eth0`"), "{said}");
    for keys in ["host-stack = true", "take-over = true"] {
        assert_eq!(check(&host, &config(keys)), Ok(()), "{keys}");
        assert_eq!(check(&host, &uplink("10.9.0.6/24", keys)), Ok(()), "{keys}");
        let said = check(&host, &uplink("10.9.0.5/24", keys)).unwrap_err();
        assert!(said.contains("10.9.0.5 is the host's own address on `eth0`"), "{said}");
    }
    // A running switch says the same, and goes on as it is.
    let switch = Switch::start_on(&host, "[network.lan]\nmode = \"internal\"\n");
    assert!(outcome(&switch.reload(&config(""))).unwrap_err().contains("10.9.0.5/24 and its default route"));
    let added = switch.command(&["port", "add", "lan/nic", "type=packet", &format!("device={DEVICE}")]);
    assert!(outcome(&added).unwrap_err().contains("its address 10.9.0.5/24"), "{added:?}");
    assert_eq!(switch.show("ports").as_array().map(Vec::len), Some(0));
    assert_eq!(outcome(&switch.reload(&config("host-stack = true"))), Ok(()));
    switch.terminate();
    host.run("ip address flush dev eth0");
    assert_eq!(check(&host, &config("")), Ok(()), "nothing of the host's is on it any more");
}

#[test]
fn a_card_that_comes_later_with_the_hosts_address_is_left_and_the_log_says_so_once() {
    if in_user_namespace() {
        return;
    }
    let host = Host::new();
    let switch = Switch::start_on(&host, &config(""));
    host.run("ip link add new0 type veth peer name cable");
    host.run("ip link set cable up");
    host.run("ip address add 10.9.0.5/24 dev new0");
    host.run(&format!("ip link set new0 name {DEVICE}"));
    host.run(&format!("ip link set {DEVICE} up"));
    let told =
        || switch.log().matches("cannot take eth0: the host has its address 10.9.0.5/24 there").count();
    wait_until("the log says why", || told() > 0);
    host.cannot_ping("10.9.0.6");
    assert_eq!(told(), 1, "{}", switch.log());
    assert!(
        switch.log().contains("port=\"lan/nic\"") || switch.log().contains("lan/nic"),
        "{}",
        switch.log()
    );
    host.run(&format!("ip address flush dev {DEVICE}"));
    wait_until("it is taken", || switch.show("ports")[0]["link"] == true);
}

#[test]
fn addresses_that_every_device_has_are_no_hindrance_and_lo_is_always() {
    let host = Host::new();
    host.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0");
    host.run(&format!("ip link add {DEVICE} type veth peer name cable"));
    host.run("ip link set cable up");
    host.run(&format!("ip link set {DEVICE} up"));
    assert!(host.run(&format!("ip -6 address show dev {DEVICE}")).contains("fe80:"));
    assert_eq!(check(&host, &config("")), Ok(()));
    host.run(&format!("ip address add fd00::5/64 dev {DEVICE} nodad"));
    assert!(check(&host, &config("")).unwrap_err().contains("its address fd00::5"));
    for keys in ["host-stack = true", "take-over = true"] {
        let said = check(&host, &config(keys).replace(DEVICE, "lo")).unwrap_err();
        assert!(said.contains("`lo` is the host's own loopback"), "{said}");
    }
    let nowhere = config("").replace(DEVICE, "nothing0");
    assert_eq!(check(&host, &nowhere), Ok(()), "on another machine it may be there");
}

#[test]
fn check_says_what_host_and_guests_cant_have_and_what_is_missing() {
    if in_user_namespace() {
        return;
    }
    let host = host_with("10.9.0.5/24");
    let notes = |config: &str| {
        let folder = Folder::new();
        std::fs::write(folder.config(), config).expect("the folder exists");
        let output = tapswitch_on(&host, &["check", folder.config().to_str().expect("ASCII")]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(notes(&config("host-stack = true")).contains("give the host a port of type \"tap\""));
    assert_eq!(notes(&config("take-over = true")), "");
    let shared = uplink("host", "");
    assert!(notes(&shared).contains("the host has no default route by `eth0` now"));
    host.gateway("10.9.0.1");
    assert!(!notes(&shared).contains("now"));
    assert!(notes(&shared.replace(DEVICE, "nic0")).contains("there is no `nic0` on this machine now"));
}

//! Rules in iptables' words between guests and a host outside: the everyday recipes, as people write them.

use std::fs;

use crate::host::Host;
use crate::nat::Lab;
use crate::switch::{Folder, Switch, tap, tapswitch};
use crate::traffic::{TcpServer, try_connect, udp, udp_exchange};

/// The lab with these rules instead of the automatic masquerade. The uplink `wan` is the device eth0.
fn lab(rules: &[&str]) -> Lab {
    let rules: Vec<String> = rules.iter().map(|rule| format!("'{rule}'")).collect();
    Lab::with("nat", &format!("rules = [{}]", rules.join(", ")))
}

/// The address that a host outside sees the guest by.
fn seen_as(guest: &Host, server: &TcpServer) -> String {
    server.exchange(guest, "203.0.113.1:80", 100_000).ip().to_string()
}

/// The counters of the rule whose line contains `part`.
fn packets(lab: &Lab, part: &str) -> u64 {
    let rules = lab.switch.show("nat");
    let mut rules = rules.as_array().expect("a list").iter();
    let rule = rules.find(|rule| rule["line"].as_str().is_some_and(|line| line.contains(part)));
    rule.and_then(|rule| rule["packets"].as_u64()).unwrap_or_else(|| panic!("no rule {part}"))
}

#[track_caller]
fn nat(lab: &Lab, command: &str, line: &str) -> Result<String, String> {
    let output = lab.switch.command(&["nat", command, line]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn s5_masquerade_as_it_is_written_for_iptables() {
    let lab = lab(&["-t nat -A POSTROUTING -o eth0 -s 192.168.122.0/24 -j MASQUERADE"]);
    lab.a.ping("203.0.113.1");
    let server = TcpServer::listen(&lab.outside, "203.0.113.1:80");
    assert_eq!(seen_as(&lab.a, &server), "10.180.13.2");
}

#[test]
fn s6_snat_gives_the_source_that_it_names() {
    let lab = lab(&["-A POSTROUTING -s 192.168.122.0/24 -o eth0 -j SNAT --to-source 10.180.13.77"]);
    lab.outside.run("ip route add 10.180.13.77 via 10.180.13.2");
    lab.a.ping("203.0.113.1");
    let server = TcpServer::listen(&lab.outside, "203.0.113.1:80");
    assert_eq!(seen_as(&lab.a, &server), "10.180.13.77");
    let (from, to) = (udp(&lab.b, "192.168.122.11:5000"), udp(&lab.outside, "203.0.113.1:53"));
    assert_eq!(udp_exchange(&from, &to, "203.0.113.1:53", 100).ip().to_string(), "10.180.13.77");
}

#[test]
fn s7_and_s8_dnat_keeps_the_port_or_changes_it() {
    let lab = lab(&[
        "-A PREROUTING -i eth0 -d 10.180.13.2 -p tcp --dport 80 -j DNAT --to-destination 192.168.122.10",
        "-A PREROUTING -i eth0 -d 10.180.13.2 -p tcp -m tcp --dport 8888 -j DNAT --to-destination 192.168.122.11:8080",
        "-A PREROUTING -i wan -p udp -m multiport --dports 53,5000:5010 -j DNAT --to-destination 192.168.122.11",
    ]);
    TcpServer::listen(&lab.a, "192.168.122.10:80").exchange(&lab.outside, "10.180.13.2:80", 1 << 20);
    TcpServer::listen(&lab.b, "192.168.122.11:8080").exchange(&lab.outside, "10.180.13.2:8888", 1 << 20);
    for port in ["53", "5007"] {
        let from = udp(&lab.outside, "10.180.13.1:0");
        let to = udp(&lab.b, &format!("192.168.122.11:{port}"));
        udp_exchange(&from, &to, &format!("10.180.13.2:{port}"), 100);
    }
    try_connect(&lab.outside, "10.180.13.2:81").expect_err("no rule is for this port");
}

#[test]
fn s9_libvirts_five_rules() {
    let lab = lab(&[
        "-A POSTROUTING -s 192.168.122.0/24 -d 224.0.0.0/24 -j RETURN",
        "-A POSTROUTING -s 192.168.122.0/24 -d 255.255.255.255/32 -j RETURN",
        "-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -p tcp -j MASQUERADE --to-ports 1024-65535",
        "-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -p udp -j MASQUERADE --to-ports 1024-65535",
        "-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE",
    ]);
    lab.a.ping("203.0.113.1");
    let server = TcpServer::listen(&lab.outside, "203.0.113.1:80");
    assert_eq!(seen_as(&lab.a, &server), "10.180.13.2");
    let (from, to) = (udp(&lab.a, "192.168.122.10:500"), udp(&lab.outside, "203.0.113.1:500"));
    let peer = udp_exchange(&from, &to, "203.0.113.1:500", 100);
    assert!(peer.port() >= 1024, "{peer}");
    assert_eq!([packets(&lab, "-p tcp"), packets(&lab, "-p udp"), packets(&lab, "/24 -j MASQ")], [1, 1, 1]);
}

#[test]
fn s9_an_imported_libvirt_network_runs() {
    let folder = Folder::new();
    let file = folder.path().join("default.xml");
    fs::write(&file, DEFAULT_NETWORK).expect("the folder exists");
    let output = tapswitch(&["import", "libvirt", file.to_str().expect("ASCII"), "--uplink", "wan"]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("virbr0"));
    let (guest, outside) = (Host::new(), Host::new());
    let _switch = Switch::start(&format!(
        "{}{}[uplink.wan]\ntype = \"tap\"\ndevice = \"eth0\"\nnetns = \"{outside}\"\naddress = \"10.180.13.2/24\"\n",
        String::from_utf8_lossy(&output.stdout),
        tap("default", "guest", &guest),
    ));
    outside.address("10.180.13.1/24");
    let script = folder.path().join("script");
    let text = "#!/bin/sh\n[ $1 = bound ] && ip address add $ip/$mask dev $interface && ip route add default via $router\n";
    fs::write(&script, text).expect("the folder exists");
    guest.run(&format!("chmod +x {}", script.display()));
    guest.run(&format!("busybox udhcpc -f -q -n -t 4 -T 2 -i eth0 -s {}", script.display()));
    guest.ping("10.180.13.1");
}

#[test]
fn s9_what_iptables_has_saved_runs() {
    let kernel = Host::new();
    for rule in [
        "-A POSTROUTING -o eth0 -s 192.168.122.0/24 -j SNAT --to-source 10.180.13.2",
        "-A PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to-destination 192.168.122.10:8080",
        "-I PREROUTING -p udp -m multiport ! --dports 53,99:100 -m comment --comment it's -j RETURN",
    ] {
        kernel.run(&format!("iptables -t nat {rule}"));
    }
    let folder = Folder::new();
    let file = folder.path().join("saved");
    fs::write(&file, kernel.run("iptables-save -c")).expect("the folder exists");
    let output = tapswitch(&["import", "iptables", file.to_str().expect("ASCII")]);
    assert!(output.status.success(), "{output:?}");
    let lab = Lab::with("nat", &String::from_utf8_lossy(&output.stdout));
    lab.a.ping("203.0.113.1");
    TcpServer::listen(&lab.a, "192.168.122.10:8080").exchange(&lab.outside, "10.180.13.2:80", 10_000);
    assert_eq!(packets(&lab, "--comment"), 0);
}

#[test]
fn s10_two_libvirt_networks_run_in_one_process_and_apart() {
    let (a, b, outside) = (Host::new(), Host::new(), Host::new());
    let network = |name: &str, subnet: &str, host: &Host| {
        let keys = format!("mode = \"nat\"\naddress = \"{subnet}.1/24\"\nuplink = \"wan\"\n");
        format!("[network.{name}]\n{keys}{}", tap(name, "guest", host))
    };
    let _switch = Switch::start(&format!(
        "{}{}[uplink.wan]\ntype = \"tap\"\ndevice = \"eth0\"\nnetns = \"{outside}\"\naddress = \"10.180.13.2/24\"\n",
        network("default", "192.168.122", &a),
        network("keennet", "192.168.132", &b),
    ));
    outside.address("10.180.13.1/24");
    for (guest, subnet) in [(&a, "192.168.122"), (&b, "192.168.132")] {
        guest.address(&format!("{subnet}.10/24"));
        guest.gateway(&format!("{subnet}.1"));
        guest.ping("10.180.13.1");
    }
    a.cannot_ping("192.168.132.10");
    b.cannot_ping("192.168.122.10");
}

#[test]
fn s11_the_table_is_shown_with_counters_as_iptables_shows_it() {
    let lab = lab(&[
        "-A PREROUTING -i eth0 -d 10.180.13.2 -p tcp --dport 80 -j DNAT --to-destination 192.168.122.10:8080",
        "-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -o eth0 -j MASQUERADE",
    ]);
    lab.a.run("ping -n -c 3 -i 0.2 -W 3 203.0.113.1");
    let output = lab.switch.command(&["nat", "list"]);
    let expected = "\
Chain PREROUTING (policy ACCEPT)
 pkts bytes target     prot opt in     out     source               destination
    0     0 DNAT       tcp  --  wan    *       0.0.0.0/0            10.180.13.2          tcp dpt:80 to:192.168.122.10:8080

Chain POSTROUTING (policy ACCEPT)
 pkts bytes target     prot opt in     out     source               destination
    1    84 MASQUERADE all  --  *      wan     192.168.122.0/24    !192.168.122.0/24
";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn s12_static_nat_of_one_address_both_ways() {
    let lab = lab(&[
        "-A PREROUTING -d 10.180.13.50 -j DNAT --to-destination 192.168.122.10",
        "-A POSTROUTING -s 192.168.122.10 -o eth0 -j SNAT --to-source 10.180.13.50",
        "-A POSTROUTING -s 192.168.122.0/24 -o eth0 -j MASQUERADE",
    ]);
    lab.outside.run("ip route add 10.180.13.50 via 10.180.13.2");
    let server = TcpServer::listen(&lab.outside, "203.0.113.1:80");
    assert_eq!(seen_as(&lab.a, &server), "10.180.13.50");
    assert_eq!(seen_as(&lab.b, &server), "10.180.13.2");
    TcpServer::listen(&lab.a, "192.168.122.10:22").exchange(&lab.outside, "10.180.13.50:22", 10_000);
    lab.outside.ping("10.180.13.50");
}

#[test]
fn s12_a_prefix_is_mapped_address_by_address() {
    let lab = lab(&[
        "-A PREROUTING -d 10.99.0.0/24 -j NETMAP --to 192.168.122.0/24",
        "-A POSTROUTING -s 192.168.122.0/24 -o eth0 -j NETMAP --to 10.99.0.0/24",
    ]);
    lab.outside.run("ip route add 10.99.0.0/24 via 10.180.13.2");
    let server = TcpServer::listen(&lab.outside, "203.0.113.1:80");
    assert_eq!(seen_as(&lab.a, &server), "10.99.0.10");
    assert_eq!(seen_as(&lab.b, &server), "10.99.0.11");
    TcpServer::listen(&lab.b, "192.168.122.11:22").exchange(&lab.outside, "10.99.0.11:22", 10_000);
}

#[test]
fn s12_a_pool_gives_each_guest_one_of_its_addresses() {
    let lab = lab(&["-A POSTROUTING -s 192.168.122.0/24 -o eth0 -j SNAT --to-source 10.99.0.1-10.99.0.8"]);
    lab.outside.run("ip route add 10.99.0.0/24 via 10.180.13.2");
    let server = TcpServer::listen(&lab.outside, "203.0.113.1:80");
    let [a, b] = [&lab.a, &lab.b].map(|guest| seen_as(guest, &server));
    assert_ne!(a, b);
    assert!(a.starts_with("10.99.0.") && b.starts_with("10.99.0."), "{a} {b}");
    assert_eq!(seen_as(&lab.a, &server), a, "a guest keeps its address");
}

#[test]
fn s12_napt_takes_the_ports_that_the_rule_names() {
    let lab = lab(&["-A POSTROUTING -o eth0 -p udp -j SNAT --to-source 10.180.13.2:4000-4001"]);
    let to = udp(&lab.outside, "203.0.113.1:53");
    let port = |guest, address| {
        let from = udp(guest, address);
        udp_exchange(&from, &to, "203.0.113.1:53", 100).port()
    };
    let mut ports = [port(&lab.a, "192.168.122.10:5000"), port(&lab.b, "192.168.122.11:5000")];
    ports.sort_unstable();
    assert_eq!(ports, [4000, 4001]);
}

#[test]
fn s14_a_transparent_proxy_serves_what_was_meant_for_others() {
    let lab = lab(&[
        "-A PREROUTING -i default ! -d 192.168.122.0/24 -p tcp --dport 80 -j DNAT --to-destination 10.180.13.1:3128",
        "-A POSTROUTING -s 192.168.122.0/24 -o eth0 -j MASQUERADE",
    ]);
    let proxy = TcpServer::listen(&lab.outside, "10.180.13.1:3128");
    // Nobody has this address; the client doesn't notice.
    proxy.exchange(&lab.a, "198.51.100.7:80", 1 << 20);
    let direct = TcpServer::listen(&lab.outside, "203.0.113.1:443");
    direct.exchange(&lab.a, "203.0.113.1:443", 10_000);
}

#[test]
fn rules_come_and_go_while_it_runs() {
    let lab = lab(&[]);
    let server = TcpServer::listen(&lab.outside, "203.0.113.1:80");
    try_connect(&lab.a, "203.0.113.1:80").expect_err("no rule, no translation, no way back");
    let rule = "-A POSTROUTING -s 192.168.122.0/24 -o eth0 -j MASQUERADE";
    let told = nat(&lab, "add", rule).expect("the rule is right");
    assert!(told.starts_with("added as rule 1 of POSTROUTING"), "{told}");
    assert_eq!(seen_as(&lab.a, &server), "10.180.13.2");
    nat(&lab, "add", "-I POSTROUTING -s 192.168.122.11 -j ACCEPT").expect("the rule is right");
    assert_eq!(packets(&lab, "MASQUERADE"), 1, "the counters of the others stay");
    try_connect(&lab.b, "203.0.113.1:80").expect_err("the first rule that matches decides");
    nat(&lab, "del", "-D POSTROUTING 1").expect("there are two");
    assert_eq!(seen_as(&lab.b, &server), "10.180.13.2");
    nat(&lab, "del", "-D POSTROUTING -s 192.168.122.0/24 -o wan -j MASQUERADE").expect("the same rule");
    let said = nat(&lab, "del", "-D POSTROUTING 1").expect_err("none is left");
    assert!(said.contains("POSTROUTING has 0 rules"), "{said}");
    let said = nat(&lab, "add", "-A POSTROUTING -o lan -j MASQUERADE").expect_err("there is no lan");
    assert!(said.contains("rule:1:19") && said.contains("there is no network or uplink `lan`"), "{said}");
    nat(&lab, "add", rule).expect("the rule is right");
    assert!(lab.switch.command(&["reload"]).status.success());
    assert_eq!(lab.switch.show("nat").as_array().map(Vec::len), Some(0), "a reload returns to the file");
}

/// What libvirt comes with.
pub const DEFAULT_NETWORK: &str = "\
<network>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254'/>
    </dhcp>
  </ip>
</network>
";

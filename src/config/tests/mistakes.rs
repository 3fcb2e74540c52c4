//! Every kind of mistake: where it is seen, and what is said.

use super::super::Config;

/// A replacement in [`BASE`], and the messages that it leads to: `LINE:COLUMN: what is wrong; what to write`.
type Case = (&'static str, &'static str, &'static [&'static str]);

pub(super) const BASE: &str = "\
[network.default]
mode = 'nat'
address = '192.168.122.1/24'
dhcp = '192.168.122.2-192.168.122.99'
uplink = 'wan'

[network.default.port.vm1]
type = 'tap'

[network.default.port.vm2]
type = 'tap'

[uplink.wan]
type = 'tap'
address = '10.0.0.2/24'
gateway = '10.0.0.1'

[engine]
workers = 1
";

fn check(cases: &[Case]) {
    for (from, to, expected) in cases {
        assert!(BASE.contains(from), "{from}");
        let mistakes = Config::parse("t", &BASE.replacen(from, to, 1), &[]).expect_err(to).to_string();
        let messages: Vec<&str> =
            mistakes.lines().map(|line| line.strip_prefix("t:").unwrap_or(line)).collect();
        let is_said = |(said, expected): (&&str, &&str)| match expected.strip_suffix('…') {
            Some(begins) => said.starts_with(begins),
            None => said == expected,
        };
        let is_right = messages.len() == expected.len() && messages.iter().zip(*expected).all(is_said);
        assert!(is_right, "{from} → {to}: {messages:?}, not {expected:?}");
    }
}

#[test]
fn what_the_mistakes_are_made_in_has_none() {
    assert!(Config::parse("t", BASE, &[]).is_ok());
}

#[test]
fn a_value_that_is_wrong_by_itself_is_pointed_at() {
    check(VALUES);
}

#[test]
fn values_that_do_not_fit_together_are_pointed_at() {
    check(FIT);
}

#[test]
fn all_mistakes_of_a_file_are_told_in_the_order_of_its_lines() {
    let text = "[network.a]\nmode = 'x'\nmtu = 1\n[uplink.b]\ntype = 'tap'\nzzz = 1\n";
    let mistakes = Config::parse("t", text, &[]).unwrap_err();
    let lines: Vec<String> = mistakes.to_string().lines().map(|line| line[..6].to_owned()).collect();
    assert_eq!(lines, ["t:2:8:", "t:3:7:", "t:6:1:"]);
}

#[test]
fn a_rendered_mistake_shows_file_line_column_and_the_line() {
    let mistakes = Config::parse("dir/file.toml", &BASE.replace("'nat'", "'gnat'"), &[]).unwrap_err();
    let expected = "\
error: `gnat` is not one of the choices
 --> dir/file.toml:2:8
  |
2 | mode = 'gnat'
  |        ^^^^^^
  |
  = help: write `nat`";
    assert_eq!(mistakes.render(false), expected);
    assert!(mistakes.render(true).contains("\u{1b}["));
}

#[test]
fn a_file_of_nothing_but_mistakes_is_told_in_bounded_length() {
    let text: String = (0..5000).map(|n| format!("key{n} = 1\n")).collect();
    let mistakes = Config::parse("t", &text, &[]).unwrap_err();
    assert_eq!(mistakes.list().len(), 5000);
    assert!(mistakes.render(false).ends_with("error: and 4950 more in t"));
    assert!(mistakes.render(false).len() < 20_000);
}

#[test]
fn more_ports_than_there_are_numbers_are_refused() {
    let ports = |count: usize| -> String {
        (0..count).map(|n| format!("[network.lan.port.p{n}]\ntype = 'tap'\n")).collect()
    };
    let text = |count| format!("[network.lan]\nmode = 'internal'\n{}", ports(count));
    assert!(Config::parse("t", &text(4096), &[]).is_ok());
    let said = Config::parse("t", &text(4097), &[]).unwrap_err().to_string();
    assert_eq!(said, "t:1:1: 4097 ports are too many; write 4096 at most");
}

#[test]
fn a_quoted_value_cannot_control_the_terminal() {
    let text = BASE.replace("'nat'", r#""\u001b[2J\n""#);
    let mistakes = Config::parse("t", &text, &[]).unwrap_err();
    assert!(!mistakes.render(false).contains('\u{1b}'));
    assert_eq!(mistakes.to_string().lines().count(), 1);
}

/// What is seen of each value alone.
#[rustfmt::skip]
const VALUES: &[Case] = &[
    ("mode = 'nat'", "", &[r#"1:10: `mode` is missing; write mode = "nat""#]),
    ("mode = 'nat'", "mode = 'natt'", &["2:8: `natt` is not one of the choices; write `nat`"]),
    ("mode = 'nat'", "mode = 1", &["2:8: this is a number, not a text; write it in quotes"]),
    ("mode = 'nat'", "mode = 'nat'\nadress = '1.2.3.4/5'", &["3:1: unknown key `adress`; write `address`"]),
    ("mode = 'nat'", "mode = 'nat'\nzzz = 1", &["3:1: unknown key `zzz`; write one of: port, balance, dhcp-boot, mode, address, address6, ra, mac, dhcp, lease-time, reserve, ntp, routes, dns, domain, dns-forwarder, dns-upstream, hosts, allow-names, uplink, publish, rules, pcp, mtu, stp, stp-priority, stp-hello-time, stp-max-age, stp-forward-delay, ageing, fdb-capacity, loop-detect"]),
    ("mode = 'nat'", "mode = 'nat'\nrules = [1]", &["3:10: this is a number, not a text; write it in quotes"]),
    ("mode = 'nat'", "mode = 'nat'\nmode = 'nat'", &["3:1: duplicate key; remove one of the two"]),
    ("mode = 'nat'", "mode = 'nat", &[r#"2:8: this text has no closing quote; write a quote at its end: mode = "nat""#]),
    ("192.168.122.1/24", "192.168.122.1", &[r#"3:11: `192.168.122.1` is not an address with prefix length; write the host's own address and the length, for example "192.168.122.1/24""#]),
    ("192.168.122.1/24", "192.168.122.0/24", &["3:11: 192.168.122.0 is the network address of 192.168.122.0/24; write an address of a host in it, for example 192.168.122.1/24"]),
    ("192.168.122.1/24", "192.168.122.255/24", &["3:11: 192.168.122.255 is the broadcast address of 192.168.122.0/24; write an address of a host in it, for example 192.168.122.1/24"]),
    ("192.168.122.1/24", "192.168.122.1/32", &["3:11: /32 is no network with room for two hosts; write a prefix length from 1 to 31, for example /24"]),
    ("192.168.122.1/24", "224.0.0.1/24", &["3:11: 224.0.0.1 can't be a host's address; write a unicast address"]),
    ("122.2-192.168.122.99", "122.2", &[r#"4:8: `192.168.122.2` is not a range of addresses; write the first and the last address, for example "192.168.122.2-192.168.122.254""#]),
    ("122.2-192.168.122.99", "122.99-192.168.122.2", &[r#"4:8: the range ends before it begins; write "192.168.122.2-192.168.122.99""#]),
    ("uplink = 'wan'", "uplink = 'wan'\nmtu = 65521", &["6:7: `65521` is out of range; write a number of bytes from 68 to 65520, without quotes"]),
    ("uplink = 'wan'", "uplink = 'wan'\nmtu = '1500'", &["6:7: this is a text, not a number; write a number of bytes from 68 to 65520, without quotes"]),
    ("uplink = 'wan'", "uplink = 'wan'\nmtu = 1e3", &["6:7: this is a fraction, not a number; write a number of bytes from 68 to 65520, without quotes"]),
    ("uplink = 'wan'", "uplink = 'wan'\nmtu = -1", &["6:7: `-1` is out of range; write a number of bytes from 68 to 65520, without quotes"]),
    ("uplink = 'wan'", "uplink = 'wan'\nmtu = 0x1_0000_0000_0000", &["6:7: `1000000000000` is out of range; write a number of bytes from 68 to 65520, without quotes"]),
    ("uplink = 'wan'", "uplink = 'wan'\nageing = 9", &["6:10: `9` is out of range; write a number of seconds from 10 to 1000000, without quotes"]),
    ("uplink = 'wan'", "uplink = 'wan'\nfdb-capacity = 0", &["6:16: `0` is out of range; write a number of addresses from 16 to 1048576, without quotes"]),
    ("uplink = 'wan'", "uplink = 'wan'\nlease-time = 1", &["6:14: `1` is out of range; write a number of seconds from 10 to 31536000, without quotes"]),
    ("uplink = 'wan'", "uplink = 'wan'\nmac = '01:00:5e:00:00:01'", &["6:7: 01:00:5e:00:00:01 is a group address; write the address of one station: its first octet is even"]),
    ("uplink = 'wan'", "uplink = 'wan'\nmac = '00:00:00:00:00:00'", &["6:7: 00:00:00:00:00:00 is no address; write the address of one station: its first octet is even"]),
    ("uplink = 'wan'", "uplink = 'wan'\ndns = '9.9.9.9'", &["6:7: `dns` is a list; write dns = [ … ]"]),
    ("uplink = 'wan'", "uplink = 'wan'\ndns = ['9.9.9.9', 'example.org']", &["6:19: `example.org` is not an IP address; write one without a prefix length, for example 10.0.0.1 or fd00:1::53"]),
    ("uplink = 'wan'", "uplink = 'wan'\ndomain = '-x'", &[r#"6:10: `-x` is not a domain name; write labels of letters, digits and hyphens, for example "lan.example.org""#]),
    ("uplink = 'wan'", "uplink = 'wan'\nreserve = ['52:54:00:12:34:56']", &[r#"6:12: `52:54:00:12:34:56` reserves nothing; write "MAC=ADDRESS", for example "52:54:00:12:34:56=192.168.122.10""#]),
    ("uplink = 'wan'", "uplink = 'wan'\npublish = ['0:192.168.122.10:80']", &["6:12: `0` is not a port; write a number from 1 to 65535, or FIRST-LAST"]),
    ("uplink = 'wan'", "uplink = 'wan'\npublish = ['80:192.168.122.10:80/sctp']", &["6:12: ports of `sctp` can't be published; write /tcp or /udp at the end, or nothing for tcp"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]", &[r#"7:23: `type` is missing; write type = "tap""#]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tun'\npath = 'x'", &["8:8: `tun` is not supported yet; write one of: tap, packet, stream, dgram, udp, vhost-user"]),
    ("port.vm1]\n", "port.vm1]\nrate-in = '100'\n", &[r#"8:11: `100` is no rate in bits a second; write a number of kbit, Mbit or Gbit from 64kbit to 1000Gbit, for example "100Mbit""#]),
    ("port.vm1]\n", "port.vm1]\nrate-out = '1kbit'\n", &[r#"8:12: `1kbit` is no rate in bits a second; write a number of kbit, Mbit or Gbit from 64kbit to 1000Gbit, for example "100Mbit""#]),
    ("port.vm1]\n", "port.vm1]\nrate-in = '99999999999999999999Gbit'\n", &["8:11: `99999999999999999999Gbit` is no rate in bits a second…"]),
    ("port.vm1]\n", "port.vm1]\nstorm = { broadcast = 0 }\n", &["8:23: `0` is out of range; write a number of frames a second from 1 to 10000000, without quotes"]),
    ("port.vm1]\n", "port.vm1]\nstorm = { all = 10 }\n", &["8:11: unknown key `all`; write one of: broadcast, multicast, unknown"]),
    ("port.vm1]\n", "port.vm1]\nstorm = 1000\n", &["8:9: this is a number, not the section storm…"]),
    ("port.vm1]\n", "port.vm1]\nvlan = 4095\n", &["8:8: `4095` is out of range; write a VLAN from 1 to 4094, without quotes"]),
    ("port.vm1]\n", "port.vm1]\nvlan = '10'\n", &["8:8: this is a text, not a number; write a VLAN from 1 to 4094, without quotes"]),
    ("port.vm1]\n", "port.vm1]\nqinq = 0\n", &["8:8: `0` is out of range; write a VLAN from 1 to 4094, without quotes"]),
    ("port.vm1]\n", "port.vm1]\ntrunk = '20,39-30'\n", &[r#"8:9: `20,39-30` is no list of VLANs; write VLANs from 1 to 4094 and ranges of them, for example "20,30-39", or "all""#]),
    ("port.vm1]\n", "port.vm1]\ntrunk = 20\n", &["8:9: this is a number, not a text; write it in quotes"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tape'", &["8:8: `tape` is no type of port; write `tap`"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'macvlan'", &["8:8: `macvlan` is no type of port; write one of: tap, packet, stream, dgram, udp, vhost-user"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'stream'", &[r#"7:23: `path` is missing; write path = "/run/tapswitch-guests/NAME.sock""#]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'stream'\npath = 'vm1.sock'", &[r#"9:8: "vm1.sock" can't be the path of a socket; write an absolute path, for example "/run/tapswitch-guests/vm1.sock""#]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'stream'\npath = '/run/a'\nrole = 'serve'", &["10:8: `serve` is not one of the choices; write `server`"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'stream'\npath = '/run/a'\ndevice = 'a'", &["10:1: unknown key `device`; write one of: type, path, role, …"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'dgram'\npath = '/run/a'", &[r#"7:23: `peer` is missing; write peer = "…", the path of the other side's socket"#]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'packet'\nhost-stack = true\ntake-over = true", &["10:13: `take-over` takes what `host-stack` leaves; remove one of the two: with `host-stack` the host keeps the device"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'packet'\ndevice = 'lo'", &["9:10: `lo` is the host's own loopback; write another device"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'packet'\nhost-stack = 1", &["9:14: this is a number, not true or false; write true or false"]),
    ("port.vm1]", "port.'v m']", &[r#"7:23: "v m" can't be a name; write 1 to 64 letters, digits, hyphens, underscores or dots"#]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\ndevice = '0123456789abcdef'", &[r#"9:10: `0123456789abcdef` is too long for a device's name: 16 bytes; write 1 to 15 letters, digits, hyphens, underscores or dots, for example "tap1""#]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\nnetns = 0", &["9:9: process ids are from 1 to 4194304; write a name as `ip netns` shows it, a path, or the id of a process in it"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\nnetns = ''", &[r#"9:9: "" can't be a name; write a name as `ip netns` shows it, a path, or the id of a process in it"#]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\nnetns = true", &["9:9: this is true or false, not a network namespace; write a name as `ip netns` shows it, a path, or the id of a process in it"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\noffload = 'yes'", &["9:11: this is a text, not true or false; write true or false"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\nlearn-limit = 9999999", &["9:15: `9999999` is out of range; write a number of addresses from 0 to 1048576, without quotes"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\naddress = '192.168.122.7/24'", &["9:1: unknown key `address`; write `addresses`"]),
    ("10.0.0.2/24'", "host'\nhost-ports = '40000'", &["16:14: `40000` is not a range of ports; write the first and the last port, for example \"40000-49151\""]),
    ("10.0.0.2/24'", "host'\nhost-ports = '49151-40000'", &["16:14: the range ends before it begins; write \"40000-49151\""]),
    ("10.0.0.2/24'", "host'\nhost-ports = '80-49151'", &["16:14: ports below 1024 are the host's; write the first and the last port, for example \"40000-49151\""]),
    ("10.0.0.2/24'", "host'\nhost-ports = '40000-40009'", &["16:14: 10 ports are too few; write the first and the last port, for example \"40000-49151\""]),
    ("10.0.0.2/24", "dhcp", &[r#"15:11: this version needs a fixed address of the uplink, or the host's; write the switch's own address on the uplink, for example "10.180.13.232/24", or "host""#]),
    ("workers = 1", "workers = 4", &["19:11: this version has one worker; write 1, or remove the key"]),
    ("workers = 1", "poll = 'poll'", &["19:8: `poll` is not one of the choices; write one of: event, adaptive, busy"]),
    ("workers = 1", "[nat]\nfiltering = 'none'", &["20:13: `none` is not one of the choices; write one of: endpoint-independent, address-dependent, address-and-port-dependent"]),
    ("workers = 1", "[nat]\nport-parity = 'yes'\nquarantine = 3601\nhost-flow-limit = 0", &["20:15: this is a text, not true or false; write true or false", "21:14: `3601` is out of range; write a number of seconds from 0 to 3600, without quotes", "22:19: `0` is out of range; write a number of flows from 1 to 16777216, without quotes"]),
    ("workers = 1", "flows = 0", &["19:9: `0` is out of range; write a number of flows from 1 to 16777216, without quotes"]),
    ("workers = 1", "timeouts.udp = 119", &["19:16: 119 s is below the floor of 120 s that RFC 4787 REQ-5 sets; write 120 or more"]),
    ("workers = 1", "timeouts.tcp-established = 7439", &["19:28: 7439 s is below the floor of 7440 s that RFC 5382 REQ-5 sets; write 7440 or more"]),
    ("workers = 1", "timeouts.tcp-opening = 1", &["19:24: 1 s is below the floor of 240 s that RFC 5382 REQ-5 sets; write 240 or more"]),
    ("workers = 1", "timeouts.icmp = 59", &["19:17: 59 s is below the floor of 60 s that RFC 5508 REQ-2 sets; write 60 or more"]),
    ("workers = 1", "timeouts.tcp = 59", &["19:10: unknown key `tcp`; write one of: udp, tcp-opening, tcp-established, tcp-closing, icmp"]),
    ("workers = 1", "timeouts = 5", &["19:12: this is a number, not the section timeouts; write a section with this name, and its keys below"]),
    ("workers = 1", "leases = 'off'", &[r#"19:10: "off" can't be the path of a file; write an absolute path, for example "/var/lib/tapswitch/leases", or "none""#]),
    ("workers = 1", "state = '/s'\nleases = '/s'", &[r#"20:10: "/s" is the file of `state` already; write an absolute path, for example "/var/lib/tapswitch/leases", or "none""#]),
    ("workers = 1", "state = 'state'", &[r#"19:9: "state" can't be the path of a file; write an absolute path, for example "/var/lib/tapswitch/state""#]),
    ("[engine]", "[egnine]", &["18:2: unknown key `egnine`; write `engine`"]),
    ("uplink = 'wan'", "uplink = 'wan'\nport = 7", &["8:18: cannot extend value of type integer with a dotted key", "11:18: cannot extend value of type integer with a dotted key"]),
    ("uplink = 'wan'", "uplink = 'wan'\nport.vm3 = 7", &["6:12: this is a number, not the section port.vm3; write a section with this name, and its keys below"]),
    ("[engine]\nworkers = 1", "[network]\nextra = 7", &["19:9: this is a number, not the section network.extra; write a section with this name, and its keys below"]),
];

/// What is seen when every value alone is right.
#[rustfmt::skip]
const FIT: &[Case] = &[
    ("port.vm1]\n", "port.vm1]\nqinq = 100\nvlan = 10\ntrunk = 'all'\n", &["9:8: a port with `qinq` has one VLAN, around whatever comes; remove the key, or `qinq`", "10:9: a port with `qinq` has one VLAN, around whatever comes; remove the key, or `qinq`"]),
    ("port.vm1]\n", "port.vm1]\nvlan = 10\ntrunk = '0-5'\n", &["9:9: VLAN 0 is that of untagged frames, which are of VLAN 10 here; remove 0 from the list, or the key `vlan`"]),
    ("uplink = 'wan'", "", &[r#"2:8: a network of this mode needs an uplink; write uplink = "wan" in this network"#, r#"13:9: no network uses this uplink; write uplink = "wan" in a network, or remove the section"#]),
    ("uplink = 'wan'", "uplink = 'wam'", &["5:10: there is no uplink `wam`; write `wan`", r#"13:9: no network uses this uplink; write uplink = "wan" in a network, or remove the section"#]),
    ("address = '192.168.122.1/24'\n", "", &[r#"1:10: `address` is missing; write the switch's own address, for example address = "192.168.122.1/24""#]),
    ("dhcp = '192.168.122.2-192.168.122.99'", "lease-time = 60\ndns = ['9.9.9.9']", &[r#"4:14: this key needs `dhcp`; write dhcp = "FIRST-LAST" in this network, or remove the key"#, r#"5:7: this key needs `dhcp`; write dhcp = "FIRST-LAST" in this network, or remove the key"#]),
    ("122.2-192.168.122.99", "122.2-192.168.123.99", &[r#"4:8: the range is not inside 192.168.122.0/24; write for example dhcp = "192.168.122.2-192.168.122.254""#]),
    ("122.2-192.168.122.99", "122.1-192.168.122.99", &[r#"4:8: the range contains the switch's own address 192.168.122.1; write for example dhcp = "192.168.122.2-192.168.122.254""#]),
    ("122.2-192.168.122.99", "122.2-192.168.122.255", &[r#"4:8: the range contains the broadcast address; write for example dhcp = "192.168.122.2-192.168.122.254""#]),
    ("'192.168.122.1/24'\ndhcp = '192.168.122.2-192.168.122.99'", "'172.16.0.1/12'\ndhcp = '172.16.0.2-172.17.255.0'", &["4:8: the range has more than 65536 addresses; write a smaller one"]),
    ("uplink = 'wan'", "uplink = 'wan'\nreserve = ['52:54:00:12:34:56=10.9.9.9']", &["6:12: the reserved address 10.9.9.9 is not in 192.168.122.0/24; write another address of 192.168.122.0/24"]),
    ("uplink = 'wan'", "uplink = 'wan'\nreserve = ['52:54:00:12:34:56=192.168.122.5', '52:54:00:12:34:56=192.168.122.6']", &["6:47: 52:54:00:12:34:56 has a reserved address already; remove one of the two"]),
    ("uplink = 'wan'", "uplink = 'wan'\nreserve = ['52:54:00:12:34:56=192.168.122.5', '52:54:00:12:34:57=192.168.122.5']", &["6:47: 192.168.122.5 is reserved already; remove one of the two"]),
    ("mode = 'nat'", "mode = 'nat'\ndns-upstream = ['127.0.0.53']", &["3:17: `127.0.0.53` is not a name server's address; write the address of a name server that the network's uplink leads to, for example \"9.9.9.9\"; the host's own resolvers are asked where the key is missing"]),
    ("mode = 'nat'", "mode = 'nat'\nreserve = ['id:ff0=192.168.122.3']", &["3:12: `ff0` is not a client identifier; write its bytes as the client sends them in option 61, two digits each, for example \"id:ff00aa\""]),
    ("mode = 'nat'", "mode = 'nat'\nroutes = ['10.0.0.1/8=192.168.122.2']", &["3:11: `10.0.0.1/8` is not a subnet; write a subnet and the router towards it, for example \"10.0.0.0/8=192.168.122.2\""]),
    ("mode = 'nat'", "mode = 'nat'\nroutes = ['10.0.0.0/8=10.9.0.2']", &["3:11: the router 10.9.0.2 is not in 192.168.122.0/24; write another address of 192.168.122.0/24"]),
    ("mode = 'nat'", "mode = 'nat'\ndhcp-boot = { file = 'x' }", &["3:1: `server` is missing; write server = \"192.168.122.1\", who has the file"]),
    ("mode = 'nat'", "mode = 'nat'\nhosts = ['printer']", &["3:10: `printer` is not a name with its address; write for example \"printer=192.168.122.50\""]),
    ("mode = 'nat'", "mode = 'nat'\nallow-names = ['*']", &["3:16: `*` is not a name; write a name, or \"*.\" and a name for all that are below it, for example \"*.debian.org\""]),
    ("mode = 'nat'", "mode = 'nat'\ndns-forwarder = false\nallow-names = ['debian.org']", &["4:15: this key needs a DNS forwarder; write dns-forwarder = true in this network, or remove the key"]),
    ("uplink = 'wan'", "uplink = 'wan'\ndns = ['1.1.1.1', '1.1.1.2', '1.1.1.3', '1.1.1.4', '1.1.1.5', '1.1.1.6', '1.1.1.7', '1.1.1.8', '1.1.1.9']", &["6:7: too many name servers; write 8 at most; hosts try three"]),
    ("uplink = 'wan'", "uplink = 'wan'\npublish = ['80:192.168.123.10:80']", &["6:12: the inside address 192.168.123.10 is not in 192.168.122.0/24; write another address of 192.168.122.0/24"]),
    ("uplink = 'wan'", "uplink = 'wan'\npublish = ['80:192.168.122.1:80']", &["6:12: 192.168.122.1 is the switch's own address; write another address of 192.168.122.0/24"]),
    ("uplink = 'wan'", "uplink = 'wan'\npublish = ['80:192.168.122.10:80', '80:192.168.122.11:80/tcp']", &["6:36: port 80 of the uplink is published already; write another uplink port"]),
    ("mode = 'nat'", "mode = 'route'\npublish = ['80:192.168.122.10:80']", &[r#"3:11: only networks of modes nat and nat-isolated publish ports; write mode = "nat", or remove the key"#]),
    ("mode = 'nat'", "mode = 'nat'\nrules = ['-A POSTROUTING -o wan -j MASQUERADE', \"-A POSTROUTING -m comment --comment \\\"\\u0061\\\" -o wann -j MASQUERADE\"]", &["3:100: there is no network or uplink `wann`; write `wan`"]),
    ("mode = 'nat'", "mode = 'nat'\nrules = ['-I POSTROUTING -j ACCEPT']", &["3:10: a file only adds rules; write -A in each: rules are in the order of the file"]),
    ("mode = 'nat'", "mode = 'route'\npcp = true", &[r#"3:7: only networks of modes nat and nat-isolated open ports on request; write mode = "nat", or remove the key"#]),
    ("mode = 'nat'", "mode = 'route'\nrules = ['-A POSTROUTING -j']", &[r#"3:9: only networks of modes nat and nat-isolated have rules; write mode = "nat", or remove the key"#, "3:26: `-j` has no value; write `-j TARGET`"]),
    ("mode = 'nat'", "mode = 'host-only'", &["5:10: a network of this mode has no uplink; remove the key, or change `mode`"]),
    ("mode = 'nat'", "mode = 'bridge'", &["3:11: a network of mode bridge has no address of the switch's; remove the key, or change `mode`", "4:8: a network of mode bridge has no address of the switch's; remove the key, or change `mode`", "15:11: network `default` bridges this uplink: the switch has no address on it; remove the key", "16:11: network `default` bridges this uplink: the switch has no address on it; remove the key"]),
    ("mode = 'nat'\naddress = '192.168.122.1/24'\ndhcp = '192.168.122.2-192.168.122.99'\nuplink = 'wan'", "mode = 'internal'\nmac = '52:54:00:12:34:56'", &["3:7: a network of mode internal has no address of the switch's; remove the key, or change `mode`", r#"11:9: no network uses this uplink; write uplink = "wan" in a network, or remove the section"#]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'packet'\ndevice = 'vm2'", &[r#"11:23: the device `vm2` is another port's already; write device = "…" in one of the two sections: without it the device is named as the port"#]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'dgram'\npath = '/run/a'\npeer = '/run/a'", &["10:8: this is the switch's own socket; write the other side's"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'stream'\npath = '/run/a'\n[network.default.port.vm3]\ntype = 'dgram'\npath = '/run/a'\npeer = '/run/b'", &["12:8: this socket is another port's already; write another path"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\ndevice = 'vm2'", &[r#"11:23: the device `vm2` is another port's already; write device = "…" in one of the two sections: without it the device is named as the port"#]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\npeer-address = '192.168.122.1/24'", &["9:16: 192.168.122.1 is the switch's own address; write another address of 192.168.122.0/24"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\npeer-address = '192.168.1.1/24'", &["9:16: the other side 192.168.1.1 is not in 192.168.122.0/24; write another address of 192.168.122.0/24"]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\npeer-address = '192.168.122.7/24'", &["9:16: 192.168.122.7 may be leased to somebody else; write an address outside the `dhcp` range, or reserve this one with `reserve`"]),
    ("port.vm1]", "port.a-name-too-long-for-a-device]", &[r#"7:23: `a-name-too-long-for-a-device` is too long for a device's name: 28 bytes; write device = "…", at most 15 bytes, in this section"#]),
    ("port.vm1]\ntype = 'tap'", "port.vm1]\ntype = 'tap'\nstatic-macs = ['52:54:00:12:34:56', '52:54:00:12:34:56']", &["9:37: 52:54:00:12:34:56 is behind another port already; remove one of the two"]),
    ("uplink = 'wan'", "uplink = 'wan'\nmac = '52:54:00:12:34:56'\nport.vm3 = { type = 'tap', static-macs = ['52:54:00:12:34:56'] }", &["7:43: 52:54:00:12:34:56 is the switch's own address; remove it"]),
    ("10.0.0.2/24", "192.168.0.2/16", &["15:11: 192.168.0.2/16 overlaps 192.168.122.1/24 of `default`; write an address of a subnet of its own", "16:11: the gateway 10.0.0.1 is not in 192.168.0.0/16; write another address of 192.168.0.0/16"]),
    ("10.0.0.2/24'", "10.0.0.2/24'\nhost-ports = '40000-49151'", &["16:14: this key needs `address = \"host\"`; remove the key"]),
    ("type = 'tap'\naddress = '10.0.0.2/24'\ngateway = '10.0.0.1'", "type = 'tap'\naddress = 'host'", &["15:11: only an uplink of type packet shares the host's address; write type = \"packet\" and the name of the host's network card as `device`"]),
    ("type = 'tap'\naddress = '10.0.0.2/24'\n", "type = 'packet'\naddress = 'host'\ntake-over = true\n", &[
        "16:13: an uplink that shares the host's address has no `take-over`: the host keeps the device; remove the key",
        "17:11: an uplink that shares the host's address has no `gateway`: it is the host's; remove the key",
    ]),
    ("address = '10.0.0.2/24'\n", "", &[r#"13:9: `address` is missing; write address = "host" to share the host's, or the switch's own address on the uplink, for example address = "10.180.13.232/24""#]),
    ("gateway = '10.0.0.1'", "gateway = '10.0.1.1'", &["16:11: the gateway 10.0.1.1 is not in 10.0.0.0/24; write another address of 10.0.0.0/24"]),
    ("gateway = '10.0.0.1'", "gateway = '10.0.0.2'", &["16:11: 10.0.0.2 is the switch's own address; write another address of 10.0.0.0/24"]),
    ("gateway = '10.0.0.1'", "peer-address = '10.0.0.2/24'", &["16:16: 10.0.0.2 is the switch's own address; write another address of 10.0.0.0/24"]),
    ("[engine]\nworkers = 1", "[uplink.dsl]\ntype = 'tap'\naddress = '10.1.0.2/24'", &[r#"18:9: no network uses this uplink; write uplink = "dsl" in a network, or remove the section"#]),
    ("[engine]\nworkers = 1", "[network.lan]\nmode = 'bridge'\nuplink = 'wan'", &["20:10: uplink `wan` is another network's too, so it can't be bridged; give the bridge network an uplink of its own"]),
    ("[engine]\nworkers = 1", "[network.wan]\nmode = 'internal'", &["13:9: `wan` is a network's name too; write another name for the uplink"]),
    ("[engine]\nworkers = 1", "[network.lan]\nmode = 'bridge'\nuplink = 'dsl'\nport.dsl = { type = 'tap', device = 'x' }\n[uplink.dsl]\ntype = 'tap'", &["21:6: the uplink of this bridge network has the same name; write another name for the port"]),
];

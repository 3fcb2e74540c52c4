//! Keys about IPv6.

use std::net::Ipv6Addr;

use engine::Ipv6Config;

use super::super::{Config, Plan};

const FILE: &str = "
[network.lan]
mode = 'route'
address = '192.168.122.1/24'
address6 = 'fd00:1::1/64'
uplink = 'wan'
dns = ['9.9.9.9', 'fd00:1::53']
domain = 'lan'
[network.lan.port.a]
type = 'tap'
[uplink.wan]
type = 'tap'
address = '10.0.0.2/24'
address6 = '2001:db8::5/64'
gateway6 = 'fe80::1'
";

fn plan(text: &str) -> Plan {
    Plan::new(&Config::parse("t", text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}")), None)
}

fn ipv6(plan: &Plan, name: &str) -> Ipv6Config {
    let network = &plan.runtime.networks[plan.network_id(name).unwrap().index()];
    network.interface.clone().unwrap().settings.ipv6.unwrap()
}

#[test]
fn a_network_has_a_prefix_that_guests_are_told() {
    let whole = plan(FILE);
    let (lan, wan) = (ipv6(&whole, "lan"), ipv6(&whole, "wan"));
    let ra = lan.ra.unwrap();
    assert_eq!((lan.address.to_string(), ra.is_router), ("fd00:1::1/64".to_owned(), true));
    let server: Ipv6Addr = "fd00:1::53".parse().unwrap();
    assert_eq!((ra.dns, ra.domain.as_deref()), (vec![server], Some("lan")));
    assert_eq!((wan.gateway, wan.ra), (Some("fe80::1".parse().unwrap()), None));
    assert_eq!(ipv6(&plan(&FILE.replacen("address6", "ra = false\naddress6", 1)), "lan").ra, None);
    let closed = FILE.replace("'route'", "'host-only'").replace("uplink = 'wan'\n", "");
    let closed = plan(&closed[..closed.find("[uplink").unwrap()]);
    assert!(!ipv6(&closed, "lan").ra.unwrap().is_router);
}

#[test]
fn what_is_wrong_about_ipv6_is_told_with_what_to_write() {
    for (from, to, message) in MISTAKES {
        assert!(FILE.contains(from), "{from}");
        let said = Config::parse("t", &FILE.replacen(from, to, 1), &[]).expect_err(to).to_string();
        assert!(
            said.lines().any(|line| line.starts_with(&format!("t:{message}; write "))),
            "{from} → {to}: {said}"
        );
    }
}

/// A replacement, and what is said of it.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str)] = &[
    ("'fd00:1::1/64'", "'fd00:1::1'", "5:12: `fd00:1::1` is not an IPv6 address with prefix length"),
    ("'fd00:1::1/64'", "'fd00:1::/64'", "5:12: fd00:1:: is the address of all routers of fd00:1::/64"),
    ("'fd00:1::1/64'", "'fd00:1::1/128'", "5:12: /128 is no network with room for two hosts"),
    ("'fd00:1::1/64'", "'fe80::1/64'", "5:12: fe80::1 is link-local"),
    ("'fd00:1::1/64'", "'ff02::1/64'", "5:12: ff02::1 can't be a host's address"),
    ("'fd00:1::1/64'", "'::ffff:10.0.0.1/96'", "5:12: ::ffff:10.0.0.1 can't be a host's address"),
    ("'fd00:1::1/64'", "'delegated/64'", "5:12: this version has no delegated prefixes"),
    ("'fd00:1::1/64'", "'2001:db8::9/64'", "14:12: 2001:db8::5/64 is `lan`'s too"),
    ("mode = 'route'", "mode = 'nat'", "5:12: this version translates no IPv6: modes nat and nat-isolated have none"),
    ("address6 = 'fd00:1::1/64'", "ra = true", "5:6: this key needs `address6`"),
    ("domain", "mtu = 1000\ndomain", "8:7: 1000 bytes are too few for IPv6"),
    ("'2001:db8::5/64'", "'auto'", "14:12: this version needs a fixed IPv6 address of the uplink"),
    ("'fe80::1'", "'2001:db8:1::1'", "15:12: the gateway 2001:db8:1::1 is not in 2001:db8::/64"),
    ("'fe80::1'", "'2001:db8::5'", "15:12: 2001:db8::5 is the switch's own address"),
    ("address6 = '2001:db8::5/64'\n", "", "14:12: this key needs `address6`"),
    ("'fd00:1::53'", "'fd00:1::g'", "7:19: `fd00:1::g` is not an IP address"),
];

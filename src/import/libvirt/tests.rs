//! Networks as `virsh net-dumpxml` prints them, and what is made of each.

use std::time::{Duration, Instant};

use super::*;
use crate::config::{Config, Plan};

/// Each is as libvirt's own test driver prints it, but for what only a running network has.
const DEFAULT: &str = include_str!("../fixtures/default.xml");
const KEENNET: &str = include_str!("../fixtures/keennet.xml");
const ROUTE: &str = include_str!("../fixtures/route.xml");
const OPEN: &str = include_str!("../fixtures/open.xml");
const ISOLATED: &str = include_str!("../fixtures/isolated.xml");
const VERY_ISOLATED: &str = include_str!("../fixtures/very-isolated.xml");
const IPV6: &str = include_str!("../fixtures/ipv6.xml");
const BRIDGE: &str = include_str!("../fixtures/bridge.xml");
const DIRECT: &str = include_str!("../fixtures/direct.xml");
const OVS: &str = include_str!("../fixtures/ovs.xml");
const HOSTDEV: &str = include_str!("../fixtures/hostdev.xml");
const PASSTHROUGH: &str = include_str!("../fixtures/passthrough.xml");

/// Those that can be imported.
const GOOD: [&str; 9] = [DEFAULT, KEENNET, ROUTE, OPEN, ISOLATED, VERY_ISOLATED, IPV6, BRIDGE, DIRECT];

fn import(xml: &str, uplink: Option<&str>, complete: bool) -> Result<Imported, Mistakes> {
    let imported = libvirt("t", xml, LibvirtOptions { uplink, complete })?;
    if complete {
        let config = Config::parse("imported", &imported.toml, &[]);
        let config = config.unwrap_or_else(|mistakes| panic!("{}{mistakes}", imported.toml));
        Plan::new(&config, None);
    }
    Ok(imported)
}

/// The whole file of what `xml` becomes when `from` in it is `to`, and the notes.
fn changed(xml: &str, from: &str, to: &str) -> Imported {
    assert!(xml.contains(from), "{from}");
    let xml = xml.replacen(from, to, 1);
    import(&xml, None, true).unwrap_or_else(|mistakes| panic!("{xml}{mistakes}"))
}

fn refused(xml: &str, from: &str, to: &str) -> String {
    assert!(xml.contains(from), "{from}");
    import(&xml.replacen(from, to, 1), None, true).expect_err(to).to_string()
}

#[test]
fn libvirts_default_network_becomes_a_network() {
    let Imported { toml, notes } = import(DEFAULT, Some("wan"), false).unwrap();
    let expected = "\
[network.default]
mode = \"nat\"
uplink = \"wan\"
mac = \"52:54:00:0a:cd:21\"
address = \"192.168.122.1/24\"
dhcp = \"192.168.122.2-192.168.122.254\"
reserve = [\"52:54:00:12:34:56=192.168.122.10\"]
";
    assert_eq!(toml, expected);
    let expected = [
        "the ports 1024-65535 of <nat> need no rule: they are the usual ones, with a guest's own below",
        "the names of hosts in <dhcp> are left out: there is no name server here",
        "guests are given the host's name servers: libvirt's own answers at the gateway's address",
        "`connections` is left out: it counts who uses the network at the moment",
        "<uuid> is left out: a network here is known by its name",
        "<bridge name='virbr0' stp='on' delay='0'/> is left out: there is no kernel bridge",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn a_complete_import_is_a_whole_file_with_an_uplink_and_a_port() {
    let toml = import(DEFAULT, None, true).unwrap().toml;
    let config = Config::parse("t", &toml, &[]).unwrap();
    assert_eq!((config.network_count(), config.port_count()), (1, 2));
    assert!(toml.contains("[network.default.port.vm1]\n") && toml.contains("[uplink.wan]\n"), "{toml}");
    assert!(toml.contains("device = \"eth1\"") || !toml.contains("eth1"));
    let toml = import(DIRECT, Some("vm1"), true).unwrap().toml;
    assert!(
        toml.contains("[network.direct.port.vm2]\n") && toml.contains("device = \"eth1\"  # edit"),
        "{toml}"
    );
    let toml = import(BRIDGE, None, true).unwrap().toml;
    assert!(toml.contains("ip link set tap-uplink up master br0"), "{toml}");
    for closed in [ISOLATED, VERY_ISOLATED] {
        assert!(!import(closed, None, true).unwrap().toml.contains("uplink"));
    }
}

#[test]
fn a_network_with_everything_keeps_what_has_an_equal() {
    let Imported { toml, notes } = import(KEENNET, Some("dsl"), false).unwrap();
    let expected = "\
[network.keennet]
mode = \"nat-isolated\"
uplink = \"dsl\"
rules = [
    \"-A POSTROUTING -s 192.168.132.0/24 -o dsl -d 224.0.0.0/24 -j RETURN\",
    \"-A POSTROUTING -s 192.168.132.0/24 -o dsl -d 255.255.255.255/32 -j RETURN\",
    \"-A POSTROUTING -s 192.168.132.0/24 -o dsl ! -d 192.168.132.0/24 -p tcp -j SNAT --to-source 10.16.104.80-10.16.104.83:20000-39999\",
    \"-A POSTROUTING -s 192.168.132.0/24 -o dsl ! -d 192.168.132.0/24 -p udp -j SNAT --to-source 10.16.104.80-10.16.104.83:20000-39999\",
    \"-A POSTROUTING -s 192.168.132.0/24 -o dsl ! -d 192.168.132.0/24 -j SNAT --to-source 10.16.104.80-10.16.104.83\",
]
mac = \"52:54:00:7f:1e:02\"
mtu = 9000
address = \"192.168.132.1/24\"
dhcp = \"192.168.132.100-192.168.132.254\"
lease-time = 7200
reserve = [\"52:54:00:aa:bb:01=192.168.132.20\"]
domain = \"keen.example.org\"
dns = [\"9.9.9.9\"]
";
    assert_eq!(toml, expected);
    for part in [
        "localPtr",
        "tftp",
        "bootp",
        "names of hosts",
        "printer",
        "192.168.132.10-192.168.132.19",
        "lease times",
        "zone",
        "macTableManager",
        "localOnly",
        "forwardPlainNames",
        "corp.example.org",
        "<txt name='example'",
        "ldap.keen",
        "<hostname>myhostalias<",
        "<inbound",
        "<uuid>",
        "eth0",
    ] {
        assert!(notes.iter().any(|note| note.contains(part)), "{part}: {notes:#?}");
    }
}

/// Each attribute and each element is taken away: what comes out is another file, another note or an error, but where
/// libvirt says what is usual, or says a thing twice.
#[test]
fn nothing_in_a_network_is_passed_over_in_silence() {
    let result = |xml: &str| import(xml, None, true).map_err(|mistakes| mistakes.to_string());
    for xml in GOOD {
        let mut silent = Vec::new();
        let before = result(xml);
        assert!(before.is_ok());
        let document = roxmltree::Document::parse(xml).unwrap();
        for node in document.root_element().descendants().filter(Node::is_element) {
            let attributes = node.attributes().map(|attribute| attribute.range());
            let element = node.parent_element().map(|_| node.range());
            for part in attributes.chain(element) {
                let mut without = xml.to_owned();
                let taken = without[part.clone()].to_owned();
                without.replace_range(part, "");
                let is_usual = USUAL.iter().any(|usual| taken.starts_with(usual));
                if !is_usual && result(&without) == before {
                    silent.push(taken);
                }
            }
        }
        assert!(silent.is_empty(), "{silent:?} of\n{xml}");
    }
}

/// What libvirt's schema has beside that.
#[test]
fn what_no_usual_network_has_is_named_too() {
    for (xml, from, to, named) in [
        (DEFAULT, "<network ", "<network trustGuestRxFilters='yes' ", "trustGuestRxFilters"),
        (DEFAULT, "<network ", "<network fancy='yes' ", "`fancy` of <network>"),
        (DEFAULT, "<bridge", "<virtualport type='802.1Qbh'/><bridge", "<virtualport type"),
        (DEFAULT, "<bridge", "<fancy/><bridge", "<fancy/> is left out"),
        (DEFAULT, "<bridge", "<mtu size='1400' fancy='1'/><bridge", "`fancy` of <mtu>"),
        (DEFAULT, "<bridge", "<mac address='52:54:00:00:00:09'/><bridge", "a second <mac>"),
        (DEFAULT, "<bridge", "<x:ip xmlns:x='http://example.org'/><bridge", "<x:ip "),
        (DEFAULT, "mode='nat'", "mode='nat' managed='yes'", "`managed` of <forward>"),
        (DEFAULT, "<nat>", "<driver name='vfio'/><nat>", "<driver name='vfio'/> is left out"),
        (DEFAULT, "<nat>", "<interface dev='eth7' connections='3'/><nat>", "`connections`"),
        (DEFAULT, "<nat>", "<interface dev='eth0:1'/><nat>", "the device eth0:1"),
        (DEFAULT, "<port ", "<fancy/><port ", "it has no equal here in <nat>"),
        (
            DEFAULT,
            "<host ",
            "<host id='0:1:2' ip='192.168.122.11'/><host ",
            "192.168.122.11 isn't reserved for 0:1:2",
        ),
        (DEFAULT, "<host ", "<fancy/><host ", "it has no equal here in <dhcp>"),
        (DEFAULT, "<range ", "<range fancy='1' ", "`fancy` of <range>"),
        (DEFAULT, "<dhcp>", "<fancy/><dhcp>", "it has no equal here in <ip>"),
        (OPEN, "<dns enable='no'", "<dns enable='yes' fancy='1'", "`fancy` of <dns>"),
        (ISOLATED, "    <dhcp>", "<!--", "the domain isolated is left out"),
        (
            BRIDGE,
            "<bridge ",
            "<ip address='10.0.0.1' prefix='8'/><bridge ",
            "has no address on a network of mode bridge",
        ),
    ] {
        let xml = if to == "<!--" {
            let (start, end) = (xml.find(from).unwrap(), xml.find("</dhcp>").unwrap());
            format!("{}{}", &xml[..start], &xml[end + "</dhcp>".len()..])
        } else {
            assert!(xml.contains(from), "{from}");
            xml.replacen(from, to, 1)
        };
        let notes = import(&xml, None, true).unwrap_or_else(|mistakes| panic!("{xml}{mistakes}")).notes;
        assert!(notes.iter().any(|note| note.contains(named)), "{named}: {notes:#?}");
    }
}

#[test]
fn each_kind_of_libvirt_network_has_its_mode() {
    let usual = &DEFAULT[DEFAULT.find("<forward").unwrap()..DEFAULT.find("<bridge").unwrap()];
    let mode = |forward: &str, keep_address: bool| {
        let mut xml = DEFAULT.replace(usual, forward);
        if !keep_address {
            xml.replace_range(xml.find("<ip").unwrap()..xml.find("</network").unwrap(), "");
        }
        let toml = import(&xml, None, true).unwrap().toml;
        toml.lines().find_map(|line| line.strip_prefix("mode = ")).unwrap().to_owned()
    };
    assert_eq!(mode("<forward dev='eth0'/>", true), "\"nat\"");
    assert_eq!(mode("<forward mode='nat'/><port isolated='yes'/>", true), "\"nat-isolated\"");
    assert_eq!(mode("<forward mode='nat'/><port isolated='no'/>", true), "\"nat\"");
    assert_eq!(mode("<forward mode='route'/>", true), "\"route\"");
    assert_eq!(mode("<forward mode='open'/>", true), "\"route\"");
    assert_eq!(mode("", true), "\"host-only\"");
    assert_eq!(mode("<forward mode='none'/>", true), "\"host-only\"");
    assert_eq!(mode("", false), "\"internal\"");
    assert_eq!(mode("<forward mode='bridge'/>", false), "\"bridge\"");
}

#[test]
fn ranges_become_such_that_dhcp_can_lease() {
    let range = |first: &str, last: &str| {
        let imported = changed(
            DEFAULT,
            "start='192.168.122.2' end='192.168.122.254'",
            &format!("start='{first}' end='{last}'"),
        );
        imported.toml.lines().find_map(|line| line.strip_prefix("dhcp = ")).unwrap_or_default().to_owned()
    };
    assert_eq!(range("192.168.122.2", "192.168.122.255"), "\"192.168.122.2-192.168.122.254\"");
    assert_eq!(range("192.168.122.0", "192.168.122.9"), "\"192.168.122.2-192.168.122.9\"");
    // What is reserved is all that is left.
    assert_eq!(range("192.168.122.1", "192.168.122.1"), "\"192.168.122.10-192.168.122.10\"");
    assert_eq!(range("192.168.122.255", "192.168.122.255"), "\"192.168.122.10-192.168.122.10\"");
    let big = DEFAULT
        .replace("netmask='255.255.255.0'", "prefix='8'")
        .replace("end='192.168.122.254'", "end='192.255.255.255'");
    let imported = import(&big.replace("start='192.168.122.2'", "start='192.0.0.0'"), None, true).unwrap();
    // The example of the uplink's address lies elsewhere.
    assert!(
        imported.toml.contains("dhcp = \"192.0.0.1-192.1.0.0\"")
            && imported.toml.contains("198.51.100.250/24"),
        "{}",
        imported.toml
    );
    let middle = DEFAULT
        .replace("ip address='192.168.122.1'", "ip address='192.168.122.100'")
        .replace("192.168.122.254", "192.168.122.150");
    assert!(import(&middle, None, true).unwrap().toml.contains("dhcp = \"192.168.122.2-192.168.122.99\""));
}

#[test]
fn leases_are_as_long_as_libvirts() {
    let lease = |lease: &str| {
        let range = "<range start='192.168.122.2' end='192.168.122.254'/>";
        let imported = changed(DEFAULT, range, &range.replace("/>", &format!("><lease {lease}/></range>")));
        let is_told = imported.notes.iter().any(|note| note.contains("a lease is good for"));
        let time = imported.toml.lines().find_map(|line| line.strip_prefix("lease-time = "));
        (time.and_then(|time| time.parse::<u32>().ok()).unwrap(), is_told)
    };
    assert_eq!(lease("expiry='1' unit='hours'"), (3600, false));
    assert_eq!(lease("expiry='90' unit='seconds'"), (90, false));
    assert_eq!(lease("expiry='20'"), (1200, false));
    assert_eq!(lease("expiry='0'"), (31_536_000, true));
    assert_eq!(lease("expiry='18446744073709551615' unit='hours'"), (31_536_000, true));
    assert_eq!(lease("expiry='1' unit='seconds'"), (10, true));
}

#[test]
fn names_become_such_that_check_takes_them() {
    let name = |name: &str, uplink| {
        let xml = DEFAULT.replace("<name>default", &format!("<name>{name}"));
        let imported = import(&xml, uplink, true).unwrap();
        assert_eq!(
            imported.notes.iter().any(|note| note.contains("is called") && note.contains("here")),
            name != "plain"
        );
        imported.toml.lines().nth(2).unwrap().to_owned()
    };
    assert_eq!(name("plain", None), "[network.plain]");
    assert_eq!(name("my net", None), "[network.my-net]");
    assert_eq!(name("a\n&quot;b]&#9;c", None), "[network.a--b--c]");
    assert_eq!(name("netz für gäste", None), "[network.netz-f-r-g-ste]");
    assert_eq!(name("網", None), "[network.network]");
    assert_eq!(name("wan", None), "[network.wan-net]");
    assert_eq!(name("dsl", Some("dsl")), "[network.dsl-net]");
    assert_eq!(name(&"n".repeat(200), None), format!("[network.{}]", "n".repeat(64)));
    assert_eq!(name("a.b c", None), "[network.\"a.b-c\"]");
}

#[test]
fn a_mac_address_that_a_host_has_is_not_the_switchs() {
    let imported = changed(DEFAULT, "52:54:00:0a:cd:21", "52:54:00:12:34:56");
    assert!(!imported.toml.contains("\nmac = "));
    assert!(imported.notes.iter().any(|note| note.contains("52:54:00:12:34:56 is left out: a host has it")));
}

#[test]
fn what_has_no_equal_in_a_libvirt_network_is_pointed_at() {
    let mode = |mode: &str| refused(DEFAULT, "mode='nat'", &format!("mode='{mode}'"));
    assert_eq!(
        mode("vepa"),
        "t:4:3: networks of mode vepa have no equal here; write mode='bridge': guests reach one another without the outer switch"
    );
    assert!(mode("private").contains("isolated='yes'"));
    assert!(mode("natt").ends_with("write `nat`"));
    let own = |xml: &str| import(xml, None, false).unwrap_err().to_string();
    assert!(own(HOSTDEV).starts_with("t:4:3: networks of mode hostdev have no equal here"));
    assert!(own(PASSTHROUGH).starts_with("t:4:3: networks of mode passthrough have no equal here"));
    assert!(own(OVS).starts_with("t:6:3: ports here can't be put into a VLAN"));
    for (xml, from, to, expected) in [
        (
            DEFAULT,
            "192.168.122.1'",
            "192.168.122'",
            "t:11:16: `192.168.122` is not an IPv4 address; write an IPv4 address",
        ),
        (
            DEFAULT,
            "255.255.255.0'",
            "255.0.255.0'",
            "t:11:3: there is no such prefix length; write one of 1 to 31",
        ),
        (
            DEFAULT,
            "address='192.168.122.1'",
            "address='192.168.122.0'",
            "t:11:3: 192.168.122.0 is the network address of 192.168.122.0/24; write an address of a host in it, for example 192.168.122.1/24",
        ),
        (
            DEFAULT,
            "host mac='52:54:00:12:34:56' name='web'",
            "host",
            "t:14:7: <host> has no `mac`; write a MAC address",
        ),
        (
            DEFAULT,
            "ip='192.168.122.10'",
            "ip='192.168.1.10'",
            "t:14:7: the reserved address 192.168.1.10 is not in 192.168.122.0/24; write another address of 192.168.122.0/24",
        ),
        (
            DEFAULT,
            "<range start='192.168.122.2'",
            "<range start='10.0.0.2'",
            "t:13:7: 10.0.0.2 to 192.168.122.254 is no range in 192.168.122.0/24; write the lower address first, both in the network",
        ),
        (DEFAULT, "<name>default</name>", "", "t:1:1: the network has no name; write <name>…</name> in it"),
        (
            DEFAULT,
            "52:54:00:0a:cd:21",
            "01:54:00:0a:cd:21",
            "t:10:3: 01:54:00:0a:cd:21 is a group address; write the address of one station: its first octet is even",
        ),
        (
            DEFAULT,
            "<ip ",
            "<ip address='10.0.0.1' prefix='8'/><ip ",
            "t:11:38: a network here has one IPv4 address; remove one of the two",
        ),
        (DEFAULT, "start='1024'", "start='0x'", "t:6:20: `0x` is not a port; write a port"),
        (
            DEFAULT,
            "start='1024' end='65535'",
            "start='9' end='8'",
            "t:6:7: <port> ends before it begins; write the lower one first",
        ),
        (
            KEENNET,
            "mode='nat'",
            "mode='route'",
            "t:29:3: only networks of mode nat have isolated ports here; remove it if guests may see one another, or write <forward mode='nat'/>",
        ),
        (
            KEENNET,
            "unit='hours'",
            "unit='weeks'",
            "t:34:9: `weeks` is no unit of time; write seconds, minutes or hours",
        ),
        (OPEN, "172.30.1.6", "172.30.1.5", "t:11:7: 172.30.1.5 is reserved already; remove one of the two"),
        (
            ROUTE,
            "<ip ",
            "<ip family='ipv6' ",
            "t:4:3: this mode needs an IPv4 address; write <ip …> in the network",
        ),
        (
            KEENNET,
            "keen.example.org' l",
            "keen_example' l",
            "t:14:3: `keen_example` is not a domain name; write labels of letters, digits and hyphens, for example \"lan.example.org\"",
        ),
        (
            KEENNET,
            "<mtu size='9000'/>",
            "<mtu size='9'/>",
            "t:12:3: `9` is out of range; write a number of bytes from 68 to 65520, without quotes",
        ),
    ] {
        assert_eq!(refused(xml, from, to), expected, "{to}");
    }
    let xml = DEFAULT.replacen("<network ", "<domain ", 1);
    assert_eq!(
        own(&xml),
        "t:17:1: this is no XML: expected 'domain' tag, not 'network' at 17:1; write what `virsh net-dumpxml` prints"
    );
    assert_eq!(
        own("<domain/>"),
        "t:1:1: this describes a domain, not a network; write what `virsh net-dumpxml` prints"
    );
    let named = import(DEFAULT, Some("my uplink"), false).unwrap_err().to_string();
    assert!(named.contains("\"my uplink\" can't be a name"));
}

#[test]
fn files_that_are_built_to_take_long_are_refused_soon() {
    let attributes: String = (0..200_000).map(|n| format!(" a{n}=''")).collect();
    let namespaces: String = (0..50_000).map(|n| format!("<a xmlns:n{n}='u{n}'>")).collect();
    let entities = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;'>]><network>&b;</network>";
    let inside = |what: &str| DEFAULT.replacen("<bridge", &format!("{what}<bridge"), 1);
    let many = |what: &str| inside(&what.repeat(100_000));
    let hosts: String = (0..60_000)
        .map(|n| format!("<host mac='52:54:00:00:{:02x}:{:02x}' ip='192.168.122.9'/>", n >> 8, n & 255))
        .collect();
    for xml in [
        format!("<network{attributes}></network>"),
        inside(&format!("<x{attributes}/>")),
        format!("<network>{namespaces}"),
        entities.to_owned(),
        "<a>".repeat(500_000),
        inside(&"<a>".repeat(500_000)),
        many("<x y='1'/>"),
        many("<name>x</name>"),
        many("<ip address='1.2.3.4'/>"),
        inside(&(0..100_000).map(|n| format!("<x{n}/>")).collect::<String>()),
        DEFAULT.replacen(
            "<nat>",
            &format!("{}<nat>", (0..100_000).map(|n| format!("<interface dev='e{n}'/>")).collect::<String>()),
            1,
        ),
        inside(&format!("<dns>{}</dns>", "<forwarder addr='9.9.9.9'/>".repeat(100_000))),
        DEFAULT.replacen("<dhcp>", &format!("<dhcp>{hosts}"), 1),
        "<".repeat(1_000_000),
        format!("<network {}", "'".repeat(1_000_001)),
        "<!--".repeat(500_000),
    ] {
        let start = Instant::now();
        let _ = import(&xml, None, false).map_err(|mistakes| (mistakes.render(false), mistakes.to_string()));
        assert!(start.elapsed() < Duration::from_secs(5), "{}: {:?}", &xml[..60], start.elapsed());
    }
}

#[test]
fn a_network_of_ten_thousand_hosts_is_imported() {
    let hosts: String = (0..10_000_u32)
        .map(|n| {
            format!(
                "<host mac='56:54:00:00:{:02x}:{:02x}' ip='10.20.{}.{}'/>",
                n >> 8,
                n & 255,
                1 + (n >> 8),
                n & 255
            )
        })
        .collect();
    let imported = changed(ROUTE, "<dhcp>", &format!("<dhcp>{hosts}"));
    assert_eq!(imported.toml.matches("\"56:54:00:").count(), 10_000);
}

/// What is as usual, or said elsewhere as well.
const USUAL: &[&str] = &[
    "mode='nat'",
    "<interface dev='eth0'/>",
    "<interface dev='enp3s0'/>",
    "<interface dev='eth1'/>",
    "dev='eth0'",
    "dev='enp3s0'",
    "dev='eth1'",
    "netmask='255.255.255.0'",
    "prefix='24'",
    "unit='",
    "default='yes'",
    "ipv6='no'",
];

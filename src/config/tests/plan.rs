//! What configurations become, and how one becomes another.

use std::net::Ipv4Addr;

use engine::Reach;
use nat_engine::{Behaviour, Condition, Exhausted, Match, NatSettings, PortList, Target};
use packet::{Millis, NetworkId, PortId};
use tapio::{
    DgramConfig, HostStack, Netns, PacketConfig, PortSpec, Role, StreamConfig, TapConfig, VhostUserConfig,
};

use super::super::{Action, Config, LeaseFile, Plan};
use super::mistakes::BASE;

fn plan(text: &str) -> Plan {
    after(text, None)
}

fn after(text: &str, previous: Option<&Plan>) -> Plan {
    match Config::parse("t", text, &[Ipv4Addr::new(9, 9, 9, 9)]) {
        Ok(config) => Plan::new(&config, previous),
        Err(mistakes) => panic!("{mistakes}"),
    }
}

/// `(network, port, id)` of every port.
fn ports(plan: &Plan) -> Vec<(&str, &str, u16)> {
    plan.runtime.ports.iter().map(|p| (plan.network_name(p.network), p.name.as_str(), p.id.get())).collect()
}

fn spec(plan: &Plan, id: u16) -> &PortSpec {
    &plan.devices.iter().find(|(port, _)| port.get() == id).unwrap().1
}

fn internal(ports: &[&str]) -> String {
    let port = |name: &&str| format!("port.{name} = {{ type = 'tap' }}\n");
    format!("[network.lan]\nmode = 'internal'\n{}", ports.iter().map(port).collect::<String>())
}

fn id(id: u16) -> PortId {
    PortId::new(id).unwrap()
}

#[test]
fn a_nat_network_and_its_uplink_become_two_networks() {
    let plan = plan(BASE);
    assert_eq!(ports(&plan), [("default", "vm1", 0), ("default", "vm2", 1), ("wan", "wan", 2)]);
    let [default, wan] = plan.runtime.networks.as_slice() else { panic!("{:?}", plan.runtime.networks) };
    assert_eq!(default.reach, Reach::Translated(wan.id));
    assert_eq!(wan.reach, Reach::Uplink(Some(Ipv4Addr::new(10, 0, 0, 1))));
    let interface = default.interface.as_ref().unwrap();
    let dhcp = interface.settings.dhcp.as_ref().unwrap();
    assert_eq!(dhcp.router, Some(interface.address.address()));
    assert_eq!(dhcp.dns, [Ipv4Addr::new(192, 168, 122, 1)], "the switch's own, since the file names none");
    assert_ne!(interface.mac, wan.interface.as_ref().unwrap().mac);
}

#[test]
fn nat_without_rules_masquerades_but_leaves_groups_and_broadcasts_alone() {
    let plan = plan(BASE);
    assert!(plan.runtime.rules.prerouting.is_empty());
    let rules: Vec<String> =
        plan.runtime.rules.postrouting.iter().map(|rule| describe(&rule.matches)).collect();
    assert_eq!(
        rules,
        [
            "-s 192.168.122.0/24 -d 224.0.0.0/24 -o 1",
            "-s 192.168.122.0/24 -d 255.255.255.255/32 -o 1",
            "-s 192.168.122.0/24 ! -d 192.168.122.0/24 -o 1",
        ]
    );
    let targets: Vec<&Target> = plan.runtime.rules.postrouting.iter().map(|rule| &rule.target).collect();
    assert_eq!(targets, [&Target::Accept, &Target::Accept, &Target::Masquerade { ports: None }]);
}

fn describe(matches: &Match) -> String {
    let source = matches.source.unwrap().value;
    let destination = matches.destination.unwrap();
    let not = if destination.negated { "! " } else { "" };
    format!("-s {source} {not}-d {} -o {}", destination.value, matches.output.unwrap().value.get())
}

#[test]
fn a_published_port_of_the_uplink_leads_inside() {
    let plan = plan(&BASE.replace("'wan'\n", "'wan'\npublish = ['53:192.168.122.7:5353/udp']\n"));
    let [rule] = plan.runtime.rules.prerouting.as_slice() else { panic!("{:?}", plan.runtime.rules) };
    let to = Ipv4Addr::new(192, 168, 122, 7).into();
    assert_eq!(rule.target, Target::Dnat { addresses: to, ports: Some((5353, 5353)), base: None });
    assert_eq!(rule.matches.destination.unwrap().value.to_string(), "10.0.0.2/32");
    assert_eq!(rule.matches.destination_ports, Some(Condition::is(PortList::port(53))));
    assert_eq!(rule.matches.protocol.unwrap().value.to_string(), "udp");
    assert_eq!(rule.matches.input, None);
}

#[test]
fn rules_replace_the_masquerade_and_come_after_what_is_published() {
    let keys = "'wan'\npublish = ['80:192.168.122.7:80']\nrules = ['-A POSTROUTING -o wan -j ACCEPT', \
                '-A PREROUTING -i default -j RETURN', '-A POSTROUTING -j ACCEPT']\n";
    let rules = plan(&BASE.replace("'wan'\n", keys)).runtime.rules;
    let outputs: Vec<_> =
        rules.postrouting.iter().map(|rule| rule.matches.output.map(|o| o.value.get())).collect();
    assert_eq!(outputs, [Some(1), None]);
    let inputs: Vec<_> =
        rules.prerouting.iter().map(|rule| rule.matches.input.map(|i| i.value.get())).collect();
    assert_eq!(inputs, [None, Some(0)]);
    assert_eq!(plan(&BASE.replace("'wan'\n", "'wan'\nrules = []\n")).runtime.rules.postrouting, []);
}

#[test]
fn the_file_for_connections_is_in_the_plan() {
    assert_eq!(plan(BASE).state, None);
    let text = BASE.replace("workers = 1", "state = '/var/lib/state'");
    assert_eq!(plan(&text).state, Some("/var/lib/state".into()));
}

#[test]
fn where_leases_are_kept_is_in_the_plan() {
    let leases = |key: &str| plan(&BASE.replace("workers = 1", key)).leases;
    assert_eq!(leases("workers = 1"), LeaseFile::Default);
    assert_eq!(leases("leases = 'none'"), LeaseFile::None);
    assert_eq!(leases("leases = '/x/leases'"), LeaseFile::At("/x/leases".into()));
}

#[test]
fn the_choices_of_nat_reach_the_engine() {
    assert_eq!(plan(BASE).runtime.nat, NatSettings::default());
    let text = "[nat]\nmapping = 'address-dependent'\nfiltering = 'endpoint-independent'\nport-preservation = false\n\
                port-parity = true\nquarantine = 7\nquarantine-limit = 8\nhost-flow-limit = 9\n\
                host-port-limit = 10\nhost-mapping-rate = 11\nexhausted = 'host-unreachable'\n";
    let expected = NatSettings {
        mapping: Behaviour::AddressDependent,
        filtering: Behaviour::EndpointIndependent,
        port_preservation: false,
        port_parity: true,
        quarantine: Millis::from_secs(7),
        quarantine_limit: 8,
        host_flow_limit: Some(9),
        host_port_limit: Some(10),
        host_mapping_rate: Some(11),
        exhausted: Exhausted::HostUnreachable,
    };
    assert_eq!(plan(&format!("{BASE}{text}")).runtime.nat, expected);
}

#[test]
fn each_mode_has_its_reach() {
    let text = "
[network.a-internal]
mode = 'internal'
[network.b-host-only]
mode = 'host-only'
address = '10.0.2.1/24'
dhcp = '10.0.2.2-10.0.2.9'
[network.c-isolated]
mode = 'nat-isolated'
address = '10.0.3.1/24'
uplink = 'wan'
[network.d-route]
mode = 'route'
address = '10.0.4.1/24'
[network.e-route]
mode = 'route'
address = '10.0.5.1/24'
uplink = 'wan'
[network.f-bridge]
mode = 'bridge'
uplink = 'lan'
[uplink.wan]
type = 'tap'
address = '10.0.6.2/24'
[uplink.lan]
type = 'tap'
mtu = 9000
";
    let plan = plan(text);
    let networks = &plan.runtime.networks;
    let wan = NetworkId::new(6);
    let reach: Vec<Reach> = networks.iter().map(|network| network.reach).collect();
    let expected = [
        Reach::Closed,
        Reach::Closed,
        Reach::Translated(wan),
        Reach::Routed(None),
        Reach::Routed(Some(wan)),
        Reach::Closed,
        Reach::Uplink(None),
    ];
    assert_eq!(reach, expected);
    let with_interface: Vec<bool> = networks.iter().map(|network| network.interface.is_some()).collect();
    assert_eq!(with_interface, [false, true, true, true, true, false, true]);
    let isolated: Vec<&str> =
        networks.iter().filter(|n| n.settings.isolated).map(|n| n.name.as_str()).collect();
    assert_eq!(isolated, ["c-isolated"]);
    let dhcp = networks[1].interface.as_ref().unwrap().settings.dhcp.as_ref().unwrap();
    assert_eq!(dhcp.router, None, "nothing is behind a host-only network's gateway");
    assert_eq!(ports(&plan), [("f-bridge", "lan", 0), ("wan", "wan", 1)]);
    assert_eq!(plan.runtime.ports[0].settings.mtu, 9000);
}

#[test]
fn a_ports_settings_reach_its_device() {
    let text = "
[network.lan]
mode = 'host-only'
address = '10.0.0.1/24'
mtu = 9000
[network.lan.port.p]
type = 'tap'
[network.lan.port.q]
type = 'tap'
device = 'q0'
netns = '77'
mac = '02:00:00:00:00:01'
mtu = 1400
peer-address = '10.0.0.2/24'
offload = false
static-macs = ['02:00:00:00:00:02']
learn-limit = 3
[network.lan.port.r]
type = 'tap'
netns = '/var/run/netns/r'
[network.lan.port.s]
type = 'tap'
netns = '/proc/1/ns/net'
";
    let plan = plan(text);
    let p = TapConfig { device: "p".into(), mtu: Some(9000), ..TapConfig::default() };
    assert_eq!(*spec(&plan, 0), PortSpec::from(p));
    let q = TapConfig {
        device: "q0".into(),
        netns: Some(Netns::Pid(77)),
        mac: "02:00:00:00:00:01".parse().ok(),
        mtu: Some(1400),
        peer_address: "10.0.0.2/24".parse().ok(),
        offload: false,
    };
    assert_eq!(*spec(&plan, 1), PortSpec::from(q));
    assert_eq!(spec(&plan, 2).netns(), Some(&Netns::Name("r".into())));
    assert_eq!(spec(&plan, 3).netns(), Some(&Netns::Path("/proc/1/ns/net".into())));
    let port = &plan.runtime.ports[1];
    assert_eq!((port.settings.mtu, port.settings.learn_limit, port.settings.static_macs.len()), (1400, 3, 1));
    assert_eq!(plan.runtime.ports[0].settings.learn_limit, u32::MAX, "a LAN may be behind it");
}

#[test]
fn each_type_of_port_is_made_of_its_own_keys() {
    let text = "
[network.lan]
mode = 'bridge'
uplink = 'eth0'
[network.lan.port.a]
type = 'stream'
path = '/run/a'
mtu = 9000
[network.lan.port.b]
type = 'stream'
path = '/run/b'
role = 'client'
[network.lan.port.c]
type = 'dgram'
path = '/run/c'
peer = '/run/c-peer'
[network.lan.port.d]
type = 'vhost-user'
path = '/run/d'
[uplink.eth0]
type = 'packet'
host-stack = true
";
    let plan = plan(text);
    let expected = [
        PortSpec::from(StreamConfig { path: "/run/a".into(), role: Role::Server }),
        PortSpec::from(StreamConfig { path: "/run/b".into(), role: Role::Client }),
        PortSpec::from(DgramConfig { path: "/run/c".into(), peer: "/run/c-peer".into() }),
        PortSpec::from(VhostUserConfig { path: "/run/d".into(), role: Role::Server, offload: true }),
        PortSpec::from(PacketConfig {
            device: "eth0".into(),
            netns: None,
            mtu: None,
            host: HostStack::Beside,
        }),
    ];
    let found: Vec<&PortSpec> = plan.devices.iter().map(|(_, spec)| spec).collect();
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
    assert_eq!(plan.port_mtu(id(0)), 9000);
}

#[test]
fn a_port_of_another_type_takes_the_place_of_the_old_one() {
    let old = plan(&internal(&["a"]));
    let new = after(&internal(&["a"]).replace("tap", "packet"), Some(&old));
    let expected = [Action::Close(id(0)), Action::Open(id(0), spec(&new, 0).clone())];
    assert_eq!(Plan::diff(&old, &new), expected);
    let mtu = after(&internal(&["a"]).replace("'tap'", "'packet', mtu = 9000"), Some(&new));
    assert_eq!(Plan::diff(&new, &mtu), [Action::Reconfigure(id(0), spec(&mtu, 0).clone())]);
}

#[test]
fn the_switchs_own_mac_is_the_same_after_each_start() {
    let mac = |text: &str| plan(text).runtime.networks[0].interface.as_ref().unwrap().mac;
    assert_eq!(mac(BASE), mac(BASE));
    assert_eq!(
        mac(BASE).to_string(),
        "da:09:d5:df:ae:f4",
        "over versions, too: guests have it in their ARP tables"
    );
    assert_ne!(mac(BASE), mac(&BASE.replace("122.1/24", "122.100/24")));
    let given =
        BASE.replace("[network.default.port.vm1]", "mac = '02:00:00:00:00:01'\n[network.default.port.vm1]");
    assert_eq!(mac(&given).to_string(), "02:00:00:00:00:01");
}

#[test]
fn ports_and_networks_keep_their_numbers_when_others_come_and_go() {
    let first = plan(&internal(&["b", "c"]));
    let second = after(&internal(&["a", "c"]), Some(&first));
    assert_eq!(ports(&first), [("lan", "b", 0), ("lan", "c", 1)]);
    assert_eq!(ports(&second), [("lan", "c", 1), ("lan", "a", 2)]);
    let third = after(&internal(&["a", "b", "c"]), Some(&second));
    assert_eq!(ports(&third), [("lan", "b", 0), ("lan", "c", 1), ("lan", "a", 2)]);
    let fourth = after(&format!("{}[network.a]\nmode = 'internal'\n", internal(&["c"])), Some(&third));
    let names: Vec<&str> = fourth.runtime.networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(names, ["lan", "a"]);
    let fifth = after("[network.a]\nmode = 'internal'\n", Some(&fourth));
    let ids: Vec<_> = fifth.runtime.networks.iter().map(|n| (n.id.get(), n.name.as_str())).collect();
    assert_eq!(ids, [(0, ""), (1, "a")], "a gap stands for what is gone");
    let sixth = after("[network.a]\nmode = 'internal'\n[network.b]\nmode = 'internal'\n", Some(&fifth));
    assert_eq!(sixth.network_name(NetworkId::new(0)), "b");
}

#[test]
fn a_port_that_is_called_otherwise_or_moves_to_another_network_keeps_the_number_of_its_device() {
    let named = |name: &str, device: &str| format!("port.{name} = {{ type = 'tap', device = '{device}' }}\n");
    let lan = |ports: &[String]| format!("[network.lan]\nmode = 'internal'\n{}", ports.concat());
    let first = plan(&lan(&[named("a", "x"), named("b", "y")]));
    let second = after(&lan(&[named("a", "x"), named("c", "y"), named("d", "z")]), Some(&first));
    assert_eq!(ports(&second), [("lan", "a", 0), ("lan", "c", 1), ("lan", "d", 2)]);
    assert_eq!(Plan::diff(&first, &second).len(), 1, "z is opened, nothing else");
    // One that stays is asked first, whatever its device.
    let third = after(&lan(&[named("a", "y"), named("e", "x")]), Some(&second));
    assert_eq!(ports(&third), [("lan", "a", 0), ("lan", "e", 3)]);
    let elsewhere = lan(&[named("a", "y")]) + "[network.b]\nmode = 'internal'\n" + &named("f", "x");
    let fourth = after(&elsewhere, Some(&third));
    assert_eq!(ports(&fourth), [("lan", "a", 0), ("b", "f", 3)]);
}

#[test]
fn all_ports_can_be_replaced_at_once() {
    let many = |prefix: &str| {
        let names: Vec<String> = (0..PortId::LIMIT).map(|n| format!("{prefix}{n}")).collect();
        internal(&names.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let first = plan(&many("a"));
    let second = after(&many("b"), Some(&first));
    assert_eq!(second.runtime.ports.len(), PortId::LIMIT);
    assert!(second.runtime.ports.is_sorted_by(|a, b| a.id < b.id));
}

#[test]
fn a_start_is_a_reload_from_nothing() {
    let plan = plan(&internal(&["a", "b"]));
    let open = |n: u16| Action::Open(id(n), spec(&plan, n).clone());
    assert_eq!(Plan::diff(&Plan::default(), &plan), [open(0), open(1)]);
    assert_eq!(Plan::diff(&plan, &plan), []);
    assert_eq!(Plan::diff(&plan, &Plan::default()), [Action::Close(id(0)), Action::Close(id(1))]);
}

#[test]
fn devices_are_freed_before_they_are_taken() {
    let old = plan(&internal(&["a", "b", "c"]));
    let text = internal(&["a", "b", "c"])
        .replace("port.a = { type = 'tap' }", "port.x = { type = 'packet', device = 'a' }")
        .replace("port.b = { type = 'tap' }", "port.b = { type = 'tap', mtu = 1400 }")
        .replace("port.c = { type = 'tap' }", "port.c = { type = 'tap', netns = 'n' }");
    let new = after(&text, Some(&old));
    let expected = [
        Action::Close(id(0)),
        Action::Close(id(2)),
        Action::Reconfigure(id(1), spec(&new, 1).clone()),
        Action::Open(id(2), spec(&new, 2).clone()),
        Action::Open(id(3), spec(&new, 3).clone()),
    ];
    assert_eq!(Plan::diff(&old, &new), expected);
    assert_eq!(spec(&new, 3).device(), "a");
}

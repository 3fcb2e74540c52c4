//! Ports added to a plan, and taken out of it.

use std::net::Ipv4Addr;

use engine::Guard;
use tapio::{PortSpec, TapConfig};

use super::super::{Action, ChangeError, Config, Plan};

const FILE: &str = "
[network.lan]
mode = 'nat'
address = '192.168.122.1/24'
dhcp = '192.168.122.100-192.168.122.199'
mtu = 9000
uplink = 'wan'
[network.lan.port.a]
type = 'tap'
peer-address = '192.168.122.2/24'
static-macs = ['02:00:00:00:00:01']
[network.lan.port.b]
type = 'stream'
path = '/run/b'
[network.other]
mode = 'internal'
[uplink.wan]
type = 'tap'
address = '10.0.0.2/24'
";

fn plan() -> Plan {
    let config =
        Config::parse("t", FILE, &[Ipv4Addr::LOCALHOST]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Plan::new(&config, None)
}

fn last_spec(plan: &Plan) -> PortSpec {
    plan.devices.iter().max_by_key(|(id, _)| *id).unwrap().1.clone()
}

#[track_caller]
fn refused(place: &str, keys: &str) -> String {
    plan().with_port(place, keys).unwrap_err().to_string()
}

#[test]
fn a_port_that_is_added_is_as_if_it_were_in_the_file() {
    let old = plan();
    let new = old.with_port("lan/c", "type = 'packet'\ndevice = 'tap7'\nlearn-limit = 3").unwrap();
    let port = new.runtime.ports.iter().find(|port| port.name == "c").unwrap();
    let file = FILE.replace(
        "[network.other]",
        "[network.lan.port.c]\ntype = 'packet'\ndevice = 'tap7'\nlearn-limit = 3\n[network.other]",
    );
    let from_file = Plan::new(&Config::parse("t", &file, &[Ipv4Addr::LOCALHOST]).unwrap(), Some(&old));
    assert_eq!(new, from_file);
    assert_eq!(port.settings.mtu, 9000);
    assert_eq!(Plan::diff(&old, &new), [Action::Open(port.id, new.spec(port.id).unwrap().clone())]);
    assert_eq!(new.without_port("lan/c"), Ok(old.clone()));
    // No network's `mtu` is no port's.
    let spec = last_spec(&old.with_port("other/d", "type = 'tap'").unwrap());
    assert_eq!(spec.of::<TapConfig>().unwrap().mtu, None);
}

#[test]
fn a_port_that_is_added_to_an_isolated_network_is_guarded_unless_it_says_otherwise() {
    let file = FILE.replace("mode = 'nat'", "mode = 'nat-isolated'");
    let plan = Plan::new(&Config::parse("t", &file, &[Ipv4Addr::LOCALHOST]).unwrap(), None);
    for (keys, guard) in [("", Guard::ALL), ("guard = false", Guard::NONE)] {
        let new = plan.with_port("lan/c", &format!("type = 'tap'\n{keys}")).unwrap();
        let port = new.runtime.ports.iter().find(|port| port.name == "c").unwrap();
        assert_eq!(port.settings.guard, guard, "{keys}");
    }
}

#[test]
fn a_deleted_port_frees_its_number_and_its_device() {
    let old = plan();
    let less = old.without_port("lan/a").unwrap();
    assert_eq!(less.devices.len(), old.devices.len() - 1);
    let again = less.with_port("other/a", "type = 'tap'").unwrap();
    assert_eq!(again.devices.len(), old.devices.len());
    assert!(again.runtime.ports.is_sorted_by_key(|port| port.id));
}

#[test]
fn mistakes_in_the_keys_are_pointed_at() {
    let said = refused("lan/c", "type = 'packet'\ndevise = 'tap7'");
    assert!(said.contains("unknown key `devise`") && said.contains("write `device`"), "{said}");
    let said = refused("lan/c", "type = 'tap'\npeer-address = '10.9.9.9/24'");
    assert!(said.contains("is not in 192.168.122.0/24"), "{said}");
    assert!(refused("lan/c d", "type = 'tap'").contains("can't be a name"));
    assert!(refused("lan/c", "type = ").contains("error"));
    assert!(refused("lan/c", "").contains("`type` is missing"));
}

#[test]
fn what_another_port_has_is_not_to_be_had() {
    let taken = |keys: &str, by: &str| {
        let said = refused("lan/c", keys);
        assert!(said.contains(&format!("is port {by}'s already")), "{said}");
    };
    taken("type = 'packet'\ndevice = 'a'", "lan/a");
    taken("type = 'tap'\ndevice = 'wan'", "wan");
    taken("type = 'dgram'\npath = '/run/b'\npeer = '/run/c'", "lan/b");
    taken("type = 'tap'\nstatic-macs = ['02:00:00:00:00:01']", "lan/a");
    taken("type = 'tap'\npeer-address = '192.168.122.2/24'", "lan/a");
    assert!(plan().with_port("lan/c", "type = 'tap'\ndevice = 'a'\nnetns = 'n'").is_ok());
    assert!(plan().with_port("lan/c", "type = 'stream'\npath = '/run/b'\nrole = 'client'").is_ok());
    assert_eq!(plan().with_port("lan/a", "type = 'tap'"), Err(ChangeError::Exists));
}

#[test]
fn a_place_that_is_not_there_is_answered_with_those_that_are() {
    for place in ["lam/c", "wan/wan", "lan", ""] {
        assert!(refused(place, "type = 'tap'").contains("lan, other"), "{place}");
        assert!(plan().without_port(place).is_err());
    }
    assert!(plan().without_port("lan/x").unwrap_err().to_string().contains("write one of: a, b"));
    assert!(plan().without_port("other/x").unwrap_err().to_string().contains("no ports"));
}

#[test]
fn keys_that_hold_sections_and_names_with_line_breaks_add_nothing() {
    for section in [
        "[network.evil]\nmode = 'internal'",
        "[network.lan.port.evil]\ntype = 'tap'",
        "[network.lan.balance.evil]\nlisten = '80'",
        "[uplink.evil]\ntype = 'tap'\naddress = '10.9.0.1/24'",
        "[nat]\nfiltering = 'endpoint-independent'",
        "[engine]\nflows = 1",
    ] {
        let said = refused("lan/c", &format!("type = 'tap'\n{section}"));
        assert!(said.contains("a port is one section: nothing else can be added with it"), "{said}");
        assert!(said.contains("port:2:2\n"), "{section}: {said}");
    }
    for name in ["c\nd", "c']\n[uplink.evil]\n#", "c\u{1b}[2J", "", "c d"] {
        let said = refused(&format!("lan/{name}"), "type = 'tap'");
        assert!(said.contains("can't be a name"), "{said}");
        assert!(!said.contains('\u{1b}') && !said.contains("uplink.evil]\n#"), "{said}");
    }
    assert!(!refused("evil\nnet/c", "type = 'tap'").contains('\n'));
}

#[test]
fn another_process_makes_the_same_plan_of_its_blueprint() {
    let mut plan = plan().with_port("lan/c", "type = 'packet'\ndevice = 'tap7'").unwrap();
    plan = plan.without_port("lan/a").unwrap().with_port("other/a", "type = 'tap'").unwrap();
    plan = plan.with_port("lan/d", "type = 'tap'").unwrap().without_port("lan/d").unwrap();
    plan = plan.with_rule("-A PREROUTING -p tcp --dport 80 -j DNAT --to 10.1.0.2").unwrap().0;
    plan = plan.with_rule("-I PREROUTING -p udp --dport 53 -j DNAT --to 10.1.0.3").unwrap().0;
    plan = plan.with_rule("-D PREROUTING -p tcp --dport 80 -j DNAT --to 10.1.0.2").unwrap().0;
    let port = plan.devices[0].0;
    plan.runtime.set_mtu(port, 1400);
    let text = serde_json::to_string(&plan.blueprint()).unwrap();
    let made = serde_json::from_str::<crate::config::Blueprint>(&text).unwrap().plan().unwrap();
    assert_eq!((&made.runtime, &made.devices, &made.shared), (&plan.runtime, &plan.devices, &plan.shared));
}

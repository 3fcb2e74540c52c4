//! Guards with real clients: a guest has what it was leased, and speaks for nobody else.

use crate::dhcp::Lab;
use crate::host::DEVICE;
use crate::nat;
use crate::switch::{Switch, wait_until};

fn drops(switch: &Switch, reason: &str) -> u64 {
    let drops = switch.show("drops");
    let of = |drop: &&serde_json::Value| drop["reason"] == reason;
    drops.as_array().into_iter().flatten().filter(of).filter_map(|drop| drop["frames"].as_u64()).sum()
}

#[test]
fn in_an_isolated_network_a_guest_can_use_no_address_but_its_lease() {
    let lab = Lab::with("nat-isolated", 110);
    let [a, b] = [&lab.a, &lab.b].map(|host| lab.udhcpc(host, "").expect("a lease"));
    for (host, lease) in [(&lab.a, &a), (&lab.b, &b)] {
        host.ping("192.168.122.1");
        assert!(lease.host_number() >= 100);
    }
    // A takes B's address, and one that nobody has, and the gateway's.
    for (address, to) in [
        (b.get("ip"), "192.168.122.1"),
        ("192.168.122.77", "192.168.122.1"),
        ("192.168.122.1", "192.168.122.50"),
    ] {
        let before = drops(&lab.switch, "guard_address");
        lab.a.run(&format!("ip address add {address}/32 dev {DEVICE}"));
        let ping = format!("ping -n -c 1 -W 1 -I {address} {to}");
        assert!(lab.a.try_run(&ping).is_err(), "{address} was heard");
        wait_until("that is counted", || drops(&lab.switch, "guard_address") > before);
        lab.a.run(&format!("ip address del {address}/32 dev {DEVICE}"));
    }
    lab.b.ping("192.168.122.1");
    // A takes B's MAC address. Both are still as they were.
    let (mac, own) = (lab.b.mac(), lab.a.mac());
    lab.a.run(&format!("ip link set {DEVICE} address {mac}"));
    lab.a.cannot_ping("192.168.122.1");
    assert!(drops(&lab.switch, "guard_mac") > 0);
    lab.a.run(&format!("ip link set {DEVICE} address {own}"));
    lab.a.ping("192.168.122.1");
    lab.b.ping("192.168.122.1");
    lab.switch.terminate();
}

#[test]
fn where_nobody_gives_addresses_a_guest_takes_none_that_another_was_heard_with() {
    let nat::Lab { switch, a, b, .. } = &nat::Lab::with("nat-isolated", "");
    a.ping("192.168.122.1");
    b.ping("192.168.122.1");
    // B takes A's address beside its own, and one that is nobody's: a port has one.
    for address in ["192.168.122.10", "192.168.122.12"] {
        let before = drops(switch, "guard_address");
        b.run(&format!("ip address add {address}/32 dev {DEVICE}"));
        let ping = format!("ping -n -c 1 -W 1 -I {address} 192.168.122.1");
        assert!(b.try_run(&ping).is_err(), "{address} was heard");
        wait_until("that is counted", || drops(switch, "guard_address") > before);
        b.run(&format!("ip address del {address}/32 dev {DEVICE}"));
    }
    a.ping("192.168.122.1");
    b.ping("192.168.122.1");
}

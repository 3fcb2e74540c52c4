//! The gateway's ARP table: who is believed, and what reloads leave of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use packet::builder::eth;
use tapio::testing::PacketSocket;

use crate::host::{DEVICE, Host};
use crate::nat::Lab;
use crate::switch::wait_until;
use crate::traffic::udp;

/// An ARP reply by which `host` tells the gateway that it has `address`, without having been asked.
fn claim(host: &Host, address: &str) -> Vec<u8> {
    host.ping("192.168.122.1");
    let (own, gateway) = (host.mac().parse().expect("a MAC address"), host.neighbour_mac("192.168.122.1"));
    let frame = eth().src(own).dst(gateway);
    let (address, gateway_ip) = (address.parse().expect("an address"), [192, 168, 122, 1].into());
    frame.arp(2, (own, address), (gateway, gateway_ip))
}

#[test]
fn an_arp_reply_that_nobody_asked_for_takes_no_address_over() {
    let lab = Lab::new();
    lab.a.ping("10.180.13.1");
    let forged = claim(&lab.b, "192.168.122.10");
    let socket = lab.b.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
    let printed = std::thread::scope(|scope| {
        let pings = scope.spawn(|| lab.a.run("ping -n -q -c 60 -i 0.05 -W 3 10.180.13.1"));
        while !pings.is_finished() {
            socket.send(&forged).expect("the queue is empty");
            std::thread::sleep(Duration::from_millis(5));
        }
        pings.join().expect("it has its time limit")
    });
    assert!(printed.contains(" 60 received"), "{printed}");
    let drops = lab.switch.show("drops");
    assert!(drops.to_string().contains("arp_conflict"), "{drops}");
}

#[test]
fn an_address_that_moves_to_another_guest_is_followed() {
    let lab = Lab::new();
    lab.a.ping("10.180.13.1");
    lab.a.run(&format!("ip address flush dev {DEVICE}"));
    lab.b.run(&format!("ip address flush dev {DEVICE}"));
    lab.b.address("192.168.122.10/24");
    lab.b.gateway("192.168.122.1");
    wait_until("the other guest is answered", || lab.b.try_run("ping -n -c 1 -W 1 10.180.13.1").is_ok());
}

/// Numbered datagrams from guest `a` to the world while `change` runs; returns how many were sent and which arrived.
fn stream_during(lab: &Lab, change: impl FnOnce()) -> (u32, BTreeSet<u32>) {
    let to = udp(&lab.outside, "10.180.13.1:5000");
    let from = udp(&lab.a, "192.168.122.10:5000");
    // What has no processor for a second still loses nothing.
    // (Not in a user namespace: there the limit is what it is.)
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&to, 64 << 20);
    lab.a.run(&format!("ip link set {DEVICE} txqueuelen 20000"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0_u32;
            while !done.load(Relaxed) {
                // More at once than wait for a next hop.
                for _ in 0..50 {
                    from.send_to(&sent.to_be_bytes(), "10.180.13.1:5000").expect("the device is up");
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            from.send_to(b"end", "10.180.13.1:5000").expect("the device is up");
            sent
        });
        let receiver = scope.spawn(|| {
            let (mut arrived, mut bytes) = (BTreeSet::new(), [0; 8]);
            while let Ok((4, _)) = to.recv_from(&mut bytes) {
                arrived.insert(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            }
            arrived
        });
        change();
        done.store(true, Relaxed);
        (sender.join().expect("it ends"), receiver.join().expect("it ends"))
    })
}

#[test]
fn nothing_is_lost_while_configurations_are_reloaded_and_ports_and_links_come_and_go() {
    let lab =
        Lab::with("nat", "[network.default.port.c]\ntype = \"tap\"\nstatic-macs = [\"02:00:00:00:00:99\"]\n");
    let visitor = Host::new();
    lab.a.ping("10.180.13.1");
    let succeeds = |args: &[&str]| {
        let output = lab.switch.command(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let (sent, arrived) = stream_during(&lab, || {
        for _ in 0..5 {
            succeeds(&["reload"]);
            succeeds(&["port", "add", "default/v", "type=tap", "device=eth0", &format!("netns={visitor}")]);
            succeeds(&[
                "nat",
                "add",
                "-A PREROUTING -p tcp --dport 99 -j DNAT --to-destination 192.168.122.11:99",
            ]);
            lab.b.run(&format!("ip link set {DEVICE} down"));
            lab.b.run(&format!("ip link set {DEVICE} up"));
            succeeds(&["port", "del", "default/v"]);
        }
    });
    let missing: Vec<u32> = (0..sent).filter(|number| !arrived.contains(number)).collect();
    assert!(
        missing.is_empty(),
        "lost {} of {sent}: {missing:?}\n{}",
        missing.len(),
        lab.switch.show("drops")
    );
}

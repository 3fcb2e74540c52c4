//! The gateway's ARP table: who is believed, and what reloads leave of it.

use packet::builder::eth;
use tapio::host::PacketSocket;

use crate::host::{DEVICE, Host};
use crate::nat::Lab;
use crate::switch::wait_until;

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
            std::thread::sleep(std::time::Duration::from_millis(5));
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

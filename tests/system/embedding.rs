//! The example of a VPN's exit, as a program that uses the crates alone.

use std::path::Path;

use crate::host::Host;
use crate::switch::wait_until;
use crate::traffic::{TcpServer, udp, udp_exchange};

#[test]
fn s30_clients_of_a_vpn_leave_by_its_exit_with_one_public_address() {
    let (client, exit, world) = (Host::new(), Host::new(), Host::new());
    // `cargo test` builds examples beside the program under test; with `--test system` it doesn't.
    let program = Path::new(env!("CARGO_BIN_EXE_tapswitch")).with_file_name("examples/vpn_exit");
    assert!(program.exists(), "run `cargo build --examples` first");
    let _exit = exit.start(&format!("{} inside outside 198.51.100.9", program.display()));
    wait_until("the exit has its devices", || exit.try_run("ip link show outside").is_ok());
    for (device, host) in [("inside", &client), ("outside", &world)] {
        exit.run(&format!("ip link set {device} netns {host} name eth0"));
        host.run("ip link set eth0 up");
    }
    client.address("10.8.0.2/24");
    client.run("ip route add default dev eth0");
    world.address("198.51.100.1/24");

    client.ping("198.51.100.1");
    let server = TcpServer::listen(&world, "198.51.100.1:80");
    let seen = server.exchange(&client, "198.51.100.1:80", 4 << 20);
    assert_eq!(seen.ip().to_string(), "198.51.100.9");
    let (from, to) = (udp(&client, "10.8.0.2:5000"), udp(&world, "198.51.100.1:53"));
    let seen = udp_exchange(&from, &to, "198.51.100.1:53", 1000);
    assert_eq!(seen.to_string(), "198.51.100.9:5000");
    // What no client asked for finds nobody.
    world.cannot_ping("198.51.100.9");
}

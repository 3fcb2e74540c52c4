//! Ports whose other side makes each frame dear hurt nobody but themselves.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use packet::MacAddr;
use packet::builder::eth;
use tapio::testing::PacketSocket;

use crate::host::{DEVICE, Host};
use crate::switch::{Switch, tap, wait_until};

/// So many that a frame takes some milliseconds.
const RULES: usize = 4000;
/// The others' frames, and how many of them in a second.
const FRAMES: u64 = 4000;
const RATE: u32 = 1000;

#[test]
fn a_port_where_each_frame_takes_milliseconds_takes_nothing_from_others() {
    let [from, to, dear, flooder] = [(); 4].map(|()| Host::new());
    let ports = [("from", &from), ("to", &to), ("dear", &dear), ("flooder", &flooder)];
    let ports: String = ports.iter().map(|(name, host)| tap("lan", name, host)).collect();
    let switch = Switch::start(&format!("[network.lan]\nmode = \"internal\"\n{ports}"));
    let [from_mac, to_mac, dear_mac, flooder_mac] =
        [&from, &to, &dear, &flooder].map(|host| host.mac().parse::<MacAddr>().expect("a MAC address"));
    // Everybody's address is learned.
    for (host, mac) in [(&to, to_mac), (&dear, dear_mac)] {
        let socket = host.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
        socket.send(&frame(mac, from_mac)).expect("the queue is empty");
    }
    wait_until("both are learned", || switch.show("fdb").as_array().is_some_and(|fdb| fdb.len() >= 2));

    make_dear(&dear);
    let received = to.statistic("rx_packets");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let socket = flooder.enter(|| PacketSocket::open(DEVICE)).expect("the device is up");
            let frame = frame(flooder_mac, dear_mac);
            let end = Instant::now() + Duration::from_secs(30);
            while !done.load(Ordering::Relaxed) && Instant::now() < end {
                // A queue that is full loses frames; that is what is meant.
                let _ = socket.send_many(&frame, 64);
                thread::sleep(Duration::from_micros(200));
            }
        });
        send_paced(&from.enter(|| PacketSocket::open(DEVICE)).expect("up"), &frame(from_mac, to_mac));
        done.store(true, Ordering::Relaxed);
    });
    wait_until("nearly all of the others' frames arrive", || {
        to.statistic("rx_packets") - received >= FRAMES * 95 / 100
    });
    let drops = switch.show("drops").to_string();
    assert!(drops.contains("tx_too_slow"), "the slow port's frames are dropped by that name: {drops}");
    assert!(switch.log().contains("dear"), "and the log names it: {}", switch.log());
    switch.terminate();
}

fn frame(from: MacAddr, to: MacAddr) -> Vec<u8> {
    let (source, destination) = (Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2));
    eth().src(from).dst(to).ipv4(source, destination).udp(1000, 2000).payload(&[0; 600])
}

/// Sends [`FRAMES`] frames at [`RATE`], however late this thread is woken.
fn send_paced(socket: &PacketSocket, frame: &[u8]) {
    let start = Instant::now();
    for n in 0..FRAMES {
        let due = start + Duration::from_secs(n) / RATE;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // The queue is full only if the switch has left it alone for a second.
        let _ = socket.send(frame);
    }
}

/// Gives the host that many rules, none of which its frames match: the kernel tries them all inside of the switch's write.
fn make_dear(host: &Host) {
    let rule = "-A PREROUTING -m string --algo kmp --string not-in-any-frame -j ACCEPT\n";
    let text = format!("*raw\n{}COMMIT\n", rule.repeat(RULES));
    let mut restore = host.command("iptables-restore").stdin(Stdio::piped()).spawn().expect("nsenter runs");
    restore.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
    assert!(restore.wait().expect("it is ours").success(), "iptables-restore takes {RULES} rules");
}

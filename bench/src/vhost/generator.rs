//! Our own two front-ends: each sends a frame of each of 1024 UDP flows in turn, and takes what comes.

use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use std::{hint, io};

use packet::MacAddr;
use packet::builder::eth;
use rustix::thread::{CpuSet, sched_setaffinity};
use tapio::testing::VhostDriver;

/// The addresses of the two front-ends.
pub const MACS: [MacAddr; 2] = [MacAddr::local(1), MacAddr::local(2)];
/// tapswitch's towards each of them, where it is a gateway.
pub const GATEWAY_MACS: [MacAddr; 2] = [MacAddr::local(0x101), MacAddr::local(0x102)];

/// Whose frames front-end 0 sends.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// The gateway's own address there.
pub const INSIDE_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// What masquerade makes of it.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Front-end 1, the next hop to…
pub const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// …whose frames it sends.
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Millions of frames per second that both front-ends together receive, for `duration`, on processor 0.
///
/// # Errors
/// Nobody listens at a socket, or there is no processor 0.
pub fn measure(sockets: [&Path; 2], masquerade: bool, duration: Duration) -> io::Result<f64> {
    let flows = || 1024..2048;
    let (towards, back) = if masquerade { (GATEWAY_MACS, OUTSIDE) } else { ([MACS[1], MACS[0]], INSIDE) };
    let there = eth().src(MACS[0]).dst(towards[0]).ipv4(INSIDE, REMOTE);
    let here = eth().src(MACS[1]).dst(towards[1]).ipv4(REMOTE, back);
    let frames = [
        flows().map(|port| there.clone().udp(port, 9).payload(&PAYLOAD)).collect(),
        flows().map(|port| here.clone().udp(9, port).payload(&PAYLOAD)).collect(),
    ];
    let run = || {
        let mut processor = CpuSet::new();
        processor.set(0);
        sched_setaffinity(None, &processor)?;
        let [first, second] = frames;
        let mut ends = [VhostDriver::connect(sockets[0], first)?, VhostDriver::connect(sockets[1], second)?];
        // Addresses and flows are learned, and caches fill.
        receive(&mut ends, Duration::from_millis(300));
        let start = Instant::now();
        let frames = receive(&mut ends, duration);
        Ok(frames as f64 / start.elapsed().as_secs_f64() / 1e6)
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap_or_else(|_| Err(io::Error::other("it panicked"))))
}

/// How many frames come within `duration`.
fn receive(ends: &mut [VhostDriver], duration: Duration) -> u64 {
    let (start, mut frames) = (Instant::now(), 0);
    while start.elapsed() < duration {
        for _ in 0..64 {
            frames += ends.iter_mut().map(|end| u64::from(end.turn())).sum::<u64>();
            hint::spin_loop();
        }
    }
    frames
}

/// Makes frames of 64 bytes.
const PAYLOAD: [u8; 22] = [0; 22];

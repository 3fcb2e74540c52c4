//! The floor that the switch is compared with: copies frames between two taps, and nothing else.
//!
//! `floor NETNS1 ADDRESS1 NETNS2 ADDRESS2` makes a tap `eth0` with that address in each namespace, and copies until it is
//! killed. Offloads are on in both directions, so frames are as few and as large as TCP makes them. What it does per frame
//! is one read and one write; whatever a switch on taps adds to that shows as a ratio to this program.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::{env, io};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use packet::{MAX_FRAME, VNET_HDR_LEN};
use rustix::io::Errno;
use tapio::{TapConfig, TapDevice};

/// Frames per turn, so that both directions get theirs when both are busy.
const BURST: usize = 64;

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [netns1, address1, netns2, address2] = args.as_slice() else {
        return Err(io::Error::other("usage: floor NETNS1 ADDRESS1 NETNS2 ADDRESS2"));
    };
    let taps = [tap(netns1, address1)?, tap(netns2, address2)?];
    let mut poll = Poll::new()?;
    for (n, tap) in taps.iter().enumerate() {
        let fd = tap.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(n), Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(2);
    let mut ready = [true; 2];
    let mut buffer = vec![0; VNET_HDR_LEN + MAX_FRAME];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            ready[event.token().0] = true;
        }
        while ready != [false; 2] {
            for from in [0, 1] {
                if ready[from] {
                    ready[from] = copy(taps[from].as_fd(), taps[1 - from].as_fd(), &mut buffer)?;
                }
            }
        }
    }
}

fn tap(netns: &str, address: &str) -> io::Result<TapDevice> {
    let config = TapConfig {
        device: "eth0".to_owned(),
        netns: Some(netns.parse().map_err(io::Error::other)?),
        peer_address: Some(address.parse().map_err(io::Error::other)?),
        ..TapConfig::default()
    };
    TapDevice::open(&config).map_err(io::Error::other)
}

/// Copies at most a burst. Returns whether there may be more.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<bool> {
    for _ in 0..BURST {
        match rustix::io::read(from, &mut *buffer) {
            // A full queue loses the frame, as a switch would.
            Ok(len) => drop(rustix::io::write(to, &buffer[..len])),
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

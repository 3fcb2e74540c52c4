//! A port and how it is driven.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use packet::builder::eth;
use packet::{Burst, NetworkId, Offload, PortCounters, TxEntry, parse};
use tapio::testing::Port;
use tapio::{LinkLoss, PortSpec, Role, Rx, VhostUserConfig};

use crate::guest::{BASE, Guest};

/// A port with its event loop, and what came out of it.
pub struct Lab {
    pub path: PathBuf,
    pub port: Port,
    poll: Poll,
    events: Events,
    pub burst: Burst,
    /// Frames received since the last [`take`](Self::take).
    received: Vec<(Vec<u8>, Offload)>,
    pub loss: Option<LinkLoss>,
}

impl Lab {
    pub fn new() -> Self {
        Self::with(Role::Server, true)
    }

    pub fn with(role: Role, offload: bool) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tapio-vhost-{}-{number}", std::process::id()));
        let spec = PortSpec::from(VhostUserConfig { path: path.clone(), role, offload });
        let mut port = Port::open(&spec).unwrap();
        let poll = Poll::new().unwrap();
        port.register(poll.registry(), Token(0)).unwrap();
        let mut burst = Burst::new();
        burst.restart(None, NetworkId::new(0));
        Self { path, port, poll, events: Events::with_capacity(16), burst, received: Vec::new(), loss: None }
    }

    /// A port with a guest that has agreed on `features` and started `rings` rings.
    pub fn with_guest(features: u64, rings: u16) -> (Self, Guest) {
        let mut lab = Self::new();
        let mut guest = Guest::connect(&lab.path);
        guest.start(features, rings);
        lab.run();
        assert!(lab.port.link_up(), "{:?}", lab.loss);
        (lab, guest)
    }

    /// The usual guest: one queue pair, ring 0 to receive, ring 1 to send.
    pub fn usual() -> (Self, Guest) {
        Self::with_guest(BASE, 2)
    }

    /// Receives until there is nothing left to do, as after an event.
    pub fn run(&mut self) {
        for _ in 0..10_000 {
            self.burst.restart(None, NetworkId::new(0));
            let rx = self.port.rx_burst(&mut self.burst).unwrap();
            for index in 0..self.burst.len() {
                let meta = self.burst.metas()[index];
                if !meta.is_dropped() {
                    self.received.push((self.burst.bytes(index).to_vec(), meta.offload));
                }
            }
            match rx {
                Rx::More => {}
                Rx::Drained => return,
                Rx::LinkDown(loss) => self.loss = Some(loss),
            }
        }
        panic!("the port never drains");
    }

    /// Waits for an event for up to `millis`.
    pub fn event_within(&mut self, millis: u64) -> bool {
        self.poll.poll(&mut self.events, Some(Duration::from_millis(millis))).unwrap();
        !self.events.is_empty()
    }

    /// The frames received since the last time.
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.received).into_iter().map(|(bytes, _)| bytes).collect()
    }

    /// The frames received since the last time, with their offloads.
    pub fn take_offloads(&mut self) -> Vec<(Vec<u8>, Offload)> {
        std::mem::take(&mut self.received)
    }

    /// Sends frames in one burst.
    pub fn send(&mut self, frames: &[(Vec<u8>, Offload)]) -> PortCounters {
        self.burst.restart(None, NetworkId::new(0));
        for (frame, offload) in frames {
            assert!(self.burst.push(frame, *offload));
        }
        parse(&mut self.burst);
        let list: Vec<_> = (0..frames.len()).map(TxEntry::as_is).collect();
        let mut counters = PortCounters::default();
        self.port.tx_burst(&mut self.burst, &list, &mut counters);
        counters
    }
}

/// `count` frames that can be told apart.
pub fn frames(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| eth().payload(&(n as u32).to_be_bytes().repeat(12))).collect()
}

pub fn plain(frames: &[Vec<u8>]) -> Vec<(Vec<u8>, Offload)> {
    frames.iter().map(|frame| (frame.clone(), Offload::NONE)).collect()
}

/// Waits for what another thread does.
#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1));
    }
}

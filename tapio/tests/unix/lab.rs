//! What the tests share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use mio::{Events, Poll, Token};
use packet::{Burst, NetworkId, PortCounters, TxEntry, parse};
use tapio::testing::Port;
use tapio::{PortSpec, Rx};

/// A folder that is removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("tapio-unix-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port as the driver has it.
pub struct Driven {
    pub port: Port,
    poll: Poll,
}

impl Driven {
    pub fn open(spec: &PortSpec) -> Self {
        let (mut port, poll) = (Port::open(spec).unwrap(), Poll::new().unwrap());
        port.register(poll.registry(), Token(0)).unwrap();
        Self { port, poll }
    }

    /// Waits for an event, then does what the driver does: receives until nothing is left.
    pub fn on_event(&mut self) -> (Vec<Vec<u8>>, Rx) {
        let mut events = Events::with_capacity(4);
        self.poll.poll(&mut events, Some(LIMIT)).unwrap();
        assert!(!events.is_empty(), "no event in {LIMIT:?}");
        self.receive()
    }

    /// Whether there is an event, now or very soon.
    pub fn has_event(&mut self) -> bool {
        let mut events = Events::with_capacity(4);
        self.poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
        !events.is_empty()
    }

    /// Receives until nothing is left.
    pub fn receive(&mut self) -> (Vec<Vec<u8>>, Rx) {
        let mut frames = Vec::new();
        loop {
            let mut burst = empty_burst();
            let rx = self.port.rx_burst(&mut burst).unwrap();
            frames.extend((0..burst.len()).map(|n| burst.bytes(n).to_vec()));
            if rx != Rx::More {
                return (frames, rx);
            }
        }
    }

    /// Goes from event to event until there are `count` frames.
    pub fn receive_frames(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while frames.len() < count {
            frames.extend(self.on_event().0);
        }
        assert_eq!(frames.len(), count);
        frames
    }

    /// Sends frames of up to a burst and returns what moved.
    pub fn send(&mut self, frames: &[Vec<u8>]) -> PortCounters {
        let mut burst = empty_burst();
        frames.iter().for_each(|frame| assert!(burst.push(frame, packet::Offload::NONE)));
        self.send_burst(burst)
    }

    pub fn send_burst(&mut self, mut burst: Burst) -> PortCounters {
        let mut counters = PortCounters::default();
        parse(&mut burst);
        let all: Vec<_> = (0..burst.len()).map(TxEntry::as_is).collect();
        self.port.tx_burst(&mut burst, &all, &mut counters);
        counters
    }
}

pub fn empty_burst() -> Burst {
    let mut burst = Burst::new();
    burst.restart(None, NetworkId::new(0));
    burst
}

/// Frames that differ in content and length.
pub fn frames(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| packet::builder::eth().payload(&vec![n as u8; 50 + n * 20])).collect()
}

pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT);
        thread::sleep(Duration::from_millis(5));
    }
}

pub const LIMIT: Duration = Duration::from_secs(10);

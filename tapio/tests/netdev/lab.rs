//! What the tests share.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use packet::{Burst, NetworkId, PortCounters, TxEntry, parse};
use tapio::testing::Port;
use tapio::{Links, NetnsHandle, PortError, PortSpec, Rx, TapConfig};

/// A namespace without a name, for one test.
pub struct Host(pub NetnsHandle);

impl Host {
    pub fn new() -> Self {
        Self(NetnsHandle::anonymous().expect("tests run as root"))
    }

    /// A tap `t0` in this namespace.
    pub fn tap(&self) -> TapConfig {
        TapConfig { device: "t0".into(), netns: Some(self.0.netns()), ..TapConfig::default() }
    }

    pub fn links(&self) -> Links {
        self.0.enter(Links::open).unwrap().unwrap()
    }

    /// Runs a command line in the namespace and returns what it prints; `Err` if it fails.
    pub fn run(&self, line: &str) -> Result<String, String> {
        let output = self.0.enter(|| Command::new("sh").args(["-c", line]).output()).unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

pub fn open(config: &TapConfig) -> Result<Port, PortError> {
    Port::open(&PortSpec::from(config.clone()))
}

pub fn empty_burst() -> Burst {
    let mut burst = Burst::new();
    burst.restart(None, NetworkId::new(0));
    burst
}

/// Receives until the queue is empty; the frames' bytes.
pub fn drain(port: &mut Port) -> io::Result<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    loop {
        let mut burst = empty_burst();
        let rx = port.rx_burst(&mut burst)?;
        frames.extend((0..burst.len()).map(|n| burst.bytes(n).to_vec()));
        if rx == Rx::Drained {
            return Ok(frames);
        }
    }
}

/// Sends one frame and returns what moved.
pub fn send(port: &mut Port, frame: &[u8], offload: packet::Offload) -> PortCounters {
    let (mut burst, mut counters) = (empty_burst(), PortCounters::default());
    assert!(burst.push(frame, offload));
    parse(&mut burst);
    port.tx_burst(&mut burst, &[TxEntry::as_is(0)], &mut counters);
    counters
}

/// Waits for what the kernel does in its own time.
#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Moves 8 MiB both ways between `a`, which is 10.9.0.1, and `b`, which is 10.9.0.2, at once, and checks every byte.
pub fn transfer(a: &Host, b: &Host) {
    let listener = b.0.enter(|| TcpListener::bind("10.9.0.2:7")).unwrap().unwrap();
    let client = a.0.enter(|| TcpStream::connect("10.9.0.2:7")).unwrap().unwrap();
    let (server, _) = listener.accept().unwrap();
    let content: Vec<u8> = (0..8_u32 << 18).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let send = |mut stream: &TcpStream| {
        stream.write_all(&content).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    };
    let receive = |mut stream: &TcpStream| {
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(received == content, "the content has changed on the way");
    };
    std::thread::scope(|scope| {
        for stream in [&client, &server] {
            scope.spawn(|| send(stream));
            scope.spawn(|| receive(stream));
        }
    });
}

/// Two ports joined by a copy loop on a thread, until dropped.
pub struct Cable {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<[PortCounters; 2]>>,
}

impl Cable {
    pub fn between(ports: [Port; 2]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        Self { stop, thread: Some(std::thread::spawn(move || copy(ports, &stopped))) }
    }

    /// Ends the loop; what each port has sent.
    pub fn unplug(mut self) -> [PortCounters; 2] {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn copy(mut ports: [Port; 2], stop: &AtomicBool) -> [PortCounters; 2] {
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(4));
    for (n, port) in ports.iter_mut().enumerate() {
        port.register(poll.registry(), Token(n)).unwrap();
    }
    let mut counters = [PortCounters::default(), PortCounters::default()];
    let mut burst = Burst::new();
    while !stop.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
        for Token(from) in events.iter().map(mio::event::Event::token) {
            let to = 1 - from;
            let mut rx = Rx::More;
            while rx == Rx::More {
                burst.restart(None, NetworkId::new(0));
                rx = ports[from].rx_burst(&mut burst).unwrap();
                parse(&mut burst);
                let frames: Vec<_> = (0..burst.len())
                    .map(TxEntry::as_is)
                    .filter(|entry| !burst.metas()[entry.frame()].is_dropped())
                    .collect();
                ports[to].tx_burst(&mut burst, &frames, &mut counters[to]);
            }
        }
    }
    counters
}

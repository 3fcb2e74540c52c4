//! What is measured on each subject.

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use packet::MacAddr;
use packet::builder::eth;
use tapio::Links;
use tapio::testing::PacketSocket;

use crate::subject::{DEVICE, Subject, run};

/// A kind of traffic, and what counts about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    /// iperf3, one TCP stream from client to server: Gbit/s.
    Tcp1,
    /// iperf3, four TCP streams: Gbit/s.
    Tcp4,
    /// Frames of 64 bytes, check sequence included, from a sender that is faster than any subject: those that the server's
    /// device received, in millions per second.
    Frames,
    /// Flood ping, 5000 echoes: mean round trip in µs.
    Ping,
    /// Connections opened and closed one after the other: thousands per second.
    Connect,
}

impl Workload {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 5] = [Self::Tcp1, Self::Tcp4, Self::Frames, Self::Ping, Self::Connect];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp1 => "tcp1",
            Self::Tcp4 => "tcp4",
            Self::Frames => "frames",
            Self::Ping => "ping",
            Self::Connect => "connect",
        }
    }

    /// Its name and unit in tables.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Tcp1 => "TCP, 1 stream, Gbit/s",
            Self::Tcp4 => "TCP, 4 streams, Gbit/s",
            Self::Frames => "64-byte frames, M/s",
            Self::Ping => "flood ping, µs",
            Self::Connect => "connect/close, k/s",
        }
    }

    /// Whether a smaller value is better.
    pub const fn smaller_is_better(self) -> bool {
        matches!(self, Self::Ping)
    }

    /// Measures once, for about `time`.
    pub fn measure(self, subject: &Subject, time: Duration) -> io::Result<f64> {
        match self {
            Self::Tcp1 => tcp(subject, 1, time),
            Self::Tcp4 => tcp(subject, 4, time),
            Self::Frames => frames(subject, time),
            Self::Ping => ping(subject),
            Self::Connect => connect(subject, time),
        }
    }
}

fn tcp(subject: &Subject, streams: u32, time: Duration) -> io::Result<f64> {
    let (server, seconds) = (subject.server.address, time.as_secs().max(1));
    let printed = run(&subject.client.netns, &format!("iperf3 -J -c {server} -t {seconds} -P {streams}"))?;
    let report: serde_json::Value = serde_json::from_str(&printed)?;
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(rate.ok_or_else(|| io::Error::other("iperf3 reports no rate"))? / 1e9)
}

/// UDP datagrams of 18 bytes make frames of 60 bytes, and 64 with the check sequence that a wire would add.
fn frames(subject: &Subject, time: Duration) -> io::Result<f64> {
    let (client, server) = (&subject.client, &subject.server);
    // Without a socket, the server's answers, ICMP errors, would be measured too. Nobody reads from this one.
    let _sink = server.netns.enter(|| UdpSocket::bind((server.address, SINK_PORT)))??;
    let links = server.netns.enter(Links::open)??;
    let socket = client.netns.enter(|| PacketSocket::open(DEVICE))??;
    let source = client.netns.enter(|| Links::open()?.find(DEVICE))??.mac;
    let frame = eth()
        .src(source)
        .dst(next_hop(subject)?)
        .ipv4(client.address, server.address)
        .udp(SINK_PORT, SINK_PORT)
        .payload(&[0; 18]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                socket.send_many(&frame, 1024)?;
            }
            Ok::<_, io::Error>(())
        });
        let received = || Ok::<_, io::Error>((links.find(DEVICE)?.rx_packets, Instant::now()));
        thread::sleep(WARM_UP);
        let before = received();
        thread::sleep(time);
        let after = received();
        done.store(true, Ordering::Relaxed);
        sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let ((frames_before, start), (frames_after, end)) = (before?, after?);
        Ok((frames_after - frames_before) as f64 / (end - start).as_secs_f64() / 1e6)
    })
}

/// The MAC address to which the client sends what is for the server.
fn next_hop(subject: &Subject) -> io::Result<MacAddr> {
    let (netns, server) = (&subject.client.netns, subject.server.address);
    let words = |printed: String| printed.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let behind = |words: &[String], key: &str| {
        words.iter().position(|word| word == key).and_then(|place| words.get(place + 1).cloned())
    };
    let route = words(run(netns, &format!("ip -4 -o route get {server}"))?);
    let hop = behind(&route, "via").unwrap_or_else(|| server.to_string());
    // Makes sure that it is known.
    run(netns, &format!("ping -n -q -c 1 -W 2 {server}"))?;
    let neighbour = words(run(netns, &format!("ip -4 -o neighbour show {hop}"))?);
    let mac =
        behind(&neighbour, "lladdr").ok_or_else(|| io::Error::other(format!("{hop} has no MAC address")))?;
    mac.parse().map_err(io::Error::other)
}

/// `ping -A` sends the next echo when the last is answered, as `ping -f` does, but shows the time of each: the average that ping
/// itself gives is too coarse.
fn ping(subject: &Subject) -> io::Result<f64> {
    let printed = run(&subject.client.netns, &format!("ping -n -A -c 5000 {}", subject.server.address))?;
    let time = |line: &str| line.split_once(" time=")?.1.strip_suffix(" ms")?.parse::<f64>().ok();
    let times: Vec<f64> = printed.lines().filter_map(time).collect();
    if times.is_empty() {
        return Err(io::Error::other(format!("ping reports no times: {printed}")));
    }
    Ok(times.iter().sum::<f64>() / times.len() as f64 * 1e3)
}

/// The client connects and reads; the server accepts and closes; the client sees the end and closes.
fn connect(subject: &Subject, time: Duration) -> io::Result<f64> {
    let address: (Ipv4Addr, u16) = (subject.server.address, CONNECT_PORT);
    let listener = subject.server.netns.enter(|| TcpListener::bind(address))??;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                drop(listener.accept()?);
            }
            Ok::<_, io::Error>(())
        });
        let client = || {
            let (start, mut count) = (Instant::now(), 0);
            while start.elapsed() < time {
                TcpStream::connect(address)?.read_to_end(&mut Vec::new())?;
                count += 1;
            }
            let rate = f64::from(count) / start.elapsed().as_secs_f64() / 1e3;
            done.store(true, Ordering::Relaxed);
            // Wakes the server, which looks at `done` then.
            TcpStream::connect(address)?;
            Ok(rate)
        };
        let rate = subject.client.netns.enter(client)?;
        server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(rate)
    })
}

const SINK_PORT: u16 = 9009;
const CONNECT_PORT: u16 = 9010;

/// Before the count starts: learning, ARP, the first flow.
const WARM_UP: Duration = Duration::from_millis(200);

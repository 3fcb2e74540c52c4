//! Those who attack, all at once.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use packet::MacAddr;
use packet::builder::eth;
use packet::wire::ArpPacket;
use tapio::testing::PacketSocket;
use tapio::{Links, NetnsHandle};

use super::{CUT, Field};
use crate::subject::{DEVICE, Process, background, run};

/// A way to attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    /// Frames for a port whose receiver makes each of them dear.
    Dear,
    /// Super-frames of tiny segments for a port that takes none.
    Cut,
    /// What invented stations say.
    Invented,
    /// A link that goes down and up.
    Flaps,
    /// A vhost-user front-end that talks nonsense.
    Lies,
}

impl Load {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Dear, Self::Cut, Self::Invented, Self::Flaps, Self::Lies];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dear => "dear",
            Self::Cut => "cut",
            Self::Invented => "invented",
            Self::Flaps => "flaps",
            Self::Lies => "lies",
        }
    }
}

/// The loads, until they are ended.
pub(super) struct Loads {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    _tcp: Option<Process>,
}

impl Loads {
    pub(super) fn start(field: &Field, loads: &[Load]) -> io::Result<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let (mut threads, mut tcp) = (Vec::new(), None);
        for load in loads {
            match load {
                Load::Dear => {
                    make_dear(&field.dear)?;
                    threads.push(repeat(&done, Duration::from_micros(500), flood(field)?));
                }
                // Super-frames whose segments are as small as TCP makes them.
                Load::Cut => {
                    let client = ["nice", "-n", LOWEST, "iperf3", "-c", CUT, "-t", "3600", "-M", "88"];
                    tcp = Some(background(&field.small, &client)?);
                }
                Load::Invented => threads.push(repeat(&done, Duration::from_millis(1), inventor(field)?)),
                Load::Flaps => {
                    let flapper = field.flapper.netns().to_string();
                    threads.push(repeat(&done, Duration::from_millis(20), move || flap(&flapper)));
                }
                Load::Lies => {
                    let liar = field.sockets.0.join("liar");
                    threads.push(repeat(&done, Duration::from_millis(5), move || lie(&liar)));
                }
            }
        }
        Ok(Self { done, threads, _tcp: tcp })
    }

    pub(super) fn end(self) -> io::Result<()> {
        self.done.store(true, Ordering::Relaxed);
        let join =
            |thread: JoinHandle<_>| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.threads.into_iter().try_for_each(join)
    }
}

/// Does it again and again, with the lowest priority.
fn repeat(
    done: &Arc<AtomicBool>,
    pause: Duration,
    mut act: impl FnMut() + Send + 'static,
) -> JoinHandle<io::Result<()>> {
    let done = Arc::clone(done);
    thread::spawn(move || {
        // Of this thread only: setpriority(2), "C library/kernel differences".
        rustix::process::setpriority_process(None, 19)?;
        while !done.load(Ordering::Relaxed) {
            act();
            thread::sleep(pause);
        }
        Ok(())
    })
}

/// Each frame for this host tries so many rules that it takes some milliseconds, inside of the switch's write.
fn make_dear(dear: &NetnsHandle) -> io::Result<()> {
    let rule = "-A PREROUTING -m string --algo kmp --string not-in-any-frame -j ACCEPT\n";
    let text = format!("*raw\n{}COMMIT\n", rule.repeat(RULES));
    dear.enter(|| {
        let mut restore = Command::new("iptables-restore").stdin(Stdio::piped()).spawn()?;
        restore.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?.write_all(text.as_bytes())?;
        match restore.wait()?.success() {
            true => Ok(()),
            false => Err(io::Error::other("iptables-restore takes no string rules")),
        }
    })?
}

/// Sends many frames to the dear port.
fn flood(field: &Field) -> io::Result<impl FnMut() + Send + 'static> {
    let mac = |netns: &NetnsHandle| {
        netns.enter(|| Links::open()?.find(DEVICE)).map(|link| link.map(|link| link.mac))
    };
    let (from, to) = (mac(&field.flooder)??, mac(&field.dear)??);
    let socket = field.flooder.enter(|| PacketSocket::open(DEVICE))??;
    let (source, destination) = (Ipv4Addr::new(10, 9, 1, 6), Ipv4Addr::new(10, 9, 1, 5));
    let frame = eth().src(from).dst(to).ipv4(source, destination).udp(1000, 2000).payload(&[0; 600]);
    Ok(move || drop(socket.send_many(&frame, 32)))
}

/// Has ten thousand invented stations a second speak.
fn inventor(field: &Field) -> io::Result<impl FnMut() + Send + 'static> {
    let gateway = mac_of_gateway(&field.inventor)?;
    let socket = field.inventor.enter(|| PacketSocket::open(DEVICE))??;
    let mut n = 0;
    Ok(move || {
        n += 10;
        // What the queue has no room for is lost, as is meant.
        (n..n + 10).for_each(|n| drop(socket.send(&invented(n, gateway))));
    })
}

/// What the `n`-th invented station says: DISCOVER, who has …?, or a SYN to somewhere.
fn invented(n: u64, gateway: MacAddr) -> Vec<u8> {
    let mac = MacAddr::local(n);
    let bits = n as u32;
    let address = Ipv4Addr::from_bits(0x0a09_0000 | 0x4000 | bits & 0x3fff);
    match n % 3 {
        0 => {
            let mut message = vec![0; 240];
            message[..3].copy_from_slice(&[1, 1, 6]);
            message[28..34].copy_from_slice(&mac.octets());
            message[236..].copy_from_slice(&[99, 130, 83, 99]);
            message.extend([53, 1, 1, 255]);
            let broadcast = eth().src(mac).dst(MacAddr::BROADCAST);
            broadcast.ipv4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST).udp(68, 67).payload(&message)
        }
        1 => {
            let target = (MacAddr::ZERO, Ipv4Addr::new(10, 9, 0, 1));
            eth().src(mac).dst(MacAddr::BROADCAST).arp(ArpPacket::REQUEST, (mac, address), target)
        }
        _ => {
            let to = Ipv4Addr::from_bits(0xc633_0000 | bits & 0xffff);
            eth()
                .src(mac)
                .dst(gateway)
                .ipv4(address, to)
                .tcp(1024 + (bits % 60_000) as u16, 80, SYN)
                .payload(&[])
        }
    }
}

fn mac_of_gateway(netns: &NetnsHandle) -> io::Result<MacAddr> {
    let printed = run(netns, &format!("ip -4 -o neighbour show {}", super::GATEWAY))?;
    let mac = printed.split_whitespace().skip_while(|&word| word != "lladdr").nth(1);
    mac.unwrap_or_default().parse().map_err(io::Error::other)
}

/// The device goes down and comes back.
fn flap(netns: &str) {
    for state in ["down", "up"] {
        let netns = format!("--net={netns}");
        let _ = Command::new("nsenter").args([&netns, "ip", "link", "set", DEVICE, state]).status();
    }
}

/// A front-end that connects, says nonsense with a good header, and goes.
fn lie(path: &std::path::Path) {
    if let Ok(mut front_end) = UnixStream::connect(path) {
        let header = [5_u32.to_le_bytes(), 1_u32.to_le_bytes(), 200_u32.to_le_bytes()].concat();
        let _ = front_end.write_all(&[&header[..], &[0xff; 200]].concat());
    }
}

/// So many that a frame takes milliseconds.
const RULES: usize = 4000;
const SYN: u8 = 2;
/// To be added to whatever priority this has.
pub(super) const LOWEST: &str = "39";

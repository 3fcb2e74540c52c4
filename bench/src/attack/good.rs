//! The two ports that behave, and whoever looks on.

use std::io::{self, BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{A, B, Field, GAP, Measured};
use crate::subject::run;

/// TCP, the counter, and `show` once a second.
pub(super) fn measure(field: &Field, time: Duration) -> io::Result<Measured> {
    let done = AtomicBool::new(false);
    let count = field.b.enter(|| UdpSocket::bind((B, PORT)))??;
    let send = field.a.enter(|| UdpSocket::bind((A, PORT)))??;
    let (start, waited) = (Instant::now(), field.waited()?);
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&count, start, &done));
        let sender = scope.spawn(|| send_paced(&send, start, &done));
        let watcher = scope.spawn(|| watch(field, &done));
        let seconds = time.as_secs().max(1);
        let printed = run(&field.a, &format!("iperf3 -J -c {B} -t {seconds}"));
        done.store(true, Ordering::Relaxed);
        let Arrivals { arrived, gap, gaps, delay } = join(receiver)?;
        let (sent, pause) = join(sender)?;
        let (control, resident) = join(watcher)?;
        let waited = field.waited()?.saturating_sub(waited);
        let report: serde_json::Value = serde_json::from_str(&printed?)?;
        let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
        let throughput = rate.ok_or_else(|| io::Error::other("iperf3 reports no rate"))? / 1e9;
        Ok(Measured { throughput, gap, delay, pause, waited, gaps, sent, arrived, control, resident })
    })
}

fn join<T>(task: thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    task.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What the counter's receiver sees.
#[derive(Default)]
struct Arrivals {
    arrived: u64,
    /// The longest time between two.
    gap: Duration,
    /// How often that was too long.
    gaps: usize,
    /// The longest time on the way.
    delay: Duration,
}

fn receive(socket: &UdpSocket, start: Instant, done: &AtomicBool) -> io::Result<Arrivals> {
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let (mut seen, mut last) = (Arrivals::default(), None::<Duration>);
    while !done.load(Ordering::Relaxed) {
        let mut departed = [0; 8];
        match socket.recv(&mut departed) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            other => other?,
        };
        let now = start.elapsed();
        let gap = last.map_or(Duration::ZERO, |last| now.saturating_sub(last));
        let delay = now.saturating_sub(Duration::from_nanos(u64::from_be_bytes(departed)));
        seen.arrived += 1;
        (seen.gap, seen.delay) = (seen.gap.max(gap), seen.delay.max(delay));
        seen.gaps += usize::from(gap > GAP);
        last = Some(now);
    }
    Ok(seen)
}

/// A datagram each millisecond; how many, and the longest pause between two.
fn send_paced(socket: &UdpSocket, start: Instant, done: &AtomicBool) -> io::Result<(u64, Duration)> {
    let (mut sent, mut pause, mut last) = (0, Duration::ZERO, start.elapsed());
    while !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(sent).saturating_sub(start.elapsed()));
        let now = start.elapsed();
        socket.send_to(&(now.as_nanos() as u64).to_be_bytes(), (B, PORT))?;
        (sent, pause, last) = (sent + 1, pause.max(now.saturating_sub(last)), now);
    }
    Ok((sent, pause))
}

/// Asks what people ask for, once a second: the slowest answer, and the largest memory.
fn watch(field: &Field, done: &AtomicBool) -> io::Result<(Duration, u64)> {
    let mut control = UnixStream::connect(field.switch.control())?;
    let mut answers = BufReader::new(control.try_clone()?);
    let (mut slowest, mut resident) = (Duration::ZERO, 0);
    let mut asked = (0..).zip(["ports", "drops", "fdb", "flows", "leases", "stats"].into_iter().cycle());
    let mut next = Instant::now();
    while !done.load(Ordering::Relaxed) {
        if Instant::now() >= next
            && let Some((_, what)) = asked.next()
        {
            next += Duration::from_secs(1);
            let start = Instant::now();
            writeln!(control, "{{\"request\":\"show\",\"what\":\"{what}\"}}")?;
            let mut answer = String::new();
            answers.read_line(&mut answer)?;
            slowest = slowest.max(start.elapsed());
        }
        resident = resident.max(field.resident()?);
        thread::sleep(Duration::from_millis(50));
    }
    Ok((slowest, resident))
}

const PORT: u16 = 9000;

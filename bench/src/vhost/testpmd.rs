//! DPDK's testpmd as the two front-ends.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::generator::MACS;

/// How long it may take to start or to answer.
const LIMIT: Duration = Duration::from_secs(20);

/// A running testpmd.
pub struct Testpmd {
    process: Child,
    lines: Receiver<String>,
}

impl Testpmd {
    /// Starts it on processor 0 and lets it send.
    ///
    /// # Errors
    /// It doesn't start, or finds nobody at a socket.
    pub fn start(frame: u16, sockets: [&Path; 2]) -> io::Result<Self> {
        let device = |number: usize| {
            let (path, mac) = (sockets[number].display(), MACS[number]);
            format!("--vdev=net_virtio_user{number},path={path},mac={mac},queues=1,queue_size=1024")
        };
        // Line by line, although it doesn't write to a terminal.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "setpriv", "--pdeathsig", "KILL", "dpdk-testpmd"]);
        command.args(["--lcores=0@0,1@0", "--no-pci", "--in-memory", "--single-file-segments", "-m", "256"]);
        command.arg(format!("--file-prefix=vhostbench-{}", std::process::id()));
        command.args([device(0), device(1)]);
        command.args(["--", "-i", &format!("--txpkts={frame}")]);
        command.args([format!("--eth-peer=0,{}", MACS[1]), format!("--eth-peer=1,{}", MACS[0])]);
        command.arg("--forward-mode=io");
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = pipes.spawn()?;
        let output = process.stdout.take().ok_or_else(|| io::Error::other("it is piped"))?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        let mut testpmd = Self { process, lines };
        testpmd.wait_for("Checking link statuses")?;
        testpmd.say("start tx_first 8")?;
        testpmd.wait_for("nb forwarding cores")?;
        Ok(testpmd)
    }

    /// Millions of frames per second that both ports together receive, for `duration`.
    ///
    /// # Errors
    /// It has ended, or doesn't answer.
    pub fn measure(&mut self, duration: Duration) -> io::Result<f64> {
        let (before, start) = (self.received()?, Instant::now());
        thread::sleep(duration);
        let (after, seconds) = (self.received()?, start.elapsed().as_secs_f64());
        Ok((after - before) as f64 / seconds / 1e6)
    }

    /// How many frames both ports have received.
    fn received(&mut self) -> io::Result<u64> {
        self.say("show port stats all")?;
        let counts = [self.wait_for("RX-packets:")?, self.wait_for("RX-packets:")?];
        let count = |line: &String| line.split_whitespace().nth(1)?.parse::<u64>().ok();
        let counts: Option<Vec<u64>> = counts.iter().map(count).collect();
        Ok(counts.ok_or_else(|| io::Error::other("testpmd shows statistics in another way"))?.iter().sum())
    }

    fn say(&mut self, command: &str) -> io::Result<()> {
        let stdin = self.process.stdin.as_mut().ok_or_else(|| io::Error::other("it is piped"))?;
        stdin.write_all(format!("{command}\n").as_bytes())
    }

    fn wait_for(&mut self, text: &str) -> io::Result<String> {
        let start = Instant::now();
        loop {
            let left = LIMIT.saturating_sub(start.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return Ok(line),
                Ok(_) => {}
                Err(_) => return Err(io::Error::other(format!("testpmd doesn't say {text:?}"))),
            }
        }
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        let _ = self.say("stop\nquit");
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && start.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(20));
        }
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

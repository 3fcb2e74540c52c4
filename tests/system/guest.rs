//! A guest of the test: a virtual machine with Linux and busybox, in QEMU without hardware help. `cargo xtask guest` makes
//! what it boots.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::Host;

/// How long a boot or a command in the guest may take. A boot needs four seconds of a processor.
const LIMIT: Duration = Duration::from_mins(3);

/// What stands before the status, after each command's output.
const MARK: &str = "@@ ";

/// A running virtual machine with one network card, `eth0`. Dropping it pulls its plug.
pub struct Guest {
    qemu: Child,
    lines: Receiver<String>,
}

impl Guest {
    /// Boots a guest whose QEMU runs in the namespace of `host`, with `card` as its options for the network card.
    #[track_caller]
    pub fn boot(host: &Host, card: &str) -> Self {
        let mut guest = Self::power_on(host, card);
        guest.wait_until_up();
        guest
    }

    /// As [`Guest::boot`], without waiting until it is up.
    #[track_caller]
    pub fn power_on(host: &Host, card: &str) -> Self {
        let [kernel, initramfs] = ["vmlinuz", "initramfs"].map(cached);
        let mut command = host.command("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]).args(MACHINE.split_whitespace());
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
        // On a busy machine a timer tick may come too late for the kernel's check, and it would stop there.
        command.args(["-append", "console=ttyS1 quiet no_timer_check"]);
        // Without its ROM, which would be a package of its own, the card can do all but boot from the network.
        command.args(card.split_whitespace().map(|option| {
            let is_card = option.contains("netdev=") && option.contains("mac=");
            if is_card { format!("{option},romfile=") } else { option.to_owned() }
        }));
        let mut qemu = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nsenter runs");
        let output = BufReader::new(qemu.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { qemu, lines }
    }

    /// Has the guest restart by itself: QEMU goes on, and so do its connections.
    pub fn reboot(&mut self) {
        self.send("reboot -f").unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until the guest takes commands.
    #[track_caller]
    pub fn wait_until_up(&mut self) {
        self.answer("boot").unwrap_or_else(|error| panic!("{error}"));
    }

    /// Runs a command line in the guest to its end. `Err` has what it printed.
    pub fn try_run(&mut self, line: &str) -> Result<String, String> {
        self.send(line)?;
        self.answer(line)
    }

    fn send(&mut self, line: &str) -> Result<(), String> {
        let stdin = self.qemu.stdin.as_mut().expect("it is piped");
        stdin.write_all(format!("{line}\n").as_bytes()).map_err(|error| format!("the guest is gone: {error}"))
    }

    /// Runs a command line that must succeed, and returns what it printed.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        self.try_run(line).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Gives the guest's card an address such as `10.0.0.1/24`.
    #[track_caller]
    pub fn address(&mut self, address: &str) {
        self.run(&format!("ip address add {address} dev eth0"));
    }

    /// Has DHCP give the guest's card an address, and the guest a default route; returns the address.
    #[track_caller]
    pub fn dhcp(&mut self) -> String {
        self.run("udhcpc -i eth0 -n -q -t 20 -T 1 -s /etc/udhcpc");
        self.run("ip -4 -o address show eth0 | awk '{print $4}'").trim().to_owned()
    }

    /// A ping must be answered.
    #[track_caller]
    pub fn ping(&mut self, target: &str) {
        self.run(&format!("ping -c 1 -W 5 {target}"));
    }

    /// Has the guest serve a file of random content, 4 MiB long, as `http://…/file`; returns its hash.
    #[track_caller]
    pub fn serve(&mut self) -> String {
        self.run("httpd -p 80 -h /tmp; head -c 4194304 /dev/urandom >/tmp/file; sha256sum </tmp/file")
    }

    /// The hash of what is at `http://SERVER/file`. Without wget's time limit, which makes the static busybox crash.
    #[track_caller]
    pub fn download(&mut self, server: &str) -> String {
        self.run(&format!("wget -q -O - http://{server}/file | sha256sum"))
    }

    #[track_caller]
    fn answer(&self, command: &str) -> Result<String, String> {
        let (start, mut text) = (Instant::now(), String::new());
        loop {
            let left = LIMIT.saturating_sub(start.elapsed());
            let Ok(line) = self.lines.recv_timeout(left) else {
                return Err(format!("`{command}`: no answer in {LIMIT:?}, or the guest is gone\n{text}"));
            };
            match line.trim_end().strip_prefix(MARK) {
                Some("0") => return Ok(text),
                Some(status) => return Err(format!("`{command}`: status {status}\n{text}")),
                None => text += &format!("{}\n", line.trim_end()),
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

#[track_caller]
fn cached(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../guest-cache").join(name);
    assert!(path.exists(), "there is no {}: run `cargo xtask guest`", path.display());
    path
}

/// The machine. Its first serial port is the test's, the second takes what the kernel says.
const MACHINE: &str = "-M q35 -cpu max -accel tcg -m 128 -nodefaults -display none \
                       -serial stdio -serial null";

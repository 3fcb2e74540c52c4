//! The switch of the demo: this same program as a child process, with a configuration of its own.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tapio::end_with_this_thread;

/// A running `tapswitch run`, and the folder with its configuration, control socket and log. Both are gone when
/// this is dropped.
pub struct Switch {
    child: Option<Child>,
    folder: PathBuf,
}

impl Switch {
    /// Starts the switch.
    ///
    /// # Errors
    /// The folder can't be made, or this program can't be started once more.
    pub fn start(config: &str) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("tapswitch-demo-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let mut switch = Self { child: None, folder };
        fs::write(switch.folder.join(CONFIG), config)?;
        let mut command = Self::program()?;
        command.arg("run").arg("--config").arg(switch.folder.join(CONFIG));
        command.arg("--control").arg(switch.folder.join(CONTROL));
        let log = File::create(switch.folder.join(LOG))?;
        end_with_this_thread(&mut command);
        switch.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        Ok(switch)
    }

    /// Waits until every port is up.
    ///
    /// # Errors
    /// The switch ended, or takes too long.
    pub fn wait_until_ready(&mut self) -> io::Result<()> {
        poll("it is not ready", || {
            if let Some(status) = self.child.as_mut().map_or(Ok(None), Child::try_wait)? {
                return Err(io::Error::other(format!("it ended: {status}")));
            }
            Ok(self.log().contains(READY))
        })
    }

    /// The table that `tapswitch show WHAT` prints.
    ///
    /// # Errors
    /// The switch doesn't answer.
    pub fn show(&self, what: &str) -> io::Result<String> {
        let control = self.folder.join(CONTROL);
        let output = Self::program()?.args(["show", what, "--control"]).arg(control).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(io::Error::other(text(&output.stderr)))
        }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join(LOG)).unwrap_or_default()
    }

    /// Asks the switch to end.
    ///
    /// # Errors
    /// It takes too long, or says that it failed.
    pub fn stop(&mut self) -> io::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        kill_process(Pid::from_child(child), Signal::TERM)?;
        poll("it does not end", || match child.try_wait()? {
            Some(status) if !status.success() => Err(io::Error::other(format!("it ended with {status}"))),
            status => Ok(status.is_some()),
        })
    }

    fn program() -> io::Result<Command> {
        std::env::current_exe().map(Command::new)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only if it ended before.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Waits until `condition` holds, at most ten seconds.
fn poll(otherwise: &str, mut condition: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let start = Instant::now();
    while !condition()? {
        if start.elapsed() > Duration::from_secs(10) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, otherwise));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

const CONFIG: &str = "tapswitch.toml";
const CONTROL: &str = "control.sock";
const LOG: &str = "log";
/// What the switch logs when every port is up.
const READY: &str = "tapswitch: ready";

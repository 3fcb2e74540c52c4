//! The switch of the demo: this same program as a child process, with a configuration of its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tapio::end_with_this_thread;

/// A running `tapswitch run`, and the folder with its configuration, control socket and log. Both are gone when
/// this is dropped.
pub struct Switch(Arc<Process>);

/// What is left of a switch if nobody ends it.
pub struct Process {
    child: Mutex<Option<Child>>,
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
        let switch = Self(Arc::new(Process { child: Mutex::new(None), folder }));
        let folder = &switch.0.folder;
        fs::write(folder.join(CONFIG), config)?;
        let mut command = Self::program()?;
        command.arg("run").arg("--config").arg(folder.join(CONFIG));
        command.arg("--control").arg(folder.join(CONTROL));
        let log = File::create(folder.join(LOG))?;
        end_with_this_thread(&mut command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        *switch.0.child() = Some(child);
        Ok(switch)
    }

    /// Waits until every port is up.
    ///
    /// # Errors
    /// The switch ended, or takes too long.
    pub fn wait_until_ready(&mut self) -> io::Result<()> {
        poll("it is not ready", || {
            if let Some(status) = self.0.child().as_mut().map_or(Ok(None), Child::try_wait)? {
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
        let control = self.0.folder.join(CONTROL);
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
        fs::read_to_string(self.0.folder.join(LOG)).unwrap_or_default()
    }

    /// Asks the switch to end.
    ///
    /// # Errors
    /// It takes too long, or says that it failed.
    pub fn stop(&mut self) -> io::Result<()> {
        if let Some(child) = &*self.0.child() {
            kill_process(Pid::from_child(child), Signal::TERM)?;
        }
        poll("it does not end", || match self.0.child().as_mut().map_or(Ok(None), Child::try_wait)? {
            Some(status) if !status.success() => Err(io::Error::other(format!("it ended with {status}"))),
            status => Ok(status.is_some()),
        })
    }

    /// For whoever must end it while this thread waits for something.
    pub fn process(&self) -> Arc<Process> {
        self.0.clone()
    }

    /// In a process group of its own: what the terminal sends is for the demo, which ends its switch.
    fn program() -> io::Result<Command> {
        let mut program = Command::new(std::env::current_exe()?);
        program.process_group(0);
        Ok(program)
    }
}

impl Process {
    /// Ends the switch, whose devices go with it, and removes its folder.
    pub fn end(&self) {
        if let Some(child) = &mut *self.child() {
            // Both fail only if it ended before.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.0.end();
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

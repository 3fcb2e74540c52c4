//! The log: lines for standard error, or messages for the journal, that nobody has to wait for.
//!
//! ```text
//! event ─▶ limits ─▶ formatted ─▶ queue ─▶ thread "log" ─▶ standard error
//!             └ counted, told later └ full: lost  └ waits as long as it takes, or fails: lost
//! ```
//!
//! Whoever reads standard error may stop reading, or go; a disk may be full. That must not keep frames waiting, and not
//! end the process, because guests cause lines at will.

mod journal;
mod limits;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{EnvFilter, Layer};

use self::journal::Events;
pub use self::journal::{Form, destination};
use self::limits::Limits;

/// Where lines wait to be written. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Log(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    form: Form,
    state: Mutex<State>,
    /// There is a line to be written, or a limit to be told of.
    pending: Condvar,
    /// Nothing is left to be written.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Entry>,
    /// Bytes of the lines in the queue.
    bytes: usize,
    /// A line was taken from the queue and isn't written yet.
    writing: bool,
    limits: Limits,
}

/// What waits in the queue.
#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// So many lines had no room here.
    Lost(u64),
}

impl Log {
    /// A log whose lines go to `out`. Its thread inherits the signal mask: see [`tapio::Signals`].
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        Self::start_as(Form::Lines, out)
    }

    /// [`start`](Self::start) in another form than for people.
    ///
    /// # Errors
    /// As above.
    pub fn start_as(form: Form, out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { form, ..Shared::default() });
        let writer = Arc::clone(&shared);
        let thread = Builder::new().name("log".into()).stack_size(STACK);
        thread.spawn(move || writer.write_for_ever(out))?;
        Ok(Self(shared))
    }

    /// What takes events that pass `filter`.
    pub fn subscriber(&self, filter: EnvFilter, styled: bool) -> impl Subscriber + Send + Sync + use<> {
        let form = self.0.form;
        let for_people = (form == Form::Lines)
            .then(|| tracing_subscriber::fmt::layer().with_writer(self.clone()).with_ansi(styled));
        let for_the_journal = (form != Form::Lines).then(|| Events(self.clone(), form));
        // The last one is asked first.
        tracing_subscriber::registry()
            .with(filter)
            .with(for_people)
            .with(for_the_journal)
            .with(Limited(self.clone()))
    }

    /// Writes a line that doesn't depend on the log level.
    pub fn say(&self, line: &str) {
        self.push(self.0.form.say(Level::INFO, line));
    }

    /// Has panics told here: what tells them otherwise would wait for standard error.
    pub fn tell_panics(&self) {
        let log = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            log.say(&format!("{panic}\n{}", std::backtrace::Backtrace::capture()));
            log.flush();
        }));
    }

    /// Waits until what was said is written, but no longer than half a second: before the process ends.
    pub fn flush(&self) {
        let state = self.0.lock();
        let busy = |state: &mut State| state.writing || !state.queue.is_empty();
        drop(self.0.idle.wait_timeout_while(state, FLUSH, busy).unwrap_or_else(PoisonError::into_inner));
    }

    fn push(&self, line: Vec<u8>) {
        self.0.lock().push(line);
        self.0.pending.notify_one();
    }
}

impl State {
    fn push(&mut self, line: Vec<u8>) {
        if self.bytes + line.len() <= QUEUE {
            self.bytes += line.len();
            self.queue.push_back(Entry::Line(line));
        } else if let Some(Entry::Lost(lines)) = self.queue.back_mut() {
            *lines += 1;
        } else {
            self.queue.push_back(Entry::Lost(1));
        }
    }
}

impl Shared {
    /// Nothing panics under the lock, and what it guards is whole at any time.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_for_ever(&self, mut out: impl Write) {
        let mut lost = 0;
        loop {
            let line = match self.next() {
                Entry::Line(line) => Some(line),
                Entry::Lost(lines) => {
                    lost += lines;
                    None
                }
            };
            if lost > 0 && write(&mut out, &self.lost_line(lost)).is_ok() {
                lost = 0;
            }
            // Lines stay in order: none is written before it was told that there should be others.
            if let Some(line) = line
                && (lost > 0 || write(&mut out, &line).is_err())
            {
                lost += 1;
            }
        }
    }

    /// Waits for what is to be written next.
    fn next(&self) -> Entry {
        let mut state = self.lock();
        state.writing = false;
        loop {
            let now = Instant::now();
            while let Some(line) = state.limits.due(now) {
                state.push(self.stamped(&line));
            }
            if let Some(entry) = state.queue.pop_front() {
                if let Entry::Line(line) = &entry {
                    state.bytes -= line.len();
                }
                state.writing = true;
                return entry;
            }
            self.idle.notify_all();
            let wait = state.limits.next_due().map(|at| at.saturating_duration_since(now));
            state = match wait {
                None => self.pending.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => {
                    self.pending.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Shared {
    fn lost_line(&self, lines: u64) -> Vec<u8> {
        let what = if lines == 1 { "1 line" } else { &format!("{lines} lines") };
        self.stamped(&format!(
            " WARN {}: {what} lost here: standard error took them too late, or not at all",
            module_path!()
        ))
    }

    /// The line as events have it: behind its time.
    fn stamped(&self, line: &str) -> Vec<u8> {
        if self.form != Form::Lines {
            let (level, text) = line.trim_start().split_once(' ').unwrap_or(("", line));
            return self.form.say(level.parse().unwrap_or(Level::WARN), text);
        }
        let mut stamped = String::new();
        // Writing into memory can't fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut stamped));
        stamped.push(' ');
        stamped.push_str(line);
        stamped.push('\n');
        stamped.into_bytes()
    }
}

/// Keeps one port from filling the log.
struct Limited(Log);

impl<S: Subscriber> Layer<S> for Limited {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let shared = &self.0.0;
        let (admitted, is_first_more) = shared.lock().limits.admit(event, Instant::now());
        if is_first_more {
            // The thread learns when to tell.
            shared.pending.notify_one();
        }
        admitted
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Takes a whole line at a time, and never fails.
impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits as long as it takes, also where the other side of standard error made it non-blocking.
fn write(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => line = &line[len..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Bytes of lines that wait at most: some thousand of them.
const QUEUE: usize = 256 * 1024;
/// How long the end of the process waits for the last lines.
const FLUSH: Duration = Duration::from_millis(500);
/// Between two tries to write where there is no room.
const PAUSE: Duration = Duration::from_millis(20);
/// Formatting lines needs little.
const STACK: usize = 128 * 1024;

#[cfg(test)]
mod tests;

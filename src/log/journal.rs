//! Events for systemd's journal, with their priority, and with their fields apart where its socket is there.
//! systemd.exec(5) `JOURNAL_STREAM`, sd-daemon(3), systemd.io/JOURNAL_NATIVE_PROTOCOL.

use std::env;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::fs::fstat;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::Log;

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    /// For people: time, level, where, and what.
    #[default]
    Lines,
    /// The journal has the time. Each line begins with its priority.
    Prefixed,
    /// A message of the journal's own, field by field.
    Native,
}

/// What the log of this process goes to, and how: standard error, unless that is the journal and has a socket.
pub fn destination() -> (Form, Box<dyn Write + Send>) {
    let stream = env::var("JOURNAL_STREAM").ok();
    if !stream.is_some_and(|stream| is_stream(&stream, io::stderr())) {
        return (Form::Lines, Box::new(io::stderr()));
    }
    match connect(Path::new(SOCKET)) {
        Some(socket) => (Form::Native, Box::new(socket)),
        None => (Form::Prefixed, Box::new(io::stderr())),
    }
}

/// Whether `out` is what JOURNAL_STREAM names: by device and inode, as a child may have another standard error.
fn is_stream(stream: &str, out: impl AsFd) -> bool {
    let found = fstat(out).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    found.is_ok_and(|found| found == stream)
}

fn connect(path: &Path) -> Option<Datagrams> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(path).ok()?;
    Some(Datagrams(socket))
}

/// Each line is one message.
struct Datagrams(UnixDatagram);

impl Write for Datagrams {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.0.send(message).map(|_| message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts events into the form that the log has.
pub(super) struct Events(pub(super) Log, pub(super) Form);

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Self(log, form) = self;
        let mut parts = Parts::default();
        event.record(&mut parts);
        let metadata = event.metadata();
        log.push(form.entry(*metadata.level(), metadata.target(), &parts.text(), &parts.fields));
    }
}

impl Form {
    /// A message that is no event.
    pub(super) fn say(self, level: Level, line: &str) -> Vec<u8> {
        match self {
            Self::Lines => format!("{line}\n").into_bytes(),
            Self::Prefixed | Self::Native => self.entry(level, "tapswitch", line, &[]),
        }
    }

    fn entry(self, level: Level, target: &str, text: &str, fields: &[(&'static str, String)]) -> Vec<u8> {
        let priority = priority(level);
        if self != Self::Native {
            let lines = text.lines().map(|line| format!("<{priority}>{line}\n"));
            return lines.collect::<String>().into_bytes();
        }
        let mut message = Vec::new();
        let mut add = |name: &str, value: &str| add(&mut message, name, value);
        add("MESSAGE", text);
        add("PRIORITY", &priority.to_string());
        add("SYSLOG_IDENTIFIER", "tapswitch");
        add("TAPSWITCH_MODULE", target);
        for (name, value) in fields {
            add(&format!("TAPSWITCH_{}", name.to_ascii_uppercase().replace('.', "_")), value);
        }
        message
    }
}

/// A value with more than one line has its length before it.
fn add(message: &mut Vec<u8>, name: &str, value: &str) {
    message.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        message.push(b'\n');
        message.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        message.push(b'=');
    }
    message.extend_from_slice(value.as_bytes());
    message.push(b'\n');
}

/// syslog(3)'s numbers.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// An event's message and its fields.
#[derive(Default)]
struct Parts {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Parts {
    /// As people read it: the message, and its fields behind it.
    fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.fields {
            // Writing into memory can't fail.
            let _ = write!(text, " {name}={value}");
        }
        text
    }

    fn take(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}"));
    }
}

/// Where the journal takes messages.
const SOCKET: &str = "/run/systemd/journal/socket";

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use tracing::subscriber::with_default;
    use tracing::{info, warn};
    use tracing_subscriber::EnvFilter;

    use super::*;

    #[test]
    fn fields_go_to_the_journal_apart_and_in_the_message() {
        let path = env::temp_dir().join(format!("tapswitch-journal-{}", std::process::id()));
        let journal = UnixDatagram::bind(&path).unwrap();
        journal.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let socket = connect(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let log = Log::start_as(Form::Native, socket).unwrap();
        let next = || {
            let mut buffer = [0; 4096];
            let len = journal.recv(&mut buffer).unwrap();
            buffer[..len].to_vec()
        };
        with_default(log.subscriber(EnvFilter::new("info"), false), || {
            warn!(port = "lan/vm1", count = 3, "link lost");
        });
        let expected = format!(
            "MESSAGE=link lost port=lan/vm1 count=3\nPRIORITY=4\nSYSLOG_IDENTIFIER=tapswitch\n\
             TAPSWITCH_MODULE={}\nTAPSWITCH_PORT=lan/vm1\nTAPSWITCH_COUNT=3\n",
            module_path!()
        );
        assert_eq!(String::from_utf8(next()).unwrap(), expected);
        log.say("two\nlines");
        let told = next();
        assert!(told.starts_with(b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=6\n"));
    }

    #[test]
    fn lines_begin_with_their_priority_where_the_journal_has_no_socket() {
        let (lines, out) = io::pipe().unwrap();
        let log = Log::start_as(Form::Prefixed, out).unwrap();
        with_default(log.subscriber(EnvFilter::new("info"), false), || {
            info!(port = "lan/vm1", "one\ntwo");
        });
        log.flush();
        let mut buffer = [0; 256];
        let len = io::Read::read(&mut &lines, &mut buffer).unwrap();
        assert_eq!(str::from_utf8(&buffer[..len]).unwrap(), "<6>one\n<6>two port=lan/vm1\n");
    }

    #[test]
    fn the_journal_is_told_from_other_files() {
        let (file, other) = io::pipe().unwrap();
        let found = fstat(&file).unwrap();
        let stream = format!("{}:{}", found.st_dev, found.st_ino);
        assert!(is_stream(&stream, &file) && file.as_raw_fd() != other.as_raw_fd());
        assert!(!is_stream("8:1", &file) && !is_stream("", &other));
    }
}

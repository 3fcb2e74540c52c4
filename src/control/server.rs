//! The server's side of the control socket.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;
use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType};
use tapio::BoundSocket;
use tracing::warn;

use super::{Command, MAX_LIMIT, MAX_LINE, Reply, Request, RequestError, Response};

/// A listening control socket. Dropped, it takes no more clients and its path is gone.
#[derive(Debug)]
pub struct Server(Arc<BoundSocket>);

impl Server {
    /// Listens at `path`, whose folder is made if need be. Requests go to `commands`, and `waker` tells their receiver.
    /// What a process that no longer lives left at `path` is replaced. The socket is its owner's alone.
    ///
    /// All threads that there will be start now: later there may be none to be had.
    ///
    /// # Errors
    /// Another process listens there, something else is there, or the operating system refuses.
    pub fn listen(path: &Path, commands: Sender<Command>, waker: Arc<Waker>) -> io::Result<Self> {
        let socket = BoundSocket::bind_private(path, SocketType::STREAM).map_err(with_advice)?;
        warn_of_folder(path);
        rustix::io::ioctl_fionbio(&socket, false)?;
        rustix::net::listen(&socket, BACKLOG)?;
        let (socket, link) = (Arc::new(socket), Driver { commands, waker });
        for _ in 0..CLIENTS {
            let (socket, link) = (socket.clone(), link.clone());
            let thread = thread::Builder::new().name("control".into()).stack_size(STACK);
            thread.spawn(move || serve_clients(&socket, &link))?;
        }
        Ok(Self(socket))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the threads that accept; where that fails they end with the process.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
        self.0.unlink();
    }
}

/// Whoever may write to the folder can put a socket of their own in the place of this one.
fn warn_of_folder(path: &Path) {
    let Some(folder) = path.parent() else { return };
    let ours = rustix::process::geteuid().as_raw();
    let is_open = |metadata: fs::Metadata| {
        let others_write = metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0;
        others_write || ![0, ours].contains(&metadata.uid())
    };
    if fs::metadata(folder).is_ok_and(is_open) {
        warn!(folder = %folder.display(), "others may write to the control socket's folder, and put their own in its place");
    }
}

/// Says what to do where that is known.
fn with_advice(error: io::Error) -> io::Error {
    let message = match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "something else than a socket is there; name another path with --control PATH"
        }
        io::ErrorKind::AddrInUse => {
            "another tapswitch listens there; stop it, or name another path with --control PATH"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), message)
}

/// The way to the thread that answers.
#[derive(Clone)]
struct Driver {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl Driver {
    fn ask(&self, request: Request) -> Response {
        let (reply, answer) = sync_channel(1);
        self.commands.send(Command { request, reply }).map_err(|_| RequestError::NoAnswer)?;
        self.waker.wake().map_err(|_| RequestError::NoAnswer)?;
        answer.recv_timeout(ANSWER_TIME).map_err(|_| RequestError::NoAnswer)?
    }
}

/// Serves one client after the other until the listener is shut down. Those for whom there is no thread wait in the
/// listener's queue.
fn serve_clients(listener: &BoundSocket, driver: &Driver) {
    loop {
        match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            // A client that went away is nobody's error.
            Ok(client) => drop(serve(&UnixStream::from(client), driver)),
            Err(Errno::INVAL) => return,
            Err(Errno::INTR) => {}
            // Out of descriptors or memory: clients that end free some.
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Answers line by line until the client is done, too slow or too loud.
fn serve(stream: &UnixStream, driver: &Driver) -> io::Result<()> {
    let mut lines = Lines { stream, buffered: Vec::new() };
    loop {
        match lines.next() {
            Ok(Some(line)) => answer(stream, request(&line).and_then(|request| driver.ask(request)))?,
            Ok(None) => return Ok(()),
            Err(error) => {
                answer(stream, Err(error))?;
                return stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn request(line: &[u8]) -> Result<Request, RequestError> {
    let request = serde_json::from_slice(line).map_err(RequestError::Malformed)?;
    Ok(match request {
        Request::Show { what, limit, sort, filter } => {
            Request::Show { what, limit: limit.min(MAX_LIMIT), sort, filter }
        }
        other => other,
    })
}

fn answer(mut stream: &UnixStream, response: Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Reply::from(response))?;
    line.push(b'\n');
    let deadline = Instant::now() + CLIENT_TIME;
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        stream.set_write_timeout(Some(time_left(deadline)))?;
        match stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

/// For a timeout, which must not be zero.
fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// Reads lines of bounded length in bounded time.
struct Lines<'a> {
    stream: &'a UnixStream,
    buffered: Vec<u8>,
}

impl Lines<'_> {
    /// The next line, without its end; `None` when the client has closed.
    fn next(&mut self) -> Result<Option<Vec<u8>>, RequestError> {
        let deadline = Instant::now() + CLIENT_TIME;
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffered[searched..].iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.buffered.drain(..=searched + end).collect();
                line.pop();
                return Ok(Some(line));
            }
            searched = self.buffered.len();
            if searched >= MAX_LINE {
                return Err(RequestError::TooLong);
            }
            if self.read_more(deadline)? == 0 {
                return Ok(None);
            }
        }
    }

    fn read_more(&mut self, deadline: Instant) -> Result<usize, RequestError> {
        let mut chunk = [0; 4096];
        let timeout = Some(time_left(deadline));
        let read = self.stream.set_read_timeout(timeout).and_then(|()| (&mut &*self.stream).read(&mut chunk));
        match read {
            Ok(len) if Instant::now() < deadline => {
                self.buffered.extend_from_slice(&chunk[..len]);
                Ok(len)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.read_more(deadline),
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(0)
            }
            _ => Err(RequestError::TooSlow),
        }
    }
}

/// Clients at once.
const CLIENTS: usize = 16;
/// Clients that wait for one of them to end.
const BACKLOG: i32 = 128;
/// What serving a client needs is on the heap.
const STACK: usize = 128 * 1024;
/// A client that says nothing for so long, or takes nothing, has lost its place to another.
pub(super) const CLIENT_TIME: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// Thousands of devices are opened in less.
const ANSWER_TIME: Duration = Duration::from_mins(1);
/// Between two tries to accept.
const PAUSE: Duration = Duration::from_millis(100);

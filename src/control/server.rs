//! The server's side of the control socket.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;

use super::{Command, MAX_LIMIT, MAX_LINE, Reply, Request, RequestError, Response};

/// A listening control socket. Dropped, it takes no more clients and its path is gone.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    /// Device and inode of the socket, to remove no other one at its path.
    identity: (u64, u64),
    listener: UnixListener,
}

impl Server {
    /// Listens at `path`, whose folder is made if need be. Requests go to `commands`, and `waker` tells their receiver.
    /// What a process that no longer lives left at `path` is replaced.
    ///
    /// # Errors
    /// Another process listens there, something else is there, or the operating system refuses.
    pub fn listen(path: &Path, commands: Sender<Command>, waker: Arc<Waker>) -> io::Result<Self> {
        make_room(path)?;
        let listener = bind_private(path)?;
        let metadata = fs::symlink_metadata(path)?;
        let server = Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
            listener: listener.try_clone()?,
        };
        let link = Driver { commands, waker };
        thread::Builder::new().name("control".into()).spawn(move || accept_all(&listener, &link))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the thread that accepts; where that fails it ends with the process.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the folder, and sees to it that nobody who lives is at `path`.
fn make_room(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        let message = "something else than a socket is there; name another path with --control PATH";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match UnixStream::connect(path) {
        Ok(_) => {
            let message =
                "another tapswitch listens there; stop it, or name another path with --control PATH";
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

/// The socket appears at `path` when only its owner can open it, in place of a dead one if there is.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let hidden = path.with_extension(std::process::id().to_string());
    let _ = fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden)?;
    fs::set_permissions(&hidden, Permissions::from_mode(0o600))?;
    fs::rename(&hidden, path)?;
    Ok(listener)
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

/// Takes clients, each on a thread of its own, until the listener is shut down. No more than [`CLIENTS`] at once: the
/// others wait in the listener's queue.
fn accept_all(listener: &UnixListener, driver: &Driver) {
    let (place, places) = sync_channel(CLIENTS);
    for _ in 0..CLIENTS {
        Place::give_back(&place);
    }
    while let Some(place) = Place::take(&place, &places) {
        match listener.accept() {
            Ok((stream, _)) => {
                let driver = driver.clone();
                let client = move || {
                    let _place = place;
                    // A client that went away is nobody's error.
                    let _ = serve(&stream, &driver);
                };
                // Without a thread to spare, the client sees its connection closed.
                let _ = thread::Builder::new().name("control client".into()).stack_size(STACK).spawn(client);
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            // Out of descriptors or memory: clients that end free some.
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// The right to serve one client; free again when dropped.
struct Place(SyncSender<()>);

impl Place {
    fn take(place: &SyncSender<()>, places: &Receiver<()>) -> Option<Self> {
        places.recv().ok().map(|()| Self(place.clone()))
    }

    fn give_back(place: &SyncSender<()>) {
        // There is room for as many as there are.
        let _ = place.try_send(());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        Self::give_back(&self.0);
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
        Request::Show { what, limit } => Request::Show { what, limit: limit.min(MAX_LIMIT) },
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
/// What serving a client needs is on the heap.
const STACK: usize = 128 * 1024;
/// A client that says nothing for so long, or takes nothing, has lost its place to another.
pub(super) const CLIENT_TIME: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// Thousands of devices are opened in less.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Between two tries to accept.
const PAUSE: Duration = Duration::from_millis(100);

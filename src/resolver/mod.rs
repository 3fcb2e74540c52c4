//! Asks the host's own resolvers, those on its loopback included, as a program of the host does: from sockets of the host's.
//!
//! ```text
//! driver ─ question ─▶ thread "resolver": a socket for each, until it is answered or late ─ answer ─▶ driver
//!                      looks at resolv.conf once a second ──────────────────── servers, if others ─▶ driver
//! ```
//!
//! The messages are somebody else's: nothing here reads more of them than the identifier.

mod asked;
mod servers;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};
use std::{io, mem};

use engine::report::{HostAnswer, HostQuestion};
use mio::{Events, Poll, Token, Waker};

use self::asked::Asked;
use self::servers::Servers;

/// The thread, as the driver sees it. It ends when this is dropped.
pub(crate) struct Resolver {
    questions: SyncSender<HostQuestion>,
    told: Receiver<Told>,
    /// The thread's.
    waker: Arc<Waker>,
}

/// What the thread has to say.
pub(crate) enum Told {
    /// The host's resolvers are these.
    Servers(Vec<IpAddr>),
    Answer(HostAnswer),
}

impl Resolver {
    /// A thread that asks, and wakes the driver when it has something to say; and the resolvers as they are now.
    pub(crate) fn start(driver: Arc<Waker>) -> io::Result<(Self, Vec<IpAddr>)> {
        let servers = Servers::of(Path::new(RESOLV_CONF));
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (questions, receiver) = sync_channel(LIMIT);
        let (sender, told) = channel();
        let list = servers.list().to_vec();
        let speaker = Speaker { sender, driver };
        let thread = Thread { poll, questions: receiver, speaker, servers, asked: BTreeMap::new(), nth: 0 };
        Builder::new().name("resolver".into()).spawn(move || thread.run())?;
        Ok((Self { questions, told, waker }, list))
    }

    /// Has a question asked. What there is no room for isn't answered.
    pub(crate) fn ask(&self, question: HostQuestion) {
        let _ = self.questions.try_send(question);
        let _ = self.waker.wake();
    }

    /// Something that the thread has said since the last call.
    pub(crate) fn next(&self) -> Option<Told> {
        self.told.try_recv().ok()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // The thread sees that nobody can ask any more.
        let (questions, _) = sync_channel(0);
        drop(mem::replace(&mut self.questions, questions));
        let _ = self.waker.wake();
    }
}

struct Thread {
    poll: Poll,
    questions: Receiver<HostQuestion>,
    speaker: Speaker,
    servers: Servers,
    asked: BTreeMap<usize, Asked>,
    nth: usize,
}

/// Whoever says something wakes the driver.
struct Speaker {
    sender: Sender<Told>,
    driver: Arc<Waker>,
}

impl Speaker {
    fn say(&self, told: Told) {
        // Without a listener there is nobody to be told.
        let _ = self.sender.send(told);
        let _ = self.driver.wake();
    }
}

impl Thread {
    fn run(mut self) {
        let mut events = Events::with_capacity(64);
        let mut look_at = Instant::now() + LOOK;
        loop {
            let wait = look_at.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
            for event in &events {
                if event.token() != WAKER {
                    self.go_on(event.token().0);
                }
            }
            if !self.take_questions() {
                return;
            }
            let now = Instant::now();
            if now >= look_at {
                look_at = now + LOOK;
                self.asked.retain(|_, asked| asked.until() > now);
                if let Some(servers) = self.servers.look() {
                    self.speaker.say(Told::Servers(servers));
                }
            }
        }
    }

    /// Whether anybody can still ask.
    fn take_questions(&mut self) -> bool {
        loop {
            let question = match self.questions.try_recv() {
                Ok(question) => question,
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            };
            self.nth = self.nth.wrapping_add(1).max(1);
            let (number, attempt) = (question.number, question.attempt);
            let until = Instant::now() + PATIENCE;
            let asked = if self.asked.len() < LIMIT {
                Asked::new(question, self.poll.registry(), Token(self.nth), until)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
            match asked {
                Ok(asked) => drop(self.asked.insert(self.nth, asked)),
                Err(_) => self.speaker.say(Told::Answer(HostAnswer { number, attempt, message: None })),
            }
        }
    }

    /// A socket has something to say, or can be told something.
    fn go_on(&mut self, token: usize) {
        let Some(asked) = self.asked.get_mut(&token) else { return };
        let (mut is_over, (number, attempt)) = (false, asked.number());
        while !is_over {
            let message = match asked.receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => None,
                Ok(message) => Some(message),
            };
            is_over = message.as_ref().is_none_or(|message| asked.is_answer(message));
            self.speaker.say(Told::Answer(HostAnswer { number, attempt, message }));
        }
        self.asked.remove(&token);
    }
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
const WAKER: Token = Token(0);
/// Questions at once: each has a socket.
const LIMIT: usize = 512;
/// Whoever asks has given up by then.
const PATIENCE: Duration = Duration::from_secs(9);
/// Between two looks at the file.
const LOOK: Duration = Duration::from_secs(1);

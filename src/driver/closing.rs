//! Ports are closed on threads of their own: the kernel takes 20 ms to take a tap away, nearly all of it waiting, and a device
//! that was found is given back by calls that wait for whoever else changes links.
//!
//! ```text
//! loop that moves frames ─ port ─▶ thread "closing" ─▶ up to MOST threads, each of which drops a port
//! thread "changes" ─ is this device closed? ─▶ ┘ └─▶ answers when it is
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use mio::Registry;
use tapio::{NetnsId, PortSpec};

use super::port::Port;

/// The way to the thread that has ports closed.
#[derive(Clone, Debug)]
pub(super) struct Closing(Sender<Message>);

/// What only one port can have: the name of a device, and its namespace; or the path of a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place(String, Option<NetnsId>);

impl Place {
    /// What `spec` needs, by whatever name its namespace goes. A system call or two.
    pub(super) fn of(spec: &PortSpec) -> Self {
        let netns = if spec.is_device() { NetnsId::find(spec.netns()).ok() } else { None };
        Self(spec.device().into_owned(), netns)
    }

    /// The name of the device, or the path.
    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

#[derive(Debug)]
enum Message {
    Close(Place, Box<Port>),
    /// A port there has been closed.
    Closed(Place),
    /// Somebody waits until nothing is closed there, or anywhere.
    Wait(Option<Place>, SyncSender<()>),
}

impl Closing {
    /// Starts the thread: later there may be none to be had. Ports have their events from `registry`.
    pub(super) fn start(registry: &Registry) -> io::Result<Self> {
        let (queue, messages) = channel();
        let registry = registry.try_clone()?;
        let closers =
            Closers { queue: queue.clone(), waiting: VecDeque::new(), places: Vec::new(), threads: 0 };
        let job = move || closers.run(&messages, &registry);
        Builder::new().name("closing".into()).stack_size(STACK).spawn(job)?;
        Ok(Self(queue))
    }

    /// Closes a port that was opened as `spec` says. A device that it made goes with it.
    pub(super) fn close(&self, spec: &PortSpec, port: Port) {
        let place = Place(spec.device().into_owned(), port.netns());
        // Without the thread it is closed here.
        let _ = self.0.send(Message::Close(place, Box::new(port)));
    }

    /// Waits until what `spec` needs is not being closed any more. Not for the thread that moves frames.
    pub(super) fn wait_for(&self, spec: &PortSpec) {
        self.wait(Some(Place::of(spec)), PATIENCE);
    }

    /// Waits until nothing is being closed any more.
    pub(super) fn wait_for_all(&self) {
        self.wait(None, LONG_PATIENCE);
    }

    fn wait(&self, place: Option<Place>, patience: Duration) {
        let (done, is_done) = sync_channel(1);
        if self.0.send(Message::Wait(place, done)).is_ok() {
            // Whoever doesn't wait to the end hears from the system that the device is busy.
            let _ = is_done.recv_timeout(patience);
        }
    }
}

/// The thread's own.
struct Closers {
    queue: Sender<Message>,
    /// Ports that no thread has taken yet.
    waiting: VecDeque<(Place, Box<Port>)>,
    /// Of all ports that are not closed yet.
    places: Vec<Place>,
    threads: usize,
}

impl Closers {
    /// Until the process ends.
    fn run(mut self, messages: &Receiver<Message>, registry: &Registry) {
        let mut waits: Vec<(Option<Place>, SyncSender<()>)> = Vec::new();
        while let Ok(message) = messages.recv() {
            match message {
                Message::Close(place, mut port) => {
                    port.deregister(registry);
                    self.places.push(place.clone());
                    self.waiting.push_back((place, port));
                }
                Message::Closed(place) => {
                    self.threads -= 1;
                    self.forget(&place);
                }
                Message::Wait(place, done) => waits.push((place, done)),
            }
            self.start_threads();
            let places = &self.places;
            waits.retain(|(place, done)| {
                let is_closed = place.as_ref().map_or(places.is_empty(), |place| !places.contains(place));
                if is_closed {
                    // Whoever has waited may have gone.
                    let _ = done.try_send(());
                }
                !is_closed
            });
        }
    }

    fn start_threads(&mut self) {
        while self.threads < MOST
            && let Some((place, port)) = self.waiting.pop_front()
        {
            let (queue, is_closed) = (self.queue.clone(), Message::Closed(place.clone()));
            let job = move || {
                drop(port);
                // The thread lives as long as the process.
                let _ = queue.send(is_closed);
            };
            match Builder::new().name("close".into()).stack_size(STACK).spawn(job) {
                Ok(_) => self.threads += 1,
                // What was to run there has been dropped here.
                Err(_) => self.forget(&place),
            }
        }
    }

    fn forget(&mut self, place: &Place) {
        if let Some(nth) = self.places.iter().position(|other| other == place) {
            self.places.swap_remove(nth);
        }
    }
}

/// Ports that are closed at once. 200 taps took 4.2 s one after the other, 0.39 s with 16 threads and 0.20 s with 64.
const MOST: usize = 64;
/// Closing needs little.
const STACK: usize = 128 * 1024;
/// For what takes longer, the kernel waits for somebody else.
const PATIENCE: Duration = Duration::from_secs(10);
/// For hundreds of ports. At the end of the process the kernel closes what is not closed by then.
const LONG_PATIENCE: Duration = Duration::from_secs(30);

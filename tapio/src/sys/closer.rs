//! Closes what others gave us, on a thread of the port's own.
//!
//! The last close of a descriptor may wait as long as whoever sent it likes: a TCP socket with SO_LINGER and unsent data, a
//! file of FUSE. So may the close of a socket in which such descriptors lie unread. And it takes its time to unmap a guest
//! that is large. None of it is to keep the thread that moves frames waiting, nor another guest's port.
//!
//! ```text
//! Given, dropped ──▶ queue ──▶ thread of this port ──▶ close(2), munmap(2)
//!                     └ waiting(): who has too much there gets nothing more taken
//! ```

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;

/// The way to the thread. It ends when nobody has one any more, and nothing waits.
#[derive(Clone)]
pub(crate) struct Closer {
    queue: Sender<Box<dyn Send>>,
    waiting: Arc<AtomicUsize>,
}

impl Closer {
    /// Starts the thread: now, since there may be none to be had when it is needed.
    pub(crate) fn start() -> io::Result<Self> {
        let (queue, values) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = waiting.clone();
        let thread = Builder::new().name("closer".into()).stack_size(STACK);
        thread.spawn(move || drop_all(&values, &counter))?;
        Ok(Self { queue, waiting })
    }

    /// Drops `value` on the thread.
    pub(crate) fn later<T: Send + 'static>(&self, value: T) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The thread is there as long as there is a sender.
        let _ = self.queue.send(Box::new(value));
    }

    /// How many values are not dropped yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer").field("waiting", &self.waiting()).finish()
    }
}

fn drop_all(values: &Receiver<Box<dyn Send>>, waiting: &AtomicUsize) {
    while let Ok(value) = values.recv() {
        drop(value);
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A descriptor that somebody else gave us, or a socket that somebody can give us others by. The closer closes it, and drops
/// what was kept with it after that. Without a closer, nothing about it can wait.
#[derive(Debug)]
pub(crate) struct Given<K: Send + 'static = ()> {
    kept: Option<(OwnedFd, K)>,
    closer: Option<Closer>,
}

impl<K: Send + 'static> Given<K> {
    pub(crate) fn new(fd: OwnedFd, kept: K, closer: Option<&Closer>) -> Self {
        Self { kept: Some((fd, kept)), closer: closer.cloned() }
    }
}

impl<K: Send + 'static> AsFd for Given<K> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let (fd, _) = self.kept.as_ref().expect("only dropping takes it");
        fd.as_fd()
    }
}

impl<K: Send + 'static> Drop for Given<K> {
    fn drop(&mut self) {
        if let (Some(kept), Some(closer)) = (self.kept.take(), &self.closer) {
            closer.later(kept);
        }
    }
}

/// Dropping needs little.
const STACK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn what_waits_keeps_nobody_but_the_thread_waiting() {
        struct Waits(Receiver<()>);
        impl Drop for Waits {
            fn drop(&mut self) {
                let _ = self.0.recv();
            }
        }
        let closer = Closer::start().unwrap();
        let (release, wait) = sync_channel(0);
        closer.later(Waits(wait));
        closer.later(());
        assert_eq!(closer.waiting(), 2);
        drop(release);
        while closer.waiting() > 0 {
            std::thread::yield_now();
        }
    }
}

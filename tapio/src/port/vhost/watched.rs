//! Descriptors that are watched for as long as they are kept.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::sys::watch::Watch;

/// A descriptor whose events are asked for until it is dropped. Closing an eventfd would not end them: the front-end
/// holds the same file.
#[derive(Debug)]
pub(super) struct Watched<T: AsFd> {
    fd: T,
    watch: Option<Arc<Watch>>,
}

impl<T: AsFd> Watched<T> {
    /// Without a `watch`, nobody is told of events.
    pub fn new(fd: T, watch: Option<&Arc<Watch>>) -> io::Result<Self> {
        watch.map_or(Ok(()), |watch| watch.readable(&fd))?;
        Ok(Self { fd, watch: watch.cloned() })
    }

    /// Not watched yet.
    pub fn unwatched(fd: T) -> Self {
        Self { fd, watch: None }
    }

    /// Goes over to another `watch`.
    pub fn rewatch(&mut self, watch: Option<&Arc<Watch>>) -> io::Result<()> {
        self.watch.take().map_or(Ok(()), |watch| watch.remove(&self.fd))?;
        watch.map_or(Ok(()), |watch| watch.readable(&self.fd))?;
        self.watch = watch.cloned();
        Ok(())
    }
}

impl<T: AsFd> AsFd for Watched<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<T: AsFd> Drop for Watched<T> {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            // It was registered, and nothing else takes that back.
            let _ = watch.remove(&self.fd);
        }
    }
}

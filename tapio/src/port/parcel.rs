//! A queue on its way to whoever reads and writes it, which may be another process: descriptors, and a few words about
//! them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a queue is made of: [`open_queue`](crate::open_queue) makes it.
#[derive(Debug)]
pub struct Parcel {
    /// Of which kind it is.
    pub label: Label,
    /// Its descriptors, in the order of that kind.
    pub descriptors: Vec<OwnedFd>,
}

/// What is to be known of a queue beside its descriptors. Each kind says what it has of this.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Label {
    /// The word for the kind.
    pub kind: String,
    /// What the other side may be given and may give: unfinished checksums, TCP and UDP super-frames.
    pub offloads: [bool; 3],
    /// How a socket meets its other side, if it has to.
    pub meeting: Option<Meeting>,
    /// The number of the network device, if there is one.
    pub device: Option<u32>,
    /// Whether nobody has read from the device's ring.
    pub is_new: bool,
    /// Whether the bits of a shared address come with it.
    pub is_shared: bool,
}

impl Label {
    /// Of a queue of this kind, of which nothing else is to be known.
    pub(crate) fn of(kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..Self::default() }
    }

    /// How the queue meets its other side.
    ///
    /// # Errors
    /// Whoever packed it forgot to say so.
    pub(crate) fn meeting(&self) -> io::Result<Meeting> {
        self.meeting.clone().ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

/// How a socket meets its other side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Meeting {
    /// The other side comes.
    pub listens: bool,
    /// Where the other side is looked for; `None`: whoever has the device looks, and [gives](crate::Queue::meet) the queue
    /// what was found.
    pub path: Option<PathBuf>,
    /// The kernel refuses descriptors that somebody sends along.
    pub refuses: bool,
}

impl Parcel {
    /// Ready for a process that can't connect to anything.
    #[must_use]
    pub fn for_another(mut self) -> Self {
        if let Some(meeting) = &mut self.label.meeting {
            meeting.path = None;
        }
        self
    }
}

/// The descriptors of a parcel, one by one.
pub(crate) struct Contents(std::vec::IntoIter<OwnedFd>);

impl Contents {
    pub(crate) fn new(descriptors: Vec<OwnedFd>) -> Self {
        Self(descriptors.into_iter())
    }

    /// The next one.
    ///
    /// # Errors
    /// Whoever packed it forgot one.
    pub(crate) fn next(&mut self) -> io::Result<OwnedFd> {
        self.0.next().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Another descriptor of the same open file.
pub(crate) fn copy(fd: &impl AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

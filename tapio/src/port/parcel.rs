//! A queue on its way to whoever reads and writes it, which may be another process: descriptors, and a few words about
//! them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a queue is made of: [`open`](crate::port::spec::open) makes it.
#[derive(Debug)]
pub struct Parcel {
    /// Of which kind it is.
    pub label: Label,
    /// Its descriptors, in the order of that kind.
    pub descriptors: Vec<OwnedFd>,
}

/// What is to be known of a queue beside its descriptors.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Label {
    /// The userspace end of a tap.
    Tap {
        /// What the device was told to give and take: unfinished checksums, TCP and UDP super-frames.
        offloads: [bool; 3],
    },
    /// A packet socket, if there is a device, and the bits of a shared address, if it is one.
    Packet {
        /// The number of the device.
        index: Option<u32>,
        /// Whether nobody has read from its ring.
        is_new: bool,
        /// Whether bits come with it.
        is_shared: bool,
    },
    /// A listener, if others connect to it.
    Stream(Meeting),
    /// The socket that receives.
    Dgram(Meeting),
    /// A listener, if front-ends come to it.
    VhostUser {
        /// How it meets them.
        meeting: Meeting,
        /// Whether offloads are offered.
        offload: bool,
    },
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
        match &mut self.label {
            Label::Stream(meeting) | Label::Dgram(meeting) | Label::VhostUser { meeting, .. } => {
                meeting.path = None;
            }
            Label::Tap { .. } | Label::Packet { .. } => {}
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

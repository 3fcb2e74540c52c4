//! What a port keeps for its guest: its descriptors and mappings, which end on a thread of the port's own, and how much of
//! it there may be.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{SealFlags, fcntl_add_seals};

use crate::port::vhost::budget::{Account, Kind, Taken};
use crate::port::vhost::price::Price;
use crate::port::vhost::violation::Violation;
use crate::sys::closer::{Closer, Given};

/// A descriptor that a front-end sent.
pub(super) type GuestFd = Given<Taken>;

#[derive(Clone, Debug)]
pub(super) struct Keeper {
    pub closer: Closer,
    /// Of telling the guest.
    pub price: Arc<Price>,
    account: Arc<Account>,
}

impl Keeper {
    /// For one port.
    pub fn new() -> io::Result<Self> {
        Ok(Self { closer: Closer::start()?, price: Arc::default(), account: Account::open() })
    }

    /// Keeps a descriptor, which is there already.
    pub fn keep(&self, fd: OwnedFd) -> GuestFd {
        Given::new(fd, self.account.take_anyway(Kind::Descriptors, 1), Some(&self.closer))
    }

    /// Whether the guest has no more descriptors than it may.
    pub fn check_descriptors(&self) -> Result<(), Violation> {
        match self.account.is_within(Kind::Descriptors)
            && self.account.taken(Kind::Descriptors) <= DESCRIPTORS
        {
            true => Ok(()),
            false => Err(Violation::BeyondShare(Kind::Descriptors)),
        }
    }

    /// Takes room for a mapping of `bytes`.
    pub fn room_for(&self, bytes: u64) -> Result<[Taken; 2], Violation> {
        let take = |kind, amount| self.account.take(kind, amount).ok_or(Violation::BeyondShare(kind));
        Ok([take(Kind::Memory, bytes)?, take(Kind::Regions, 1)?])
    }

    /// Whether so little of guests before is left that another one may come.
    pub fn has_room(&self) -> bool {
        self.account.taken(Kind::Descriptors) <= LEFT
    }

    /// Closes the file of a region that is mapped now. A file that can be sealed can't be cut short from now on.
    pub fn seal_and_close(&self, file: GuestFd) {
        self.closer.later(SealedWhenDropped(file));
    }
}

/// Sealing waits for whoever changes the file, so it is the closer's as well.
struct SealedWhenDropped(GuestFd);

impl Drop for SealedWhenDropped {
    fn drop(&mut self) {
        // Files of a file system can't be sealed, nor those that are made so.
        let _ = fcntl_add_seals(self.0.as_fd(), SealFlags::SHRINK);
    }
}

/// Descriptors of a guest at most, those that wait to be closed included: two for each of its rings, and what it sends to
/// replace them.
const DESCRIPTORS: u64 = 512;

/// Descriptors of earlier guests that wait to be closed at most, for another one to be let in.
const LEFT: u64 = 128;

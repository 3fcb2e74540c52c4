//! What all kinds of port have in common. A kind is one file or folder beside this one, and a line in `mod.rs`.
//!
//! ```text
//! Settings ──open──▶ Device ──queue──▶ Queue
//! │                  │                 └ what one worker reads and writes: frames, and an event source for mio
//! │                  └ the link, what was changed on the host for it, and the way back
//! └ what the configuration says of it
//! ```
//!
//! A queue needs its device for nothing while frames pass: both have the same open file, so they may be in different
//! threads, or processes.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use packet::{Burst, OffloadSet, PortCounters, Protocol, TxEntry};
use rustix::io::Errno;

use crate::device::netns::{Netns, NetnsId};
use crate::port::error::{Operation, PortError};
use crate::port::outcome::Rx;
use crate::port::parcel::Parcel;
use crate::sys::unix_socket::BoundSocket;

/// Makes a queue of a parcel.
pub type Opener = fn(Parcel) -> io::Result<Box<dyn Queue>>;

/// The settings of a port of one kind.
pub trait Settings: Any + Debug + Send + Sync + Equal {
    /// The word for the kind, as configuration and tables have it.
    fn kind(&self) -> &'static str;

    /// What messages and tables call the port: the name of its device, or the path of its socket.
    fn device(&self) -> Cow<'_, str>;

    /// The network device, if it is one: its name, and the namespace that it is in if that isn't this process's.
    fn network_device(&self) -> Option<(&str, Option<&Netns>)> {
        None
    }

    /// The socket that the switch makes.
    fn socket(&self) -> Option<&Path> {
        None
    }

    /// Whether it has the MTU that its device has, as the settings say none.
    fn has_own_mtu(&self) -> bool {
        false
    }

    /// Whether the host has less of its device as long as it is open.
    fn keeps_host_off(&self) -> bool {
        false
    }

    /// Whether both are the same device, so that an open one goes from these settings to `other` by
    /// [`Device::reconfigure`]. Otherwise it has to be closed and opened anew.
    fn same_device(&self, other: &dyn Settings) -> bool;

    /// Opens the device. Its link may still be down.
    ///
    /// # Errors
    /// It can't be had as configured; the error says what to do.
    fn open(&self) -> Result<Box<dyn Device>, PortError>;
}

impl dyn Settings {
    /// These settings, if they are of the kind that has `T`.
    pub fn of<T: Settings>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }

    /// Whether it is a network device.
    pub fn is_device(&self) -> bool {
        self.network_device().is_some()
    }

    /// The namespace that the network device is in; `None`: this process's.
    pub fn netns(&self) -> Option<&Netns> {
        self.network_device()?.1
    }
}

/// Comparing settings without knowing of which kind they are.
pub trait Equal {
    /// Whether both are of one kind and say the same.
    fn equals(&self, other: &dyn Settings) -> bool;
}

impl<T: Settings + PartialEq> Equal for T {
    fn equals(&self, other: &dyn Settings) -> bool {
        other.of() == Some(self)
    }
}

/// What a port is on the host. Dropped, it gives back what it has found as it was.
pub trait Device: Debug + Send {
    /// Its settings as they are now.
    fn settings(&self) -> &dyn Settings;

    /// Hands out its queue. One that was handed out before is to be dropped.
    ///
    /// # Errors
    /// The process has no memory or descriptors left.
    fn queue(&mut self) -> Result<Box<dyn Queue>, PortError> {
        let device = self.settings().device().into_owned();
        let open = self.opener();
        open(self.parcel()?).map_err(PortError::when(Operation::HandOver, &device))
    }

    /// What its queue is made of, for whoever makes it, in another process too. A queue that was handed out before is to
    /// be dropped.
    ///
    /// # Errors
    /// The process has no descriptors left.
    fn parcel(&mut self) -> Result<Parcel, PortError>;

    /// Makes a queue of a parcel of this kind.
    fn opener(&self) -> Opener;

    /// Connects to the other side, for a queue that [can't](Queue::wants_peer); `None`: it doesn't need that.
    ///
    /// # Errors
    /// There is nobody.
    fn connect(&self) -> Option<io::Result<OwnedFd>> {
        None
    }

    /// Whether the queue is to be made, or made anew: at first, and when a change of settings or a device that came has
    /// made another one of it.
    fn needs_queue(&self) -> bool;

    /// Changes the settings to `wanted`, which [`take_back`](Self::take_back) takes back and [`settle`](Self::settle)
    /// ends. A device whose settings are all that there is to it only says whether it is that.
    ///
    /// # Errors
    /// The system refuses a value, or `wanted` is about another device: see [`Settings::same_device`]. Nothing has
    /// changed then.
    fn reconfigure(&mut self, wanted: &dyn Settings) -> Result<(), PortError> {
        match self.settings().same_device(wanted) {
            true => Ok(()),
            false => Err(PortError::when(Operation::Move, &wanted.device())(Errno::INVAL)),
        }
    }

    /// Takes the last [`reconfigure`](Self::reconfigure) back.
    fn take_back(&mut self) {}

    /// Ends a [`reconfigure`](Self::reconfigure): nothing takes it back any more.
    fn settle(&mut self) {}

    /// Whether this is what `wanted` describes, so that [`reconfigure`](Self::reconfigure) makes it that, also where the
    /// namespace goes by another name.
    fn is(&self, wanted: &dyn Settings) -> bool;

    /// Whether frames can pass as far as the host is concerned: the device is there, is up and has a carrier. Looks for one
    /// that [is missing](Self::lacks_device), which may take a while. A system call or two: not per frame.
    fn link_up(&mut self) -> bool {
        true
    }

    /// Whether it is open without its network device, which can be looked for.
    fn lacks_device(&self) -> bool {
        false
    }

    /// Why the last [`link_up`](Self::link_up) couldn't have the network device that is there.
    fn take_refusal(&mut self) -> Option<PortError> {
        None
    }

    /// The network namespace that the network device is in; `None`: it has none, or that isn't known.
    fn netns(&self) -> Option<NetnsId> {
        None
    }

    /// The MTU of the network device, if the settings say none: 68 at least, as IPv4 has it, and no more than the largest
    /// IP packet takes. A system call.
    fn own_mtu(&self) -> Option<u16> {
        None
    }

    /// The socket that it has made.
    fn socket_mut(&mut self) -> Option<&mut BoundSocket> {
        None
    }

    /// From now on nothing is given back when this is dropped: whoever has been given its descriptors goes on with it.
    fn disarm(&mut self);
}

impl dyn Device + '_ {
    /// Whether it has the network device that `wanted` describes, whatever its namespace is called there.
    pub fn has_device_of(&self, wanted: &dyn Settings) -> bool {
        let ours = self.settings();
        ours.is_device()
            && wanted.is_device()
            && ours.device() == wanted.device()
            && self
                .netns()
                .is_some_and(|netns| NetnsId::find(wanted.netns()).is_ok_and(|other| other == netns))
    }

    /// Whether it has made the socket that `wanted` needs to make: then `step_aside` makes room.
    pub fn has_socket_of(&mut self, wanted: &dyn Settings) -> bool {
        self.socket_mut().is_some_and(|socket| wanted.socket() == Some(socket.path()))
    }

    /// Leaves the path of its socket to another one's. Connections stay.
    ///
    /// # Errors
    /// The file can't be renamed.
    pub fn step_aside(&mut self) -> Result<(), PortError> {
        let Some(socket) = self.socket_mut() else { return Ok(()) };
        let path = socket.path().to_string_lossy().into_owned();
        socket.step_aside().map_err(PortError::when(Operation::Listen, &path))
    }

    /// Takes `step_aside` back.
    pub fn step_back(&mut self) {
        if let Some(socket) = self.socket_mut() {
            // What could be in the way is gone: it was just made and removed by us.
            let _ = socket.step_back();
        }
    }
}

/// What one worker reads and writes. The calls are per burst: below them, each kind has its own loop.
pub trait Queue: Debug + Send {
    /// Appends received frames to `burst` until it is full or the queue is empty. A frame that the queue itself finds bad
    /// is in the burst too, dropped.
    ///
    /// # Errors
    /// The device is gone for good. A link that is down is not an error: there are just no frames.
    fn rx_burst(&mut self, burst: &mut Burst) -> io::Result<Rx>;

    /// Sends the frames of `burst` that are on the list, in that order, and counts each as sent or as dropped. The frames
    /// stay as they are; the headroom before them is overwritten.
    fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters);

    /// Asks for edge-triggered events under `token`: one when frames arrive after [`Rx::Drained`].
    ///
    /// # Errors
    /// The system's limit on watched descriptors is reached, or the queue is registered already.
    fn register(&mut self, registry: &mio::Registry, token: mio::Token) -> io::Result<()>;

    /// Takes [`register`](Self::register) back.
    ///
    /// # Errors
    /// The queue is not registered.
    fn deregister(&mut self, registry: &mio::Registry) -> io::Result<()>;

    /// The kinds of offloaded frame that it takes as they are. Others are segmented and summed here.
    fn offloads(&self) -> OffloadSet;

    /// Whether there is somebody at the other side. Where the queue meets its peer itself, it looks for one now: a system
    /// call or two.
    fn is_connected(&mut self) -> bool {
        true
    }

    /// With `on`, [`rx_burst`](Self::rx_burst) is going to be called all the time, also after [`Rx::Drained`], and there
    /// need be no events. `false` if this kind can't do without. After `off`, call `rx_burst` once more.
    fn set_polled(&mut self, _on: bool) -> bool {
        false
    }

    /// Whether each frame sent is a system call, so that what is at the other side decides how long it takes.
    fn sends_by_call(&self) -> bool {
        true
    }

    /// Counts the frames that the system has dropped since the last call because the queue was full, where it tells. A
    /// system call.
    fn count_missed(&self, _counters: &mut PortCounters) {}

    /// Whether somebody else is to look for the other side: see [`meet`](Self::meet).
    fn wants_peer(&self) -> bool {
        false
    }

    /// Gives it a socket that is connected to the other side: see [`Device::connect`].
    fn meet(&mut self, _socket: OwnedFd) {}

    /// A port number of the address that the switch shares with the host is in use for a guest, or no longer is.
    fn lease(&self, _protocol: Protocol, _port: u16, _is_leased: bool) {}
}

/// An MTU as [`Device::own_mtu`] has it.
pub(crate) fn own_mtu(mtu: u32) -> u16 {
    mtu.clamp(MIN_MTU, u16::MAX.into()) as u16
}

/// RFC 791, 3.2.
const MIN_MTU: u32 = 68;

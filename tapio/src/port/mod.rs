//! A port as the driver sees it. One match per burst; below it, each kind has its own loop.

pub(crate) mod dgram;
pub(crate) mod error;
mod framing;
pub(crate) mod outcome;
pub(crate) mod packet_socket;
pub(crate) mod software_offload;
pub(crate) mod spec;
pub(crate) mod stream;
pub(crate) mod tap;
pub(crate) mod vhost;

use std::io;

use packet::{Burst, DropReason, OffloadSet, PortCounters, TxEntry};

use rustix::io::Errno;

use crate::device::netns::NetnsId;
use crate::port::dgram::{DgramConfig, DgramPort};
use crate::port::error::Operation;
use crate::port::error::PortError;
use crate::port::outcome::Rx;
use crate::port::packet_socket::PacketBefore;
use crate::port::packet_socket::PacketPort;
use crate::port::spec::PortSpec;
use crate::port::stream::StreamPort;
use crate::port::tap::TapBefore;
use crate::port::tap::TapPort;
use crate::port::vhost::VhostUserPort;
use crate::sys::unix_socket::BoundSocket;
use crate::testing::memory::MemoryPort;

/// A port of the switch.
#[derive(Debug)]
pub enum Port {
    /// A tap device.
    Tap(TapPort),
    /// The kernel's side of any network device.
    Packet(PacketPort),
    /// Frames over a connected unix socket.
    Stream(StreamPort),
    /// Frames as datagrams between two unix sockets.
    Dgram(DgramPort),
    /// The network card of a guest, whose memory is shared.
    VhostUser(Box<VhostUserPort>),
    /// One end of a pair in memory, for tests and benchmarks.
    Memory(MemoryPort),
}

/// How a port was before [`Port::reconfigure`].
#[derive(Debug)]
pub struct Before(Settings);

#[derive(Debug)]
enum Settings {
    Tap(TapBefore),
    Packet(PacketBefore),
    Dgram(DgramConfig),
    All,
}

impl Port {
    /// Opens the port that `spec` describes. Its link may still be down.
    ///
    /// # Errors
    /// It can't be had as configured; the error says what to do.
    pub fn open(spec: &PortSpec) -> Result<Self, PortError> {
        match spec {
            PortSpec::Tap(config) => TapPort::open(config).map(Self::Tap),
            PortSpec::Packet(config) => PacketPort::open(config).map(Self::Packet),
            PortSpec::Stream(config) => StreamPort::open(config).map(Self::Stream),
            PortSpec::Dgram(config) => DgramPort::open(config).map(Self::Dgram),
            PortSpec::VhostUser(config) => {
                VhostUserPort::open(config).map(|port| Self::VhostUser(Box::new(port)))
            }
        }
    }

    /// Appends received frames to `burst` until it is full or the queue is empty. A frame that the port itself finds
    /// bad is in the burst too, dropped.
    ///
    /// # Errors
    /// The device is gone for good. A link that is down is not an error: there are just no frames.
    pub fn rx_burst(&mut self, burst: &mut Burst) -> io::Result<Rx> {
        match self {
            Self::Tap(port) => port.rx_burst(burst),
            Self::Packet(port) => Ok(port.rx_burst(burst)),
            Self::Stream(port) => Ok(port.rx_burst(burst)),
            Self::Dgram(port) => Ok(port.rx_burst(burst)),
            Self::VhostUser(port) => Ok(port.rx_burst(burst)),
            Self::Memory(port) => Ok(port.rx_burst(burst)),
        }
    }

    /// Sends the frames of `burst` that are on the port's list, in that order, and counts each as sent or as dropped. The
    /// frames stay as they are; the headroom before them is overwritten.
    pub fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        match self {
            Self::Tap(port) => port.tx_burst(burst, list, counters),
            Self::Packet(port) => port.tx_burst(burst, list, counters),
            Self::Stream(port) => port.tx_burst(burst, list, counters),
            Self::Dgram(port) => port.tx_burst(burst, list, counters),
            Self::VhostUser(port) => port.tx_burst(burst, list, counters),
            Self::Memory(port) => port.tx_burst(burst, list, counters),
        }
    }

    /// Counts the frames that the system has dropped since the last call because the port's queue was full, where it
    /// tells. A system call.
    pub fn count_missed(&self, counters: &mut PortCounters) {
        if let Self::Packet(port) = self {
            counters.drops.count_many(DropReason::RxQueueFull, port.missed().into());
        }
    }

    /// The kinds of offloaded frame that the port takes as they are. Others are segmented and summed here.
    pub fn offloads(&self) -> OffloadSet {
        match self {
            Self::Tap(port) => port.offloads(),
            Self::Packet(_) => OffloadSet::ALL,
            Self::Stream(_) | Self::Dgram(_) => OffloadSet::NONE,
            Self::VhostUser(port) => port.offloads(),
            Self::Memory(port) => port.offloads(),
        }
    }

    /// Asks for edge-triggered events under `token`: one when frames arrive after [`Rx::Drained`].
    ///
    /// # Errors
    /// The system's limit on watched descriptors is reached, or the port is registered already.
    pub fn register(&mut self, registry: &mio::Registry, token: mio::Token) -> io::Result<()> {
        match self {
            Self::Tap(port) => port.register(registry, token),
            Self::Packet(port) => port.register(registry, token),
            Self::Stream(port) => port.register(registry, token),
            Self::Dgram(port) => port.register(registry, token),
            Self::VhostUser(port) => port.register(registry, token),
            Self::Memory(port) => port.register(registry, token),
        }
    }

    /// Takes [`register`](Self::register) back.
    ///
    /// # Errors
    /// The port is not registered.
    pub fn deregister(&mut self, registry: &mio::Registry) -> io::Result<()> {
        match self {
            Self::Tap(port) => port.deregister(registry),
            Self::Packet(port) => port.deregister(),
            Self::Stream(port) => port.deregister(),
            Self::Dgram(port) => port.deregister(),
            Self::VhostUser(port) => port.deregister(),
            Self::Memory(port) => port.deregister(registry),
        }
    }

    /// Changes the settings of the live port to those of `spec`. What comes back takes it back; [`settle`](Self::settle)
    /// ends it. A port whose settings are all that there is to it only says whether it is that.
    ///
    /// # Errors
    /// The system refuses a value, or `spec` is about another device: see [`PortSpec::same_device`]. Nothing has changed
    /// then.
    pub fn reconfigure(&mut self, spec: &PortSpec) -> Result<Before, PortError> {
        Ok(Before(match (self, spec) {
            (Self::Tap(port), PortSpec::Tap(config)) => Settings::Tap(port.reconfigure(config)?),
            (Self::Packet(port), PortSpec::Packet(config)) => Settings::Packet(port.reconfigure(config)?),
            (Self::Dgram(port), PortSpec::Dgram(config)) => {
                let before = port.config().clone();
                port.reconfigure(config);
                Settings::Dgram(before)
            }
            (Self::Stream(port), PortSpec::Stream(config)) if port.config() == config => Settings::All,
            (_, _) => return Err(PortError::when(Operation::Move, &spec.device())(Errno::INVAL)),
        }))
    }

    /// Takes a [`reconfigure`](Self::reconfigure) back.
    pub fn take_back(&mut self, Before(before): Before) {
        match (self, before) {
            (Self::Tap(port), Settings::Tap(before)) => port.take_back(before),
            (Self::Packet(port), Settings::Packet(before)) => port.take_back(before),
            (Self::Dgram(port), Settings::Dgram(config)) => port.reconfigure(&config),
            (_, _) => {}
        }
    }

    /// Ends a [`reconfigure`](Self::reconfigure): nothing takes it back any more.
    pub fn settle(&mut self) {
        if let Self::Tap(port) = self {
            port.settle();
        }
    }

    /// Whether this is what `spec` describes, so that [`reconfigure`](Self::reconfigure) makes it that, also where the
    /// namespace goes by another name. A vhost-user port never is: its guest's connection belongs to it.
    pub fn is(&self, spec: &PortSpec) -> bool {
        match (self, spec) {
            (Self::Tap(_), PortSpec::Tap(_)) => self.has_device_of(spec),
            (Self::Packet(port), PortSpec::Packet(config)) => {
                port.can_become(config) && self.has_device_of(spec)
            }
            (Self::Stream(port), PortSpec::Stream(config)) => port.config() == config,
            (Self::Dgram(port), PortSpec::Dgram(config)) => port.config().path == config.path,
            (_, _) => false,
        }
    }

    /// Whether the port has the device that `spec` describes, whatever its namespace is called there.
    pub fn has_device_of(&self, spec: &PortSpec) -> bool {
        let device = match self {
            Self::Tap(port) => port.device(),
            Self::Packet(port) => port.device(),
            _ => return false,
        };
        spec.is_device()
            && spec.device() == device
            && self.netns().is_some_and(|netns| NetnsId::find(spec.netns()).is_ok_and(|other| other == netns))
    }

    /// Whether the port has made the socket that `spec` needs to make: then [`step_aside`](Self::step_aside) makes room.
    pub fn has_socket_of(&mut self, spec: &PortSpec) -> bool {
        self.socket_mut().is_some_and(|socket| spec.socket() == Some(socket.path()))
    }

    /// Leaves the path of the socket that the port has made to another port's. Connections stay.
    ///
    /// # Errors
    /// The file can't be renamed.
    pub fn step_aside(&mut self) -> Result<(), PortError> {
        let Some(socket) = self.socket_mut() else { return Ok(()) };
        let path = socket.path().to_string_lossy().into_owned();
        socket.step_aside().map_err(PortError::when(Operation::Listen, &path))
    }

    /// Takes [`step_aside`](Self::step_aside) back.
    pub fn step_back(&mut self) {
        if let Some(socket) = self.socket_mut() {
            // What could be in the way is gone: it was just made and removed by us.
            let _ = socket.step_back();
        }
    }

    fn socket_mut(&mut self) -> Option<&mut BoundSocket> {
        match self {
            Self::Stream(port) => port.listener_mut(),
            Self::Dgram(port) => Some(port.socket_mut()),
            Self::VhostUser(port) => port.listener_mut(),
            Self::Tap(_) | Self::Packet(_) | Self::Memory(_) => None,
        }
    }

    /// The network namespace that its device is in; `None`: it has no device, or that isn't known.
    pub fn netns(&self) -> Option<NetnsId> {
        match self {
            Self::Tap(port) => port.netns(),
            Self::Packet(port) => port.netns(),
            _ => None,
        }
    }

    /// With `on`, [`rx_burst`](Self::rx_burst) is going to be called all the time, also after [`Rx::Drained`], and there
    /// need be no events. `false` if this kind of port can't do without. After `off`, call `rx_burst` once more.
    pub fn set_polled(&mut self, on: bool) -> bool {
        match self {
            Self::VhostUser(port) => port.set_polled(on),
            _ => return false,
        }
        true
    }

    /// Whether each frame sent is a system call, so that what is at the other side decides how long it takes.
    pub const fn sends_by_call(&self) -> bool {
        !matches!(self, Self::VhostUser(_) | Self::Memory(_))
    }

    /// Why the last [`link_up`](Self::link_up) couldn't have the device that is there.
    pub fn take_refusal(&mut self) -> Option<PortError> {
        match self {
            Self::Packet(port) => port.take_refusal(),
            _ => None,
        }
    }

    /// The MTU of its device, if the port's settings say none: 68 at least, as IPv4 has it, and no more than the largest IP
    /// packet takes. A system call.
    pub fn own_mtu(&self) -> Option<u16> {
        let mtu = match self {
            Self::Tap(port) => port.own_mtu(),
            Self::Packet(port) => port.own_mtu(),
            _ => None,
        };
        mtu.map(|mtu| mtu.clamp(MIN_MTU, u16::MAX.into()) as u16)
    }

    /// Whether frames can pass: the device exists, is up and has a carrier, or a peer is connected. A port that looks
    /// for its other side itself does so now. A system call or two: not per frame.
    ///
    /// Looks for a device that [is missing](Self::lacks_device), which may take a while.
    pub fn link_up(&mut self) -> bool {
        match self {
            Self::Tap(port) => port.link_up(),
            Self::Packet(port) => port.link_up(),
            Self::Stream(port) => port.link_up(),
            Self::Dgram(port) => port.link_up(),
            Self::VhostUser(port) => port.link_up(),
            Self::Memory(_) => true,
        }
    }

    /// Whether the port is open without its device, which can be looked for.
    pub fn lacks_device(&self) -> bool {
        matches!(self, Self::Packet(port) if port.lacks_device())
    }
}

/// RFC 791, 3.2.
const MIN_MTU: u32 = 68;

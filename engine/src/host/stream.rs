//! One TCP connection of the switch itself, for messages behind their length, as DNS has them: RFC 1035, 4.2.2; RFC 7766.
//!
//! smoltcp has the state machine; each connection is a host of its own to it, so that nothing of one is another's.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddrV4;

use packet::checksum::Sum;
use packet::wire::EthernetHeader;
use packet::{Ipv4Packet, Millis, Offload};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Checksum, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

/// A connection.
pub(super) struct Stream {
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    wire: Wire,
    /// What came and isn't a whole message yet.
    received: Vec<u8>,
    /// What the socket has no room for yet.
    unsent: Vec<u8>,
    /// Whether the other side has said that it sends no more, or isn't to send more.
    is_ending: bool,
}

impl Stream {
    /// A connection that waits for a SYN to `own`.
    pub(super) fn listen(own: SocketAddrV4, mtu: u16, random: u64, now: Millis) -> Self {
        let mut stream = Self::new(own, mtu, random, now);
        // A port that isn't 0 can be listened on.
        let _ = stream.sockets.get_mut::<tcp::Socket<'_>>(stream.socket).listen(own.port());
        stream
    }

    /// A connection from `own` to `remote`; its SYN is among the first frames.
    pub(super) fn connect(
        own: SocketAddrV4,
        remote: SocketAddrV4,
        mtu: u16,
        random: u64,
        now: Millis,
    ) -> Self {
        let mut stream = Self::new(own, mtu, random, now);
        let Self { interface, sockets, socket, .. } = &mut stream;
        let remote = (IpAddress::Ipv4(*remote.ip()), remote.port());
        // Neither address is unspecified.
        let _ = sockets.get_mut::<tcp::Socket<'_>>(*socket).connect(interface.context(), remote, own.port());
        stream
    }

    fn new(own: SocketAddrV4, mtu: u16, random: u64, now: Millis) -> Self {
        let mut wire = Wire { mtu, ..Wire::default() };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = random;
        let mut interface = Interface::new(config, &mut wire, instant(now));
        interface.update_ip_addrs(|addresses| {
            // The list is empty.
            let _ = addresses.push(IpCidr::new(IpAddress::Ipv4(*own.ip()), 32));
        });
        // Whoever sends the frames knows the way. The table is empty.
        let _ = interface.routes_mut().add_default_ipv4_route(*own.ip());
        let buffer = |size| tcp::SocketBuffer::new(vec![0; size]);
        let mut socket = tcp::Socket::new(buffer(RECEIVE_BUFFER), buffer(SEND_BUFFER));
        socket.set_timeout(Some(Duration::from_millis(PATIENCE.get())));
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let socket = sockets.add(socket);
        let (received, unsent) = (Vec::new(), Vec::new());
        Self { interface, sockets, socket, wire, received, unsent, is_ending: false }
    }

    /// Takes the packet of a frame that came for this connection. What isn't summed right is as good as lost.
    pub(super) fn take(&mut self, packet: &[u8], offload: Offload) {
        if is_right(packet, offload).unwrap_or(false) && self.wire.arrived.len() < QUEUE {
            self.wire.arrived.push_back(packet.to_vec());
        }
    }

    /// Says a message.
    pub(super) fn send(&mut self, message: &[u8]) {
        let Ok(length) = u16::try_from(message.len()) else { return };
        self.unsent.extend_from_slice(&length.to_be_bytes());
        self.unsent.extend_from_slice(message);
    }

    /// A message that the other side has said.
    pub(super) fn receive(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(u16::from_be_bytes([*self.received.first()?, *self.received.get(1)?]));
        let message = self.received.get(2..2 + length)?.to_vec();
        self.received.drain(..2 + length);
        Some(message)
    }

    /// Says goodbye, once everything is sent.
    pub(super) fn close(&mut self) {
        self.is_ending = true;
    }

    /// Does what is due. [`frames`](Self::frames) then has what is to be sent.
    pub(super) fn go_on(&mut self, now: Millis) {
        for _ in 0..ROUNDS {
            let before = (self.received.len(), self.unsent.len());
            self.interface.poll(instant(now), &mut self.wire, &mut self.sockets);
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.socket);
            if socket.can_recv() && self.received.len() <= LONGEST {
                let received = &mut self.received;
                // It can receive.
                let _ = socket.recv(|bytes| {
                    received.extend_from_slice(bytes);
                    (bytes.len(), ())
                });
            }
            if socket.can_send() && !self.unsent.is_empty() {
                let sent = socket.send_slice(&self.unsent).unwrap_or(0);
                self.unsent.drain(..sent);
            }
            let is_done = self.unsent.is_empty() && (self.is_ending || !socket.may_recv());
            if is_done && socket.may_send() && !socket.can_recv() && socket.state() != tcp::State::SynReceived
            {
                socket.close();
            }
            if (self.received.len(), self.unsent.len()) == before && self.wire.arrived.is_empty() {
                break;
            }
        }
        self.interface.poll(instant(now), &mut self.wire, &mut self.sockets);
    }

    /// Packets to be sent, behind room for an Ethernet header.
    pub(super) fn frames(&mut self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.wire.departing.drain(..)
    }

    /// Whether nothing will come or go any more.
    pub(super) fn is_over(&self) -> bool {
        let socket = self.sockets.get::<tcp::Socket<'_>>(self.socket);
        matches!(socket.state(), tcp::State::Closed | tcp::State::TimeWait | tcp::State::Listen)
    }

    /// When [`go_on`](Self::go_on) has something to do.
    pub(super) fn next_timeout(&mut self, now: Millis) -> Option<Millis> {
        let at = self.interface.poll_at(instant(now), &self.sockets)?;
        Some(Millis::new(at.total_millis().max(0) as u64).max(now))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.sockets.get::<tcp::Socket<'_>>(self.socket).state();
        f.debug_struct("Stream").field("state", &state).finish_non_exhaustive()
    }
}

/// The frames of a connection.
#[derive(Default)]
struct Wire {
    mtu: u16,
    arrived: VecDeque<Vec<u8>>,
    departing: VecDeque<Vec<u8>>,
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Departing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Departing<'_>)> {
        let packet = self.arrived.pop_front()?;
        Some((Arrived(packet), Departing(&mut self.departing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Departing<'_>> {
        (self.departing.len() < QUEUE).then_some(Departing(&mut self.departing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(self.mtu);
        // What arrives was summed already, or needn't be.
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities
    }
}

struct Arrived(Vec<u8>);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Departing<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::TxToken for Departing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; EthernetHeader::LEN + length];
        let outcome = write(&mut frame[EthernetHeader::LEN..]);
        frame[12..EthernetHeader::LEN].copy_from_slice(&[0x08, 0x00]);
        self.0.push_back(frame);
        outcome
    }
}

/// Whether a packet's segment is summed right, or need not be.
fn is_right(packet: &[u8], offload: Offload) -> Option<bool> {
    let ip = Ipv4Packet::parse(packet).ok()?;
    let segment = packet.get(usize::from(ip.header_len)..usize::from(ip.total_len))?;
    let pseudo = Sum::pseudo_header_v4(ip.src, ip.dst, ip.protocol.0, segment.len() as u16);
    let needs_none = offload.needs_checksum || offload.checksum_valid;
    Some(needs_none || pseudo.add(Sum::of(segment)).checksum() == 0)
}

fn instant(now: Millis) -> Instant {
    Instant::from_millis(i64::try_from(now.get()).unwrap_or(i64::MAX))
}

/// Without a word from the other side: RFC 7766, 6.2.3, has seconds.
const PATIENCE: Millis = Millis::from_secs(10);
/// Questions are short.
const RECEIVE_BUFFER: usize = 4096;
const SEND_BUFFER: usize = 8192;
/// The longest message with its length.
const LONGEST: usize = 2 + u16::MAX as usize;
/// Frames at once, either way.
const QUEUE: usize = 32;
/// How often what came is looked at in one go.
const ROUNDS: usize = 16;

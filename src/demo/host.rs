//! A host of the demo: a network namespace, and what is done in it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use packet::{Ipv4Cidr, checksum};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use tapio::{Links, NetnsHandle};

use super::dhcp::{self, Lease};
use super::traffic::PATIENCE;

/// The name of each host's network device. It is the other side of a tap of the switch, which makes it.
pub const DEVICE: &str = "eth0";

/// A network namespace without a name; it ends with this value.
pub struct Host {
    netns: NetnsHandle,
}

impl Host {
    /// An empty host.
    ///
    /// # Errors
    /// The process may not make namespaces.
    pub fn new() -> io::Result<Self> {
        let host = Self { netns: NetnsHandle::anonymous()? };
        host.enter(|| Links::open()?.set_up("lo"))?;
        Ok(host)
    }

    /// How the configuration names this host.
    pub fn netns(&self) -> String {
        self.netns.netns().to_string()
    }

    /// Gets a lease by DHCP and sets the device up with it.
    ///
    /// # Errors
    /// The device isn't there, or nobody answers.
    pub fn configure_by_dhcp(&self) -> io::Result<Lease> {
        let lease = self.enter(|| {
            // Some distributions make every namespace refuse packets from where it has no route to.
            for which in ["all", DEVICE] {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{which}/rp_filter"), "0")?;
            }
            let links = Links::open()?;
            links.set_up(DEVICE)?;
            dhcp::lease(DEVICE, links.find(DEVICE)?.mac)
        })?;
        self.configure(lease.address, lease.router)?;
        Ok(lease)
    }

    /// Brings the device up with this address, and routes everything else to `router`.
    ///
    /// # Errors
    /// The device isn't there, or the settings contradict each other.
    pub fn configure(&self, address: Ipv4Cidr, router: Option<Ipv4Addr>) -> io::Result<()> {
        self.enter(|| {
            let links = Links::open()?;
            links.set_up(DEVICE)?;
            links.add_address(links.find(DEVICE)?.index, address)?;
            router.map_or(Ok(()), |router| links.add_default_route(router))
        })
    }

    /// Succeeds if the switch has taken the device away.
    ///
    /// # Errors
    /// It is still there.
    pub fn expect_no_device(&self) -> io::Result<()> {
        match self.enter(|| Links::open()?.find(DEVICE)) {
            Ok(_) => Err(io::Error::other(format!("{DEVICE} is still there"))),
            Err(_) => Ok(()),
        }
    }

    /// The median round-trip time of some echo requests.
    ///
    /// # Errors
    /// They are not answered in time.
    pub fn ping(&self, target: Ipv4Addr) -> io::Result<Duration> {
        let socket = self.enter(|| {
            let (family, kind) = (AddressFamily::INET, SocketType::RAW);
            let icmp = socket_with(family, kind, SocketFlags::CLOEXEC, Some(ipproto::ICMP));
            // Not UDP, but the standard library's type for any datagram socket with timeouts.
            Ok(UdpSocket::from(icmp?))
        })?;
        socket.connect((target, 0))?;
        let deadline = Instant::now() + PATIENCE;
        // The first one also waits for ARP.
        await_echo(&socket, 0, deadline)?;
        let mut times = Vec::new();
        for sequence in 1..=PINGS {
            times.push(await_echo(&socket, sequence, deadline)?);
        }
        times.sort_unstable();
        Ok(times[times.len() / 2])
    }

    /// A TCP server.
    ///
    /// # Errors
    /// The port is taken.
    pub fn listen(&self, port: u16) -> io::Result<TcpListener> {
        self.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
    }

    /// A TCP connection to `server`.
    ///
    /// # Errors
    /// Nobody listens there, or nothing comes back.
    pub fn connect(&self, server: SocketAddrV4) -> io::Result<TcpStream> {
        let stream = self.enter(|| TcpStream::connect_timeout(&server.into(), PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn enter<T: Send>(&self, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        self.netns.enter(f)?
    }
}

/// Sends an echo request, again if need be, and returns how long the answer took.
fn await_echo(socket: &UdpSocket, sequence: u16, deadline: Instant) -> io::Result<Duration> {
    let mut buffer = [0; 1500];
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    while Instant::now() < deadline {
        let sent = Instant::now();
        socket.send(&echo_request(sequence))?;
        match socket.recv(&mut buffer) {
            Ok(len) if is_reply(&buffer[..len], sequence) => return Ok(sent.elapsed()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer to ping"))
}

/// RFC 792, with the identifier of this demo. Its namespaces have no other sender.
fn echo_request(sequence: u16) -> Vec<u8> {
    let [high, low] = sequence.to_be_bytes();
    let mut message = [&[8, 0, 0, 0, IDENTIFIER[0], IDENTIFIER[1], high, low], &[0x55; 48][..]].concat();
    let checksum = checksum::of(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// Whether an IPv4 packet, as raw sockets get it, is the reply to that request.
fn is_reply(packet: &[u8], sequence: u16) -> bool {
    let message = packet.first().and_then(|first| packet.get(usize::from(first & 0xf) * 4..));
    let reply = [&[0, 0], IDENTIFIER.as_slice(), &sequence.to_be_bytes()].concat();
    // Type and code, then, behind the checksum, identifier and sequence number.
    message.is_some_and(|m| m.len() >= 8 && m[..2] == reply[..2] && m[4..8] == reply[2..])
}

const IDENTIFIER: [u8; 2] = *b"ts";
const PINGS: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use packet::builder::eth;

    #[test]
    fn a_reply_is_told_from_requests_other_sequence_numbers_and_junk() {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let identifier = u16::from_be_bytes(IDENTIFIER);
        let reply = eth().ipv4(a, b).icmp_echo_reply(identifier, 3).payload(&[0x55; 48]);
        assert!(is_reply(&reply[14..], 3));
        assert!(!is_reply(&reply[14..], 4));
        let request = eth().ipv4(a, b).icmp_echo(identifier, 3).payload(&[0x55; 48]);
        assert!(!is_reply(&request[14..], 3));
        assert_eq!(echo_request(3), request[34..]);
        for len in 0..28 {
            assert!(!is_reply(&reply[14..14 + len], 3));
        }
    }
}

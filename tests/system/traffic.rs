//! Traffic with content that is checked byte by byte.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, Protocol, SocketType};

use crate::host::Host;

/// How long a socket may stay silent.
const SILENCE: Duration = Duration::from_secs(10);
/// How long an exchange may take.
const LIMIT: Duration = Duration::from_mins(1);

/// A socket address from text.
pub fn at(address: &str) -> SocketAddrV4 {
    address.parse().expect("an address and port")
}

/// A server in `host`, and whoever it has served.
pub struct TcpServer(TcpListener);

impl TcpServer {
    /// Listens on `address` of `host`.
    #[track_caller]
    pub fn listen(host: &Host, address: &str) -> Self {
        let listener = host.enter(|| TcpListener::bind(address)).expect("the address is the host's");
        listener.set_nonblocking(true).expect("a listener can");
        Self(listener)
    }

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let start = Instant::now();
        loop {
            match self.0.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(false)?;
                    return Ok((stream, peer));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && start.elapsed() < SILENCE => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A client in `host` connects to `address`; both sides send `bytes` at once and check what they get.
    /// Returns the client's address as the server saw it.
    #[track_caller]
    pub fn exchange(&self, host: &Host, address: &str, bytes: u64) -> SocketAddr {
        let Connection { client, server, peer } = self.connect(host, address);
        thread::scope(|scope| {
            let tasks = [
                scope.spawn(|| send(&client, 1, bytes)),
                scope.spawn(|| receive(&client, 2, bytes)),
                scope.spawn(|| send(&server, 2, bytes)),
                scope.spawn(|| receive(&server, 1, bytes)),
            ];
            let names = ["client sends", "client receives", "server sends", "server receives"];
            for (name, task) in names.into_iter().zip(tasks) {
                let result = task.join().expect("tasks don't panic");
                result.unwrap_or_else(|error| panic!("{name} (the server saw {peer}): {error}"));
            }
        });
        peer
    }

    /// A client in `host` connects to `address`; the connection stays open.
    #[track_caller]
    pub fn connect(&self, host: &Host, address: &str) -> Connection {
        let connect = || TcpStream::connect_timeout(&address.parse().expect("an address and port"), SILENCE);
        let client = host.enter(connect).unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        let (server, peer) = self.accept().expect("the client connected");
        Connection { client, server, peer }
    }
}

/// Both ends of an open connection, and the client's address as the server sees it.
pub struct Connection {
    client: TcpStream,
    server: TcpStream,
    peer: SocketAddr,
}

impl Connection {
    /// The client sends; the server checks what it gets.
    #[track_caller]
    pub fn client_speaks(&self) {
        pass(&self.client, &self.server, 10, Duration::ZERO).expect("the connection lives");
    }

    /// The server sends; the client checks what it gets.
    #[track_caller]
    pub fn server_speaks(&self) {
        pass(&self.server, &self.client, 10, Duration::ZERO).expect("the connection lives");
    }

    /// The client gives up with a reset, while its last data is under way.
    pub fn client_aborts(self) -> io::Result<()> {
        abort(self.client)
    }

    /// As [`client_aborts`](Self::client_aborts).
    pub fn server_aborts(self) -> io::Result<()> {
        abort(self.server)
    }

    /// The client closes without having read what the server sent, which its kernel answers with a reset.
    pub fn client_closes_on_unread_data(self) -> io::Result<()> {
        (&self.server).write_all(&[7; 1000])?;
        self.client.peek(&mut [0]).map(drop)
    }

    /// The client's address as the server sees it.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// For `time` at least, both sides send without haste and check what they get.
    pub fn chat(&self, time: Duration) -> io::Result<()> {
        const PAUSE: Duration = Duration::from_millis(5);
        let chunks = (time.as_millis() / PAUSE.as_millis()) as u64;
        thread::scope(|scope| {
            let outward = scope.spawn(|| pass(&self.client, &self.server, chunks, PAUSE));
            pass(&self.server, &self.client, chunks, PAUSE)?;
            outward.join().expect("tasks don't panic")
        })
    }
}

fn abort(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(&[7; 20_000])?;
    Ok(set_socket_linger(&stream, Some(Duration::ZERO))?)
}

/// `from` sends chunks, with pauses between them, and `to` checks them.
fn pass(mut from: &TcpStream, mut to: &TcpStream, chunks: u64, pause: Duration) -> io::Result<()> {
    const CHUNK: usize = 20_000;
    from.set_write_timeout(Some(SILENCE))?;
    to.set_read_timeout(Some(SILENCE))?;
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            (0..chunks).try_for_each(|chunk| {
                thread::sleep(pause);
                from.write_all(&Content::bytes(chunk, CHUNK))
            })
        });
        let mut got = vec![0; CHUNK];
        for chunk in 0..chunks {
            to.read_exact(&mut got)?;
            if got != Content::bytes(chunk, CHUNK) {
                return Err(io::Error::other(format!("wrong content in chunk {chunk}")));
            }
        }
        sender.join().expect("tasks don't panic")
    })
}

/// Whether a client in `host` can connect to `address`, and why not.
pub fn try_connect(host: &Host, address: &str) -> io::Result<TcpStream> {
    host.enter(|| TcpStream::connect_timeout(&at(address).into(), Duration::from_secs(2)))
}

fn send(mut stream: &TcpStream, seed: u64, bytes: u64) -> io::Result<()> {
    stream.set_write_timeout(Some(SILENCE))?;
    let mut content = Content::new(seed);
    let start = Instant::now();
    let mut left = bytes;
    let mut buffer = [0; 1 << 16];
    while left > 0 {
        let chunk = &mut buffer[..left.min(1 << 16) as usize];
        content.fill(chunk);
        stream.write_all(chunk)?;
        left -= chunk.len() as u64;
        in_time(start)?;
    }
    stream.shutdown(Shutdown::Write)
}

fn receive(mut stream: &TcpStream, seed: u64, bytes: u64) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut content = Content::new(seed);
    let start = Instant::now();
    let mut got = 0;
    let (mut buffer, mut expected) = ([0; 1 << 16], [0; 1 << 16]);
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        content.fill(&mut expected[..n]);
        if let Some(place) = (0..n).find(|&i| buffer[i] != expected[i]) {
            return Err(io::Error::other(format!("wrong content at byte {}", got + place as u64)));
        }
        got += n as u64;
        in_time(start)?;
    }
    if got == bytes { Ok(()) } else { Err(io::Error::other(format!("{got} bytes of {bytes} came"))) }
}

fn in_time(start: Instant) -> io::Result<()> {
    if start.elapsed() < LIMIT { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
}

/// A UDP socket in `host`, bound to `address`.
#[track_caller]
pub fn udp(host: &Host, address: &str) -> UdpSocket {
    let socket = host.enter(|| UdpSocket::bind(address)).expect("the address is the host's");
    socket.set_read_timeout(Some(Duration::from_secs(3))).expect("more than zero");
    socket
}

/// A UDP-Lite socket in `host`, bound to `address`; `None` where the kernel has no UDP-Lite.
#[track_caller]
pub fn udp_lite(host: &Host, address: &str) -> Option<UdpSocket> {
    let protocol = NonZero::new(packet::Protocol::UDP_LITE.0.into()).map(Protocol::from_raw);
    let socket = host.enter(|| rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, protocol)).ok()?;
    rustix::net::bind(&socket, &at(address)).expect("the address is the host's");
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(Duration::from_secs(3))).expect("more than zero");
    Some(socket)
}

/// `from` sends `len` bytes to `address`, `to` must receive them unharmed and answers; `from` must receive the
/// answer, from where it had sent to. Returns `from`'s address as `to` saw it.
#[track_caller]
pub fn udp_exchange(from: &UdpSocket, to: &UdpSocket, address: &str, len: usize) -> SocketAddr {
    let address = SocketAddr::V4(at(address));
    let mut buffer = vec![0; 1 << 16];
    let question = Content::bytes(len as u64, len);
    from.send_to(&question, address).expect("the datagram leaves");
    let (n, peer) =
        to.recv_from(&mut buffer).unwrap_or_else(|error| panic!("{len} bytes to {address}: {error}"));
    assert!(buffer[..n] == question, "{n} other bytes came than the {len} sent");
    let answer = Content::bytes(!(len as u64), len);
    to.send_to(&answer, peer).expect("the answer leaves");
    let (n, source) =
        from.recv_from(&mut buffer).unwrap_or_else(|error| panic!("answer of {len} bytes: {error}"));
    assert_eq!(source, address, "the answer came from elsewhere");
    assert!(buffer[..n] == answer, "{n} other bytes came than the {len} of the answer");
    peer
}

/// A reproducible stream of bytes in which nothing repeats within reach, so that lost, doubled and swapped pieces show.
struct Content {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl Content {
    fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, word: [0; 8], used: 8 }
    }

    fn bytes(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        Self::new(seed).fill(&mut bytes);
        bytes
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.word.len() {
                // Marsaglia's xorshift64.
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                self.word = self.state.to_le_bytes();
                self.used = 0;
            }
            *byte = self.word[self.used];
            self.used += 1;
        }
    }
}

//! TCP with content that is checked, and TCP as fast as it goes. Nothing here waits longer than [`PATIENCE`].

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// No connect, accept, read or write takes longer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the client's connection.
pub type Connect<'a> = &'a (dyn Fn() -> io::Result<TcpStream> + Sync);

/// What arrived at the server.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// How much.
    pub bytes: u64,
    /// Where it came from, as the server sees it.
    pub from: SocketAddrV4,
    /// From the client's connect to the last byte.
    pub took: Duration,
}

impl Arrived {
    /// Gigabits per second.
    pub fn gbit_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.took.as_secs_f64() / 1e9
    }
}

/// Sends `bytes` (rounded up to whole blocks) to the server, which compares each with what was to come.
///
/// # Errors
/// There is no connection, it stalled or broke, or something else arrived.
pub fn transfer(listener: &TcpListener, client: Connect<'_>, bytes: u64) -> io::Result<Arrived> {
    let blocks = bytes.div_ceil(BLOCK as u64);
    let send = |mut stream: &TcpStream| {
        let mut content = Content::new();
        (0..blocks).try_for_each(|number| stream.write_all(content.block(number)))
    };
    exchange(listener, client, send, |stream| check(stream, blocks))
}

/// Sends for `duration`; the server counts.
///
/// # Errors
/// There is no connection, or it stalled or broke.
pub fn flood(listener: &TcpListener, client: Connect<'_>, duration: Duration) -> io::Result<Arrived> {
    let send = |mut stream: &TcpStream| {
        let (start, zeros) = (Instant::now(), vec![0; BLOCK]);
        while start.elapsed() < duration {
            stream.write_all(&zeros)?;
        }
        Ok(())
    };
    exchange(listener, client, send, |stream| count(stream))
}

/// Runs a client that only sends and a server that only receives, side by side.
fn exchange(
    listener: &TcpListener,
    client: Connect<'_>,
    send: impl FnOnce(&TcpStream) -> io::Result<()> + Send,
    receive: impl FnOnce(&TcpStream) -> io::Result<u64>,
) -> io::Result<Arrived> {
    let start = Instant::now();
    let (sent, received) = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let stream = client()?;
            send(&stream)?;
            stream.shutdown(Shutdown::Write)
        });
        let received = accept(listener).and_then(|(stream, from)| {
            let bytes = receive(&stream)?;
            Ok(Arrived { bytes, from, took: start.elapsed() })
        });
        (client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), received)
    });
    // If both failed, the client knows better why.
    sent.and(received).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, format!("nothing moved for {} s", PATIENCE.as_secs()))
        }
        _ => error,
    })
}

/// Reads so many blocks, and compares them with what they should be.
fn check(mut stream: impl Read, blocks: u64) -> io::Result<u64> {
    let (mut content, mut arrived) = (Content::new(), vec![0; BLOCK]);
    for number in 0..blocks {
        stream.read_exact(&mut arrived)?;
        if arrived != content.block(number) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the content changed on the way"));
        }
    }
    Ok(blocks * BLOCK as u64)
}

/// Reads to the end.
fn count(mut stream: impl Read) -> io::Result<u64> {
    let (mut buffer, mut bytes) = (vec![0; BLOCK], 0);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(bytes),
            len => bytes += len as u64,
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddrV4)> {
    set_socket_timeout(listener, Timeout::Recv, Some(PATIENCE))?;
    match listener.accept()? {
        (stream, SocketAddr::V4(from)) => {
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok((stream, from))
        }
        _ => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

/// Bytes of which no two blocks are alike, so that what is lost, doubled or moved shows.
struct Content(Vec<u8>);

impl Content {
    fn new() -> Self {
        let mut state = 1u64;
        let mut next = || {
            // A full-period generator; constants by Knuth.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        Self((0..BLOCK).map(|_| next()).collect())
    }

    fn block(&mut self, number: u64) -> &[u8] {
        self.0[..8].copy_from_slice(&number.to_be_bytes());
        &self.0
    }
}

const BLOCK: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn what_is_sent_arrives_whole_and_from_the_client() {
        let (listener, address) = loopback();
        let arrived = transfer(&listener, &|| TcpStream::connect(address), 1_000_000).unwrap();
        assert_eq!(arrived.bytes, 8 * BLOCK as u64);
        assert!(arrived.from.ip().is_loopback());
    }

    #[test]
    fn a_changed_byte_a_swapped_block_and_a_missing_end_are_noticed() {
        let mut content = Content::new();
        let sent = [content.block(0).to_vec(), content.block(1).to_vec()].concat();
        assert_eq!(check(&sent[..], 2).unwrap(), sent.len() as u64);
        let mut changed = sent.clone();
        changed[BLOCK + 9] ^= 1;
        let swapped = [&sent[BLOCK..], &sent[..BLOCK]].concat();
        for (arrived, kind) in [
            (&changed[..], io::ErrorKind::InvalidData),
            (&swapped, io::ErrorKind::InvalidData),
            (&sent[1..], io::ErrorKind::InvalidData),
            (&sent[..sent.len() - 1], io::ErrorKind::UnexpectedEof),
        ] {
            assert_eq!(check(arrived, 2).unwrap_err().kind(), kind);
        }
    }
}

//! One question, and the socket that it was asked by.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use engine::report::HostQuestion;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};

/// A question that isn't answered yet.
pub(super) struct Asked {
    question: HostQuestion,
    socket: Socket,
    until: Instant,
}

enum Socket {
    Datagrams(UdpSocket),
    /// What is still to be said, and what was heard, each with its length in front.
    Stream {
        stream: TcpStream,
        unsent: Vec<u8>,
        heard: Vec<u8>,
    },
}

impl Asked {
    /// Asks. The port is one that the kernel chooses, at random.
    pub(super) fn new(
        question: HostQuestion,
        registry: &Registry,
        token: Token,
        until: Instant,
    ) -> io::Result<Self> {
        let any: SocketAddr = match question.server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = if question.by_tcp {
            let mut stream = TcpStream::connect(question.server)?;
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            let length = (question.message.len() as u16).to_be_bytes();
            let unsent = [&length, question.message.as_slice()].concat();
            Socket::Stream { stream, unsent, heard: Vec::new() }
        } else {
            let mut socket = UdpSocket::bind(any)?;
            socket.connect(question.server)?;
            registry.register(&mut socket, token, Interest::READABLE)?;
            socket.send(&question.message)?;
            Socket::Datagrams(socket)
        };
        Ok(Self { question, socket, until })
    }

    pub(super) const fn number(&self) -> (u64, u32) {
        (self.question.number, self.question.attempt)
    }

    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// Whether a message has the question's identifier: whoever knows more decides on the rest.
    pub(super) fn is_answer(&self, message: &[u8]) -> bool {
        self.question.by_tcp || message.get(..2) == self.question.message.get(..2)
    }

    /// A message that has come.
    pub(super) fn receive(&mut self) -> io::Result<Vec<u8>> {
        match &mut self.socket {
            Socket::Datagrams(socket) => {
                let mut message = vec![0; DATAGRAM];
                let length = socket.recv(&mut message)?;
                message.truncate(length);
                Ok(message)
            }
            Socket::Stream { stream, unsent, heard } => {
                // Before the connection stands, a peer's address can't be told.
                stream
                    .peer_addr()
                    .map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))
                    .or_else(|error| stream.take_error()?.map_or(Err(error), Err))?;
                while !unsent.is_empty() {
                    let sent = stream.write(unsent)?;
                    unsent.drain(..sent);
                }
                hear(stream, heard)
            }
        }
    }
}

/// The message at the beginning of a stream.
fn hear(stream: &mut impl Read, heard: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut piece = [0; 4096];
    loop {
        if let [high, low, message @ ..] = heard.as_slice()
            && let Some(message) = message.get(..usize::from(u16::from_be_bytes([*high, *low])))
        {
            return Ok(message.to_vec());
        }
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => heard.extend_from_slice(&piece[..length]),
        }
    }
}

/// The longest message that any server sends by UDP; what is longer is cut.
const DATAGRAM: usize = 4096;

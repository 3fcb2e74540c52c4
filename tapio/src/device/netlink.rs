//! Just enough rtnetlink: one request, one answer. rtnetlink(7).
//!
//! ```text
//! [len:32 type:16 flags:16 seq:32 pid:32][family header][attribute: len:16 type:16 value … padded to 4][attribute] …
//! ```
//!
//! Numbers are in host byte order. Attributes that we don't know are stepped over, so newer kernels do no harm.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socket_with};

/// A message under construction.
#[derive(Debug)]
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// A request of `kind` (`RTM_…`) with `flags` (`NLM_F_…`) and the family's header.
    pub(crate) fn new(kind: u16, flags: i32, family_header: &[u8]) -> Self {
        let flags = (flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let mut message = vec![0; HEADER_LEN];
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[6..8].copy_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(family_header);
        Self(message)
    }

    /// Adds an attribute.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend_from_slice(&((ATTRIBUTE_LEN + value.len()) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an attribute that is made of attributes.
    pub(crate) fn nested(self, kind: u16, attributes: &[(u16, &[u8])]) -> Self {
        let inner =
            attributes.iter().fold(Self(Vec::new()), |inner, (kind, value)| inner.attribute(*kind, value));
        self.attribute(kind, &inner.0)
    }

    /// Adds an attribute if there is a value for it.
    pub(crate) fn maybe<V: AsRef<[u8]>>(self, kind: u16, value: Option<V>) -> Self {
        match value {
            Some(value) => self.attribute(kind, value.as_ref()),
            None => self,
        }
    }
}

/// A netlink socket, in the namespace of the thread that opened it. Works from any thread.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: Cell<u32>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    pub(crate) fn open() -> io::Result<Self> {
        // No protocol number: NETLINK_ROUTE is 0.
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { fd, sequence: Cell::new(0) })
    }

    /// Sends `request` and returns the message that answers it, from its family header on; empty if there is only an
    /// acknowledgement.
    pub(crate) fn call(&self, request: Request) -> io::Result<Vec<u8>> {
        Ok(self.dump(request)?.pop().unwrap_or_default())
    }

    /// Sends `request` and returns all messages that answer it, each from its family header on.
    pub(crate) fn dump(&self, request: Request) -> io::Result<Vec<Vec<u8>>> {
        let Request(mut message) = request;
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let len = message.len() as u32;
        message[0..4].copy_from_slice(&len.to_ne_bytes());
        message[8..12].copy_from_slice(&sequence.to_ne_bytes());
        rustix::net::send(&self.fd, &message, SendFlags::empty())?;
        let mut answer = Vec::new();
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let received = match rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                received => received?.0,
            };
            for message in messages(&buffer[..received]) {
                match message {
                    Message { sequence: other, .. } if other != sequence => {}
                    Message { kind: libc::NLMSG_ERROR | libc::NLMSG_DONE, body, .. } => {
                        return match number(body) {
                            0 => Ok(answer),
                            errno => Err(io::Error::from_raw_os_error(-errno.cast_signed())),
                        };
                    }
                    Message { body, .. } => answer.push(body.to_vec()),
                }
            }
        }
    }
}

/// The attributes in `bytes`: type and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let &[l0, l1, k0, k1, ref rest @ ..] = bytes else { return None };
        let len = usize::from(u16::from_ne_bytes([l0, l1])).checked_sub(ATTRIBUTE_LEN)?;
        let value = rest.get(..len)?;
        bytes = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & libc::NLA_TYPE_MASK as u16, value))
    })
}

/// The 32-bit number that `bytes` starts with; 0 if there is none.
pub(crate) fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |&number| u32::from_ne_bytes(number))
}

/// A message of a datagram.
pub(crate) struct Message<'a> {
    pub(crate) kind: i32,
    sequence: u32,
    /// From the family's header on.
    pub(crate) body: &'a [u8],
}

/// The messages in a datagram; a length that lies ends the list.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = number(bytes) as usize;
        let message = bytes.get(..len).filter(|_| len >= HEADER_LEN)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        let kind = i32::from(u16::from_ne_bytes([message[4], message[5]]));
        Some(Message { kind, sequence: number(&message[8..]), body: &message[HEADER_LEN..] })
    })
}

const HEADER_LEN: usize = 16;
const ATTRIBUTE_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_put_in() {
        let request = Request::new(1, 0, &[]).attribute(3, b"name\0").attribute(4, &7_u32.to_ne_bytes());
        let read: Vec<_> = attributes(&request.0[HEADER_LEN..]).collect();
        assert_eq!(read, [(3, &b"name\0"[..]), (4, &7_u32.to_ne_bytes()[..])]);
    }

    #[test]
    fn attributes_within_an_attribute_come_back_too() {
        let request = Request::new(1, 0, &[]).nested(2, &[(7, b"odd"), (8, &[1])]);
        let (kind, inner) = attributes(&request.0[HEADER_LEN..]).next().unwrap();
        assert_eq!((kind, attributes(inner).collect::<Vec<_>>()), (2, vec![(7, &b"odd"[..]), (8, &[1])]));
    }

    #[test]
    fn lengths_that_lie_end_the_list() {
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[9, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
        assert_eq!(attributes(&[4, 0, 1, 0, 4]).count(), 1);
        assert_eq!(messages(&[15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).count(), 0);
        assert_eq!(messages(&[200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).count(), 0);
    }
}

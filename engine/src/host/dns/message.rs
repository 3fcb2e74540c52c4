//! DNS messages: what a client asks, and what a message is made of. RFC 1035, section 4; RFC 6891.
//!
//! A message is passed on as it came, but for its head, its times to live and OPT: whatever type a record is of, and
//! whoever signed it, it isn't changed on the way.

use packet::DnsName;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Question {
    pub name: DnsName,
    pub kind: u16,
    pub class: u16,
}

/// A client's message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Query {
    pub id: u16,
    /// RD, AD and CD as they came.
    pub flags: u16,
    pub question: Question,
    /// Whether it has OPT, and what that says.
    pub edns: Option<Edns>,
}

/// What a client says of itself. RFC 6891, 6.1.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Edns {
    pub size: u16,
    /// Whether it wants signatures, too: DO.
    pub signed: bool,
}

/// Why a message isn't dealt with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unfit {
    /// It is no question: nobody is told.
    Junk,
    /// Its sender gets this.
    Refused(Vec<u8>),
}

/// A record of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub name: DnsName,
    pub kind: u16,
    pub class: u16,
    pub ttl: u32,
    /// Where it begins, where its time to live is, and where its data begin and end.
    pub start: usize,
    pub ttl_at: usize,
    pub data: (usize, usize),
}

/// The head of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub id: u16,
    pub flags: u16,
    /// Questions, answers, authorities, and what is additional.
    pub counts: [u16; 4],
}

impl Query {
    pub(super) fn parse(message: &[u8]) -> Result<Self, Unfit> {
        let head = Head::read(message).filter(|head| head.flags & flag::ANSWER == 0).ok_or(Unfit::Junk)?;
        let refused = |code| Unfit::Refused(head.refusal(code));
        if head.flags & flag::OPCODE != 0 {
            return Err(refused(code::NOT_IMPLEMENTED));
        }
        let [1, 0, 0, additional] = head.counts else { return Err(refused(code::FORMAT_ERROR)) };
        let wrong = || refused(code::FORMAT_ERROR);
        let (question, mut at) = Question::read(message).ok_or_else(wrong)?;
        let mut edns = None;
        for _ in 0..additional {
            let record = Record::read(message, at).ok_or_else(wrong)?;
            at = record.data.1;
            if record.kind == kind::OPT {
                let opt = Edns { size: record.class, signed: record.ttl & DO != 0 };
                let is_root = record.name.bytes().len() == 1;
                if edns.replace(opt).is_some() || !is_root {
                    return Err(wrong());
                }
                if record.ttl >> 16 & 0xff != 0 {
                    let answer = Self { id: head.id, flags: head.flags & flag::KEPT, question, edns };
                    return Err(Unfit::Refused(answer.failure(code::BAD_VERSION)));
                }
            }
        }
        Ok(Self { id: head.id, flags: head.flags & flag::KEPT, question, edns })
    }

    /// How long an answer by UDP may be.
    pub(super) fn room(&self) -> usize {
        self.edns.map_or(PLAIN, |edns| usize::from(edns.size).clamp(PLAIN, usize::from(UDP_SIZE)))
    }

    /// An answer without records.
    pub(super) fn failure(&self, code: u16) -> Vec<u8> {
        let counts = [1, 0, 0, u16::from(self.edns.is_some())];
        let flags =
            flag::ANSWER | flag::RECURSES | self.flags & (flag::WANTED | flag::UNCHECKED) | code & 0xf;
        let mut message = Head { id: self.id, flags, counts }.bytes().to_vec();
        self.question.write(&mut message);
        self.write_opt(code, &mut message);
        message
    }

    /// Writes OPT, if the client has one, with the upper half of `code`.
    pub(super) fn write_opt(&self, code: u16, message: &mut Vec<u8>) {
        if let Some(edns) = self.edns {
            opt(code, edns.signed, message);
        }
    }
}

impl Question {
    /// The question of a message, and where what is behind it begins.
    pub(super) fn read(message: &[u8]) -> Option<(Self, usize)> {
        let (name, at) = DnsName::read(message, Head::LEN)?;
        // A name that refers to something has nothing to refer to here.
        if at != Head::LEN + name.bytes().len() {
            return None;
        }
        Some((Self { name, kind: word(message, at)?, class: word(message, at + 2)? }, at + 4))
    }

    pub(super) fn write(&self, message: &mut Vec<u8>) {
        message.extend_from_slice(self.name.bytes());
        message.extend_from_slice(&self.kind.to_be_bytes());
        message.extend_from_slice(&self.class.to_be_bytes());
    }

    /// This question as a message to a server, which says how much it takes by UDP.
    pub(super) fn message(&self, id: u16, flags: u16, signed: bool) -> Vec<u8> {
        let flags = flag::WANTED | flags & (flag::UNCHECKED | flag::AUTHENTIC);
        let mut message = Head { id, flags, counts: [1, 0, 0, 1] }.bytes().to_vec();
        self.write(&mut message);
        opt(0, signed, &mut message);
        message
    }
}

impl Record {
    pub(super) fn read(message: &[u8], start: usize) -> Option<Self> {
        let (name, at) = DnsName::read(message, start)?;
        let (kind, class) = (word(message, at)?, word(message, at + 2)?);
        let ttl = u32::from(word(message, at + 4)?) << 16 | u32::from(word(message, at + 6)?);
        let data = at + 10;
        let end = data + usize::from(word(message, at + 8)?);
        (end <= message.len()).then_some(Self {
            name,
            kind,
            class,
            ttl,
            start,
            ttl_at: at + 4,
            data: (data, end),
        })
    }
}

impl Head {
    pub(super) const LEN: usize = 12;

    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let counts = [word(message, 4)?, word(message, 6)?, word(message, 8)?, word(message, 10)?];
        Some(Self { id: word(message, 0)?, flags: word(message, 2)?, counts })
    }

    pub(super) fn bytes(self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.counts;
        let mut bytes = [0; Self::LEN];
        for (place, word) in bytes.chunks_exact_mut(2).zip([self.id, self.flags, a, b, c, d]) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// To a message of which only the head was understood.
    fn refusal(self, code: u16) -> Vec<u8> {
        let flags = flag::ANSWER | self.flags & (flag::OPCODE | flag::WANTED) | code;
        Self { id: self.id, flags, counts: [0; 4] }.bytes().to_vec()
    }
}

/// Writes OPT. RFC 6891, 6.1.2.
fn opt(code: u16, signed: bool, message: &mut Vec<u8>) {
    let [size, kind] = [UDP_SIZE.to_be_bytes(), kind::OPT.to_be_bytes()];
    let extended = (code >> 4) as u8;
    let signed = if signed { 0x80 } else { 0 };
    message.extend_from_slice(&[0, kind[0], kind[1], size[0], size[1], extended, 0, signed, 0, 0, 0]);
}

/// Two bytes of a message.
pub(super) fn word(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Bits of a head. RFC 1035, 4.1.1; RFC 4035, 3.1.6 and 3.2.2.
pub(super) mod flag {
    pub const ANSWER: u16 = 0x8000;
    pub const OPCODE: u16 = 0x7800;
    pub const TRUNCATED: u16 = 0x0200;
    pub const WANTED: u16 = 0x0100;
    pub const RECURSES: u16 = 0x0080;
    pub const AUTHENTIC: u16 = 0x0020;
    pub const UNCHECKED: u16 = 0x0010;
    pub const CODE: u16 = 0x000f;
    /// What is kept of a client's.
    pub const KEPT: u16 = WANTED | AUTHENTIC | UNCHECKED;
}

/// Outcomes. RFC 1035, 4.1.1; RFC 6891, section 9.
pub(super) mod code {
    pub const FORMAT_ERROR: u16 = 1;
    pub const SERVER_FAILURE: u16 = 2;
    pub const NO_SUCH_NAME: u16 = 3;
    pub const NOT_IMPLEMENTED: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const BAD_VERSION: u16 = 16;
}

/// Types of records. RFC 1035, 3.2.2; RFC 3596; RFC 6891.
pub(super) mod kind {
    pub const A: u16 = 1;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const AAAA: u16 = 28;
    pub const OPT: u16 = 41;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
}

/// The Internet. RFC 1035, 3.2.4.
pub(super) const IN: u16 = 1;
/// In the time to live of OPT. RFC 3225.
const DO: u32 = 0x8000;
/// What every client takes by UDP. RFC 1035, 4.2.1.
pub(super) const PLAIN: usize = 512;
/// What crosses every link of the Internet in one piece: what the switch takes, and sends at most. DNS flag day 2020.
pub(super) const UDP_SIZE: u16 = 1232;

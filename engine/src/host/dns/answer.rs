//! Answers: a server's, checked and made ready to be kept, and the switch's own. RFC 1035, RFC 2181, RFC 2308.

use std::net::{IpAddr, Ipv4Addr};

use packet::{DnsName, Millis};

use super::message::{Head, IN, Query, Question, Record, code, flag, kind, word};

/// What is answered to a question, to whoever asks it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// Without OPT; identifier and question are to be filled in.
    message: Box<[u8]>,
    /// Where times to live are.
    ttls: Box<[u16]>,
    /// For how many seconds it may be kept. 0: not at all.
    pub ttl: u32,
}

/// What a server's message comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It isn't the answer to the question.
    Foreign,
    /// It is to be asked for by TCP: it is too long for a datagram, or the server doesn't keep the case of letters, so that
    /// it could be anybody's.
    Truncated,
    /// The server can't answer, or won't.
    Failed,
    Answered(Answer),
}

/// How old an answer is that is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Age {
    Fresh(Millis),
    /// Its time is over, but nobody knows better. RFC 8767.
    Stale,
}

impl Answer {
    /// Reads what a server answers to `question`, which was sent with this identifier. By TCP the case of letters doesn't
    /// matter: nobody else can answer there.
    pub(super) fn read(message: &[u8], id: u16, question: &Question, by_tcp: bool) -> Outcome {
        let Some(head) = Head::read(message) else { return Outcome::Foreign };
        let is_it = |asked: &Question| {
            (asked.kind, asked.class) == (question.kind, question.class) && asked.name.is(&question.name)
        };
        let asked = Question::read(message).filter(|(asked, _)| is_it(asked));
        let is_answer = head.flags & (flag::ANSWER | flag::OPCODE) == flag::ANSWER;
        let (true, Some((asked, at))) = (is_answer && head.id == id && head.counts[0] == 1, asked) else {
            return Outcome::Foreign;
        };
        if !by_tcp && (head.flags & flag::TRUNCATED != 0 || asked.name != question.name) {
            return Outcome::Truncated;
        }
        let is_outcome = matches!(head.flags & flag::CODE, 0 | code::NO_SUCH_NAME);
        let answer = if is_outcome { Self::read_records(message, head, at, question) } else { None };
        answer.map_or(Outcome::Failed, Outcome::Answered)
    }

    fn read_records(message: &[u8], head: Head, mut at: usize, question: &Question) -> Option<Self> {
        let mut head = head;
        let (mut ttls, mut least, mut negative, mut is_found) = (Vec::new(), MAX_TTL, None, false);
        let mut end = message.len();
        'all: for section in 1..=3 {
            for nth in 0..head.counts[section] {
                let record = Record::read(message, at)?;
                at = record.data.1;
                if record.kind == kind::OPT {
                    if section != 3 || record.ttl >> 24 != 0 {
                        return None;
                    }
                    // Nothing behind it matters so much that it had to be moved.
                    (head.counts[3], end) = (nth, record.start);
                    break 'all;
                }
                ttls.push(u16::try_from(record.ttl_at).ok()?);
                least = least.min(seconds(record.ttl));
                is_found |= section == 1 && (record.kind == question.kind || question.kind == kind::ANY);
                if section == 2 && record.kind == kind::SOA && negative.is_none() {
                    // RFC 2308, section 5: its last field.
                    let minimum = record.data.1.checked_sub(4).filter(|&at| at >= record.data.0)?;
                    let minimum =
                        u32::from(word(message, minimum)?) << 16 | u32::from(word(message, minimum + 2)?);
                    negative = Some(seconds(record.ttl).min(seconds(minimum)).min(MAX_NEGATIVE_TTL));
                }
            }
            end = at;
        }
        let is_positive = is_found && head.flags & flag::CODE == 0;
        let ttl = if is_positive { least } else { negative.map_or(0, |ttl| ttl.min(least)) };
        head.flags &= flag::CODE | flag::AUTHENTIC;
        let mut kept = message[..end].to_vec();
        kept[..Head::LEN].copy_from_slice(&head.bytes());
        Some(Self { message: kept.into(), ttls: ttls.into(), ttl })
    }

    /// The switch's own: `values` of the question's name, or that there is none of this type.
    pub(super) fn own(question: &Question, values: &[Value]) -> Self {
        let head = Head { id: 0, flags: 0, counts: [1, values.len() as u16, 0, 0] };
        let mut message = head.bytes().to_vec();
        question.write(&mut message);
        for value in values {
            let (kind, data) = match value {
                Value::Address(IpAddr::V4(address)) => (kind::A, address.octets().to_vec()),
                Value::Address(IpAddr::V6(address)) => (kind::AAAA, address.octets().to_vec()),
                Value::Name(name) => (kind::PTR, name.bytes().to_vec()),
            };
            // The name is the question's.
            message.extend_from_slice(&[0xc0, Head::LEN as u8]);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&IN.to_be_bytes());
            message.extend_from_slice(&OWN_TTL.to_be_bytes());
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(&data);
        }
        Self { message: message.into(), ttls: Box::default(), ttl: 0 }
    }

    /// How many bytes it takes to keep it.
    pub(super) fn size(&self) -> usize {
        self.message.len() + 2 * self.ttls.len()
    }

    /// The message to the client that sent `query`; truncated, if it is longer than `room`.
    pub(super) fn message(&self, query: &Query, age: Age, room: usize) -> Vec<u8> {
        let head = Head::read(&self.message).expect("it has one");
        let opt = if query.edns.is_some() { OPT_LEN } else { 0 };
        let is_whole = self.message.len() + opt <= room;
        let wants_authentic =
            query.flags & flag::AUTHENTIC != 0 || query.edns.is_some_and(|edns| edns.signed);
        let told = if wants_authentic { flag::CODE | flag::AUTHENTIC } else { flag::CODE };
        let flags = flag::ANSWER | flag::RECURSES | query.flags & (flag::WANTED | flag::UNCHECKED);
        let truncated = if is_whole { 0 } else { flag::TRUNCATED };
        let [_, answers, authorities, additional] = if is_whole { head.counts } else { [1, 0, 0, 0] };
        let additional = additional + u16::from(query.edns.is_some());
        let flags = flags | head.flags & told | truncated;
        let counts = [1, answers, authorities, additional];
        let head = Head { id: query.id, flags, counts };
        let mut message = if is_whole { self.message.to_vec() } else { vec![0; Head::LEN] };
        message[..Head::LEN].copy_from_slice(&head.bytes());
        if is_whole {
            self.fill_in(query, age, &mut message);
        } else {
            query.question.write(&mut message);
        }
        query.write_opt(0, &mut message);
        message
    }

    /// The question as the client spelt it, and the times to live as they are by now.
    fn fill_in(&self, query: &Query, age: Age, message: &mut [u8]) {
        let name = query.question.name.bytes();
        message[Head::LEN..Head::LEN + name.len()].copy_from_slice(name);
        for &at in &self.ttls {
            let at = usize::from(at);
            let place = &mut message[at..at + 4];
            let ttl = seconds(u32::from_be_bytes([place[0], place[1], place[2], place[3]]));
            let ttl = match age {
                Age::Fresh(age) => ttl.saturating_sub((age.get() / 1000) as u32),
                Age::Stale => STALE_TTL,
            };
            place.copy_from_slice(&ttl.to_be_bytes());
        }
    }

    /// The addresses that the question's name leads to, by way of other names where it is an alias, and for how many seconds
    /// each is good. What else is in the answer has no part in it.
    pub(super) fn addresses(&self, name: &DnsName) -> Vec<(Ipv4Addr, u32)> {
        let (mut name, mut least) = (name.clone(), MAX_TTL);
        let records = self.records();
        for _ in 0..LONGEST_CHAIN {
            let at = |wanted: u16| {
                let name = name.clone();
                records.iter().filter(move |record| record.kind == wanted && record.name.is(&name))
            };
            let address = |record: &Record| {
                let data: [u8; 4] = self.message[record.data.0..record.data.1].try_into().ok()?;
                Some((data.into(), least.min(seconds(record.ttl))))
            };
            let found: Vec<_> = at(kind::A).filter_map(address).collect();
            let alias = at(kind::CNAME).next();
            let next =
                alias.and_then(|alias| Some((DnsName::read(&self.message, alias.data.0)?.0, alias.ttl)));
            match next {
                Some((next, ttl)) if found.is_empty() => (name, least) = (next, least.min(seconds(ttl))),
                _ => return found,
            }
        }
        Vec::new()
    }

    /// The records that answer the question.
    fn records(&self) -> Vec<Record> {
        let (Some(head), Some((_, mut at))) = (Head::read(&self.message), Question::read(&self.message))
        else {
            return Vec::new();
        };
        let next = |_| {
            let record = Record::read(&self.message, at)?;
            at = record.data.1;
            Some(record)
        };
        (0..head.counts[1]).map_while(next).filter(|record| record.class == IN).collect()
    }
}

/// What the switch itself knows of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Address(IpAddr),
    Name(DnsName),
}

/// A time to live. RFC 2181, section 8: with the highest bit set it is 0.
const fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// A day, in seconds. RFC 8767, section 4, allows a week.
const MAX_TTL: u32 = 86_400;
/// Three hours, in seconds. RFC 2308, section 5.
const MAX_NEGATIVE_TTL: u32 = 10_800;
/// Of what a stale answer says. RFC 8767, section 5.11.
const STALE_TTL: u32 = 30;
/// Of what the switch itself knows: a lease may be another's soon.
const OWN_TTL: u32 = 10;
/// Without options.
const OPT_LEN: usize = 11;
/// Aliases of aliases that are followed.
const LONGEST_CHAIN: usize = 16;

//! Answers that are kept. RFC 2308, RFC 8767.
//!
//! ```text
//! stored ── fresh ──▶ ttl ── stale: told only while nobody knows better ──▶ STALE ── gone
//! ```
//!
//! Bounded in number and in bytes: what was stored longest ago gives way.

use std::collections::{BTreeMap, VecDeque};

use packet::Millis;

use super::answer::{Age, Answer};
use super::message::{Query, Question};

/// What an answer is kept by: the question, and what the client wants to know beside.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key(Box<[u8]>);

impl Key {
    pub(super) fn of(query: &Query, unchecked: u16) -> Self {
        let Question { name, kind, class } = &query.question;
        let wants = u8::from(query.edns.is_some_and(|edns| edns.signed)) << 1
            | u8::from(query.flags & unchecked != 0);
        let mut key = name.folded().bytes().to_vec();
        key.extend_from_slice(&kind.to_be_bytes());
        key.extend_from_slice(&class.to_be_bytes());
        key.push(wants);
        Self(key.into())
    }
}

/// The answers of one network.
#[derive(Debug, Default)]
pub(super) struct Cache {
    answers: BTreeMap<Key, Kept>,
    /// Those that were stored, the oldest first, with their numbers: what was stored anew is in it twice.
    order: VecDeque<(Key, u64)>,
    stored: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    answer: Answer,
    at: Millis,
    nth: u64,
}

impl Cache {
    /// The answer, and how old it is; a stale one, too.
    pub(super) fn find(&self, key: &Key, now: Millis) -> Option<(&Answer, Age)> {
        let kept = self.answers.get(key)?;
        let age = now.since(kept.at);
        let fresh = Millis::from_secs(kept.answer.ttl.into());
        let age = match age {
            _ if age < fresh => Age::Fresh(age),
            _ if age < fresh + STALE => Age::Stale,
            _ => return None,
        };
        Some((&kept.answer, age))
    }

    pub(super) fn store(&mut self, key: Key, answer: Answer, now: Millis) {
        self.remove(&key);
        let size = answer.size();
        if answer.ttl == 0 || size > LONGEST {
            return;
        }
        self.stored += 1;
        self.bytes += size;
        self.order.push_back((key.clone(), self.stored));
        self.answers.insert(key, Kept { answer, at: now, nth: self.stored });
        // What is stored anew leaves its old place behind.
        while self.answers.len() > LIMIT || self.bytes > BYTES || self.order.len() > 2 * LIMIT {
            let Some((key, nth)) = self.order.pop_front() else { return };
            if self.answers.get(&key).is_some_and(|kept| kept.nth == nth) {
                self.remove(&key);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        self.bytes -= self.answers.remove(key).map_or(0, |kept| kept.answer.size());
    }
}

/// Answers at most, with [`BYTES`] of messages: some MiB for a network at the worst.
const LIMIT: usize = 4096;
const BYTES: usize = 2 << 20;
/// A longer answer isn't kept.
const LONGEST: usize = 16 << 10;
/// For how long an answer is better than none, once its time is over. RFC 8767, section 4: one to three days.
const STALE: Millis = Millis::from_secs(86_400);

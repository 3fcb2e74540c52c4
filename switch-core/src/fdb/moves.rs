//! Stations that move to and fro: a loop, or two stations with one address.
//!
//! A station that has moved [`FREE_MOVES`] times within [`WINDOW`] is taken to be where it was before the first of these
//! moves, until the window ends. A guest that migrates, and a bond that changes its link now and then, stay below that.
//! A storm of frames in a loop exceeds it within milliseconds.

/// The stations that have moved lately. A few at a time: in a storm, one that is noticed is enough.
#[derive(Debug)]
pub(super) struct Moves([Watched; WATCHED]);

#[derive(Clone, Copy, Debug)]
struct Watched {
    key: u64,
    /// The entry's value before the first move.
    home: u64,
    /// The second of the first move.
    since: u32,
    moves: u32,
}

impl Moves {
    pub(super) const fn new() -> Self {
        Self([Watched { key: 0, home: 0, since: 0, moves: 0 }; WATCHED])
    }

    /// The station of `key`, whose entry has the value `old`, has moved. If it flaps: the value that it had at first.
    pub(super) fn flaps(&mut self, key: u64, hash: u64, old: u64, now: u32) -> Option<u64> {
        let watched = &mut self.0[(hash >> 32) as usize % WATCHED];
        if now.saturating_sub(watched.since) >= WINDOW || watched.moves == 0 {
            *watched = Watched { key, home: old, since: now, moves: 0 };
        }
        if watched.key != key {
            return None;
        }
        watched.moves += 1;
        (watched.moves > FREE_MOVES).then_some(watched.home)
    }
}

const WATCHED: usize = 64;
/// Seconds, the one that has begun included.
const WINDOW: u32 = 2;
/// Moves of one station in a window that are just followed.
const FREE_MOVES: u32 = 16;

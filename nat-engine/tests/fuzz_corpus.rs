//! What fuzzing started from and what it found, replayed: `fuzz/corpus`.
#![allow(clippy::disallowed_methods, reason = "the corpus is in files")]

use std::path::Path;

#[path = "../../fuzz/src/nat_sequence.rs"]
mod nat_sequence;
#[path = "../../fuzz/src/parse.rs"]
mod parse;
#[path = "../../fuzz/src/saved_state.rs"]
mod saved_state;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = folder.read_dir().expect("the corpus is there");
    let inputs = files.map(|file| std::fs::read(file.expect("readable").path()).expect("readable"));
    assert!(inputs.inspect(|input| run(input)).count() > 0);
}

#[test]
fn every_packet_sequence_of_the_corpus_is_survived() {
    replay("nat_sequence", nat_sequence::run);
}

#[test]
fn every_frame_of_the_corpus_is_survived() {
    replay("parse", parse::run);
}

#[test]
fn every_saved_state_of_the_corpus_is_refused_or_sound() {
    replay("saved_state", saved_state::run);
}

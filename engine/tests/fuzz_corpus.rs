//! What fuzzing the worker started from and what it found, replayed: `fuzz/corpus`.
#![allow(clippy::disallowed_methods, reason = "the corpus is in files")]

use std::path::Path;

#[path = "../../fuzz/src/worker.rs"]
mod worker;

#[test]
fn every_sequence_of_frames_in_the_corpus_is_survived() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/worker");
    let files = folder.read_dir().expect("the corpus is there");
    let inputs = files.map(|file| std::fs::read(file.expect("readable").path()).expect("readable"));
    assert!(inputs.inspect(|input| worker::run(input)).count() > 0);
}

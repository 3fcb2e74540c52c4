//! What fuzzing started from and what it found, replayed: `fuzz/corpus`.

use std::path::Path;

#[path = "../../../fuzz/src/vhost_messages.rs"]
mod vhost_messages;
#[path = "../../../fuzz/src/vhost_rings.rs"]
mod vhost_rings;

fn replay(folder: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(folder);
    let files: Vec<_> = folder.read_dir().unwrap().collect();
    assert!(!files.is_empty());
    files.into_iter().for_each(|file| run(&std::fs::read(file.unwrap().path()).unwrap()));
}

#[test]
fn every_sequence_of_messages_in_the_corpus_is_survived() {
    replay("vhost_messages", vhost_messages::run);
}

#[test]
fn every_ring_in_the_corpus_is_survived() {
    replay("vhost_rings", vhost_rings::run);
}

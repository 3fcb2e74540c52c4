//! What fuzzing the worker and its DNS forwarder started from and what it found, replayed: `fuzz/corpus`.
#![allow(clippy::disallowed_methods, reason = "the corpus is in files")]
#![allow(clippy::panic, reason = "that is how a test fails")]

use std::path::Path;

#[path = "../../fuzz/src/dns.rs"]
mod dns;
#[path = "../../fuzz/src/worker.rs"]
mod worker;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let files = folder.read_dir().expect("the corpus is there");
    let inputs: Vec<_> =
        files.map(|file| std::fs::read(file.expect("readable").path()).expect("readable")).collect();
    assert!(!inputs.is_empty());
    inputs
}

#[test]
fn every_sequence_of_frames_in_the_corpus_is_survived() {
    corpus("worker").iter().for_each(|input| worker::run(input));
}

#[test]
fn whatever_is_said_to_the_dns_forwarder_is_survived() {
    corpus("dns").iter().for_each(|input| dns::run(input));
}

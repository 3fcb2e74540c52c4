//! What the fuzz targets do with their input. Ordinary tests run the same functions over `fuzz/corpus`, where a finding
//! is kept: `tests/fuzz_corpus.rs`, `nat-engine/tests/fuzz_corpus.rs`, `engine/tests/fuzz_corpus.rs` and
//! `tapio/tests/vhost/fuzz_corpus.rs`.
//!
//! ```text
//! cargo install cargo-fuzz
//! mkdir -p fuzz/artifacts/new && cargo +nightly fuzz run nat_sequence fuzz/artifacts/new fuzz/corpus/nat_sequence
//! ```
//!
//! New inputs go to the first folder, which is not kept; a finding is copied to the corpus under a name that tells.
#![forbid(unsafe_code)]

pub mod dns;
#[path = "../../tapio/tests/vhost/guest.rs"]
#[allow(dead_code)]
mod guest;
pub mod nat_sequence;
pub mod parse;
pub mod rules;
pub mod saved_state;
pub mod vhost_messages;
mod vhost_port;
pub mod vhost_rings;
pub mod worker;

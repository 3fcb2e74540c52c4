//! What fuzzing the rule language started from and what it found, replayed: `fuzz/corpus`.

use std::path::Path;

#[path = "../fuzz/src/rules.rs"]
mod rules;

#[test]
fn every_line_of_the_corpus_is_a_rule_that_is_printed_as_it_is_or_a_mistake() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/rules");
    let files = folder.read_dir().expect("the corpus is there");
    let inputs = files.map(|file| std::fs::read(file.expect("readable").path()).expect("readable"));
    assert!(inputs.inspect(|input| rules::run(input)).count() > 0);
}

//! Documents of the project, from which tests take what users type: so that what stands there works.

use std::fs;
use std::path::Path;

/// The blocks of code in `language` of the section `heading` of a document.
#[track_caller]
pub fn blocks(document: &str, heading: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let start = text.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let section = &text[start + 1..];
    let section = &section[..section.find("\n## ").unwrap_or(section.len())];
    let opening = format!("```{language}\n");
    let ends = |code: &str| code.find("```").map(|end| code[..end].to_owned());
    section.split(&opening).skip(1).filter_map(ends).collect()
}

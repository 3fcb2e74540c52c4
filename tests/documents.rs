//! What documents for developers name is there: files, folders, what stands in a file, and links.
#![allow(clippy::panic, reason = "that is how a test fails")]

use std::fs;
use std::path::Path;

/// Those that name files by their path from the project's root.
const PAGES: [&str; 7] = [
    "CONTRIBUTING.md",
    "STYLE.md",
    "SECURITY.md",
    "docs/adding.md",
    "docs/architecture.md",
    "docs/service.md",
    "docs/testing.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text without blocks of code.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// Whether it names a file of the project, or one of its folders. `port/` may be a folder of the crate that a sentence is
/// about.
fn is_path(word: &str) -> bool {
    let is_whole = word.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
    let is_inside =
        !word.ends_with('/') || word.split('/').next().is_some_and(|top| root().join(top).exists());
    is_whole && is_inside && word.contains('/') && !word.starts_with(['/', '.']) || word == "CHANGELOG.md"
}

#[test]
fn what_a_page_names_is_there() {
    for page in PAGES {
        let text = prose(&read(page));
        let parts: Vec<&str> = text.split('`').collect();
        for at in (1..parts.len()).step_by(2).filter(|at| is_path(parts[*at])) {
            let path = parts[at];
            assert!(root().join(path).exists(), "{page} names {path}");
            if parts.get(at + 1) == Some(&": ") {
                assert!(read(path).contains(parts[at + 2]), "{page}: {path} has no {}", parts[at + 2]);
            }
        }
    }
}

#[test]
fn links_of_a_page_lead_somewhere() {
    for page in PAGES.into_iter().chain(["README.md", "docs/configuration.md", "docs/security.md"]) {
        let text = prose(&read(page));
        let folder = Path::new(page).parent().expect("a page is in a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link)) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains(':') {
                assert!(root().join(folder).join(path).exists(), "{page} links to {link}");
            }
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_system_calls_of_the_sandbox_stand_in_the_page_about_security() {
    let calls = tapio::system_calls();
    assert!(read("docs/security.md").contains(&calls), "docs/security.md should have:\n{calls}");
}

//! docs/nat-conformance.md, docs/ipv6-conformance.md, docs/security.md and the tests agree.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The names of all test functions in the Rust files below `folders`.
fn tests_in(folders: &[&str]) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut names = BTreeSet::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let functions = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
            names.extend(functions.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
        }
    }
    names
}

/// The test names between backticks; one that ends with `…` stands for all that begin so.
fn named(page: &str) -> Vec<&str> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.matches('_').count() >= 2 && !name.contains(['/', '.'])).collect()
}

fn stands_for(name: &str, test: &str) -> bool {
    name.strip_suffix('…').map_or(name == test, |beginning| test.starts_with(beginning))
}

#[test]
fn every_test_that_the_page_of_nat_names_exists_and_every_requirement_test_stands_on_it() {
    let rfcs = ["rfc4787_", "rfc5382_", "rfc5508_", "rfc7857_", "rfc6888_", "rfc5597_", "rfc5961_"];
    hold_page("nat-conformance.md", &["nat-engine", "engine"], 60, &rfcs);
}

#[test]
fn every_test_that_the_page_of_ipv6_names_exists_and_every_requirement_test_stands_on_it() {
    let rfcs = [
        "rfc8200_", "rfc4291_", "rfc2464_", "rfc4443_", "rfc4861_", "rfc4862_", "rfc6980_", "rfc5095_",
        "rfc6946_", "rfc7112_", "rfc8106_", "rfc4191_", "rfc3810_",
    ];
    hold_page("ipv6-conformance.md", &["packet", "engine", "src", "tests/system"], 40, &rfcs);
}

/// Every test on the page in docs is in one of the folders, of which there are more than so many, and every test there that is
/// named after one of the RFCs is on the page.
fn hold_page(page: &str, folders: &[&str], least: usize, rfcs: &[&str]) {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page)).unwrap();
    let tests = tests_in(folders);
    let named = named(&page);
    assert!(named.len() > least, "{}", named.len());
    let missing: Vec<_> =
        named.iter().filter(|name| !tests.iter().any(|test| stands_for(name, test))).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    let is_requirement = |test: &&String| rfcs.iter().any(|rfc| test.starts_with(rfc));
    let unlisted: Vec<_> = tests
        .iter()
        .filter(is_requirement)
        .filter(|test| !named.iter().any(|name| stands_for(name, test)))
        .collect();
    assert!(unlisted.is_empty(), "not on the page: {unlisted:#?}");
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md")).unwrap();
    let tests = tests_in(&[
        "packet",
        "switch-core",
        "nat-engine",
        "engine",
        "tapio",
        "src",
        "tests/system",
        "fuzz/src",
    ]);
    let named = named(&page);
    assert!(named.len() > 40, "{}", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

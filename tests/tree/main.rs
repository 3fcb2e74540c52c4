//! The shape of the source tree: files and functions have a size, files of a crate don't import each other in circles, and
//! imports between folders of the program go in the directions that are stated here, as `tests/architecture.rs` states them
//! between crates and in the core.
#![allow(clippy::panic, reason = "that is how a test fails")]

mod functions;
mod imports;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imports::Imports;

/// Lines that a file has at most.
const FILE: usize = 500;
/// Lines that a function has at most, from its name to its last brace: a screen. In tests, which have tables of what is to
/// be and what came of it, functions may be longer.
const FUNCTION: usize = 50;

/// The crates whose files are looked at together: the folder of their sources.
const CRATES: [&str; 9] = [
    "packet/src",
    "switch-core/src",
    "nat-engine/src",
    "engine/src",
    "tapio/src",
    "src",
    "bench/src",
    "bench/cases/src",
    "xtask/src",
];

/// In these, a module's parts may import of the module that they are parts of: they are written as one thing in several
/// files, such as the driver. That is no circle there as long as there is no way round.
const IN_PARTS: [&str; 3] = ["engine/src", "src", "bench/src"];

/// What each folder of the program may import of its other folders and of the files beside them. A folder that isn't here
/// may import all of it. `tests/architecture.rs` has the folders of the other crates.
const DIRECTIONS: [(&str, &[&str]); 9] = [
    ("mistake", &[]),
    ("rules", &["mistake", "terminal"]),
    ("config", &["mistake", "rules"]),
    ("import", &["mistake", "rules", "config"]),
    ("guest", &["config"]),
    ("show", &["mistake", "rules", "config", "terminal"]),
    ("control", &["mistake", "config", "show"]),
    ("driver", &["mistake", "rules", "config", "show", "control", "log", "resolver", "service", "terminal"]),
    ("resolver", &[]),
];

/// Files of the project that rustfmt has written, by their path from its root.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).expect("the folder is there") {
            let name = entry.expect("it can be read").file_name().into_string().expect("names are text");
            let path = folder.join(&name);
            if root.join(&path).is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(root.join(&path)).expect("sources are text");
                found.insert(path.display().to_string(), text);
            }
        }
    }
    assert!(found.len() > 200, "only {} files are looked at", found.len());
    found
}

/// Which file of a crate imports which, by their paths in its folder.
fn imports(sources: &BTreeMap<String, String>, folder: &str) -> Imports {
    let files = sources.iter().filter_map(|(path, text)| {
        let path = path.strip_prefix(folder)?.strip_prefix('/')?;
        Some((path.to_owned(), text.clone()))
    });
    Imports::of(files.collect(), !IN_PARTS.contains(&folder))
}

#[test]
fn no_file_is_long() {
    let long = |(path, text): (&String, &String)| {
        let lines = text.lines().count();
        (lines > FILE).then(|| format!("{path}: {lines} lines"))
    };
    let long: Vec<String> = sources().iter().filter_map(long).collect();
    assert!(long.is_empty(), "more than {FILE} lines:\n{}", long.join("\n"));
}

#[test]
fn no_function_is_long() {
    let sources = sources();
    let products = sources.iter().filter(|(path, _)| !imports::is_test(path));
    let all =
        products.flat_map(|(path, text)| functions::all(text).into_iter().map(move |found| (path, found)));
    let long = all.filter(|(_, function)| function.lines > FUNCTION);
    let long: Vec<String> = long
        .map(|(path, function)| {
            format!("{path}:{}: {} has {} lines", function.line, function.name, function.lines)
        })
        .collect();
    assert!(long.is_empty(), "more than {FUNCTION} lines:\n{}", long.join("\n"));
}

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    let sources = sources();
    let circles = CRATES.iter().flat_map(|folder| {
        imports(&sources, folder).circles().into_iter().map(move |circle| format!("{folder}: {circle}"))
    });
    let circles: Vec<String> = circles.collect();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

#[test]
fn imports_between_folders_go_in_the_stated_directions() {
    let sources = sources();
    let mut wrong = Vec::new();
    let imports = imports(&sources, "src");
    for (folder, allowed) in DIRECTIONS {
        let is_there = sources.keys().any(|path| path.starts_with(&format!("src/{folder}/")));
        assert!(is_there, "there is no {folder} any more: strike it in this test");
        for (from, to) in imports.edges() {
            if room(from) == folder && room(to) != folder && !allowed.contains(&room(to)) {
                wrong.push(format!("{from} imports {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "against the directions:\n{}", wrong.join("\n"));
}

/// The folder or the file beside folders that a file is in, by its path in the crate.
fn room(path: &str) -> &str {
    path.split_once('/').map_or(path.trim_end_matches(".rs"), |(room, _)| room)
}

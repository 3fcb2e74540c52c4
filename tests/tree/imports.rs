//! Which file of a crate imports which.
//!
//! A path in a `use` or anywhere else counts for the file that has what it names: names that a module only hands on are
//! followed to where they are defined, so an index that says `pub use` imports nothing by that. Tests don't count:
//! they import what they test, and nobody imports them. Neither do methods, which need no import.

use std::collections::{BTreeMap, BTreeSet};

use crate::words::{Word, words};

/// How often a name is handed on at most.
const DEPTH: usize = 8;

/// A path from the crate's root, by its parts.
type Path = Vec<String>;

/// A file of a crate that is a module.
#[derive(Default)]
struct Module {
    file: String,
    /// Names that it imports, and what they stand for. `*` isn't among them.
    names: BTreeMap<String, Path>,
    /// Modules of which it hands on everything.
    globs: Vec<Path>,
    /// Names of what it defines.
    items: BTreeSet<String>,
    /// Paths that it uses itself.
    used: Vec<Path>,
}

/// The files of a crate and what they import.
pub struct Imports {
    parts_count: bool,
    modules: BTreeMap<Path, Module>,
}

impl Imports {
    /// Of a crate with these files, by their paths in its folder `src`; with what a module's part imports of that module, or
    /// without.
    pub fn of(files: BTreeMap<String, String>, parts_count: bool) -> Self {
        let root = if files.contains_key("lib.rs") { "lib.rs" } else { "main.rs" };
        let inside = files.into_iter().filter(|(file, _)| file == root || !(is_root(file) || is_test(file)));
        let modules = inside.map(|(file, text)| {
            let path = path_of(&file);
            (path.clone(), Reader::new(path, &words(&text)).read(file))
        });
        Self { parts_count, modules: modules.collect() }
    }

    /// From which file to which.
    pub fn edges(&self) -> BTreeSet<(&str, &str)> {
        let of = |(from, module): (&'_ Path, &'_ Module)| -> Vec<(&str, &str)> {
            let found = module.used.iter().filter_map(|path| self.module(path, DEPTH));
            let others = found.filter(|to| *to != from && (self.parts_count || !from.starts_with(to)));
            others.map(|to| (self.modules[from].file.as_str(), self.modules[to].file.as_str())).collect()
        };
        self.modules.iter().flat_map(of).collect()
    }

    /// The module that has what a path names.
    fn module(&self, path: &[String], depth: usize) -> Option<&Path> {
        let len = (0..=path.len()).rev().find(|len| self.modules.contains_key(&path[..*len]))?;
        let (found, module) = self.modules.get_key_value(&path[..len])?;
        let Some(name) = path.get(len) else { return Some(found) };
        if depth > 0 && !module.items.contains(name) {
            if let Some(handed_on) = module.names.get(name) {
                return self.module(&[handed_on, &path[len + 1..]].concat(), depth - 1);
            }
            let has_it = |glob: &&Path| {
                let found = self.modules.get(*glob);
                found.is_some_and(|found| found.items.contains(name) || found.names.contains_key(name))
            };
            if let Some(glob) = module.globs.iter().find(has_it) {
                return self.module(&[glob, &path[len..]].concat(), depth - 1);
            }
        }
        Some(found)
    }

    /// Each group of files that reach each other, as a way through it that ends where it began.
    pub fn circles(&self) -> Vec<String> {
        let edges = self.edges();
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for start in edges.iter().map(|(from, _)| *from) {
            if seen.contains(start) {
                continue;
            }
            if let Some(way) = way_back(&edges, start) {
                seen.extend(way.iter().copied());
                circles.push([way.as_slice(), &[start]].concat().join(" → "));
            }
        }
        circles
    }
}

/// The shortest way from a file to itself.
fn way_back<'a>(edges: &BTreeSet<(&'a str, &'a str)>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut came_from = BTreeMap::new();
    let mut next = vec![start];
    while !next.is_empty() {
        let mut further = Vec::new();
        for from in next {
            for (_, to) in edges.iter().filter(|(other, _)| *other == from) {
                if *to == start {
                    let back = |file: &&'a str| came_from.get(*file).copied();
                    let mut way: Vec<&str> = std::iter::successors(Some(from), back).collect();
                    way.reverse();
                    return Some(way);
                }
                if !came_from.contains_key(to) {
                    came_from.insert(*to, from);
                    further.push(*to);
                }
            }
        }
        next = further;
    }
    None
}

/// By its path, inside a crate or the project.
pub fn is_test(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("tests/")
}

fn is_root(file: &str) -> bool {
    ["lib.rs", "main.rs"].contains(&file) || file.starts_with("bin/")
}

/// `a/b.rs` and `a/b/mod.rs` are `a::b`.
fn path_of(file: &str) -> Path {
    if is_root(file) {
        return Path::new();
    }
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// Reads a module's words.
struct Reader<'a> {
    path: Path,
    words: &'a [Word<'a>],
    module: Module,
    /// Modules that it declares.
    children: BTreeSet<String>,
    /// Paths as they are written outside of `use`, resolved when all names are known.
    written: Vec<Path>,
}

impl<'a> Reader<'a> {
    fn new(path: Path, words: &'a [Word<'a>]) -> Self {
        Self { path, words, module: Module::default(), children: BTreeSet::new(), written: Vec::new() }
    }

    fn read(mut self, file: String) -> Module {
        self.module.file = file;
        let mut at = 0;
        while at < self.words.len() {
            at = self.step(at);
        }
        let Self { mut module, written, children, path, .. } = self;
        for mut parts in written {
            if let Some(start) = module.names.get(&parts[0]) {
                parts.splice(..1, start.iter().cloned());
            } else if children.contains(&parts[0]) {
                parts.splice(..0, path.iter().cloned());
            } else {
                continue;
            }
            module.used.push(parts);
        }
        module
    }

    /// Takes in what begins at a word, and returns where to go on.
    fn step(&mut self, at: usize) -> usize {
        let word = self.words[at];
        let before = at.checked_sub(1).map_or("", |before| self.words[before]);
        let after = self.words.get(at + 1).copied().unwrap_or_default();
        match word {
            "use" => {
                let hands_on = before == "pub" || before == ")";
                let mut end = at + 1;
                self.tree(&mut end, &Path::new(), hands_on);
                end
            }
            "mod" if self.words.get(at + 2) == Some(&"{") => {
                if self.is_for_tests(at) {
                    return self.end_of_block(at + 2);
                }
                at + 3
            }
            "mod" => {
                self.children.insert(after.to_owned());
                at + 2
            }
            "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union" => {
                self.module.items.insert(after.to_owned());
                at + 1
            }
            _ if after == "::" && before != "::" => self.written_path(at),
            _ => at + 1,
        }
    }

    /// `#[cfg(test)] mod`.
    fn is_for_tests(&self, at: usize) -> bool {
        let before = &self.words[at.saturating_sub(12)..at];
        let start = before.iter().rposition(|word| ["}", ";", "{"].contains(word)).map_or(0, |at| at + 1);
        before[start..].contains(&"test")
    }

    fn end_of_block(&self, mut at: usize) -> usize {
        let mut depth = 0_usize;
        while let Some(word) = self.words.get(at) {
            match *word {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 {
                break;
            }
        }
        at
    }

    /// A path outside of `use`.
    fn written_path(&mut self, mut at: usize) -> usize {
        let mut parts = vec![self.words[at].to_owned()];
        while let ["::", name, ..] = self.words[at + 1..]
            && name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        {
            parts.push((*name).to_owned());
            at += 2;
        }
        match self.absolute(&parts) {
            Some(path) => self.module.used.push(path),
            None => self.written.push(parts),
        }
        at + 1
    }

    /// A tree of `use`, after `prefix`.
    fn tree(&mut self, at: &mut usize, prefix: &Path, hands_on: bool) {
        let mut parts = prefix.clone();
        loop {
            let word = self.words.get(*at).copied().unwrap_or(";");
            *at += 1;
            match word {
                "{" => {
                    while self.words.get(*at).is_some_and(|word| *word != "}") {
                        self.tree(at, &parts, hands_on);
                        if self.words.get(*at) == Some(&",") {
                            *at += 1;
                        }
                    }
                    *at += 1;
                    return;
                }
                "*" => {
                    self.glob(&parts, hands_on);
                    return;
                }
                "::" => continue,
                name => parts.push(name.to_owned()),
            }
            if self.words.get(*at) != Some(&"::") {
                let name = match self.words[*at..] {
                    ["as", name, ..] => {
                        *at += 2;
                        name.to_owned()
                    }
                    _ => parts.last().cloned().unwrap_or_default(),
                };
                self.name(name, parts, hands_on);
                return;
            }
        }
    }

    fn glob(&mut self, parts: &Path, hands_on: bool) {
        let Some(path) = self.imported(parts) else { return };
        if !hands_on {
            self.module.used.push(path.clone());
        }
        self.module.globs.push(path);
    }

    fn name(&mut self, mut name: String, mut parts: Path, hands_on: bool) {
        // `use a::b::{self}` imports `b`.
        if parts.last().is_some_and(|last| last == "self") && parts.len() > 1 {
            parts.pop();
            if name == "self" {
                name = parts.last().cloned().unwrap_or_default();
            }
        }
        let Some(path) = self.imported(&parts) else { return };
        if !hands_on {
            self.module.used.push(path.clone());
        }
        self.module.names.insert(name, path);
    }

    /// A path of `use` from the root: there it may also begin with a module that this one declares.
    fn imported(&self, parts: &Path) -> Option<Path> {
        let child = || self.children.contains(&parts[0]).then(|| [&self.path[..], parts].concat());
        self.absolute(parts).or_else(child)
    }

    /// A path that begins with `crate`, `self` or `super`, from the root.
    fn absolute(&self, parts: &[String]) -> Option<Path> {
        let supers = parts.iter().take_while(|part| *part == "super").count();
        match parts.first()?.as_str() {
            "crate" => Some(parts[1..].to_vec()),
            "self" if parts.get(1).is_some_and(|part| part == "super") => self.absolute(&parts[1..]),
            "self" => Some([&self.path, &parts[1..]].concat()),
            "super" => {
                let up = self.path.len().checked_sub(supers)?;
                Some([&self.path[..up], &parts[supers..]].concat())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
fn edges_of(files: &[(&str, &str)], parts_count: bool) -> Vec<String> {
    let files = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    let imports = Imports::of(files.collect(), parts_count);
    imports.edges().into_iter().map(|(from, to)| format!("{from} > {to}")).collect()
}

#[test]
fn a_path_leads_to_the_file_that_defines_what_it_names() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; pub use a::*; pub use b::{B, deep::D as E};"),
        ("a.rs", "use crate::{E, b::{self, B}}; pub struct A; fn f() { b::deep::g() }"),
        ("b/mod.rs", "mod deep; pub struct B;"),
        ("b/deep.rs", "pub struct D; pub fn g() {}"),
        ("c.rs", "use super::A; /* use crate::B; */ fn f() -> \"crate::B\" {}"),
    ];
    assert_eq!(edges_of(&files, true), ["a.rs > b/deep.rs", "a.rs > b/mod.rs", "c.rs > a.rs"]);
}

#[test]
fn tests_are_not_counted_and_the_module_of_a_part_may_be_left_out() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "mod part; #[cfg(test)] mod tests; use part::Part; pub struct A; "),
        ("a/part.rs", "use super::A; pub struct Part(A); #[cfg(test)] mod tests { use crate::b::B; }"),
        ("a/tests.rs", "use crate::b::B;"),
        ("b.rs", "pub struct B;"),
    ];
    assert_eq!(edges_of(&files, true), ["a/mod.rs > a/part.rs", "a/part.rs > a/mod.rs"]);
    assert_eq!(edges_of(&files, false), ["a/mod.rs > a/part.rs"]);
}

#[test]
fn a_circle_is_told_as_the_way_round() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "fn f() { crate::b::g() } fn h() {}"),
        ("b.rs", "use super::c; fn g() { c::i() }"),
        ("c.rs", "use crate::a::h; use crate::d::J; fn i() {}"),
        ("d.rs", "pub struct J;"),
    ];
    let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let circles = Imports::of(files.into_iter().collect(), true).circles();
    assert_eq!(circles, ["a.rs → b.rs → c.rs → a.rs"]);
}

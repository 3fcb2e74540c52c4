//! Dependencies point one way, the core has neither clock nor I/O, and only one crate is unsafe.
#![allow(clippy::panic, reason = "that is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// What each crate may depend on, of the workspace:
/// `packet ← {switch-core, nat-engine, tapio}`, `{switch-core, nat-engine} ← engine`, `{engine, tapio} ← tapswitch`.
const DIRECTIONS: [(&str, &[&str]); 6] = [
    ("packet", &[]),
    ("switch-core", &["packet"]),
    ("nat-engine", &["packet"]),
    ("tapio", &["packet"]),
    ("engine", &["packet", "switch-core", "nat-engine"]),
    ("tapswitch", &["packet", "switch-core", "nat-engine", "engine", "tapio"]),
];

/// The crates that take time and randomness as arguments and return what is to be sent.
const CORE: [&str; 4] = ["packet", "switch-core", "nat-engine", "engine"];

/// All that the core takes from outside: data structures, hashes, views of bytes, wire formats. To add a package here,
/// see that it neither opens nor asks the system for anything.
const CORE_MAY_USE: [&str; 4] = ["hashbrown", "siphasher", "smoltcp", "zerocopy"];

fn metadata() -> Metadata {
    MetadataCommand::new().no_deps().exec().expect("cargo metadata works")
}

fn members(metadata: &Metadata) -> BTreeMap<&str, &Package> {
    metadata.workspace_packages().into_iter().map(|package| (package.name.as_str(), package)).collect()
}

fn dependencies(package: &Package) -> BTreeSet<&str> {
    let used =
        package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    used.map(|dependency| dependency.name.as_str()).collect()
}

fn file(package: &Package, path: &str) -> (PathBuf, String) {
    let folder = package.manifest_path.parent().expect("a manifest is in a folder");
    let path = folder.join(path).into_std_path_buf();
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (path, text)
}

#[test]
fn dependencies_between_our_crates_point_one_way() {
    let metadata = metadata();
    let members = members(&metadata);
    for (name, allowed) in DIRECTIONS {
        let ours = dependencies(members[name]).into_iter().filter(|used| members.contains_key(used));
        for used in ours {
            assert!(allowed.contains(&used), "{name} depends on {used}");
        }
    }
    for name in members.keys().filter(|name| DIRECTIONS.iter().all(|(known, _)| known != *name)) {
        assert!(
            ["bench", "cases", "xtask"].contains(name),
            "{name} is new: say in this test what it may depend on"
        );
    }
}

#[test]
fn unsafe_code_is_forbidden_outside_tapio() {
    let metadata = metadata();
    for (name, package) in members(&metadata) {
        for target in package.targets.iter().filter(|target| target.is_lib() || target.is_bin()) {
            let root = fs::read_to_string(&target.src_path).expect("the target exists");
            let forbidden = root.contains("#![forbid(unsafe_code)]");
            assert!(forbidden || name == "tapio", "{} lacks #![forbid(unsafe_code)]", target.src_path);
        }
    }
}

#[test]
fn core_crates_use_only_packages_without_io() {
    let metadata = metadata();
    let members = members(&metadata);
    for name in CORE {
        for used in dependencies(members[name]) {
            let known = members.contains_key(used) || CORE_MAY_USE.contains(&used);
            assert!(
                known,
                "{name} depends on {used}: does it do I/O? Then it can't; else add it to this test"
            );
        }
        for dependency in members[name].dependencies.iter().filter(|dependency| dependency.name == "smoltcp")
        {
            let features = &dependency.features;
            assert!(!dependency.uses_default_features, "smoltcp's default features do I/O");
            let io = features.iter().find(|feature| *feature == "std" || feature.starts_with("phy-"));
            assert_eq!(io, None, "a feature of smoltcp that does I/O");
        }
    }
}

#[test]
fn core_crates_disallow_clock_io_and_threads() {
    let metadata = metadata();
    let members = members(&metadata);
    let (_, expected) = file(members["packet"], "clippy.toml");
    for method in ["std::time::Instant::now", "std::fs::File::open", "std::thread::spawn", "std::env::var"] {
        assert!(expected.contains(method), "{method} isn't disallowed");
    }
    for name in CORE {
        let (path, text) = file(members[name], "clippy.toml");
        assert!(text == expected, "{} differs from that of packet", path.display());
    }
}

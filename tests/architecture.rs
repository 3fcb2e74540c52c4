//! Dependencies point one way, the core has neither clock nor I/O, and only one crate is unsafe.
#![allow(clippy::panic, reason = "that is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Chars;

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

/// What each folder of nat-engine may import from, of its siblings. Files beside the folders may import from all:
/// what they do concerns several owners.
const NAT_ENGINE: [(&str, &[&str]); 7] = [
    ("memory", &[]),
    ("flows", &["memory"]),
    ("fragments", &["memory", "flows"]),
    ("chains", &["memory", "flows"]),
    ("outside", &["memory", "flows", "chains"]),
    ("first_packet", &["memory", "flows", "fragments", "chains", "outside"]),
    ("saved", &["memory", "flows", "chains", "outside"]),
];

#[test]
fn folders_of_nat_engine_import_one_way() {
    let modules = modules("nat-engine");
    for (module, imports) in &modules {
        let folder = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
        let Some((_, allowed)) = NAT_ENGINE.iter().find(|(name, _)| *name == folder(module)) else {
            continue;
        };
        for import in imports.iter().map(|import| folder(import)) {
            let is_folder = NAT_ENGINE.iter().any(|(name, _)| *name == import);
            let is_allowed = import == folder(module) || allowed.contains(&import.as_str());
            assert!(!is_folder || is_allowed, "nat-engine: {module} imports from {import}");
        }
    }
    let folders: BTreeSet<&str> = modules.keys().filter_map(|path| Some(path.split_once('/')?.0)).collect();
    assert_eq!(folders, NAT_ENGINE.iter().map(|(name, _)| *name).collect(), "folders that this test knows");
}

/// The same for tapio, where all files are in folders.
const TAPIO: [(&str, &[&str]); 5] = [
    ("sys", &[]),
    ("device", &["sys"]),
    ("port", &["device", "sys"]),
    ("sandbox", &["port", "sys"]),
    ("testing", &["port", "device", "sys"]),
];

#[test]
fn folders_of_tapio_import_one_way() {
    for (module, imports) in modules("tapio") {
        let folder = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
        let known = TAPIO.iter().find(|(name, _)| *name == folder(&module));
        let (_, allowed) = known.unwrap_or_else(|| panic!("tapio: {module} is in no folder that is known"));
        for import in imports.iter().map(|import| folder(import)) {
            let is_allowed = import == folder(&module) || allowed.contains(&import.as_str());
            assert!(is_allowed, "tapio: {module} imports from {import}");
        }
    }
}

#[test]
fn the_product_has_no_test_doubles() {
    let metadata = metadata();
    let members = members(&metadata);
    let tests = "testing".to_owned();
    let features = &members["tapio"].features;
    assert!(features.contains_key(&tests) && features.get("default").is_none_or(|on| !on.contains(&tests)));
    let shipped = members["tapswitch"].dependencies.iter().filter(|used| used.kind == DependencyKind::Normal);
    for used in shipped.filter(|used| used.name == "tapio") {
        assert!(!used.features.contains(&tests), "what only tests need is in the product");
    }
}

/// What may be imported in engine, by folder or file: the worker is on top of the host, and that of the gateway.
const ENGINE: [(&str, &[&str]); 7] = [
    ("report", &[]),
    ("runtime_config", &[]),
    ("sockets", &[]),
    ("gateway", &["report", "runtime_config", "sockets"]),
    ("punt", &["gateway"]),
    ("host", &["gateway", "punt", "report", "runtime_config", "sockets"]),
    ("worker", &["gateway", "host", "punt", "report", "runtime_config"]),
];

/// The protocols of the host. They know what is beside them in its folder, but not each other.
const PROTOCOLS: [&str; 11] =
    ["arp", "dhcp", "fragments", "health", "held", "icmp", "loops", "mld", "ndp", "pcp", "ra"];

#[test]
fn the_gateway_knows_no_host_and_the_worker_is_on_top() {
    let room = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
    for (module, imports) in modules("engine") {
        let known = ENGINE.iter().find(|(name, _)| *name == room(&module));
        let (_, allowed) = known.unwrap_or_else(|| panic!("{module} is new: say what it may import"));
        for import in imports.iter().map(|import| room(import)).filter(|import| *import != room(&module)) {
            assert!(allowed.contains(&import.as_str()), "engine: {module} imports from {import}");
        }
    }
}

#[test]
fn protocols_of_the_host_do_not_know_each_other() {
    let protocol = |path: &str| {
        let name = path.strip_prefix("host/")?.split('/').next()?;
        PROTOCOLS.iter().find(|protocol| **protocol == name).copied()
    };
    let modules = modules("engine");
    for name in PROTOCOLS {
        assert!(modules.contains_key(&format!("host/{name}")), "{name} is gone");
    }
    for (module, imports) in &modules {
        let Some(own) = protocol(module) else { continue };
        for import in imports {
            let is_own = protocol(import).is_none_or(|other| other == own);
            assert!(is_own && import != "host", "engine: {module} imports from {import}");
        }
    }
}

#[test]
fn no_files_of_the_host_or_the_gateway_import_each_other_in_a_circle() {
    let mut modules = modules("engine");
    // One server in parts, which each add to it what they are about.
    modules.retain(|module, _| !module.starts_with("host/dhcp/server/"));
    refuse_circles(modules);
}

#[test]
fn no_files_of_nat_engine_or_tapio_import_each_other_in_a_circle() {
    ["nat-engine", "tapio"].into_iter().for_each(|package| refuse_circles(modules(package)));
}

fn refuse_circles(mut left: BTreeMap<String, BTreeSet<String>>) {
    let all: BTreeSet<String> = left.keys().cloned().collect();
    left.values_mut().for_each(|imports| imports.retain(|import| all.contains(import)));
    // Whoever imports none of those that are left is in no circle.
    while let Some(leaf) = left.iter().find(|(_, imports)| imports.is_empty()).map(|(leaf, _)| leaf.clone()) {
        left.remove(&leaf);
        for imports in left.values_mut() {
            imports.remove(&leaf);
        }
    }
    assert!(left.is_empty(), "these import each other, or such as do: {left:#?}");
}

#[test]
fn calls_of_the_nat_stand_in_one_file() {
    for (path, text) in sources("nat-engine") {
        let is_index = path == "nat";
        let has_calls = text.lines().any(|line| line == "impl Nat {");
        assert_eq!(has_calls, is_index, "nat-engine/src/{path}.rs");
    }
}

/// The files of a crate by their modules' paths, such as `flows/table`, without comments and unit tests. The root isn't
/// among them.
fn sources(package: &str) -> BTreeMap<String, String> {
    fn read(folder: &Path, module: &str, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("the folder exists").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let below =
                |name: &str| if module.is_empty() { name.to_owned() } else { format!("{module}/{name}") };
            match name.strip_suffix(".rs") {
                None => read(&path, &below(&name), found),
                Some("lib" | "main") if module.is_empty() => {}
                Some("tests") => {}
                Some(stem) => {
                    let text = fs::read_to_string(&path).expect("a source can be read");
                    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                    let module = if stem == "mod" { module.to_owned() } else { below(stem) };
                    found.insert(module, code.collect::<Vec<_>>().join("\n"));
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(package).join("src"), "", &mut found);
    found
}

/// Which modules of a crate import which others.
fn modules(package: &str) -> BTreeMap<String, BTreeSet<String>> {
    let sources = sources(package);
    let of_path = |path: &str| {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]).rev();
        let mut prefixes = ends.map(|end| &path[..end]);
        prefixes.find(|prefix| sources.contains_key(*prefix)).map(str::to_owned)
    };
    let mut modules = BTreeMap::new();
    for (module, text) in &sources {
        let mut imports = BTreeSet::new();
        for path in crate_paths(&from_root(module, text)) {
            let import = of_path(&path);
            imports
                .insert(import.unwrap_or_else(|| panic!("{package}: {module} takes {path} from the root")));
        }
        imports.remove(module);
        modules.insert(module.clone(), imports);
    }
    modules
}

/// The text of a module, in which `self::` and `super::` are paths from the root.
fn from_root(module: &str, text: &str) -> String {
    let parents: Vec<&str> =
        std::iter::successors(Some(module), |path| Some(path.rsplit_once('/')?.0)).collect();
    let path = |module: &str| format!("crate::{}::", module.replace('/', "::"));
    let mut text = text.replace("self::", &path(module));
    for (depth, parent) in parents.iter().enumerate().skip(1).rev() {
        text = text.replace(&"super::".repeat(depth), &path(parent));
    }
    text
}

/// All paths behind `crate::`, with `/` between their parts.
fn crate_paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, start) in text.match_indices("crate::") {
        read_tree(&mut text[at + start.len()..].chars().peekable(), String::new(), &mut found);
    }
    found
}

/// Reads a path, or what stands in braces at its end.
fn read_tree(rest: &mut Peekable<Chars<'_>>, before: String, found: &mut Vec<String>) {
    let mut path = before;
    while let Some(next) = rest.peek().copied() {
        match next {
            '{' => {
                while rest.next_if(|next| *next != '}').is_some() {
                    while rest.next_if(|next| next.is_whitespace() || *next == ',').is_some() {}
                    if rest.peek() != Some(&'}') {
                        read_tree(rest, path.clone(), found);
                    }
                }
                rest.next();
                return;
            }
            ':' => path.push_str(rest.next_if(|_| true).map_or("", |_| "/")),
            _ if next.is_alphanumeric() || next == '_' => path.extend(rest.next()),
            _ => break,
        }
        // The second colon.
        if next == ':' {
            rest.next();
        }
    }
    found.push(path);
}

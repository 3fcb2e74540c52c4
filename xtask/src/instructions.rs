//! Instructions that a frame takes, counted by Valgrind's callgrind beside recorded figures.
//!
//! ```text
//! bench/cases, built for release ─▶ valgrind ─▶ a file per case ─▶ table beside bench/instructions.txt
//! ```
//!
//! Unlike times they are the same on a busy machine, so that a change of one percent shows. But they are as much the
//! compiler's as ours: figures of another rustc are not compared. Then, and at any time, `--against COMMIT` counts a
//! commit anew with the compiler at hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

/// Where the recorded figures are.
const RECORDED: &str = "bench/instructions.txt";
/// What a case may take more than recorded, in percent.
const MAY_GROW: f64 = 5.0;
/// What callgrind is told, beside where to write.
const CALLGRIND: [&str; 5] = [
    "--tool=callgrind",
    "--quiet",
    "--collect-atstart=no",
    "--toggle-collect=*counted_round*",
    "--dump-before=*end_of_case*",
];

/// Instructions a frame, by case.
type Figures = Vec<(String, f64)>;

/// Counts, prints, and returns the exit code: 1 if a case takes too many.
pub fn run(args: &[&str]) -> io::Result<u8> {
    let root = root();
    match args {
        [] => Ok(compare(&count(&root)?, recorded(&root)?)),
        ["--record"] => record(&root),
        ["--against", commit] => {
            let before = Checkout::of(&root, commit)?;
            let then = count(&before.path)?;
            Ok(compare(&count(&root)?, Some(then)))
        }
        _ => Err(io::Error::other("only --record or --against COMMIT may follow")),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// Builds and counts what is in `root`.
fn count(root: &Path) -> io::Result<Figures> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let build = ["build", "--quiet", "--release", "-p", "cases", "--bin", "instructions"];
    succeed(Command::new(cargo).current_dir(root).env("CARGO_TARGET_DIR", &target).args(build))?;
    let folder = target.join("instructions");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let counts = folder.join("counts");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(CALLGRIND).arg(format!("--callgrind-out-file={}", counts.display()));
    let printed = succeed(valgrind.arg(target.join("release/instructions")))?;
    let cases = printed.lines().filter_map(|line| line.split_once('\t'));
    cases.zip(1..).map(|((name, frames), nth)| figure(&counts, nth, name, frames)).collect()
}

/// What callgrind has written of the case that ended as the `nth`.
fn figure(counts: &Path, nth: usize, name: &str, frames: &str) -> io::Result<(String, f64)> {
    let path = counts.with_extension(nth.to_string());
    let text = fs::read_to_string(&path)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let (total, frames) = (total.and_then(|total| total.parse::<f64>().ok()), frames.parse::<f64>().ok());
    match (total, frames) {
        (Some(total), Some(frames)) if total > 0.0 && frames > 0.0 => Ok((name.to_owned(), total / frames)),
        _ => Err(io::Error::other(format!("{}: no count of {name}", path.display()))),
    }
}

/// Prints both, and returns the exit code.
fn compare(now: &Figures, before: Option<Figures>) -> u8 {
    let before = before.unwrap_or_default();
    println!("{:40} {:>8} {:>8} {:>7}", "instructions a frame", "before", "now", "ratio");
    let mut is_worse = false;
    for (name, count) in now {
        match before.iter().find(|(other, _)| other == name) {
            Some((_, before)) => {
                let too_many = *count > before * (1.0 + MAY_GROW / 100.0);
                is_worse |= too_many;
                let mark = if too_many { "  TOO MANY" } else { "" };
                println!("{name:40} {before:>8.1} {count:>8.1} {:>7.3}{mark}", count / before);
            }
            None => println!("{name:40} {:>8} {count:>8.1}", "-"),
        }
    }
    if is_worse {
        println!(
            "A case takes {MAY_GROW} % more than before. If that is what it is worth: --record, and say why."
        );
    }
    u8::from(is_worse)
}

/// The figures of the repository, if this compiler made them.
fn recorded(root: &Path) -> io::Result<Option<Figures>> {
    let text = fs::read_to_string(root.join(RECORDED))?;
    let (compiler, theirs) = (compiler()?, text.lines().next().unwrap_or_default());
    if theirs != compiler {
        println!("Not compared: {RECORDED} was made with {theirs}, this is {compiler}.");
        println!("To compare with another commit, by this compiler: --against COMMIT");
        return Ok(None);
    }
    let figures = text.lines().skip(1).map(|line| {
        let (count, name) = line.trim().split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    figures
        .collect::<Option<_>>()
        .map(Some)
        .ok_or_else(|| io::Error::other(format!("{RECORDED} is malformed")))
}

fn record(root: &Path) -> io::Result<u8> {
    let figures = count(root)?;
    let lines: String = figures.iter().map(|(name, count)| format!("{count:8.1} {name}\n")).collect();
    fs::write(root.join(RECORDED), format!("{}\n{lines}", compiler()?))?;
    print!("{lines}");
    Ok(0)
}

/// The compiler, and what it compiles for.
fn compiler() -> io::Result<String> {
    let told = succeed(Command::new("rustc").arg("-vV"))?;
    let of = |key: &str| told.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    Ok(format!("rustc {} for {}", of("release: "), of("host: ")))
}

/// Another commit's files, until dropped.
struct Checkout {
    root: PathBuf,
    path: PathBuf,
}

impl Checkout {
    fn of(root: &Path, commit: &str) -> io::Result<Self> {
        let checkout = Self { root: root.to_owned(), path: root.join("target/instructions-before") };
        let add = ["worktree", "add", "--quiet", "--force", "--detach"];
        succeed(Command::new("git").current_dir(root).args(add).arg(&checkout.path).arg(commit))?;
        Ok(checkout)
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let remove = ["worktree", "remove", "--force"];
        // What is left is in target, and `--force` takes it over the next time.
        let _ = Command::new("git").current_dir(&self.root).args(remove).arg(&self.path).status();
    }
}

/// Runs a command to its end and returns what it printed.
fn succeed(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|error| {
        io::Error::other(format!("cannot run {}: {error}", command.get_program().display()))
    })?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "{} failed: {}",
            command.get_program().display(),
            output.status
        )));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

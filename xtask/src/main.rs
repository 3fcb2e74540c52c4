//! One entry point for people and CI: `cargo xtask test`, `cargo xtask bench tap`.
#![forbid(unsafe_code)]

use std::process::{Command, ExitCode};
use std::{env, io};

mod cpio;
mod guest;
mod instructions;
mod packages;
mod privilege;

use packages::{BENCH_TOOLS, COUNT_TOOLS, TEST_TOOLS, Tool, VHOST_BENCH_TOOLS};
use privilege::Privilege;

const USAGE: &str = "\
cargo xtask test [ARGS]         all tests; ARGS go to `cargo test --workspace`, such as a filter
cargo xtask guest               what the guests of tests boot; `test` sees to it too
cargo xtask bench tap [ARGS]    throughput and latency on real taps beside the floor and the kernel;
                                ARGS: see `cargo xtask bench tap --help`
cargo xtask bench nat [ARGS]    the same, of NAT only: floor, tapswitch and iptables' MASQUERADE
cargo xtask bench vhost [ARGS]  frames per second on vhost-user ports beside OVS-DPDK
cargo xtask bench attack [ARGS] what well-behaved ports get while others attack the switch
cargo xtask bench instructions [--record | --against COMMIT]
                                instructions that a frame takes, beside bench/instructions.txt; fails
                                where they are 5 % more";

/// What the tap benchmark measures of NAT.
const NAT_SUBJECTS: [&str; 2] = ["--subjects", "floor,tapswitch-nat,kernel-nat"];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["test", rest @ ..] => test(rest),
        ["guest"] => prepare(TEST_TOOLS).and_then(|_| guest::provide()).map(|()| 0),
        ["bench", "tap", rest @ ..] => bench("tapbench", BENCH_TOOLS, rest),
        ["bench", "nat", rest @ ..] => bench("tapbench", BENCH_TOOLS, &[&NAT_SUBJECTS, rest].concat()),
        ["bench", "attack", rest @ ..] => bench("attackbench", BENCH_TOOLS, rest),
        ["bench", "instructions", rest @ ..] => prepare(COUNT_TOOLS).and_then(|_| instructions::run(rest)),
        ["bench", "vhost", rest @ ..] => bench("vhostbench", VHOST_BENCH_TOOLS, rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every test. The whole-system tests make taps and network namespaces, so they need root, or a user
/// namespace in which we are root.
fn test(args: &[&str]) -> io::Result<u8> {
    let privilege = prepare(TEST_TOOLS)?;
    guest::provide()?;
    if privilege == Privilege::UserNamespace {
        // Built before we enter a namespace, which has no network to fetch dependencies over.
        let built = cargo(Privilege::Root, &["test", "--workspace", "--no-run"])?;
        if built != 0 {
            return Ok(built);
        }
    }
    cargo(privilege, &[&["test", "--workspace"], args].concat())
}

/// Runs a benchmark, with everything it measures built for release.
fn bench(program: &str, tools: &[Tool], args: &[&str]) -> io::Result<u8> {
    let privilege = prepare(tools)?;
    let built = cargo(Privilege::Root, &["build", "--release", "-p", "tapswitch", "-p", "bench", "--bins"])?;
    if built != 0 {
        return Ok(built);
    }
    let run = ["run", "--quiet", "--release", "-p", "bench", "--bin", program, "--"];
    cargo(privilege, &[run.as_slice(), args].concat())
}

/// Sees to it that `tools` are there and that namespaces can be made.
fn prepare(tools: &[Tool]) -> io::Result<Privilege> {
    let privilege = privilege::find()?;
    packages::provide(tools, privilege)?;
    Ok(privilege)
}

/// Runs cargo, which prints to our own output, and returns its exit code.
fn cargo(privilege: Privilege, args: &[&str]) -> io::Result<u8> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = match privilege {
        Privilege::Root => Command::new(cargo),
        Privilege::UserNamespace => privilege::in_user_namespace(&cargo),
    };
    let status = command.args(args).status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

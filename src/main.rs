//! The `tapswitch` command.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tapswitch::cli::main()
}

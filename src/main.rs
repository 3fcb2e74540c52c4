//! The `tapswitch` command.

fn main() -> std::process::ExitCode {
    tapswitch::cli::main()
}

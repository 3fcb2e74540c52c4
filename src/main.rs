//! The `tapswitch` command.
#![forbid(unsafe_code)]

#[global_allocator]
static MEMORY: tapio::HugePages = tapio::HugePages;

fn main() -> std::process::ExitCode {
    tapswitch::cli::main()
}

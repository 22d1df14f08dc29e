//! The program `syncline`: its command line and nothing else.

fn main() -> std::process::ExitCode {
    syncline::cli::main()
}

//! The `syncline` binary: everything is in the library.

/// Pages of records are a great many short texts, made on one thread and dropped on another: that is where an allocator
/// shows.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    syncline::cli::main()
}

//! The host as the integration tests run it: built by the test build, and nothing but the product.

fn main() -> std::process::ExitCode {
    syncline::cli::main()
}

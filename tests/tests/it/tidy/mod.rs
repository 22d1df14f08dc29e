//! What the sources promise about themselves, read from the sources: who imports whom, who names what, how long a file
//! is, and that every error code has its page.
//!
//! Each test collects everything that is wrong before it fails, so that one run shows all of it.

mod codes;
mod names;
mod ranks;
pub(crate) mod routes;
mod shape;
pub(crate) mod source;

/// Fails with every complaint on a line of its own.
fn report(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}\n  {}\n", complaints.join("\n  "));
}

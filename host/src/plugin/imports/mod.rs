//! What the sandbox offers to a connector: requests, log lines, and a WASI without a world behind it.
//!
//! A failing import returns an error to the guest and never traps. Must not know egress or the store: both are handed in.

pub(super) mod http;
pub(super) mod log;
pub(super) mod wasi;

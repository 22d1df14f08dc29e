//! What the integration tests and the benchmarks share: stand-in federations and a small HTTP client.
//!
//! Nothing here is shipped. Nothing here may depend on how the host works inside: the tests speak
//! to it as any other program would, over its command line and its HTTP API.

pub mod bench;
pub mod foireann;
pub mod http;

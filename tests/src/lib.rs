//! What the integration tests and the benchmarks share: stand-in federations and a small HTTP client.
//!
//! Nothing here is shipped. The tests speak to the host as any other program would, over its command
//! line and its HTTP API, and nothing may depend on how it works inside. [`trials`] may: they start
//! it in their own process, on a disk and by a clock of their own, and read its files afterwards.

pub mod authority;
pub mod bench;
pub mod dice;
pub mod foireann;
pub mod http;
pub mod node;
pub mod peers;
pub mod sse;
pub mod trials;

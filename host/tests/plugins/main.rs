//! The sandbox against components that break every limit, and the registry against files of every kind.
//!
//! The hostile components are built by `fixtures` on first use.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod cost;
mod fixtures;
mod hooks;
mod imports;
mod limits;
mod loading;
mod registry;
mod shapes;
mod strategies;

//! The bundled components, so that the single binary is complete.
//!
//! `build.rs` builds them and writes the list. They get no privilege: the registry loads, checks and pins them like
//! any other file.

/// A component that is part of the binary.
#[derive(Debug)]
pub struct EmbeddedComponent {
    /// The plugin's id, equal to the one in its manifest.
    pub name: &'static str,
    /// The component, as `cargo build` made it.
    pub bytes: &'static [u8],
}

// `COMPONENTS`: all of them, connectors before strategies, each sorted by name.
include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

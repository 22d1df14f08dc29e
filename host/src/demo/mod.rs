//! The built-in federation of `syncline demo`: a club's member list behind an HTTP API, and the story of what both
//! sides change.
//!
//! Owns invented members and the words for one kind of federation; it and its script are the only parts of the host
//! that may name a vendor or an entity. Must not know the engine: whoever plays the story speaks to the engine's API.

mod names;
mod roster;
mod server;
mod story;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

pub use roster::Member;
pub use server::Federation;
pub use story::{Author, Expect, Kind, Local, Remote, SLOTS, Scene, scenes};

/// The connector plugin that speaks this federation's API.
pub const PLUGIN: &str = "gaa-foireann";
pub const FEDERATION_CODE: &str = "gaa";
/// What the federation's records are called, on both sides.
pub const ENTITY: &str = "member";
/// The id of the club with the federation, and of the organization here.
pub const ORGANIZATION: &str = "naomh-eoin";
pub const ORGANIZATION_NAME: &str = "CLG Naomh Eoin";
/// What the federation wants in `X-API-Key`.
pub const API_KEY: &str = "demo-federation-key";
/// Each scene of the story needs members of its own.
pub const MEMBERS_MIN: u32 = 10;
pub const MEMBERS_MAX: u32 = 100_000;

/// Members per page: ten pages or more, so that the slow ones and the refused one exist at every size.
pub fn page_size(members: u32) -> u32 {
    (members / 10).clamp(1, 1000)
}

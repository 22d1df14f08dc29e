//! A federation that speaks the Foireann-style API, as a process of its own, with scripted faults.
//!
//! The server is the binary `foireann-sim`; [`Sim`] starts one, talks to its control surface and
//! ends it. A test looks like this:
//!
//! ```no_run
//! use serde_json::json;
//! use syncline_tests::foireann::{Fault, Options, Rule, Sim};
//!
//! // In an integration test of this package: env!("CARGO_BIN_EXE_foireann-sim").
//! let sim = Sim::spawn("target/debug/foireann-sim", Options::members(250).api_key("k-1"));
//! sim.fault(Rule::page(2, Fault::status(503)).once());
//! sim.patch_member("GAA-000007", json!({"email": "new@example.ie"}));
//! // ... let the host sync from sim.base_url(), then look at what it asked for:
//! assert_eq!(sim.list_pages_seen(), [1, 2, 2, 3]);
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`generate`] | realistic members, a pure function of (seed, number) |
//! | [`roster`], [`club`] | the members of each club and their rendered pages |
//! | [`fault`], [`rule`] | what goes wrong, and for which requests |
//! | [`sabotage`] | what each fault does to an answer |
//! | [`wire`] | HTTP/1.1 on a socket, including ways to break it |
//! | [`server`], [`control`], [`members_csv`] | the API, the control surface, the CSV export |
//! | [`process`] | arguments, ready line, end |
//! | [`client`] | [`Sim`], the test authors' side |
//! | [`local`] | the same federation in the process of its user |

pub mod client;
pub mod club;
pub mod control;
pub mod fault;
pub mod generate;
pub mod local;
pub mod members_csv;
pub mod process;
pub mod roster;
pub mod rule;
pub mod sabotage;
pub mod server;
pub mod wire;

pub use client::{Options, SeenRequest, Sim};
pub use fault::{Cursor, ErrorBody, Fault, Moment, RetryAfter, Shuffle};
pub use rule::Rule;
pub use server::decoded;

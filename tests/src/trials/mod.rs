//! Trials: what happens to the host when the world does not behave, driven by a seed.
//!
//! | module | owns |
//! |---|---|
//! | [`disk`] | a disk that fails, or loses power, at a chosen operation |
//! | [`server`] | the host in this process, and the end of it |
//! | [`api`] | JSON over its HTTP API |
//! | [`stage`] | a data directory and a federation to begin each trial with |
//! | [`process`] | the real binary, and the end of it |
//! | [`ledger`] | edits and requests that a server has acknowledged, and what it then must hold |
//! | [`hooks`] | the same of deliveries of webhooks |
//! | [`kills`] | the real binary is killed again and again while it works |
//! | [`lives`] | the world of such a trial, each life of the binary, and the last one |
//! | [`callers`] | who calls the binary in each life |
//! | [`year`] | a year by a clock that the trial moves |
//! | [`sweep`] | the disk fails at operation 1, 2, 3, ... of one start, edits, a sync and a stop |
//!
//! A trial answers what it found wrong, and never mends or retries anything. The program that runs
//! them is `src/bin/trials.rs`; what they promise is in `docs/reliability.md`.

pub mod api;
mod callers;
pub mod disk;
pub mod hooks;
pub mod kills;
pub mod ledger;
mod lives;
pub mod process;
pub mod server;
pub mod stage;
pub mod sweep;
pub mod year;

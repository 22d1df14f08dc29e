//! The words of the house as plain data: values, records, pages, conflicts, runs, manifests, templates,
//! accounts.
//!
//! Owns shapes and their invariants. Must not do IO, read a clock or know any vendor.

pub mod access;
pub mod channel;
pub mod conflict;
pub mod directory;
pub mod health;
pub mod http;
pub mod ids;
pub mod job;
mod json_text;
pub mod manifest;
pub mod new_rows;
pub mod notice;
pub mod oauth;
pub mod plan;
pub mod record;
pub mod remote;
pub mod rows;
pub mod run;
pub mod schedule;
pub mod secret;
pub mod template;
pub mod value;
pub mod webhook;

pub use conflict::{Choice, Conflict, Decision, Side};
pub use ids::{ConnectionId, ConnectorId, OrgNo, RecordId, RunId};
pub use record::{ModifiedBy, Record, RecordStatus};
pub use remote::{GuestError, RemotePage, RemoteRow};
pub use run::{Mode, RunStatus, Trigger};
pub use secret::{Place, Sealed};
pub use value::{Cell, FieldType, Value};

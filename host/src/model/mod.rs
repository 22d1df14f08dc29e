//! The words of the house as plain data: values, records, pages, conflicts, runs, manifests, templates.
//!
//! Owns shapes and their invariants. Must not do IO, read a clock or know any vendor.

pub mod conflict;
pub mod http;
pub mod ids;
pub mod manifest;
pub mod record;
pub mod remote;
pub mod run;
pub mod template;
pub mod value;

pub use conflict::{Choice, Conflict, Decision, Side};
pub use ids::{ConnectionId, ConnectorId, OrgNo, RecordId, RunId};
pub use record::{ModifiedBy, Record, RecordStatus};
pub use remote::{GuestError, RemotePage, RemoteRow};
pub use run::{Mode, RunStatus, Trigger};
pub use value::{FieldType, Value};

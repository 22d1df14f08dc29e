//! The shapes of requests and answers as the OpenAPI document describes them.
//!
//! Owns names, types and the words that a member may have. Nothing here is ever built: handlers answer rows as JSON and
//! read bodies member by member (`body.rs`), and the integration tests hold every answer against these shapes. A member
//! that is not an `Option` is always there; an object has no members but these.
#![expect(dead_code, reason = "shapes are described, not built")]

mod access;
mod conflicts;
mod connections;
mod connectors;
mod directory;
mod records;
mod runs;
mod schedules;
mod upkeep;
mod webhooks;

pub(super) use access::{
    AuditEntry, AuditFilter, AuditVerdict, CreatedToken, Identity, LoggedIn, Login, NewPassword,
    NewToken, NewUser, OrganizationFilter, PasswordChange, Session, Token, User, UserChange,
};
pub(super) use conflicts::{
    Conflict, ConflictFilter, Decided, Decision, Decisions, Failure, FailureFilter, Retried,
    Retries,
};
pub(super) use connections::{Connection, ConnectionChange, NewConnection};
pub(super) use connectors::{
    Authorization, AuthorizationOf, AuthorizationStarted, Authorized, CallbackParameters,
    CheckReport, CheckRequest, ConnectionFare, Connector, ConnectorChange, ConnectorFilter,
    ConnectorHealth, Credentials, NewConnector, StatusChange,
};
pub(super) use directory::{
    Activation, Approval, NewOrganization, NewPreviewRequest, NewTemplate, Organization,
    OrganizationChange, Plugin, PluginDetail, Plugins, Preview, PreviewRequest, Template,
    UsedTemplate,
};
pub(super) use records::{
    ChangeFilter, Changes, Event, HistoryEntry, LastEventId, NewRecord, Record, RecordChange,
    RecordFilter, Why, WhyFilter,
};
pub(super) use runs::{
    ConflictLine, ExportFormat, Job, LogLine, OutcomeFilter, PlanApproval, QueueFilter,
    RecordOutcome, RequestLine, Run, RunExport, RunFilter, RunsExport, SyncAccepted, SyncRequest,
    Undone,
};
pub(super) use schedules::{
    Fire, FireFilter, NewSchedule, NextFilter, NextFire, Schedule, ScheduleChange, ScheduleFilter,
    SchedulePauseRequest, ScheduleTriggered,
};
pub(super) use upkeep::{
    Channel, ChannelChange, ChannelFilter, ChannelTest, Delivery, DeliveryFilter, KeyStatus,
    NewChannel,
};
pub(super) use webhooks::{Hook, HookFilter, Listening, Received, Reception, SignedEvent};

use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// An error, as `application/problem+json` (RFC 9457).
#[derive(ToSchema)]
pub(super) struct Problem {
    /// Where the code is explained.
    #[schema(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    status: u16,
    /// Stable: decide by it.
    code: String,
    /// What is wrong and what to do, for people.
    detail: String,
    /// What is wrong with the request, member by member.
    errors: Option<Vec<Fault>>,
    /// Finds the request in the log; also in the header `X-Request-Id`.
    #[schema(rename = "requestId")]
    request_id: Option<String>,
}

/// One thing wrong with a request.
#[derive(ToSchema)]
pub(super) struct Fault {
    /// JSON pointer into the body, or `?name` for a query parameter.
    pointer: String,
    message: String,
}

/// A page of a list.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// Asks for the next page; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// What every list takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
    /// How many rows to answer: 50 if it is left out, never more than 200.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// An object with members of any name.
pub(super) type Object = BTreeMap<String, Value>;

#[derive(ToSchema)]
pub(super) struct Alive {
    /// `ok`
    status: String,
}

#[derive(ToSchema)]
pub(super) struct Ready {
    /// `ready`
    status: String,
}

//! Schedules, their next fires, and what became of those that were.

use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum ScheduleMode {
    Full,
    Incremental,
}

/// What happens when a run for the same is not over when the next one is due.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum Overlap {
    /// The fire is left out, visibly.
    Skip,
    /// One more waits behind it.
    BufferOne,
    /// The run that a schedule started before is cancelled.
    CancelOther,
}

/// When connections are synced by themselves.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Schedule {
    id: String,
    name: String,
    /// Null: all connections of the connector.
    organization_id: Option<String>,
    connector_id: String,
    /// Or `all`.
    entity: String,
    mode: ScheduleMode,
    cron: String,
    /// Null: the time zone of each organization.
    timezone: Option<String>,
    overlap: Overlap,
    /// Seconds: a fire that was missed for no longer is made up for.
    catch_up_window: u64,
    /// Seconds: connections are spread over so long after the nominal time.
    jitter: u64,
    enabled: bool,
    /// Made from the connector's `syncConfig`, which rules pattern and zone.
    generated: bool,
    /// The pattern in words.
    description: String,
    paused: Option<SchedulePause>,
    /// What keeps all that the schedule is for from being synced.
    blocked: Option<Blocked>,
    /// The nominal time of the last fire.
    #[schema(format = DateTime)]
    last_fire_at: Option<String>,
    /// The nominal time of the next fire.
    #[schema(format = DateTime)]
    next_fire_at: Option<String>,
    /// Over the last seven days; only where one schedule is asked for.
    #[schema(nullable = false)]
    drift: Option<Drift>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    version: u64,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SchedulePause {
    /// Null: until somebody resumes it.
    #[schema(format = DateTime)]
    until: Option<String>,
    reason: String,
    by: String,
    #[schema(format = DateTime)]
    at: String,
}

#[derive(ToSchema)]
pub(in crate::api) struct Blocked {
    code: String,
    message: String,
}

/// Whether a schedule keeps up: fires by what became of them.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Drift {
    /// From when on it counts: later than seven days ago where the list of fires does not reach so far back.
    #[schema(format = DateTime)]
    since: String,
    expected: u64,
    fired: u64,
    caught_up: u64,
    /// Left out because a run for the same took longer than the interval.
    overlapped: u64,
    /// Left out for another reason.
    skipped: u64,
    missed: u64,
    /// The longest wait of a run in the queue.
    queue_wait_ms_max: u64,
    /// The longest run.
    run_ms_max: u64,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewSchedule {
    /// The connector's name if it is left out.
    #[schema(min_length = 1)]
    name: Option<String>,
    /// Left out: all connections of the connector.
    organization_id: Option<String>,
    #[schema(min_length = 1)]
    connector_id: String,
    /// `all` if it is left out.
    #[schema(min_length = 1)]
    entity: Option<String>,
    /// `full` if it is left out.
    mode: Option<ScheduleMode>,
    /// Five fields, or a word such as `@daily`.
    #[schema(min_length = 1)]
    cron: String,
    /// IANA name; the time zone of each organization if it is left out.
    timezone: Option<String>,
    /// `skip` if it is left out.
    overlap: Option<Overlap>,
    /// Seconds, or a text such as `24h`.
    catch_up_window: Option<Value>,
    /// Seconds, or a text such as `5m`.
    jitter: Option<Value>,
    enabled: Option<bool>,
}

/// What is left out stays as it is, and null goes back to the default. A schedule that was read may be sent back as a
/// whole.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ScheduleChange {
    #[schema(min_length = 1)]
    name: Option<String>,
    /// Cannot be changed.
    organization_id: Option<String>,
    /// Cannot be changed.
    connector_id: Option<String>,
    #[schema(min_length = 1)]
    entity: Option<String>,
    mode: Option<ScheduleMode>,
    #[schema(min_length = 1)]
    cron: Option<String>,
    timezone: Option<String>,
    overlap: Option<Overlap>,
    catch_up_window: Option<Value>,
    jitter: Option<Value>,
    enabled: Option<bool>,
    /// Has no effect, as all that follow.
    id: Option<Value>,
    generated: Option<Value>,
    description: Option<Value>,
    paused: Option<Value>,
    blocked: Option<Value>,
    last_fire_at: Option<Value>,
    next_fire_at: Option<Value>,
    drift: Option<Value>,
    created_at: Option<Value>,
    updated_at: Option<Value>,
    version: Option<Value>,
}

#[derive(ToSchema)]
pub(in crate::api) struct SchedulePauseRequest {
    #[schema(min_length = 1)]
    reason: String,
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// The runs of a schedule that somebody asked for now.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ScheduleTriggered {
    schedule_id: String,
    /// Of the first connection that could be synced.
    sync_id: String,
    job_id: String,
    runs: Vec<TriggeredRun>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct TriggeredRun {
    organization_id: String,
    connection_id: String,
    sync_id: Option<String>,
    job_id: Option<String>,
    /// The run was waiting already.
    joined: bool,
    /// Why there is no run.
    code: Option<String>,
    message: Option<String>,
}

/// A fire that is to come.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NextFire {
    #[schema(format = DateTime)]
    nominal_at: String,
    /// The same on the clock of the zone, with its name: RFC 9557.
    local_time: String,
    timezone: String,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum FireOutcome {
    /// A run was asked for in time.
    Fired,
    /// A late run was asked for, for all that was missed inside the catch-up window.
    CaughtUp,
    /// Nothing was asked for: `reason` says why.
    Skipped,
    /// Nothing ran then, and it is too late.
    Missed,
    /// A person asked for a run.
    Triggered,
}

/// One fire for one connection, or several in a row that came to the same.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Fire {
    /// Within the schedule.
    number: u64,
    organization_id: String,
    connection_id: String,
    outcome: FireOutcome,
    /// What the pattern says; of several fires the last one.
    #[schema(format = DateTime)]
    nominal_at: Option<String>,
    /// Of several fires the first one.
    #[schema(format = DateTime)]
    nominal_from: Option<String>,
    /// The nominal time and the connection's share of the spread.
    #[schema(format = DateTime)]
    due_at: Option<String>,
    /// When it was dealt with.
    #[schema(format = DateTime)]
    at: String,
    /// How many fires it stands for; 1000 and more are at least so many.
    count: u64,
    sync_id: Option<String>,
    /// The run was waiting already.
    joined: bool,
    code: Option<String>,
    reason: Option<String>,
    /// The person who asked for it.
    by: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ScheduleFilter {
    /// Schedules that are for this organization, also beside others.
    organization: Option<String>,
    connector: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct NextFilter {
    /// How many fires to answer: 5 if it is left out.
    #[param(minimum = 1, maximum = 200)]
    count: Option<u32>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct FireFilter {
    organization: Option<String>,
    #[param(inline)]
    outcome: Option<FireOutcome>,
}

//! Every table of the data directory and how its keys are laid out. Nothing else knows a layout.
//!
//! Keys are tuples in byte order (see `keys`): `org` is an organization's number (u32), `conn` a connection's (u32),
//! `entity` an entity's (u16), `record`, `run`, `job` are u64; a record's number starts with its entity's. `ext`
//! (external id) and other words are texts ended by a zero byte. Values start with a format byte; the form behind it is
//! named in the comment.

use redb::TableDefinition;

/// A table of bytes to bytes.
pub(crate) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const fn table(name: &'static str) -> Table {
    TableDefinition::new(name)
}

// state.redb

/// word -> text or number: `schema`, `key-checks`, and a counter per sequence.
pub(crate) const META: Table = table("meta");
/// organization id -> JSON
pub(crate) const ORGANIZATIONS: Table = table("organizations");
/// connector (u32) -> JSON
pub(crate) const CONNECTORS: Table = table("connectors");
/// org, conn -> JSON
pub(crate) const CONNECTIONS: Table = table("connections");
/// 1, status | 2, code | 3, code, status | 4, template; each with the connector behind it (u32) -> nothing
pub(crate) const CONNECTORS_BY: Table = table("connectors-by");
/// connector, 1 (live) | 2 (disconnected), conn -> org
pub(crate) const CONNECTIONS_BY_CONNECTOR: Table = table("connections-by-connector");
/// connector, the remote's id of the organization, conn -> org: live ones, as in the next one
pub(crate) const CONNECTIONS_BY_REMOTE: Table = table("connections-by-remote");
/// org, connector -> conn
pub(crate) const CONNECTIONS_LIVE: Table = table("connections-live");
/// org, connector, the remote's id of the organization -> conn: the disconnected one
pub(crate) const CONNECTIONS_FORMER: Table = table("connections-former");
/// organization id (empty: the installation's), table, row, field -> a sealed value; see `model::Place`
pub(crate) const SECRETS: Table = table("secrets");
/// id of the wrapping key (8 bytes), key of `SECRETS` -> nothing
pub(crate) const SECRETS_BY_KEY: Table = table("secrets-by-key");
/// since when it is not used (u64), connector, conn (0: the connector's own) -> nothing: credentials that are kept for a
/// while
pub(crate) const CREDENTIALS_LEFT: Table = table("credentials-left");
/// connector, conn (0: the connector as a whole) -> how it fares, with the last days' runs by outcome and time out of order
pub(crate) const HEALTH: Table = table("health");
/// connector, conn (0: the connector as a whole), sequence (u64) -> JSON: a line of the error log
pub(crate) const HEALTH_LOG: Table = table("health-log");
/// due (u64), connector -> nothing: connectors in `error` that will be asked whether they are well again
pub(crate) const PROBES: Table = table("probes");
/// connector, conn (0: the connector's own) -> JSON: what a platform granted over OAuth, tokens are secrets
pub(crate) const OAUTH_GRANTS: Table = table("oauth-grants");
/// sha256 of the state -> JSON: an authorization under way, verifier sealed
pub(crate) const OAUTH_ATTEMPTS: Table = table("oauth-attempts");
/// template (u32) -> JSON
pub(crate) const TEMPLATES: Table = table("templates");
/// sha256 of the token -> JSON
pub(crate) const TOKENS: Table = table("tokens");
/// token (u32) -> its sha256
pub(crate) const TOKEN_IDS: Table = table("token-ids");
/// org (0: none), token (u32) -> nothing
pub(crate) const TOKENS_BY_ORGANIZATION: Table = table("tokens-by-organization");
/// user (u32) -> JSON
pub(crate) const USERS: Table = table("users");
/// e-mail address in lower case -> user
pub(crate) const USERS_BY_EMAIL: Table = table("users-by-email");
/// org (0: none), user (u32) -> nothing
pub(crate) const USERS_BY_ORGANIZATION: Table = table("users-by-organization");
/// sha256 of the session's secret -> JSON
pub(crate) const SESSIONS: Table = table("sessions");
/// user (u32), session (u64) -> the sha256
pub(crate) const SESSIONS_BY_USER: Table = table("sessions-by-user");
/// sequence (u64) -> JSON: an entry of the audit log with the hash of the one before
pub(crate) const AUDIT: Table = table("audit");
/// org, sequence (u64) -> nothing
pub(crate) const AUDIT_BY_ORGANIZATION: Table = table("audit-by-organization");
/// entity (u32) -> its name
pub(crate) const ENTITIES: Table = table("entities");
/// shape (u32) -> field names
pub(crate) const SHAPES: Table = table("shapes");
/// org, record -> the record
pub(crate) const RECORDS: Table = table("records");
/// org, conn, entity, ext -> the link: record, base, fingerprint of the remote
pub(crate) const LINKS: Table = table("links");
/// org, kind, value, record -> nothing. `kind` is a digest (4 bytes) of the entity and a secondary id's kind, or
/// `=field+field` of a match rule; `value` one (16 bytes) of the kind and the id or match key
pub(crate) const IDENTITY: Table = table("identity");
/// org, entity -> JSON list of match rules that `IDENTITY` covers
pub(crate) const MATCH_RULES: Table = table("match-rules");
/// org, conn (0: all), entity -> how many records, and how many of them active
pub(crate) const COUNTS: Table = table("counts");
/// org, record, sequence -> one change with its before-image
pub(crate) const HISTORY: Table = table("history");
/// org, record, field -> the conflict that was decided on it last: a line of a run, or an item of the inbox
pub(crate) const DECISIONS: Table = table("decisions");
/// class (u32), when it ended (u64), then its number, or org and the first sequence of a chunk -> org, or what the chunk
/// holds: everything that goes when it is old enough
pub(crate) const AGING: Table = table("aging");
/// org, first sequence -> a chunk of change-feed rows
pub(crate) const CHANGES: Table = table("changes");
/// org, conn, entity -> JSON: watermark and checkpoint of the last completed run
pub(crate) const WATERMARKS: Table = table("watermarks");
/// run -> number of its status, the run
pub(crate) const RUNS: Table = table("runs");
/// 1, org | 2, connector | 3, trigger | 4, status; each with the run behind it -> nothing
pub(crate) const RUNS_BY: Table = table("runs-by");
/// sha256 of whose key it is and the key -> JSON: a request with an idempotency key, and its answer
pub(crate) const IDEMPOTENCY: Table = table("idempotency");
/// milliseconds (u64), sha256 -> nothing
pub(crate) const IDEMPOTENCY_BY_TIME: Table = table("idempotency-by-time");
/// run, number (u32) -> a conflict line
pub(crate) const RUN_CONFLICTS: Table = table("run-conflicts");
/// run, page (u32) -> a chunk of per-record outcomes
pub(crate) const RUN_RECORDS: Table = table("run-records");
/// run, number (u32) -> JSON
pub(crate) const RUN_REQUESTS: Table = table("run-requests");
/// run, number (u32) -> JSON
pub(crate) const RUN_LOGS: Table = table("run-logs");
/// run, page (u32) -> a page of the plan of a held run
pub(crate) const PLANS: Table = table("plans");
/// conflict -> JSON: an open or resolved item of the conflict inbox
pub(crate) const CONFLICTS: Table = table("conflicts");
/// org, conn, record, field -> conflict: at most one open item
pub(crate) const CONFLICTS_OPEN: Table = table("conflicts-open");
/// failure -> JSON
pub(crate) const FAILURES: Table = table("failures");
/// org, conn, entity, ext, stage -> failure: at most one open item
pub(crate) const FAILURES_OPEN: Table = table("failures-open");
/// job -> the job
pub(crate) const JOBS: Table = table("jobs");
/// org, conn, 0 (pending) | 1 (waits for a retry) -> job: the sync that others merge into; or org, conn, 2, job -> job:
/// any other that waits
pub(crate) const JOBS_WAITING: Table = table("jobs-waiting");
/// connector, priority (u32), due (u64), job -> what it touches: all that is not running and has not failed for good
pub(crate) const JOBS_READY: Table = table("jobs-ready");
/// job -> what it touches
pub(crate) const JOBS_RUNNING: Table = table("jobs-running");
/// when it failed for good (u64), job -> nothing
pub(crate) const JOBS_DEAD: Table = table("jobs-dead");
/// org, job that failed for good -> nothing
pub(crate) const JOBS_DEAD_BY_ORGANIZATION: Table = table("jobs-dead-by-organization");
/// schedule (u32) -> JSON
pub(crate) const SCHEDULES: Table = table("schedules");
/// connector, schedule (u32) -> nothing
pub(crate) const SCHEDULES_BY_CONNECTOR: Table = table("schedules-by-connector");
/// schedule (u32), conn -> JSON: its last fire for a connection
pub(crate) const SCHEDULE_TARGETS: Table = table("schedule-targets");
/// schedule (u32), number (u64) -> JSON: a line of the list of its fires
pub(crate) const SCHEDULE_FIRES: Table = table("schedule-fires");
/// number (u64) -> JSON: an event that waits in the outbox
pub(crate) const EVENTS: Table = table("events");
/// kind, organization id -> JSON: events that an overflow made a count
pub(crate) const EVENTS_COLLAPSED: Table = table("events-collapsed");
/// channel (u32) -> JSON with the sealed secret
pub(crate) const CHANNELS: Table = table("channels");
/// notice (u64) -> JSON: a message to a channel, on its way or over
pub(crate) const NOTICES: Table = table("notices");
/// channel (u32), notice (u64) -> nothing
pub(crate) const NOTICES_BY_CHANNEL: Table = table("notices-by-channel");
/// due (u64, milliseconds since the epoch), notice (u64) -> channel: the notices that are not over
pub(crate) const NOTICES_DUE: Table = table("notices-due");
/// channel (u32), group, org of the audience (0: none) -> JSON: until when events of a group are collected, and in which notice
pub(crate) const NOTICE_GROUPS: Table = table("notice-groups");
/// sequence (u64) of the delivery in `inbox.redb` -> what it came to
pub(crate) const HOOK_OUTCOMES: Table = table("hook-outcomes");
/// org, sequence (u64) -> nothing: the deliveries that concerned it
pub(crate) const HOOKS_BY_ORGANIZATION: Table = table("hooks-by-organization");
/// sequence (u64) -> JSON: a delivery that waits to be processed again
pub(crate) const HOOKS_DUE: Table = table("hooks-due");
/// connector, digest (16 bytes) of an event id -> until (u64, milliseconds since the epoch)
pub(crate) const HOOK_EVENTS: Table = table("hook-events");
/// until (u64), connector, digest -> nothing
pub(crate) const HOOK_EVENTS_BY_TIME: Table = table("hook-events-by-time");

/// Opened once at start, so that a read never meets a table that does not exist yet.
pub(crate) const STATE: &[Table] = &[
    META,
    ORGANIZATIONS,
    CONNECTORS,
    CONNECTORS_BY,
    CONNECTIONS,
    CONNECTIONS_BY_CONNECTOR,
    CONNECTIONS_BY_REMOTE,
    CONNECTIONS_LIVE,
    CONNECTIONS_FORMER,
    SECRETS,
    SECRETS_BY_KEY,
    CREDENTIALS_LEFT,
    HEALTH,
    HEALTH_LOG,
    PROBES,
    OAUTH_GRANTS,
    OAUTH_ATTEMPTS,
    TEMPLATES,
    TOKENS,
    TOKEN_IDS,
    TOKENS_BY_ORGANIZATION,
    USERS,
    USERS_BY_EMAIL,
    USERS_BY_ORGANIZATION,
    SESSIONS,
    SESSIONS_BY_USER,
    AUDIT,
    AUDIT_BY_ORGANIZATION,
    ENTITIES,
    SHAPES,
    RECORDS,
    LINKS,
    IDENTITY,
    MATCH_RULES,
    COUNTS,
    HISTORY,
    DECISIONS,
    AGING,
    CHANGES,
    WATERMARKS,
    RUNS,
    RUNS_BY,
    IDEMPOTENCY,
    IDEMPOTENCY_BY_TIME,
    RUN_CONFLICTS,
    RUN_RECORDS,
    RUN_REQUESTS,
    RUN_LOGS,
    PLANS,
    CONFLICTS,
    CONFLICTS_OPEN,
    FAILURES,
    FAILURES_OPEN,
    JOBS,
    JOBS_WAITING,
    JOBS_READY,
    JOBS_RUNNING,
    JOBS_DEAD,
    JOBS_DEAD_BY_ORGANIZATION,
    SCHEDULES,
    SCHEDULES_BY_CONNECTOR,
    SCHEDULE_TARGETS,
    SCHEDULE_FIRES,
    EVENTS,
    EVENTS_COLLAPSED,
    CHANNELS,
    NOTICES,
    NOTICES_BY_CHANNEL,
    NOTICES_DUE,
    NOTICE_GROUPS,
    HOOK_OUTCOMES,
    HOOKS_BY_ORGANIZATION,
    HOOKS_DUE,
    HOOK_EVENTS,
    HOOK_EVENTS_BY_TIME,
];

// inbox.redb

/// sequence (u64) -> bytes of bodies up to and with this one (u64), the delivery, its sealed body
pub(crate) const HOOKS: Table = table("hooks");
/// connector, sequence (u64) of the first -> how far behind it the connector's deliveries of one commit are
pub(crate) const HOOKS_BY_CONNECTOR: Table = table("hooks-by-connector");
/// connector, what tells a delivery from others -> until (u64, milliseconds since the epoch), sequence (u64), digest of the
/// body (8 bytes)
pub(crate) const HOOKS_SEEN: Table = table("hooks-seen");
/// until (u64, rounded up to a second), sequence (u64) of the first -> the keys of `HOOKS_SEEN` of one commit, each behind its
/// length (u8)
pub(crate) const HOOKS_SEEN_BY_TIME: Table = table("hooks-seen-by-time");

pub(crate) const INBOX: &[Table] = &[HOOKS, HOOKS_BY_CONNECTOR, HOOKS_SEEN, HOOKS_SEEN_BY_TIME];

// staging.redb

/// run, page (u32), part (u32) -> a piece of a page of the plan in the making
pub(crate) const STAGED_PAGES: Table = table("staged-pages");
/// run -> JSON: how far the listing was read
pub(crate) const STAGED_CURSORS: Table = table("staged-cursors");
/// run -> the fencing number (u64) of who may stage
pub(crate) const STAGED_HOLDERS: Table = table("staged-holders");

pub(crate) const STAGING: &[Table] = &[STAGED_PAGES, STAGED_CURSORS, STAGED_HOLDERS];

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

/// word -> text or number: `schema`, `key-check`, and a counter per sequence.
pub(crate) const META: Table = table("meta");
/// organization id -> JSON
pub(crate) const ORGANIZATIONS: Table = table("organizations");
/// connector (u32) -> JSON
pub(crate) const CONNECTORS: Table = table("connectors");
/// org, conn -> JSON
pub(crate) const CONNECTIONS: Table = table("connections");
/// connector, conn -> org
pub(crate) const CONNECTIONS_BY_CONNECTOR: Table = table("connections-by-connector");
/// connector, conn (0: the connector's own) -> JSON with the sealed bytes
pub(crate) const CREDENTIALS: Table = table("credentials");
/// template (u32) -> JSON
pub(crate) const TEMPLATES: Table = table("templates");
/// sha256 of the token -> JSON
pub(crate) const TOKENS: Table = table("tokens");
/// entity (u32) -> its name
pub(crate) const ENTITIES: Table = table("entities");
/// shape (u32) -> field names
pub(crate) const SHAPES: Table = table("shapes");
/// org, record -> the record
pub(crate) const RECORDS: Table = table("records");
/// org, conn, entity, ext -> the link: record, base, fingerprint of the remote
pub(crate) const LINKS: Table = table("links");
/// org, entity, kind, value, record -> nothing. `kind` is a secondary id's kind, or `=field+field` of a match rule
pub(crate) const IDENTITY: Table = table("identity");
/// org, entity -> JSON list of match rules that `IDENTITY` covers
pub(crate) const MATCH_RULES: Table = table("match-rules");
/// org, conn (0: all), entity -> how many records, and how many of them active
pub(crate) const COUNTS: Table = table("counts");
/// org, record, sequence -> one change with its before-image
pub(crate) const HISTORY: Table = table("history");
/// org, first sequence -> a chunk of change-feed rows
pub(crate) const CHANGES: Table = table("changes");
/// org, conn, entity -> JSON: watermark and checkpoint of the last completed run
pub(crate) const WATERMARKS: Table = table("watermarks");
/// run -> JSON
pub(crate) const RUNS: Table = table("runs");
/// org, run -> nothing
pub(crate) const RUNS_BY_ORGANIZATION: Table = table("runs-by-organization");
/// org, key -> JSON: which run a request with an idempotency key became
pub(crate) const SYNC_KEYS: Table = table("sync-keys");
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
/// job -> JSON
pub(crate) const JOBS: Table = table("jobs");

/// Opened once at start, so that a read never meets a table that does not exist yet.
pub(crate) const STATE: &[Table] = &[
    META,
    ORGANIZATIONS,
    CONNECTORS,
    CONNECTIONS,
    CONNECTIONS_BY_CONNECTOR,
    CREDENTIALS,
    TEMPLATES,
    TOKENS,
    ENTITIES,
    SHAPES,
    RECORDS,
    LINKS,
    IDENTITY,
    MATCH_RULES,
    COUNTS,
    HISTORY,
    CHANGES,
    WATERMARKS,
    RUNS,
    RUNS_BY_ORGANIZATION,
    SYNC_KEYS,
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
];

// staging.redb

/// run, page (u32) -> a page of the plan in the making
pub(crate) const STAGED_PAGES: Table = table("staged-pages");
/// run -> JSON: how far the listing was read
pub(crate) const STAGED_CURSORS: Table = table("staged-cursors");

pub(crate) const STAGING: &[Table] = &[STAGED_PAGES, STAGED_CURSORS];

//! The table of keys: name in the file, meaning, range, and the field that each one sets.
//!
//! A knob exists when it has a row here and nowhere else. `docs/configuration.md` lists the same rows.

use super::sections::{Config, LogFormat, LogLevel};
use serde_json::Value;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use url::Url;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// `section.name`, as in the file.
    pub name: &'static str,
    /// One line for people: what it bounds and in which unit.
    pub help: &'static str,
    /// The value is never printed.
    pub secret: bool,
    access: Access,
}

/// How a value is read into its field and shown again.
#[derive(Debug)]
enum Access {
    Number { at: fn(&mut Config) -> &mut u64, min: u64, max: u64 },
    List { at: fn(&mut Config) -> &mut Vec<String>, item: fn(&str) -> Result<(), &'static str> },
    Text { set: fn(&mut Config, &str) -> Result<(), &'static str>, show: fn(&Config) -> String },
}

/// A value as its source gave it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    Text(String),
    Integer(String),
    List(Vec<Raw>),
    /// A type that no setting has, by its name in the file format.
    Other(&'static str),
    /// From a variable or a flag, where everything is text.
    Untyped(String),
}

/// What was found and what was expected, in words.
pub(super) struct Wrong {
    pub(super) found: String,
    pub(super) expected: String,
}

impl Key {
    /// The name of the variable: `egress.allowPrivate` is `SYNCLINE_EGRESS_ALLOW_PRIVATE`. The
    /// section `cli` drops out (`SYNCLINE_SERVER`, `SYNCLINE_TOKEN`).
    pub fn variable(&self) -> String {
        let mut name = String::from("SYNCLINE_");
        for c in self.name.strip_prefix("cli.").unwrap_or(self.name).chars() {
            match c {
                '.' => name.push('_'),
                c if c.is_ascii_uppercase() => name.extend(['_', c]),
                c => name.push(c.to_ascii_uppercase()),
            }
        }
        name
    }

    /// What values are allowed, in words.
    pub fn expected(&self) -> String {
        match &self.access {
            Access::Number { min, max, .. } => format!("a whole number from {min} to {max}"),
            Access::List { .. } => "a list of texts".to_owned(),
            Access::Text { .. } => "a text".to_owned(),
        }
    }

    /// The value as JSON; a set secret is `"[set]"`, an unset text is `null`.
    pub fn value(&self, config: &Config) -> Value {
        // The accessors lend mutably so that one row serves reading and writing.
        let mut copy = config.clone();
        match &self.access {
            Access::Number { at, .. } => Value::from(*at(&mut copy)),
            Access::List { at, .. } => Value::from(at(&mut copy).clone()),
            Access::Text { show, .. } => match show(&copy) {
                text if text.is_empty() => Value::Null,
                _ if self.secret => Value::from("[set]"),
                text => Value::from(text),
            },
        }
    }

    pub(super) fn set(&self, config: &mut Config, raw: &Raw) -> Result<(), Wrong> {
        match &self.access {
            Access::Number { at, min, max } => {
                let (Raw::Integer(text) | Raw::Untyped(text)) = raw else {
                    return Err(self.wrong(raw, self.expected()));
                };
                match text.parse::<u64>() {
                    Ok(number) if (*min..=*max).contains(&number) => *at(config) = number,
                    _ => return Err(self.wrong(raw, self.expected())),
                }
            }
            Access::List { at, item } => *at(config) = self.list(raw, *item)?,
            Access::Text { set, .. } => {
                let (Raw::Text(text) | Raw::Untyped(text)) = raw else {
                    return Err(self.wrong(raw, self.expected()));
                };
                set(config, text).map_err(|expected| self.wrong(raw, expected.to_owned()))?;
            }
        }
        Ok(())
    }

    fn list(
        &self,
        raw: &Raw,
        check: fn(&str) -> Result<(), &'static str>,
    ) -> Result<Vec<String>, Wrong> {
        let items: Vec<Raw> = match raw {
            Raw::List(items) => items.clone(),
            Raw::Untyped(text) => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Raw::Untyped(item.to_owned()))
                .collect(),
            Raw::Text(_) | Raw::Integer(_) | Raw::Other(_) => {
                return Err(self.wrong(raw, self.expected()));
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in &items {
            let (Raw::Text(text) | Raw::Untyped(text)) = item else {
                return Err(self.wrong(item, self.expected()));
            };
            check(text).map_err(|expected| self.wrong(item, expected.to_owned()))?;
            texts.push(text.clone());
        }
        Ok(texts)
    }

    fn wrong(&self, raw: &Raw, expected: String) -> Wrong {
        let found = match raw {
            _ if self.secret => "not usable".to_owned(),
            Raw::Text(text) | Raw::Untyped(text) => format!("{text:?}"),
            Raw::Integer(text) => text.clone(),
            Raw::List(_) => "a list".to_owned(),
            Raw::Other(name) => format!("a {name}"),
        };
        Wrong { found, expected }
    }
}

const fn number(
    name: &'static str,
    at: fn(&mut Config) -> &mut u64,
    min: u64,
    max: u64,
    help: &'static str,
) -> Key {
    Key { name, help, secret: false, access: Access::Number { at, min, max } }
}

const fn text(
    name: &'static str,
    set: fn(&mut Config, &str) -> Result<(), &'static str>,
    show: fn(&Config) -> String,
    help: &'static str,
) -> Key {
    Key { name, help, secret: false, access: Access::Text { set, show } }
}

const SECRET_CHARS_MAX: usize = 4_096;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Every setting, in the order of the documentation.
#[rustfmt::skip] // One row per key reads as the table that it is.
pub static KEYS: &[Key] = &[
    text("server.listen", set_listen, |c| c.server.listen.to_string(), "Address and port to listen on; port 0 takes a free one"),
    text("server.publicUrl", set_public_url, |c| c.server.public_url.as_ref().map(Url::to_string).unwrap_or_default(), "Address by which others reach this server, if not the listen address: OAuth platforms answer there, links in notifications begin with it, and with https, cookies travel over TLS only"),
    Key { name: "egress.allowPrivate", help: "Private or loopback targets that connectors may reach, as `host:port` or CIDR", secret: false,
        access: Access::List { at: |c| &mut c.egress.allow_private, item: check_target } },
    text("egress.extraCaFile", |c, t| { c.egress.extra_ca_file = path(t); Ok(()) }, |c| show_path(c.egress.extra_ca_file.as_ref()), "PEM file of further authorities whose certificates are trusted, relative to the data directory"),
    text("log.level", set_log_level, |c| c.log.level.as_str().to_owned(), "Least severe lines that are written: `error`, `warn`, `info`, `debug` or `trace`"),
    text("log.format", set_log_format, |c| c.log.format.as_str().to_owned(), "`text` for people or `json` for collectors; always on standard error"),
    text("plugins.dir", |c, t| { c.plugins.dir = path(t); Ok(()) }, |c| show_path(c.plugins.dir.as_ref()), "Directory of plugin files, relative to the data directory; `plugins` if unset"),
    text("vault.keyFile", |c, t| { c.vault.key_file = path(t); Ok(()) }, |c| show_path(c.vault.key_file.as_ref()), "File of the master key, relative to the data directory; `master.key` if unset"),

    text("sync.strategy", set_strategy, |c| c.sync.strategy.clone(), "Conflict strategy where neither field, entity, connection nor connector names one"),
    number("sync.validPercentMin", |c| &mut c.sync.valid_percent_min, 0, 100, "A run with fewer valid records, in percent of the fetched ones, is aborted"),
    number("sync.completedPercentMin", |c| &mut c.sync.completed_percent_min, 0, 100, "Applied share of the valid records, in percent, from which a run is `completed`"),
    number("sync.partialPercentMin", |c| &mut c.sync.partial_percent_min, 0, 100, "Applied share of the valid records, in percent, from which a run is `partial`; below it has failed"),
    number("sync.deactivatePercentMax", |c| &mut c.sync.deactivate_percent_max, 0, 100, "A run that would deactivate more than this share of the active records, in percent, is held"),
    number("sync.deactivateRecordsMin", |c| &mut c.sync.deactivate_records_min, 0, 1_000_000, "Deactivations that never hold a run, in records"),
    number("sync.updatePercentMax", |c| &mut c.sync.update_percent_max, 0, 100, "A full run that would change more than this share of the linked active records, in percent, is held"),
    number("sync.updateRecordsMin", |c| &mut c.sync.update_records_min, 0, 1_000_000, "Updates that never hold a run, in records"),
    number("sync.watermarkOverlapSeconds", |c| &mut c.sync.watermark_overlap_seconds, 0, 86_400, "How far before the watermark an incremental run starts, in seconds"),

    number("notify.digestSeconds", |c| &mut c.notify.digest_seconds, 1, 86_400, "After a notification, further events of its kind are collected for so long and told in one message, in seconds"),
    number("notify.retrySecondsMin", |c| &mut c.notify.retry_seconds_min, 1, 3_600, "First wait before a notification is tried again, in seconds; it doubles each time"),
    number("notify.retrySecondsMax", |c| &mut c.notify.retry_seconds_max, 1, 86_400, "Longest wait before a notification is tried again, in seconds"),
    number("notify.giveUpSeconds", |c| &mut c.notify.give_up_seconds, 1, 2_592_000, "A notification is given up so long after its first attempt, in seconds"),
    number("notify.sendSecondsMax", |c| &mut c.notify.send_seconds_max, 1, 600, "One attempt at a notification, in seconds"),
    number("schedule.catchUpHours", |c| &mut c.schedule.catch_up_hours, 0, 720, "Catch-up window of schedules that name none, in hours: fires that were missed for longer are not made up for"),
    number("schedule.jitterSeconds", |c| &mut c.schedule.jitter_seconds, 0, 86_400, "Spread of schedules that name none, in seconds: so long after the nominal time their connections are spread out"),
    number("schedule.firesKeptMax", |c| &mut c.schedule.fires_kept_max, 10, 1_000_000, "Lines in the list of fires of one schedule; beyond it the oldest go"),
    number("webhook.bodyBytesMax", |c| &mut c.webhook.body_bytes_max, 1_024, 16 * MIB, "Body of one delivery, in bytes"),
    number("webhook.bodySecondsMax", |c| &mut c.webhook.body_seconds_max, 1, 600, "From the head of a delivery to the end of its body, in seconds"),
    number("webhook.bodiesBytesMax", |c| &mut c.webhook.bodies_bytes_max, 16 * MIB, 16 * GIB, "Bodies of deliveries that are being received, all together, in bytes"),
    number("webhook.verifiedPerMinuteMax", |c| &mut c.webhook.verified_per_minute_max, 1, 10_000_000, "Deliveries with a valid signature of one connector in a minute"),
    number("webhook.unverifiedPerMinuteMax", |c| &mut c.webhook.unverified_per_minute_max, 1, 10_000_000, "Deliveries without a valid signature, too old or known already, from one address in a minute"),
    number("webhook.refusedRowsPerHourMax", |c| &mut c.webhook.refused_rows_per_hour_max, 0, 10_000, "Refused and repeated deliveries of one connector and verdict in an hour that get a row in the log; the rest is counted"),
    number("webhook.dedupWindowS", |c| &mut c.webhook.dedup_window_s, 0, 86_400, "How long what is signed alike counts as the same delivery where the scheme signs neither id nor time, in seconds"),
    number("webhook.dedupDays", |c| &mut c.webhook.dedup_days, 1, 365, "How long signed ids of deliveries and events are remembered, in days"),
    number("webhook.dedupKeysMax", |c| &mut c.webhook.dedup_keys_max, 1_000, 100_000_000, "Ids of deliveries, and of events, that are remembered; beyond it those that run out first are forgotten"),
    number("health.faultsMax", |c| &mut c.health.faults_max, 1, 1_000, "Consecutive faults of a connector that disable it"),
    number("health.probeSecondsMin", |c| &mut c.health.probe_seconds_min, 1, 86_400, "From the moment when a connector was disabled to the first look whether it is well again, in seconds; the pauses double"),
    number("health.probeSecondsMax", |c| &mut c.health.probe_seconds_max, 1, 604_800, "Longest pause between such looks, in seconds"),
    number("queue.agingSeconds", |c| &mut c.queue.aging_seconds, 1, 86_400, "A job counts one priority better each time it has waited so long, in seconds"),
    number("retry.backoffSecondsMin", |c| &mut c.retry.backoff_seconds_min, 1, 86_400, "Wait before a failed run is tried again for the first time, in seconds; it doubles each time"),
    number("retry.backoffSecondsMax", |c| &mut c.retry.backoff_seconds_max, 1, 604_800, "Longest wait before a failed run is tried again, unless the remote system asks for more, in seconds"),
    number("retry.uncountedMax", |c| &mut c.retry.uncounted_max, 0, 1_000, "Retries of one run that are free of charge, because the remote system named the time or the attempt came further"),
    number("retention.deadJobsDays", |c| &mut c.retention.dead_jobs_days, 1, 3_650, "How long jobs that failed for good are kept in the queue, in days"),
    number("disk.lowBytes", |c| &mut c.disk.low_bytes, 0, 1_048_576 * GIB, "Free room on the disk of the data directory below which people are told, in bytes"),
    number("disk.fullBytes", |c| &mut c.disk.full_bytes, 0, 1_048_576 * GIB, "Free room below which no run begins and no change is taken in, in bytes; reading goes on"),
    number("disk.lookSeconds", |c| &mut c.disk.look_seconds, 1, 86_400, "How often the free room is looked at to tell people, in seconds"),
    number("retention.credentialsDays", |c| &mut c.retention.credentials_days, 0, 3_650, "How long credentials of deleted connectors and ended connections are kept, in days"),
    number("retention.runDetailsDays", |c| &mut c.retention.run_details_days, 1, 36_500, "How long the requests, log lines and per-record outcomes of a run are kept, in days: afterwards it cannot be undone"),
    number("retention.runsDays", |c| &mut c.retention.runs_days, 1, 36_500, "How long runs and their conflict lines are kept, in days"),
    number("retention.historyDays", |c| &mut c.retention.history_days, 1, 36_500, "How long the timelines of records are kept, with what fields were before, in days"),
    number("retention.changesDays", |c| &mut c.retention.changes_days, 1, 36_500, "How long the change feed is kept, in days: a reader that was away longer begins anew"),
    number("retention.conflictsDays", |c| &mut c.retention.conflicts_days, 1, 36_500, "How long decided conflicts are kept, in days"),
    number("retention.failuresDays", |c| &mut c.retention.failures_days, 1, 36_500, "How long closed failures are kept, in days"),
    number("retention.noticesDays", |c| &mut c.retention.notices_days, 1, 36_500, "How long the log of notifications is kept, in days; it also has a greatest length"),
    number("retention.webhookDays", |c| &mut c.retention.webhook_days, 1, 3_650, "How long deliveries of webhooks are kept, in days"),
    number("retention.webhookDeliveriesMax", |c| &mut c.retention.webhook_deliveries_max, 100, 100_000_000, "Deliveries of webhooks that are kept; beyond it the oldest go"),
    number("retention.webhookBytesMax", |c| &mut c.retention.webhook_bytes_max, MIB, 1_024 * GIB, "Bodies of deliveries that are kept, in bytes; beyond it the oldest go"),

    number("limits.runConcurrencyMax", |c| &mut c.limits.run_concurrency_max, 1, 64, "Runs at once"),
    number("limits.connectorConcurrencyMax", |c| &mut c.limits.connector_concurrency_max, 1, 64, "Runs at once of one connector"),
    number("limits.queuedJobsMax", |c| &mut c.limits.queued_jobs_max, 1, 100_000, "Jobs of one organization in the queue; a person's request for a further one is refused"),
    number("limits.runMinutesMax", |c| &mut c.limits.run_minutes_max, 1, 1_440, "Longest run, in minutes"),
    number("limits.leaseSeconds", |c| &mut c.limits.lease_seconds, 5, 3_600, "Lease of a running job between renewals, in seconds"),
    number("limits.drainSecondsMax", |c| &mut c.limits.drain_seconds_max, 0, 600, "Time for running work to reach a safe point at shutdown, in seconds"),
    number("limits.batchRecords", |c| &mut c.limits.batch_records, 1, 10_000, "Records that a run handles at once, unless the connector's `config.batchRecords` says otherwise"),
    number("limits.stageFlushRecords", |c| &mut c.limits.stage_flush_records, 1, 100_000, "Fetched records after which staged pages are written"),
    number("limits.stageFlushMillis", |c| &mut c.limits.stage_flush_millis, 1, 60_000, "Time after which staged pages are written, in milliseconds"),
    number("limits.listingPagesMax", |c| &mut c.limits.listing_pages_max, 1, 10_000_000, "Pages of one listing"),
    number("limits.listingRecordsMax", |c| &mut c.limits.listing_records_max, 1, 100_000_000, "Records of one listing"),
    number("limits.conflictBatchMax", |c| &mut c.limits.conflict_batch_max, 1, 10_000, "Conflicts in one call of a strategy"),
    number("limits.commitRoundsMax", |c| &mut c.limits.commit_rounds_max, 1, 100, "Rounds of a commit before a record that keeps moving becomes a failure"),
    number("limits.runErrorsMax", |c| &mut c.limits.run_errors_max, 1, 10_000, "Errors kept with one run; further ones are counted"),
    number("limits.storeCacheBytesMax", |c| &mut c.limits.store_cache_bytes_max, MIB, 64 * GIB, "Cache of the store, in bytes"),

    number("limits.responseBytesMax", |c| &mut c.limits.response_bytes_max, 1_024, GIB, "Decoded body of one answer of a federation, in bytes"),
    number("limits.responseHeaderBytesMax", |c| &mut c.limits.response_header_bytes_max, 1_024, MIB, "Headers of one answer of a federation, in bytes"),
    number("limits.requestTimeoutSecondsMax", |c| &mut c.limits.request_timeout_seconds_max, 1, 600, "One request to a federation from start to end, in seconds"),
    number("limits.connectTimeoutSecondsMax", |c| &mut c.limits.connect_timeout_seconds_max, 1, 120, "Connecting to a federation, in seconds"),
    number("limits.requestAttemptsMax", |c| &mut c.limits.request_attempts_max, 1, 10, "Attempts at one request inside a run"),
    number("limits.retryBackoffMillisMin", |c| &mut c.limits.retry_backoff_millis_min, 1, 60_000, "First wait between attempts at a request, in milliseconds; it doubles each time"),
    number("limits.retryBackoffMillisMax", |c| &mut c.limits.retry_backoff_millis_max, 1, 600_000, "Longest wait between attempts at a request, in milliseconds"),
    number("limits.retryAfterSecondsMax", |c| &mut c.limits.retry_after_seconds_max, 1, 3_600, "Longest time that one request waits for the rate limit, a `Retry-After` included, in seconds"),
    number("limits.redirectsMax", |c| &mut c.limits.redirects_max, 0, 10, "Redirects followed for one request"),
    number("limits.hostConnectionsMax", |c| &mut c.limits.host_connections_max, 1, 64, "Requests under way with one credential at one host"),
    number("limits.egressConnectionsMax", |c| &mut c.limits.egress_connections_max, 1, 1_024, "Requests under way with connectors in all"),
    number("limits.runRequestsMax", |c| &mut c.limits.run_requests_max, 1, 10_000_000, "Requests to a federation in one run"),
    number("limits.runResponseBytesMax", |c| &mut c.limits.run_response_bytes_max, MIB, 1_024 * GIB, "Bytes from a federation in one run"),

    number("limits.pluginFileBytesMax", |c| &mut c.limits.plugin_file_bytes_max, 1_024, GIB, "Component file, in bytes"),
    number("limits.pageBytesMax", |c| &mut c.limits.page_bytes_max, 1_024, GIB, "Data that one plugin call may hand to the host, in bytes"),
    number("limits.pluginMemoryBytesMax", |c| &mut c.limits.plugin_memory_bytes_max, MIB, 4 * GIB, "Linear memory of one plugin instance over all its memories, in bytes"),
    number("limits.pluginCpuMillisMax", |c| &mut c.limits.plugin_cpu_millis_max, 10, 600_000, "Computing time of one plugin call, in milliseconds"),
    number("limits.pluginCallSecondsMax", |c| &mut c.limits.plugin_call_seconds_max, 1, 3_600, "One plugin call by the clock, with its requests, in seconds"),
    number("limits.pluginTableElementsMax", |c| &mut c.limits.plugin_table_elements_max, 1, 10_000_000, "Elements of a plugin's tables"),
    number("limits.pluginInstancesMax", |c| &mut c.limits.plugin_instances_max, 1, 10_000, "Core instances inside one component"),
    number("limits.pluginHandlesMax", |c| &mut c.limits.plugin_handles_max, 1, 100_000, "Resource handles that a plugin may hold"),
    number("limits.pluginHostCallsMax", |c| &mut c.limits.plugin_host_calls_max, 1, 10_000_000, "Host calls in one plugin call"),
    number("limits.pluginLogLinesMax", |c| &mut c.limits.plugin_log_lines_max, 0, 100_000, "Log lines kept of one plugin call"),
    number("limits.pluginLogLineBytesMax", |c| &mut c.limits.plugin_log_line_bytes_max, 16, MIB, "One log line of a plugin, in bytes"),
    number("limits.pluginStderrBytesMax", |c| &mut c.limits.plugin_stderr_bytes_max, 0, MIB, "End of a plugin's standard error that is kept, in bytes"),

    number("limits.idempotencyHours", |c| &mut c.limits.idempotency_hours, 1, 720, "How long the answer to a request with an Idempotency-Key is kept, in hours"),
    number("limits.idempotencyKeysMax", |c| &mut c.limits.idempotency_keys_max, 1, 10_000_000, "Idempotency keys that are kept; beyond it the oldest go first"),
    number("limits.requestBodyBytesMax", |c| &mut c.limits.request_body_bytes_max, 1_024, GIB, "Body of an API request, in bytes"),
    number("limits.requestHeaderBytesMax", |c| &mut c.limits.request_header_bytes_max, 8_192, MIB, "Request line and headers of an API request, in bytes"),
    number("limits.apiRequestSecondsMax", |c| &mut c.limits.api_request_seconds_max, 1, 3_600, "One API request until its answer begins, in seconds"),
    number("limits.callerRequestsPerMinuteMax", |c| &mut c.limits.caller_requests_per_minute_max, 0, 10_000_000, "API requests of one user or token in a minute; 0 is no limit"),
    number("limits.connectionsMax", |c| &mut c.limits.connections_max, 1, 100_000, "Connections to this server at once; for further ones the peer that is waited for the longest loses its place"),
    number("limits.streamsMax", |c| &mut c.limits.streams_max, 0, 1_000_000, "Answers to clients that go on, such as the events of a run, in all"),
    number("limits.callerStreamsMax", |c| &mut c.limits.caller_streams_max, 0, 1_000_000, "Answers that go on, of one caller"),
    number("limits.writeSecondsMax", |c| &mut c.limits.write_seconds_max, 1, 3_600, "How long an answer waits for a client that takes nothing of it, in seconds"),
    number("limits.sessionIdleMinutesMax", |c| &mut c.limits.session_idle_minutes_max, 1, 1_440, "Login in a browser without a request, in minutes"),
    number("limits.sessionHoursMax", |c| &mut c.limits.session_hours_max, 1, 720, "Login in a browser at all, in hours"),

    text("cli.server", set_cli_server, |c| c.cli.server.clone(), "Server that the command line talks to"),
    Key { name: "cli.token", help: "API token of the command line", secret: true,
        access: Access::Text { set: set_cli_token, show: |c| c.cli.token.clone().unwrap_or_default() } },
];

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn show_path(path: Option<&PathBuf>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn set_listen(config: &mut Config, text: &str) -> Result<(), &'static str> {
    config.server.listen =
        text.parse().map_err(|_| "an address and port such as \"127.0.0.1:8420\"")?;
    Ok(())
}

const HTTP_URL: &str = "an http or https address without user, query or fragment";

fn http_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| HTTP_URL)?;
    let plain = url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if plain && matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(HTTP_URL) }
}

fn set_public_url(config: &mut Config, text: &str) -> Result<(), &'static str> {
    config.server.public_url = if text.is_empty() { None } else { Some(http_url(text)?) };
    Ok(())
}

fn set_cli_server(config: &mut Config, text: &str) -> Result<(), &'static str> {
    http_url(text)?;
    config.cli.server = text.trim_end_matches('/').to_owned();
    Ok(())
}

fn set_cli_token(config: &mut Config, text: &str) -> Result<(), &'static str> {
    let text = text.trim();
    let fits = text.len() <= SECRET_CHARS_MAX && text.chars().all(|c| c.is_ascii_graphic());
    if !fits {
        return Err("a token of printable characters without spaces");
    }
    config.cli.token = (!text.is_empty()).then(|| text.to_owned());
    Ok(())
}

fn set_log_level(config: &mut Config, text: &str) -> Result<(), &'static str> {
    let level = LogLevel::ALL.into_iter().find(|level| level.as_str() == text);
    config.log.level = level.ok_or("one of error, warn, info, debug, trace")?;
    Ok(())
}

fn set_log_format(config: &mut Config, text: &str) -> Result<(), &'static str> {
    let format = LogFormat::ALL.into_iter().find(|format| format.as_str() == text);
    config.log.format = format.ok_or("one of text, json")?;
    Ok(())
}

fn set_strategy(config: &mut Config, text: &str) -> Result<(), &'static str> {
    let named = !text.is_empty()
        && text.len() <= 64
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if !named {
        return Err("the name of a strategy");
    }
    config.sync.strategy = text.to_owned();
    Ok(())
}

/// `host:port`, `[v6]:port` or `address/bits`.
fn check_target(text: &str) -> Result<(), &'static str> {
    const EXPECTED: &str = "`host:port` or CIDR, such as \"127.0.0.1:8081\" or \"10.0.0.0/8\"";
    let valid = match text.split_once('/') {
        Some((address, bits)) => cidr_fits(address, bits),
        None => host_port_fits(text),
    };
    if valid { Ok(()) } else { Err(EXPECTED) }
}

fn cidr_fits(address: &str, bits: &str) -> bool {
    let digits = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
    match (IpAddr::from_str(address), bits.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(bits)) => digits && bits <= 32,
        (Ok(IpAddr::V6(_)), Ok(bits)) => digits && bits <= 128,
        _ => false,
    }
}

fn host_port_fits(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let port_fits = digits && port.parse::<u16>().is_ok_and(|port| port != 0);
    let name_fits = |host: &str| {
        !host.is_empty()
            && host.len() <= 253
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    let host_fits = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name_fits(host),
    };
    port_fits && host_fits
}

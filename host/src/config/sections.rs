//! The settings as plain data with their built-in values.
//!
//! Owns names and defaults. Ranges and explanations stand beside the keys in `keys.rs`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use url::Url;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Every setting of one process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    pub server: Server,
    pub egress: Egress,
    pub log: Log,
    pub plugins: Plugins,
    pub vault: Vault,
    pub limits: Limits,
    pub sync: Sync,
    pub notify: Notify,
    pub webhook: Webhook,
    pub schedule: Schedule,
    pub health: Health,
    pub queue: Queue,
    pub retry: Retry,
    pub disk: Disk,
    pub retention: Retention,
    pub cli: Cli,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub listen: SocketAddr,
    /// The address by which others reach this server; the listen address if absent.
    pub public_url: Option<Url>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Egress {
    /// `host:port` or CIDR, already checked for form: private targets that may be reached.
    pub allow_private: Vec<String>,
    /// See [`Config::extra_ca_file`].
    pub extra_ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub const ALL: [LogLevel; 5] =
        [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    pub const ALL: [LogFormat; 2] = [LogFormat::Text, LogFormat::Json];

    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plugins {
    /// See [`Config::plugins_dir`].
    pub dir: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vault {
    /// See [`Config::key_file`].
    pub key_file: Option<PathBuf>,
}

#[derive(Clone, PartialEq)]
pub struct Cli {
    /// An `http` or `https` address, already checked for form.
    pub server: String,
    /// Never printed.
    pub token: Option<String>,
}

/// Thresholds and brakes of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Sync {
    pub strategy: String,
    pub valid_percent_min: u64,
    pub completed_percent_min: u64,
    pub partial_percent_min: u64,
    pub deactivate_percent_max: u64,
    pub deactivate_records_min: u64,
    pub update_percent_max: u64,
    pub update_records_min: u64,
    pub watermark_overlap_seconds: u64,
}

/// How people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    pub digest_seconds: u64,
    pub retry_seconds_min: u64,
    pub retry_seconds_max: u64,
    pub give_up_seconds: u64,
    pub send_seconds_max: u64,
}

/// How deliveries are taken in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Webhook {
    pub body_bytes_max: u64,
    pub body_seconds_max: u64,
    pub bodies_bytes_max: u64,
    pub verified_per_minute_max: u64,
    pub unverified_per_minute_max: u64,
    pub refused_rows_per_hour_max: u64,
    pub dedup_window_s: u64,
    pub dedup_days: u64,
    pub dedup_keys_max: u64,
}

/// What a schedule that says nothing itself goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub catch_up_hours: u64,
    pub jitter_seconds: u64,
    pub fires_kept_max: u64,
}

/// When a connector is disabled, and when it is asked again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Health {
    pub faults_max: u64,
    pub probe_seconds_min: u64,
    pub probe_seconds_max: u64,
}

/// What is done first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Queue {
    pub aging_seconds: u64,
}

/// When a run that failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    pub backoff_seconds_min: u64,
    pub backoff_seconds_max: u64,
    pub uncounted_max: u64,
}

/// When the disk counts as low, and when as full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disk {
    pub low_bytes: u64,
    pub full_bytes: u64,
    pub look_seconds: u64,
}

/// How long things are kept that nobody uses any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retention {
    pub credentials_days: u64,
    pub dead_jobs_days: u64,
    pub run_details_days: u64,
    pub runs_days: u64,
    pub history_days: u64,
    pub changes_days: u64,
    pub conflicts_days: u64,
    pub failures_days: u64,
    pub notices_days: u64,
    pub webhook_days: u64,
    pub webhook_deliveries_max: u64,
    pub webhook_bytes_max: u64,
}

/// Named maxima. Groups follow the parts of the house that enforce them.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub run_concurrency_max: u64,
    pub connector_concurrency_max: u64,
    pub queued_jobs_max: u64,
    pub run_minutes_max: u64,
    pub lease_seconds: u64,
    pub drain_seconds_max: u64,
    pub batch_records: u64,
    pub stage_flush_records: u64,
    pub stage_flush_millis: u64,
    pub listing_pages_max: u64,
    pub listing_records_max: u64,
    pub conflict_batch_max: u64,
    pub commit_rounds_max: u64,
    pub run_errors_max: u64,
    pub store_cache_bytes_max: u64,

    pub response_bytes_max: u64,
    pub response_header_bytes_max: u64,
    pub request_timeout_seconds_max: u64,
    pub connect_timeout_seconds_max: u64,
    pub request_attempts_max: u64,
    pub retry_backoff_millis_min: u64,
    pub retry_backoff_millis_max: u64,
    pub retry_after_seconds_max: u64,
    pub redirects_max: u64,
    pub host_connections_max: u64,
    pub egress_connections_max: u64,
    pub run_requests_max: u64,
    pub run_response_bytes_max: u64,

    pub plugin_file_bytes_max: u64,
    pub page_bytes_max: u64,
    pub plugin_memory_bytes_max: u64,
    pub plugin_cpu_millis_max: u64,
    pub plugin_call_seconds_max: u64,
    pub plugin_table_elements_max: u64,
    pub plugin_instances_max: u64,
    pub plugin_handles_max: u64,
    pub plugin_host_calls_max: u64,
    pub plugin_log_lines_max: u64,
    pub plugin_log_line_bytes_max: u64,
    pub plugin_stderr_bytes_max: u64,

    pub idempotency_hours: u64,
    pub idempotency_keys_max: u64,
    pub request_body_bytes_max: u64,
    pub request_header_bytes_max: u64,
    pub api_request_seconds_max: u64,
    pub caller_requests_per_minute_max: u64,
    pub connections_max: u64,
    pub streams_max: u64,
    pub caller_streams_max: u64,
    pub write_seconds_max: u64,
    pub session_idle_minutes_max: u64,
    pub session_hours_max: u64,
}

impl Default for Server {
    fn default() -> Server {
        Server { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8420)), public_url: None }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: LogLevel::Info, format: LogFormat::Text }
    }
}

impl Default for Sync {
    fn default() -> Sync {
        Sync {
            strategy: "federation_wins".to_owned(),
            valid_percent_min: 50,
            completed_percent_min: 80,
            partial_percent_min: 50,
            deactivate_percent_max: 5,
            deactivate_records_min: 10,
            update_percent_max: 40,
            update_records_min: 10,
            watermark_overlap_seconds: 120,
        }
    }
}

impl Default for Notify {
    fn default() -> Notify {
        Notify {
            digest_seconds: 900,
            retry_seconds_min: 60,
            retry_seconds_max: 21_600,
            give_up_seconds: 259_200,
            send_seconds_max: 30,
        }
    }
}

impl Default for Webhook {
    fn default() -> Webhook {
        Webhook {
            body_bytes_max: MIB,
            body_seconds_max: 10,
            bodies_bytes_max: 64 * MIB,
            verified_per_minute_max: 100,
            unverified_per_minute_max: 60,
            refused_rows_per_hour_max: 20,
            dedup_window_s: 60,
            dedup_days: 30,
            dedup_keys_max: 1_000_000,
        }
    }
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule { catch_up_hours: 24, jitter_seconds: 300, fires_kept_max: 10_000 }
    }
}

impl Default for Health {
    fn default() -> Health {
        Health { faults_max: 5, probe_seconds_min: 15 * 60, probe_seconds_max: 6 * 60 * 60 }
    }
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { aging_seconds: 300 }
    }
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { backoff_seconds_min: 120, backoff_seconds_max: 86_400, uncounted_max: 20 }
    }
}

impl Default for Disk {
    fn default() -> Disk {
        Disk { low_bytes: GIB, full_bytes: 256 * MIB, look_seconds: 60 }
    }
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            credentials_days: 30,
            dead_jobs_days: 180,
            run_details_days: 90,
            runs_days: 730,
            history_days: 730,
            changes_days: 90,
            conflicts_days: 365,
            failures_days: 180,
            notices_days: 90,
            webhook_days: 30,
            webhook_deliveries_max: 100_000,
            webhook_bytes_max: GIB,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            run_concurrency_max: 5,
            connector_concurrency_max: 2,
            queued_jobs_max: 1_000,
            run_minutes_max: 30,
            lease_seconds: 60,
            drain_seconds_max: 10,
            batch_records: 1_000,
            stage_flush_records: 1_000,
            stage_flush_millis: 200,
            listing_pages_max: 100_000,
            listing_records_max: 10_000_000,
            conflict_batch_max: 256,
            commit_rounds_max: 3,
            run_errors_max: 100,
            store_cache_bytes_max: 128 * MIB,

            response_bytes_max: 16 * MIB,
            response_header_bytes_max: 64 * KIB,
            request_timeout_seconds_max: 30,
            connect_timeout_seconds_max: 10,
            request_attempts_max: 3,
            retry_backoff_millis_min: 1_000,
            retry_backoff_millis_max: 30_000,
            retry_after_seconds_max: 60,
            redirects_max: 3,
            host_connections_max: 4,
            egress_connections_max: 64,
            run_requests_max: 100_000,
            run_response_bytes_max: 8 * GIB,

            plugin_file_bytes_max: 16 * MIB,
            page_bytes_max: 16 * MIB,
            plugin_memory_bytes_max: 128 * MIB,
            plugin_cpu_millis_max: 5_000,
            plugin_call_seconds_max: 120,
            plugin_table_elements_max: 100_000,
            plugin_instances_max: 64,
            plugin_handles_max: 256,
            plugin_host_calls_max: 1_000,
            plugin_log_lines_max: 200,
            plugin_log_line_bytes_max: 2 * KIB,
            plugin_stderr_bytes_max: 8 * KIB,

            idempotency_hours: 24,
            idempotency_keys_max: 100_000,
            request_body_bytes_max: MIB,
            request_header_bytes_max: 64 * KIB,
            api_request_seconds_max: 120,
            caller_requests_per_minute_max: 60_000,
            connections_max: 1_024,
            streams_max: 256,
            caller_streams_max: 32,
            write_seconds_max: 60,
            session_idle_minutes_max: 30,
            session_hours_max: 12,
        }
    }
}

impl fmt::Debug for Cli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "[set]");
        f.debug_struct("Cli").field("server", &self.server).field("token", &token).finish()
    }
}

impl Default for Cli {
    fn default() -> Cli {
        Cli { server: format!("http://{}", Server::default().listen), token: None }
    }
}

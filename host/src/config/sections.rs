//! The settings as plain data with their built-in values.
//!
//! Owns names and defaults. Ranges and explanations stand beside the keys in `keys.rs`.

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

#[derive(Clone, Debug, PartialEq)]
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

/// Named maxima. Groups follow the parts of the house that enforce them.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub run_concurrency_max: u64,
    pub connector_concurrency_max: u64,
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

    pub request_body_bytes_max: u64,
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

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            run_concurrency_max: 5,
            connector_concurrency_max: 2,
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
            store_cache_bytes_max: 64 * MIB,

            response_bytes_max: 16 * MIB,
            response_header_bytes_max: 64 * KIB,
            request_timeout_seconds_max: 30,
            connect_timeout_seconds_max: 10,
            request_attempts_max: 3,
            retry_backoff_millis_min: 1_000,
            retry_backoff_millis_max: 30_000,
            retry_after_seconds_max: 60,
            redirects_max: 3,
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

            request_body_bytes_max: MIB,
        }
    }
}

impl Default for Cli {
    fn default() -> Cli {
        Cli { server: format!("http://{}", Server::default().listen), token: None }
    }
}

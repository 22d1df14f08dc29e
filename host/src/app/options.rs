//! Settings of the parts, from the configuration: the one place where a key of the file becomes an option of a module.
//! Holds no default of its own.

use super::Error;
use crate::api;
use crate::backoff::{JobRetry, RequestRetry};
use crate::brake;
use crate::config::Config;
use crate::disk;
use crate::egress::{self, ExtraCa};
use crate::health;
use crate::inbox;
use crate::notify;
use crate::oauth;
use crate::plugin;
use crate::queue::Caps;
use crate::retry;
use crate::store;
use crate::store::retention::Class;
use crate::trigger;
use crate::worker;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const DAY_SECONDS: u64 = 24 * 60 * 60;

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn store_options(config: &Config) -> store::Options {
    let cache_bytes_max = size(config.limits.store_cache_bytes_max);
    store::Options { cache_bytes_max, ..store::Options::default() }
}

pub(super) fn api_limits(config: &Config) -> api::Limits {
    api::Limits {
        body_bytes_max: size(config.limits.request_body_bytes_max),
        component_bytes_max: size(config.limits.plugin_file_bytes_max),
        idempotency_millis: i64::try_from(
            config.limits.idempotency_hours.saturating_mul(3_600_000),
        )
        .unwrap_or(i64::MAX),
        idempotency_keys_max: config.limits.idempotency_keys_max,
        request_max: Duration::from_secs(config.limits.api_request_seconds_max),
    }
}

pub(super) fn inbox_options(config: &Config) -> inbox::Options {
    let millis = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let (webhook, retention) = (&config.webhook, &config.retention);
    inbox::Options {
        verified_per_minute_max: webhook.verified_per_minute_max,
        unverified_per_minute_max: webhook.unverified_per_minute_max,
        refused_rows_per_hour_max: webhook.refused_rows_per_hour_max,
        dedup_millis: millis(webhook.dedup_days.saturating_mul(DAY_SECONDS)),
        dedup_bytes_millis: millis(webhook.dedup_window_s),
        dedup_keys_max: webhook.dedup_keys_max,
        keep_millis: millis(retention.webhook_days.saturating_mul(DAY_SECONDS)),
        keep_count_max: retention.webhook_deliveries_max,
        keep_bytes_max: retention.webhook_bytes_max,
    }
}

pub(super) fn intake(config: &Config) -> api::Intake {
    api::Intake::new(
        size(config.webhook.body_bytes_max),
        size(config.webhook.bodies_bytes_max),
        Duration::from_secs(config.webhook.body_seconds_max),
    )
}

pub(super) fn gate_options(config: &Config) -> api::GateOptions {
    let (limits, public) = (&config.limits, config.server.public_url.as_ref());
    api::GateOptions {
        session_idle: Duration::from_secs(limits.session_idle_minutes_max * 60),
        session_max: Duration::from_secs(limits.session_hours_max * 60 * 60),
        secure: public.is_some_and(|url| url.scheme() == "https"),
        origin: public.map(|url| url.origin().ascii_serialization()),
        requests_per_minute_max: limits.caller_requests_per_minute_max,
        streams_max: size(limits.streams_max),
        caller_streams_max: size(limits.caller_streams_max),
    }
}

pub(super) fn connections(config: &Config) -> api::Connections {
    api::Connections {
        open_max: size(config.limits.connections_max),
        head_bytes_max: size(config.limits.request_header_bytes_max),
        write_max: Duration::from_secs(config.limits.write_seconds_max),
    }
}

pub(super) fn plugin_limits(config: &Config) -> plugin::Limits {
    let limits = &config.limits;
    plugin::Limits {
        component_bytes_max: size(limits.plugin_file_bytes_max),
        memory_bytes_max: size(limits.plugin_memory_bytes_max),
        table_elements_max: size(limits.plugin_table_elements_max),
        instances_max: size(limits.plugin_instances_max),
        handles_max: size(limits.plugin_handles_max),
        cpu_millis_max: limits.plugin_cpu_millis_max,
        wall_millis_max: limits.plugin_call_seconds_max.saturating_mul(1000),
        page_bytes_max: size(limits.page_bytes_max),
        http_calls_max: short(limits.plugin_host_calls_max),
        log_lines_max: short(limits.plugin_log_lines_max),
        log_line_bytes_max: size(limits.plugin_log_line_bytes_max),
        stderr_bytes_max: size(limits.plugin_stderr_bytes_max),
        conflicts_per_batch_max: size(limits.conflict_batch_max),
        ..plugin::Limits::default()
    }
}

pub(super) fn egress_options(config: &Config, data_dir: &Path) -> Result<egress::Options, Error> {
    let limits = &config.limits;
    let allow = config.egress.allow_private.iter().map(|entry| entry.parse());
    Ok(egress::Options {
        allow_private: allow.collect::<Result<_, _>>()?,
        extra_ca: match config.extra_ca_file(data_dir) {
            Some(file) => ExtraCa::read(&file)?,
            None => ExtraCa::default(),
        },
        limits: egress::Limits {
            response_bytes_max: limits.response_bytes_max,
            response_header_bytes_max: limits.response_header_bytes_max,
            connect_timeout: Duration::from_secs(limits.connect_timeout_seconds_max),
            request_timeout: Duration::from_secs(limits.request_timeout_seconds_max),
            retry_after_max: Duration::from_secs(limits.retry_after_seconds_max),
            redirects_max: short(limits.redirects_max),
            requests_max: limits.run_requests_max,
            run_bytes_max: limits.run_response_bytes_max,
            ..egress::Limits::default()
        },
        retry: request_retry(config),
        concurrency: egress::Concurrency {
            per_host_max: size(limits.host_connections_max),
            overall_max: size(limits.egress_connections_max),
        },
    })
}

pub(super) fn notify_options(config: &Config, address: SocketAddr) -> notify::Options {
    let settings = &config.notify;
    notify::Options {
        public_url: public_url(config, address),
        window: Duration::from_secs(settings.digest_seconds),
        retry: RequestRetry {
            attempts_max: u32::MAX,
            wait_first: Duration::from_secs(settings.retry_seconds_min),
            wait_max: Duration::from_secs(settings.retry_seconds_max),
        },
        retry_for: Duration::from_secs(settings.give_up_seconds),
        send_max: Duration::from_secs(settings.send_seconds_max),
        drain_max: Duration::from_secs(config.limits.drain_seconds_max),
    }
}

/// The address by which browsers reach this server.
pub(super) fn public_url(config: &Config, address: SocketAddr) -> String {
    match &config.server.public_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!("http://{address}"),
    }
}

pub(super) fn oauth_options(config: &Config) -> oauth::Options {
    oauth::Options {
        retry: request_retry(config),
        retry_after_max: Duration::from_secs(config.limits.retry_after_seconds_max),
    }
}

fn request_retry(config: &Config) -> RequestRetry {
    let limits = &config.limits;
    RequestRetry {
        attempts_max: short(limits.request_attempts_max),
        wait_first: Duration::from_millis(limits.retry_backoff_millis_min),
        wait_max: Duration::from_millis(limits.retry_backoff_millis_max),
    }
}

pub(super) fn disk_options(config: &Config) -> disk::Options {
    let full_bytes = config.disk.full_bytes;
    // Whatever is full is low too.
    disk::Options { low_bytes: config.disk.low_bytes.max(full_bytes), full_bytes }
}

pub(super) fn worker_options(config: &Config) -> worker::Options {
    let (limits, sync) = (&config.limits, &config.sync);
    worker::Options {
        caps: Caps {
            running_max: size(limits.run_concurrency_max),
            running_per_connector_max: size(limits.connector_concurrency_max),
            aging_millis: millis(config.queue.aging_seconds),
        },
        run_max: Duration::from_secs(limits.run_minutes_max.saturating_mul(60)),
        lease: Duration::from_secs(limits.lease_seconds),
        drain_max: Duration::from_secs(limits.drain_seconds_max),
        strategy_default: sync.strategy.clone(),
        brakes: brake::Options {
            deactivations_free: sync.deactivate_records_min,
            deactivations_max_percent: sync.deactivate_percent_max,
            updates_free: sync.update_records_min,
            updates_max_percent: sync.update_percent_max,
            valid_min_percent: sync.valid_percent_min,
            completed_min_percent: sync.completed_percent_min,
            partial_min_percent: sync.partial_percent_min,
            ..brake::Options::default()
        },
        batch_records: short(limits.batch_records),
        stage_flush_records: limits.stage_flush_records,
        stage_flush: Duration::from_millis(limits.stage_flush_millis),
        listing_pages_max: limits.listing_pages_max,
        listing_records_max: limits.listing_records_max,
        commit_rounds_max: short(limits.commit_rounds_max),
        run_errors_max: size(limits.run_errors_max),
        overlap_millis: millis(sync.watermark_overlap_seconds),
        health: health::Options {
            faults_max: short(config.health.faults_max),
            probe_first: millis(config.health.probe_seconds_min),
            probe_max: millis(config.health.probe_seconds_max.max(config.health.probe_seconds_min)),
        },
        retry: retry::Options {
            wait: JobRetry {
                wait_first: Duration::from_secs(config.retry.backoff_seconds_min),
                wait_max: Duration::from_secs(
                    config.retry.backoff_seconds_max.max(config.retry.backoff_seconds_min),
                ),
            },
            uncounted_max: short(config.retry.uncounted_max),
        },
        queued_jobs_max: size(limits.queued_jobs_max),
        dead_kept_millis: millis(config.retention.dead_jobs_days.saturating_mul(86_400)),
        credentials_kept_millis: millis(config.retention.credentials_days.saturating_mul(86_400)),
        disk_look_millis: millis(config.disk.look_seconds),
        kept: kept(config),
    }
}

/// How long each class of what ended is kept.
fn kept(config: &Config) -> Vec<(Class, i64)> {
    let kept = &config.retention;
    let days = |class| match class {
        // No longer than the run that they belong to.
        Class::RunDetails => kept.run_details_days.min(kept.runs_days),
        Class::Runs => kept.runs_days,
        Class::History => kept.history_days,
        Class::Changes => kept.changes_days,
        Class::Conflicts => kept.conflicts_days,
        Class::Failures => kept.failures_days,
        Class::Notices => kept.notices_days,
    };
    let millis = |class| millis(days(class).saturating_mul(86_400));
    Class::ALL.into_iter().map(|class| (class, millis(class))).collect()
}

pub(super) fn trigger_options(config: &Config) -> trigger::Options {
    let settings = &config.schedule;
    trigger::Options {
        strategy_default: config.sync.strategy.clone(),
        catch_up_millis: millis(settings.catch_up_hours.saturating_mul(3_600)),
        jitter_millis: millis(settings.jitter_seconds),
        fires_kept_max: settings.fires_kept_max,
    }
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}

//! The world around the server: a federation of clubs in several time zones, a platform that gives tokens, a receiver of
//! notifications, and what the server is told of them.

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use syncline::clock::Clock;
use syncline::config::Config;

use super::nights::Daily;
use super::receiver::Receiver;
use crate::authority::Authority;
use crate::foireann::local::Local;
use crate::foireann::server::{Auth, Settings};
use crate::trials::api::{Api, text};

pub const BEGIN: &str = "2026-03-01T12:00:00Z";
const API_KEY: &str = "key-of-the-year";
pub const HOOK_SECRET: &str = "secret-of-the-year";
/// 24 bytes in base64.
const SIGNING_SECRET: &str = "whsec_Y2FuYXJ5LXNpZ25pbmcta2V5LTAwMDEyMzQ1";
/// Of each club.
pub const MEMBERS: u64 = 12;
/// An access token's life.
pub const TOKEN_SECONDS: u64 = 3_600;

/// A club of the federation: an organization of its own.
pub struct Club {
    pub name: &'static str,
    pub zone: &'static str,
    /// A schedule beside the connector's.
    pub own: Option<Daily>,
}

/// Each has a night in which clocks change at the time of one of its schedules.
pub const CLUBS: [Club; 5] = [
    Club { name: "dublin", zone: "Europe/Dublin", own: None },
    Club {
        name: "edmonton",
        zone: "America/Edmonton",
        own: Some(Daily { minute: 15, hours: &[2] }),
    },
    Club {
        name: "lord-howe",
        zone: "Australia/Lord_Howe",
        own: Some(Daily { minute: 15, hours: &[2] }),
    },
    Club {
        name: "santiago",
        zone: "America/Santiago",
        own: Some(Daily { minute: 30, hours: &[0] }),
    },
    Club { name: "beirut", zone: "Asia/Beirut", own: Some(Daily { minute: 30, hours: &[0] }) },
];
/// The connector's own, in the zone of each club.
pub const NIGHTLY: Daily = Daily { minute: 30, hours: &[1] };

/// The organization whose platform gives tokens.
pub const MEMBER_OF_PLATFORM: Club = Club { name: "galway", zone: "Europe/London", own: None };
pub const TWICE_A_DAY: Daily = Daily { minute: 0, hours: &[4, 16] };

pub struct World {
    pub federation: Local,
    pub authority: Authority,
    pub receiver: Receiver,
}

/// What the server gave for what it was told.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    pub federation: String,
    pub platform: String,
    /// Of each schedule: id, name, the clubs that it is for, and its times.
    pub schedules: Vec<Schedule>,
}

#[derive(Debug, Clone)]
pub struct Schedule {
    pub id: String,
    pub name: String,
    /// Name and zone of each organization.
    pub clubs: Vec<(&'static str, &'static str)>,
    pub daily: Daily,
}

impl Ids {
    /// The name of a connector.
    pub fn name(&self, connector: &Value) -> &'static str {
        if *connector == self.federation { "federation" } else { "platform" }
    }
}

impl World {
    pub fn start(seed: u64, clock: &Clock) -> anyhow::Result<World> {
        let federation = Local::start(Settings {
            clubs: CLUBS.iter().map(|club| club.name.to_owned()).collect(),
            members: MEMBERS,
            seed,
            page_size_max: 1_000,
            base_path: String::new(),
            auth: Auth::ApiKey(API_KEY.to_owned()),
            csv: crate::foireann::members_csv::CsvStyle::default(),
            clock_skew_s: 0,
        })?;
        let authority = Authority::start()?;
        {
            let mut state = authority.state();
            state.clock = Some(clock.clone());
            state.access_seconds = TOKEN_SECONDS;
        }
        Ok(World { federation, authority, receiver: Receiver::start(clock.clone())? })
    }

    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.server.listen.set_port(0);
        config.egress.allow_private = vec![
            self.federation.host_port(),
            self.authority.host_port(),
            self.receiver.host_port(),
        ];
        // Runs of one connector follow each other, so that what one of them means for its health does not depend on chance.
        config.limits.connector_concurrency_max = 1;
        config.limits.caller_requests_per_minute_max = 1_000_000;
        config.limits.drain_seconds_max = 1;
        config.retention.dead_jobs_days = 20;
        config.retention.run_details_days = 10;
        config.retention.runs_days = 20;
        config.retention.history_days = 20;
        config.retention.changes_days = 20;
        config.retention.conflicts_days = 20;
        config.retention.failures_days = 20;
        config.retention.notices_days = 20;
        config.retention.webhook_days = 10;
        config.webhook.dedup_days = 10;
        config
    }

    /// Tells a new server of everything, and lets it sync everybody once.
    pub fn tell(&self, api: &Api) -> anyhow::Result<Ids> {
        for club in CLUBS.iter().chain([&MEMBER_OF_PLATFORM]) {
            let organization = json!({
                "id": club.name, "name": club.name, "timezone": club.zone, "defaultRegion": "IE",
            });
            api.call("POST", "/organizations", &organization)?;
        }
        let channel = json!({
            "name": "receiver", "kind": "webhook",
            "config": {"url": self.receiver.url(), "secret": SIGNING_SECRET},
        });
        api.call("POST", "/notifications/channels", &channel)?;
        let federation = connector(
            api,
            &json!({
                "name": "federation",
                "authType": "apiKey",
                "endpoints": {"baseUrl": self.federation.base_url()},
                "config": {"pageSize": 5, "requestsPerMinute": 1_000_000},
                "credentials": {"apiKey": API_KEY, "webhookSecret": HOOK_SECRET},
                "syncConfig": {"enabled": true, "schedule": NIGHTLY.cron()},
            }),
        )?;
        let platform = connector(
            api,
            &json!({
                "name": "platform",
                "authType": "oauth2",
                "endpoints": {
                    "baseUrl": self.authority.url("/api"),
                    "authorizeUrl": self.authority.url("/authorize"),
                    "tokenUrl": self.authority.url("/token"),
                },
                "config": {"requestsPerMinute": 1_000_000},
                "credentials": {
                    "clientId": "client", "clientSecret": "secret", "refreshToken": "canary-refresh-0",
                },
                "syncConfig": {"enabled": true, "schedule": TWICE_A_DAY.cron()},
            }),
        )?;
        for club in &CLUBS {
            connect(api, club.name, &federation)?;
        }
        connect(api, MEMBER_OF_PLATFORM.name, &platform)?;
        let schedules = schedules(api, &federation, &platform)?;
        Ok(Ids { federation, platform, schedules })
    }
}

fn connector(api: &Api, more: &Value) -> anyhow::Result<String> {
    let mut connector = json!({"federationCode": "gaa_foireann", "plugin": "gaa-foireann"});
    let members = connector.as_object_mut().zip(more.as_object());
    members.into_iter().for_each(|(to, from)| to.extend(from.clone()));
    text(&api.call("POST", "/connectors", &connector)?, "id")
}

fn connect(api: &Api, club: &str, connector: &str) -> anyhow::Result<()> {
    let connection = json!({"connectorId": connector, "federationOrgId": club});
    api.call("POST", &format!("/organizations/{club}/connections"), &connection)?;
    Ok(())
}

fn schedules(api: &Api, federation: &str, platform: &str) -> anyhow::Result<Vec<Schedule>> {
    let mut schedules = Vec::new();
    let generated = api.list("/sync/schedules")?;
    let all = [
        (federation, "nightly", CLUBS.iter().collect::<Vec<_>>(), NIGHTLY),
        (platform, "twice-a-day", vec![&MEMBER_OF_PLATFORM], TWICE_A_DAY),
    ];
    for (connector, name, clubs, daily) in all {
        let row = generated.iter().find(|row| row["connectorId"] == connector);
        let id = text(row.context("a connector without a schedule")?, "id")?;
        let clubs = clubs.iter().map(|club| (club.name, club.zone)).collect();
        schedules.push(Schedule { id, name: name.to_owned(), clubs, daily });
    }
    ensure!(generated.len() == schedules.len(), "other schedules: {generated:#?}");
    for club in &CLUBS {
        let Some(daily) = club.own else { continue };
        let name = format!("own-{}", club.name);
        let body = json!({
            "name": name, "organizationId": club.name, "connectorId": federation,
            "cron": daily.cron(), "timezone": club.zone,
        });
        let id = text(&api.call("POST", "/sync/schedules", &body)?, "id")?;
        schedules.push(Schedule { id, name, clubs: vec![(club.name, club.zone)], daily });
    }
    Ok(schedules)
}

/// The nominal fires of schedules, all clubs together.
pub fn fires(
    schedules: &[Schedule],
    wanted: impl Fn(&Schedule) -> bool,
    (begin, end): (Timestamp, Timestamp),
) -> anyhow::Result<Vec<Timestamp>> {
    let mut all = Vec::new();
    for schedule in schedules.iter().filter(|schedule| wanted(schedule)) {
        for (_, zone) in &schedule.clubs {
            all.extend(schedule.daily.fires(zone, begin, end)?);
        }
    }
    all.sort();
    Ok(all)
}

//! A year in minutes: nights in several time zones and those in which clocks change, outages, tokens that end, restarts, a
//! server that is off for days. The same seed tells the same tale, byte for byte.
//!
//! | module | owns |
//! |---|---|
//! | [`world`] | the stand-ins, and what the server is told of them |
//! | [`agenda`] | what the world does, by the seed |
//! | [`course`] | the clock, from moment to moment |
//! | [`tale`] | what happened, as a log |
//! | [`nights`] | when schedules must fire |
//! | [`receiver`] | a receiver of notifications |
//! | [`check`] | what must be true in the end |

pub mod agenda;
pub mod check;
pub mod course;
pub mod nights;
pub mod receiver;
pub mod tale;
pub mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use syncline::crash_point::{self, Bug};

use course::Course;

/// What a trial is asked to do.
#[derive(Debug, Clone)]
pub struct Setting {
    pub days: u64,
    pub seed: u64,
    /// Once more, and the two tales must be equal.
    pub twice: bool,
    /// Where the log is written.
    pub log: Option<PathBuf>,
    /// A bug that the trial should find.
    pub planted: Option<Bug>,
}

/// What it found.
#[derive(Debug, Default)]
pub struct Report {
    pub seed: u64,
    pub days: u64,
    /// How often the clock was moved.
    pub moments: u64,
    /// Lines of the log, by their kind.
    pub events: BTreeMap<String, u64>,
    /// Of the log.
    pub digest: String,
    pub restarts: u64,
    pub outages: u64,
    /// Bytes of the data directory, and of the process in memory, at most in each quarter of the time.
    pub sizes: Vec<(u64, u64)>,
    pub violations: Vec<String>,
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.events.iter().map(|(kind, count)| format!("{count} {kind}"));
        let size = |of: fn(&(u64, u64)) -> u64| {
            let quarters = self.sizes.iter().map(|most| format!("{:.1}", of(most) as f64 / 1e6));
            quarters.collect::<Vec<_>>().join(", ")
        };
        writeln!(
            f,
            "seed {}: {} simulated days in {} s; {} moments, {} events ({}), {} restarts, {} outages; at most, in \
             each quarter, {} MB of disk and {} MB of memory; log {}; {} violations",
            self.seed,
            self.days,
            self.took.as_secs(),
            self.moments,
            self.events.values().sum::<u64>(),
            kinds.collect::<Vec<_>>().join(", "),
            self.restarts,
            self.outages,
            size(|most| most.0),
            size(|most| most.1),
            self.digest,
            self.violations.len(),
        )?;
        self.violations.iter().try_for_each(|line| writeln!(f, "VIOLATION {line}"))
    }
}

pub fn run(setting: &Setting) -> anyhow::Result<Report> {
    let begin = Instant::now();
    let (mut report, log) = once(setting)?;
    if let Some(path) = &setting.log {
        std::fs::write(path, &log)?;
    }
    if setting.twice {
        let (_, second) = once(setting)?;
        report.violations.extend(difference(&log, &second));
    }
    report.took = begin.elapsed();
    Ok(report)
}

fn once(setting: &Setting) -> anyhow::Result<(Report, String)> {
    crash_point::plant(setting.planted);
    let told = tell(setting);
    crash_point::plant(None);
    told
}

fn tell(setting: &Setting) -> anyhow::Result<(Report, String)> {
    let mut course = Course::begin(setting.seed, setting.days)?;
    course.go()?;
    course.finish()?;
    let messages = course.world.receiver.state().taken.clone();
    let granted = course.world.authority.state().granted.clone();
    let log = course.tale.log(&course.ids, &messages, &granted)?;
    let mut events: BTreeMap<String, u64> = BTreeMap::new();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        *events.entry(line["event"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let digest = hex::encode(Sha256::digest(&log)).chars().take(12).collect();
    let days = &course.tale.sizes;
    let most = |quarter: &[(u64, u64)]| {
        quarter.iter().fold((0, 0), |most, day| (day.0.max(most.0), day.1.max(most.1)))
    };
    let report = Report {
        seed: setting.seed,
        days: setting.days,
        moments: course.moments,
        events,
        digest,
        restarts: course.tale.away.len() as u64,
        outages: course.agenda.outages.len() as u64,
        sizes: days.chunks(days.len().div_ceil(4).max(1)).map(most).collect(),
        violations: check::violations(&course)?,
        took: Duration::ZERO,
    };
    Ok((report, log))
}

/// Where two tales of one seed part.
fn difference(first: &str, second: &str) -> Option<String> {
    let at = first.lines().zip(second.lines()).position(|(first, second)| first != second);
    let at = match at {
        None if first.len() == second.len() => return None,
        None => first.lines().count().min(second.lines().count()),
        Some(at) => at,
    };
    let line = |log: &str| log.lines().nth(at).unwrap_or("the end").to_owned();
    Some(format!("line {} is {} and then {}", at + 1, line(first), line(second)))
}

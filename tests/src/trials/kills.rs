//! The real binary is killed again and again while it works, and each time a new one must go on as if nothing had been.
//!
//! Callers edit records, ask for syncs and send signed deliveries all the time, the federation changes,
//! and everything that was acknowledged is in the ledger. After a random while, often in the middle of
//! a start, SIGKILL ends the process. The next one must be ready soon, lack nothing and have done
//! nothing twice. The first harm ends the trial.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use syncline::crash_point::Bug;
use tempfile::TempDir;

use super::hooks::Findings;
use super::lives::Trial;

/// One life in so many ends before it is ready.
const STILLBORN_PERCENT: u64 = 10;
/// The promise.
pub const READY_MAX: Duration = Duration::from_secs(5);
/// The files are looked into after each of the first kills, and later after every such.
const FILES_FIRST: u64 = 50;
const FILES_EVERY: u64 = 25;

/// What a trial is asked to do.
#[derive(Debug, Clone)]
pub struct Setting {
    pub kills: u64,
    pub seed: u64,
    pub binary: PathBuf,
    /// A bug that the trial should find.
    pub planted: Option<Bug>,
}

/// What it found.
#[derive(Debug, Default)]
pub struct Report {
    pub seed: u64,
    pub kills: u64,
    /// Of them before the server was ready.
    pub stillborn: u64,
    /// Edits and requests for syncs.
    pub acknowledged: u64,
    /// Deliveries of webhooks.
    pub deliveries: u64,
    /// How often they were sent.
    pub sends: u64,
    pub runs: u64,
    pub changes: u64,
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
    /// Whatever else was wrong.
    pub wrong: Vec<String>,
    pub ready: Vec<Duration>,
    pub took: Duration,
}

impl Report {
    pub fn held(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.wrong.is_empty()
    }

    pub fn add(&mut self, findings: Findings) {
        self.lost.extend(findings.lost);
        self.doubled.extend(findings.doubled);
        self.wrong.extend(findings.wrong);
    }

    /// The share of starts, in percent, that were ready within the answer.
    pub fn ready_percentile(&self, percent: usize) -> Duration {
        let mut all = self.ready.clone();
        all.sort();
        let at = (all.len() * percent / 100).min(all.len().saturating_sub(1));
        all.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} kills ({} during a start); {} edits and requests and {} deliveries (sent {} times) \
             acknowledged, {} lost; {} runs and {} changes of the federation, {} doubled; {} otherwise wrong; ready after a kill in p50 {} ms, p99 {} ms, max {} ms; {} s",
            self.seed,
            self.kills,
            self.stillborn,
            self.acknowledged,
            self.deliveries,
            self.sends,
            self.lost.len(),
            self.runs,
            self.changes,
            self.doubled.len(),
            self.wrong.len(),
            self.ready_percentile(50).as_millis(),
            self.ready_percentile(99).as_millis(),
            self.ready_percentile(100).as_millis(),
            self.took.as_secs(),
        )?;
        if self.held() && self.kills > 0 {
            let bound = 300.0 / self.kills as f64;
            writeln!(
                f,
                "0 of {}: with 95 % confidence at most {bound:.2} % of kills do harm",
                self.kills
            )?;
        }
        let all = [("LOST", &self.lost), ("DOUBLED", &self.doubled), ("WRONG", &self.wrong)];
        for (word, lines) in all {
            lines.iter().try_for_each(|line| writeln!(f, "{word} {line}"))?;
        }
        Ok(())
    }
}

pub fn run(setting: &Setting) -> anyhow::Result<Report> {
    let begin = Instant::now();
    let directory = TempDir::new()?;
    let mut trial = Trial::begin(setting, directory.path())?;
    let mut report = Report { seed: setting.seed, ..Report::default() };
    while report.kills < setting.kills && report.held() {
        if trial.dice.percent(STILLBORN_PERCENT) {
            trial.stillborn()?;
            report.stillborn += 1;
        } else {
            trial.life(&mut report)?;
        }
        report.kills += 1;
        if report.kills <= FILES_FIRST || report.kills.is_multiple_of(FILES_EVERY) {
            trial.look_into_files(&mut report)?;
        }
        if report.kills.is_multiple_of(100) {
            eprintln!("{} kills, {} s", report.kills, begin.elapsed().as_secs());
        }
    }
    trial.end(&mut report)?;
    report.took = begin.elapsed();
    Ok(report)
}

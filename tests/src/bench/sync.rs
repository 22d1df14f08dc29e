//! The rounds of the `sync` benchmark: who runs when, and what must have come out.
//!
//! In each round every contestant starts with an empty database; they take turns within a phase,
//! and who is first changes from round to round, so that a slow minute of the machine hits all.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::product::Server;
use super::{Measure, Source, call, floor, median, script};
use crate::foireann::{Options, Sim};

const API_KEY: &str = "benchmark-key";
const CLUB: &str = "club-1";
/// One row in so many is changed in the last phase.
const CHANGED_EVERY: u64 = 100;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Contestant {
    Floor,
    Syncline,
    Script,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    First,
    Unchanged,
    Changed1Pct,
}

impl Phase {
    pub const ALL: [Phase; 3] = [Phase::First, Phase::Unchanged, Phase::Changed1Pct];
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct Setting {
    pub members: u64,
    pub rounds: usize,
    pub phases: Vec<Phase>,
    pub contestants: Vec<Contestant>,
    /// Needed where Syncline is among the contestants.
    pub syncline: Option<PathBuf>,
    /// This program, which runs the federation and the floor as hidden subcommands.
    pub own_binary: PathBuf,
    /// All databases are made below it.
    pub directory: PathBuf,
}

/// All measures of one size.
#[derive(Debug)]
pub struct Outcome {
    pub members: u64,
    measures: Vec<(Phase, Contestant, Measure)>,
    ready_ms: Vec<f64>,
    idle_memory_kb: Vec<f64>,
    call_micros: Vec<f64>,
}

impl Outcome {
    /// Median seconds of a contestant in a phase.
    pub fn seconds(&self, phase: Phase, contestant: Contestant) -> Option<f64> {
        self.median_of(phase, contestant, |measure| measure.seconds)
    }

    pub fn records_per_second(&self, phase: Phase, contestant: Contestant) -> Option<f64> {
        Some(self.members as f64 / self.seconds(phase, contestant)?)
    }

    /// Median peak memory in MB (10^6 bytes).
    pub fn peak_memory_mb(&self, phase: Phase, contestant: Contestant) -> Option<f64> {
        self.median_of(phase, contestant, |measure| megabytes(measure.peak_memory_kb as f64))
    }

    /// How many times faster Syncline is than another contestant.
    pub fn ratio_to(&self, phase: Phase, other: Contestant) -> Option<f64> {
        Some(self.seconds(phase, other)? / self.seconds(phase, Contestant::Syncline)?)
    }

    pub fn ready_ms(&self) -> Option<f64> {
        median(self.ready_ms.clone())
    }

    pub fn idle_memory_mb(&self) -> Option<f64> {
        median(self.idle_memory_kb.clone()).map(megabytes)
    }

    /// Median of a plugin call's fixed cost.
    pub fn call_micros(&self) -> Option<f64> {
        median(self.call_micros.clone())
    }

    fn median_of(&self, phase: Phase, who: Contestant, value: fn(&Measure) -> f64) -> Option<f64> {
        let wanted = self.measures.iter().filter(|(p, c, _)| (*p, *c) == (phase, who));
        median(wanted.map(|(_, _, measure)| value(measure)).collect())
    }
}

fn megabytes(kb: f64) -> f64 {
    kb * 1024.0 / 1e6
}

/// Measures one size.
pub fn measure(setting: &Setting) -> anyhow::Result<Outcome> {
    let options = Options::members(setting.members).api_key(API_KEY).subcommand("foireann-sim");
    let federation = Sim::try_spawn(&setting.own_binary, &options)?;
    let source = Source {
        address: federation.address(),
        club: CLUB.to_owned(),
        api_key: API_KEY.to_owned(),
    };
    let mut outcome = Outcome {
        members: setting.members,
        measures: Vec::new(),
        ready_ms: Vec::new(),
        idle_memory_kb: Vec::new(),
        call_micros: Vec::new(),
    };
    for round in 0..setting.rounds {
        run_round(setting, &federation, &source, round, &mut outcome)?;
    }
    Ok(outcome)
}

fn run_round(
    setting: &Setting,
    federation: &Sim,
    source: &Source,
    round: usize,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("bench").tempdir_in(&setting.directory)?;
    let syncs = setting.contestants.contains(&Contestant::Syncline);
    let server = match &setting.syncline {
        Some(binary) if syncs => Some(Server::set_up(binary, directory.path(), source)?),
        _ => None,
    };
    if let Some(server) = &server {
        outcome.ready_ms.push(server.ready_ms);
        outcome.idle_memory_kb.push(server.idle_memory_kb as f64);
        let mut command = Command::new(&setting.own_binary);
        command.arg("plugin-call");
        outcome.call_micros.push(script::answer::<call::Cost>(command)?.micros);
    }
    let mut order = setting.contestants.clone();
    order.rotate_left(round % setting.contestants.len().max(1));
    for &phase in &setting.phases {
        if phase == Phase::Changed1Pct {
            let every = usize::try_from(CHANGED_EVERY)?;
            federation.touch(CLUB, every, "phone", &format!("087 555 {round:04}"));
        }
        warm_up(source)?;
        for &contestant in &order {
            let measure = match contestant {
                Contestant::Floor => {
                    run_floor(setting, source, &directory.path().join("floor.redb"))
                }
                Contestant::Script => script::run(source, &directory.path().join("script.sqlite")),
                Contestant::Syncline => server.as_ref().context("no host binary was given")?.sync(),
            };
            let measure = measure.with_context(|| format!("{contestant:?}, {phase:?}"))?;
            check(phase, setting.members, &measure)
                .with_context(|| format!("{contestant:?} did not do the work of {phase:?}"))?;
            eprintln!(
                "round {}, {} members: {phase:?} by {contestant:?} took {:.3} s",
                round + 1,
                setting.members,
                measure.seconds
            );
            outcome.measures.push((phase, contestant, measure));
        }
    }
    Ok(())
}

/// Has the federation render every page, so that whoever comes first does not wait for that.
fn warm_up(source: &Source) -> anyhow::Result<()> {
    for body in floor::fetch_ahead(source.clone()) {
        if body?.ends_with(br#""hasMore":false}"#) {
            break;
        }
    }
    Ok(())
}

/// The floor, as a process of its own.
fn run_floor(setting: &Setting, source: &Source, database: &Path) -> anyhow::Result<Measure> {
    let mut command = Command::new(&setting.own_binary);
    command.arg("floor").arg(source.address.to_string()).args([&source.club, &source.api_key]);
    command.arg(database);
    script::answer(command)
}

/// A contestant that skipped work must not win.
fn check(phase: Phase, members: u64, measure: &Measure) -> anyhow::Result<()> {
    let changed = members.div_ceil(CHANGED_EVERY);
    let (created, updated) = match phase {
        Phase::First => (members, 0),
        Phase::Unchanged => (0, 0),
        Phase::Changed1Pct => (0, changed),
    };
    let seen = (measure.fetched, measure.created, measure.updated);
    let wanted = (members, created, updated);
    ensure!(seen == wanted, "(fetched, created, updated) is {seen:?}, not {wanted:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_work_is_noticed() {
        let measure = |created, updated| Measure {
            seconds: 1.0,
            peak_memory_kb: 1,
            fetched: 1000,
            created,
            updated,
            unchanged: 1000 - created - updated,
        };
        assert!(check(Phase::First, 1000, &measure(1000, 0)).is_ok());
        assert!(check(Phase::First, 1000, &measure(999, 0)).is_err());
        assert!(check(Phase::Changed1Pct, 1000, &measure(0, 10)).is_ok());
        assert!(check(Phase::Unchanged, 1000, &measure(0, 10)).is_err());
    }
}

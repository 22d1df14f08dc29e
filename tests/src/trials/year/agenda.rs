//! What the world does in a year, all of it by the seed: outages, changes of members, restarts.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::dice::Dice;

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Before the end nothing goes wrong any more, so that what was held up comes to its end.
const CALM: SignedDuration = SignedDuration::from_hours(72);
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// Kinds of throws of the same day.
const THROWS: u64 = 8;
/// A server that is off for three days comes every so many days, for the first time in the third week.
const ABSENT_EVERY: u64 = 83;
const ABSENT_FIRST: u64 = 17;

/// What can be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    Federation,
    Authority,
    Receiver,
}

impl Party {
    pub fn as_str(self) -> &'static str {
        match self {
            Party::Federation => "federation",
            Party::Authority => "authority",
            Party::Receiver => "receiver",
        }
    }
}

/// How a process comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Orderly,
    /// It is gone at once.
    Vanished,
    /// It is gone in the middle of a run.
    MidRun,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Down(Party, Trouble),
    Up(Party),
    /// A member of a club becomes another, or one comes or goes; `told`: a webhook says so.
    Change {
        club: usize,
        dice: u64,
        told: bool,
    },
    /// The process ends, and another one begins after a while.
    Restart {
        end: End,
        off: SignedDuration,
    },
    Mood(Mood),
}

/// How somebody is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It fails.
    Away,
    /// It asks for patience, and says until when.
    Busy,
}

/// How a federation behaves that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    Slow,
    /// Once in each club a page of the listing cannot be had.
    Stumbles,
}

/// A time in which somebody was away.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    pub party: Party,
    pub begin: Timestamp,
    pub end: Timestamp,
}

#[derive(Default)]
pub struct Agenda {
    /// By time.
    pub acts: VecDeque<(Timestamp, Act)>,
    pub outages: Vec<Outage>,
}

/// Whom trouble is meant to hit: the nominal fires of the schedules that go to each party.
pub struct Fires<'a> {
    pub federation: &'a [Timestamp],
    pub authority: &'a [Timestamp],
}

impl Agenda {
    pub fn new(
        seed: u64,
        (begin, days): (Timestamp, u64),
        clubs: usize,
        fires: &Fires<'_>,
    ) -> Agenda {
        let mut draft =
            Draft { acts: Vec::new(), outages: Vec::new(), end: after(begin, days) - CALM };
        for day in 1..days {
            let from = after(begin, day);
            let throw = |kind| Dice::new(seed, day * THROWS + kind);
            let (federation, authority) =
                (of_day(fires.federation, from), of_day(fires.authority, from));
            draft.changes(from, clubs, throw(0));
            draft.outage(Party::Federation, (14, &[3, 6, 11, 40, 240, 700]), &federation, throw(1));
            draft.outage(Party::Authority, (9, &[4, 30, 300]), &authority, throw(2));
            draft.outage(Party::Receiver, (8, &[5, 130, 600]), &[from + DAY / 2], throw(3));
            draft.mood(from, throw(4));
            draft.restart(from, day % ABSENT_EVERY == ABSENT_FIRST, &federation, throw(5));
        }
        let Draft { mut acts, outages, .. } = draft;
        // Stable: what was thrown for the same time keeps its order.
        acts.sort_by_key(|(at, _)| *at);
        Agenda { acts: acts.into(), outages }
    }
}

fn after(begin: Timestamp, days: u64) -> Timestamp {
    begin + DAY * i32::try_from(days).unwrap_or(i32::MAX)
}

/// The fires of the day that begins at `from`.
fn of_day(fires: &[Timestamp], from: Timestamp) -> Vec<Timestamp> {
    fires.iter().filter(|at| **at >= from && **at < from + DAY).copied().collect()
}

fn seconds(below: u64, dice: &mut Dice) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(dice.below(below)).unwrap_or(0))
}

struct Draft {
    acts: Vec<(Timestamp, Act)>,
    outages: Vec<Outage>,
    /// Of all trouble.
    end: Timestamp,
}

impl Draft {
    fn push(&mut self, at: Timestamp, act: Act) {
        if at < self.end {
            self.acts.push((at, act));
        }
    }

    fn changes(&mut self, from: Timestamp, clubs: usize, mut dice: Dice) {
        for _ in 0..dice.below(4) {
            let club = usize::try_from(dice.below(clubs as u64)).unwrap_or(0);
            let (at, told) = (from + seconds(DAY_SECONDS, &mut dice), dice.percent(40));
            let act = Act::Change { club, dice: dice.roll(), told };
            self.push(at, act);
        }
    }

    /// On some days somebody is away for one of these many minutes, from a little before or behind one of these times.
    fn outage(
        &mut self,
        party: Party,
        (percent, minutes): (u64, &[i64]),
        around: &[Timestamp],
        mut dice: Dice,
    ) {
        if around.is_empty() || !dice.percent(percent) {
            return;
        }
        let begin =
            *dice.pick(around) - SignedDuration::from_mins(10) + seconds(15 * 60, &mut dice);
        let end = begin + SignedDuration::from_mins(*dice.pick(minutes));
        let overlaps = |other: &Outage| other.party == party && other.end >= begin;
        if end >= self.end || self.outages.iter().any(overlaps) {
            return;
        }
        self.outages.push(Outage { party, begin, end });
        let busy = party == Party::Federation && dice.percent(25);
        self.push(begin, Act::Down(party, if busy { Trouble::Busy } else { Trouble::Away }));
        self.push(end, Act::Up(party));
    }

    fn mood(&mut self, from: Timestamp, mut dice: Dice) {
        let mood = match dice.below(10) {
            0 => Mood::Slow,
            1 | 2 => Mood::Stumbles,
            _ => return,
        };
        self.push(from, Act::Mood(mood));
        self.push(from + DAY - SignedDuration::from_secs(1), Act::Mood(Mood::Well));
    }

    /// On some days the process ends: at any time, or around a fire.
    fn restart(&mut self, from: Timestamp, absent: bool, around: &[Timestamp], mut dice: Dice) {
        if !absent && !dice.percent(20) {
            return;
        }
        let at = match around.is_empty() || dice.percent(50) {
            true => from + seconds(DAY_SECONDS, &mut dice),
            false => *dice.pick(around) + seconds(600, &mut dice),
        };
        let end = *dice.pick(&[End::Orderly, End::Vanished, End::MidRun]);
        let off = match dice.below(10) {
            _ if absent => SignedDuration::from_hours(74),
            0 => SignedDuration::from_hours(9),
            1..=3 => SignedDuration::from_mins(45),
            _ => SignedDuration::from_secs(20),
        };
        self.push(at, Act::Restart { end, off });
    }
}
